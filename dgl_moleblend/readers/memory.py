"""Molecules that a caller holds in a list -> records, one an entry, whatever the entry is."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from dgl_moleblend.readers.records import Record

SOURCE = "SMILES"


class MoleculeList:
    """Read SMILES, RDKit Mols or both; what is neither becomes a record that says so.

    Parameters
    ----------
    molecules : sequence
        None, NaN and ``pandas.NA`` stand for no molecule.

    Examples
    --------
    >>> for record in MoleculeList(["CCO", None, " "]):
    ...     print(record.row, repr(record.smiles), record.error)
    0 'CCO' None
    1 '' there is no molecule: None
    2 '' the SMILES is blank
    """

    sources = (SOURCE,)
    task_names: tuple[str, ...] = ()

    def __init__(self, molecules: Sequence[Any]) -> None:
        self._molecules = molecules
        self.bytes_read = 0
        self.total_bytes: int | None = len(molecules)  # a bar over entries: they have no bytes

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values."""
        return {"molecules": len(self._molecules)}

    def __iter__(self) -> Iterator[Record]:
        for row, value in enumerate(self._molecules):
            self.bytes_read = row + 1
            yield _record(row, value)


def _record(row: int, value: Any) -> Record:
    if isinstance(value, str):
        text = str(value).strip()  # plain, where it was NumPy's
        return Record(row, SOURCE, -1, smiles=text, stage=None if text else "read",
                      error=None if text else "the SMILES is blank")  # fmt: skip
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return Record(row, SOURCE, -1, stage="read", error=f"there is no molecule: {value}")
    return Record(row, SOURCE, -1, mol=value)
