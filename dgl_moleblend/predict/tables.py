"""Tables of results: rows in the input's order, columns named, files written whole or not at all."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.summary import ELEMENTS


def predicted(name: str) -> str:
    """Return the name of the column that holds predictions of a property."""
    return f"{name}_predicted"


def bound_columns(name: str) -> tuple[str, str]:
    """Return the names of the columns of labels that are bounds: what a value is above, and what it is below."""
    return f"{name}_above", f"{name}_below"


def align(
    dataset: MoleculeDataset,
    columns: Mapping[str, Sequence[Any] | np.ndarray],
    rejects: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Put values of the molecules beside the rejects, in the order of the input rows.

    Parameters
    ----------
    dataset : MoleculeDataset
    columns : mapping of str to N values
        Arrays of objects or texts are of text; values that are lists come as a list.
    rejects : DataFrame, optional
        By default those of the data set.

    Returns
    -------
    DataFrame
        row, source, line (missing where the molecule is of no file), id, smiles, the columns (NaN for rejects, "" where
        they are of text), reason ("" for molecules).
    """
    names = ["row", "source", "line", "id", "smiles"]
    kept = pd.DataFrame([(s.row, s.source, s.line, s.id, s.smiles) for s in dataset], columns=names)
    for name, values in columns.items():
        kept[name] = values
    kept["reason"] = ""
    rejects = (dataset.rejects if rejects is None else rejects).drop(columns="stage")
    tables = [table for table in (kept, rejects) if len(table)] or [kept]
    table = pd.concat(tables, ignore_index=True).reindex(columns=list(kept.columns))
    table["line"] = table["line"].astype("Int64").where(table["line"] >= 0)
    texts = {name for name, values in columns.items() if isinstance(values, np.ndarray) and values.dtype.kind in "OU"}
    for name in texts | ({"nearest", "warning"} & {*table.columns}):
        table[name] = table[name].astype(object).fillna("")  # all NaN where there are rejects alone
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


def place_beside(
    table: pd.DataFrame,
    cells: Sequence[Mapping[str, object] | None],
    types: Mapping[str, Any],
) -> pd.DataFrame:
    """Put a user's own columns into a table of results, behind its smiles; none is lost.

    Parameters
    ----------
    table : DataFrame
        As `align` gives it.
    cells : sequence of mapping or None
        Of each row of the table, by column.
    types : mapping of str to Arrow type or None
        The columns, and what they hold; None is text, "" where a row has no such cell.

    Returns
    -------
    DataFrame
        A column of a name that the table has is renamed, see `renamed`.
        ``attrs["types"]`` has the types by these names.

    Examples
    --------
    >>> table = pd.DataFrame({"smiles": ["CCO"], "x_predicted": [1.5], "reason": [""]})
    >>> cells = [{"batch": "007", "reason": "none"}]
    >>> place_beside(table, cells, dict.fromkeys(cells[0])).columns.tolist()
    ['smiles', 'batch', 'reason_input', 'x_predicted', 'reason']
    """
    if not types:
        return table
    new = renamed([*table.columns], [*types])
    rows = [row or {} for row in cells]
    frame = pd.DataFrame(index=table.index)
    for name, kind in types.items():
        values = [row.get(name) for row in rows]
        if kind is None:
            values = ["" if value is None else value if isinstance(value, str) else str(value) for value in values]
        frame[new.get(name, name)] = pd.Series(values, index=table.index, dtype=object)
    place = [*table.columns].index("smiles") + 1
    found = pd.concat([table.iloc[:, :place], frame, table.iloc[:, place:]], axis=1)
    own = table.attrs.get("types", {})
    found.attrs["types"] = {**own, **{new.get(name, name): kind for name, kind in types.items()}}
    return found


def renamed(taken: Sequence[str], own: Sequence[str]) -> dict[str, str]:
    """Return new names of those of a user's columns whose names are taken.

    >>> renamed(["smiles", "reason"], ["batch", "reason", "reason_input"])
    {'reason': 'reason_input_'}
    """
    used, found = {*taken, *own}, {}
    for name in own:
        if name in taken:
            found[name] = f"{name}_input"
            while found[name] in used:
                found[name] += "_"
            used.add(found[name])
    return found


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
