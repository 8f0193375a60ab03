"""What is predicted: the type of task, its labels, and the scaling of regression targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from dgl_moleblend.errors import CheckpointError, DataError

LARGEST_LABEL = 1e15
TASK_TYPES = ("regression", "classification")


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


def exact_labels(labels: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return labels that are the value; NaN where one is a bound, above or below which the value lies.

    >>> exact_labels(np.array([[5.0], [8.0]]), np.array([[0], [1]])).ravel().tolist()
    [5.0, nan]
    """
    return np.where(bounds == 0, labels, np.nan)


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


def check_presence(train: np.ndarray, validation: np.ndarray, names: Sequence[str], which: str = "") -> None:
    """Check that there is something to learn from, and to choose a model by.

    Parameters
    ----------
    train, validation : ndarray, shape (rows, t)
        NaN = missing.
    names : sequence of t str
    which : str
        Said of the labels, if there are others: " that is no bound".

    Raises
    ------
    DataError
        If a task has no label among the training rows, or no task has one among the validation rows, or no task has
        two labels that differ among the training rows.
    """
    for name, column in zip(names, train.T, strict=True):
        if np.isnan(column).all():
            raise DataError(
                f"no training row has a label for {name!r}{which}", fix="leave this target out, or split otherwise"
            )
    if np.isnan(validation).all():
        raise DataError(f"no validation row has a label{which}", fix="split otherwise")
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
    >>> import torch
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


def to_prediction(output: Float[Tensor, "b t"], task_type: str, scaling: LabelScaling) -> Float[Tensor, "b t"]:
    """From what the predictor returns to values in the unit of the target (float64), or to probabilities of class 1."""
    return output.float().sigmoid() if task_type == "classification" else scaling.restore(output.double())
