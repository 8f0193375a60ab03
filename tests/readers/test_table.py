"""Columns of a file: found by name, pattern or content; labels: numbers, missing, or neither."""

import math
import pickle

import numpy as np
import pytest
from molecule_files import ESOL, read, write

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers import table
from dgl_moleblend.readers.molecules import MoleculeReader


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
    cells = ["", " ", "NaN", "n/a", "NULL", "-1", "-1.0", "true", "0", "1e3", ">x", "inf", "1e39", "1_0"]
    path = write(tmp_path, "a.csv", "smiles\ty\n" + "".join(f"C\t{cell}\n" for cell in cells))
    records = read(path, task_columns=["y"], missing_labels=[-1], input_format="tsv")
    missing = [math.isnan(r.labels[0]) and r.error is None for r in records]
    assert missing == [True] * 7 + [False] * 7
    assert [r.labels[0] for r in records[7:10]] == [1.0, 0.0, 1000.0]
    for cell, record in zip(cells[10:], records[10:], strict=True):
        assert record.stage == "labels"
        assert record.error == f"the label {cell!r} in column 'y' is not a finite number"


def test_labels_of_two_words_are_two_classes(tmp_path, caplog):
    path = write(
        tmp_path, "a.csv", "smiles,y,z\nC,Active,high\nCC,Inactive,low\nCCC,,low\nCCCC,INACTIVE,n/a\nCCO,odd,high\n"
    )
    dataset = MoleculeDataset.from_file(path, task_columns=["y", "z"], store=tmp_path / "s")
    assert dataset.classes == {"y": ("Active", "Inactive", "odd"), "z": ("high", "low")}
    np.testing.assert_array_equal(dataset.labels[:, 0], [0, 1, math.nan, 1, 2])
    assert "the labels in column 'y' are words for 3 classes: Active, Inactive, odd" in caplog.text
    path.write_text(path.read_text().replace("odd", ""))
    for again in (
        MoleculeDataset.from_file(path, task_columns=["y", "z"]),
        MoleculeDataset.from_file(path, task_columns=["y", "z"], store=tmp_path / "t"),
        pickle.loads(pickle.dumps(MoleculeDataset.from_store(tmp_path / "t"))),
    ):
        assert again.classes == {"y": ("Inactive", "Active"), "z": ("high", "low")}
        np.testing.assert_array_equal(again.labels.T, [[1, 0, math.nan, 0, math.nan], [0, 1, 1, math.nan, 0]])
    assert "the labels in column 'y' are words: 'Active' is read as class 1, 'Inactive' as class 0" in caplog.text


def test_a_word_that_comes_later_is_a_rejected_row(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "PEEK", 3)
    records = read(write(tmp_path, "a.csv", "smiles,y\nC,yes\nCC,no\nC,1\nCC,perhaps\n"), task_columns=["y"])
    assert [record.stage for record in records] == ["labels", "labels", None, "labels"], "a number among words"
    records = read(write(tmp_path, "b.csv", "smiles,y\nC,yes\nCC,no\nC,no\nCC,perhaps\n"), task_columns=["y"])
    assert [record.labels[0] for record in records[:3]] == [1, 0, 0]
    assert records[3].error == "the label 'perhaps' in column 'y' is neither 'no' nor 'yes'"


def test_a_file_that_is_sorted_by_class_has_them_all(tmp_path, monkeypatch):
    words = "".join(f"C,word{chr(97 + k)}\n" for k in range(21))
    (first, *_) = read(write(tmp_path, "b.csv", f"smiles,y\n{words}"), task_columns=["y"])
    assert first.error == "the label 'worda' in column 'y' is not a finite number", "so many words are text"
    monkeypatch.setattr(table, "PEEK", 2)
    path = write(tmp_path, "a.csv", "smiles,y\nC,low\nCC,low\nC,mid\nCC,top\n")
    assert [record.labels[0] for record in read(path, task_columns=["y"])] == [0, 0, 1, 2]


def test_all_tasks_are_numbers_and_well_known_classes(tmp_path):
    path = write(tmp_path, "a.csv", "smiles,who,ok,n\nC,me,yes,1\nCC,you,no,2\n")
    assert MoleculeReader(path, task_columns=["all"]).task_names == ("ok", "n")


def test_decimal_commas_are_read_where_a_whole_column_says_so(tmp_path, caplog):
    path = write(tmp_path, "a.csv", "smiles;y;z;w;v\nC;7,50;1,234;1,5;1\nCC;;5,678;2.5;2\nCCC;8;;3;3\nCO;n/a;;;4\n")
    records = read(path, task_columns=["y"])
    assert [str(r.labels[0]) for r in records] == ["7.5", "nan", "8.0", "nan"]
    assert "the numbers in column 'y' have a decimal comma (--decimal . reads a point)" in caplog.text
    assert MoleculeReader(path, task_columns=["all"]).task_names == ("y", "v"), "a comma may mark thousands"
    (first, *_) = read(path, task_columns=["z"])
    assert first.error == ("the label '1,234' in column 'z' has a comma: write numbers with a decimal point, or pass"
                           " --decimal , if all have a decimal comma; marks for thousands are not read")  # fmt: skip
    assert [r.stage for r in read(path, task_columns=["w"])] == ["labels", None, None, None], "not the whole column"
    data = MoleculeDataset.from_file(path, task_columns=["y", "v"])
    np.testing.assert_array_equal(data.labels.T, [[7.5, math.nan, 8, math.nan], [1, 2, 3, 4]])


def test_the_decimal_mark_can_be_said(tmp_path):
    path = write(tmp_path, "a.csv", "smiles;y\nC;1,234\nCC;2.5\nCCC;1.000,5\nCCCC;3\n")
    records = read(path, task_columns=["y"], decimal=",")
    assert [(r.labels[0], r.stage) for r in (records[0], records[3])] == [(1.234, None), (3.0, None)]
    for record, cell in zip(records[1:3], ("2.5", "1.000,5"), strict=True):
        assert record.error == (f"the label {cell!r} in column 'y' is not a finite number with a decimal comma"
                                " (--decimal says which mark numbers have)")  # fmt: skip
    (record,) = read(write(tmp_path, "b.csv", "smiles;y\nC;7,50\n"), task_columns=["y"], decimal=".")
    assert record.error.startswith("the label '7,50' in column 'y' has a comma")
    with pytest.raises(DataError, match=r"decimal=';' is not allowed[\s\S]*one of '.', ','"):
        MoleculeReader(path, decimal=";")
