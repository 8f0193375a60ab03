"""SMI files -> one row a line: SMILES, CXSMILES extension, name; or the columns that a header names."""

import itertools
from collections.abc import Iterator

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.columns import find_smiles
from dgl_moleblend.readers.files import NumberedLines, Source
from dgl_moleblend.readers.records import Row


def open_smi(source: Source, lines: NumberedLines) -> tuple[list[str], Iterator[Row]]:
    """SMILES, optional CXSMILES extension, name; or, if the first line is a header, a table."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), None)
    if first is None:
        raise DataError("the file is empty", where=source.name, fix="export it again")
    delimiter = "\t" if "\t" in first else None
    header = [cell.strip() for cell in first.split(delimiter)]
    if find_smiles(header[:1]) is not None:
        return header, _smi_rows(lines, None, delimiter, len(header))
    return ["smiles", "name"], _smi_rows(lines, first, None, 0)


def _smi_rows(lines: NumberedLines, first: str | None, delimiter: str | None, width: int) -> Iterator[Row]:
    for line in itertools.chain([] if first is None else [first], lines):
        text = line.strip()
        if (text and not text.startswith("#")) or lines.has_nul:
            error = lines.fault
            cells: list[str] = list(_split_smi(text)) if not width else text.split(delimiter)
            if width and len(cells) != width and error is None:
                error = f"the row has {len(cells)} fields, the header {width}"
            yield Row(lines.number, cells[:1] if error else cells, error=error)
        lines.mark()


def _split_smi(text: str) -> tuple[str, str]:
    r"""Split a line in SMILES (with its CXSMILES extension) and name.

    >>> _split_smi("CCO |(0,0,;1.5,0,;2,1,)| ethyl alcohol")
    ('CCO |(0,0,;1.5,0,;2,1,)|', 'ethyl alcohol')
    """
    smiles, _, rest = text.partition("\t" if "\t" in text.split(" ")[0] else " ")
    rest = rest.strip()
    if rest.startswith("|") and "|" in rest[1:]:
        end = rest.index("|", 1) + 1
        smiles, rest = f"{smiles} {rest[:end]}", rest[end:].strip()
    return smiles, rest
