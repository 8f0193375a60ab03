"""Labels that are bounds, for models that learn from numbers alone: replaced by what the value is expected to be."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import scipy  # whose parts are imported where they are used

ROUNDS = 1
_FAR = 6.0  # deviations beyond the bound from which on the expectation is the bound, as far as numbers tell


class _Fitted(Protocol):
    out_of_fold: np.ndarray | None


M = TypeVar("M", bound=_Fitted)


def fit_with_bounds(fit: Callable[[np.ndarray], M], labels: np.ndarray, bounds: np.ndarray, rounds: int = ROUNDS) -> M:
    r"""Fit a model to labels, some of which are bounds: expectation and maximisation of a Tobit model.

    First each bound stands for its value. Then it is replaced by the expectation of a value beyond it,

    .. math:: E[y | y > c] = \mu + \sigma \phi(z) / (1 - \Phi(z)), \qquad z = (c - \mu) / \sigma

    with :math:`\mu` the prediction of a model that had not seen the row and :math:`\sigma` the deviation of such
    predictions from exact labels; and the model is fitted again.

    Parameters
    ----------
    fit : callable
        From labels, shape (N, t), to a model with `out_of_fold` predictions of the same shape.
    labels : ndarray, shape (N, t)
        NaN = missing.
    bounds : ndarray of int, shape (N, t)
        1 where the value is above its label, -1 below, 0 where it is the label.
    rounds : int
        How often bounds are replaced.

    References
    ----------
    Tobin, "Estimation of relationships for limited dependent variables" (1958).
    """
    model = fit(labels)
    for _ in range(rounds if bounds.any() else 0):
        assert model.out_of_fold is not None
        model = fit(expected_values(labels, bounds, model.out_of_fold))
    return model


def expected_values(labels: np.ndarray, bounds: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return labels with the expected value in the place of each bound.

    Parameters
    ----------
    labels, bounds, predicted : ndarray, shape (N, t)
        See `fit_with_bounds`; `predicted` by models that had not seen the row, NaN where there is none.

    Examples
    --------
    >>> labels, bounds = np.array([[5.0], [7.0], [8.0], [8.0]]), np.array([[0], [0], [1], [1]])
    >>> expected_values(labels, bounds, np.array([[6.0], [6.0], [9.5], [7.0]])).ravel().round(2).tolist()
    [5.0, 7.0, 9.64, 8.53]
    """
    values = labels.copy()
    for task in range(labels.shape[1]):
        bound, guess = bounds[:, task] != 0, predicted[:, task]
        error = (labels[:, task] - guess)[~bound]
        error = error[~np.isnan(error)]
        spread = float(np.sqrt((error**2).mean())) if len(error) else 0.0
        known = bound & ~np.isnan(labels[:, task]) & ~np.isnan(guess)
        side = bounds[known, task]
        if not spread > 0:
            values[known, task] = side * np.maximum(side * labels[known, task], side * guess[known])
            continue
        z = side * (labels[known, task] - guess[known]) / spread
        # the hazard of the normal distribution; it tends to z where the guess is far on the wrong side
        hazard = np.where(z < _FAR, scipy.stats.norm.pdf(z) / scipy.stats.norm.sf(np.minimum(z, _FAR)), z)
        values[known, task] = guess[known] + side * spread * hazard
    return values
