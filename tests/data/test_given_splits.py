"""Splits that a column or a file gives: as they say, and what they leave open is drawn."""

import pytest
from commands import SMILES
from splitting import together, write

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.given_splits import split_by_column, split_by_file
from dgl_moleblend.errors import DataError


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
        (["train", "val", "test"], "fold", r"no column 'fold'; the columns are: .*'part'[\s\S]*--split-column"),
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


def test_no_test_part_need_be_drawn_beside_a_validation_file(tmp_path):
    train, validation = (write(tmp_path / f"{k}.csv", SMILES[k::2]) for k in (0, 1))
    both = MoleculeDataset.from_file([train, validation], task_columns=["y"])
    for fractions in ((0.9, 0.1, 0.0), (1.0, 0.0, 0.0)):
        how = {"method": "random", "fractions": fractions}
        split = split_by_file(both, {"validation": [str(validation)]}, how)
        assert [len(split.parts[name]) for name in ("train", "validation", "test")] == [15, 15, 0]
