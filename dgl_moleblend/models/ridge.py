"""Kernel ridge regression, which is a Gaussian process's mean, with all folds and tasks read from one inverse."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # whose parts are imported where they are used

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variances of the noise in units of the signal's that are tried, from `_START` on to where a task gains no more."""
_START = 3
_SPARSE = 0.5  # share of missing labels from which on a task is solved by itself
_BAND = 1024  # rows or columns worked on at a time
_JITTER = 1e-4  # added to a kernel's diagonal, for molecules that are alike
Loss = Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
Evaluated = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Of a penalty and some tasks: coefficients, held-out predictions and their variances."""


def squared_error(held_out: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean squared error, of rows whose prediction and label are present."""
    return float(np.average((held_out - target) ** 2, weights=weights))


@dataclass(frozen=True)
class RidgeFit:
    """Coefficients of kernel functions, and what cross-validation saw.

    Parameters
    ----------
    coefficients : ndarray, shape (n, t)
        A prediction is the kernel to the n reference molecules times these.
    out_of_fold : ndarray, shape (N, t)
        Prediction of each row by the folds without it; NaN where its label is missing.
    penalty, loss : ndarray, shape (t,)
        The chosen penalty of each task, and the loss of its held-out rows; infinite where none was held out.
    variance : ndarray, shape (N, t), optional
        How sure the folds without a row are of it: the variance of its label, noise and all, in units of the signal's.
        NaN where its label is missing; None of reference molecules.
    """

    coefficients: np.ndarray
    out_of_fold: np.ndarray
    penalty: np.ndarray
    loss: np.ndarray
    variance: np.ndarray | None = None


def fit_exact(
    kernel: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    loss: Loss = squared_error,
    weights: np.ndarray | None = None,
) -> RidgeFit:
    r"""Choose each task's penalty by cross-validation and fit all rows with it.

    With :math:`P = (K + \lambda I)^{-1}`, the residuals of rows R that are left out together are
    :math:`P_{RR}^{-1} (P y)_R`, whatever their labels are: so a row without a label is one more row to leave out, and
    the folds of all tasks cost one inverse a penalty and a small system each. Their variances are the diagonal of
    :math:`P_{RR}^{-1}`.

    Parameters
    ----------
    kernel : ndarray, shape (N, N)
        Between training rows; symmetric, positive semi-definite.
    target : ndarray, shape (N, t)
        Standardised; NaN = missing, at least one a task is not.
    folds : ndarray of int, shape (N,)
    loss : callable
        Of held-out predictions, the labels of one task, and weights; the penalty of the smallest is kept.
    weights : ndarray, shape (N,), optional
        Above 0: the noise of a row is the penalty over its weight. The variance of a held-out label is that of a row
        of weight 1.

    References
    ----------
    Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), eq. 5.12, for one row at a time.

    Examples
    --------
    >>> kernel = np.exp(-((np.arange(6.0)[:, None] - np.arange(6)) ** 2) / 9)
    >>> fit = fit_exact(kernel, np.linspace(-1, 1, 6)[:, None], np.arange(6) % 3)
    >>> bool(np.abs(fit.out_of_fold[:, 0] - np.linspace(-1, 1, 6)).max() < 0.5)
    True
    """
    present = ~np.isnan(target)
    filled = np.where(present, target, 0.0)
    sparse = present.mean(0) < _SPARSE
    share = np.ones(len(kernel)) if weights is None else 1 / weights

    def evaluate(penalty: float, tasks: np.ndarray) -> Evaluated:
        coefficients, held_out = np.zeros_like(filled[:, tasks]), np.full_like(filled[:, tasks], np.nan)
        variance = np.full_like(held_out, np.nan)
        inverse = None if sparse[tasks].all() else _inverse(kernel, penalty * share)
        for k, task in enumerate(tasks):
            if not sparse[task]:
                assert inverse is not None
                found = _one(inverse, filled[:, task], present[:, task], folds)
                coefficients[:, k], held_out[:, k], variance[:, k] = found
                continue
            rows = np.flatnonzero(present[:, task])
            own = _inverse(kernel[np.ix_(rows, rows)], penalty * share[rows])
            found = _one(own, filled[rows, task], rows >= 0, folds[rows])
            coefficients[rows, k], held_out[rows, k], variance[rows, k] = found
        if weights is not None:  # of the noise of a row of weight 1, as a new one's is
            variance += penalty * (1 - share[:, None])
        return coefficients, held_out, variance

    return _search(evaluate, target, len(kernel), loss, weights, variances=True)


def _search(
    evaluate: Callable[[float, np.ndarray], Evaluated],
    target: np.ndarray,
    n: int,
    loss: Loss,
    weights: np.ndarray | None,
    *,
    variances: bool,
) -> RidgeFit:
    """Walk up the penalties and then down, with the tasks that still gain, and keep what is best for each."""
    t, nothing = target.shape[1], np.full_like(target, np.nan)
    best = RidgeFit(np.zeros((n, t)), nothing, np.full(t, PENALTIES[_START]), np.full(t, np.inf),
                    nothing.copy() if variances else None)  # fmt: skip

    def gaining(place: int, tasks: np.ndarray) -> np.ndarray:
        coefficients, held_out, variance = evaluate(PENALTIES[place], tasks)
        gains = []
        for k, task in enumerate(tasks):
            rows = ~np.isnan(held_out[:, k])
            own = None if weights is None else weights[rows]
            now = loss(held_out[rows, k], target[rows, task], own) if rows.any() else np.inf
            if now < best.loss[task] or place == _START:
                best.coefficients[:, task], best.out_of_fold[:, task] = coefficients[:, k], held_out[:, k]
                if best.variance is not None and variance is not None:
                    best.variance[:, task] = variance[:, k]
                best.penalty[task], best.loss[task] = PENALTIES[place], now
                gains.append(task)
        return np.array(gains, np.int64)

    gaining(_START, np.arange(t))
    everyone = np.flatnonzero(np.isfinite(best.loss))
    for places in (range(_START + 1, len(PENALTIES)), range(_START - 1, -1, -1)):
        tasks = everyone[best.penalty[everyone] == PENALTIES[_START]]
        for place in places:
            if not len(tasks):
                break
            tasks = gaining(place, tasks)
    return best


def _inverse(kernel: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Return the inverse of kernel + penalty of each row, by Cholesky, both halves filled."""
    matrix = kernel.astype(np.float64, order="F")
    matrix[np.diag_indices(len(matrix))] += penalty
    factor, failed = scipy.linalg.lapack.dpotrf(matrix, lower=1, overwrite_a=1)
    assert not failed, "a kernel is positive semi-definite"
    inverse, failed = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    assert not failed
    for start in range(0, len(inverse), _BAND):  # the upper half, a band of columns at a time
        band = slice(start, min(start + _BAND, len(inverse)))
        inverse[: band.start, band] = inverse[band, : band.start].T
        square = np.tril(inverse[band, band])
        inverse[band, band] = square + np.tril(square, -1).T
    return inverse


def _one(
    inverse: np.ndarray, target: np.ndarray, present: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coefficients, held-out predictions and their variances of one task; `target` is 0 where it is missing."""
    product = inverse @ target
    absent = np.flatnonzero(~present)
    coefficients = product
    if len(absent):  # K_oo^-1 y_o = P_oo y_o - P_oa P_aa^-1 P_ao y_o
        coefficients = product - inverse[:, absent] @ _solve(inverse, product, absent)[0]
        coefficients[absent] = 0.0
    held_out, variance = np.full((2, len(target)), np.nan)
    if len(np.unique(folds[present])) > 1:
        for fold in np.unique(folds[present]):
            inside = np.flatnonzero(present & (folds == fold))
            left_out = np.concatenate([inside, absent])
            residual, factor = _solve(inverse, product, left_out)
            held_out[inside] = target[inside] - residual[: len(inside)]
            root = scipy.linalg.lapack.dtrtri(factor, lower=1)[0]
            variance[inside] = (np.tril(root) ** 2).sum(0)[: len(inside)]
    return coefficients, held_out, variance


def _solve(inverse: np.ndarray, product: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return P_RR^-1 (P y)_R and the lower Cholesky factor of P_RR."""
    block = inverse[np.ix_(rows, rows)]
    factor = scipy.linalg.cho_factor(block, lower=True, overwrite_a=True)
    return scipy.linalg.cho_solve(factor, product[rows]), factor[0]


def fit_nystroem(
    cross: np.ndarray,
    between: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    loss: Loss = squared_error,
    weights: np.ndarray | None = None,
) -> RidgeFit:
    """Fit functions of the kernels to n of the N molecules, learned from all N: time grows with N n ** 2.

    Parameters
    ----------
    cross : ndarray, shape (N, n)
        From training rows to reference molecules.
    between : ndarray, shape (n, n)
        Between reference molecules.
    target, folds, loss, weights
        See `fit_exact`.

    References
    ----------
    Williams and Seeger, "Using the Nystroem method to speed up kernel machines" (2000).
    """
    matrix = between.astype(np.float64)
    matrix[np.diag_indices(len(matrix))] += _JITTER
    root = scipy.linalg.cholesky(matrix, lower=True)
    columns = np.empty(cross.shape, np.float32)  # (N, n): molecules as vectors
    for start in range(0, len(cross), _BAND):
        columns[start : start + _BAND] = scipy.linalg.solve_triangular(
            root, cross[start : start + _BAND].T, lower=True
        ).T
    root_weights = np.ones(len(cross), np.float32) if weights is None else np.sqrt(weights).astype(np.float32)
    weighed, aims = columns * root_weights[:, None], target * root_weights[:, None]
    present = ~np.isnan(target)
    patterns, pattern = np.unique(present, axis=1, return_inverse=True)
    pattern = np.ravel(pattern)
    grams = []  # of each pattern of missing labels and each fold
    for rows in patterns.T:
        parts = [weighed[rows & (folds == fold)] for fold in range(folds.max() + 1)]
        grams.append([(part.T @ part).astype(np.float64) for part in parts])

    def evaluate(penalty: float, tasks: np.ndarray) -> Evaluated:
        coefficients, held_out = np.zeros((len(matrix), len(tasks))), np.full((len(columns), len(tasks)), np.nan)
        for number in np.unique(pattern[tasks]):
            among = np.flatnonzero(pattern[tasks] == number)
            rows, parts = patterns[:, number], grams[number]
            gram = sum(parts) + penalty * np.eye(len(matrix))
            moment = weighed[rows].T @ aims[np.ix_(rows, tasks[among])]
            slopes = scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram, lower=True), moment)
            coefficients[:, among] = scipy.linalg.solve_triangular(root, slopes, lower=True, trans=1)
            for fold, part in enumerate(parts):
                inside = np.flatnonzero(rows & (folds == fold))
                if not 0 < len(inside) < rows.sum():
                    continue
                rest = moment - weighed[inside].T @ aims[np.ix_(inside, tasks[among])]
                slopes = scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram - part, lower=True), rest)
                held_out[np.ix_(inside, among)] = columns[inside] @ slopes
        return coefficients, held_out, None

    return _search(evaluate, target, len(matrix), loss, weights, variances=False)
