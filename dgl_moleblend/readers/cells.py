"""One cell of a table -> a label: a number, or missing."""

import math

MISSING = frozenset(("", "na", "n/a", "nan", "-nan", "null", "none", "<na>", "#n/a", "#na", "1.#qnan", "-1.#ind"))
"""Texts that stand for a missing label, in lower case."""
_BOOLEANS = {"true": 1.0, "false": 0.0}
_FLOAT32_MAX = 3.4028234e38


def number(cell: object) -> float | None:
    """Return a label as a number, NaN where it is missing, None where it is neither.

    >>> number(" 0.5 "), number("NaN"), number("true"), number(">10")
    (0.5, nan, 1.0, None)
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
    try:
        value = float(text)
    except ValueError:
        folded = text.casefold()
        return math.nan if folded in MISSING else _BOOLEANS.get(folded)
    if "_" in text:  # a digit separator in Python, but in no table
        return None
    return value if math.isnan(value) or abs(value) <= _FLOAT32_MAX else None
