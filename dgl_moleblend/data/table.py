"""Molecules in Arrow record batches as one table: item by item, column by column, and by checksum."""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.codec import Views, text_of
from dgl_moleblend.data.rows import Sample, rejects_frame
from dgl_moleblend.schema import ATOM_SIZES


class MoleculeTable:
    """Molecules in Arrow record batches: in memory here, memory-mapped in `MoleculeStore`.

    Parameters
    ----------
    batches : sequence of pyarrow.RecordBatch
        As `record_batch` makes them.
    task_names : sequence of str
        Names of the t labels.
    sources : sequence of str
        Files that the molecules came from.
    rejects : DataFrame, optional
        The input rows that are not in the table.
    featurizer : FeaturizerConfig, optional
        Settings that the molecules were featurized with, where they are known.
    classes : mapping of task to tuple of str, optional
        Of labels that were words: those for class 0, class 1, ..

    Examples
    --------
    >>> from dgl_moleblend.data.codec import record_batch
    >>> ethanol = MoleculeArrays(np.zeros((3, 9), np.uint8), np.array([[0, 1], [1, 2]], np.int32),
    ...                          np.zeros(2, np.uint8), np.zeros((0, 3, 3), np.float32))
    >>> sample = Sample(ethanol, labels=np.array([-0.77]), row=4, id="ethanol", smiles="CCO")
    >>> table = MoleculeTable([record_batch([sample], num_tasks=1)], ["logS"])
    >>> len(table), table[0].smiles, table.num_atoms, table.labels
    (1, 'CCO', array([3]), array([[-0.77]]))
    """

    def __init__(
        self,
        batches: Sequence[pa.RecordBatch],
        task_names: Sequence[str] = (),
        sources: Sequence[str] = ("",),
        rejects: pd.DataFrame | None = None,
        featurizer: FeaturizerConfig | None = None,
        classes: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._featurizer = featurizer
        self._classes = dict(classes or {})
        self._batches = list(batches)
        self._rejects = rejects_frame([]) if rejects is None else rejects
        self._open(task_names, sources, [Views(batch) for batch in self._batches])

    def _open(self, task_names: Sequence[str], sources: Sequence[str], views: list[Views]) -> None:
        self.task_names = tuple(task_names)
        self.sources = tuple(sources)
        self._views = views
        self._end = np.cumsum([views.num_molecules for views in self._views], dtype=np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return MoleculeTable, (
            self._batches,
            self.task_names,
            self.sources,
            self._rejects,
            self._featurizer,
            self._classes,
        )

    def __len__(self) -> int:
        return int(self._end[-1]) if len(self._end) else 0

    def _find(self, index: int) -> tuple[Views, int]:
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"molecule {index} of a table of {size}")
        index = index % size
        shard = int(np.searchsorted(self._end, index, side="right"))
        return self._views[shard], int(index - (self._end[shard - 1] if shard else 0))

    def __getitem__(self, index: int) -> Sample:
        views, k = self._find(index)
        return Sample(
            molecule=views.molecule(k),
            labels=views.labels[k],
            row=int(views.row[k]),
            source=self.sources[views.source[k]],
            line=int(views.line[k]),
            id=views.id[k].as_py(),
            smiles=views.smiles[k].as_py(),
            bounds=None if views.bounds is None else views.bounds[k],
        )

    def molecule(self, index: int) -> MoleculeArrays:
        """Return the arrays alone, which is all that training needs."""
        views, k = self._find(index)
        return views.molecule(k)

    def __iter__(self) -> Iterator[Sample]:
        return (self[k] for k in range(len(self)))

    def _vector(self, parts: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
        return np.concatenate(parts) if parts else empty

    @functools.cached_property
    def num_atoms(self) -> np.ndarray:
        """Number of atoms of every molecule, shape (N,), int64."""
        return self._vector([np.diff(v.atom_offset) for v in self._views], np.empty(0, np.int64))

    @functools.cached_property
    def num_bonds(self) -> np.ndarray:
        """Number of bonds of every molecule, shape (N,), int64."""
        return self._vector([np.diff(v.bond_offset) for v in self._views], np.empty(0, np.int64))

    @functools.cached_property
    def num_conformers(self) -> np.ndarray:
        """Number of conformers of every molecule, shape (N,), int64."""
        positions = self._vector([np.diff(v.position_offset) for v in self._views], np.empty(0, np.int64))
        return positions // np.maximum(self.num_atoms, 1)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Labels of every molecule, shape (N, t), float64; NaN = missing."""
        return self._vector([v.labels for v in self._views], np.empty((0, len(self.task_names))))

    @functools.cached_property
    def bounds(self) -> np.ndarray:
        """1 where a value is above its label, -1 below, 0 where it is the label, shape (N, t), int8."""
        parts = [np.zeros(v.labels.shape, np.int8) if v.bounds is None else v.bounds for v in self._views]
        return self._vector(parts, np.empty((0, len(self.task_names)), np.int8))

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """Input row of every molecule, shape (N,), int64."""
        return self._vector([v.row for v in self._views], np.empty(0, np.int64))

    @property
    def ids(self) -> list[str]:
        """Identifier of every molecule, "" where there is none."""
        return [value for views in self._views for value in views.id.to_pylist()]

    @property
    def smiles(self) -> list[str]:
        """SMILES of every molecule."""
        return [value for views in self._views for value in views.smiles.to_pylist()]

    @property
    def structures(self) -> list[str]:
        """SMILES of what the molecules became: `smiles`, in a standard form where the settings ask for one."""
        steps = tuple(self.featurizer.standardize) if self.featurizer else ()
        if not steps:
            return self.smiles
        from dgl_moleblend.chem.standardize import standard_smiles

        return [standard_smiles(text, steps) for text in self.smiles]

    @property
    def featurizer(self) -> FeaturizerConfig | None:
        """Settings that the molecules were featurized with, where they are known."""
        return self._featurizer

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Of labels that were words: those for class 0, class 1, .."""
        return self._classes

    @property
    def rejects(self) -> pd.DataFrame:
        """Input rows that are not in the table: row, source, line, id, smiles, stage, reason."""
        return self._rejects

    def digest(self) -> dict[str, str]:
        """Return checksums of what the molecules are, however they are divided in batches or shards.

        Returns
        -------
        dict
            "molecules" (atoms, bonds), "positions", "smiles" and "rows" to a checksum each. Memory-mapped arrays are
            read once and not copied.
        """
        found = {name: hashlib.sha256() for name in ("molecules", "positions", "smiles", "rows")}
        streams: dict[str, Any] = {}

        def add(name: str, column: str, array: np.ndarray) -> None:
            stream = streams.setdefault(f"{name} {column}", hashlib.sha256())
            stream.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")

        for views in self._views:
            add("molecules", "atom_count", np.diff(views.atom_offset))
            add("molecules", "atom", views.atom)
            add("molecules", "bond_count", np.diff(views.bond_offset))
            add("molecules", "bond_index", views.bond_index)
            add("molecules", "bond_id", views.bond_id)
            add("positions", "position_count", np.diff(views.position_offset))
            add("positions", "positions", views.positions)
            ends, text = text_of(views.smiles)
            add("smiles", "length", np.diff(ends))
            add("smiles", "text", text)
            add("rows", "row", np.asarray(views.row, np.int64))
        for name, stream in streams.items():
            found[name.split()[0]].update(f"{name} {stream.hexdigest()}".encode())
        return {name: total.hexdigest()[:16] for name, total in found.items()}

    def has_atom(self, column: int, value: int) -> np.ndarray:
        """Whether each molecule has an atom with this id of an atom feature, shape (N,), bool."""
        found = []
        for views in self._views:
            until = np.concatenate([[0], np.cumsum(views.atom[:, column] == value)])
            found.append(np.diff(until[views.atom_offset]) > 0)
        return self._vector(found, np.empty(0, bool))

    def atom_counts(self) -> np.ndarray:
        """How often each id of the first atom feature (atomic number - 1) occurs, shape (119,), int64."""
        counts = np.zeros(ATOM_SIZES[0], np.int64)
        for views in self._views:
            counts += np.bincount(views.atom[:, 0], minlength=ATOM_SIZES[0])
        return counts
