"""Tables of results: rows in the input's order, columns named, files written whole or not at all."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.summary import ELEMENTS


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


def tabulate_atoms(dataset: MoleculeDataset, embeddings: Sequence[np.ndarray] | np.ndarray) -> pd.DataFrame:
    """Put atom embeddings beside the molecules' identifiers.

    Parameters
    ----------
    dataset : MoleculeDataset
    embeddings : a arrays (d,)
        As `embed_atoms` gives them.

    Returns
    -------
    DataFrame
        One row an atom: row (of the molecule in the input), id, smiles, atom (0-based, in the order of the molecule, so
        that of a structure's file, without hydrogens), element, embedding. A SMILES that is written in another order
        has the atoms' numbers + 1 as map numbers. Rejected molecules have no atoms.
    """
    from dgl_moleblend.chem.atom_order import number_smiles

    counts = np.asarray(dataset.num_atoms, np.int64)
    molecule = np.repeat(np.arange(len(dataset)), counts)
    chirality = (dataset.featurizer or FeaturizerConfig()).chirality
    written = zip(dataset, dataset.structures, strict=True)
    smiles = [number_smiles(sample.molecule, text, chirality=chirality) for sample, text in written]
    frame = pd.DataFrame({"row": dataset.rows, "id": dataset.ids, "smiles": smiles})
    table = frame.iloc[molecule].reset_index(drop=True)
    table["atom"] = np.arange(len(molecule)) - (counts.cumsum() - counts)[molecule]
    table["element"] = [ELEMENTS[k] for sample in dataset for k in sample.molecule.atom[:, 0].tolist()]
    table["embedding"] = list(embeddings)
    return table.sort_values(["row", "atom"], kind="stable", ignore_index=True)


FORMATS = ("csv", "parquet", "json", "jsonl")
"""How a table can be written; the suffix of a file says which."""


def format_of(path: str | PathLike[str]) -> str | None:
    """Return the format that a file's name asks for, None where it asks for none that there is."""
    suffix = Path(path).suffix.removeprefix(".")
    return suffix if suffix in FORMATS else None


def write_table(
    table: pd.DataFrame, path: str | PathLike[str], *, digits: int | None = None, form: str | None = None
) -> None:
    """Write a table, whole or not at all.

    Parameters
    ----------
    table : DataFrame
    path : path
    digits : int, optional
        Of the numbers in text; by default all that they have.
    form : {"csv", "parquet", "json", "jsonl"}, optional
        By default as the name ends, CSV where it ends otherwise.
    """
    form = form or format_of(path) or "csv"
    model_folder.write_atomically(
        Path(path),
        lambda temporary: (
            table.to_parquet(temporary, index=False)
            if form == "parquet"
            else write_text(table, temporary, form, digits)
        ),
    )


def write_text(table: pd.DataFrame, target: Path | TextIO, form: str = "csv", digits: int | None = None) -> None:
    """Write a table as text.

    Parameters
    ----------
    table : DataFrame
    target : path or file
    form : {"csv", "json", "jsonl"}
        "json" is a list of objects, "jsonl" an object a line; null stands where there is no finite number.
    digits : int, optional
        Of the numbers; by default all that they have.

    Examples
    --------
    >>> import sys
    >>> write_text(pd.DataFrame({"smiles": ["CCO", "bad"], "x": [1 / 3, np.nan]}), sys.stdout, "jsonl", digits=3)
    {"smiles":"CCO","x":0.333}
    {"smiles":"bad","x":null}
    """
    if form == "csv":
        table.to_csv(target, index=False, float_format=None if digits is None else f"%.{digits}g")
        return
    if digits is not None:
        numbers = table.select_dtypes("float").columns
        table = table.assign(**{n: table[n].map(lambda v: float(f"{v:.{digits}g}")) for n in numbers})
    table.to_json(target, orient="records", lines=form == "jsonl", force_ascii=False, double_precision=15)


def beside(table: pd.DataFrame, own: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Put a user's own columns into a table of predictions, behind its smiles; none is lost.

    Parameters
    ----------
    table : DataFrame
        As `align` gives it.
    own : DataFrame
        As many rows, in the same order. A column that holds but what the table's of its name does is left out.

    Returns
    -------
    tuple of DataFrame and dict of str to str
        The table, and the new names of those columns whose names are the table's.

    Examples
    --------
    >>> table = pd.DataFrame({"smiles": ["CCO"], "x_predicted": [1.5], "reason": [""]})
    >>> found, renamed = beside(table, pd.DataFrame({"smiles": ["CCO"], "batch": ["007"], "reason": ["none"]}))
    >>> found.columns.tolist(), renamed
    (['smiles', 'batch', 'reason_input', 'x_predicted', 'reason'], {'reason': 'reason_input'})
    """
    same = [name for name in own if name in table
            and ((own[name] == "") | (own[name].astype(str) == table[name].astype(str))).all()]  # fmt: skip
    own = own.drop(columns=same)
    taken = {*table.columns, *own.columns}
    renamed: dict[str, str] = {}
    for name in map(str, own.columns):
        if name in table:
            new = f"{name}_input"
            while new in taken:
                new += "_"
            taken.add(new)
            renamed[name] = new
    place = [*table.columns].index("smiles") + 1
    left, right = table.iloc[:, :place], table.iloc[:, place:]
    return pd.concat([left, own.rename(columns=renamed).set_axis(table.index), right], axis=1), renamed


def write_embeddings(table: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write embeddings, whole or not at all: Parquet, with a list of numbers a row, or NPZ, with an array (rows, d).

    Parameters
    ----------
    table : DataFrame
        Of molecules (`align`) or atoms (`tabulate_atoms`), with a column "embedding" of arrays (d,), NaN where there
        is none.
    path : path
        Ends in .parquet or .npz. NPZ holds no pickle: an array a column; a row without an embedding holds NaN, one
        without a line -1.
    """
    has = np.array([isinstance(value, np.ndarray) for value in table["embedding"]], bool)
    if Path(path).suffix == ".parquet":
        frame = table.assign(embedding=table["embedding"].where(has, None))
        model_folder.write_atomically(Path(path), lambda temporary: frame.to_parquet(temporary, index=False))
        return
    width = len(table["embedding"][has].iloc[0]) if has.any() else 0
    arrays: dict[str, np.ndarray] = {"embedding": np.full((len(table), width), np.nan, np.float32)}
    if has.any():
        arrays["embedding"][has] = np.stack(table["embedding"][has].tolist())
    for name in table.columns.drop("embedding"):
        numbers = pd.api.types.is_numeric_dtype(table[name])
        arrays[name] = table[name].fillna(-1).to_numpy(np.int64) if numbers else table[name].to_numpy(str)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # a file, since a name would be given a suffix
            np.savez(file, **arrays)  # type: ignore[arg-type]

    model_folder.write_atomically(Path(path), write)
