"""SDF files: a row a record; a broken record costs itself."""

import math

import pytest
from molecule_files import read, sdf, write
from rdkit import Chem

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.molecules import MoleculeReader


def test_sdf_titles_properties_and_lines(tmp_path):
    text = sdf("CCO", "C", properties={"gap": "5.5", "key": "K"})
    records = read(write(tmp_path, "a.sdf", text), task_columns=["gap"])
    second = text.split("\n").index("mol1") + 1
    assert [(r.id, r.line, r.labels, r.error) for r in records] == [
        ("mol0", 1, (5.5,), None),
        ("mol1", second, (5.5,), None),
    ]
    assert [Chem.MolFromMolBlock(r.structure).GetNumAtoms() for r in records] == [3, 1]
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
    assert all(Chem.MolFromMolBlock(r.structure) is not None for r in records)


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
