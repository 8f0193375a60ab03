"""Columns known by their names and values, as people's tables have them."""

import pytest

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.columns import (
    find_id,
    find_smiles,
    no_column,
)
from dgl_moleblend.readers.labels import choose_label, class_candidates, label_candidates

NAN = float("nan")


@pytest.mark.parametrize(
    ("header", "smiles", "identifier"),
    [
        (["mol", "Smiles", "Class"], "Smiles", None),
        (["molecule", "canonical smiles"], "canonical smiles", None),
        (["Drug_ID", "Drug", "Y"], "Drug", "Drug_ID"),  # Therapeutics Data Commons
        (["PUBCHEM_CID", "PUBCHEM_EXT_DATASOURCE_SMILES"], "PUBCHEM_EXT_DATASOURCE_SMILES", None),
        (["BindingDB Reactant_set_id", "Ligand SMILES", "Ki (nM)"], "Ligand SMILES", None),
        (["Compound Name", "Mol", "IC50"], "Mol", "Compound Name"),
        (["smiles_of_salt", "SMILES"], "SMILES", None),
        (["name", "logS"], None, "name"),
        ([], None, None),
    ],
)
def test_by_name(header, smiles, identifier):
    assert find_smiles(header) == smiles
    assert find_id(header) == identifier


def test_label_candidates():
    sample = {
        "smiles": [None, None, None],
        "CID": [3.0, 1.0, 2.0],
        "Unnamed: 0": [0.0, 1.0, 2.0],
        "entry": [11.0, 12.0, 13.0],
        "note": [None, NAN, 1.0],
        "blank": [NAN, NAN, NAN],
        "constant": [1.0, 1.0, NAN],
        "fold": [0.0, 1.0, 0.0],
        "pIC50": [5.5, NAN, 6.0],
        "active": [0.0, 1.0, 1.0],
    }
    assert label_candidates(sample) == ["pIC50", "active"]
    assert label_candidates(sample, skip=["active"]) == ["pIC50"]


def test_a_stray_cell_hides_no_column():
    """Its row is rejected, as where the column is named; one in ten may be so."""
    assert label_candidates({"y": [*range(9), 0.5, None, NAN]}) == ["y"]
    assert label_candidates({"y": [*[0.5, 1.5] * 4, 3.0, None, None]}) == []


@pytest.mark.parametrize(
    "count", [[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0], [1.0, NAN, 3.0, 4.0], [1.0, None, *range(3, 30)]]
)
def test_a_count_of_rows_is_no_label(count):
    assert label_candidates({"k": count}) == []
    assert label_candidates({"k": [*count, 1.0]}) == ["k"]


def test_words_again_and_again_are_classes():
    cells = {"tier": ["low", "high", "mid"] * 5, "few": [*"abcdefg", *"aaaaaaaa"], "split": ["train", "test", None] * 5,
             "unit": ["nM"] * 15, "smiles": ["C", "N", "O"] * 5, "much": ["n.d.", "1.5", "2"] * 5}  # fmt: skip
    assert class_candidates(cells, skip=["smiles"]) == ["tier"]
    assert class_candidates({"tier": [*cells["tier"][:-1], ""]}) == []
    assert class_candidates({"k": [f"w{k % 21}" for k in range(200)]}) == []


def test_one_is_taken_several_are_listed_and_none_is_said():
    header = ["smiles", "pIC50", "logS"]
    assert choose_label(["logS"], header, option="--tasks") == "logS"
    with pytest.raises(DataError, match=r"2 columns can be .*: 'pIC50', 'logS'\n  where: a.csv\n.* with --tasks"):
        choose_label(["pIC50", "logS"], header, option="--tasks", where="a.csv")
    with pytest.raises(DataError, match=r"no column can be .*'smiles', 'pIC50', 'logS'\n.*target="):
        choose_label([], header, option="target=")


def test_a_near_miss_is_suggested():
    assert no_column("p_ic50", ["smiles", "pIC50"], option="--tasks").fix == "did you mean --tasks 'pIC50'?"
    assert no_column("logD", ["smiles", "pIC50"], option="target=").fix == "name one that there is with target="
