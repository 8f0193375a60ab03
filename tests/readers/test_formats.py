"""Formats: what is no file of molecules that we read is refused by name, and never read as SMILES."""

import gzip
import io
import zipfile

import pytest
from molecule_files import ESOL, read, sdf, write

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.molecules import MoleculeReader


def archive(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, text in files.items():
            packed.writestr(name.replace("__", "/").replace("Types", "[Content_Types].xml"), text)
    return content.getvalue()


WORD = archive(Types="<Types/>", word__document="<document/>")
SHEETS = archive(mimetype="application/vnd.oasis.opendocument.spreadsheet", content="<x/>")
XYZ = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.757 -0.469\nH 0.000 -0.757 -0.469\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.docx", WORD, "a document, which is not read[\\s\\S]*copy the table of molecules out of it into a CSV"),
        ("a.smi", WORD, "a document"),
        ("a.ods", SHEETS, "a spreadsheet of another kind[\\s\\S]*save it as .xlsx or as CSV"),
        ("a.csv", SHEETS, "a spreadsheet of another kind"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a spreadsheet of another kind"),
        ("a.pdf", b"%PDF-1.7\n", "a document"),
        ("a.smi", b"%PDF-1.7\n", "a document"),
        ("a.html", b"C methane\n", "a document"),
        ("a.txt", b"<!doctype html><p>C\n", "a document"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a picture[\\s\\S]*give a file of molecules"),
        ("a", b"\xff\xd8\xff\xe0", "a picture"),
        ("a.json", b'[{"smiles": "C"}]', "data of another format[\\s\\S]*write the molecules as CSV, Parquet or SDF"),
        ("a.txt", b'{"smiles": "C"}\n', "data of another format"),
        ("a.pkl", b"\x80\x04\x95", "data of another format"),
        ("a.smi", b"\x80\x04\x95", "data of another format"),
        ("a.npz", archive(smiles__npy=""), "data of another format"),
        ("a.cif", b"data_x\n", "a file of structures of another format[\\s\\S]*obabel"),
        ("a.cif.gz", gzip.compress(b"data_x\n"), "a file of structures of another format"),
        ("a.tar.gz", gzip.compress(b"a.csv"), "an archive[\\s\\S]*unpack it"),
        ("a.csv", b"7z\xbc\xaf\x27\x1c", "an archive"),
        ("a.py", b"C = 1\n", "no file of molecules"),
    ],
)
def test_files_of_other_formats_are_refused_by_name(tmp_path, name, content, words):
    with pytest.raises(DataError, match=words):
        MoleculeReader(write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", ESOL),
        ("a.txt", "C methane\nCC ethane\n"),
        ("a", "[Cl-].[Na+]\nCOMPND\n"),
        ("a", "[13CH4] one\n[C] two\n"),
        ("a.dat", sdf("CCO")),
        ("a.smi", "HEADER\nC\n"),  # a line that is no SMILES is a row of its own
    ],
)
def test_files_of_molecules_are_not_refused(tmp_path, name, content):
    assert read(write(tmp_path, name, content))


def test_first_bytes_tell_the_format_before_the_name_does(tmp_path, caplog):
    (record,) = read(write(tmp_path, "a.smi", XYZ))
    assert (record.structure_format, record.id) == ("xyz", "water")
    assert "a.smi: begins as XYZ does, and is read as that" in caplog.text
    with pytest.raises(DataError, match=r"begins as XYZ does, and is to be read as smi[\s\S]*leave --input-format out"):
        MoleculeReader(write(tmp_path, "b.smi", XYZ), input_format="smi")
    with pytest.raises(DataError, match="input_format='cif' is not allowed"):
        MoleculeReader(write(tmp_path, "b.smi", XYZ), input_format="cif")
