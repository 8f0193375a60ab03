"""Labels that are bounds (">8", "<=4", or a column of relations beside the values), and where a table says so."""

import re
from collections.abc import Sequence

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.cells import MISSING, class_of, number, why_no_label
from dgl_moleblend.readers.columns import find_column, no_column, plain

_RELATIONS = {"=": 0, "==": 0, "~": 0, "≈": 0, "~=": 0, "": 0, ">": 1, ">=": 1, "=>": 1, ">>": 1, "≥": 1, "⩾": 1,
              "<": -1, "<=": -1, "=<": -1, "<<": -1, "≤": -1, "⩽": -1}  # fmt: skip
"""What stands before a number, or in a column beside it: 1 if the value is above the number, -1 below, 0 the number."""
_BEFORE = re.compile(r"\s*([<>=~≈≥≤⩾⩽]{1,2})\s*(?=[\d.,+-])")
_WORDS = ("relation", "qualifier", "operator", "modifier", "prefix", "censor")
"""What columns of relations are called, alone or behind the name of their labels."""


def read_bounded(cell: object, *, comma: bool = False) -> tuple[float, int] | None:
    """Return a label and its relation: 1 where the value is above it, -1 below, 0 where it is the value (or about it).

    None where the cell is no number.

    Examples
    --------
    >>> read_bounded(">8.0"), read_bounded("<= 4"), read_bounded("~7"), read_bounded(5), read_bounded(">x")
    ((8.0, 1), (4.0, -1), (7.0, 0), (5.0, 0), None)
    """
    if not isinstance(cell, str) or (found := _BEFORE.match(cell)) is None or found[1] not in _RELATIONS:
        value = number(cell, comma=comma)
        return None if value is None else (value, 0)
    value = number(cell[found.end() :], comma=comma)
    return None if value is None or value != value else (value, _RELATIONS[found[1]])


def read_label(
    cell: object, name: str, classes: Sequence[str] | None = None, relation: object = None, *, comma: bool = False
) -> tuple[float, int] | str:
    """Return a label (a number, or that of its class; NaN where it is missing) and its relation; or why it is none.

    Parameters
    ----------
    cell : object
    name : str
        Of the column.
    classes : sequence of str, optional
        Words for class 0, class 1, ..
    relation : object, optional
        The cell of a column of relations.
    comma : bool
        Whether the decimal mark of texts is a comma.

    Examples
    --------
    >>> read_label(">8", "y"), read_label("10000", "y", relation="'>'"), read_label("", "y", relation=">")
    ((8.0, 1), (10000.0, 1), (nan, 0))
    >>> read_label("<8", "y", relation=">")
    "the label '<8' in column 'y' and its relation '>' say different things"
    """
    if classes is not None:
        value = class_of(cell, classes)
        return why_no_label(cell, name, classes) if value is None else (value, 0)
    if (found := read_bounded(cell, comma=comma)) is None:
        return why_no_label(cell, name, comma=comma)
    value, own = found
    if value != value:
        return value, 0
    if (beside := read_relation(relation)) is None:
        return f"the relation {str(relation)[:100]!r} of column {name!r} is none of <, <=, =, ~, >=, >"
    if own and beside and own != beside:
        return f"the label {cell!r} in column {name!r} and its relation {str(relation)!r} say different things"
    return value, own or beside


def without_relation(cell: object) -> object:
    """Return a cell without the sign before its number.

    >>> without_relation(">7,5"), without_relation("active"), without_relation(">")
    ('7,5', 'active', '>')
    """
    return _BEFORE.sub("", cell, count=1) if isinstance(cell, str) else cell


def read_relation(cell: object) -> int | None:
    """Return the relation that a cell of its own names; None where it names none.

    >>> read_relation("'>'"), read_relation("<="), read_relation(None), read_relation("NM")
    (1, -1, 0, None)
    """
    text = "" if cell is None or cell != cell else str(cell).strip().strip("'\"").strip()
    return _RELATIONS.get("" if text.casefold() in MISSING else text)


def find_relations(
    header: Sequence[str], tasks: Sequence[str], wanted: str | None = None, *, option: str = "--relation-column"
) -> dict[str, str]:
    """Return the column of relations of each label that has one.

    Parameters
    ----------
    header : sequence of str
    tasks : sequence of str
        Columns of labels.
    wanted : str, optional
        The column of the only label; "" for none. By default those that are named after their labels: "Standard
        Relation" beside "Standard Value", "IC50_qualifier" beside "IC50".
    option : str
        By which a caller names the column.

    Raises
    ------
    DataError
        If there is no such column, or it is not clear which labels it is of.

    Examples
    --------
    >>> find_relations(["Smiles", "Standard Relation", "Standard Value", "pChEMBL Value"], ["Standard Value"])
    {'Standard Value': 'Standard Relation'}
    >>> find_relations(["ic50", "ic50_op", "relation"], ["ic50"]), find_relations(["value", "relation"], ["value"])
    ({}, {'value': 'relation'})
    """
    if wanted is not None:
        if not wanted:
            return {}
        if (column := find_column(header, wanted)) is None:
            raise no_column(wanted, header, option=option)
        if len(tasks) != 1 or column in tasks:
            what = f"and there are {len(tasks)}" if column not in tasks else "and this is a column of labels itself"
            raise DataError(f"{option} {wanted!r} says which labels of one column are bounds, {what}",
                            fix="name one column of labels, and another of relations")  # fmt: skip
        return {tasks[0]: column}
    by_name = {plain(name): name for name in reversed(header)}
    found = {}
    for task in tasks:
        name = plain(task)
        stem = name.removesuffix("value") if name.endswith("value") else name
        column = next((by_name[stem + word] for word in _WORDS if stem + word in by_name), None)
        if column is not None and column not in tasks:
            found[task] = column
    return found


def names_relations(column: str) -> bool:
    """Whether a column's name says that it holds relations.

    >>> names_relations("Standard Relation"), names_relations("pIC50")
    (True, False)
    """
    return plain(column).endswith(_WORDS)
