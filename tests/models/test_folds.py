"""Folds, labels and the logistic curve."""

import numpy as np
import pytest
from scipy.special import expit

from dgl_moleblend.errors import DataError
from dgl_moleblend.models.folds import check_training_labels, fit_logistic, make_folds


def test_folds_are_random_and_repeatable_or_given():
    assert (make_folds(50, seed=1) == make_folds(50, seed=1)).all()
    assert (make_folds(50, seed=1) != make_folds(50, seed=2)).any()
    assert sorted(make_folds(3)) == [0, 1, 2]
    assert make_folds(4, np.array([7, 7, -1, 3])).tolist() == [2, 2, 0, 1]


def test_folds_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"folds have shape \(3,\) and type int64, there are 4 molecules"):
        make_folds(4, np.zeros(3, int))
    with pytest.raises(DataError, match="there is no molecule to learn from"):
        make_folds(0)


@pytest.mark.parametrize(
    ("labels", "task_type", "message"),
    [
        ([[np.nan], [np.nan]], "regression", "task 0 has no label"),
        ([[1.0], [np.inf]], "regression", "task 0 holds an infinite label"),
        ([[1.0], [2.0]], "classification", "task 0 holds 2, but labels of a classification are 0, 1 or empty"),
        ([[1.0]], "regression", r"labels have shape \(1, 1\), there are 2 molecules"),
        ([[1.0], [2.0]], "ranking", "task_type='ranking' is not allowed"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(labels, task_type, message):
    with pytest.raises(DataError, match=message):
        check_training_labels(np.array(labels), 2, task_type)


def test_the_logistic_curve_finds_the_one_that_made_the_classes():
    random = np.random.default_rng(0)
    values = random.normal(100, 5, 4000)
    labels = random.random(4000) < expit(0.4 * (values - 102))
    slope, offset = fit_logistic(values, labels.astype(float))
    assert slope == pytest.approx(0.4, rel=0.1)
    assert -offset / slope == pytest.approx(102, abs=0.5)


def test_the_curve_is_flat_where_values_say_nothing():
    assert fit_logistic(np.array([1.0, 2, 3, 4]), np.array([1, 1, 0, 0])) == (0.0, 0.0)
    slope, offset = fit_logistic(np.arange(8.0), np.zeros(8))
    assert (slope, expit(offset)) == (0.0, pytest.approx(0.1))


def test_separated_classes_keep_finite_curves():
    slope, offset = fit_logistic(np.array([-1e6] * 50 + [1e6] * 50), np.repeat([0, 1], 50))
    assert np.isfinite([slope, offset]).all()
    assert 0.9 < expit(slope * 1e6 + offset) < 1
