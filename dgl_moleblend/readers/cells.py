"""Cells of a table -> labels: numbers, one of some classes, or missing."""

import math
import re
from collections.abc import Iterable, Sequence

MISSING = frozenset(("", "na", "n/a", "nan", "-nan", "null", "none", "<na>", "#n/a", "#na", "1.#qnan", "-1.#ind"))
"""Texts that stand for a missing label, in lower case."""
_BOOLEANS = {"true": 1.0, "false": 0.0}
_FLOAT32_MAX = 3.4028234e38
_COMMA = re.compile(r"[+-]?\d+([.,]\d+)*,\d+([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d*),(\d+)([eE][+-]?\d+)?")
_SWAPPED = str.maketrans(",.", ".,")
_KNOWN = (("inactive", "active"), ("no", "yes"), ("false", "true"), ("negative", "positive"), ("neg", "pos"),
          ("n", "y"), ("f", "t"), ("fail", "pass"), ("nontoxic", "toxic"),
          ("non-toxic", "toxic"), ("-", "+"))  # fmt: skip
"""Words for two classes, in small letters: class 0 and class 1."""
MOST_CLASSES = 20
"""Words in a column; of more it is text."""
_WORD = re.compile(r"[^\W\d_].{0,39}|[+-]")


def number(cell: object, *, comma: bool = False) -> float | None:
    """Return a label as a number, NaN where it is missing, None where it is neither.

    Parameters
    ----------
    cell : object
    comma : bool
        Whether the decimal mark of texts is a comma.

    Examples
    --------
    >>> number(" 0.5 "), number("NaN"), number("true"), number(">10")
    (0.5, nan, 1.0, None)
    >>> number("7,5", comma=True), number("7.5", comma=True), number("1.234,5", comma=True)
    (7.5, None, None)
    """
    if cell is None:
        return math.nan
    if not isinstance(cell, str):
        try:
            value = float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
        return value if math.isnan(value) or abs(value) <= _FLOAT32_MAX else None
    text = cell.strip()
    folded = text.casefold()
    try:
        value = float(text.translate(_SWAPPED) if comma and folded not in MISSING else text)
    except ValueError:
        return math.nan if folded in MISSING else _BOOLEANS.get(folded)
    if "_" in text:  # a digit separator in Python, but in no table
        return None
    return value if math.isnan(value) or abs(value) <= _FLOAT32_MAX else None


def has_decimal_commas(cells: Iterable[object]) -> bool:
    """Whether every number of a column may have a decimal comma, and one can have no other: no mark of thousands.

    One cell in ten may be something else, if it has no digit.

    >>> has_decimal_commas(["7,5", "", "8"]), has_decimal_commas(["1,234", "5,678"]), has_decimal_commas(["1,2", "1.3"])
    (True, False, False)
    >>> has_decimal_commas(["7,5"] * 9 + ["n.d."]), has_decimal_commas(["7,5"] * 9 + ["5 to 9"])
    (True, False)
    """
    is_proved, filled, others = False, 0, 0
    for cell in cells:
        text = str(cell).strip() if isinstance(cell, str) else cell
        if text is None or (isinstance(text, float) and math.isnan(text)):
            continue
        if not isinstance(text, str):
            return False
        if text.casefold() in MISSING:
            continue
        filled += 1
        if _INTEGER.fullmatch(text):
            continue
        if (found := _DECIMAL_COMMA.fullmatch(text)) is not None:
            is_proved |= len(found[2]) != 3 or found[1] in ("", "0") or len(found[1]) > 3
        elif any(map(str.isdigit, text)):
            return False
        else:
            others += 1
    return is_proved and 10 * others <= filled


def find_classes(cells: Iterable[object], *, known: bool = False) -> tuple[str, ...] | None:
    """Return the words for class 0, class 1, .. in a column of words; None if it is something else.

    Parameters
    ----------
    cells : iterable
        Of one column.
    known : bool
        Whether words must be two such as everybody means classes by (active, yes, positive, ..). Of others, of which
        there are two at least, class 0 is the first by the alphabet.

    Examples
    --------
    >>> find_classes(["Active", "", "inactive"]), find_classes(["yes"]), find_classes(["binder", "agonist"])
    (('inactive', 'Active'), ('no', 'yes'), ('agonist', 'binder'))
    >>> find_classes(["low", "high", "medium", "Low"]), find_classes(["1.2", "n.d."]), find_classes([">10", "<5"])
    (('high', 'low', 'medium'), None, None)
    """
    words: dict[str, str] = {}
    for cell in cells:
        text = "" if cell is None else str(cell).strip()
        folded = text.casefold()
        if (isinstance(cell, float) and math.isnan(cell)) or folded in MISSING:
            continue
        if not isinstance(cell, str) or not _WORD.fullmatch(text):
            return None
        words.setdefault(folded, text)
        if len(words) > (2 if known else MOST_CLASSES):
            return None
    for pair in _KNOWN:
        if words and set(words) <= set(pair) and (len(words) == 2 or len(pair[0]) > 1):  # "-" alone may mean nothing
            return words.get(pair[0], pair[0]), words.get(pair[1], pair[1])
    return None if len(words) < 2 or known else tuple(words[word] for word in sorted(words))


def class_of(cell: object, classes: Sequence[str]) -> float | None:
    """Return the number of a class by its word; NaN where it is missing, None where it is neither.

    >>> class_of(" Active", ("inactive", "Active")), class_of(None, ("no", "yes")), class_of("x", ("no", "yes"))
    (1.0, nan, None)
    """
    if not isinstance(cell, str):
        return number(cell)
    folded = cell.strip().casefold()
    names = [name.casefold() for name in classes]
    return float(names.index(folded)) if folded in names else math.nan if folded in MISSING else None


def why_no_label(cell: object, name: str, classes: Sequence[str] | None = None, *, comma: bool = False) -> str:
    """Say why a cell of a column is no label.

    Examples
    --------
    >>> why_no_label("10 nM", "y")
    "the label '10 nM' in column 'y' is not a finite number"
    >>> why_no_label("lo", "y", ("high", "low", "medium"))
    "the label 'lo' in column 'y' is none of 'high', 'low', 'medium'"
    >>> why_no_label("7,50", "y")
    "the label '7,50' in column 'y' has a comma: write numbers with a decimal point, or pass --decimal ,
    if all have a decimal comma; marks for thousands are not read"
    """
    text = f"the label {str(cell)[:100]!r} in column {name!r}"
    if classes is not None:
        words = list(map(repr, classes))
        return f"{text} is " + (
            f"neither {words[0]} nor {words[1]}" if len(words) == 2 else f"none of {', '.join(words)}"
        )
    if comma:
        return f"{text} is not a finite number with a decimal comma (--decimal says which mark numbers have)"
    if _COMMA.fullmatch(str(cell).strip()):
        return (f"{text} has a comma: write numbers with a decimal point, or pass --decimal , if all have a decimal"
                " comma; marks for thousands are not read")  # fmt: skip
    return f"{text} is not a finite number"
