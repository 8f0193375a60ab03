"""Which molecules train, validate and test where a column or a file says so."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np

from dgl_moleblend.config import check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.splits import PARTS, Split, check_parts, split_by_method, without_unlabelled
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.columns import find_column, no_column
from dgl_moleblend.readers.molecules import MoleculeReader

_WORDS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
          "val": "validation", "test": "test"}  # fmt: skip
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
    header = MoleculeReader(inputs, **reading).columns
    if find_column(header, column) is None:
        raise no_column(column, header, option="--split-column", where=fspath(inputs[0]))
    records = MoleculeReader(inputs, id_column=column, **reading)  # that column alone is kept of each
    return split_by_words(dataset, {record.row: (record.id, record.where) for record in records}, column)


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
        word = _WORDS.get(text.strip().casefold())
        if word is None:
            raise DataError(
                f"{text!r} in column {column!r} names no part of the split",
                where=where,
                fix="write train, validation (or valid, val) or test in every row",
            )
        parts[word].append(index)
    arrays = {name: np.asarray(part, np.int64) for name, part in parts.items()}
    variant = f"column {column!r}"
    if not len(arrays["validation"]) and len(arrays["train"]) > 1:  # as published splits of two parts
        order = np.random.default_rng(0).permutation(arrays["train"])
        count = max(1, round(_VALIDATION_SHARE * len(order)))
        arrays |= {"validation": np.sort(order[:count]), "train": np.sort(order[count:])}
        variant += f"; {count:,} validation rows drawn from train"
    split = Split(check_parts(arrays), {"split": "column", "split_variant": variant, "column": column})
    return without_unlabelled(dataset, split)


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
    part_of = {name: part for part, names in files.items() for name in names}
    origin = np.array([part_of.get(dataset[k].source, "rest") for k in range(len(dataset))], dtype=object)
    lost = [part_of.get(source) for source in dataset.rejects["source"]]
    parts = {part: np.flatnonzero(origin == part) for part in files}
    counts = {
        part: {"names": list(names), "kept": len(parts[part]), "rejected": lost.count(part)}
        for part, names in files.items()
    }
    parts["train"], variant = np.flatnonzero(origin == "rest"), "by file"
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
