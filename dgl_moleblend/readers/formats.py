"""Which format a file of molecules has: by its name, else by its first bytes; what is none of those is refused."""

import re
from pathlib import Path

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.columns import find_smiles
from dgl_moleblend.readers.files import Source

FORMATS = ("csv", "tsv", "smi", "sdf", "parquet")
_SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".smi": "smi", ".smiles": "smi", ".cxsmiles": "smi", ".ism": "smi",
    ".sdf": "sdf", ".sd": "sdf", ".mol": "sdf", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


_SHEET = "save it as CSV (UTF-8), and give that"
_STRUCTURES = "turn it into an SDF file, with Open Babel (`obabel IN -O OUT.sdf`) or RDKit, and give that"
_UNPACK = "unpack it, and give what is in it (gzip alone is read as it is)"
_ARRAYS = "write the molecules as CSV, Parquet or SDF, and give that"
_OTHER_NAMES = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), ("a spreadsheet", _SHEET)),
    **dict.fromkeys((".mol2", ".xyz", ".pdb", ".ent", ".cif", ".mmcif", ".pdbqt", ".mae", ".cml", ".cdx", ".cdxml"),
                    ("a file of structures of another format", _STRUCTURES)),
    **dict.fromkeys((".zip", ".tar", ".bz2", ".xz", ".zst", ".7z", ".rar"), ("an archive", _UNPACK)),
    **dict.fromkeys((".pkl", ".pickle", ".npz", ".npy", ".pt", ".h5", ".hdf5", ".feather", ".json", ".jsonl"),
                    ("data of another format", _ARRAYS)),
}  # fmt: skip
_OTHER_BYTES = (
    (re.compile(rb"PK\x03\x04.*(xl/|\[Content_Types\]|mimetypeapplication)", re.DOTALL), "a spreadsheet", _SHEET),
    (re.compile(rb"\xd0\xcf\x11\xe0"), "a spreadsheet", _SHEET),
    (re.compile(rb"PK\x03\x04|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!"), "an archive", _UNPACK),
    (re.compile(rb"\s*(#[^\n]*\n\s*)*@<TRIPOS>"), "a file of structures of another format (MOL2)", _STRUCTURES),
    (re.compile(rb"(HEADER|COMPND|REMARK|CRYST1|ATOM  |HETATM)[ \d].{20}"),
     "a file of structures of another format (PDB)", _STRUCTURES),
    (re.compile(rb"\s*\d+[ \t]*\r?\n[^\n]*\n\s*[A-Z][a-z]?([ \t]+-?\d+\.\d+){3}"),
     "a file of structures of another format (XYZ)", _STRUCTURES),
    (re.compile(rb"\x89HDF|\x93NUMPY|\x80[\x02-\x05]|ARROW1|%PDF"), "data of another format", _ARRAYS),
)  # fmt: skip


def names_molecules(name: str) -> str | None:
    """Return the format that a file's name tells; no SMILES ends so.

    >>> names_molecules("esol.csv.gz"), names_molecules("C(=O)O"), names_molecules("[Na+].[Cl-]")
    ('csv', None, None)
    """
    suffixes = [suffix.casefold() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in (".gz", ".gzip"):
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def choose_format(source: Source, wanted: str | None = None) -> str:
    """Return a file's format: the one that is wanted, else as its name tells, else as its first bytes.

    Raises
    ------
    DataError
        If it is a spreadsheet, an archive or a file of another format, which read as text would make nonsense.
    """
    head = source.head()
    other = None if wanted else _OTHER_NAMES.get(Path(source.name.removesuffix(".gz")).suffix.casefold())
    for pattern, what, fix in () if other or head.startswith(b"PAR1") else _OTHER_BYTES:
        if pattern.match(head):
            other = what, fix
            break
    if other is not None:
        raise DataError(
            f"this is {other[0]}, which is not read; {', '.join(FORMATS)} are", where=source.name, fix=other[1]
        )
    return wanted or _guess_format(source)


def _guess_format(source: Source) -> str:
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
