"""CSV and TSV files -> their columns, and one row a line or quoted record."""

import csv
import re
from collections.abc import Iterator

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import MAX_LINE, NumberedLines, Source, clean
from dgl_moleblend.readers.records import Row

MAX_RECORD_LINES = 1_000  # of a CSV row whose quoted text holds line ends; more means that a quote is not closed


def open_csv(source: Source, lines: NumberedLines, delimiter: str | None = None) -> tuple[list[str], Iterator[Row]]:
    """Return columns and rows; cells are divided by comma, semicolon or tab, whichever the header has most of."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE + 1))
    for header in lines:
        if header.strip():
            break
    else:
        raise DataError("the file is empty", where=source.name, fix="export it again")
    if delimiter is None:
        outside = re.sub(r'"[^"]*"', "", header)
        delimiter = max(",;\t", key=outside.count)
    while True:
        try:
            columns = next(csv.reader([*lines.taken], delimiter=delimiter, strict=True), [])
            break
        except csv.Error as error:  # a quoted name that holds a line end
            if len(lines.taken) > MAX_RECORD_LINES or next(lines, None) is None:
                raise DataError(f"the header cannot be read: {error}", where=source.name,
                                fix="correct its quotes") from error  # fmt: skip
    return [clean(name.strip()) for name in columns], _csv_rows(lines, delimiter, len(columns))


def open_tsv(source: Source, lines: NumberedLines) -> tuple[list[str], Iterator[Row]]:
    """Return columns and rows; cells are divided by tabs."""
    return open_csv(source, lines, "\t")


class _OpenQuoteError(Exception):
    """A CSV row goes on for too long, or to the end of the file."""


def _csv_rows(lines: NumberedLines, delimiter: str, width: int) -> Iterator[Row]:
    """One row per line, or per record where quoted text holds line ends.

    A quote that is not closed would swallow the rows after it: then its own line is the fault, and reading goes on
    with the next.
    """

    def guarded() -> Iterator[str]:
        for line in lines:
            if len(lines.taken) > MAX_RECORD_LINES:
                raise _OpenQuoteError
            yield line
        if lines.taken:
            raise _OpenQuoteError

    reader = csv.reader(guarded(), delimiter=delimiter)
    while True:
        lines.mark()
        error = None
        cells: list[str] = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _OpenQuoteError:
            error = "a quote is not closed"
        except csv.Error as fault:
            error = str(fault)
        if cells and (len(cells) < width or any(cell.strip() for cell in cells[width:])):
            error = f"the row has {len(cells)} fields, the header {width}"
        first_line = lines.number - len(lines.taken) + 1
        if error is not None:
            if len(lines.taken) > 1:
                error += "; the lines after the first were read as rows of their own"
            lines.give_back()
            reader = csv.reader(guarded(), delimiter=delimiter)
        if len(lines.taken) == 1 or error is None:
            error = lines.fault or error
        if error is not None:
            yield Row(first_line, error=error)
        elif cells:
            yield Row(first_line, cells)
