"""Which molecules train, validate and test where a column or a file says so."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np

from dgl_moleblend.config import check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.splits import (
    PARTS,
    Split,
    among_labelled,
    check_parts,
    far_from,
    split_by_method,
    without_unlabelled,
)
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.columns import find_column, no_column
from dgl_moleblend.readers.molecules import MoleculeReader

PART_WORDS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
              "val": "validation", "test": "test"}  # fmt: skip
"""What people call the parts, in small letters, and which part is meant."""
_VALIDATION_SHARE = 0.1
"""Of the training rows of a column that names no validation rows."""


def split_by_column(
    dataset: MoleculeDataset,
    inputs: Sequence[str | PathLike[str]],
    column: str,
    **reading: Any,
) -> Split:
    """Divide molecules as a column (or SDF property) of their files says: train, validation (valid, val) or test.

    Where it names no validation rows, a tenth of the training rows, drawn at random, becomes such.

    Parameters
    ----------
    dataset : MoleculeDataset
        Made from `inputs`.
    inputs : sequence of path
    column : str
    **reading
        smiles_column, input_format, encoding, as for `MoleculeReader`.

    Raises
    ------
    DataError
        If there is no such column, a molecule's cell holds something else, or nothing trains or validates.
    """
    return split_by_words(dataset, read_words(inputs, column, "--split-column", **reading), column)


def read_words(
    inputs: Sequence[str | PathLike[str]], column: str, option: str, **reading: Any
) -> dict[int, tuple[str, str]]:
    """Read what stands in a column of files: for each input row its text, and where it stands.

    Raises
    ------
    DataError
        If there is no such column; the message names the option that asked for it.
    """
    header = MoleculeReader(inputs, **reading).columns
    if find_column(header, column) is None:
        raise no_column(column, header, option=option, where=fspath(inputs[0]))
    records = MoleculeReader(inputs, id_column=column, **reading)  # that column alone is kept of each
    return {record.row: (record.id.strip(), record.where) for record in records}


def split_by_words(dataset: MoleculeDataset, words: Mapping[int, tuple[str, str]], column: str) -> Split:
    """Divide molecules as a word for each input row says; see `split_by_column`.

    Parameters
    ----------
    dataset : MoleculeDataset
    words : mapping of int to (str, str)
        For each row that a molecule came from: train, validation (valid, val) or test, and where it stands.
    column : str
        Where they come from.

    Raises
    ------
    DataError
        If a word says something else, or nothing trains or validates.
    """
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for index, row in enumerate(dataset.rows.tolist()):
        text, where = words[row]
        word = PART_WORDS.get(text.strip().casefold())
        if word is None:
            raise DataError(
                f"{text!r} in column {column!r} names no part of the split",
                where=where,
                fix="write train, validation (or valid, val) or test in every row",
            )
        parts[word].append(index)
    arrays = {name: np.asarray(part, np.int64) for name, part in parts.items()}
    arrays, drawn = with_validation(arrays)
    split = Split(
        check_parts(arrays), {"split": "column", "split_variant": f"column {column!r}{drawn}", "column": column}
    )
    return without_unlabelled(dataset, split)


def with_validation(parts: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """Draw validation rows from the training rows where there are none, as in published splits of two parts; say so."""
    if len(parts["validation"]) or len(parts["train"]) < 2:
        return parts, ""
    order = np.random.default_rng(0).permutation(parts["train"])
    count = max(1, round(_VALIDATION_SHARE * len(order)))
    found = parts | {"validation": np.sort(order[:count]), "train": np.sort(order[count:])}
    return found, f"; {count:,} validation rows drawn from train"


def split_by_group(
    dataset: MoleculeDataset,
    words: Mapping[int, tuple[str, str]],
    column: str,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> Split:
    """Divide groups at random (scikit-learn's GroupShuffleSplit): no group is in two parts.

    Parameters
    ----------
    dataset : MoleculeDataset
    words : mapping of int to (str, str)
        For each row that a molecule came from: the name of its group (a series, a laboratory), and where it stands.
    column : str
        Where they come from.
    fractions : sequence of 3 floats
        Shares of the groups.
    seed : int

    Raises
    ------
    DataError
        If a molecule has no group, or nothing trains or validates.
    """
    from sklearn.model_selection import GroupShuffleSplit

    _check_fractions(fractions)
    if (found := among_labelled(dataset)) is not None:
        return split_by_group(found[0], words, column, fractions, seed).onto(found[1], len(dataset))
    groups = np.array([_present(words[row], column) for row in dataset.rows.tolist()], dtype=object)
    rest, parts = np.arange(len(dataset)), {}
    for name, share in (("test", fractions[2]), ("validation", fractions[1] / max(1 - fractions[2], 1e-9))):
        parts[name] = np.empty(0, np.int64)
        if share > 0:
            if len({*groups[rest]}) < 2:
                raise DataError(f"column {column!r} holds {len({*groups})} groups, too few to be divided",
                                fix="give more groups, or another way to divide")  # fmt: skip
            splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
            stays, goes = next(splitter.split(rest, groups=groups[rest]))
            parts[name], rest = rest[goes], rest[stays]
    variant = f"scikit-learn GroupShuffleSplit by column {column!r}, seed {seed}"
    facts = {"split": "group", "split_variant": variant, "column": column, "fractions": list(fractions)}
    if text := far_from(parts | {"train": rest}, fractions)[0]:
        facts["split_warning"] = text
    return Split(check_parts({"train": rest, "validation": parts["validation"], "test": parts["test"]},
                             "give more groups, or other --fractions"), facts)  # fmt: skip


def split_by_time(
    dataset: MoleculeDataset,
    words: Mapping[int, tuple[str, str]],
    column: str,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
) -> Split:
    """Let the oldest molecules train, the next validate and the newest test; those of one time are in one part.

    Parameters
    ----------
    dataset : MoleculeDataset
    words : mapping of int to (str, str)
        For each row that a molecule came from: a number, or a date such as 2021-03-31, and where it stands.
    column, fractions
        See `split_by_group`.

    Raises
    ------
    DataError
        If a molecule has no time, one is neither number nor date, or nothing trains or validates.
    """
    _check_fractions(fractions)
    if (found := among_labelled(dataset)) is not None:
        return split_by_time(found[0], words, column, fractions).onto(found[1], len(dataset))
    times = _times([words[row] for row in dataset.rows.tolist()], column)
    ordered = np.sort(times)
    begin = [round(sum(fractions[:k]) * len(times)) for k in (1, 2)]
    first = [ordered[place] if place < len(times) else np.inf for place in begin]
    parts = {"train": np.flatnonzero(times < first[0]),
             "validation": np.flatnonzero((times >= first[0]) & (times < first[1])),
             "test": np.flatnonzero(times >= first[1])}  # fmt: skip
    facts = {"split": "time", "split_variant": f"by column {column!r}, the newest test", "column": column,
             "fractions": list(fractions)}  # fmt: skip
    if text := far_from(parts, fractions)[0]:
        facts["split_warning"] = text
    return Split(check_parts(parts, "give other --fractions: molecules of one time stay together"), facts)


def _times(words: Sequence[tuple[str, str]], column: str) -> np.ndarray:
    """Return numbers, or dates as seconds."""
    import pandas as pd

    texts = [_present(word, column) for word in words]
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
    if not np.isnan(numbers).any():
        return numbers
    dates = pd.to_datetime(pd.Series(texts), errors="coerce", format="ISO8601", utc=True)
    if (odd := np.flatnonzero(dates.isna())).size:
        text, where = words[odd[0]]
        raise DataError(f"{text!r} in column {column!r} is neither a number nor a date", where=where,
                        fix="write numbers in all rows, or dates such as 2021-03-31")  # fmt: skip
    return dates.dt.as_unit("ns").astype("int64").to_numpy(np.float64)


def _present(word: tuple[str, str], column: str) -> str:
    if not word[0]:
        raise DataError(f"column {column!r} is blank", where=word[1], fix="fill it in, or leave the row out")
    return word[0]


def _check_fractions(fractions: Sequence[float]) -> None:
    check(len(fractions) == 3 and all(f >= 0 for f in fractions) and abs(sum(fractions) - 1) < 1e-6, "fractions",
          tuple(fractions), "3 non-negative numbers that add up to 1")  # fmt: skip


def split_by_file(
    dataset: MoleculeDataset,
    files: Mapping[str, Sequence[str]],
    rest: Mapping[str, Any],
) -> Split:
    """Divide molecules by the file that they came from.

    Parameters
    ----------
    dataset : MoleculeDataset
        Made from the training files and all of `files`.
    files : mapping of "validation" and "test" to file names
        The names that the data set knows. A part that is not named is drawn from the other files.
    rest : mapping
        Arguments of `split_by_method` for that.

    Raises
    ------
    DataError
        If a part gets no molecule.
    """
    parts, counts = rows_of_files(dataset, files)
    rest_of_rows = np.setdiff1d(np.arange(len(dataset)), np.concatenate([*parts.values()]))
    parts["train"], variant = rest_of_rows, "by file"
    warned: dict[str, Any] = {}
    for part in {"validation", "test"} - files.keys():
        if rest["fractions"][PARTS.index(part)] == 0:
            parts[part] = np.empty(0, np.int64)
            continue
        train, share = rest["fractions"][0], rest["fractions"][PARTS.index(part)]
        check(train > 0, "fractions", tuple(rest["fractions"]), "above 0 for train")
        shares = (train / (train + share), share / (train + share), 0.0)
        drawn = split_by_method(dataset.subset(parts["train"]), **{**rest, "fractions": shares})
        # rounding may put a molecule into the third part
        parts[part] = parts["train"][np.concatenate([drawn.parts["validation"], drawn.parts["test"]])]
        parts["train"] = parts["train"][drawn.parts["train"]]
        warned = {name: text for name, text in drawn.facts.items() if name == "split_warning"}
        variant += f"; {part} drawn by {drawn.facts['split_variant']}"
    facts = {"split": "file", "split_variant": variant, "split_files": counts, **warned}
    return without_unlabelled(dataset, Split(check_parts({name: parts[name] for name in PARTS}), facts))


def rows_of_files(
    dataset: MoleculeDataset, files: Mapping[str, Sequence[str]]
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Return the molecules that came from the files of each part, and what became of those files' rows.

    Parameters
    ----------
    dataset : MoleculeDataset
    files : mapping of part to file names
    """
    part_of = {name: part for part, names in files.items() for name in names}
    origin = np.array([part_of.get(dataset[k].source, "") for k in range(len(dataset))], dtype=object)
    lost = [part_of.get(source) for source in dataset.rejects["source"]]
    parts = {part: np.flatnonzero(origin == part) for part in files}
    counts = {
        part: {"names": list(names), "kept": len(parts[part]), "rejected": lost.count(part)}
        for part, names in files.items()
    }
    return parts, counts
