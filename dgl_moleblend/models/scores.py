"""How good predictions are: the scores of each type of task, which way is better, and their means over tasks."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

METRICS = {
    "regression": ("rmse", "mae", "r2", "spearman", "pearson"),
    "classification": ("roc_auc", "pr_auc", "mcc", "f1", "balanced_accuracy", "accuracy"),
    "multiclass": ("roc_auc", "mcc", "balanced_accuracy", "accuracy", "pr_auc", "f1"),
}
"""Scores of each type of task; the first chooses the model unless another is asked for."""
SCALED = "scaled"
"""The score of several regression targets: their mean RMSE, each in units of its training labels' deviation."""
LOWER_IS_BETTER = ("rmse", "mae", "loss", SCALED)
THRESHOLD = 0.5
"""From this probability on, a molecule is called class 1."""
_CORRELATIONS = ("spearman", "pearson")


def shared_metrics(task_type: str, num_tasks: int) -> tuple[str, ...]:
    """Return the scores whose mean over tasks means something; the first chooses the model.

    Examples
    --------
    >>> shared_metrics("regression", 1), shared_metrics("regression", 2)
    (('rmse', 'mae', 'r2', 'spearman', 'pearson'), ('scaled', 'r2', 'spearman', 'pearson'))
    """
    several = task_type == "regression" and num_tasks > 1
    return (SCALED, *METRICS[task_type][2:]) if several else METRICS[task_type]


def main_metrics(task_type: str, num_tasks: int) -> tuple[str, ...]:
    """Return the three of these that a short table shows.

    Examples
    --------
    >>> main_metrics("classification", 12), main_metrics("regression", 2)
    (('roc_auc', 'pr_auc', 'mcc'), ('scaled', 'r2', 'spearman'))
    """
    return shared_metrics(task_type, num_tasks)[:3]


def score(
    prediction: np.ndarray,
    labels: np.ndarray,
    task_type: str,
    names: Sequence[str],
    scale: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Score predictions against the labels that are present.

    MCC, F1, accuracy and balanced accuracy call a molecule class 1 from a probability of 0.5 on; of several classes,
    the most probable one.

    Parameters
    ----------
    prediction, labels : ndarray, shape (rows, t)
        Values in the unit of the target, or probabilities and 0 / 1; NaN labels are missing. Of multiclass a column is
        a class.
    task_type : {"regression", "classification", "multiclass"}
    names : sequence of t str
    scale : sequence of t float, optional
        Deviation of each task's training labels.

    Returns
    -------
    dict
        The mean over tasks of each score in ``METRICS[task_type]``, None where no task has it; with `scale`,
        for several regression tasks, also "scaled": the mean RMSE in units of `scale`, in which every task counts;
        "tasks": the same for each task, with its number of labels; "left_out": how many tasks have no such score,
        because only one class (or fewer than two values, for r2 and correlations) is present. A correlation is 0 where
        all predictions are the same. Of multiclass "tasks" holds each class against the rest; areas and F1 are their
        mean (macro), MCC, accuracy and balanced accuracy those of all classes together.

    Examples
    --------
    >>> result = score(np.array([[0.9], [0.2]]), np.array([[1.0], [0.0]]), "classification", ["active"])
    >>> result["roc_auc"], result["mcc"], result["left_out"]["roc_auc"]
    (1.0, 1.0, 0)
    """
    tasks: dict[str, dict[str, Any]] = {}
    prediction, labels = np.asarray(prediction, np.float64), np.asarray(labels, np.float64)  # squares may be large
    called = prediction >= THRESHOLD
    if task_type == "multiclass":
        called = prediction.argmax(1)[:, None] == np.arange(len(names))
    for name, predicted, label, call in zip(names, prediction.T, labels.T, called.T.astype(float), strict=True):
        present = ~np.isnan(label)
        if task_type == "regression":
            found = _score_values(predicted[present], label[present])
        else:
            found = _score_classes(predicted[present], label[present], call[present])
        tasks[name] = {"labels": int(present.sum()), **{m: found.get(m) for m in METRICS[task_type]}}
    result: dict[str, Any] = {}
    for metric in METRICS[task_type]:
        values = [value for task in tasks.values() if (value := task[metric]) is not None]
        result[metric] = float(np.mean(values)) if values else None
    if task_type == "multiclass":
        known = ~np.isnan(labels).any(1)
        result |= _score_together(prediction[known].argmax(1), labels[known].argmax(1))
    if scale is not None and task_type == "regression" and len(names) > 1:
        each = [task["rmse"] / one for task, one in zip(tasks.values(), scale, strict=True) if task["rmse"] is not None]
        result[SCALED] = float(np.mean(each)) if each else None
    result["left_out"] = {m: sum(task[m] is None for task in tasks.values()) for m in METRICS[task_type]}
    result["tasks"] = tasks
    return result


def score_constants(
    prediction: np.ndarray,
    labels: np.ndarray,
    task_type: str,
    names: Sequence[str],
    scale: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Score a model that knows nothing of molecules: it says a mean, of all or of each fold's training rows.

    Errors are those of what it says. It ranks no molecule above another, so that areas are those of one constant, and
    there is no correlation: means of folds differ, each lower where its fold's labels are higher.

    Parameters
    ----------
    prediction, labels, task_type, names, scale
        See `score`.

    Examples
    --------
    >>> means, labels = np.array([[0.6], [0.4], [0.6], [0.4]]), np.array([[0.0], [1.0], [0.0], [1.0]])
    >>> score(means, labels, "classification", ["active"])["roc_auc"]
    0.0
    >>> score_constants(means, labels, "classification", ["active"])["roc_auc"]
    0.5
    """
    if task_type != "regression" and len(prediction):
        prediction = np.broadcast_to(np.asarray(prediction, np.float64).mean(0), np.shape(prediction))
    result = score(prediction, labels, task_type, names, scale)
    for metric in _CORRELATIONS if task_type == "regression" else ():
        for one in (result, *result["tasks"].values()):
            one[metric] = None
        result["left_out"][metric] = len(result["tasks"])
    return result


def _score_together(called: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Score classes that are told, of any number of them."""
    from sklearn import metrics

    if len(np.unique(truth)) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class is told which is not there
        return {
            "mcc": float(metrics.matthews_corrcoef(truth, called)),
            "balanced_accuracy": float(metrics.balanced_accuracy_score(truth, called)),
            "accuracy": float(metrics.accuracy_score(truth, called)),
        }


def _score_classes(predicted: np.ndarray, label: np.ndarray, called: np.ndarray) -> dict[str, float]:
    from sklearn import metrics

    if len(np.unique(label)) < 2:
        return {}
    return {
        "roc_auc": float(metrics.roc_auc_score(label, predicted)),
        "pr_auc": float(metrics.average_precision_score(label, predicted)),
        "mcc": float(metrics.matthews_corrcoef(label, called)),
        "f1": float(metrics.f1_score(label, called, zero_division=0)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(label, called)),
        "accuracy": float(metrics.accuracy_score(label, called)),
    }


def _score_values(predicted: np.ndarray, label: np.ndarray) -> dict[str, float]:
    from sklearn import metrics

    if not len(label):
        return {}
    found = {
        "rmse": float(metrics.root_mean_squared_error(label, predicted)),
        "mae": float(metrics.mean_absolute_error(label, predicted)),
    }
    if len(np.unique(label)) > 1:
        from scipy.stats import rankdata

        found["r2"] = float(metrics.r2_score(label, predicted))
        found["spearman"] = _correlation(rankdata(predicted), rankdata(label))
        found["pearson"] = _correlation(predicted, label)
    return found


def _correlation(predicted: np.ndarray, label: np.ndarray) -> float:
    """Return Pearson's correlation; 0 where predictions do not vary, for which none is defined."""
    from scipy.stats import pearsonr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an input (nearly) does not vary
        found = float(pearsonr(predicted, label).statistic)
    return found if np.isfinite(found) else 0.0
