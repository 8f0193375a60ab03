"""Folds of training rows, and decision values -> probabilities: what every model needs that scores itself."""

import numpy as np
import scipy  # whose parts are imported where they are used

from dgl_moleblend.errors import DataError

NUM_FOLDS = 4
_LEAST_WEIGHT = 1e-6  # of a mean of 1
_ROUNDS = 50


def make_folds(rows: int, folds: np.ndarray | None = None, *, seed: int = 0, count: int = NUM_FOLDS) -> np.ndarray:
    """Return the fold of each row: the given ones, checked, or random ones of equal size.

    Parameters
    ----------
    rows : int
    folds : ndarray of int, shape (rows,), optional
        Rows of one scaffold may share a fold. Any numbers.
    seed : int
        Of random folds.
    count : int
        How many random folds, or one for each row where there are fewer.

    Returns
    -------
    ndarray of int, shape (rows,)
        Counted from 0.

    Raises
    ------
    DataError
        If there are no rows, or `folds` does not fit them.

    Examples
    --------
    >>> np.bincount(make_folds(10))
    array([3, 3, 2, 2])
    """
    if rows == 0:
        raise DataError("there is no molecule to learn from", fix="give training rows")
    if folds is None:
        return np.random.default_rng(seed).permutation(np.arange(rows) % min(count, rows))
    folds = np.asarray(folds)
    if folds.shape != (rows,) or not np.issubdtype(folds.dtype, np.integer):
        raise DataError(
            f"folds have shape {folds.shape} and type {folds.dtype}, there are {rows:,} molecules",
            fix="give the number of its fold for each molecule",
        )
    return np.unique(folds, return_inverse=True)[1]


def check_training_labels(labels: np.ndarray, rows: int, task_type: str) -> np.ndarray:
    """Return labels as float64, shape (rows, t).

    Raises
    ------
    DataError
        If the shape is another, a task has no label at all, one is infinite or, for classification, not 0 or 1.
    """
    labels = np.asarray(labels, np.float64)
    if labels.ndim != 2 or labels.shape[0] != rows:
        raise DataError(
            f"labels have shape {labels.shape}, there are {rows:,} molecules", fix="give labels of shape (N, tasks)"
        )
    if task_type not in ("regression", "classification"):
        raise DataError(f"task_type={task_type!r} is not allowed", fix="give 'regression' or 'classification'")
    for task, column in enumerate(labels.T):
        present = column[~np.isnan(column)]
        if not len(present):
            raise DataError(f"task {task} has no label", fix="leave the task out, or give labels")
        if np.isinf(present).any():
            raise DataError(f"task {task} holds an infinite label", fix="correct it, or leave it empty (NaN)")
        odd = present[~np.isin(present, (0, 1))]
        if task_type == "classification" and len(odd):
            raise DataError(
                f"task {task} holds {odd[0]:g}, but labels of a classification are 0, 1 or empty",
                fix="write the classes as 0 and 1, or ask for a regression",
            )
    return labels


def fit_logistic(values: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Fit the probability of class 1 as a logistic curve of a decision value.

    Parameters
    ----------
    values : ndarray, shape (N,)
        Of molecules that were held out when the decision was learned.
    labels : ndarray, shape (N,)
        0 or 1, none missing.

    Returns
    -------
    slope, offset : float
        The probability is ``expit(slope * value + offset)``. No slope is negative: where values do not rank the
        classes at all it is 0, and the probability is their share. A class without rows has probability
        1 / (N + 2) rather than 0.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines" (1999), with his smoothed targets; Lin, Lin and Weng
    (2007) for the Newton steps.

    Examples
    --------
    >>> slope, offset = fit_logistic(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))
    >>> bool(scipy.special.expit(slope * 3 + offset) > 0.8)
    True
    >>> fit_logistic(np.array([0.3, 0.1]), np.array([1, 1]))[0]
    0.0
    """
    ones, n = labels.sum(), len(labels)
    prior = (ones + 1) / (n + 2)
    flat = (0.0, float(np.log(prior / (1 - prior))))
    centre, width = values.mean(), values.std()
    if ones in (0, n) or not width > 1e-12:
        return flat
    z = np.stack([(values - centre) / width, np.ones(n)], 1)
    target = np.where(labels > 0, (ones + 1) / (ones + 2), 1 / (n - ones + 2))

    def loss(w: np.ndarray) -> float:
        f = z @ w
        return float((np.logaddexp(0, f) - target * f).sum())

    weights = np.array([0.0, flat[1]])
    for _ in range(_ROUNDS):
        p = scipy.special.expit(z @ weights)
        gradient = z.T @ (p - target)
        hessian = (z * (p * (1 - p))[:, None]).T @ z + 1e-9 * np.eye(2)
        step, now, size = np.linalg.solve(hessian, gradient), loss(weights), 1.0
        while loss(weights - size * step) > now and size > 1e-6:
            size /= 2
        weights = weights - size * step
        if np.abs(size * step).max() < 1e-8:
            break
    slope = float(weights[0] / width)
    return (slope, float(weights[1] - slope * centre)) if slope > 0 else flat


def usable_weights(weights: np.ndarray) -> np.ndarray:
    """Return weights of mean 1, none so small that noise, which is the penalty over the weight, has no number.

    >>> usable_weights(np.array([1.0, 3.0, 0.0])).round(6).tolist()
    [0.75, 2.25, 1e-06]
    """
    return np.maximum(weights / weights.mean(), _LEAST_WEIGHT)


def mean_and_scale(labels: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column, missing labels left out, weighted where there are weights.

    >>> mean_and_scale(np.array([[0.0], [4.0], [np.nan]]), np.array([3.0, 1.0, 1.0]))[0].tolist()
    [1.0]
    """
    if weights is None:
        return np.nanmean(labels, axis=0), np.nanstd(labels, axis=0)
    counts = np.where(np.isnan(labels), 0.0, weights[:, None])
    mean = (counts * np.nan_to_num(labels)).sum(0) / counts.sum(0)
    return mean, np.sqrt((counts * np.nan_to_num(labels - mean) ** 2).sum(0) / counts.sum(0))
