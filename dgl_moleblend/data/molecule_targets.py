"""MoleculeTargets: what a graph token is to tell of a molecule in pretraining, descriptors or measured labels."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float
from scipy import sparse

from dgl_moleblend.chem.feature_table import normal_scores
from dgl_moleblend.errors import DataError
from dgl_moleblend.unpacking import read_npz

KINDS = ("value", "class")
"""A value with mean 0 and deviation 1, or a class, 0 or 1."""


@dataclass(frozen=True, eq=False)
class MoleculeTargets:
    """Targets of N molecules in t columns, of which each molecule has some.

    Parameters
    ----------
    names : tuple of t str
        Name of every column.
    groups : tuple of t str
        Which objective scores it: "descriptors" and "labels", say; each group is a loss of its own.
    kinds : tuple of t str
        "value" or "class".
    dense : ndarray, shape (N, t0), float16
        The first t0 columns, of which nearly all molecules have all; NaN = missing.
    scarce : csr_matrix, shape (N, t - t0), float32
        The others: what is not stored is missing, and a stored 0 is a 0.

    Examples
    --------
    >>> labels = MoleculeTargets.from_labels("labels", ["active"], [0, 2], [0, 0], [1.0, 0.0], size=3)
    >>> labels.rows(np.array([2, 1])).tolist()
    [[0.0], [nan]]
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    kinds: tuple[str, ...]
    dense: np.ndarray
    scarce: sparse.csr_matrix

    def __post_init__(self) -> None:
        count = self.dense.shape[1] + self.scarce.shape[1]
        if not len(self.names) == len(self.groups) == len(self.kinds) == count:
            raise DataError(f"{count} columns of targets have {len(self.names)} names, {len(self.groups)} groups and "
                            f"{len(self.kinds)} kinds", fix="give one of each for every column")  # fmt: skip
        if len(self.dense) != self.scarce.shape[0]:
            raise DataError(f"targets of {len(self.dense)} and of {self.scarce.shape[0]} molecules are to be joined",
                            fix="give a row for every molecule in both")  # fmt: skip

    @classmethod
    def from_descriptors(cls, group: str, names: Sequence[str], values: Float[np.ndarray, "n t"]) -> "MoleculeTargets":
        """Make every column gaussian by its ranks; columns that hardly vary are left out.

        Parameters
        ----------
        group : str
        names : sequence of t str
        values : ndarray, shape (N, t)
            NaN = missing.
        """
        columns, kept = [], []
        for name, column in zip(names, np.asarray(values, np.float64).T, strict=True):
            present = ~np.isnan(column)
            if present.sum() < 2:
                continue
            scores = np.full(len(column), np.nan)
            scores[present] = normal_scores(column[present])
            if (deviation := np.nanstd(scores)) > 1e-2:  # ties all share one rank: of a constant, 0
                kept.append(name)
                columns.append(((scores - np.nanmean(scores)) / max(deviation, 0.1)).astype(np.float16))
        dense = np.stack(columns, 1) if columns else np.empty((len(values), 0), np.float16)
        empty = sparse.csr_matrix((len(values), 0), dtype=np.float32)
        return cls(tuple(kept), (group,) * len(kept), ("value",) * len(kept), dense, empty)

    @classmethod
    def from_labels(
        cls,
        group: str,
        names: Sequence[str],
        molecule: Sequence[int] | np.ndarray,
        column: Sequence[int] | np.ndarray,
        value: Sequence[float] | np.ndarray,
        *,
        size: int,
    ) -> "MoleculeTargets":
        """Take measured labels in long form; a column of zeros and ones is classes, any other is standardised.

        Parameters
        ----------
        group : str
        names : sequence of t str
        molecule, column : sequence of int
            Where each value belongs.
        value : sequence of float
            Several for one place are averaged.
        size : int
            Number of molecules N.
        """
        place = np.asarray(molecule, np.int64) * len(names) + np.asarray(column, np.int64)
        places, inverse = np.unique(place, return_inverse=True)
        value = np.bincount(inverse, np.asarray(value, np.float64)) / np.bincount(inverse)
        molecule, column = places // max(len(names), 1), places % max(len(names), 1)
        kinds = []
        for k in range(len(names)):
            here = column == k
            is_class = bool(np.isin(value[here], (0, 1)).all())
            kinds.append(KINDS[is_class])
            if not is_class:
                deviation = value[here].std()
                value[here] = (value[here] - value[here].mean()) / (deviation if deviation > 0 else 1.0)
        counts = np.bincount(molecule, minlength=size)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        scarce = sparse.csr_matrix((value.astype(np.float32), column, indptr), shape=(size, len(names)))
        dense = np.empty((size, 0), np.float16)
        return cls(tuple(names), (group,) * len(names), tuple(kinds), dense, scarce)

    @classmethod
    def join(cls, parts: Sequence["MoleculeTargets"]) -> "MoleculeTargets":
        """Put the columns of several targets of the same molecules side by side; dense ones come first."""
        order = [(part, range(part.dense.shape[1])) for part in parts]
        order += [(part, range(part.dense.shape[1], len(part.names))) for part in parts]
        names, groups, kinds = (
            tuple(getattr(part, field)[k] for part, columns in order for k in columns)
            for field in ("names", "groups", "kinds")
        )
        dense = np.concatenate([part.dense for part in parts], 1)
        return cls(names, groups, kinds, dense, sparse.hstack([part.scarce for part in parts], "csr"))

    def __len__(self) -> int:
        return len(self.dense)

    def rows(self, index: np.ndarray) -> Float[np.ndarray, "b t"]:
        """Return the targets of some molecules, (b, t) float32, NaN = missing."""
        index = np.asarray(index, np.int64)
        first = self.dense.shape[1]
        values = np.full((len(index), len(self.names)), np.nan, np.float32)
        values[:, :first] = self.dense[index]
        begin, end = self.scarce.indptr[index], self.scarce.indptr[index + 1]
        row = np.repeat(np.arange(len(index)), end - begin)
        place = np.concatenate([np.arange(b, e) for b, e in zip(begin, end, strict=True)]) if len(index) else row
        values[row, first + self.scarce.indices[place]] = self.scarce.data[place]
        return values

    def take(self, index: np.ndarray) -> "MoleculeTargets":
        """Return the targets of some molecules, in the order given."""
        return MoleculeTargets(self.names, self.groups, self.kinds, self.dense[index], self.scarce[index])

    def select(self, columns: Sequence[int]) -> "MoleculeTargets":
        """Return some columns, in their order."""
        first, columns = self.dense.shape[1], sorted(columns)
        names, groups, kinds = (tuple(values[k] for k in columns) for values in (self.names, self.groups, self.kinds))
        scarce = self.scarce[:, [k - first for k in columns if k >= first]]
        return MoleculeTargets(names, groups, kinds, self.dense[:, [k for k in columns if k < first]], scarce)

    def describe(self) -> dict[str, list[str]]:
        """Return what a model must know of its columns, as JSON can hold it."""
        return {"names": list(self.names), "groups": list(self.groups), "kinds": list(self.kinds)}

    def digest(self) -> str:
        """Return a checksum of all that they hold, for a run's plan."""
        found = hashlib.sha256(json.dumps(self.describe()).encode())
        for array in (self.dense, self.scarce.indptr, self.scarce.indices, self.scarce.data):
            found.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]

    def write(self, path: str | PathLike[str]) -> None:
        """Write a .npz file that holds arrays and text alone."""
        arrays = {"dense": self.dense, "indptr": self.scarce.indptr, "indices": self.scarce.indices,
                  "data": self.scarce.data}  # fmt: skip
        text = json.dumps(self.describe())
        with Path(path).open("wb") as file:
            np.savez_compressed(file, columns=np.array(text), **arrays)

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "MoleculeTargets":
        """Read what `write` wrote.

        Raises
        ------
        DataError
            If the file is missing or damaged.
        """
        try:
            held = read_npz(path)
            columns: Mapping[str, Sequence[str]] = json.loads(str(held["columns"]))
            names, groups, kinds = (tuple(columns[name]) for name in ("names", "groups", "kinds"))
            shape = (len(held["dense"]), len(names) - held["dense"].shape[1])
            scarce = sparse.csr_matrix((held["data"], held["indices"], held["indptr"]), shape=shape)
            scarce.check_format(full_check=True)
        except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, BadZipFile) as error:
            raise DataError(f"the targets cannot be read: {error}", where=str(path),
                            fix="make the file again") from error  # fmt: skip
        return cls(names, groups, kinds, np.ascontiguousarray(held["dense"]), scarce)
