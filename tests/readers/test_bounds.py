"""Labels that are bounds: in their own cells, or by a column of relations beside them."""

import pytest
from molecule_files import read, write

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.memory import MoleculeList
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.pairing import PairedReader

CHEMBL = ('"Smiles";"Standard Relation";"Standard Value";"pChEMBL Value"\nCCO;"\'=\'";5;8.3\nCCN;"\'>\'";10000;\n'
          'CCC;"\'<=\'";3;\nCCS;;7;8.2\nCCF;"\'~\'";9;8.0\n')  # fmt: skip


def test_signs_before_a_number(tmp_path):
    cells = [">8.0", "<=4", "~7", "≥ 6", ">>1e3", "5", "", "=3"]
    path = write(tmp_path, "a.tsv", "smiles\ty\tz\n" + "".join(f"C\t{cell}\t1\n" for cell in cells))
    records = read(path, task_columns=["y", "z"])
    assert [(r.labels[0], r.bounds) for r in records if r.labels[0] == r.labels[0]] == [
        (8, (1, 0)), (4, (-1, 0)), (7, ()), (6, (1, 0)), (1000, (1, 0)), (5, ()), (3, ()),
    ]  # fmt: skip
    assert all(record.error is None for record in records)
    assert MoleculeReader(path, task_columns=["all"]).task_names == ("y", "z"), "a column of bounds is one of numbers"
    (record,) = read(write(tmp_path, "b.csv", "smiles;y\nC;>7,5\n"), task_columns=["y"])
    assert (record.labels, record.bounds) == ((7.5,), (1,)), "with a decimal comma"


def test_chembls_column_of_relations_is_found_and_said(tmp_path, caplog):
    path = write(tmp_path, "a.csv", CHEMBL)
    records = read(path, task_columns=["Standard Value"])
    assert [(r.labels[0], *r.bounds) for r in records] == [(5,), (10000, 1), (3, -1), (7,), (9,)]
    assert "column 'Standard Relation' says which labels of 'Standard Value' are bounds" in caplog.text
    assert not any(record.bounds for record in read(path, task_columns=["Standard Value"], relation_column=""))
    reader = MoleculeReader(path, task_columns=["Standard Value"])
    assert reader.arguments()["relations"] == {"Standard Value": "Standard Relation"}
    assert "relations" not in MoleculeReader(path).arguments(), "stores of before go on"


def test_relations_of_other_labels_are_asked_for(tmp_path, caplog):
    path = write(tmp_path, "a.csv", CHEMBL)
    assert not any(record.bounds for record in read(path, task_columns=["pChEMBL Value"]))
    said = "column 'Standard Relation' may say which labels are bounds; it is not read (--relation-column reads it)"
    assert said in caplog.text
    records = read(path, task_columns=["pChEMBL Value"], relation_column="standard relation")
    assert [record.bounds for record in records] == [()] * 5, "where there is no value, there is no bound"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("C,NM,5", "the relation 'NM' of column 'y_value' is none of <, <=, =, ~, >=, >"),
        ("C,>,<5", "the label '<5' in column 'y_value' and its relation '>' say different things"),
        ("C,>,x", "the label 'x' in column 'y_value' is not a finite number"),
    ],
)
def test_what_is_no_relation_costs_its_row(tmp_path, row, message):
    (record,) = read(write(tmp_path, "a.csv", f"smiles,y_relation,y_value\n{row}\n"), task_columns=["y_value"])
    assert (record.stage, record.error) == ("labels", message)


@pytest.mark.parametrize(
    ("tasks", "column", "message"),
    [
        (["Standard Value"], "std. relation", "did you mean --relation-column 'Standard Relation'"),
        (["Standard Value", "pChEMBL Value"], "Standard Relation", "labels of one column are bounds, and there are 2"),
        (["Standard Value"], "Standard Value", "this is a column of labels itself"),
    ],
)
def test_a_column_of_relations_is_of_one_column_of_labels(tmp_path, tasks, column, message):
    with pytest.raises(DataError, match=message):
        MoleculeReader(write(tmp_path, "a.csv", CHEMBL), task_columns=tasks, relation_column=column)


def test_bounds_of_a_table_beside_structures_and_of_a_list(tmp_path):
    from rdkit import Chem

    sdf = write(tmp_path, "a.sdf", Chem.MolToMolBlock(Chem.MolFromSmiles("CO")) + "$$$$\n")
    table = write(tmp_path, "a.csv", "smiles,IC50,IC50_qualifier\nCO,9.7,<\n")
    (record,) = PairedReader(sdf, table, task_columns=["IC50"])
    assert (record.labels, record.bounds) == ((9.7,), (-1,))
    first, second, third = MoleculeList(["C", "CC", "CCC"], {"y": [">8", 5, None]}, relations={"y": [None, "<", ">"]})
    assert (first.labels, first.bounds) == ((8,), (1,))
    assert (second.bounds, third.bounds, third.error) == ((-1,), (), None)


def test_a_feature_that_is_a_bound_is_missing_and_said(caplog):
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.predict.features import COLUMNS, Features

    dataset = MoleculeDataset.from_reader(MoleculeList(["C", "CC"], {"dose": [">8", 5]}))
    values = Features(dataset, progress=False).table((COLUMNS,), columns=("dose",))[COLUMNS]
    assert values[1, 0] == 5
    assert values[0, 0] != values[0, 0]
    assert "1 values of column 'dose' are bounds (>, <); as features they are missing" in caplog.text
