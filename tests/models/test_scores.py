"""Scores of predictions, each against a number by hand."""

import warnings

import numpy as np
import pytest

from dgl_moleblend.models.scores import LOWER_IS_BETTER, METRICS, score, score_constants
from dgl_moleblend.models.targets import LabelScaling
from dgl_moleblend.report.words import CLASSES_HELP, METRIC_HELP, METRIC_NAMES

NAN = float("nan")


def test_regression_scores_by_hand():
    result = score(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[1.0, NAN], [4.0, 3.0]]), "regression", ["a", "b"])
    expected = {"labels": 2, "rmse": 2**0.5, "mae": 1.0, "r2": 1 - 4 / 4.5, "spearman": 1.0, "pearson": 1.0}
    assert result["tasks"]["a"] == pytest.approx(expected)
    few = {"r2": None, "spearman": None, "pearson": None}
    assert result["tasks"]["b"] == {"labels": 1, "rmse": 3.0, "mae": 3.0, **few}
    assert result["rmse"] == pytest.approx((2**0.5 + 3) / 2)
    assert result["left_out"] == {"rmse": 0, "mae": 0, "r2": 1, "spearman": 1, "pearson": 1}


def test_correlations_by_hand_and_of_constant_predictions():
    label, predicted = np.array([[1.0], [2.0], [3.0], [9.0]]), np.array([[10.0], [20.0], [20.0], [30.0]])
    result = score(predicted, label, "regression", ["a"])
    ranks, mine = np.array([0, 1, 2, 3]) - 1.5, np.array([0, 1.5, 1.5, 3]) - 1.5  # tied ranks share their mean
    assert result["spearman"] == pytest.approx(ranks @ mine / np.sqrt((ranks @ ranks) * (mine @ mine)))
    x, y = (values[:, 0] - values.mean() for values in (label, predicted))
    assert result["pearson"] == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)))
    assert score(-predicted, label, "regression", ["a"])["spearman"] == -result["spearman"]
    constant = score(np.full_like(label, 0.1), label, "regression", ["a"])
    assert (constant["spearman"], constant["pearson"]) == (0, 0)


def test_means_of_folds_rank_nothing():
    """A fold of high labels leaves a low mean to the others, which would look like a wrong order."""
    labels = np.array([[0.0, 0], [1, 0], [4, 1], [5, 1]])
    means = np.array([[4.5, 0.9], [4.5, 0.9], [0.5, 0.1], [0.5, 0.1]])
    assert score(means, labels, "regression", ["a", "b"])["spearman"] < -0.8
    found = score_constants(means, labels, "regression", ["a", "b"], [2.0, 0.5])
    for one in (found, *found["tasks"].values()):
        assert (one["spearman"], one["pearson"]) == (None, None)
    assert found["left_out"]["spearman"] == 2
    assert found["rmse"] == score(means, labels, "regression", ["a", "b"])["rmse"]
    classes = score_constants(means[:, 1:], labels[:, 1:], "classification", ["b"])
    assert (classes["roc_auc"], classes["pr_auc"], classes["mcc"]) == (0.5, 0.5, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score_constants(np.empty((0, 1)), np.empty((0, 1)), "classification", ["b"])["roc_auc"] is None


def test_scores_of_classes_by_hand():
    probability = np.array([[0.5], [0.9], [0.4], [0.6], [0.1], [0.2], [0.3], [0.49]])  # 0.5 is class 1
    labels = np.array([[1.0], [1.0], [1.0], [0.0], [0.0], [0.0], [0.0], [0.0]])  # 2 found, 1 missed, 1 false, 4 right
    result = score(probability, labels, "classification", ["a"])
    assert result["accuracy"] == 6 / 8
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert result["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert result["mcc"] == pytest.approx((2 * 4 - 1 * 1) / np.sqrt(3 * 3 * 5 * 5))
    never = score(np.zeros_like(labels), labels, "classification", ["a"])
    assert (never["f1"], never["mcc"], never["balanced_accuracy"]) == (0, 0, 0.5)


def test_scores_of_several_classes_by_hand():
    """Of rows of classes 0, 0, 1, 2 the third is told as 2; the fifth has no label."""
    shares = np.array([[0.6, 0.3, 0.1], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4], [0.1, 0.3, 0.6], [1, 0, 0]])
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [np.nan] * 3])
    result = score(shares, labels, "multiclass", ["a", "b", "c"])
    assert result["accuracy"] == 3 / 4
    assert result["balanced_accuracy"] == pytest.approx((1 + 0 + 1) / 3)
    # covariance of told and true counts over that of each with itself: (3*4 - 2*2 - 0*1 - 2*1) / sqrt(..)
    assert result["mcc"] == pytest.approx((12 - 6) / np.sqrt((16 - 4 - 0 - 4) * (16 - 4 - 1 - 1)))
    areas = {name: one["roc_auc"] for name, one in result["tasks"].items()}
    assert areas == {"a": 1, "b": pytest.approx((0.5 + 1 + 0.5) / 3), "c": 1}
    assert result["roc_auc"] == pytest.approx(np.mean(list(areas.values())))
    assert result["tasks"]["a"]["labels"] == 4
    only = score(shares[:2], labels[:2], "multiclass", ["a", "b", "c"])
    assert (only["roc_auc"], only["accuracy"], only["mcc"]) == (None, None, None)


@pytest.mark.parametrize("task_type", ["regression", "classification"])
def test_the_better_prediction_is_better_by_every_score_and_each_has_words(task_type):
    labels = np.array([[0.0], [1.0], [0.0], [1.0], [1.0]])
    perfect = score(labels, labels, task_type, ["a"])
    wrong = score(1 - labels, labels, task_type, ["a"])
    for metric in METRICS[task_type]:
        assert (perfect[metric] < wrong[metric]) == (metric in LOWER_IS_BETTER), metric
    assert {*METRICS[task_type]} <= METRIC_NAMES.keys() & METRIC_HELP.keys()
    assert {*METRICS["multiclass"]} <= METRIC_NAMES.keys() & CLASSES_HELP.keys()


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
    assert result["tasks"]["b"] == {"labels": 2, **dict.fromkeys(METRICS["classification"])}
    assert result["left_out"] == dict.fromkeys(METRICS["classification"], 1)
    nothing = score(probability[:, 1:], labels[:, 1:], "classification", ["b"])
    assert nothing["roc_auc"] is None
