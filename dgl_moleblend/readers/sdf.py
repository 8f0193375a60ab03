"""SDF and MOL files -> one row a record: its structure as text, and its properties."""

import re
from collections.abc import Iterator

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import NumberedLines, Source, clean
from dgl_moleblend.readers.records import Row

MAX_RECORD_TEXT = 1 << 24  # characters of an SDF record
_PROPERTY = re.compile(r"^>[^<]*<(.*)>")


def open_sdf(source: Source, lines: NumberedLines) -> tuple[list[str], Iterator[Row]]:
    """Return rows; which properties there are is seen in the records."""
    if not source.head():
        raise DataError("the file is empty", where=source.name, fix="export it again")
    return [], _sdf_rows(lines)


def property_names(path: str, encoding: str | None) -> list[str]:
    """Return the names of the properties of all records of a file, each once, in the order in which they appear."""
    source = Source(path)
    lines = NumberedLines(source, encoding)
    try:
        found: dict[str, None] = {}
        for line in lines:
            lines.mark()
            if line.startswith(">") and (match := _PROPERTY.match(line.rstrip("\r\n"))):
                found.setdefault(clean(match[1]))
        return list(found)
    finally:
        lines.close()
        source.close()


def _sdf_rows(lines: NumberedLines) -> Iterator[Row]:
    """One row per record; records end with a line that begins with $$$$."""
    start, size = 1, 0
    record: list[str] = []
    too_long = has_nul = False
    for line in lines:
        too_long |= lines.too_long
        has_nul |= lines.has_nul
        lines.mark()
        if line.startswith("$$$$"):
            yield _sdf_row(start, record, too_long, has_nul)
            start, size, record = lines.number + 1, 0, []
            too_long = has_nul = False
            continue
        size += len(line)
        if size > MAX_RECORD_TEXT:
            too_long = True
        else:
            record.append(line)
    if too_long or has_nul or any(line.strip() for line in record):
        yield _sdf_row(start, record, too_long, has_nul)


def _sdf_row(start: int, record: list[str], too_long: bool, has_nul: bool) -> Row:
    title = clean(record[0].strip())[:200] if record else ""
    ends = [k for k, line in enumerate(record) if line.startswith("M  END")]
    error = None
    if too_long:
        error = f"the record is longer than {MAX_RECORD_TEXT:,} characters"
    elif has_nul:
        error = "the record holds NUL bytes"
    elif not any(line.strip() for line in record):
        error = "the record is empty"
    elif not ends:
        error = "the record has no 'M  END': it is cut off"
    elif len(ends) > 1:
        error = f"the record holds {len(ends)} structures: a line $$$$ is missing between them"
    if error is not None:
        return Row(start, {}, title=title, error=error)
    lines = record[: ends[0]]
    while len(lines) > 4 and not lines[-1].strip():  # which RDKit refuses, and some programs write
        lines.pop()
    body = "".join([*lines, record[ends[0]]]).replace("\r\n", "\n").replace("\r", "\n")
    return Row(start, _sdf_properties(record[ends[0] + 1 :]), title=title, structure=clean(body))


def _sdf_properties(record: list[str]) -> dict[str, str]:
    properties: dict[str, list[str]] = {}
    values: list[str] | None = None
    for line in record:
        text = line.rstrip("\r\n")
        if values is None or not text.strip():
            match = _PROPERTY.match(text)
            values = properties.setdefault(clean(match[1]), []) if match else None
        else:
            values.append(text)
    return {name: clean("\n".join(lines)) for name, lines in properties.items()}
