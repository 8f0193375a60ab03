"""Records whose cells hold a list of values for atoms or bonds: each list is laid onto its molecule, or refused."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from dgl_moleblend.chem.written import Written, read_written
from dgl_moleblend.data.molecules import read_mol
from dgl_moleblend.errors import MoleculeError
from dgl_moleblend.readers.lists import read_list
from dgl_moleblend.readers.records import Reader, Record


class SiteReader:
    """Read records, and of each the values of its atoms or bonds; a row whose list does not fit is a row with a reason.

    The labels of a record are the means of its values: by them rows are known to have some, and molecules are divided.

    Parameters
    ----------
    reader : Reader
    level : {"atom", "bond"}
    names : sequence of t str
        Of the columns.
    cells : callable
        From a record to what its t cells hold.

    Attributes
    ----------
    by_row : dict of int to ndarray, shape (sites, t)
        Values of the rows that were read and have some, in RDKit's order of the molecule that features are of; NaN
        where there is none.
    dropped : int
        Values of hydrogens (or of bonds to them) that are written and that features do not keep.
    """

    classes: Mapping[str, tuple[str, str]] = {}

    def __init__(
        self, reader: Reader, level: str, names: Sequence[str], cells: Callable[[Record], Sequence[object]]
    ) -> None:
        self._reader, self.level, self._cells = reader, level, cells
        self.task_names = tuple(names)
        self.by_row: dict[int, np.ndarray] = {}
        self.dropped = 0

    @property
    def bytes_read(self) -> int:
        """See `MoleculeReader`."""
        return self._reader.bytes_read

    @property
    def total_bytes(self) -> int | None:
        """See `MoleculeReader`."""
        return self._reader.total_bytes

    @property
    def sources(self) -> tuple[str, ...]:
        """Files that are read."""
        return self._reader.sources

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values."""
        return {**self._reader.arguments(), "sites": self.level}

    def __iter__(self) -> Iterator[Record]:
        for record in self._reader:
            yield self._take(record)

    def _take(self, record: Record) -> Record:
        none = (np.nan,) * len(self.task_names)
        bare = dataclasses.replace(record, labels=none, cells=None)
        if record.stage is not None:
            return bare
        lists = []
        for name, cell in zip(self.task_names, self._cells(record), strict=True):
            found = read_list(cell)
            if isinstance(found, str):
                return self._refuse(bare, f"{name!r} holds no list of numbers: {found}")
            lists.append(found)
        if not any(map(len, lists)):
            return bare
        try:
            mol = read_mol(record)
        except MoleculeError:
            return bare  # whoever featurizes it says why
        try:
            written = read_written(mol, smiles=record.smiles, structure=record.structure,
                                   form=record.structure_format, charge=record.charge, given=record.mol)  # fmt: skip
        except MoleculeError as error:
            return self._refuse(bare, error.what)
        columns, dropped = [], 0
        for name, values in zip(self.task_names, lists, strict=True):
            laid = lay_out(values, written, self.level)
            if isinstance(laid, str):
                return self._refuse(bare, f"{name!r} {laid}")
            columns.append(laid)
            dropped += int((~np.isnan(values)).sum() - (~np.isnan(laid)).sum())
        table = np.stack(columns, 1)
        if np.isnan(table).all():
            self.dropped += dropped
            return bare
        self.by_row[record.row] = table
        self.dropped += dropped
        means = tuple(float(np.nanmean(column)) if not np.isnan(column).all() else np.nan for column in columns)
        return dataclasses.replace(bare, labels=means)

    def _refuse(self, record: Record, reason: str) -> Record:
        return dataclasses.replace(record, stage="labels", error=reason)


def lay_out(values: np.ndarray, written: Written, level: str) -> np.ndarray | str:
    """Bring a list of values into the order of a molecule's atoms or bonds; or say why it does not fit.

    Parameters
    ----------
    values : ndarray, shape (k,)
        One for each atom or bond as written, or one for each that is kept.
    written : Written
    level : {"atom", "bond"}

    Examples
    --------
    >>> from rdkit import Chem
    >>> methanol = read_written(Chem.MolFromSmiles("[H]OC"), smiles="[H]OC")
    >>> lay_out(np.array([1.0, 2.0, 3.0]), methanol, "atom").tolist()
    [2.0, 3.0]
    >>> lay_out(np.array([1.0]), methanol, "atom")
    'has 1 value, and the molecule 3 atoms as it is written (2 without the hydrogens that are not kept)'
    """
    is_atom = level == "atom"
    count = len(written.place) if is_atom else len(written.bonds)
    kept = int((written.place >= 0).sum()) if is_atom else len(written.kept_bonds)
    if not len(values):
        return np.full(kept, np.nan)
    if len(values) == count:
        found = np.full(kept, np.nan)
        if is_atom:
            here = written.place >= 0
            found[written.place[here]] = values[here]
            return found
        number = {tuple(sorted(pair)): k for k, pair in enumerate(written.kept_bonds.tolist())}
        for pair, value in zip(written.bonds.tolist(), values.tolist(), strict=True):
            if (k := number.get(tuple(sorted(pair)))) is not None:
                found[k] = value
        return found
    if len(values) == kept:
        return values
    some = "value" if len(values) == 1 else "values"
    few = "" if kept == count else f" ({kept} without the hydrogens that are not kept)"
    sites = level if count == 1 else f"{level}s"
    return f"has {len(values)} {some}, and the molecule {count} {sites} as it is written{few}"
