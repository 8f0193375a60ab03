"""Weights of a blend: what is obvious comes out, and few rows change little."""

import numpy as np
import pytest

from dgl_moleblend.errors import DataError
from dgl_moleblend.models.blend_weights import blend, blend_weights

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(size=(600, 1))


def off(error):
    return TRUTH + error * RANDOM.normal(size=TRUTH.shape)


def test_equal_models_with_errors_of_their_own_weigh_the_same():
    weights = blend_weights(np.stack([off(0.5), off(0.5)]), TRUTH, "regression")
    np.testing.assert_allclose(weights, 0.5, atol=0.07)


def test_independent_errors_weigh_by_the_inverse_of_their_variance():
    weights = blend_weights(np.stack([off(0.3), off(0.6)]), TRUTH, "regression")
    np.testing.assert_allclose(weights[:, 0], [0.8, 0.2], atol=0.07)


def test_a_model_that_says_nothing_has_no_weight():
    weights = blend_weights(np.stack([off(0.5), np.zeros_like(TRUTH), -off(0.5)]), TRUTH, "regression")
    assert weights[0, 0] > 0.8
    assert weights[2, 0] == 0
    assert weights.sum() == pytest.approx(1)


def test_weights_do_not_depend_on_the_unit():
    models = np.stack([off(0.4), off(0.5), off(0.9)])
    one, other = blend_weights(models, TRUTH, "regression"), blend_weights(models * 1e4, TRUTH * 1e4, "regression")
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_few_rows_change_the_first_guess_little():
    models = np.stack([TRUTH + 0.5 * np.where(np.arange(600) % 2, 1, -1)[:, None], off(0.5)])
    few, many = (blend_weights(models[:, :n], TRUTH[:n], "regression")[0, 0] for n in (4, 600))
    assert abs(few - 0.5) < 0.25
    assert abs(many - 0.5) < 0.1


def test_probabilities_are_weighed_by_their_log_loss():
    labels = (TRUTH > 0).astype(float)
    right = np.where(labels > 0, 0.8, 0.2)
    weights = blend_weights(np.stack([right, np.full_like(right, 0.5), 1 - right]), labels, "classification")
    assert weights[0, 0] > 0.9
    certain = np.where(RANDOM.random(labels.shape) < 0.9, labels, 1 - labels)  # sure, and wrong in one of ten
    assert blend_weights(np.stack([right, certain]), labels, "classification")[0, 0] > 0.5


def test_tasks_share_weights_or_have_their_own():
    labels = np.concatenate([TRUTH, TRUTH], 1)
    good, bad = off(0.2), off(2.0)
    models = np.stack([np.concatenate([good, bad], 1), np.concatenate([bad, good], 1)])
    np.testing.assert_allclose(blend_weights(models, labels, "regression"), 0.5, atol=0.05)
    own = blend_weights(models, labels, "regression", by_task=True)
    assert own[0, 0] > 0.9
    assert own[1, 1] > 0.9


def test_rows_without_a_label_or_a_prediction_do_not_count():
    models, labels = np.stack([off(0.4), off(0.5)]), TRUTH.copy()
    expected = blend_weights(models[:, 100:], labels[100:], "regression")
    models[1, :50], labels[50:100] = np.nan, np.nan
    np.testing.assert_allclose(blend_weights(models, labels, "regression"), expected, atol=1e-6)


def test_one_model_one_row_and_perfect_models_have_weights():
    assert blend_weights(off(1.0)[None], TRUTH, "regression").tolist() == [[1.0]]
    one_row = blend_weights(np.array([[[1.0]], [[2.0]]]), np.array([[1.0]]), "regression")
    assert one_row.sum() == pytest.approx(1)
    assert blend_weights(np.stack([TRUTH, off(1.0)]), TRUTH, "regression")[0, 0] > 0.99


def test_a_model_of_no_weight_may_be_absent_from_the_blend():
    said = np.array([[[1.0, 2.0]], [[np.nan, 4.0]]])
    assert blend(said, np.array([[1.0, 0.5], [0.0, 0.5]])).tolist() == [[1.0, 3.0]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match=r"predictions have shape \(600, 1\), labels \(600, 1\)"):
        blend_weights(TRUTH, TRUTH, "regression")
    with pytest.raises(DataError, match="model 1 predicts an infinite value"):
        blend_weights(np.stack([TRUTH, np.full_like(TRUTH, np.inf)]), TRUTH, "regression")
    with pytest.raises(DataError, match="no row has a label and a prediction of every model"):
        blend_weights(np.stack([TRUTH, np.full_like(TRUTH, np.nan)]), TRUTH, "regression")
