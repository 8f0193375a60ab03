"""Bytes and lines: endings, encodings, what is too long, packed or damaged."""

import gzip

import pandas as pd
import pytest
from molecule_files import ESOL, read, sdf, write

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers import files
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.records import Record


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


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.smi", "a.sdf", "a.parquet"])
def test_gzip_changes_nothing(tmp_path, name):
    path = tmp_path / name
    if name == "a.parquet":
        pd.DataFrame({"smiles": ["C", "CCO"]}).to_parquet(path)
    else:
        path.write_text(sdf("C", "CCO") if name == "a.sdf" else "smiles\nC\nCCO\n")
    packed = write(tmp_path, name + ".gz", gzip.compress(path.read_bytes()))

    def essence(records):
        return [(r.row, r.line, r.id, r.smiles, r.molblock, r.error) for r in records]

    assert len(read(path)) == 2
    assert essence(read(packed)) == essence(read(path))
    disguised = write(tmp_path, "b" + path.suffix, packed.read_bytes())
    assert essence(read(disguised)) == essence(read(path)), "compression is seen in the content, not in the name"


def test_a_damaged_gzip_is_an_error_after_the_rows_that_are_whole(tmp_path):
    rng_text = "smiles,y\n" + "".join(f"CCO,{k * 0.731:.9f}\n" for k in range(20_000))
    packed = gzip.compress(rng_text.encode())
    path = write(tmp_path, "a.csv.gz", packed[: len(packed) // 2])
    records: list[Record] = []
    with pytest.raises(DataError, match="damaged or cut off") as error:
        records.extend(MoleculeReader(path))
    assert 0 < len(records) < 20_000
    assert f"after line {len(records) + 1}" in str(error.value)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("none.csv", "no such file"),
        ("*.csv", "no file matches"),
        (".", "this is a folder"),
        ([], "no input files"),
    ],
)
def test_inputs_that_are_not_there(tmp_path, monkeypatch, inputs, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        MoleculeReader(inputs)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.smi", "a.sdf", "a.txt", "a.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_empty_files(tmp_path, name, content):
    path = write(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content)
    if name == "a.sdf" and content:
        assert read(path) == []
        return
    with pytest.raises(DataError, match="the file is empty"):
        MoleculeReader(path)
