"""What is predicted: the type of task, the scaling of regression targets, the masked loss and the scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from dgl_moleblend.errors import CheckpointError, DataError

LARGEST_LABEL = 1e15
TASK_TYPES = ("regression", "classification")
METRICS = {"regression": ("rmse", "mae", "r2"), "classification": ("roc_auc", "pr_auc")}
"""Scores of each type of task; the first chooses the model unless another is asked for."""
SCALED = "scaled"
"""The score of several regression targets: their mean RMSE, each in units of its training labels' deviation."""
LOWER_IS_BETTER = ("rmse", "mae", "loss", SCALED)


def shared_metrics(task_type: str, num_tasks: int) -> tuple[str, ...]:
    """Return the scores whose mean over tasks means something; the first chooses the model.

    Examples
    --------
    >>> shared_metrics("regression", 1), shared_metrics("regression", 2)
    (('rmse', 'mae', 'r2'), ('scaled', 'r2'))
    """
    return (SCALED, "r2") if task_type == "regression" and num_tasks > 1 else METRICS[task_type]


def find_task_type(labels: np.ndarray) -> str:
    """Return "classification" if every label present is 0 or 1, else "regression".

    Parameters
    ----------
    labels : ndarray, shape (rows, t)
        NaN = missing.

    Examples
    --------
    >>> find_task_type(np.array([[0.0], [1.0], [np.nan]]))
    'classification'
    >>> find_task_type(np.array([[-11.01], [1.0]]))
    'regression'
    """
    present = labels[~np.isnan(labels)]
    return "classification" if len(present) and np.isin(present, (0, 1)).all() else "regression"


def check_labels(labels: np.ndarray, task_type: str, names: Sequence[str]) -> None:
    """Check the values of labels.

    Parameters
    ----------
    labels : ndarray, shape (rows, t)
        NaN = missing.
    task_type : {"regression", "classification"}
    names : sequence of t str

    Raises
    ------
    DataError
        If one is infinite or beyond `LARGEST_LABEL` or, for classification, neither 0 nor 1; the message names it.
    """
    for name, column in zip(names, labels.T, strict=True):
        if np.isinf(column).any():
            raise DataError(f"{name!r} holds an infinite label", fix="correct it, or leave the cell empty")
        if len(large := column[np.abs(np.nan_to_num(column, posinf=0.0, neginf=0.0)) > LARGEST_LABEL]):
            raise DataError(f"{name!r} holds {large[0]:g}, and labels go up to {LARGEST_LABEL:g}: errors are squared "
                            "in single precision", fix="give it in another unit, or its logarithm")  # fmt: skip
        odd = column[~np.isnan(column) & ~np.isin(column, (0, 1))]
        if task_type == "classification" and len(odd):
            raise DataError(
                f"{name!r} holds {odd[0]:g}, but labels of a classification are 0, 1 or empty",
                fix="write the classes as 0 and 1, or ask for a regression",
            )


def check_presence(train: np.ndarray, validation: np.ndarray, names: Sequence[str]) -> None:
    """Check that there is something to learn from, and to choose a model by.

    Parameters
    ----------
    train, validation : ndarray, shape (rows, t)
        NaN = missing.
    names : sequence of t str

    Raises
    ------
    DataError
        If a task has no label among the training rows, or no task has one among the validation rows, or no task has
        two labels that differ among the training rows.
    """
    for name, column in zip(names, train.T, strict=True):
        if np.isnan(column).all():
            raise DataError(
                f"no training row has a label for {name!r}", fix="leave this target out, or split otherwise"
            )
    if np.isnan(validation).all():
        raise DataError("no validation row has a label", fix="split otherwise")
    if (np.nanmin(train, 0) == np.nanmax(train, 0)).all():
        first = next(iter(train[~np.isnan(train[:, 0]), 0]))
        whose = repr(names[0]) if len(names) == 1 else f"{names[0]!r} (and of each of the others alike)"
        raise DataError(f"every label of {whose} among the training rows is {first}: there is nothing to learn",
                        fix="give rows whose labels differ, or split otherwise")  # fmt: skip


@dataclass(frozen=True)
class LabelScaling:
    """Mean and scale of each regression target, of the training rows alone.

    Parameters
    ----------
    mean, scale : tuple of t floats
        In the unit of the target. A target that never varies has scale 1.

    Examples
    --------
    >>> scaling = LabelScaling.fit(np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]]))
    >>> scaling
    LabelScaling(mean=(2.0, 5.0), scale=(1.0, 1.0))
    >>> scaling.restore(scaling.standardize(torch.tensor([[3.0, 5.0]])))
    tensor([[3., 5.]])
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, labels: np.ndarray) -> Self:
        """Measure mean and standard deviation of each column, missing labels left out.

        Parameters
        ----------
        labels : ndarray, shape (training rows, t)
            Each column has at least one label.
        """
        mean, scale = np.nanmean(labels, 0), np.nanstd(labels, 0)
        varies = scale > 1e-12 * np.maximum(1.0, np.abs(mean))
        return cls(tuple(map(float, mean)), tuple(map(float, np.where(varies, scale, 1.0))))

    @classmethod
    def from_stored(cls, values: object, num_tasks: int, where: str) -> Self:
        """Read what a model's folder holds.

        Raises
        ------
        CheckpointError
            If it is no mean and scale for each task, finite, and the scale positive.
        """
        try:
            mean, scale = (tuple(map(float, values[name])) for name in ("mean", "scale"))  # type: ignore[index]
        except (TypeError, KeyError, ValueError):
            mean, scale = (), ()
        known = len(mean) == len(scale) == num_tasks and np.isfinite([*mean, *scale]).all()
        if not known or not all(one > 0 for one in scale):
            raise CheckpointError(
                f"the scaling of the properties is damaged: {values!r}",
                where=where,
                fix=f"it holds mean and scale of {num_tasks} properties, finite, each scale above 0; restore the file, "
                "or train the model again",
            )
        return cls(mean, scale)

    @classmethod
    def none(cls, num_tasks: int) -> Self:
        """Return the scaling that changes nothing, for classification."""
        return cls((0.0,) * num_tasks, (1.0,) * num_tasks)

    def standardize(self, labels: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """From the unit of the target to mean 0, deviation 1."""
        return (labels - labels.new_tensor(self.mean)) / labels.new_tensor(self.scale)

    def restore(self, prediction: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """From mean 0, deviation 1 to the unit of the target."""
        return prediction * prediction.new_tensor(self.scale) + prediction.new_tensor(self.mean)


def positive_weights(labels: np.ndarray) -> tuple[float, ...]:
    """Return the weight of class 1 of each task that makes both classes count the same; 1 where a class is absent.

    Parameters
    ----------
    labels : ndarray, shape (training rows, t)
        0, 1 or NaN.

    Examples
    --------
    >>> positive_weights(np.array([[1.0, 1.0], [0.0, 1.0], [0.0, np.nan], [0.0, 1.0]]))
    (3.0, 1.0)
    """
    positive, negative = (labels == 1).sum(0), (labels == 0).sum(0)
    both = (positive > 0) & (negative > 0)
    return tuple(map(float, np.where(both, negative / np.maximum(positive, 1), 1.0)))


def property_loss(
    output: Float[Tensor, "b t"],
    labels: Float[Tensor, "b t"],
    task_type: str,
    scaling: LabelScaling,
    pos_weight: Sequence[float] | None = None,
) -> Float[Tensor, ""]:
    """Mean loss over the labels that are present; 0, with zero gradient, where there are none.

    Parameters
    ----------
    output : Tensor, shape (b, t)
        The predictor's: standardised values, or logits.
    labels : Tensor, shape (b, t)
        In their own unit; NaN = missing.
    task_type : {"regression", "classification"}
        Squared error of standardised targets, or binary cross-entropy.
    scaling : LabelScaling
    pos_weight : sequence of t floats, optional
        What class 1 of each task weighs, class 0 weighing 1; for classification.
    """
    present = ~labels.isnan()
    output = output.float()
    target = torch.where(present, scaling.standardize(labels.double()), 0.0).to(output)
    if task_type == "classification":
        weight = None if pos_weight is None else output.new_tensor(pos_weight)
        loss = F.binary_cross_entropy_with_logits(output, target, reduction="none", pos_weight=weight)
    else:
        loss = F.mse_loss(output, target, reduction="none")
    return (loss * present).sum() / present.sum().clamp(min=1)


def to_prediction(output: Float[Tensor, "b t"], task_type: str, scaling: LabelScaling) -> Float[Tensor, "b t"]:
    """From what the predictor returns to values in the unit of the target (float64), or to probabilities of class 1."""
    return output.float().sigmoid() if task_type == "classification" else scaling.restore(output.double())


def score(
    prediction: np.ndarray,
    labels: np.ndarray,
    task_type: str,
    names: Sequence[str],
    scale: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Score predictions against the labels that are present.

    Parameters
    ----------
    prediction, labels : ndarray, shape (rows, t)
        Values in the unit of the target, or probabilities and 0 / 1; NaN labels are missing.
    task_type : {"regression", "classification"}
    names : sequence of t str
    scale : sequence of t float, optional
        Deviation of each task's training labels.

    Returns
    -------
    dict
        The mean over tasks of each score in ``METRICS[task_type]``, None where no task has it; with `scale`,
        for several regression tasks, also "scaled": the mean RMSE in units of `scale`, in which every task counts;
        "tasks": the same for each task, with its number of labels; "left_out": how many tasks have no such score,
        because only one class (or fewer than two values, for r2) is present.

    Examples
    --------
    >>> result = score(np.array([[0.9], [0.2]]), np.array([[1.0], [0.0]]), "classification", ["active"])
    >>> result["roc_auc"], result["left_out"]
    (1.0, {'roc_auc': 0, 'pr_auc': 0})
    """
    tasks: dict[str, dict[str, Any]] = {}
    prediction, labels = np.asarray(prediction, np.float64), np.asarray(labels, np.float64)  # squares may be large
    for name, predicted, label in zip(names, prediction.T, labels.T, strict=True):
        present = ~np.isnan(label)
        one = _score_one(predicted[present], label[present], task_type)
        tasks[name] = {"labels": int(present.sum()), **one}
    result: dict[str, Any] = {}
    for metric in METRICS[task_type]:
        values = [value for task in tasks.values() if (value := task[metric]) is not None]
        result[metric] = float(np.mean(values)) if values else None
    if scale is not None and task_type == "regression" and len(names) > 1:
        each = [task["rmse"] / one for task, one in zip(tasks.values(), scale, strict=True) if task["rmse"] is not None]
        result[SCALED] = float(np.mean(each)) if each else None
    result["left_out"] = {m: sum(task[m] is None for task in tasks.values()) for m in METRICS[task_type]}
    result["tasks"] = tasks
    return result


def _score_one(predicted: np.ndarray, label: np.ndarray, task_type: str) -> dict[str, float | None]:
    from sklearn import metrics

    if task_type == "classification":
        if len(np.unique(label)) < 2:
            return {"roc_auc": None, "pr_auc": None}
        return {
            "roc_auc": float(metrics.roc_auc_score(label, predicted)),
            "pr_auc": float(metrics.average_precision_score(label, predicted)),
        }
    if not len(label):
        return {"rmse": None, "mae": None, "r2": None}
    return {
        "rmse": float(metrics.root_mean_squared_error(label, predicted)),
        "mae": float(metrics.mean_absolute_error(label, predicted)),
        "r2": float(metrics.r2_score(label, predicted)) if len(np.unique(label)) > 1 else None,
    }
