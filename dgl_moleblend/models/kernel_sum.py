"""The weighted sum of similarities that a kernel machine compares molecules by, one for each of their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import Self

from dgl_moleblend.chem.feature_table import FeatureTable
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.models.similarities import MinMax, RankedGaussian

CONSTANT = 1.0
"""Variance of a constant beside the similarities, which are 1 at most: so each fold finds its own mean."""
Similarity = MinMax | RankedGaussian


@dataclass(frozen=True)
class KernelSum:
    """Similarities of any molecules to n reference ones: min-max of counts, Gaussian of ranked dense columns.

    Parameters
    ----------
    similarities : dict of str -> MinMax or RankedGaussian
        One for each feature.
    columns : dict of str -> tuple of str
        Names of the columns of dense features.
    weights : ndarray, shape (features,)
        They add up to 1.

    Examples
    --------
    >>> table = FeatureTable({"dose": np.array([[1.0], [2.0], [9.0]], np.float32)}, {"dose": ("mg",)})
    >>> KernelSum.of(table, ["dose"], np.ones(1)).between().round(2)[0]
    array([2.  , 1.37, 1.02], dtype=float32)
    """

    similarities: Mapping[str, Similarity]
    columns: Mapping[str, tuple[str, ...]]
    weights: np.ndarray

    @classmethod
    def of(cls, reference: FeatureTable, names: Sequence[str], weights: np.ndarray) -> Self:
        """Take the molecules of a table as the reference ones."""
        similarities: dict[str, Similarity] = {
            name: RankedGaussian(reference[name]) if reference.is_dense(name) else MinMax(reference[name])  # type: ignore[arg-type]
            for name in names
        }
        columns = {name: reference.columns[name] for name in names if reference.is_dense(name)}
        return cls(similarities, columns, weights)

    def __len__(self) -> int:
        return len(next(iter(self.similarities.values())))

    def __call__(self, features: FeatureTable) -> np.ndarray:
        """Return the weighted sum, and a constant, shape (N, n), float32.

        Raises
        ------
        DataError
            If a feature is missing, or its columns are others; the message names them.
        """
        features.require(tuple(self.similarities), self.columns)
        total = np.full((len(features), len(self)), CONSTANT, np.float32)
        for weight, (name, similarity) in zip(self.weights, self.similarities.items(), strict=True):
            total += np.float32(weight) * similarity(features[name])  # type: ignore[arg-type]
        return total

    def between(self) -> np.ndarray:
        """Return the same between the reference molecules, shape (n, n), float32."""
        total = np.full((len(self), len(self)), CONSTANT, np.float32)
        for weight, similarity in zip(self.weights, self.similarities.values(), strict=True):
            total += np.float32(weight) * similarity.between()
        return total

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and settings that JSON can hold, for `from_state`."""
        arrays = {"weights": self.weights}
        for name, similarity in self.similarities.items():
            arrays |= {f"{name}.{key}": value for key, value in similarity.state().items()}
        columns = {name: list(columns) for name, columns in self.columns.items()}
        return arrays, {"features": list(self.similarities), "columns": columns}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Self:
        """Build the sum that `state` described.

        Raises
        ------
        KeyError
            If an array is missing.
        CheckpointError
            If arrays do not fit each other.
        """
        similarities: dict[str, Similarity] = {}
        for name in settings["features"]:
            kind = RankedGaussian if name in settings["columns"] else MinMax
            part = _Part({key.removeprefix(f"{name}."): v for key, v in arrays.items() if key.startswith(f"{name}.")})
            part.name = name
            similarities[name] = kind.from_state(part, name)
        sizes = {name: len(similarity) for name, similarity in similarities.items()}
        weights = arrays["weights"]
        if len(set(sizes.values())) != 1 or weights.shape != (len(sizes),):
            said = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
            raise CheckpointError(
                f"the features of a kernel machine do not fit each other: reference molecules of {said};"
                f" weights of shape {weights.shape}",
                fix="restore the folder, or train the model again",
            )
        return cls(similarities, {name: tuple(names) for name, names in settings["columns"].items()}, weights)


class _Part(dict[str, np.ndarray]):
    """The arrays of one feature; one that is missing is named in full."""

    name = ""

    def __missing__(self, key: str) -> np.ndarray:
        raise KeyError(f"{self.name}.{key}")
