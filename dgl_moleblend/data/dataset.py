"""MoleculeDataset over a store or a file, with dgllife's splits."""

import dataclasses
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset
from typing_extensions import Self

from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.classes import ClassColumns, bounds_with, labels_with
from dgl_moleblend.data.grouped import GROUPINGS, divide_groups
from dgl_moleblend.data.joined import JoinedTable
from dgl_moleblend.data.rows import Sample
from dgl_moleblend.data.shares import missing_shares
from dgl_moleblend.data.splitters import split_by_dgllife
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.errors import DataError

if TYPE_CHECKING:
    from dgl_moleblend.readers.records import Reader

log = logging.getLogger(__name__)
SPLITS = ("scaffold", "random", "scaffold_balanced", "cluster", "molecular_weight", "stratified", "consecutive")
"""How `MoleculeDataset.split` divides molecules."""


class MoleculeDataset(Dataset[Sample]):
    r"""Molecules with their labels and where they came from; item k is a `Sample`.

    Parameters
    ----------
    table : MoleculeTable
        In memory, or a `MoleculeStore`.
    indices : array, optional
        Which molecules of the table, in which order; by default all.
    tasks : sequence of int, optional
        Which labels of the table, and of the columns of classes behind them; by default all of the table.
    class_columns : ClassColumns, optional
        Of the label whose values are classes, a column each.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "esol.csv")
    >>> _ = path.write_text("smiles,logS\nCCO,1.1\nC1CC,0\nc1ccccc1,-1.6\n")
    >>> dataset = MoleculeDataset.from_file(path, task_columns=["logS"])
    >>> len(dataset), dataset.smiles, dataset.labels.ravel().tolist(), dataset.rows.tolist()
    (2, ['CCO', 'c1ccccc1'], [1.1, -1.6], [0, 2])
    >>> dataset.rejects[["row", "line", "smiles", "stage"]].values.tolist()
    [[1, 3, 'C1CC', 'parse']]
    """

    def __init__(
        self,
        table: MoleculeTable,
        indices: np.ndarray | None = None,
        tasks: Sequence[int] | None = None,
        class_columns: ClassColumns | None = None,
    ) -> None:
        self.table = table
        self._indices = None if indices is None else np.asarray(indices, np.int64)
        self._tasks = None if tasks is None else list(tasks)
        self.class_columns = class_columns
        self._names = (*table.task_names, *(class_columns.names if class_columns else ()))

    @classmethod
    def from_store(cls, path: str | os.PathLike[str]) -> Self:
        """Open a store that `dgl-moleblend featurize` wrote; needs no RDKit.

        Raises
        ------
        DataError
            If the store is unfinished, damaged or another version's.
        """
        return cls(MoleculeStore(path))

    @classmethod
    def from_stores(cls, paths: Sequence[str | os.PathLike[str]]) -> Self:
        """Open several stores as one data set without labels, for pretraining; they may be featurized differently.

        Raises
        ------
        DataError
            If there are none, or one is unfinished, damaged or another version's, or is a share that is there twice.
        """
        stores = [MoleculeStore(path) for path in paths]
        for text in missing_shares(stores):
            log.warning("%s", text)
        return cls(JoinedTable(stores))

    @classmethod
    def from_file(
        cls,
        inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        smiles_column: str | None = None,
        id_column: str | None = None,
        task_columns: Sequence[str] = (),
        input_format: str | None = None,
        encoding: str | None = None,
        missing_labels: Sequence[float] = (),
        sheet: str | None = None,
        decimal: str | None = None,
        charge: int | None = None,
        relation_column: str | None = None,
        featurizer: FeaturizerConfig | None = None,
        max_atoms: int | None = None,
        on_failed_conformer: str = "reject",
        workers: int = 0,
        store: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> Self:
        """Read and featurize files of molecules.

        Parameters
        ----------
        inputs, smiles_column, id_column, task_columns, input_format, encoding, missing_labels, sheet, decimal, charge,
        relation_column
            See `dgl_moleblend.readers.molecules.MoleculeReader`.
        featurizer : FeaturizerConfig, optional
            By default without positions.
        max_atoms, on_failed_conformer
            See `dgl_moleblend.data.featurize.PipelineConfig`.
        workers : int
            Processes; 0 works in this one. From a script, needs the usual ``if __name__ == "__main__":``.
        store : path, optional
            Write the molecules to this store, or take them from it if it was made with the same arguments; by default
            they stay in memory.
        progress : bool
            Whether to show a bar.

        Raises
        ------
        DataError
            If a file is missing or has not the columns asked for. Rows that cannot be used are in `rejects`.
        """
        from dgl_moleblend.readers.molecules import MoleculeReader

        reader = MoleculeReader(
            inputs, smiles_column=smiles_column, id_column=id_column, task_columns=task_columns,
            input_format=input_format, encoding=encoding, missing_labels=missing_labels, sheet=sheet, decimal=decimal,
            charge=charge, relation_column=relation_column,
        )  # fmt: skip
        if reader.left_out:
            log.warning("'all' leaves out: %s", ", ".join(f"{name!r} ({why})" for name, why in reader.left_out.items()))
        return cls.from_reader(reader, featurizer=featurizer, max_atoms=max_atoms, workers=workers, store=store,
                               on_failed_conformer=on_failed_conformer, progress=progress)  # fmt: skip

    @classmethod
    def from_reader(
        cls,
        reader: "Reader",
        *,
        featurizer: FeaturizerConfig | None = None,
        max_atoms: int | None = None,
        on_failed_conformer: str = "reject",
        workers: int = 0,
        store: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> Self:
        """Featurize what a reader reads, such as those of `dgl_moleblend.readers.published`; see `from_file`."""
        from dgl_moleblend.data.featurize import featurize_to_store, featurize_to_table
        from dgl_moleblend.data.molecules import PipelineConfig

        config = PipelineConfig(featurizer or FeaturizerConfig(), on_failed_conformer=on_failed_conformer)
        if max_atoms is not None:
            config = dataclasses.replace(config, max_atoms=max_atoms)
        if store is None:
            return cls(featurize_to_table(reader, config, workers=workers, progress=progress))
        return cls(featurize_to_store(reader, store, config, workers=workers, progress=progress))

    @classmethod
    def from_smiles(cls, smiles: Sequence[Any], *, featurizer: FeaturizerConfig | None = None) -> Self:
        """Featurize SMILES or RDKit Mols, in this process; those that cannot be read are in `rejects`.

        Examples
        --------
        >>> dataset = MoleculeDataset.from_smiles(["CCO", "C1CC"])
        >>> len(dataset), dataset.rejects["row"].tolist()
        (1, [1])
        """
        from dgl_moleblend.readers.memory import MoleculeList

        return cls.from_reader(MoleculeList(smiles), featurizer=featurizer)

    def __repr__(self) -> str:
        names = self.task_names
        of = f"{len(names)} labels" if len(names) > 3 else ", ".join(names) or "no labels"
        return f"<{type(self).__name__}: {len(self):,} molecules, {of}, {len(self.rejects):,} rows rejected>"

    def __len__(self) -> int:
        return len(self.table) if self._indices is None else len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"molecule {index} of a data set of {len(self)}")
        sample = self.table[index if self._indices is None else int(self._indices[index])]
        if self._tasks is None:
            return sample
        labels = labels_with(self.class_columns, sample.labels[None])[0, self._tasks]
        bounds = None if sample.bounds is None else bounds_with(self.class_columns, sample.bounds)[self._tasks]
        return dataclasses.replace(sample, labels=labels, bounds=bounds)

    def __iter__(self) -> Iterator[Sample]:
        return (self[k] for k in range(len(self)))

    def _take(self, values: np.ndarray) -> np.ndarray:
        return values if self._indices is None else values[self._indices]

    def _take_list(self, values: list[str]) -> list[str]:
        return values if self._indices is None else [values[k] for k in self._indices]

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the t labels."""
        return self._names if self._tasks is None else tuple(self._names[k] for k in self._tasks)

    @property
    def labels(self) -> np.ndarray:
        """Labels, shape (N, t), float64; NaN = missing."""
        labels = labels_with(self.class_columns, self._take(self.table.labels))
        return labels if self._tasks is None else labels[:, self._tasks]

    @property
    def bounds(self) -> np.ndarray:
        """1 where a value is above its label, -1 below, 0 where it is the label (or there is none), (N, t), int8."""
        bounds = bounds_with(self.class_columns, self._take(self.table.bounds))
        return bounds if self._tasks is None else bounds[:, self._tasks]

    @property
    def num_atoms(self) -> np.ndarray:
        """Number of atoms of every molecule, shape (N,)."""
        return self._take(self.table.num_atoms)

    def has_atom(self, column: int, value: int) -> np.ndarray:
        """Whether each molecule has an atom with this id of one of the nine atom features, shape (N,), bool."""
        return self._take(self.table.has_atom(column, value))

    @property
    def num_conformers(self) -> np.ndarray:
        """Number of conformers of every molecule, shape (N,)."""
        return self._take(self.table.num_conformers)

    @property
    def rows(self) -> np.ndarray:
        """Input row of every molecule, 0-based, shape (N,)."""
        return self._take(self.table.rows)

    @property
    def ids(self) -> list[str]:
        """Identifier of every molecule, "" where there is none."""
        return self._take_list(self.table.ids)

    @property
    def smiles(self) -> list[str]:
        """SMILES of every molecule."""
        return self._take_list(self.table.smiles)

    @property
    def structures(self) -> list[str]:
        """SMILES of what the molecules became: `smiles`, in a standard form where the settings ask for one."""
        return self._take_list(self.table.structures)

    @property
    def divided_by(self) -> list[str]:
        """SMILES that scaffolds and clusters are found of: `structures`; of several molecules a row, the first's."""
        return self.structures

    @property
    def featurizer(self) -> FeaturizerConfig | None:
        """Settings that the molecules were featurized with, where they are known."""
        return self.table.featurizer

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Of labels that were words (Active, Inactive), and of that of `with_classes`: for class 0, class 1, .."""
        own = {} if self.class_columns is None else {self.class_columns.name: self.class_columns.words}
        return {name: words for name, words in self.table.classes.items() if name in self.task_names} | own

    @property
    def rejects(self) -> pd.DataFrame:
        """Input rows that could not be used: row, source, line, id, smiles, stage, reason."""
        return self.table.rejects

    def digest(self) -> dict[str, str]:
        """Return checksums of molecules, positions, SMILES, input rows and labels, by which a run knows its data.

        Examples
        --------
        >>> first, second = (MoleculeDataset.from_smiles(["CCO", text]).digest() for text in ("CCN", "CCC"))
        >>> [name for name in first if first[name] != second[name]]
        ['molecules', 'smiles']
        """
        labels = np.ascontiguousarray(self.labels, np.float64)
        found = self.table.digest()
        found["labels"] = _checksum(f"{self.task_names}{labels.shape}".encode(), labels.tobytes())
        if (bounds := self.bounds).any():
            found["bounds"] = _checksum(np.ascontiguousarray(bounds, np.int8).tobytes())
        if self._indices is not None:
            found["subset"] = _checksum(self._indices.tobytes())
        return found

    def subset(self, indices: np.ndarray | Sequence[int]) -> Self:
        """Return some molecules, in the order given."""
        indices = np.asarray(indices, np.int64)
        if len(indices) and not (-len(self) <= indices.min() and indices.max() < len(self)):
            raise IndexError(f"indices of a data set of {len(self)} go from 0 to {len(self) - 1}")
        own = np.arange(len(self.table)) if self._indices is None else self._indices
        return self._with(own[indices], self._tasks, self.class_columns)

    def select_tasks(self, names: Sequence[str]) -> Self:
        """Return the same molecules with some of the labels.

        Raises
        ------
        DataError
            If a label is not in the table.
        """
        have = self._names
        for name in names:
            if name not in have:
                raise DataError(f"there are no labels {name!r}; there are: {', '.join(map(repr, have)) or 'none'}",
                                fix="featurize again with --tasks, or name others")  # fmt: skip
        return self._with(self._indices, [have.index(name) for name in names], self.class_columns)

    def with_classes(self, name: str) -> Self:
        """Return the same molecules with a column for each class of one label: 1 for those of the class, 0 for others.

        Examples
        --------
        >>> from dgl_moleblend.readers.memory import MoleculeList
        >>> tiers = MoleculeDataset.from_reader(MoleculeList(["C", "CC"], {"tier": [5, 1]})).with_classes("tier")
        >>> tiers.task_names, tiers.labels.tolist(), tiers.classes
        (('tier=1', 'tier=5'), [[0.0, 1.0], [1.0, 0.0]], {'tier': ('1', '5')})
        """
        column = self.table.task_names.index(name)
        words = self.table.classes.get(name, ())
        found = ClassColumns.of(name, column, self._take(self.table.labels)[:, column], words)
        tasks = len(self.table.task_names) + np.arange(len(found.values))
        return self._with(self._indices, tasks.tolist(), found)

    def _with(self, indices: np.ndarray | None, tasks: Sequence[int] | None, classes: ClassColumns | None) -> Self:
        return type(self)(self.table, indices, tasks, classes)

    def split(
        self,
        method: str = "scaffold",
        fractions: Sequence[float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        task: int = 0,
        scaffold: str = "smiles",
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Divide the molecules by one of dgllife's splitters, or by groups drawn at random.

        Parameters
        ----------
        method : str
            "scaffold" (Bemis-Murcko: no scaffold is in two parts), "random", "molecular_weight", "stratified" (by the
            label of `task`) or "consecutive"; "scaffold_balanced" or "cluster": whole scaffolds, or clusters of
            molecules that are alike (`dgl_moleblend.chem.clusters.spheres`), by the seed.
        fractions : sequence of 3 floats
            Shares of training, validation and test; they add up to 1.
        seed : int
            Of "random", "stratified", "scaffold_balanced" and "cluster".
        task : int
            Number of the label that "stratified" divides by.
        scaffold : {"smiles", "decompose"}
            dgllife's two ways to a scaffold: RDKit's MurckoScaffoldSmiles or MurckoDecompose.

        Returns
        -------
        tuple of 3 ndarrays
            Indices into this data set: together every molecule, once.
        """
        check(method in SPLITS, "method", method, f"one of {', '.join(map(repr, SPLITS))}")
        fractions = tuple(fractions)
        check(len(fractions) == 3 and all(f >= 0 for f in fractions) and abs(sum(fractions) - 1) < 1e-6, "fractions",
              fractions, "3 non-negative numbers that add up to 1")  # fmt: skip
        check(scaffold in ("smiles", "decompose"), "scaffold", scaffold, "'smiles' or 'decompose'")
        if method in GROUPINGS:
            train, val, test = divide_groups(GROUPINGS[method](self.divided_by), fractions, seed)
            return train, val, test
        train, val, test = split_by_dgllife(method, self.divided_by, self.labels, fractions, seed=seed, task=task,
                                            scaffold=scaffold)  # fmt: skip
        return train, val, test


def _checksum(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()[:16]
