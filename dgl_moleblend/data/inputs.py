"""Molecules in whatever form a caller has them -> a data set, and the row of the answer that each of them is."""

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.several import beside, check_columns
from dgl_moleblend.errors import DataError, MoleculeError
from dgl_moleblend.files import MANIFEST_FILE
from dgl_moleblend.readers.columns import find_column, find_smiles, listed, no_column
from dgl_moleblend.readers.formats import names_molecules
from dgl_moleblend.readers.memory import MoleculeList

_FORMS = (
    "a SMILES or RDKit Mol, a list, array or Series of these, a DataFrame with a column of SMILES, the path of a file,"
    " of a folder of files or of a data set, or a MoleculeDataset"
)


@dataclass(frozen=True)
class Inputs:
    """What a caller gave: m rows, N of them molecules.

    Parameters
    ----------
    dataset : MoleculeDataset
        The molecules.
    place : ndarray, shape (N,)
        Which row each is.
    reasons : dict of int to str
        Why the other rows are no molecules.
    smiles : ndarray, shape (m,), of str
        Of every row; "" where there is none.
    index : Index, optional
        That of the Series or DataFrame that was given.
    from_file : bool
        Whether rows have a file and line.
    """

    dataset: MoleculeDataset
    place: np.ndarray
    reasons: Mapping[int, str]
    smiles: np.ndarray
    index: pd.Index | None = None
    from_file: bool = False

    def __len__(self) -> int:
        return len(self.smiles)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Put a value a molecule at its row; NaN (or "", of texts) where there is no molecule."""
        empty: Any = np.nan if values.dtype.kind == "f" else ""
        found = np.full((len(self), *values.shape[1:]), empty, values.dtype if values.dtype.kind == "f" else object)
        found[self.place] = values
        return found

    def table(self, columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """Return smiles, the columns, and reason ("" for molecules), with the index that was given."""
        reason = np.full(len(self), "", object)
        reason[list(self.reasons)] = list(self.reasons.values())
        spread = {name: self.spread(np.asarray(values)) for name, values in columns.items()}
        return pd.DataFrame({"smiles": self.smiles, **spread, "reason": reason}, index=self.index)


def open_inputs(
    molecules: Any,
    featurizer: FeaturizerConfig,
    *,
    smiles_column: str | Sequence[str] | None = None,
    columns: Sequence[str] = (),
    labels: Mapping[str, Sequence[Any]] | None = None,
    ids: Sequence[Any] | None = None,
    relations: Mapping[str, Sequence[Any]] | None = None,
    workers: int = 0,
    progress: bool = False,
) -> Inputs:
    r"""Featurize molecules: one row for every entry, in order, be it a molecule or not.

    Parameters
    ----------
    molecules
        A SMILES or RDKit Mol; a list, tuple, array or Series of these; a DataFrame with a column of SMILES; the path of
        a file, of a folder of files or of a data set that `featurize` wrote (a text that names one is taken for it); a
        MoleculeDataset, whose molecules are the rows (what was rejected when it was made is none of them).
    featurizer : FeaturizerConfig
    smiles_column : str or sequence of str, optional
        Of a DataFrame or file; by default found by its name. Several: a row is a molecule of each, see
        `dgl_moleblend.data.several`.
    columns : sequence of str
        Columns of numbers of a DataFrame or file that are kept as labels.
    labels, ids, relations
        Of entries in memory, see `MoleculeList`.
    workers : int
        Processes that featurize; 0 for this one.
    progress : bool
        Whether what takes a while shows a bar.

    Raises
    ------
    DataError
        If it is nothing of these, a DataFrame has no such column, or a file is missing or damaged.

    Examples
    --------
    >>> found = open_inputs(pd.Series(["CCO", "C1CC"], index=["a", "b"]), FeaturizerConfig())
    >>> len(found), found.place.tolist()
    (2, [0])
    >>> found.table({"length": np.array([2.5])})
      smiles  length                                      reason
    a    CCO     2.5
    b   C1CC     NaN  RDKit cannot read SMILES 'C1CC': unclosed ring
    """
    how: dict[str, Any] = {"featurizer": featurizer, "workers": workers, "progress": progress}
    if smiles_column is not None and not isinstance(smiles_column, str):
        names = check_columns(smiles_column)
        if not isinstance(molecules, pd.DataFrame) and path_of(molecules) is None:
            raise DataError(f"rows are molecules of the columns {', '.join(names)}, and here is no table",
                            fix="give a DataFrame or file that has these columns")  # fmt: skip
        first = open_inputs(molecules, featurizer, smiles_column=names[0], columns=columns, labels=labels, ids=ids,
                            relations=relations, workers=workers, progress=progress)  # fmt: skip
        others = [open_inputs(molecules, featurizer, smiles_column=name, workers=workers, progress=progress).dataset
                  for name in names[1:]]  # fmt: skip
        return _by_row(beside([first.dataset, *others], names), first.index, from_file=first.from_file)
    if isinstance(molecules, MoleculeDataset):
        return Inputs(molecules, np.arange(len(molecules)), {}, np.array(molecules.smiles, object))
    if path := path_of(molecules):
        if Path(path, MANIFEST_FILE).is_file():
            return _by_row(MoleculeDataset.from_store(path), None, from_file=True)
        return _by_row(
            MoleculeDataset.from_file(path, smiles_column=smiles_column, task_columns=columns, **how),
            None,
            from_file=True,
        )
    from dgl_moleblend.data.featurize import CHUNK

    values, index = entries(molecules, smiles_column)
    if columns:
        labels = {**(labels or {}), **_cells(molecules, columns)}
    how["progress"] = progress and len(values) > 4 * CHUNK[featurizer.positions]  # about a second
    return _by_row(MoleculeDataset.from_reader(MoleculeList(values, labels, ids, relations), **how), index)


def _by_row(dataset: MoleculeDataset, index: pd.Index | None, *, from_file: bool = False) -> Inputs:
    """Put molecules and rejects in the order of the rows that they come from."""
    rejects = dataset.rejects
    order = np.argsort(np.concatenate([dataset.rows, rejects["row"].to_numpy(np.int64)]), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    kept, others = place[: len(dataset)], place[len(dataset) :]
    smiles = np.full(len(order), "", object)
    smiles[kept], smiles[others] = dataset.smiles, rejects["smiles"]
    reasons = dict(zip(others.tolist(), rejects["reason"], strict=True))
    return Inputs(dataset, kept, reasons, smiles, index, from_file)


def path_of(molecules: Any) -> str | None:
    """Return what names a file or data set; None for a SMILES and everything else."""
    if isinstance(molecules, os.PathLike):
        return os.fspath(molecules)
    if not isinstance(molecules, str):
        return None
    if "\n" in molecules or len(molecules) > 1_000:
        return None
    is_there = os.path.isfile(molecules) or os.path.isfile(Path(molecules, MANIFEST_FILE))  # False of what is too long
    if not is_there and os.path.isdir(molecules):  # a folder, unless its name is a SMILES, too
        is_there = not _is_smiles(molecules)
    return str(molecules) if is_there or names_molecules(molecules) else None


def _is_smiles(text: str) -> bool:
    from dgl_moleblend.chem.sanitize import read_smiles

    with suppress(MoleculeError):
        return bool(read_smiles(text))
    return False


def entries(molecules: Any, smiles_column: str | None) -> tuple[list[Any], pd.Index | None]:
    """Return one entry a row, and the index of a Series or DataFrame."""
    if isinstance(molecules, pd.DataFrame):
        return molecules[column_of_smiles(molecules, smiles_column)].tolist(), molecules.index
    if smiles_column is not None:
        raise DataError(f"smiles_column={smiles_column!r} is given, and no DataFrame or file", fix="leave it out")
    if isinstance(molecules, pd.Series | pd.Index):
        return molecules.tolist(), molecules.index if isinstance(molecules, pd.Series) else None
    if isinstance(molecules, np.ndarray):
        if molecules.ndim > 1:
            raise DataError(f"the array of molecules has shape {molecules.shape}", fix="give one of shape (m,)")
        return molecules.reshape(-1).tolist(), None
    if isinstance(molecules, str) or hasattr(molecules, "GetNumAtoms"):
        return [molecules], None
    if not isinstance(molecules, Iterable) or isinstance(molecules, Mapping | Set | bytes):
        raise DataError(f"molecules={str(molecules)[:100]!r} of type {type(molecules).__name__}", fix=f"give {_FORMS}")
    return list(molecules), None


def _cells(molecules: Any, columns: Sequence[str]) -> dict[str, Sequence[Any]]:
    header = [*molecules.columns] if isinstance(molecules, pd.DataFrame) else []
    for name in columns:
        if name not in header:
            raise DataError(f"there is no column {name!r}, whose numbers the model reads beside the molecules",
                            fix="give a DataFrame or file that has it")  # fmt: skip
    return {name: molecules[name].tolist() for name in columns}


def column_of_smiles(frame: pd.DataFrame, wanted: str | None) -> Any:
    """Return the name of the column that holds SMILES.

    Raises
    ------
    DataError
        If there is none, or there are several of the name.
    """
    header = frame.columns.tolist()
    name = find_smiles(header) if wanted is None else find_column(header, wanted)
    if name is None and wanted is None:
        raise DataError(f"no column looks like SMILES; the columns are: {listed(header)}",
                        fix="name one with smiles_column=")  # fmt: skip
    if name is None:
        raise no_column(wanted, header, option="smiles_column=")
    if header.count(name) > 1:
        raise DataError(f"{header.count(name)} columns are named {name!r}", fix="rename them")
    return name
