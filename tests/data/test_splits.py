"""Splits by method, column, file and folds: every molecule once, none in two parts, and duplicates counted."""

import numpy as np
import pandas as pd
import pytest
from commands import SMILES
from rdkit.Chem.Scaffolds import MurckoScaffold

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.duplicates import describe_duplicates, find_duplicates
from dgl_moleblend.data.folds import split_into_folds
from dgl_moleblend.data.given_splits import split_by_column, split_by_file
from dgl_moleblend.data.splits import split_by_method
from dgl_moleblend.errors import DataError


def write(path, smiles, **columns):
    pd.DataFrame({"smiles": smiles, "y": np.arange(len(smiles)) % 2, **columns}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return MoleculeDataset.from_file(write(tmp_path_factory.mktemp("in") / "in.csv", SMILES), task_columns=["y"])


def together(split, size):
    assert sorted(np.concatenate(list(split.parts.values())).tolist()) == list(range(size))


@pytest.mark.parametrize("scaffold", ["smiles", "decompose"])
def test_the_variant_of_a_scaffold_split_is_named(dataset, scaffold):
    split = split_by_method(dataset, "scaffold", (0.6, 0.2, 0.2), scaffold=scaffold)
    together(split, len(SMILES))
    assert split.facts["split_variant"] == f"dgllife ScaffoldSplitter, scaffold_func={scaffold!r}"


def test_an_empty_part_says_what_to_do(dataset):
    with pytest.raises(DataError, match=r"validation part of the split is empty \(train 1, .*[\s\S]*--split random"):
        split_by_method(dataset.subset([0, 1]), "consecutive", (0.5, 0.1, 0.4))


ACYCLIC = ["C" * (k + 1) for k in range(90)]
RINGS = [f"C1CC1{'C' * k}N{'C' * k}c1ccccc1" for k in range(10)]


def test_a_scaffold_split_of_mostly_acyclic_molecules_is_refused_in_words():
    molecules = MoleculeDataset.from_smiles(ACYCLIC + RINGS)
    words = (
        r"train \d+% \(\d+ molecules\) where 80% were asked for, validation 90% \(90 molecules\) where 10%[\s\S]*"
        r"test 0% \(0 molecules\)[\s\S]*90 of 100 molecules are acyclic, which counts as one scaffold[\s\S]*"
        r"fix: .*--split random"
    )
    with pytest.raises(DataError, match=words):
        split_by_method(molecules, "scaffold", (0.8, 0.1, 0.1))
    assert "split_warning" not in split_by_method(molecules, "random").facts


def test_a_scaffold_that_takes_more_than_its_share_is_warned_of():
    molecules = MoleculeDataset.from_smiles(ACYCLIC[:60] + [f"C1{'C' * k}1" for k in range(2, 42)])
    split = split_by_method(molecules, "scaffold", (0.4, 0.3, 0.3))
    assert "60 of 100 molecules are acyclic" in split.facts["split_warning"]
    assert "60%" in split.facts["split_warning"]


def test_no_test_part_need_be_drawn_beside_a_validation_file(tmp_path):
    train, validation = (write(tmp_path / f"{k}.csv", SMILES[k::2]) for k in (0, 1))
    both = MoleculeDataset.from_file([train, validation], task_columns=["y"])
    for fractions in ((0.9, 0.1, 0.0), (1.0, 0.0, 0.0)):
        how = {"method": "random", "fractions": fractions}
        split = split_by_file(both, {"validation": [str(validation)]}, how)
        assert [len(split.parts[name]) for name in ("train", "validation", "test")] == [15, 15, 0]


@pytest.mark.parametrize("method", ["scaffold", "random", "stratified"])
def test_folds_test_every_molecule_once_and_validate_on_others(dataset, method):
    splits = split_into_folds(dataset, 4, method, seed=3)
    for split in splits:
        together(split, len(SMILES))
    tested = np.concatenate([split.parts["test"] for split in splits])
    assert sorted(tested.tolist()) == list(range(len(SMILES)))
    if method == "stratified":
        shares = [dataset.labels[split.parts["test"], 0].mean() for split in splits]
        assert max(shares) - min(shares) < 0.2
    if method == "scaffold":
        found = [{MurckoScaffold.MurckoScaffoldSmiles(SMILES[k]) for k in split.parts["test"]} for split in splits]
        assert sum(map(len, found)) == len(set.union(*found))


def test_stratified_folds_of_numbers_and_blanks(tmp_path):
    rows = 60
    labels = np.arange(rows, dtype=float)
    labels[:6] = np.nan
    path = tmp_path / "in.csv"
    pd.DataFrame({"smiles": ["C" * (k + 1) for k in range(rows)], "y": labels}).to_csv(path, index=False)
    data = MoleculeDataset.from_file(path, task_columns=["y"])
    for split in split_into_folds(data, 3, "stratified"):
        part = data.labels[split.parts["test"], 0]
        assert np.isnan(part).sum() == 2
        assert 25 < np.nanmean(part) < 40


def test_folds_that_cannot_be_made_are_named(dataset):
    with pytest.raises(ValueError, match="folds=2 is not allowed"):
        split_into_folds(dataset, 2)
    with pytest.raises(DataError, match="2 molecules are too few for 3 folds"):
        split_into_folds(dataset.subset([0, 1]), 3)
    with pytest.raises(DataError, match="fewer scaffolds than the 3 folds"):
        split_into_folds(dataset.subset([0, 1, 2, 3]), 3)
    with pytest.raises(DataError, match=r"a class of 'y' \(or its blanks\) has 1 rows, too few for 3 folds"):
        split_into_folds(dataset.subset([0, 2, 4, 6, 1]), 3, "stratified")


def test_a_column_divides(tmp_path):
    words = ["train", "Training", "valid", "val", "Validation", "test"] * 5
    path = write(tmp_path / "in.csv", ["C1CC", *SMILES[1:]], part=words)
    data = MoleculeDataset.from_file(path, task_columns=["y"])
    split = split_by_column(data, [path], "part")
    assert {name: len(part) for name, part in split.parts.items()} == {"train": 9, "validation": 15, "test": 5}
    assert all(words[row] == "test" for row in data.rows[split.parts["test"]])


@pytest.mark.parametrize(
    ("words", "column", "message"),
    [
        (["train", "holdout", "val"], "part", r"'holdout' in column 'part' names no part[\s\S]*line 3"),
        (["train", "", "val"], "part", "'' in column 'part' names no part"),
        (
            ["train", "test", "test"],
            "part",
            r"validation part of the split is empty \(train 1, validation 0, test 2\)",
        ),
        (["train", "val", "test"], "fold", r"no split column 'fold'; the columns are: .*'part'[\s\S]*--split-column"),
    ],
)
def test_a_column_that_does_not_divide_is_named(tmp_path, words, column, message):
    path = write(tmp_path / "in.csv", SMILES[:3], part=words)
    with pytest.raises(DataError, match=message):
        split_by_column(MoleculeDataset.from_file(path), [path], column)


def test_a_column_of_train_and_test_takes_validation_rows_from_train(tmp_path):
    words = ["train"] * 20 + ["test"] * 5
    path = write(tmp_path / "in.csv", SMILES[:25], part=words)
    split = split_by_column(MoleculeDataset.from_file(path), [path], "part")
    assert {name: len(part) for name, part in split.parts.items()} == {"train": 18, "validation": 2, "test": 5}
    assert split.parts["test"].tolist() == list(range(20, 25))
    assert sorted([*split.parts["train"], *split.parts["validation"]]) == list(range(20))
    assert "2 validation rows drawn from train" in split.facts["split_variant"]


@pytest.mark.parametrize("given", [("validation", "test"), ("validation",), ("test",)])
def test_files_divide_and_the_other_part_is_drawn(tmp_path, given):
    train = str(write(tmp_path / "train.csv", SMILES[:20]))
    files = {
        part: [str(write(tmp_path / f"{part}.csv", ["C1CC", *SMILES[20 + 5 * k : 25 + 5 * k]]))]
        for k, part in enumerate(given)
    }
    data = MoleculeDataset.from_file([train, *(name for names in files.values() for name in names)], task_columns=["y"])
    rest = {"method": "random", "fractions": (0.8, 0.1, 0.1), "seed": 0}
    split = split_by_file(data, files, rest)
    together(split, 20 + 5 * len(given))
    for part in given:
        assert {data[k].source for k in split.parts[part]} == set(files[part])
        assert split.facts["split_files"][part] == {"names": files[part], "kept": 5, "rejected": 1}
    drawn = {"validation", "test"} - set(given)
    for part in drawn:
        assert 2 <= len(split.parts[part]) <= 3
        assert f"{part} drawn by dgllife RandomSplitter" in split.facts["split_variant"]
    assert {data[k].source for k in split.parts["train"]} == {train}


def test_duplicates_are_counted_and_kept_together(tmp_path):
    smiles = [*SMILES[:10], "OCC", "C(C)C", "OCC"]  # CCO (row 0) twice more, CCC (row 1) once more
    data = MoleculeDataset.from_file(write(tmp_path / "in.csv", smiles), task_columns=["y"])
    parts = {"train": np.arange(10), "validation": np.array([10, 11]), "test": np.array([12])}
    found = find_duplicates(data, parts)
    assert found == {"molecules": 2, "conflicting": 0, "across_parts": 2, "held_out_rows_seen_in_training": 3}
    assert "2 molecules stand in several rows" in describe_duplicates(found)
    for seed in range(4):
        split = split_by_method(data, "random", (0.6, 0.2, 0.2), seed, keep_duplicates_together=True)
        together(split, 13)
        assert find_duplicates(data, split.parts)["across_parts"] == 0
        for fold in split_into_folds(data, 3, "random", seed, keep_duplicates_together=True):
            together(fold, 13)
            assert find_duplicates(data, fold.parts)["across_parts"] == 0


def test_conflicting_labels_are_counted(tmp_path):
    data = MoleculeDataset.from_file(write(tmp_path / "in.csv", ["CCO", "OCC", "CC"]), task_columns=["y"])
    assert find_duplicates(data, {"train": np.arange(3)})["conflicting"] == 1
    assert describe_duplicates(find_duplicates(data, {"train": np.array([0, 2])})) == ""
