"""Task types, checks of labels, scaling on training rows."""

import numpy as np
import pytest
import torch

from dgl_moleblend.errors import DataError
from dgl_moleblend.models.targets import (
    LabelScaling,
    check_labels,
    check_presence,
    find_task_type,
    to_prediction,
)

NAN = float("nan")


def test_task_type_is_read_from_the_labels():
    assert find_task_type(np.array([[0.0, NAN], [1.0, 1.0]]), "ab") == "classification"
    assert find_task_type(np.array([[0.0, 2.0], [1.0, 1.0]]), "ab") == "regression"
    assert find_task_type(np.full((3, 1), NAN), "a") == "regression"
    words = {"a": ("high", "low", "middle")}
    assert find_task_type(np.array([[0.0], [2.0]]), "a", words) == "multiclass", "one of the words may be in no row"
    for amounts in ([3, 4, 5], [0, 1, 3], [0.5, 1.5, 2.5], [*range(6)], [-2, -1, 0]):
        assert find_task_type(np.array(amounts, float)[:, None], "a") == "regression", amounts


@pytest.mark.parametrize("values", [[0, 1, 2], [3, 1, 2, 2], [0, 1, 2, 3, 4]])
def test_what_may_be_classes_or_amounts_is_asked(values):
    with pytest.raises(DataError, match=r"the labels of 'b' are [\d, ]+ and \d: these may be classes, or amounts"):
        find_task_type(np.array([[value % 2, value] for value in values], float), "ab")
    assert find_task_type(np.array([[0.5, value] for value in values]), "ab") == "regression", "beside other numbers"


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


def test_predictions_are_in_the_unit_of_the_target_or_probabilities():
    output = torch.tensor([[2.0]])
    assert to_prediction(output, "regression", LabelScaling((10.0,), (3.0,))).item() == 16.0
    assert to_prediction(output, "classification", LabelScaling.none(1)).item() == pytest.approx(0.880797)
    shares = to_prediction(torch.tensor([[1.0, 1.0, 1.0 + np.log(2)]]), "multiclass", LabelScaling.none(3))
    assert shares.tolist() == [pytest.approx([0.25, 0.25, 0.5])]


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
