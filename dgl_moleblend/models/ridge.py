"""Kernel ridge regression, which is a Gaussian process's mean, with all folds and tasks read from one inverse."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

PENALTIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Variances of the noise in units of the signal's that are tried, from `_START` on to where no task gains any more."""
_START = 4
_SPARSE = 0.5  # share of missing labels from which on a task is solved by itself


@dataclass(frozen=True)
class RidgeFit:
    """Coefficients of kernel functions, and what cross-validation saw.

    Parameters
    ----------
    coefficients : ndarray, shape (n, t)
        A prediction is the kernel to the n reference molecules times these.
    out_of_fold : ndarray, shape (N, t)
        Prediction of each row by the folds without it; NaN where its label is missing.
    penalty : ndarray, shape (t,)
        The chosen one of each task.
    """

    coefficients: np.ndarray
    out_of_fold: np.ndarray
    penalty: np.ndarray


def fit_exact(kernel: np.ndarray, target: np.ndarray, folds: np.ndarray) -> RidgeFit:
    r"""Choose each task's penalty by cross-validation and fit all rows with it.

    With :math:`P = (K + \lambda I)^{-1}`, the residuals of rows R that are left out together are
    :math:`P_{RR}^{-1} (P y)_R`, whatever their labels are: so a row without a label is one more row to leave out, and
    the folds of all tasks cost one inverse a penalty and a small system each.

    Parameters
    ----------
    kernel : ndarray, shape (N, N)
        Between training rows; symmetric, positive semi-definite.
    target : ndarray, shape (N, t)
        Standardised; NaN = missing, at least one a task is not.
    folds : ndarray of int, shape (N,)

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
    shared = np.flatnonzero((~present).mean(0) <= _SPARSE)
    alone = [(task, np.flatnonzero(present[:, task])) for task in np.flatnonzero((~present).mean(0) > _SPARSE)]

    def evaluate(penalty: float) -> tuple[np.ndarray, np.ndarray]:
        coefficients, held_out = np.zeros_like(filled), np.full_like(target, np.nan)
        if len(shared):
            inverse = _inverse(kernel, penalty)
            for task in shared:
                coefficients[:, task], held_out[:, task] = _one(inverse, filled[:, task], present[:, task], folds)
        for task, rows in alone:
            inverse = _inverse(kernel[np.ix_(rows, rows)], penalty)
            every = np.ones(len(rows), bool)
            coefficients[rows, task], held_out[rows, task] = _one(inverse, filled[rows, task], every, folds[rows])
        return coefficients, held_out

    return _search(evaluate, target)


def _search(evaluate: Callable[[float], tuple[np.ndarray, np.ndarray]], target: np.ndarray) -> RidgeFit:
    """Walk up and down the penalties as long as some task gains, and keep what is best for each."""
    tasks = target.shape[1]
    best = np.full(tasks, np.inf)
    chosen = np.full(tasks, _START)
    coefficients, out_of_fold = np.zeros((0, tasks)), np.full_like(target, np.nan)
    for step in (1, -1):
        place = _START + (step if step < 0 else 0)
        while 0 <= place < len(PENALTIES):
            made, held_out = evaluate(PENALTIES[place])
            coefficients = coefficients if len(coefficients) else np.zeros_like(made)
            squares = (held_out - target) ** 2
            counts = (~np.isnan(squares)).sum(0)
            error = np.where(counts > 0, np.nansum(squares, axis=0) / np.maximum(counts, 1), 1.0)
            better = error < best
            coefficients[:, better], out_of_fold[:, better] = made[:, better], held_out[:, better]
            best, chosen = np.where(better, error, best), np.where(better, place, chosen)
            if not better.any():
                break
            place += step
        if (chosen > _START).all():
            break
    return RidgeFit(coefficients, out_of_fold, np.array(PENALTIES)[chosen])


def _inverse(kernel: np.ndarray, penalty: float) -> np.ndarray:
    """Return the inverse of kernel + penalty, by Cholesky, both halves filled."""
    matrix = kernel.astype(np.float64, order="F")
    matrix[np.diag_indices(len(matrix))] += penalty
    factor, failed = linalg.lapack.dpotrf(matrix, lower=1, overwrite_a=1)
    assert not failed, "a kernel is positive semi-definite"
    inverse, failed = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    assert not failed
    for start in range(0, len(inverse), 1024):  # the upper half, a band of columns at a time
        band = slice(start, min(start + 1024, len(inverse)))
        inverse[: band.start, band] = inverse[band, : band.start].T
        square = np.tril(inverse[band, band])
        inverse[band, band] = square + np.tril(square, -1).T
    return inverse


def _one(
    inverse: np.ndarray, target: np.ndarray, present: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients and held-out predictions of one task; `target` is 0 where it is missing."""
    product = inverse @ target
    absent = np.flatnonzero(~present)
    coefficients = product
    if len(absent):  # K_oo^-1 y_o = P_oo y_o - P_oa P_aa^-1 P_ao y_o
        coefficients = product - inverse[:, absent] @ _solve(inverse, product, absent)
        coefficients[absent] = 0.0
    held_out = np.full(len(target), np.nan)
    if len(np.unique(folds[present])) > 1:
        for fold in np.unique(folds[present]):
            inside = np.flatnonzero(present & (folds == fold))
            left_out = np.concatenate([inside, absent])
            residual = _solve(inverse, product, left_out)[: len(inside)]
            held_out[inside] = target[inside] - residual
    return coefficients, held_out


def _solve(inverse: np.ndarray, product: np.ndarray, rows: np.ndarray) -> np.ndarray:
    block = inverse[np.ix_(rows, rows)]
    return linalg.cho_solve(linalg.cho_factor(block, lower=True, overwrite_a=True), product[rows])


def fit_nystroem(
    cross: np.ndarray, between: np.ndarray, target: np.ndarray, folds: np.ndarray, jitter: float = 1e-4
) -> RidgeFit:
    """Fit functions of the kernels to n of the N molecules, learned from all N: time grows with N n ** 2.

    Parameters
    ----------
    cross : ndarray, shape (N, n)
        From training rows to reference molecules.
    between : ndarray, shape (n, n)
        Between reference molecules.
    target, folds
        See `fit_exact`.
    jitter : float
        Added to the diagonal of `between`, for alike molecules.

    References
    ----------
    Williams and Seeger, "Using the Nystroem method to speed up kernel machines" (2000).
    """
    matrix = between.astype(np.float64)
    matrix[np.diag_indices(len(matrix))] += jitter
    root = linalg.cholesky(matrix, lower=True).astype(np.float32)
    columns = linalg.solve_triangular(root, cross.T, lower=True).T  # (N, n): molecules as vectors
    present = ~np.isnan(target)
    patterns, pattern = np.unique(present, axis=1, return_inverse=True)
    grams = []  # of each pattern of missing labels and each fold
    for rows in patterns.T:
        parts = [columns[rows & (folds == fold)] for fold in range(folds.max() + 1)]
        grams.append([(part.T @ part).astype(np.float64) for part in parts])

    def evaluate(penalty: float) -> tuple[np.ndarray, np.ndarray]:
        coefficients, held_out = np.zeros((len(matrix), target.shape[1])), np.full_like(target, np.nan)
        for number, parts in enumerate(grams):
            tasks = np.flatnonzero(np.ravel(pattern) == number)
            rows = patterns[:, number]
            gram = sum(parts) + penalty * np.eye(len(matrix))
            moment = columns[rows].T @ target[np.ix_(rows, tasks)]
            weights = linalg.cho_solve(linalg.cho_factor(gram, lower=True), moment)
            coefficients[:, tasks] = linalg.solve_triangular(root.astype(np.float64), weights, lower=True, trans=1)
            for fold, part in enumerate(parts):
                inside = np.flatnonzero(rows & (folds == fold))
                if not len(inside) or len(inside) == rows.sum():
                    continue
                rest = moment - columns[inside].T @ target[np.ix_(inside, tasks)]
                weights = linalg.cho_solve(linalg.cho_factor(gram - part, lower=True), rest)
                held_out[np.ix_(inside, tasks)] = columns[inside] @ weights
        return coefficients, held_out

    return _search(evaluate, target)
