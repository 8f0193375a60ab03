"""MOL2 files -> one row a molecule: its structure as text."""

from collections.abc import Iterator

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import NumberedLines, Source, clean
from dgl_moleblend.readers.records import Row

_BEGIN = "@<TRIPOS>MOLECULE"
_MAX_TEXT = 1 << 24  # characters of a molecule


def open_mol2(source: Source, lines: NumberedLines) -> tuple[list[str], Iterator[Row]]:
    """Return rows; they have no properties.

    Raises
    ------
    DataError
        If the file is empty.
    """
    if not source.head().strip():
        raise DataError("the file is empty", where=source.name, fix="export it again")
    return [], _rows(lines)


def _rows(lines: NumberedLines) -> Iterator[Row]:
    start = 1
    block: list[str] = []
    for line in lines:
        lines.mark()
        if line.startswith(_BEGIN):
            yield from _row(start, block)
            start, block = lines.number, []
        block.append(line.rstrip("\r\n"))
    yield from _row(start, block)


def _row(start: int, block: list[str]) -> Iterator[Row]:
    """Yield one row of a block; none of the comments before the first."""
    if not any(line.strip() and not line.startswith("#") for line in block):
        return
    title = clean(block[1].strip())[:200] if len(block) > 1 else ""
    if not block[0].startswith(_BEGIN):
        yield Row(start, {}, error=f"these lines are no molecule: {_BEGIN} is missing")
    elif sum(map(len, block)) > _MAX_TEXT:
        yield Row(start, {}, title=title, error=f"the molecule is longer than {_MAX_TEXT:,} characters")
    else:
        yield Row(start, {}, title=title, structure=clean("\n".join(block) + "\n"))
