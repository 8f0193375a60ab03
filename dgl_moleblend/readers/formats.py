"""Which format a file of molecules has: by its first bytes, else by its name; what is none of those is refused."""

import logging
import re
from pathlib import Path

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.columns import find_smiles
from dgl_moleblend.readers.files import Source
from dgl_moleblend.readers.packed import without_ending

log = logging.getLogger(__name__)
STRUCTURES = ("sdf", "mol2", "xyz", "pdb")
"""Formats of structures, whose records have properties instead of columns."""
FORMATS = ("csv", "tsv", "smi", "parquet", "xlsx", *STRUCTURES)
_SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".smi": "smi", ".smiles": "smi", ".cxsmiles": "smi", ".ism": "smi",
    ".sdf": "sdf", ".sd": "sdf", ".mol": "sdf", ".parquet": "parquet", ".pq": "parquet", ".xlsx": "xlsx",
    ".xlsm": "xlsx", ".mol2": "mol2", ".xyz": "xyz", ".extxyz": "xyz", ".pdb": "pdb", ".ent": "pdb",
}  # fmt: skip
_BYTES = (
    (re.compile(rb"PAR1"), "parquet"),
    (re.compile(rb"PK\x03\x04.*xl/", re.DOTALL), "xlsx"),
    (re.compile(rb"\s*(#[^\n]*\n\s*)*@<TRIPOS>"), "mol2"),
    (re.compile(rb"(HEADER|COMPND|REMARK|CRYST1|ATOM  |HETATM)[ \d].{20}"), "pdb"),
    (re.compile(rb"\s*\d+[ \t]*\r?\n[^\n]*\n\s*([A-Z][a-z]?|\d+)([ \t]+-?\d+\.\d+){3}"), "xyz"),
)
"""Formats that are known by how a file begins."""

_SHEET = "save it as .xlsx or as CSV (UTF-8), and give that"
_STRUCTURE = "turn it into an SDF file, with Open Babel (`obabel IN -O OUT.sdf`) or RDKit, and give that"
_UNPACK = "unpack it, and give what is in it (gzip, bzip2, xz, Zstandard, and ZIP of one file, are read as they are)"
_ARRAYS = "write the molecules as CSV, Parquet or SDF, and give that"
_DOCUMENT = "copy the table of molecules out of it into a CSV file, and give that"
_OTHER_NAMES = {
    **dict.fromkeys((".xls", ".xlsb", ".ods", ".numbers"), ("a spreadsheet of another kind", _SHEET)),
    **dict.fromkeys((".cif", ".mmcif", ".pdbqt", ".mae", ".maegz", ".cml", ".cdx", ".cdxml", ".rxn", ".rdf", ".gro"),
                    ("a file of structures of another format", _STRUCTURE)),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), ("an archive", _UNPACK)),
    **dict.fromkeys((".pkl", ".pickle", ".npz", ".npy", ".pt", ".pth", ".h5", ".hdf5", ".feather", ".arrow", ".json",
                     ".jsonl", ".db", ".sqlite", ".safetensors", ".bin", ".yaml", ".yml", ".toml"),
                    ("data of another format", _ARRAYS)),
    **dict.fromkeys((".docx", ".doc", ".odt", ".rtf", ".pptx", ".pdf", ".ps", ".html", ".htm", ".xml", ".tex", ".md"),
                    ("a document", _DOCUMENT)),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".webp"),
                    ("a picture", "give a file of molecules, such as CSV, SMILES or SDF")),
    **dict.fromkeys((".py", ".ipynb", ".log", ".sh"), ("no file of molecules", "give one, such as CSV, SMILES or SDF")),
}  # fmt: skip
_OTHER_BYTES = (
    (re.compile(rb"PK\x03\x04.*(word/|ppt/|opendocument\.text)", re.DOTALL), *_OTHER_NAMES[".docx"]),
    (re.compile(rb"PK\x03\x04.*(\[Content_Types\]|mimetypeapplication)", re.DOTALL), *_OTHER_NAMES[".ods"]),
    (re.compile(rb"\xd0\xcf\x11\xe0"), *_OTHER_NAMES[".xls"]),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!|.{257}ustar", re.DOTALL),
     *_OTHER_NAMES[".tar"]),
    (re.compile(rb"\x89HDF|\x93NUMPY|\x80[\x02-\x05]|ARROW1|SQLite format 3"), *_OTHER_NAMES[".pkl"]),
    (re.compile(rb'\s*(\{|\[\s*["{\[])'), *_OTHER_NAMES[".json"]),  # no SMILES begins so
    (re.compile(rb"%PDF|\{\\rtf|\s*<(!DOCTYPE|html|\?xml)", re.IGNORECASE), *_OTHER_NAMES[".pdf"]),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|II\*\0|MM\0\*", re.DOTALL), *_OTHER_NAMES[".png"]),
)  # fmt: skip


def names_molecules(name: str) -> str | None:
    """Return the format that a file's name tells; no SMILES ends so.

    >>> names_molecules("esol.csv.gz"), names_molecules("C(=O)O"), names_molecules("[Na+].[Cl-]")
    ('csv', None, None)
    """
    return _SUFFIXES.get(Path(without_ending(name)).suffix.casefold())


def choose_format(source: Source, wanted: str | None = None) -> str:
    """Return a file's format: as its first bytes tell, else the one that is wanted, else as its name tells.

    Raises
    ------
    DataError
        If it is a document, a picture, an archive or a file of another format, which read as text would make nonsense;
        or another format is wanted than its bytes are of.
    """
    head = source.head()
    found = next((name for pattern, name in _BYTES if pattern.match(head)), None)
    by_name = names_molecules(source.content_name)
    if found is not None:
        if wanted not in (None, found):
            raise DataError(f"the file begins as {found.upper()} does, and is to be read as {wanted}",
                            where=source.name, fix=f"leave --input-format out, or say {found}")  # fmt: skip
        if by_name not in (None, found):
            log.warning("%s: begins as %s does, and is read as that", source.name, found.upper())
        return found
    other = next(((what, fix) for pattern, what, fix in _OTHER_BYTES if pattern.match(head)), None)
    if other is None and wanted is None:
        suffixes = (Path(name).suffix.casefold() for name in (source.content_name, source.name))
        other = next((_OTHER_NAMES[suffix] for suffix in suffixes if suffix in _OTHER_NAMES), None)
    if other is not None:
        raise DataError(
            f"this is {other[0]}, which is not read; {', '.join(FORMATS)} are", where=source.name, fix=other[1]
        )
    return wanted or by_name or _guess_format(head)


def _guess_format(head: bytes) -> str:
    text = head.decode("utf-8-sig", "replace").replace("\0", "")
    lines = text.splitlines()
    if any(re.search(r"V[23]000\s*$", line) for line in lines[:6]):
        return "sdf"
    cells = [cell.strip().strip('"') for cell in re.split(r"[,;\t]", lines[0])] if lines else []
    return "csv" if len(cells) > 1 or find_smiles(cells) is not None else "smi"
