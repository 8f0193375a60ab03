"""Bytes and lines: endings, encodings, what is too long, packed or damaged."""

import gzip

import pytest
from molecule_files import ESOL, read, sdf, write

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers import files
from dgl_moleblend.readers.molecules import MoleculeReader


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_endings(tmp_path, ending, last):
    text = ESOL.replace("\n", ending)
    records = read(write(tmp_path, "a.csv", text if last else text[: -len(ending)]))
    assert [(r.line, r.smiles) for r in records] == [(2, "CCO"), (3, "c1ccccc1"), (4, "C")]


def test_nul_bytes_cost_their_row(tmp_path):
    records = read(write(tmp_path, "a.csv", b"smiles,y\nC,1\nC\0C,2\nCCC,3\n"))
    assert [r.error for r in records] == [None, "the line holds NUL bytes", None]
    records = read(write(tmp_path, "a.smi", b"C one\nC\0C two\n\0\nCCC three\n"))
    assert [r.stage for r in records] == [None, "read", "read", None]
    assert [r.line for r in records] == [1, 2, 3, 4]
    text = sdf("C", "CC", "CCC").encode()
    records = read(write(tmp_path, "a.sdf", text.replace(b"mol1", b"mo\0l")))
    assert [r.error for r in records] == [None, "the record holds NUL bytes", None]


def test_lines_that_are_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE", 100)
    long = "C" * 1_234
    records = read(write(tmp_path, "a.csv", f"smiles,y\nC,1\n{long},2\nCC,3\n"))
    assert [(r.line, r.smiles, r.stage) for r in records] == [(2, "C", None), (3, "", "read"), (4, "CC", None)]
    assert "longer than" in records[1].error
    assert [r.stage for r in read(write(tmp_path, "a.smi", f"C\n{long}\nCC\n"))] == [None, "read", None]
    records = read(write(tmp_path, "a.sdf", sdf("C", "CC", "CCC").replace("mol1", long)))
    assert [r.stage for r in records] == [None, "read", None]


def test_a_ten_megabyte_line_is_read(tmp_path):
    records = read(write(tmp_path, "a.csv", "id,smiles\n1,C\n2," + "C" * 10_000_000 + "\n3,CC\n"))
    assert [len(r.smiles) for r in records] == [1, 10_000_000, 2]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_say_what_they_are(tmp_path, encoding):
    path = write(tmp_path, "a.csv", "name,smiles\ncafé,C\n".encode(encoding))
    assert [(r.id, r.smiles) for r in read(path)] == [("café", "C")]


def test_other_bytes_are_read_as_windows_1252_and_said(tmp_path, caplog):
    path = write(tmp_path, "a.csv", "name,smiles\ncafé 5 €,C\nthé,CC\n".encode("cp1252"))
    assert [r.id for r in read(path)] == ["café 5 €", "thé"]
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}, line 2: not UTF-8 text, read as Windows-1252 (--encoding sets another)"
    ]
    caplog.clear()
    assert [r.id for r in read(path, encoding="cp1252")] == ["café 5 €", "thé"]
    assert not caplog.records
    with pytest.raises(DataError, match="unknown encoding 'klingon'"):
        MoleculeReader(path, encoding="klingon")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_utf_16_without_a_mark_is_seen_and_said(tmp_path, caplog, encoding, name):
    path = write(tmp_path, name, "name,smiles\ncafé,C\nthé,CC\n".encode(encoding))
    assert [(r.id, r.smiles) for r in read(path)] == [("café", "C"), ("thé", "CC")]
    assert f"{path}: read as {encoding.upper()}, which it looks like (--encoding sets another)" in caplog.text
    caplog.clear()
    assert [r.id for r in read(path, encoding=encoding)] == ["café", "thé"]
    assert not caplog.records


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("none.csv", "no such file"),
        ("*.csv", "no file matches"),
        (".", "no file in this folder has a name of molecules"),
        ([], "no input files"),
    ],
)
def test_inputs_that_are_not_there(tmp_path, monkeypatch, inputs, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        MoleculeReader(inputs)


def test_a_folder_is_one_input(tmp_path, caplog):
    for name, content in {"b.csv": "smiles,y\nCC,2\nC1CC,3\n", "a.csv": "smiles,y\nC,1\n", "notes.txt": "x",
                          ".c.csv": "smiles,y\nCCC,4\n"}.items():  # fmt: skip
        write(tmp_path, name, content)
    (tmp_path / "d.csv").mkdir()
    data = MoleculeDataset.from_file(tmp_path, task_columns=["y"])
    assert [(s.row, s.source, s.line) for s in data] == [
        (0, str(tmp_path / "a.csv"), 2),
        (1, str(tmp_path / "b.csv"), 2),
    ]
    assert data.rejects[["row", "source", "line"]].values.tolist() == [[2, str(tmp_path / "b.csv"), 3]]
    assert f"{tmp_path}: 2 files are read, and not notes.txt" in caplog.text
    assert [r.smiles for r in read(tmp_path / "*.csv")] == ["C", "CC", "C1CC"]
    write(tmp_path, "run.json", "{}")
    with pytest.raises(DataError, match=r"it holds run\.json, as models and data sets do"):
        MoleculeReader(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.smi", "a.sdf", "a.txt", "a.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_empty_files(tmp_path, name, content):
    path = write(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    if name == "a.sdf" and content:
        assert read(path) == []
        return
    with pytest.raises(DataError, match="the file is empty"):
        MoleculeReader(path)
