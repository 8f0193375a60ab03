"""What every reader of molecules yields: a record for each row, whatever is in it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, eq=False)
class Record:
    """One row of the input: a molecule as text, or why the row could not be read.

    Parameters
    ----------
    row : int
        0-based number, counted over all files.
    source : str
        The file.
    line : int
        Line of the file as an editor shows it, from 1 (of several, the first); -1 where a file has no lines.
    id : str
        Identifier, "" where there is none.
    smiles : str
        SMILES as given, "" where the row holds a structure.
    structure : str or None
        Text of a structure, of the format `structure_format`. If the row holds SMILES, too, they must be of the same
        atoms.
    structure_format : {"sdf", "mol2", "xyz", "pdb"}
    charge : int or None
        Total charge, where the format has no bonds by which charges could be known.
    mol : RDKit Mol or None
        The molecule itself, where it never was text; whatever is given, reading it says what is wrong with it.
    atoms, positions : tuple of n str and ndarray, shape (c, n, 3), angstrom; or None
        Elements and conformers of the molecule that the SMILES is of, where a file gives them as numbers.
    labels : tuple of float
        One value per task; NaN = missing.
    bounds : tuple of int
        Per task 1 where the value is above its label, -1 below, 0 where it is the label; () where all are 0.
    stage, error : str or None
        Set if the row cannot be used: "read" or "labels", and the reason.
    cells : mapping of str to object, optional
        Every cell of the row by its column, where the reader was asked to keep them.
    """

    row: int
    source: str
    line: int
    id: str = ""
    smiles: str = ""
    structure: str | None = None
    structure_format: str = "sdf"
    charge: int | None = None
    mol: Any = None
    atoms: tuple[str, ...] | None = None
    positions: np.ndarray | None = None
    labels: tuple[float, ...] = ()
    bounds: tuple[int, ...] = ()
    stage: str | None = None
    error: str | None = None
    cells: Mapping[str, object] | None = None

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.source}, line {self.line}" if self.line > 0 else f"{self.source}, row {self.row}"


@dataclass
class Row:
    """A row of one file: cells by column number (tables) or property name (structures)."""

    line: int
    cells: Sequence[object] | Mapping[str, str] = ()
    title: str = ""
    structure: str | None = None
    charge: int | None = None
    error: str | None = None


@runtime_checkable
class Reader(Protocol):
    """What the pipeline takes records from."""

    @property
    def bytes_read(self) -> int: ...  # noqa: D102

    @property
    def total_bytes(self) -> int | None: ...  # noqa: D102

    @property
    def sources(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def task_names(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]: ...  # noqa: D102

    def arguments(self) -> dict[str, object]: ...  # noqa: D102

    def __iter__(self) -> Iterator[Record]: ...
