"""Readers: every row is a record, with its number and line, over all files."""

import gzip
import io
import math
import sys
from pathlib import Path

import pytest
from molecule_files import ESOL, read, sdf, write

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.molecules import MoleculeReader

SHARED = Path(__file__).parents[2] / "../shared/data"


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


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(DataError, match="input_format='docx' is not allowed"):
        MoleculeReader(write(tmp_path, "a.csv", ESOL), input_format="docx")


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


def test_all_looks_at_the_whole_of_a_column_and_names_what_it_leaves_out(tmp_path):
    rows = [f"C,{k},,,text" for k in range(1_000)] + ["C,1,2.5,,text", "C,2,high,,text"]
    path = tmp_path / "late.csv"
    path.write_text("smiles,early,late,never,word\n" + "\n".join(rows) + "\n")
    reader = MoleculeReader(path, task_columns=["all"])
    assert reader.task_names == ("early", "late")
    assert reader.left_out == {"never": "it is blank", "word": "it holds no numbers alone"}
    records = list(reader)
    assert records[1_000].labels == (1, 2.5)
    assert "'high'" in records[1_001].error
