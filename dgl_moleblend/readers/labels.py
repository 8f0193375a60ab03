"""The column of labels of a table where nobody has named it: by the cells of the first rows."""

import math
import re
from collections.abc import Collection, Mapping, Sequence

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.bounds import read_bounded
from dgl_moleblend.readers.cells import class_of, find_classes
from dgl_moleblend.readers.columns import ID_NAMES, listed, plain

COUNTERS = ("index", "row", "rowid", "number", "no", "nr", "fold", "split", "set", "partition")
"""Names of columns of numbers that are no labels."""
_ROWS_OF_A_WORD = 5


def find_label(
    cells: Mapping[str, Sequence[object]],
    header: Sequence[str],
    *,
    commas: Collection[str] = (),
    skip: Collection[object] = (),
    option: str,
    where: str | None = None,
) -> str:
    """Return the one column that can be what is to be predicted: of numbers, or where there is none, of words.

    Parameters
    ----------
    cells : mapping of column to cells
        Of the first rows.
    header : sequence of str
        All columns.
    commas : collection of str
        Columns whose numbers have a decimal comma.
    skip : collection of str
        Columns that are known to be something else.
    option, where
        See `choose_label`.

    Raises
    ------
    DataError
        If there is none, or there are several, which the message lists.

    Examples
    --------
    >>> cells = {"smiles": ["C", "N", "O"] * 5, "grade": ["good", "bad", None] * 5, "k": list(range(15))}
    >>> find_label(cells, [*cells], skip=["smiles"], option="--tasks")
    'grade'
    """
    found = columns_of_numbers(cells, commas=commas, skip=skip) or class_candidates(cells, skip=skip)
    return choose_label(found, header, option=option, where=where)


def columns_of_numbers(
    cells: Mapping[str, Sequence[object]], *, commas: Collection[str] = (), skip: Collection[object] = ()
) -> list[str]:
    """Return the columns of numbers, or of two words that everybody knows for classes, that can be labels.

    >>> columns_of_numbers({"y": ["1,5", ">2,5"], "hit": ["no", "Yes"], "note": ["good", "bad"]}, commas=["y"])
    ['y', 'hit']
    """
    sample = {name: _values(column, comma=name in commas) for name, column in cells.items() if name not in skip}
    return label_candidates(sample)


def _values(column: Sequence[object], *, comma: bool) -> list[float | None]:
    """Return cells as numbers: NaN where they are blank, None where they are none."""
    words = find_classes(column, known=True)
    if words is not None:
        return [class_of(cell, words) for cell in column]
    return [None if (found := read_bounded(cell, comma=comma)) is None else found[0] for cell in column]


def label_candidates(sample: Mapping[str, Sequence[float | None]], *, skip: Collection[object] = ()) -> list[str]:
    """Return the columns that can be labels: numbers, not all the same, and neither identifiers nor a count of rows.

    Nine in ten of the cells that are not blank have to be numbers: rows of the others are rejected, with a reason.

    Parameters
    ----------
    sample : mapping of column to values
        Of the first rows, one after the other; NaN where the cell is blank, None where it is no number.
    skip : collection of str
        Columns that are known to be something else, such as the SMILES.

    Examples
    --------
    >>> label_candidates({"id": [7, 9], "n": [0, 1], "pIC50": [5.1, 6.2], "unit": [None, None], "Unnamed: 0": [3, 9]})
    ['n', 'pIC50']
    >>> label_candidates({"dose": [1.0] * 9 + [None, 2.0], "note": [1.0, 2.0, None], "entry": [1.0, 2.0, 3.0]})
    ['dose']
    """
    found = []
    for name, values in sample.items():
        if name in skip or _names_no_label(name):
            continue
        numbers = [value for value in values if value is not None and not math.isnan(value)]
        others = values.count(None)
        if len({*numbers}) > 1 and len(numbers) >= 9 * others and not _counts(values):
            found.append(name)
    return found


def class_candidates(cells: Mapping[str, Sequence[object]], *, skip: Collection[object] = ()) -> list[str]:
    """Return the columns of words that can be classes: two to twenty words, each in five of the rows on average.

    Parameters
    ----------
    cells : mapping of column to cells
        Of the first rows.
    skip : collection of str

    Examples
    --------
    >>> class_candidates({"tier": ["low", "high", ""] * 5, "unit": ["nM"] * 15, "who": ["Ann", "Bo", "Cy"], "set": []})
    ['tier']
    """
    found = []
    for name, column in cells.items():
        if name in skip or _names_no_label(name) or (words := find_classes(column)) is None:
            continue
        filled = sum(not math.isnan(value) for cell in column if (value := class_of(cell, words)) is not None)
        if filled >= _ROWS_OF_A_WORD * len(words):
            found.append(name)
    return found


def _names_no_label(name: str) -> bool:
    """Whether a column's name says that it is something else than a label."""
    word = plain(name)
    return word in ID_NAMES or word in COUNTERS or not word or re.fullmatch(r"unnamed\d*", word) is not None


def _counts(values: Sequence[float | None]) -> bool:
    """Whether values go up by one from row to row, as far as they are there."""
    starts = [value - k for k, value in enumerate(values) if value is not None and not math.isnan(value)]
    return len(starts) > 2 and len({*starts}) == 1


def choose_label(candidates: Sequence[str], header: Sequence[str], *, option: str, where: str | None = None) -> str:
    """Return the one column that can be a label.

    Parameters
    ----------
    candidates : sequence of str
        As `label_candidates` finds them, or where it finds none, `class_candidates`.
    header : sequence of str
    option : str
        By which a caller names columns, such as ``--tasks`` or ``target=``.
    where : str, optional
        The file.

    Raises
    ------
    DataError
        If there is none, or there are several, which the message lists.

    Examples
    --------
    >>> choose_label(["pIC50"], ["smiles", "pIC50"], option="--tasks")
    'pIC50'
    """
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise DataError(f"{len(candidates)} columns can be what is to be predicted: {listed(candidates)}", where=where,
                        fix=f"name one, or several, with {option}")  # fmt: skip
    what = ("no column can be what is to be predicted: none but those of identifiers and counts of rows holds numbers"
            f" that differ, or a few words again and again; the columns are: {listed(header)}")  # fmt: skip
    raise DataError(what, where=where, fix=f"name one with {option}; its cells are numbers, or words of some classes")
