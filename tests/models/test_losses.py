"""Masked losses, each against a slow form."""

import numpy as np
import pytest
import torch

from dgl_moleblend.models.losses import positive_weights, property_loss
from dgl_moleblend.models.targets import LabelScaling

NAN = float("nan")


@pytest.mark.parametrize("task_type", ["regression", "classification"])
def test_loss_is_the_mean_over_present_labels(task_type):
    output = torch.tensor([[0.3, -1.0], [2.0, 0.5]], requires_grad=True)
    labels = torch.tensor([[1.0, NAN], [0.0, 1.0]])
    scaling = LabelScaling((0.5, 0.0), (2.0, 1.0)) if task_type == "regression" else LabelScaling.none(2)
    loss = property_loss(output, labels, task_type, scaling)
    loss.backward()
    slow = []
    for i, j in [(0, 0), (1, 0), (1, 1)]:
        x, y = output[i, j].item(), labels[i, j].item()
        if task_type == "regression":
            slow.append((x - (y - scaling.mean[j]) / scaling.scale[j]) ** 2)
        else:
            p = 1 / (1 + np.exp(-x))
            slow.append(-np.log(p if y == 1 else 1 - p))
    assert loss.item() == pytest.approx(np.mean(slow), rel=1e-5)
    assert output.grad[0, 1] == 0
    assert (output.grad[labels.isfinite()] != 0).all()


def test_loss_of_a_batch_without_labels_is_zero_with_zero_gradient():
    output = torch.ones(2, 1, requires_grad=True)
    loss = property_loss(output, torch.full((2, 1), NAN), "regression", LabelScaling.none(1))
    loss.backward()
    assert loss.item() == 0
    assert output.grad.tolist() == [[0.0], [0.0]]


def test_weights_make_both_classes_count_the_same():
    labels = np.array([[1.0], [0.0], [0.0], [0.0]])
    weight = positive_weights(labels)
    output = torch.zeros(4, 1, requires_grad=True)
    property_loss(output, torch.tensor(labels), "classification", LabelScaling.none(1), weight).backward()
    assert output.grad[0].abs().item() == pytest.approx(output.grad[1:].abs().sum().item())
