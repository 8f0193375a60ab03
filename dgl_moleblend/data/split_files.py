"""Which molecules train, validate and test where a list beside the data says so, such as split.csv of another run."""

from collections.abc import Sequence
from os import PathLike, fspath

import numpy as np
import pandas as pd

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.given_splits import PART_WORDS, with_validation
from dgl_moleblend.data.splits import PARTS, Split, check_parts, without_unlabelled
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.columns import find_id, listed, plain

_PART_NAMES = ("split", "part", "set", "subset", "partition")
_NO_PART = ("", "none")
_NAMED = 3  # rows that a message names


def split_by_list(dataset: MoleculeDataset, path: str | PathLike[str]) -> Split:
    """Divide molecules as a table says, which names them by input row or by identifier.

    It is CSV (or TSV, by its ending) with a column "row" (0-based, as in split.csv and predictions.csv of a run) or of
    identifiers, and a column "split" (part, set, subset) of train, validation (valid, val) and test; "none" or a blank
    leaves a row out. A column "smiles" beside "row" is compared with the molecules. Where no row is said to train (as
    in predictions.csv), all that are not named do; where none is said to validate, a tenth of the training rows,
    drawn at random, does. All rows of an identifier are in one part.

    Parameters
    ----------
    dataset : MoleculeDataset
    path : path

    Returns
    -------
    Split
        Its facts have "split_left_out", the number of molecules that the list leaves out, and "split_rejected", that
        of its rows of which no molecule was made, where there are such.

    Raises
    ------
    DataError
        If the table has no such columns, names a part or row that is not there, one row twice, or not every molecule
        that has a label; or if nothing trains or validates.
    """
    name = fspath(path)
    key, keys, words = _read(name)
    own = [str(value) for value in (dataset.rows.tolist() if key == "row" else dataset.ids)]
    if blank := own.count(""):
        raise DataError(f"{blank:,} molecules have no identifier, by which the list names them", where=name,
                        fix="name their column with --id-column, or give a list with a column row")  # fmt: skip
    if key == "row" and "smiles" in words:
        _compare(dict(zip(own, dataset.smiles, strict=True)), keys, words["smiles"], name)
    rejected = {str(value) for value in dataset.rejects[key].tolist()}
    part_of, lost = _parts(key, keys, words["part"], {*own}, rejected, name)
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    unnamed = "train" if "train" not in part_of.values() else None
    labelled = ~np.isnan(dataset.labels).all(axis=1) if dataset.task_names else np.ones(len(dataset), bool)
    left_out, filled, unknown = 0, 0, []
    for index in np.flatnonzero(labelled).tolist():  # split.csv of a run does not name the others
        value = own[index]
        part = part_of.get(value, unnamed)
        if part:
            parts[part].append(index)
        left_out += value in part_of and not part
        if value not in part_of:
            filled += 1
            unknown += [value] * (not part)
    if unknown:
        raise DataError(f"{len(unknown):,} molecules are not in the list: {key} {_some(unknown)}", where=name,
                        fix="name every row; 'none' in the column of parts leaves one out")  # fmt: skip
    variant = f"{name}, by {key}" + (f"; {filled:,} rows that it does not name train" if filled else "")
    arrays, drawn = with_validation({part: np.asarray(rows, np.int64) for part, rows in parts.items()})
    facts = {"split": "list", "split_variant": variant + drawn, "split_file": name}
    counts = {"split_left_out": left_out, "split_rejected": lost}
    split = Split(check_parts(arrays, "give it rows in the list"),
                  {**facts, **{fact: count for fact, count in counts.items() if count}})  # fmt: skip
    return without_unlabelled(dataset, split)


def _read(name: str) -> tuple[str, list[str], dict[str, list[str]]]:
    """Return by what rows are named ("row" or "id"), those names, and the columns of parts and, where known, SMILES."""
    try:
        table = pd.read_csv(name, dtype=str, keep_default_na=False, sep="\t" if ".tsv" in name else ",")
    except (OSError, ValueError) as error:
        raise DataError(f"the list of parts cannot be read: {error}", where=name,
                        fix="give a CSV file with columns row (or id) and split") from error  # fmt: skip
    header = [str(column) for column in table.columns]
    by_name = {plain(column): column for column in reversed(header)}
    key = by_name.get("row") or find_id(header)
    part = next((by_name[word] for word in _PART_NAMES if word in by_name), None)
    if part is None and len(header) == 2 and key is not None and plain(header[1 - header.index(key)]) != "fold":
        part = header[1 - header.index(key)]
    if key is None or part is None:
        lacks = "rows or identifiers" if key is None else "parts"
        folds = " (it is of folds: each fold's folder has a split.csv of its own)" if "fold" in by_name else ""
        raise DataError(f"the list has no column of {lacks}{folds}; its columns are: {listed(header)}", where=name,
                        fix="name its columns row (or id) and split")  # fmt: skip
    found = {"part": table[part].str.strip().str.casefold().tolist()}
    if "smiles" in by_name:
        found["smiles"] = table[by_name["smiles"]].tolist()
    return ("row" if key == by_name.get("row") else "id"), table[key].str.strip().tolist(), found


def _compare(smiles: dict[str, str], keys: Sequence[str], listed_smiles: Sequence[str], name: str) -> None:
    """Refuse a list of other molecules."""
    for line, (key, text) in enumerate(zip(keys, listed_smiles, strict=True), start=2):
        if smiles.get(key, text) != text:
            raise DataError(f"row {key} is {text!r} in the list and {smiles[key]!r} here", where=f"{name}, line {line}",
                            fix="give the list of these molecules, or one by identifier")  # fmt: skip


def _parts(
    key: str, keys: Sequence[str], words: Sequence[str], known: set[str], rejected: set[str], name: str
) -> tuple[dict[str, str | None], int]:
    """Return the part of each row that the list names, None for none, and how many of its rows became no molecule."""
    found: dict[str, str | None] = {}
    lost = 0
    for line, (value, word) in enumerate(zip(keys, words, strict=True), start=2):
        where = f"{name}, line {line}"
        if word not in _NO_PART and word not in PART_WORDS:
            raise DataError(f"{word!r} names no part of the split", where=where,
                            fix="write train, validation (or valid, val), test, or none")  # fmt: skip
        if value not in known:
            if value not in rejected or not value:
                raise DataError(f"there is no {key} {value!r} among the molecules", where=where,
                                fix="give the list of these molecules, or take the line out")  # fmt: skip
            lost += 1
            continue
        part = PART_WORDS.get(word)
        if found.get(value, part) != part:
            raise DataError(f"{key} {value!r} is in two parts", where=where, fix="name it once")
        found[value] = part
    return found, lost


def _some(values: Sequence[str]) -> str:
    return ", ".join(values[:_NAMED]) + (", .." if len(values) > _NAMED else "")
