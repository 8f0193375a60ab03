"""Bounds in the place of labels: what models learn from them."""

import numpy as np
import pytest
import torch

from dgl_moleblend.models.censored import expected_values, fit_with_bounds
from dgl_moleblend.models.losses import property_loss
from dgl_moleblend.models.targets import LabelScaling


@pytest.mark.parametrize("name", ["mse", "mae", "huber"])
def test_no_loss_on_the_right_side_and_the_usual_one_on_the_other(name):
    labels, bounds = torch.tensor([[8.0]] * 4), torch.tensor([[1], [1], [-1], [-1]])
    output = torch.tensor([[9.0], [5.0], [7.0], [10.0]], requires_grad=True)
    scaling = LabelScaling((0.0,), (2.0,))
    loss = property_loss(output, labels * 2, "regression", scaling, loss=name, bounds=bounds)
    loss.backward()
    wrong = property_loss(output[[1, 3]].detach(), labels[:2] * 2, "regression", scaling, loss=name)
    assert loss.item() == pytest.approx(wrong.item() / 2), "the mean over all labels; two cost nothing"
    assert (output.grad.ravel() != 0).tolist() == [False, True, False, True]
    assert output.grad[1] < 0 < output.grad[3], "up to a bound from below, down to one from above"


def test_a_bound_is_expected_beyond_itself_by_the_hazard_of_the_normal():
    """E[y | y > c] by a sum over a fine grid; a guess far on the wrong side gives the bound itself."""
    labels, bounds = np.array([[0.0], [2.0], [8.0], [8.0], [3.0]]), np.array([[0], [0], [1], [-1], [1]])
    guess = np.array([[1.0], [1.0], [7.5], [7.5], [-40.0]])
    found = expected_values(labels, bounds, guess).ravel()
    y = np.linspace(-5, 20, 200_001)
    density = np.exp(-((y - 7.5) ** 2) / 2)  # the deviation of exact labels from guesses is 1
    above, below = (np.average(y[side], weights=density[side]) for side in (y > 8, y < 8))
    assert found.tolist() == pytest.approx([0, 2, above, below, 3], abs=1e-3)


def test_a_model_is_fitted_to_bounds_then_to_what_is_expected():
    seen = []

    class Model:
        def __init__(self, labels):
            seen.append(labels)
            self.out_of_fold = np.array([[1.0], [1.0], [9.0]])

    labels, bounds = np.array([[0.0], [2.0], [8.0]]), np.array([[0], [0], [1]])
    fit_with_bounds(Model, labels, bounds)
    assert seen[0][2, 0] == 8 < seen[1][2, 0]
    assert len(seen) == 2
    fit_with_bounds(Model, labels, 0 * bounds)
    assert len(seen) == 3, "without bounds, once"


def test_what_is_not_known_stays():
    labels, bounds = np.array([[8.0], [np.nan], [8.0]]), np.array([[1], [0], [1]])
    found = expected_values(labels, bounds, np.array([[np.nan], [1.0], [9.0]])).ravel()
    assert found[[0, 2]].tolist() == [8, 9], "no exact label says how far off guesses are"
    assert np.isnan(found[1])
