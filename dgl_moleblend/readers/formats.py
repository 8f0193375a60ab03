"""Which format a file of molecules has: by its name, else by its first bytes."""

import re
from pathlib import Path

from dgl_moleblend.readers.columns import find_smiles
from dgl_moleblend.readers.files import Source

FORMATS = ("csv", "tsv", "smi", "sdf", "parquet")
_SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".smi": "smi", ".smiles": "smi", ".cxsmiles": "smi", ".ism": "smi",
    ".sdf": "sdf", ".sd": "sdf", ".mol": "sdf", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


def names_molecules(name: str) -> str | None:
    """Return the format that a file's name tells; no SMILES ends so.

    >>> names_molecules("esol.csv.gz"), names_molecules("C(=O)O"), names_molecules("[Na+].[Cl-]")
    ('csv', None, None)
    """
    suffixes = [suffix.casefold() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in (".gz", ".gzip"):
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def guess_format(source: Source) -> str:
    """Tell a file's format from its name, else from its first bytes."""
    if (found := names_molecules(source.name)) is not None:
        return found
    head = source.head()
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.decode("utf-8-sig", "replace")
    lines = text.splitlines()
    if any(re.search(r"V[23]000\s*$", line) for line in lines[:6]):
        return "sdf"
    cells = [cell.strip().strip('"') for cell in re.split(r"[,;\t]", lines[0])] if lines else []
    return "csv" if len(cells) > 1 or find_smiles(cells) is not None else "smi"
