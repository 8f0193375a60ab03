"""How much each of several models counts in their joint answer, by what they said of rows they had not seen."""

from typing import NamedTuple

import numpy as np
from scipy import optimize

from dgl_moleblend.errors import DataError

_PRIOR = 30.0  # rows that the first guess counts as
_POWER = 4.0  # of a model's loss: how soon a worse one has no share in the first guess
_CLIP = 1e-4  # a probability nearer to 0 or 1 counts as this
_LEAST = 0.01  # a smaller weight is none


def blend_weights(predictions: np.ndarray, labels: np.ndarray, task_type: str, *, by_task: bool = False) -> np.ndarray:
    r"""Return weights of c models for each task: none negative, together 1.

    They minimise the loss :math:`L` of the weighted mean, squared error in units of the task's variance or log loss,
    and stay near a first guess :math:`g` that prefers the better models:

    .. math:: L(w) + \frac{30}{N} \min_k L(e_k) |w - g|^2, \qquad g_k \propto L(e_k)^{-4}

    So with few rows the guess decides, and with many the data.

    Parameters
    ----------
    predictions : ndarray, shape (c, N, t)
        Of rows that each model had not seen: values, or probabilities of class 1. A row counts where all models have
        a prediction and its label is present.
    labels : ndarray, shape (N, t)
        NaN = missing.
    task_type : {"regression", "classification", "multiclass"}
    by_task : bool
        Whether each task has weights of its own, with the shared ones as its first guess.

    Returns
    -------
    ndarray, shape (c, t)

    Raises
    ------
    DataError
        If shapes do not fit, a prediction is infinite, or no row counts.

    References
    ----------
    Breiman, "Stacked regressions" (1996): weights that are not negative.

    Examples
    --------
    >>> truth = np.linspace(0, 1, 200)[:, None]
    >>> wave = 0.1 * np.sin(40 * truth)
    >>> blend_weights(np.stack([truth + wave, truth - wave, 1 - truth]), truth, "regression").round(1).tolist()
    [[0.5], [0.5], [0.0]]
    """
    predictions, labels = np.asarray(predictions, np.float64), np.asarray(labels, np.float64)
    if predictions.ndim != 3 or predictions.shape[1:] != labels.shape or not len(predictions):
        raise DataError(
            f"predictions have shape {predictions.shape}, labels {labels.shape}",
            fix="give predictions of shape (models, N, tasks) and labels of shape (N, tasks)",
        )
    if np.isinf(predictions).any():
        model = int(np.argwhere(np.isinf(predictions))[0, 0])
        raise DataError(f"model {model} predicts an infinite value", fix="leave the model out")
    counts = ~(np.isnan(predictions).any(0) | np.isnan(labels))
    if not counts.any():
        raise DataError("no row has a label and a prediction of every model", fix="blend models that share their rows")
    tasks = {k: _Task.of(predictions[:, rows, k].T, labels[rows, k], task_type)
             for k, rows in enumerate(counts.T) if rows.any()}  # fmt: skip
    shared = _minimise(list(tasks.values()), None)
    weights = np.tile(shared[:, None], labels.shape[1])
    if by_task:
        for k, task in tasks.items():
            weights[:, k] = _minimise([task], shared)
    return weights


def blend(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of predictions (c, N, t) by weights (c, t), shape (N, t).

    A model whose weight is 0 may hold anything, NaN as well.

    Examples
    --------
    >>> blend(np.array([[[1.0]], [[np.nan]]]), np.array([[1.0], [0.0]]))
    array([[1.]])
    """
    return np.where(weights[:, None] > 0, predictions * weights[:, None], 0.0).sum(0)


class _Task(NamedTuple):
    """What models said of the rows of one task that count, (N, c), and the truth, (N,)."""

    said: np.ndarray
    truth: np.ndarray
    unit: float | None  # of squared errors; None for the log loss

    @classmethod
    def of(cls, said: np.ndarray, truth: np.ndarray, task_type: str) -> "_Task":
        if task_type != "regression":
            return cls(said.clip(_CLIP, 1 - _CLIP), truth, None)
        return cls(said, truth, float(truth.var()) or 1.0)

    def loss(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss of a weighted mean, and its gradient."""
        answer = self.said @ weights
        if self.unit is None:
            right = np.where(self.truth > 0, answer, 1 - answer)
            slope = np.where(self.truth > 0, -1, 1) / right
            return float(-np.log(right).mean()), self.said.T @ slope / len(answer)
        error = answer - self.truth
        return float((error**2).mean() / self.unit), 2 * self.said.T @ error / (len(answer) * self.unit)


def _minimise(tasks: list[_Task], guess: np.ndarray | None) -> np.ndarray:
    """Return weights (c,) for all the tasks together."""
    c = tasks[0].said.shape[1]
    single = np.array([np.mean([task.loss(unit)[0] for task in tasks]) for unit in np.eye(c)])
    best = single.min()
    if guess is None:
        guess = ((best + 1e-12) / (single + 1e-12)) ** _POWER
        guess /= guess.sum()
    pull = best * _PRIOR / np.mean([len(task.truth) for task in tasks]) + 1e-12

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        losses, slopes = zip(*(task.loss(weights) for task in tasks), strict=True)
        apart = weights - guess
        return float(np.mean(losses) + pull * (apart @ apart)), np.mean(slopes, axis=0) + 2 * pull * apart

    found = optimize.minimize(
        objective,
        guess,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * c,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(c)},
        options={"maxiter": 500, "ftol": 1e-10},
    ).x
    weights = np.where(found > _LEAST, found, 0.0) if np.isfinite(found).all() else guess
    return weights / weights.sum()
