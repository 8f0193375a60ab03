"""Molecules with labels in every form; their division by method, column or rows; mistakes that get a name."""

import numpy as np
import pandas as pd
import pytest
from commands import SMILES
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.data.labelled import divide, open_labelled
from dgl_moleblend.errors import DataError

VALUES = [float(len(smiles)) for smiles in SMILES]
FRAME = pd.DataFrame({"Compound Name": [f"m{k}" for k in range(len(SMILES))], "SMILES": SMILES, "pIC50": VALUES})
BAD = FRAME.assign(SMILES=["C1CC", *SMILES[1:]])


def opened(molecules, target=None, **how):
    return open_labelled(molecules, target, mb.FeaturizerConfig(), **how)


@pytest.mark.parametrize(
    ("molecules", "target", "name"),
    [
        (FRAME, None, "pIC50"),
        (FRAME, "pIC50", "pIC50"),
        (FRAME, ["pIC50"], "pIC50"),
        (FRAME.set_index(FRAME.index + 7), None, "pIC50"),
        (FRAME, VALUES, "y"),
        (list(SMILES), VALUES, "y"),
        ((list(SMILES), VALUES), None, "y"),
        ((np.array(SMILES), np.array(VALUES)), None, "y"),
        (FRAME["SMILES"], FRAME["pIC50"], "pIC50"),
        ([Chem.MolFromSmiles(smiles) for smiles in SMILES], np.array(VALUES)[:, None], "y0"),
        (FRAME["SMILES"], FRAME[["pIC50"]], "pIC50"),
        (list(SMILES), [str(value) for value in VALUES], "y"),
    ],
)
def test_every_form_gives_the_same(molecules, target, name):
    dataset = opened(molecules, target).dataset
    assert dataset.task_names == (name,)
    assert dataset.labels.ravel().tolist() == VALUES
    assert dataset.rows.tolist() == list(range(len(SMILES)))


def test_files_and_stores(tmp_path):
    path, store = tmp_path / "assay.csv", tmp_path / "assay.store"
    FRAME.to_csv(path, index=False)
    dataset = mb.MoleculeDataset.from_file(path, task_columns=["pIC50"], store=store)
    told = []
    for molecules in (path, str(path), store, dataset):
        found = opened(molecules, tell=told.append).dataset
        assert (found.task_names, found.labels.ravel().tolist()) == (("pIC50",), VALUES)
    assert told == ["target: 'pIC50', the one column that can be it"] * 2
    assert opened(path).name == "assay"


def test_a_stray_cell_costs_its_row_and_words_are_taken_where_there_are_no_numbers(tmp_path):
    stray = pd.DataFrame({"SMILES": SMILES, "k": range(1, 31), "y": ["n.d.", *VALUES[1:-1], "inf"]})
    grades = stray.assign(y=[("low", "mid", "high")[k % 3] for k in range(30)], unit="nM")
    path = tmp_path / "assay.csv"
    for frame, rejected, classes in ((stray, [0, 29], None), (grades, [], ("high", "low", "mid"))):
        frame.to_csv(path, index=False)
        for molecules in (frame, path):
            told = []
            found = opened(molecules, tell=told.append).dataset
            assert told == ["target: 'y', the one column that can be it"]
            assert found.rejects["row"].tolist() == rejected
            assert found.classes.get("y") == classes
    commas = [f"{value:.1f}".replace(".", ",") for value in VALUES]
    stray.assign(y=["n.d.", *commas[1:]]).to_csv(path, sep=";", index=False)
    assert opened(path).dataset.labels.ravel().tolist() == VALUES[1:]
    two = grades.assign(series=["a", "b"] * 15)
    two.to_csv(path, index=False)
    for molecules in (two, path):
        with pytest.raises(DataError, match="2 columns can be what is to be predicted: 'y', 'series'"):
            opened(molecules)


def test_rows_that_are_no_molecules_or_have_no_number_are_rejected():
    found = opened(BAD.assign(pIC50=["?", "n/a", *VALUES[2:]], extra=1.5), "pIC50", columns=["extra"])
    assert found.dataset.ids[0] == "m1"
    assert np.isnan(found.dataset.labels[0, 0])
    assert found.dataset.rejects[["row", "id"]].to_numpy().tolist() == [[0, "m0"]]
    assert found.dataset.table.task_names == ("pIC50", "extra")
    lost = opened((["CCO", "C"], ["?", 1])).dataset.rejects
    assert lost["reason"].tolist() == ["the label '?' in column 'y' is not a finite number"]


def test_divide():
    words = ["train", "Valid", "test"] * 10
    data = opened(BAD.assign(fold=words))
    rows = np.arange(len(SMILES))
    given = {"train": rows[::3], "validation": rows[1::3], "test": rows[2::3]}
    for split in ("fold", given, (*given.values(),), {k: np.isin(rows, v) for k, v in given.items()}):
        parts = divide(data, split).parts
        for name, expected in given.items():
            assert data.dataset.rows[parts[name]].tolist() == [row for row in expected if row != 0], name  # 0 is bad
    parts = divide(data, "random", fractions=(0.5, 0.25, 0.25), seed=3).parts
    assert [len(part) for part in parts.values()] == [14, 7, 8]


def test_divide_by_the_column_of_a_file(tmp_path):
    path = tmp_path / "assay.csv"
    BAD.assign(part=["train", "val", "test"] * 10).to_csv(path, index=False)
    data = opened(path)
    assert data.dataset.rows[divide(data, "part").parts["validation"]].tolist() == list(range(1, 30, 3))


DATASET = mb.MoleculeDataset.from_smiles(SMILES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((FRAME, "pic50"), r"no column 'pic50'.*\n.*did you mean target='pIC50'"),
        ((FRAME.assign(logS=1.5 * FRAME["pIC50"]),), r"2 columns can be .*'pIC50', 'logS'\n.*target="),
        ((FRAME[["SMILES", "Compound Name"]],), "no column can be"),
        ((list(SMILES),), r"no measured values: target=None\n.*finetune\(smiles, values\)"),
        ((list(SMILES), "pIC50"), "no measured values: target='pIC50'"),
        ((list(SMILES), VALUES[:-1]), "30 molecules and 29 values of 'y'"),
        ((FRAME["SMILES"], FRAME["pIC50"][::-1]), "different indices"),
        ((DATASET, DATASET.split("random")), r"target holds a split.*\n.*split=\.\.\."),
        ((DATASET, {"train": [0]}), "target holds a split"),
        ((DATASET, "y"), "no column 'y'"),
        (("mini", FRAME), r"'mini' is a model, .*\n.*encoder=\.\.\."),
        ((pd.concat([FRAME, FRAME[["pIC50"]]], axis=1), "pIC50"), "2 columns are named 'pIC50'"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(DataError, match=message):
        opened(*arguments)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("scafold", r"split='scafold' is no way.*\n.*scaffold, random.*column: 'Compound Name'"),
        ("Compound Name", "'m0' in column 'Compound Name' names no part"),
        ({"train": [0], "valid": [1]}, r"a part 'valid'\n.*train, validation, test"),
        ({"train": [0], "validation": [99]}, "the validation part of the split is empty"),
        (([0], [-1], [2]), "names row -1"),
        (0.8, "split is a float"),
    ],
)
def test_splits_that_are_none(split, message):
    with pytest.raises(DataError, match=message):
        divide(opened(FRAME), split)


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_no_molecules_are_said_to_be_none(nothing):
    with pytest.raises(DataError, match="there are no molecules"):
        mb.finetune(nothing)
