"""The column of labels of a table where nobody has named it: by the cells of the first rows."""

from collections.abc import Collection, Mapping, Sequence

from dgl_moleblend.readers.bounds import read_bounded
from dgl_moleblend.readers.cells import class_of, find_classes
from dgl_moleblend.readers.columns import choose_label, class_candidates, label_candidates


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
