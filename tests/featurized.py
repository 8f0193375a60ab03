"""What tests of featurization read, and what they expect of a table."""

from pathlib import Path

from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.readers.molecules import MoleculeReader


def read(path: Path) -> MoleculeReader:
    return MoleculeReader(path, task_columns=["y"])


def essence(table: MoleculeTable) -> list[tuple[object, ...]]:
    return [
        (s.row, s.line, s.smiles, s.labels.tobytes(), s.molecule.atom.tobytes(), s.molecule.positions.tobytes())
        for s in table
    ]


def assert_complete(table: MoleculeTable, rows: int) -> None:
    """Every row is in exactly one of the two places, and both are in order."""
    kept, rejected = table.rows.tolist(), table.rejects["row"].tolist()
    assert sorted(kept + rejected) == list(range(rows))
    assert kept == sorted(kept)
    assert rejected == sorted(rejected)
