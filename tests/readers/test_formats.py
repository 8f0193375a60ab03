"""Formats: what is no file of molecules that we read is refused by name, and never read as SMILES."""

import gzip
import io
import zipfile

import pytest
from molecule_files import ESOL, read, sdf, write

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.molecules import MoleculeReader


def spreadsheet() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return content.getvalue()


XYZ = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.757 -0.469\nH 0.000 -0.757 -0.469\n"
PDB = "ATOM      1  N   MET A   1      38.428  13.104   6.364  1.00 54.69           N\nEND\n"
MOL2 = "# made by hand\n@<TRIPOS>MOLECULE\nwater\n"


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv", "a.txt", "a"])
def test_a_spreadsheet_is_no_text_whatever_its_name(tmp_path, name):
    with pytest.raises(DataError, match=r"this is a spreadsheet, which is not read[\s\S]*save it as CSV"):
        MoleculeReader(write(tmp_path, name, spreadsheet()))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xyz", XYZ, "another format[\\s\\S]*obabel"),
        ("a.dat", XYZ, "XYZ"),
        ("a.pdb", PDB, "another format[\\s\\S]*obabel"),
        ("a.txt", PDB, "PDB"),
        ("a.mol2", MOL2, "another format[\\s\\S]*obabel"),
        ("a.smi", MOL2, "MOL2"),
        ("a.mol2.gz", gzip.compress(MOL2.encode()), "another format"),
        ("a.zip", b"PK\x03\x04 in.csv", "an archive[\\s\\S]*unpack it"),
        ("a.csv", b"BZh91AY&SY", "an archive"),
        ("a.pkl", b"\x80\x04\x95", "data of another format"),
    ],
)
def test_files_of_other_formats_are_named(tmp_path, name, content, words):
    with pytest.raises(DataError, match=words):
        MoleculeReader(write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", ESOL),
        ("a.txt", "C methane\nCC ethane\n"),
        ("a", "[Cl-].[Na+]\nCOMPND\n"),
        ("a.dat", sdf("CCO")),
        ("a.smi", "HEADER\nC\n"),  # a line that is no SMILES is a row of its own
    ],
)
def test_files_of_molecules_are_not_refused(tmp_path, name, content):
    assert read(write(tmp_path, name, content))
