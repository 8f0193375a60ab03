"""One molecule of a data set with its labels and where it came from; one row that is not in it, and why."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dgl_moleblend.chem.arrays import MoleculeArrays

REJECT_FIELDS = ("row", "source", "line", "id", "smiles", "stage", "reason")
REJECT_KINDS: dict[str, type] = {name: np.int64 if name in ("row", "line") else str for name in REJECT_FIELDS}
_TEXT_LIMIT = 2_000  # characters of a rejected SMILES or reason that are written down


@dataclass(frozen=True)
class Sample:
    """One molecule of a table with its labels and where it came from.

    Parameters
    ----------
    molecule : MoleculeArrays
    labels : ndarray, shape (t,), float64
        NaN = missing.
    row : int
        0-based number of the input row, counted over all files.
    source : str
        The file.
    line : int
        Line of the file as an editor shows it; -1 where a file has no lines.
    id, smiles : str
        Identifier, "" where there is none; SMILES as given, or RDKit's where the file gave a structure.
    bounds : ndarray, shape (t,), int8, optional
        1 where the value is above its label, -1 below, 0 where it is the label; by default all 0.
    partners : tuple of MoleculeArrays
        The other molecules of the row, where it has several.
    """

    molecule: MoleculeArrays
    labels: np.ndarray
    row: int
    source: str = ""
    line: int = -1
    id: str = ""
    smiles: str = ""
    bounds: np.ndarray | None = None
    partners: tuple[MoleculeArrays, ...] = ()

    @property
    def relations(self) -> np.ndarray:
        """`bounds`, zeros where there are none."""
        return np.zeros(len(self.labels), np.int8) if self.bounds is None else self.bounds


@dataclass(frozen=True)
class Reject:
    """An input row that is not in the table, and why.

    Parameters
    ----------
    row, source, line, id, smiles
        As in `Sample`.
    stage : str
        "read", "labels", "parse", "standardize", "size", "conformer", "featurize", "time" or "crash".
    reason : str
        One line.
    """

    row: int
    source: str
    line: int
    id: str
    smiles: str
    stage: str
    reason: str

    def values(self) -> tuple[str, ...]:
        """Return the row of rejects.csv: one line of text, long SMILES cut short."""
        texts = (self.id, self.smiles, self.stage, self.reason)
        return (str(self.row), self.source, str(self.line), *(_one_line(text) for text in texts))


def _one_line(text: str) -> str:
    text = " ".join(text.replace("\0", "\\0").split())
    text = text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]} ... ({len(text):,} characters)"
    return text.encode("utf-8", "backslashreplace").decode()


def rejects_frame(rejects: Iterable[Reject]) -> pd.DataFrame:
    """Return rejects as a table with the columns of rejects.csv."""
    rows = [reject.values() for reject in rejects]
    return _typed(rows) if rows else _no_rejects().copy()


def _typed(rows: list[tuple[str, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(REJECT_FIELDS)).astype(REJECT_KINDS)


@functools.cache
def _no_rejects() -> pd.DataFrame:
    """Return an empty table, which most predictions of a few molecules need and pandas takes milliseconds to make."""
    return _typed([])
