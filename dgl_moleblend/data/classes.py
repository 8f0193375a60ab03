"""A label whose values are classes -> a column for each class: 1 for its molecules, 0 for others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import Self


@dataclass(frozen=True)
class ClassColumns:
    """Columns that stand behind the labels of a table: which class the label of one of them names.

    Parameters
    ----------
    name : str
        Of the label, for readers.
    column : int
        Its place in the table.
    values : tuple of float
        What it is for class 0, class 1, ..
    words : tuple of str
        What classes are called.

    Examples
    --------
    >>> labels = np.array([[2.0, 5.0], [np.nan, 7.0], [1.0, 6.0]])
    >>> columns = ClassColumns.of("tier", 0, labels[:, 0])
    >>> columns.names, labels_with(columns, labels).tolist()[0]
    (('tier=1', 'tier=2'), [2.0, 5.0, 0.0, 1.0])
    """

    name: str
    column: int
    values: tuple[float, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, name: str, column: int, labels: np.ndarray, words: Sequence[str] = ()) -> Self:
        """Find the classes of labels (N,), in the order of their values; by default they are called after these."""
        values = np.arange(len(words), dtype=float) if words else np.unique(labels[~np.isnan(labels)])
        return cls(name, column, tuple(values.tolist()), tuple(words) or tuple(f"{value:g}" for value in values))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns: that of the label, and the word for the class."""
        return tuple(f"{self.name}={word}" for word in self.words)


def labels_with(columns: ClassColumns | None, labels: np.ndarray) -> np.ndarray:
    """Return labels (N, t) with the columns of the c classes behind them, (N, t + c); NaN where there is none."""
    if columns is None:
        return labels
    label = labels[:, [columns.column]]
    found = np.where(np.isnan(label), np.nan, (label == np.asarray(columns.values)).astype(float))
    return np.concatenate([labels, found], 1)


def bounds_with(columns: ClassColumns | None, bounds: np.ndarray) -> np.ndarray:
    """Return bounds (.., t) with those of the columns behind them, (.., t + c): classes have none."""
    if columns is None:
        return bounds
    return np.concatenate([bounds, np.zeros((*bounds.shape[:-1], len(columns.values)), bounds.dtype)], -1)
