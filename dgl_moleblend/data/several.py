"""Several molecules a row (solute and solvent, two drugs): a data set for each column, row beside row."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from typing_extensions import Self

from dgl_moleblend.data.classes import ClassColumns
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.rows import Sample
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.errors import DataError


class SeveralMolecules(MoleculeDataset):
    """Rows of several molecules each, made by `beside`: labels and identifiers are those of the first one's data set.

    Parameters
    ----------
    table, indices, tasks, class_columns
        Of the first molecule, see `MoleculeDataset`.
    partners : sequence of MoleculeDataset
        Of the others, as long.
    columns : sequence of str
        Where the molecules come from, the first one's first.
    rejects : DataFrame
        Rows one of whose molecules cannot be used.
    """

    def __init__(
        self,
        table: MoleculeTable,
        indices: np.ndarray | None = None,
        tasks: Sequence[int] | None = None,
        class_columns: ClassColumns | None = None,
        *,
        partners: Sequence[MoleculeDataset] = (),
        columns: Sequence[str] = (),
        rejects: pd.DataFrame | None = None,
    ) -> None:
        super().__init__(table, indices, tasks, class_columns)
        self.partners, self.smiles_columns = tuple(partners), tuple(columns)
        self._rejects = table.rejects if rejects is None else rejects

    def _with(self, indices: np.ndarray | None, tasks: Sequence[int] | None, classes: ClassColumns | None) -> Self:
        return type(self)(self.table, indices, tasks, classes, partners=self.partners, columns=self.smiles_columns,
                          rejects=self._rejects)  # fmt: skip

    def subset(self, indices: np.ndarray | Sequence[int]) -> Self:
        """Return some rows, in the order given."""
        found = super().subset(indices)
        found.partners = tuple(partner.subset(indices) for partner in self.partners)
        return found

    def __getitem__(self, index: int) -> Sample:
        own, others = super().__getitem__(index), [partner[index] for partner in self.partners]
        smiles = _join([own.smiles, *(one.smiles for one in others)])
        return dataclasses.replace(own, partners=tuple(one.molecule for one in others), smiles=smiles)

    @property
    def first(self) -> MoleculeDataset:
        """The first molecule of every row alone."""
        return MoleculeDataset(self.table, self._indices, self._tasks, self.class_columns)

    @property
    def smiles(self) -> list[str]:
        """SMILES of every row: its molecules, with points between."""
        return [*map(_join, zip(super().smiles, *(partner.smiles for partner in self.partners), strict=True))]

    @property
    def structures(self) -> list[str]:
        """SMILES of what every row's molecules became, with points between."""
        return [*map(_join, zip(super().structures, *(partner.structures for partner in self.partners), strict=True))]

    @property
    def divided_by(self) -> list[str]:
        """SMILES of what the first molecule of every row became."""
        return super().structures

    @property
    def num_atoms(self) -> np.ndarray:
        """Number of atoms of the largest molecule of every row, shape (N,)."""
        return np.max([super().num_atoms, *(partner.num_atoms for partner in self.partners)], axis=0)

    def has_atom(self, column: int, value: int) -> np.ndarray:
        """Whether a molecule of each row has an atom with this id of one of the nine atom features, shape (N,)."""
        own = super().has_atom(column, value)
        return np.logical_or.reduce([own, *(partner.has_atom(column, value) for partner in self.partners)])

    @property
    def rejects(self) -> pd.DataFrame:
        """Input rows one of whose molecules cannot be used; the reason names its column."""
        return self._rejects

    def digest(self) -> dict[str, str]:
        """Return checksums, see `MoleculeDataset.digest`; of the other molecules, too."""
        others = {
            f"{column} ({number})": hashlib.sha256(repr(sorted(partner.digest().items())).encode()).hexdigest()[:16]
            for number, (column, partner) in enumerate(
                zip(self.smiles_columns[1:], self.partners, strict=True), start=2
            )
        }
        return {**super().digest(), **others}


def _join(texts: Sequence[str]) -> str:
    """Write molecules as one SMILES, without what may stand behind theirs: blanks, CXSMILES."""
    return ".".join(text.split(None, 1)[0] if text.strip() else "" for text in texts)


def beside(datasets: Sequence[MoleculeDataset], columns: Sequence[str]) -> SeveralMolecules:
    """Join data sets of the columns of one table: rows of which every molecule is there are kept.

    Parameters
    ----------
    datasets : sequence of MoleculeDataset
        Of the same input rows; the first has the labels.
    columns : sequence of str
        What the molecules are called.

    Examples
    --------
    >>> first, second = MoleculeDataset.from_smiles(["CCO", "CCN", "CC"]), MoleculeDataset.from_smiles(["O", "C1", "C"])
    >>> pairs = beside([first, second], ["solute", "solvent"])
    >>> pairs.smiles, pairs.rows.tolist(), pairs.rejects[["row", "reason"]].values.tolist()
    (['CCO.O', 'CC.C'], [0, 2], [[1, "column 'solvent': RDKit cannot read SMILES 'C1': unclosed ring"]])
    """
    rows = datasets[0].rows
    for other in datasets[1:]:
        rows = rows[np.isin(rows, other.rows)]
    kept = []
    for dataset in datasets:
        place = dict(zip(dataset.rows.tolist(), range(len(dataset)), strict=True))
        kept.append(dataset.subset([place[row] for row in rows.tolist()]))
    faults = [
        part.rejects.assign(reason=[f"column {column!r}: {reason}" for reason in part.rejects["reason"]])
        for column, part in zip(columns, datasets, strict=True)
    ]
    rejects = pd.concat(faults, ignore_index=True).drop_duplicates("row").sort_values("row", ignore_index=True)
    own = kept[0]
    return SeveralMolecules(own.table, own._indices, own._tasks, own.class_columns, partners=kept[1:], columns=columns,
                            rejects=rejects)  # fmt: skip


def columns_of(dataset: Any) -> tuple[str, ...]:
    """Return the columns that the molecules of a row come from; () where a row is one molecule."""
    return dataset.smiles_columns if isinstance(dataset, SeveralMolecules) else ()


def check_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Return columns of SMILES, two at least.

    Raises
    ------
    DataError
        If there are fewer, or a name is blank.
    """
    names = tuple(name.strip() for name in columns)
    if len(names) < 2 or not all(names):
        raise DataError(f"{', '.join(map(repr, names)) or 'nothing'} is given for several columns of SMILES",
                        fix="name two or more, such as solute,solvent; one alone is --smiles-column")  # fmt: skip
    return names


def first_column(columns: str | Sequence[str] | None) -> str | None:
    """Return the first of several columns of SMILES, or the only one."""
    return columns if columns is None or isinstance(columns, str) else check_columns(columns)[0]
