"""PDB files of ligands -> one row a model: its structure as text."""

from collections.abc import Iterator

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import NumberedLines, Source, clean
from dgl_moleblend.readers.records import Row

_ATOMS = ("ATOM  ", "HETATM")
_MAX_TEXT = 1 << 24  # characters of a model


def open_pdb(source: Source, lines: NumberedLines, charge: int | None = None) -> tuple[list[str], Iterator[Row]]:
    """Return rows: a file is one molecule, or several where MODEL or END divides them; they have no properties.

    Parameters
    ----------
    source : Source
    lines : NumberedLines
    charge : int, optional
        Total charge of every molecule; by default the sum of its atoms' charges.

    Raises
    ------
    DataError
        If the file is empty.
    """
    if not source.head().strip():
        raise DataError("the file is empty", where=source.name, fix="export it again")
    return [], _rows(lines, charge)


def _rows(lines: NumberedLines, charge: int | None) -> Iterator[Row]:
    """Yield the models; CONECT records behind the last (as the format has them) are of each, by its atoms' numbers."""
    models: list[tuple[int, list[str]]] = []
    start, title = 1, ""
    block: list[str] = []
    bonds: list[str] = []
    for line in lines:
        lines.mark()
        text = clean(line.rstrip("\r\n"))
        if text.startswith(_ATOMS):
            start = start if block else lines.number
            block.append(text)
        elif text.startswith("CONECT"):
            bonds.append(text)
        elif text.startswith(("COMPND", "TITLE ")) and not block:
            title = title or text[10:].strip()[:200]
        elif text.startswith("ENDMDL") and block:
            models.append((start, block))
            block = []
        elif text.split()[:1] == ["END"]:
            models += [(start, block)] if block else []
            yield from _models(models, bonds, title, charge)
            models, block, bonds, title = [], [], [], ""
    models += [(start, block)] if block else []
    yield from _models(models, bonds, title, charge)


def _models(models: list[tuple[int, list[str]]], bonds: list[str], title: str, charge: int | None) -> Iterator[Row]:
    for start, block in models:
        name = title or block[0][17:20].strip()
        if sum(map(len, block)) > _MAX_TEXT:
            yield Row(start, {}, title=name, error=f"the molecule is longer than {_MAX_TEXT:,} characters")
        else:
            yield Row(start, {}, title=name, structure="\n".join([*block, *bonds, "END\n"]), charge=charge)
