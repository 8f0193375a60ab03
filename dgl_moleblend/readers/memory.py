"""Molecules that a caller holds in a list -> records, one an entry, whatever the entry is, with labels beside them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.bounds import read_label
from dgl_moleblend.readers.cells import find_classes
from dgl_moleblend.readers.records import Record

SOURCE = "SMILES"


class MoleculeList:
    """Read SMILES, RDKit Mols or both; what is neither becomes a record that says so.

    Parameters
    ----------
    molecules : sequence
        None, NaN and ``pandas.NA`` stand for no molecule.
    labels : mapping of task to a value for each molecule, optional
        Numbers, texts that are such, bounds (">8"), or words for classes; None, NaN and what files have for a missing
        label stand for none.
    ids : sequence, optional
        Identifiers of the molecules.
    relations : mapping of task to a relation for each molecule, optional
        ">", "<", "=", ..: which labels are bounds.

    Raises
    ------
    DataError
        If there are not as many labels or ids as molecules.

    Examples
    --------
    >>> for record in MoleculeList(["CCO", None, " "], {"logS": [1.1, 0, "n/a"]}):
    ...     print(record.row, repr(record.smiles), record.labels, record.error)
    0 'CCO' (1.1,) None
    1 '' (0.0,) there is no molecule: None
    2 '' (nan,) the SMILES is blank
    """

    sources = (SOURCE,)

    def __init__(
        self,
        molecules: Sequence[Any],
        labels: Mapping[str, Sequence[Any]] | None = None,
        ids: Sequence[Any] | None = None,
        relations: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self._molecules, self._labels, self._ids = molecules, dict(labels or {}), ids
        self._relations = dict(relations or {})
        self.task_names = tuple(self._labels)
        for name, values in {**self._labels, **({} if ids is None else {"identifiers": ids})}.items():
            if len(values) != len(molecules):
                raise DataError(f"there are {len(molecules):,} molecules and {len(values):,} values of {name!r}",
                                fix="give one value for every molecule, NaN where there is none")  # fmt: skip
        self.classes: dict[str, tuple[str, ...]] = {}
        for name, values in self._labels.items():
            if (classes := find_classes(None if is_missing(value) else value for value in values)) is not None:
                self.classes[name] = classes
        self.bytes_read = 0
        self.total_bytes: int | None = len(molecules)  # a bar over entries: they have no bytes

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values."""
        return {"molecules": len(self._molecules)}

    def __iter__(self) -> Iterator[Record]:
        for row, value in enumerate(self._molecules):
            self.bytes_read = row + 1
            yield self._record(row, value)

    def _record(self, row: int, value: Any) -> Record:
        known: dict[str, Any] = {"id": "" if self._ids is None or is_missing(self._ids[row]) else str(self._ids[row])}
        smiles, mol, error = "", None, None
        if isinstance(value, str):
            smiles = str(value).strip()  # plain, where it was NumPy's
            error = None if smiles else "the SMILES is blank"
        elif is_missing(value):
            error = f"there is no molecule: {value}"
        else:
            mol = value
        stage, labels, bounds = "read" if error else None, [], []
        for name, values in self._labels.items():
            relation = self._relations[name][row] if name in self._relations else None
            found = read_label(None if is_missing(values[row]) else values[row], name, self.classes.get(name),
                               None if is_missing(relation) else relation)  # fmt: skip
            if isinstance(found, str):
                stage, error = (stage, error) if error is not None else ("labels", found)
                found = (math.nan, 0)
            labels.append(found[0])
            bounds.append(found[1])
        return Record(row, SOURCE, -1, smiles=smiles, mol=mol, labels=tuple(labels),
                      bounds=tuple(bounds) if any(bounds) else (), stage=stage, error=error, **known)  # fmt: skip


def is_missing(value: Any) -> bool:
    """Whether an entry stands for nothing."""
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)
