"""Readers: every row is a record, with its number and line, whatever is in it."""

import gzip
import io
import math
import sys
from pathlib import Path

import pandas as pd
import pytest
from rdkit import Chem

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers import delimited, files
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.records import Record

ESOL = "Compound ID,smiles,logS,note\nethanol,CCO,1.1,x\nbenzene, c1ccccc1 ,-1.64,\nmethane,C,,y\n"
SHARED = Path(__file__).parents[2] / "../shared/data"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: object, **options: object) -> list[Record]:
    return list(MoleculeReader(path, **options))  # type: ignore[arg-type]


def sdf(*smiles: str, properties: dict[str, str] | None = None) -> str:
    out = ""
    for k, text in enumerate(smiles):
        mol = Chem.MolFromSmiles(text)
        mol.SetProp("_Name", f"mol{k}")
        out += Chem.MolToMolBlock(mol)
        for name, value in (properties or {}).items():
            out += f">  <{name}>  ({k})\n{value}\n\n"
        out += "$$$$\n"
    return out


def test_csv_rows_lines_ids_and_labels(tmp_path):
    records = read(write(tmp_path, "esol.csv", ESOL), task_columns=["logS"])
    assert [(r.row, r.line, r.id, r.smiles) for r in records] == [
        (0, 2, "ethanol", "CCO"),
        (1, 3, "benzene", "c1ccccc1"),
        (2, 4, "methane", "C"),
    ]
    assert [r.labels[0] for r in records[:2]] == [1.1, -1.64]
    assert math.isnan(records[2].labels[0]), "a blank label is missing, not 0"
    assert records[0].where.endswith("esol.csv, line 2")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_endings(tmp_path, ending, last):
    text = ESOL.replace("\n", ending)
    records = read(write(tmp_path, "a.csv", text if last else text[: -len(ending)]))
    assert [(r.line, r.smiles) for r in records] == [(2, "CCO"), (3, "c1ccccc1"), (4, "C")]


@pytest.mark.parametrize(
    ("name", "header", "options"),
    [
        ("a.csv", "name,SMILES", {}),
        ("a.csv", "name,Canonical_Smiles", {}),
        ("a.csv", "name;smiles", {}),
        ("a.tsv", "name\tmol", {}),
        ("a.dat", "name\tsmiles", {}),
        ("a.csv", "\ufeffname,smiles", {}),
        ("a.csv", '"name","smiles"', {}),
        ("a.csv", "name,whatever", {"smiles_column": "whatever"}),
        ("a.csv", "name,Whatever", {"smiles_column": "whatever"}),
    ],
)
def test_columns_and_delimiters_are_found(tmp_path, name, header, options):
    delimiter = next(d for d in ",;\t" if d in header)
    (record,) = read(write(tmp_path, name, f"{header}\nethanol{delimiter}CCO\n"), **options)
    assert (record.id, record.smiles) == ("ethanol", "CCO")


def test_a_missing_column_lists_those_there_are(tmp_path):
    path = write(tmp_path, "a.csv", "compound,weight\nx,1\n")
    with pytest.raises(DataError, match=r"no column looks like SMILES; the columns are: 'compound', 'weight'") as error:
        MoleculeReader(path)
    assert "--smiles-column" in str(error.value)
    assert str(path) in str(error.value)
    with pytest.raises(DataError, match=r"no SMILES column 'smile'; the columns are"):
        MoleculeReader(path, smiles_column="smile")
    with pytest.raises(DataError, match=r"no task column 'logP'.*'Compound ID', 'smiles', 'logS', 'note'"):
        MoleculeReader(write(tmp_path, "b.csv", ESOL), task_columns=["logP"])
    with pytest.raises(DataError, match=r"no id column 'nr'"):
        MoleculeReader(write(tmp_path, "b.csv", ESOL), id_column="nr")


def test_a_column_named_twice_is_refused_if_it_is_wanted(tmp_path):
    path = write(tmp_path, "a.csv", "smiles,y,y\nC,1,2\n")
    assert len(read(path)) == 1
    with pytest.raises(DataError, match="2 columns are named 'y'"):
        MoleculeReader(path, task_columns=["y"])


def test_task_names_patterns_and_all(tmp_path):
    path = write(tmp_path, "a.csv", 'id,smiles,NR-A,NR-B,SR-C,"a,b",text\n1,C,0,1,,5,word\n2,CC,,0,0.5,6,7\n')
    assert MoleculeReader(path, task_columns=["NR-*"]).task_names == ("NR-A", "NR-B")
    assert MoleculeReader(path, task_columns=["SR-C,NR-A"]).task_names == ("SR-C", "NR-A")
    assert MoleculeReader(path, task_columns=["a,b", "NR-A"]).task_names == ("a,b", "NR-A")
    assert MoleculeReader(path, task_columns=["all"]).task_names == ("NR-A", "NR-B", "SR-C", "a,b")
    records = read(path, task_columns=["all"])
    assert [r.labels for r in records][1][1:] == (0.0, 0.5, 6.0)
    assert [r.row for r in records] == [0, 1], "rows that were looked at beforehand are read as well"


def test_labels_that_are_missing_or_no_numbers(tmp_path):
    cells = ["", " ", "NaN", "n/a", "NULL", "-1", "-1.0", "true", "0", "1e3", ">10", "inf", "1e39", "1_0", "3,5"]
    path = write(tmp_path, "a.csv", "smiles\ty\n" + "".join(f"C\t{cell}\n" for cell in cells))
    records = read(path, task_columns=["y"], missing_labels=[-1], input_format="tsv")
    missing = [math.isnan(r.labels[0]) and r.error is None for r in records]
    assert missing == [True] * 7 + [False] * 8
    assert [r.labels[0] for r in records[7:10]] == [1.0, 0.0, 1000.0]
    for cell, record in zip(cells[10:], records[10:], strict=True):
        assert record.stage == "labels"
        assert record.error == f"the label {cell!r} in column 'y' is not a finite number"


def test_quoted_line_ends_and_the_lines_after_them(tmp_path):
    text = 'smiles,note\nC,"two\nlines"\nCC,"three\r\n\r\nlines, ""quoted"""\nCCC,\n'
    records = read(write(tmp_path, "a.csv", text))
    assert [(r.row, r.line, r.smiles, r.error) for r in records] == [
        (0, 2, "C", None),
        (1, 4, "CC", None),
        (2, 7, "CCC", None),
    ]


def test_an_open_quote_costs_only_its_own_line(tmp_path):
    text = 'smiles,note\nC,a\n"CC,b\nCCC,c\nCCCC,"d"\nCCCCC,e\n'
    records = read(write(tmp_path, "a.csv", text))
    assert [(r.line, r.smiles, r.stage) for r in records] == [
        (2, "C", None),
        (3, "", "read"),
        (4, "CCC", None),
        (5, "CCCC", None),
        (6, "CCCCC", None),
    ]


def test_an_open_quote_in_a_long_file(tmp_path):
    lines = ["C,a"] * (3 * delimited.MAX_RECORD_LINES)
    lines[10] = 'C,"a'
    records = read(write(tmp_path, "a.csv", "smiles,note\n" + "\n".join(lines)))
    assert len(records) == len(lines)
    assert [r.row for r in records if r.error] == [10]
    assert [r.line for r in records] == list(range(2, len(lines) + 2))


def test_rows_of_another_width(tmp_path):
    records = read(write(tmp_path, "a.csv", "id,smiles,y\n1,C,0\n2,CC\n3,CCC,0,9\n4,CCCC,0,,\n\n5,C,1\n"))
    assert [r.error for r in records] == [
        None,
        "the row has 2 fields, the header 3",
        "the row has 4 fields, the header 3",
        None,
        None,
    ]
    assert [r.line for r in records] == [2, 3, 4, 5, 7], "an empty line is no row, as pandas has it"


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


def test_smi_files(tmp_path):
    text = "# a comment\nCCO ethyl alcohol\n\nC\tmethane\nCC |(0,0,0;1.5,0,0)| ethane in 3D\nc1ccccc1\n"
    records = read(write(tmp_path, "a.smi", text))
    assert [(r.row, r.line, r.smiles, r.id) for r in records] == [
        (0, 2, "CCO", "ethyl alcohol"),
        (1, 4, "C", "methane"),
        (2, 5, "CC |(0,0,0;1.5,0,0)|", "ethane in 3D"),
        (3, 6, "c1ccccc1", ""),
    ]


def test_two_words_in_a_cell_are_a_rejected_row_and_names_of_smi_files_are_not(tmp_path):
    table = "smiles\nCCO CCN\nCC O\nCCO |$;;OH$|\nCCO\n"
    dataset = MoleculeDataset.from_file(write(tmp_path, "a.csv", table))
    assert dataset.rejects[["row", "line", "smiles", "stage"]].to_numpy().tolist() == [
        [0, 2, "CCO CCN", "parse"],
        [1, 3, "CC O", "parse"],
    ]
    assert "goes on after a blank: 'CCN'" in dataset.rejects["reason"][0]
    assert dataset.rows.tolist() == [2, 3]
    smi = MoleculeDataset.from_file(write(tmp_path, "a.smi", "CCO CCN\nCC |(0,0,0;1.5,0,0)| ethane in 3D\n"))
    assert (len(smi), smi.ids) == (2, ["CCN", "ethane in 3D"])
    assert MoleculeDataset.from_smiles(["CCO CCN", "CCO"]).rejects["row"].tolist() == [0]


def test_smi_with_a_header_is_a_table(tmp_path):
    records = read(write(tmp_path, "a.smi", "smiles id logS\nC m 1.5\nCC e\n"), task_columns=["logS"])
    assert [(r.smiles, r.id, r.labels, r.error) for r in records] == [
        ("C", "m", (1.5,), None),
        ("CC", "", (), "the row has 2 fields, the header 3"),
    ]


def test_sdf_titles_properties_and_lines(tmp_path):
    text = sdf("CCO", "C", properties={"gap": "5.5", "key": "K"})
    records = read(write(tmp_path, "a.sdf", text), task_columns=["gap"])
    second = text.split("\n").index("mol1") + 1
    assert [(r.id, r.line, r.labels, r.error) for r in records] == [
        ("mol0", 1, (5.5,), None),
        ("mol1", second, (5.5,), None),
    ]
    assert [Chem.MolFromMolBlock(r.molblock).GetNumAtoms() for r in records] == [3, 1]
    assert [r.id for r in read(tmp_path / "a.sdf", id_column="key")] == ["K", "K"]
    assert MoleculeReader(tmp_path / "a.sdf", task_columns=["all"]).task_names == ("gap",)
    with pytest.raises(DataError, match=r"no task column 'homo'; the properties of the first 1,000 records are: 'gap'"):
        MoleculeReader(tmp_path / "a.sdf", task_columns=["homo"])


def test_a_property_that_a_record_lacks_is_missing(tmp_path):
    text = sdf("C", properties={"a": "1"}) + sdf("CC", properties={"b": "2"})
    records = read(write(tmp_path, "a.sdf", text), task_columns=["a", "b"])
    assert [[math.isnan(v) for v in r.labels] for r in records] == [[False, True], [True, False]]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_sdf_line_endings(tmp_path, ending):
    text = sdf("CCO", "C", properties={"gap": "5.5"}).replace("\n", ending)
    records = read(write(tmp_path, "a.sdf", text), task_columns=["gap"])
    assert [(r.id, r.labels) for r in records] == [("mol0", (5.5,)), ("mol1", (5.5,))]
    assert all(Chem.MolFromMolBlock(r.molblock) is not None for r in records)


def test_broken_sdf_records_are_counted_and_the_next_is_found(tmp_path):
    whole = sdf("CCO")
    cut = whole[: whole.index("M  END")] + "$$$$\n"
    doubled = whole.replace("$$$$\n", "") + whole
    text = whole + cut + whole + "$$$$\n" + doubled + whole + "\n \n"
    records = read(write(tmp_path, "a.sdf", text))
    assert [r.error for r in records] == [
        None,
        "the record has no 'M  END': it is cut off",
        None,
        "the record is empty",
        "the record holds 2 structures: a line $$$$ is missing between them",
        None,
    ]


def test_an_sdf_that_ends_early(tmp_path):
    text = sdf("CCO", "CCO")
    without_end = read(write(tmp_path, "a.sdf", text[: -len("$$$$\n")]))
    assert [r.error for r in without_end] == [None, None]
    cut = read(write(tmp_path, "b.sdf", text[:-60]))
    assert [r.stage for r in cut] == [None, "read"]


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"ID": [7, 8, 9], "SMILES": ["C", None, "CC"], "y": [1, None, 0], "flag": [True, False, True]})
    frame.to_parquet(path)
    records = read(path, task_columns=["y", "flag"])
    assert [(r.row, r.line, r.id, r.smiles, r.error) for r in records] == [
        (0, -1, "7", "C", None),
        (1, -1, "8", "", "the SMILES is blank"),
        (2, -1, "9", "CC", None),
    ]
    assert [r.labels[1] for r in records] == [1.0, 0.0, 1.0]
    assert math.isnan(records[1].labels[0])
    assert records[0].where.endswith("a.parquet, row 0")
    cut = write(tmp_path, "b.parquet", path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        MoleculeReader(cut)


def test_text_in_parquet_that_is_not_utf_8_costs_nothing_but_its_meaning(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"id": ["cafe1", None, "tea"], "smiles": ["C", "CC", "CCC"]}).to_parquet(path, compression=None)
    path.write_bytes(path.read_bytes().replace(b"cafe1", b"caf\xe9!").replace(b"CCC", b"C\xffC"))
    records = read(path)
    assert [record.id for record in records] == ["café!", "", "tea"]
    assert [record.smiles for record in records] == ["C", "CC", "CÿC"]


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


def test_several_files_and_globs_number_rows_through(tmp_path):
    write(tmp_path, "b.csv", ESOL)
    write(tmp_path, "a.sdf", sdf("CC", properties={"logS": "0.5"}))
    reader = MoleculeReader([tmp_path / "b.csv", str(tmp_path / "*.sdf")], task_columns=["logS"])
    records = list(reader)
    assert [r.row for r in records] == [0, 1, 2, 3]
    assert [Path(r.source).name for r in records] == ["b.csv"] * 3 + ["a.sdf"]
    assert records[3].labels == (0.5,)
    assert reader.bytes_read == reader.total_bytes == sum(p.stat().st_size for p in tmp_path.iterdir())


def test_a_later_file_without_the_labels_is_an_error(tmp_path):
    write(tmp_path, "a.csv", ESOL)
    write(tmp_path, "b.csv", "smiles\nC\n")
    with pytest.raises(DataError, match="no task column 'logS'") as error:
        read([tmp_path / "a.csv", tmp_path / "b.csv"], task_columns=["logS"])
    assert "b.csv" in error.value.where


@pytest.mark.parametrize(
    ("content", "smiles"),
    [("id,smiles\n1,C\n", ["C"]), ("C\nCC\n", ["C", "CC"]), (sdf("CCO"), [""]), (gzip.compress(b"smiles\nC\n"), ["C"])],
)
def test_standard_input_is_recognised(monkeypatch, content, smiles):
    data = content if isinstance(content, bytes) else content.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    records = read("-")
    assert [r.smiles for r in records] == smiles
    assert records[0].source == "stdin"


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


def test_a_header_alone_is_no_rows(tmp_path):
    assert read(write(tmp_path, "a.csv", "smiles,y\n"), task_columns=["y"]) == []


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(DataError, match="input_format='xlsx' is not allowed"):
        MoleculeReader(write(tmp_path, "a.csv", ESOL), input_format="xlsx")


@pytest.mark.parametrize("name", ["a.csv", "a.smi", "a.sdf"])
def test_files_are_read_as_a_stream(tmp_path, name):
    content = sdf(*["CCO"] * 2_000) if name == "a.sdf" else "smiles\n" + "CCO\n" * 200_000
    reader = MoleculeReader(write(tmp_path, name, content))
    next(iter(reader))
    assert 0 < reader.bytes_read < 0.75 * len(content), "the first record does not wait for the end of the file"


@pytest.mark.parametrize(
    ("name", "rows"),
    [("moleculenet/tox21.csv.gz", 7_831), ("moleculenet/toxcast_data.csv.gz", 8_615), ("qm9/gdb9_10k.sdf.gz", 10_000)],
)
def test_published_files_have_their_rows(name, rows):
    path = SHARED / name
    if not path.exists():
        pytest.skip("the data are not here")
    records = read(path, task_columns=["NR-*,SR-*"] if "tox21" in name else [])
    assert len(records) == rows
    assert not any(r.error for r in records)
