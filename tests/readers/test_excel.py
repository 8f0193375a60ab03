"""Excel workbooks: cells as they stand there, of the first sheet or a named one; what cannot be read is said."""

import builtins

import openpyxl
import pytest
from molecule_files import read, write

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.molecules import MoleculeReader


@pytest.fixture
def book(tmp_path):
    made = openpyxl.Workbook()
    sheet = made.active
    sheet.title = "assay"
    for row in ([], ["code", "SMILES", "pIC50"], [1001, "CCO", 7.5], [], [None, "C", None], ["x", "CC", "n/a"]):
        sheet.append(row)
    made.create_sheet("other").append(["SMILES"])
    made["other"].append(["CCN"])
    made.save(tmp_path / "a.xlsx")
    return tmp_path / "a.xlsx"


def test_the_first_sheet_is_read_and_the_others_are_said(book, caplog):
    records = read(book, id_column="code", task_columns=["pIC50"])
    assert [(r.line, r.id, r.smiles, str(r.labels[0])) for r in records] == [
        (3, "1001", "CCO", "7.5"),
        (5, "", "C", "nan"),
        (6, "x", "CC", "nan"),
    ]
    assert "the first sheet 'assay' is read, and not 'other' (--sheet names another)" in caplog.text
    assert MoleculeReader(book, task_columns=["all"]).task_names == ("pIC50",)
    records = [*MoleculeReader(book, keep_cells=True)]
    assert [record.cells["pIC50"] for record in records if record.cells] == [7.5, None, "n/a"]


def test_a_sheet_by_its_name(book, tmp_path):
    assert [r.smiles for r in read(book, sheet="other")] == ["CCN"]
    with pytest.raises(DataError, match=r"no sheet 'x'; the sheets are: 'assay', 'other'[\s\S]*--sheet"):
        MoleculeReader(book, sheet="x")
    with pytest.raises(DataError, match=r"no sheet 'x': this is no Excel workbook"):
        MoleculeReader(write(tmp_path, "a.csv", "smiles\nC\n"), sheet="x")


def test_a_formula_without_a_value_is_an_error_of_its_row(tmp_path):
    made = openpyxl.Workbook()
    for row in (["smiles", "y"], ["C", 1], ["CC", "=B2+1"]):
        made.active.append(row)
    made.save(tmp_path / "a.xlsx")
    records = read(tmp_path / "a.xlsx", task_columns=["y"])
    assert [r.stage for r in records] == [None, "read"]
    assert records[1].error == "the formula '=B2+1' has no value: open and save the file in Excel or LibreOffice"


def test_damaged_and_empty_workbooks(tmp_path, book):
    with pytest.raises(DataError, match=r"this is no whole Excel workbook|damaged or cut off"):
        MoleculeReader(write(tmp_path, "b.xlsx", book.read_bytes()[:-300]))
    openpyxl.Workbook().save(tmp_path / "c.xlsx")
    with pytest.raises(DataError, match="the sheet 'Sheet' is empty"):
        MoleculeReader(tmp_path / "c.xlsx")


def test_that_openpyxl_is_missing_is_said(book, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "openpyxl":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r"needs the package openpyxl[\s\S]*pip install 'dgl-moleblend\[excel\]'"):
        MoleculeReader(book)
