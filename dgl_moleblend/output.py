"""Tables of results: a row for every input row, its columns named, written whole or not at all."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from dgl_moleblend import checkpoint
from dgl_moleblend.data.dataset import MoleculeDataset


def predicted(name: str) -> str:
    """Return the name of the column that holds predictions of a property."""
    return f"{name}_predicted"


def align(dataset: MoleculeDataset, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> pd.DataFrame:
    """Put values of the molecules beside the rejects, in the order of the input rows.

    Parameters
    ----------
    dataset : MoleculeDataset
    columns : mapping of str to N values

    Returns
    -------
    DataFrame
        row, source, line (missing where the molecule is of no file), id, smiles, the columns (NaN for rejects), reason
        ("" for molecules).
    """
    names = ["row", "source", "line", "id", "smiles"]
    kept = pd.DataFrame([(s.row, s.source, s.line, s.id, s.smiles) for s in dataset], columns=names)
    for name, values in columns.items():
        kept[name] = values
    kept["reason"] = ""
    rejects = dataset.rejects.drop(columns="stage")
    tables = [table for table in (kept, rejects) if len(table)] or [kept]
    table = pd.concat(tables, ignore_index=True).reindex(columns=list(kept.columns))
    table["line"] = table["line"].astype("Int64").where(table["line"] >= 0)
    return table.sort_values("row", kind="stable", ignore_index=True)


def write_table(table: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write predictions, whole or not at all: Parquet where the name ends in .parquet, else CSV."""
    parquet = Path(path).suffix == ".parquet"
    checkpoint.write_atomically(
        Path(path),
        lambda temporary: table.to_parquet(temporary, index=False) if parquet else write_csv(table, temporary),
    )


def write_csv(table: pd.DataFrame, target: Path | TextIO) -> None:
    """Write CSV with the seven digits that float32 holds."""
    table.to_csv(target, index=False, float_format="%.7g")
