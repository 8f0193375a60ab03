"""What is predicted: the type of task, its labels, and the scaling of regression targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from dgl_moleblend.errors import CheckpointError, DataError

LARGEST_LABEL = 1e15
TASK_TYPES = ("regression", "classification", "multiclass")
MOST_CLASSES = 20
"""Of a multiclass label."""
_FEW = 5  # so many whole numbers may be classes


def find_task_type(labels: np.ndarray, names: Sequence[str], words: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return what labels are: "classification" if all are 0 or 1, "multiclass" if they are words, else "regression".

    Parameters
    ----------
    labels : ndarray, shape (rows, t)
        NaN = missing.
    names : sequence of t str
    words : mapping of name to words, optional
        Of labels that were words: those for 0, 1, ..

    Raises
    ------
    DataError
        If all labels are a few whole numbers, such as 0, 1 and 2, which may be classes or amounts; it asks.

    Examples
    --------
    >>> find_task_type(np.array([[0.0], [1.0], [np.nan]]), ["active"])
    'classification'
    >>> find_task_type(np.array([[-11.01], [1.0]]), ["logS"])
    'regression'
    >>> find_task_type(np.array([[0.0], [1.0], [2.0]]), ["tier"], {"tier": ["high", "low", "medium"]})
    'multiclass'
    """
    words = words or {}
    if any(len(words.get(name, ())) > 2 for name in names):
        return "multiclass"
    columns = [np.unique(column[~np.isnan(column)]) for column in labels.T]
    if all(name in words or _may_be_classes(values) for name, values in zip(names, columns, strict=True)):
        for name, values in zip(names, columns, strict=True):
            if len(values) > 2:
                raise _ask(name, values)
    present = labels[~np.isnan(labels)]
    return "classification" if len(present) and np.isin(present, (0, 1)).all() else "regression"


def _may_be_classes(values: np.ndarray) -> bool:
    """Whether sorted values are a few whole numbers without a gap, from -1, 0 or 1 on."""
    return len(values) <= _FEW and (len(values) == 0 or values[0] in (-1, 0, 1)) and bool((np.diff(values) == 1).all())


def _ask(name: str, values: np.ndarray) -> DataError:
    asked = "--task-type multiclass or --task-type regression (task_type= in Python)"
    if values.tolist() == [-1, 0, 1]:
        return DataError(f"the labels of {name!r} are -1, 0 and 1: three classes, amounts, or two classes and -1 for"
                         " a label that is missing", fix=f"say which: --missing-label -1, or {asked}")  # fmt: skip
    text = f"{', '.join(f'{value:g}' for value in values[:-1])} and {values[-1]:g}"
    return DataError(f"the labels of {name!r} are {text}: these may be classes, or amounts", fix=f"say which: {asked}")


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
    task_type : {"regression", "classification", "multiclass"}
    names : sequence of t str

    Raises
    ------
    DataError
        If one is infinite or beyond `LARGEST_LABEL` or, for classification, neither 0 nor 1; the message names it. For
        multiclass, if there are several labels, or one is no whole number, or they are all the same or too many.
    """
    if task_type == "multiclass" and len(names) > 1:
        raise DataError(f"{len(names)} properties are given, and a model of several classes has one",
                        fix="name one, and train a model for each")  # fmt: skip
    for name, column in zip(names, labels.T, strict=True):
        if np.isinf(column).any():
            raise DataError(f"{name!r} holds an infinite label", fix="correct it, or leave the cell empty")
        if len(large := column[np.abs(np.nan_to_num(column, posinf=0.0, neginf=0.0)) > LARGEST_LABEL]):
            raise DataError(f"{name!r} holds {large[0]:g}, and labels go up to {LARGEST_LABEL:g}: errors are squared "
                            "in single precision", fix="give it in another unit, or its logarithm")  # fmt: skip
        present = np.unique(column[~np.isnan(column)])
        odd = present[~np.isin(present, (0, 1))]
        if task_type == "classification" and len(odd):
            raise DataError(
                f"{name!r} holds {odd[0]:g}, but labels of a classification are 0, 1 or empty",
                fix="write the classes as 0 and 1, or ask for multiclass, or a regression",
            )
        if task_type == "multiclass" and len(broken := present[present % 1 != 0]):
            raise DataError(f"{name!r} holds {broken[0]:g}, but classes are whole numbers, words or empty",
                            fix="write them so, or ask for a regression")  # fmt: skip
        if task_type == "multiclass" and not 2 <= len(present) <= MOST_CLASSES:
            raise DataError(f"{name!r} holds {len(present)} different values, and a model tells 2 to {MOST_CLASSES}"
                            " classes", fix="put rare ones together, or ask for a regression")  # fmt: skip


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
    """From what the predictor returns to values in the unit of the target (float64), or to probabilities."""
    if task_type == "multiclass":
        return output.float().softmax(-1)
    return output.float().sigmoid() if task_type == "classification" else scaling.restore(output.double())


def to_shares(said: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
    """From what was said of each class against the rest to probabilities that add up to 1.

    >>> to_shares(np.array([[0.2, 0.2, 0.6], [0.0, 0.0, 0.0]])).round(2).tolist()
    [[0.2, 0.2, 0.6], [0.33, 0.33, 0.33]]
    """
    said = np.maximum(said, 1e-9)
    return said / said.sum(1, keepdims=True)
