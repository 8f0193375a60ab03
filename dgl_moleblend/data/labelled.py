"""Molecules with measured values, in whatever form a caller has them -> a data set, and its division into parts."""

import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend import shipped
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import SPLITS, MoleculeDataset
from dgl_moleblend.data.given_splits import (
    read_words,
    split_by_column,
    split_by_group,
    split_by_time,
    split_by_words,
)
from dgl_moleblend.data.inputs import column_of_smiles, entries, open_inputs, path_of
from dgl_moleblend.data.several import beside, check_columns, first_column
from dgl_moleblend.data.split_files import split_by_list
from dgl_moleblend.data.splits import PARTS, Split, check_parts, split_by_method
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import MANIFEST_FILE, WEIGHTS_FILE
from dgl_moleblend.readers import labels as label_columns
from dgl_moleblend.readers.bounds import find_relations
from dgl_moleblend.readers.columns import find_column, find_id, listed, no_column
from dgl_moleblend.readers.memory import is_missing

SAMPLE = 1_000
"""Rows that are looked at to find the column of labels."""


@dataclass(frozen=True)
class Labelled:
    """Molecules with labels.

    Parameters
    ----------
    dataset : MoleculeDataset
        Its labels are the tasks; further columns that were asked for lie in its table.
    place : ndarray, shape (N,)
        Which input row each molecule is.
    words : mapping of column to sequence of str
        Columns of a DataFrame, by one of which it can be divided.
    path : str, optional
        The file or data set that it is of.
    reading : mapping
        How the file is read.
    """

    dataset: MoleculeDataset
    place: np.ndarray
    words: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    path: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the molecules are called in messages and names of folders."""
        return "molecules" if self.path is None else Path(self.path).name.partition(".")[0]


def open_labelled(
    molecules: Any,
    target: Any,
    featurizer: FeaturizerConfig,
    *,
    columns: Sequence[str] = (),
    smiles_column: str | Sequence[str] | None = None,
    relation_column: str | None = None,
    workers: int = 0,
    progress: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Labelled:
    """Featurize molecules that have labels.

    Parameters
    ----------
    molecules
        A DataFrame with a column of SMILES, the path of a file or data set, a MoleculeDataset; or molecules as
        `open_inputs` takes them with `target` holding their values; or the pair of these: ``(molecules, values)``.
    target : str, sequence of str, or values; optional
        Columns of labels, or a value (or a row of values) for each molecule. By default the one column that can be
        labels, of numbers, or where there is none, of a few words; all labels of a data set.
    featurizer : FeaturizerConfig
        Of molecules that are not featurized yet.
    columns : sequence of str
        Further columns of numbers to keep in the table.
    smiles_column, workers, progress
        See `open_inputs`.
    relation_column : str, optional
        Of a DataFrame or file; see `MoleculeReader`.
    tell : callable
        Is told what was taken where nothing was said.

    Raises
    ------
    DataError
        If there is no such column, it is not clear which one is meant, or values and molecules are not as many.
    """
    molecules, target = _unpair(molecules, target)
    _refuse_other_arguments(molecules, target)
    how: dict[str, Any] = {"smiles_column": smiles_column, "workers": workers, "progress": progress}
    path = path_of(molecules)
    if isinstance(molecules, MoleculeDataset) or (path and Path(path, MANIFEST_FILE).is_file()):
        dataset = molecules if isinstance(molecules, MoleculeDataset) else MoleculeDataset.from_store(str(path))
        return _of_dataset(dataset, target, columns, path)
    if isinstance(molecules, pd.DataFrame) and not _is_values(target):
        return _of_frame(molecules, target, featurizer, columns, tell, relation_column, how)
    if path:
        return _of_file(path, target, featurizer, columns, tell, relation_column, how)
    if relation_column is not None:
        raise DataError(f"relation_column={relation_column!r} is given, and no DataFrame or file", fix="leave it out")
    if molecules is None or (isinstance(molecules, list | tuple) and not molecules):
        raise DataError(f"there are no molecules: {molecules!r}", fix="give a table, a file, or molecules and their"
                        " values")  # fmt: skip
    if target is None or isinstance(target, str):
        raise DataError(f"there are molecules, and no measured values: target={target!r}",
                        fix="give a value for each, finetune(smiles, values); or a table or file, and the name of its"
                        " column")  # fmt: skip
    if columns:
        raise DataError(f"there is no column {columns[0]!r}: values and molecules alone are given",
                        fix="give a DataFrame that holds it, or leave it out of features=")  # fmt: skip
    values, index = entries(molecules, first_column(smiles_column))
    found = open_inputs(values, featurizer, labels=_labels_of(target, index), workers=workers, progress=progress)
    return Labelled(found.dataset, found.place)


def check_kept(dataset: MoleculeDataset, where: str) -> None:
    """Refuse to go on with no molecule; say why the first was rejected.

    Raises
    ------
    DataError
        If there is none.
    """
    if not len(dataset):
        why = f"; the first was rejected: {dataset.rejects['reason'].iloc[0]}" if len(dataset.rejects) else ""
        raise DataError(f"no molecule was kept{why}", where=where, fix="correct the rows")


def divide(data: Labelled, split: Any, *, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> Split:
    """Divide molecules into parts for training, validation and test.

    Parameters
    ----------
    data : Labelled
    split : str, mapping, or sequence of 3 sequences
        One of ``MoleculeDataset.split``'s methods; the name of a column that says train, validation or test; or row
        numbers of the input for "train", "validation" and "test", as a mapping or in this order, such as
        ``dataset.split("random")`` gives; or ``{"group": column}``, ``{"time": column}`` or ``{"file": path}``
        (`split_by_group`, `split_by_time`, `split_by_list`).
    fractions, seed
        Of a method.

    Raises
    ------
    DataError
        If it is nothing of these, or training or validation gets no molecule.
    """
    if isinstance(split, Split):
        return split
    if isinstance(split, str):
        if split in SPLITS:
            return split_by_method(data.dataset, split, fractions, seed)
        if split in data.words:
            return split_by_words(data.dataset, _words_of(data, split), split)
        if data.path and not Path(data.path, MANIFEST_FILE).is_file():
            return split_by_column(data.dataset, [data.path], split, **data.reading)
        raise DataError(f"split={split!r} is no way to divide molecules, and no column of them",
                        fix=f"one of {', '.join(SPLITS)}, or a column: {listed([*data.words])}")  # fmt: skip
    if isinstance(split, Mapping) and [*split] == ["file"]:
        return split_by_list(data.dataset, split["file"])
    if isinstance(split, Mapping) and len(split) == 1 and (way := next(iter(split))) in ("group", "time"):
        words = _words_of(data, split[way])
        if way == "group":
            return split_by_group(data.dataset, words, split[way], fractions, seed)
        return split_by_time(data.dataset, words, split[way], fractions)
    if not isinstance(split, Mapping):
        if not isinstance(split, Sequence) or len(split) != len(PARTS):
            ways = f"give one of {', '.join(SPLITS)}, a column, or the rows of train, validation and test"
            raise DataError(f"split is a {type(split).__name__}", fix=ways)
        split = dict(zip(PARTS, split, strict=True))
    if unknown := [name for name in split if name not in PARTS]:
        raise DataError(f"the split has a part {unknown[0]!r}", fix=f"name its parts {', '.join(PARTS)}")
    index = np.full(int(data.place.max(initial=-1)) + 1, -1)
    index[data.place] = np.arange(len(data.place))
    parts = {}
    for name in PARTS:
        rows = np.asarray(split.get(name, ()))
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        if len(rows) and rows.min() < 0:
            raise DataError(f"the {name} part of the split names row {rows.min()}", fix="count rows from 0")
        kept = index[rows[rows < len(index)]]
        parts[name] = kept[kept >= 0]  # rows that are no molecule are in the list of rejects
    return Split(check_parts(parts), {"split": "given", "split_variant": "rows that were given"})


def _words_of(data: Labelled, column: str) -> dict[int, tuple[str, str]]:
    """Return what stands in a column of a DataFrame or file, by row, and where."""
    if column in data.words:
        cells = ["" if is_missing(word) else str(word) for word in data.words[column]]
        return {int(row): (cells[row], f"row {row}") for row in data.dataset.rows}
    if data.path and not Path(data.path, MANIFEST_FILE).is_file():
        return read_words([data.path], column, "split=", **data.reading)
    raise no_column(column, [*data.words], option="split=")


def _unpair(molecules: Any, target: Any) -> tuple[Any, Any]:
    if not (isinstance(molecules, tuple) and len(molecules) == 2 and target is None):
        return molecules, target
    first, second = molecules
    return (first, second) if not isinstance(second, str) and not hasattr(second, "GetNumAtoms") else (molecules, None)


def _refuse_other_arguments(molecules: Any, target: Any) -> None:
    """Say what goes wrong where a model stands in the place of the molecules, or a split in that of the labels."""
    if isinstance(molecules, str | os.PathLike) and (
        os.fspath(molecules) in shipped.names() or Path(molecules, WEIGHTS_FILE).is_file()
    ):
        raise DataError(f"{os.fspath(molecules)!r} is a model, and stands in the place of the molecules",
                        fix="name it: finetune(molecules, encoder=...)")  # fmt: skip
    three = isinstance(target, tuple) and len(target) == len(PARTS) and all(isinstance(x, np.ndarray) for x in target)
    if three or isinstance(target, Mapping):
        raise DataError("target holds a split: rows of train, validation and test",
                        fix="name it: finetune(molecules, split=...)")  # fmt: skip


def _is_values(target: Any) -> bool:
    """Whether these are values, and no name or names of columns."""
    if target is None or isinstance(target, str):
        return False
    return isinstance(target, pd.Series | pd.DataFrame) or not all(isinstance(value, str) for value in target)


def _names_of(target: Any) -> list[str]:
    return [target] if isinstance(target, str) else list(target)


def _labels_of(target: Any, index: pd.Index | None) -> dict[str, Sequence[Any]]:
    """Return columns of values, named as they are, else "y"."""
    if isinstance(target, pd.Series | pd.DataFrame) and index is not None and not target.index.equals(index):
        raise DataError("molecules and values have different indices",
                        fix="bring them into one order and index, or give values as an array")  # fmt: skip
    if isinstance(target, pd.DataFrame):
        return {str(name): target[name].tolist() for name in target.columns}
    if isinstance(target, pd.Series):
        return {str("y" if target.name is None else target.name): target.tolist()}
    values = np.asarray(target, dtype=object)
    if values.ndim == 1:
        return {"y": values.tolist()}
    if values.ndim != 2:
        raise DataError(f"the values have shape {values.shape}", fix="give (m,), or (m, t) for t properties")
    return {f"y{k}": values[:, k].tolist() for k in range(values.shape[1])}


def _of_dataset(dataset: MoleculeDataset, target: Any, columns: Sequence[str], path: str | None) -> Labelled:
    have = dataset.task_names
    names = [name for name in have if name not in columns] if target is None else _names_of(target)
    for name in names:
        if name not in dataset.table.task_names:
            raise no_column(name, dataset.table.task_names, option="target=")
    place = np.arange(len(dataset)) if path is None else dataset.rows
    return Labelled(dataset.select_tasks(names), place, path=path)


def _of_frame(
    frame: pd.DataFrame,
    target: Any,
    featurizer: FeaturizerConfig,
    columns: Sequence[str],
    tell: Callable[[str], None],
    relation_column: str | None,
    how: dict[str, Any],
) -> Labelled:
    header = [str(name) for name in frame.columns]
    frame = frame.set_axis(header, axis=1)
    smiles = column_of_smiles(frame, first_column(how["smiles_column"]))
    identifier = find_id([name for name in header if name != smiles])
    wanted = how["smiles_column"]
    others = () if wanted is None or isinstance(wanted, str) else tuple(wanted)

    def find() -> str:
        top = frame.head(SAMPLE)
        cells = {name: [None if is_missing(cell) else cell for cell in top[name]]
                 for name in dict.fromkeys(header) if header.count(name) == 1}  # fmt: skip
        return label_columns.find_label(cells, header, skip=(smiles, *others, *columns), option="target=")

    names = _choose(target, find, header, columns, tell)
    for name in (*names, *columns):
        if header.count(name) > 1:
            raise DataError(f"{header.count(name)} columns are named {name!r}", fix="rename them")
    labels = {name: frame[name].tolist() for name in (*names, *columns)}
    ids = None if identifier is None else frame[identifier].tolist()
    related = find_relations(header, names, relation_column, option="relation_column=")
    for task, column in related.items():
        tell(f"column {column!r} says which labels of {task!r} are bounds (relation_column='' reads none)")
    relations = {task: frame[column].tolist() for task, column in related.items() if header.count(column) == 1}
    found = open_inputs(frame, featurizer, labels=labels, relations=relations, ids=ids, **how)
    words = {name: frame[name].tolist() for name in header if header.count(name) == 1 and name not in (*names, smiles)}
    return Labelled(found.dataset.select_tasks(names), found.place, words)


def _choose(
    target: Any,
    find: Callable[[], str],
    header: Sequence[str],
    columns: Sequence[str],
    tell: Callable[[str], None],
    where: str | None = None,
) -> list[str]:
    """Return the columns of labels: those that are named, else the one that is found; see that all are there."""
    if target is None:
        names = [find()]
        tell(f"target: {names[0]!r}, the one column that can be it")
    else:
        names = _names_of(target)
    for name in (*names, *columns):
        if name not in header:
            raise no_column(name, header, option="target=" if name in names else "features=", where=where)
    return names


def find_label(
    path: str | os.PathLike[str], reading: Mapping[str, Any], *, skip: Collection[object] = (), option: str
) -> str:
    """Return the one column of a file that can be what is to be predicted, before anything is featurized.

    Parameters
    ----------
    path : path
    reading : mapping
        smiles_column, id_column, input_format, encoding, as for `MoleculeReader`.
    skip : collection of str
        Columns that are something else.
    option : str
        By which a caller names columns, such as ``--tasks``.

    Raises
    ------
    DataError
        If there is none, or there are several, which the message lists.
    """
    from dgl_moleblend.readers.molecules import MoleculeReader

    reader = MoleculeReader(path, **reading)
    cells, commas = reader.first_cells()
    return label_columns.find_label(
        cells, reader.columns, commas=commas, skip=skip, option=option, where=os.fspath(path)
    )


def _of_file(
    path: str,
    target: Any,
    featurizer: FeaturizerConfig,
    columns: Sequence[str],
    tell: Callable[[str], None],
    relation_column: str | None,
    how: dict[str, Any],
) -> Labelled:
    from dgl_moleblend.readers.molecules import MoleculeReader

    wanted = how.pop("smiles_column")
    reading: dict[str, Any] = {"smiles_column": first_column(wanted)}
    header = MoleculeReader(path, **reading).columns
    others = () if wanted is None or isinstance(wanted, str) else tuple(wanted)
    find = functools.partial(find_label, path, reading, skip=(*others, *columns), option="target=")
    names = _choose(target, find, header, columns, tell, where=path)
    for name in others:
        if find_column(header, name) is None:  # all of them, before the molecules of the first are read
            raise no_column(name, header, option="smiles_column=", where=path)
    dataset = MoleculeDataset.from_file(path, task_columns=[*names, *columns], relation_column=relation_column,
                                        featurizer=featurizer, **reading, **how)  # fmt: skip
    if wanted != reading["smiles_column"]:
        several = check_columns(wanted)
        further = [MoleculeDataset.from_file(path, smiles_column=name, featurizer=featurizer, **how)
                   for name in several[1:]]  # fmt: skip
        dataset = beside([dataset, *further], several)
    return Labelled(dataset.select_tasks(names), dataset.rows, path=os.fspath(path), reading=reading)
