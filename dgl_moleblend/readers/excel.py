"""Excel workbooks -> the columns and rows of one sheet."""

import logging
import zipfile
from collections.abc import Iterator
from typing import Any

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import Source
from dgl_moleblend.readers.records import Row

log = logging.getLogger(__name__)
_DAMAGED = (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError, SyntaxError, IndexError, TypeError)
"""What openpyxl raises over workbooks that are not whole (an XML error is a SyntaxError)."""


def open_excel(source: Source, sheet: str | None = None) -> tuple[list[str], Iterator[Row]]:
    """Return columns and rows of a sheet, by default the first; lines are its rows, and blank ones are passed over.

    Raises
    ------
    DataError
        If openpyxl is not installed, the file is damaged, or there is no such sheet.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DataError("reading .xlsx needs the package openpyxl, which is not installed", where=source.name,
                        fix="pip install 'dgl-moleblend[excel]', or save the sheet as CSV") from error  # fmt: skip
    file = source.seekable()
    has_formulas = False
    try:
        with zipfile.ZipFile(file) as archive:
            has_formulas = any(b"<f" in archive.read(name) for name in archive.namelist() if "worksheets/" in name)
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        formulas = openpyxl.load_workbook(file, read_only=True) if has_formulas else None
    except _DAMAGED as error:
        raise _damaged(source, error) from error
    names = [one.title for one in book.worksheets]
    if sheet is None and len(names) > 1:
        others = ", ".join(map(repr, names[1:]))
        log.warning("%s: the first sheet %r is read, and not %s (--sheet names another)", source.name, names[0], others)
    if not names or (sheet is not None and sheet not in names):
        raise DataError(f"there is no sheet {sheet!r}; the sheets are: {', '.join(map(repr, names))}",
                        where=source.name, fix="name one of them with --sheet")  # fmt: skip
    name = sheet or names[0]
    rows = _rows(source, book[name], None if formulas is None else formulas[name])
    header = next((row for row in rows if any(not _is_blank(cell) for cell in row.cells)), None)
    if header is None:
        raise DataError(f"the sheet {name!r} is empty", where=source.name, fix="name another with --sheet")
    cells = list(header.cells)
    while cells and _is_blank(cells[-1]):
        cells.pop()
    return ["" if cell is None else str(cell).strip() for cell in cells], _body(rows, len(cells))


def _body(rows: Iterator[Row], width: int) -> Iterator[Row]:
    for row in rows:
        cells = list(row.cells)
        if row.error is None and any(not _is_blank(cell) for cell in cells[width:]):
            row.error = f"the row has {len(cells)} fields, the header {width}"
        if row.error is not None:
            yield Row(row.line, error=row.error)
        elif any(not _is_blank(cell) for cell in cells):
            yield Row(row.line, [*cells[:width], *[None] * (width - len(cells))])


def _rows(source: Source, sheet: Any, formulas: Any) -> Iterator[Row]:
    """Yield the cells of every row; a formula that has no value yet is an error of its row."""
    try:
        behind = None if formulas is None else formulas.iter_rows(values_only=True)
        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            written = cells if behind is None else next(behind, ())
            open_still = [f"{one}" for cell, one in zip(cells, written, strict=False)
                          if cell is None and isinstance(one, str) and one.startswith("=")]  # fmt: skip
            error = None
            if open_still:
                formula = open_still[0][:50]
                error = f"the formula {formula!r} has no value: open and save the file in Excel or LibreOffice"
            yield Row(number, cells, error=error)
    except _DAMAGED as error:
        raise _damaged(source, error) from error


def _is_blank(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _damaged(source: Source, error: Exception) -> DataError:
    return DataError(f"this is no whole Excel workbook: {error}", where=source.name, fix="save it again")
