"""Masked losses, each against a slow form."""

import numpy as np
import pytest
import torch

from dgl_moleblend.config import LOSSES
from dgl_moleblend.models.losses import positive_weights, property_loss
from dgl_moleblend.models.targets import LabelScaling

NAN = float("nan")


SLOW = {
    "mse": lambda e: e**2,
    "mae": abs,
    "huber": lambda e: e**2 / 2 if abs(e) < 1 else abs(e) - 1 / 2,
    "cross_entropy": lambda p: -np.log(p),  # of the right class
    "focal": lambda p: -((1 - p) ** 2) * np.log(p),
}


@pytest.mark.parametrize(
    ("task_type", "name"),
    [(kind, name) for kind in ("regression", "classification") for name in LOSSES[kind] if name in SLOW],
)
def test_loss_is_the_mean_over_present_labels(task_type, name):
    output = torch.tensor([[0.3, -1.0], [2.0, 0.5]], requires_grad=True)
    labels = torch.tensor([[1.0, NAN], [0.0, 1.0]])
    scaling = LabelScaling((0.5, 0.0), (2.0, 1.0)) if task_type == "regression" else LabelScaling.none(2)
    loss = property_loss(output, labels, task_type, scaling, loss=name)
    loss.backward()
    slow = []
    for i, j in [(0, 0), (1, 0), (1, 1)]:
        x, y = output[i, j].item(), labels[i, j].item()
        if task_type == "regression":
            slow.append(SLOW[name](x - (y - scaling.mean[j]) / scaling.scale[j]))
        else:
            p = 1 / (1 + np.exp(-x))
            slow.append(SLOW[name](p if y == 1 else 1 - p))
    if name == LOSSES[task_type][0]:
        assert loss == property_loss(output, labels, task_type, scaling)
    assert loss.item() == pytest.approx(np.mean(slow), rel=1e-5)
    assert output.grad[0, 1] == 0
    assert (output.grad[labels.isfinite()] != 0).all()


def test_loss_of_several_classes_is_that_of_their_softmax_once_a_molecule():
    output = torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, 3.0], [9.0, 9.0, 9.0]], requires_grad=True)
    labels = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [NAN] * 3])
    loss = property_loss(output, labels, "multiclass", LabelScaling.none(3))
    loss.backward()
    each = [np.log(np.exp([1, 2, 0.5]).sum()) - 2, np.log(np.exp([0, 1, 3]).sum()) - 0]
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-5)
    assert output.grad[2].tolist() == [0, 0, 0]


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
