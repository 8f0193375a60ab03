"""Task types, scaling on training rows, masked losses and scores; each against a slow form or a number by hand."""

import numpy as np
import pytest
import torch

from dgl_moleblend.errors import DataError
from dgl_moleblend.models.targets import (
    LabelScaling,
    check_labels,
    check_presence,
    find_task_type,
    positive_weights,
    property_loss,
    score,
    to_prediction,
)

NAN = float("nan")


def test_task_type_is_read_from_the_labels():
    assert find_task_type(np.array([[0.0, NAN], [1.0, 1.0]])) == "classification"
    assert find_task_type(np.array([[0.0, 2.0], [1.0, 1.0]])) == "regression"
    assert find_task_type(np.full((3, 1), NAN)) == "regression"


def test_scaling_leaves_out_missing_labels_and_survives_constant_tasks():
    labels = np.array([[1.0, 7.0, 0.1], [3.0, 7.0, 0.1], [NAN, 7.0, 0.1]])
    scaling = LabelScaling.fit(labels)
    assert scaling.mean == pytest.approx((2.0, 7.0, 0.1))
    assert scaling.scale == pytest.approx((1.0, 1.0, 1.0))
    standardized = scaling.standardize(torch.tensor(labels))
    torch.testing.assert_close(standardized[:2, 0], torch.tensor([-1.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(scaling.restore(standardized), torch.tensor(labels), equal_nan=True)


def test_scaling_keeps_small_units():
    assert LabelScaling.fit(np.array([[1e-9], [3e-9]])).scale == pytest.approx((1e-9,))


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


def test_predictions_are_in_the_unit_of_the_target_or_probabilities():
    output = torch.tensor([[2.0]])
    assert to_prediction(output, "regression", LabelScaling((10.0,), (3.0,))).item() == 16.0
    assert to_prediction(output, "classification", LabelScaling.none(1)).item() == pytest.approx(0.880797)


def test_regression_scores_by_hand():
    result = score(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[1.0, NAN], [4.0, 3.0]]), "regression", ["a", "b"])
    assert result["tasks"]["a"] == {"labels": 2, "rmse": 2**0.5, "mae": 1.0, "r2": pytest.approx(1 - 4 / 4.5)}
    assert result["tasks"]["b"] == {"labels": 1, "rmse": 3.0, "mae": 3.0, "r2": None}
    assert result["rmse"] == pytest.approx((2**0.5 + 3) / 2)
    assert result["left_out"] == {"rmse": 0, "mae": 0, "r2": 1}


def test_several_regression_tasks_count_the_same_whatever_their_units():
    labels = np.array([[1.0, 1e6], [3.0, 5e6]])
    small_wrong, large_wrong = labels + np.array([1.0, 0.0]), labels + np.array([0.0, 2e6])
    scale = LabelScaling.fit(labels).scale
    names = ["small", "large"]
    found = [score(wrong, labels, "regression", names, scale)["scaled"] for wrong in (small_wrong, large_wrong)]
    assert found == pytest.approx([0.5, 0.5])
    assert "scaled" not in score(labels[:, :1], labels[:, :1], "regression", ["small"], scale[:1])
    assert score(labels * np.nan, labels * np.nan, "regression", names, scale)["scaled"] is None


def test_tasks_with_one_class_are_left_out_and_counted():
    probability = np.array([[0.1, 0.5], [0.7, 0.6], [0.6, 0.7]])
    labels = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, NAN]])
    result = score(probability, labels, "classification", ["a", "b"])
    assert result["roc_auc"] == 0.5  # of task a alone
    assert result["tasks"]["b"] == {"labels": 2, "roc_auc": None, "pr_auc": None}
    assert result["left_out"] == {"roc_auc": 1, "pr_auc": 1}
    nothing = score(probability[:, 1:], labels[:, 1:], "classification", ["b"])
    assert nothing["roc_auc"] is None


@pytest.mark.parametrize(
    ("labels", "task_type", "words"),
    [
        ([[1.0], [float("inf")]], "regression", "'logS' holds an infinite label"),
        ([[1.0], [1e30]], "regression", r"'logS' holds 1e\+30, and labels go up to 1e\+15[\s\S]*another unit"),
        ([[1.0], [2.0]], "classification", "'logS' holds 2, but labels of a classification are 0, 1 or empty"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(labels, task_type, words):
    with pytest.raises(DataError, match=words):
        check_labels(np.array(labels), task_type, ["logS"])


def test_labels_that_can_be_learned_pass():
    check_labels(np.array([[0.0, NAN], [1.0, 1.0]]), "classification", ["a", "b"])
    check_labels(np.array([[0.5, NAN], [-2.0, 1.0]]), "regression", ["a", "b"])


def test_every_task_needs_a_training_label_and_validation_needs_some():
    some, none = np.array([[1.0, NAN]]), np.array([[NAN, NAN]])
    with pytest.raises(DataError, match="no training row has a label for 'b'"):
        check_presence(some, some, ["a", "b"])
    with pytest.raises(DataError, match="no validation row has a label"):
        check_presence(np.ones((1, 2)), none, ["a", "b"])
    check_presence(np.array([[1.0, 1.0], [2.0, 1.0]]), some, ["a", "b"])
    with pytest.raises(DataError, match=r"every label of 'a' \(and of each of the others alike\)[\s\S]*is 1\.0"):
        check_presence(np.ones((2, 2)), some, ["a", "b"])


def test_weights_make_both_classes_count_the_same():
    labels = np.array([[1.0], [0.0], [0.0], [0.0]])
    weight = positive_weights(labels)
    output = torch.zeros(4, 1, requires_grad=True)
    property_loss(output, torch.tensor(labels), "classification", LabelScaling.none(1), weight).backward()
    assert output.grad[0].abs().item() == pytest.approx(output.grad[1:].abs().sum().item())
