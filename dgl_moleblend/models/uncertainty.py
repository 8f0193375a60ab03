r"""How well deviations that a model holds possible describe its errors: Gaussian likelihood, ENCE, miscalibration."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from dgl_moleblend.config import check

UNCERTAINTY = ("nll", "ence", "miscalibration_area")
"""Scores of deviations, each the better the lower."""
_BINS = 10
_LEAST_IN_BIN = 10


def score_deviations(error: np.ndarray, deviation: np.ndarray) -> dict[str, float]:
    """Score deviations by the errors that came.

    Parameters
    ----------
    error : ndarray, shape (n,)
        Label less prediction, none missing.
    deviation : ndarray, shape (n,)
        What the model held possible of each, above 0, in the same unit.

    Returns
    -------
    dict of `UNCERTAINTY` to float
    """
    check(len(error) > 0 and bool((deviation > 0).all()), "deviation", deviation, "above 0, of one row at least")
    return {
        "nll": gaussian_nll(error, deviation),
        "ence": ence(error, deviation),
        "miscalibration_area": miscalibration_area(error, deviation),
    }


def gaussian_nll(error: np.ndarray, deviation: np.ndarray) -> float:
    r"""Return the mean negative log likelihood of errors, :math:`\ln(\sigma \sqrt{2 \pi}) + e^2 / 2 \sigma^2`.

    Examples
    --------
    >>> round(gaussian_nll(np.array([0.0, 2.0]), np.array([1.0, 2.0])), 4)
    1.5155
    """
    relative = error / deviation
    return float(np.mean(np.log(deviation) + relative**2 / 2) + math.log(2 * math.pi) / 2)


def ence(error: np.ndarray, deviation: np.ndarray) -> float:
    """Return the expected normalised calibration error.

    Rows are sorted by deviation and divided in bins of like number (ten, fewer where that leaves less than ten rows
    each); of each bin, how far the root mean square error is from the root mean square deviation, as a share of that.

    References
    ----------
    Levi et al., "Evaluating and Calibrating Uncertainty Prediction in Regression Tasks" (2022), equation 8.

    Examples
    --------
    >>> round(ence(np.array([1.0, -1.0, 3.0, -3.0]), np.array([1.0, 1.0, 2.0, 2.0])), 6)  # |√5 - √2.5| / √2.5
    0.414214
    """
    count = max(1, min(_BINS, len(error) // _LEAST_IN_BIN))
    order = np.argsort(deviation, kind="stable")
    shares = []
    for rows in np.array_split(order, count):
        possible, came = (float(np.sqrt(np.mean(values[rows] ** 2))) for values in (deviation, error))
        shares.append(abs(possible - came) / possible)
    return float(np.mean(shares))


def miscalibration_area(error: np.ndarray, deviation: np.ndarray) -> float:
    r"""Return the area between the coverage that Gaussian intervals promise and the one they have, from 0 to 1/2.

    For each share p, the interval of :math:`\pm \Phi^{-1}((1 + p) / 2) \, \sigma` holds a share F(p) of the rows; the
    area is :math:`\int_0^1 |F(p) - p| \, dp`.

    References
    ----------
    Kuleshov et al., "Accurate Uncertainties for Deep Learning Using Calibrated Regression" (2018).

    Examples
    --------
    >>> miscalibration_area(np.array([0.0]), np.array([1.0]))  # F is 1 throughout: the errors are too small
    0.5
    """
    import scipy.special

    held_from = np.sort(scipy.special.erf(np.abs(error / deviation) / math.sqrt(2)))  # the share p from which each is
    edges = np.concatenate([[0.0], held_from, [1.0]])
    total = 0.0
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        level = k / len(held_from)
        total += _between(level, float(low), float(high))
    return total


def _between(level: float, low: float, high: float) -> float:
    """Return the integral of |level - p| over p from low to high."""
    if low < level < high:
        return ((level - low) ** 2 + (high - level) ** 2) / 2
    return abs((high - low) * (level - (low + high) / 2))


def score_columns(
    labels: Sequence[np.ndarray], values: Sequence[np.ndarray], deviations: Sequence[np.ndarray], names: Sequence[str]
) -> dict[str, dict[str, float | int]]:
    """Score the deviations of several properties, of the rows where label, prediction and deviation are known.

    Returns
    -------
    dict
        For each property that has such rows "rows" and the scores of `score_deviations`.
    """
    found: dict[str, dict[str, float | int]] = {}
    for name, label, value, deviation in zip(names, labels, values, deviations, strict=True):
        known = np.isfinite(label) & np.isfinite(value) & (np.nan_to_num(deviation) > 0)
        if known.any():
            found[name] = {"rows": int(known.sum()),
                           **score_deviations((label - value)[known], deviation[known])}  # fmt: skip
    return found
