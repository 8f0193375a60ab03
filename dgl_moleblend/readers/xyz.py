"""XYZ files, of one or many frames -> one row a frame: elements and positions as text, values of its comment line."""

import re
from collections.abc import Iterator

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import NumberedLines, Source, clean
from dgl_moleblend.readers.records import Row

_VALUE = re.compile(r"""([A-Za-z_][\w.-]*)\s*[=:]\s*("[^"]*"|'[^']*'|[^\s,;]+)""")
_CHARGE = re.compile(r"[+-]?\d+(\.0*)?")
_MAX_ATOMS = 1_000_000


def open_xyz(source: Source, lines: NumberedLines, charge: int | None = None) -> tuple[list[str], Iterator[Row]]:
    """Return rows, a frame each; their properties are the values of the comment line (``energy=-1.5 charge=1``).

    Parameters
    ----------
    source : Source
    lines : NumberedLines
    charge : int, optional
        Total charge of every frame; by default as its comment line says, else 0.

    Raises
    ------
    DataError
        If the file is empty.
    """
    if not source.head().strip():
        raise DataError("the file is empty", where=source.name, fix="export it again")
    return [], _rows(lines, charge)


def _rows(lines: NumberedLines, charge: int | None) -> Iterator[Row]:
    odd = 0  # the first of some lines that are no frame
    for line in lines:
        start, word = lines.number, line.strip()
        lines.mark()
        if not re.fullmatch(r"\d{1,9}", word):
            odd = odd or (start if word else 0)
            continue
        if odd:
            yield Row(odd, {}, error=f"lines {odd} to {start - 1} are no frame: each begins with its number of atoms")
            odd = 0
        yield _frame(lines, start, int(word), charge)
    if odd:
        yield Row(odd, {}, error=f"lines {odd} to {lines.number} are no frame: each begins with its number of atoms")


def _frame(lines: NumberedLines, start: int, count: int, charge: int | None) -> Row:
    comment = clean(next(lines, "").strip())
    values = {name: value.strip("\"'") for name, value in _VALUE.findall(comment)}
    title = " ".join(_VALUE.sub("", comment).split())[:200]
    said = next((value for name, value in values.items() if name.casefold() in ("charge", "q", "total_charge")), None)
    atoms: list[str] = []
    for line in lines if 0 < count <= _MAX_ATOMS else ():
        words = line.replace("*^", "e").split()
        if len(words) < 4:
            lines.mark()
            return Row(start, values, title=title, error=f"the frame has {len(atoms)} atoms, and says {count}")
        atoms.append(" ".join(words[:4]))
        lines.mark()
        if len(atoms) == count:
            break
    lines.mark()
    if len(atoms) != count or not count:
        return Row(start, values, title=title, error=f"the frame has {len(atoms)} atoms, and says {count:,}")
    if charge is None and said is not None and not _CHARGE.fullmatch(said):
        return Row(start, values, title=title, error=f"the comment line's charge {said!r} is no whole number")
    total = charge if charge is not None else int(float(said)) if said is not None else 0
    text = f"{count}\n\n" + "\n".join(atoms) + "\n"
    return Row(start, values, title=title, structure=text, charge=total)
