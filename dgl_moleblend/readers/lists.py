"""Cells that hold a list of numbers, one an atom or a bond, as tables and SDF files write them."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from dgl_moleblend.readers.cells import MISSING, number

_MARKED = re.compile(r"\[([^\s,\]]+)\]\s+(.*)", re.DOTALL)
"""RDKit's property lists may begin with the word that stands for a missing value: ``[?] 1.5 ? 2``."""


def read_list(cell: object) -> np.ndarray | str:
    """Return the numbers of a cell, NaN where one is missing; or, of a cell that is no list of numbers, why.

    Parameters
    ----------
    cell : object
        A list or array; or text: JSON, numbers with commas or blanks between them, or a property list of RDKit. A
        blank or missing cell is an empty list.

    Returns
    -------
    ndarray, shape (k,), float64; or str

    Examples
    --------
    >>> read_list("[1.5, null, 2]").tolist(), read_list("1.5 nan 2").tolist(), read_list("[?] 1.5 ? 2").tolist()
    ([1.5, nan, 2.0], [1.5, nan, 2.0], [1.5, nan, 2.0])
    >>> read_list("1.5 n.d. 2"), read_list("").tolist()
    ("'n.d.' is no number", [])
    """
    if cell is None or (isinstance(cell, float) and cell != cell):
        return np.empty(0)
    if isinstance(cell, str):
        return _read_text(cell.strip())
    if isinstance(cell, np.ndarray) and cell.ndim != 1:
        return f"an array of shape {cell.shape} is no list"
    if isinstance(cell, list | tuple | np.ndarray) or hasattr(cell, "__array__"):
        return _read_parts(list(cell))  # type: ignore[call-overload]
    return _read_parts([cell])


def _read_text(text: str) -> np.ndarray | str:
    if text.casefold() in MISSING:
        return np.empty(0)
    missing = None
    if text[0] == "[" and text[-1] == "]":
        text = text[1:-1].strip()
        if not text:
            return np.empty(0)
    elif (match := _MARKED.fullmatch(text)) is not None:
        missing, text = match[1], match[2]
    parts: list[str] = [part.strip() for part in text.split(",")] if "," in text else text.split()
    return _read_parts("" if part == missing else part for part in parts)


def _read_parts(parts: Iterable[Any]) -> np.ndarray | str:
    found = []
    for part in parts:
        value = number(part)
        if value is None:
            return f"{part!r} is no number"
        found.append(value)
    return np.array(found, np.float64)
