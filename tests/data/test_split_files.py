"""Parts that a list beside the data gives: by row or identifier, of another run; what it does not say is named."""

import numpy as np
import pandas as pd
import pytest
from commands import run, succeed

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.labelled import divide, open_labelled
from dgl_moleblend.data.split_files import split_by_list
from dgl_moleblend.errors import DataError

SMILES = ["C" * (k + 1) + "O" for k in range(6)]
WORDS = ["train", "Training", "val", "test", "train", "train"]


@pytest.fixture
def dataset(tmp_path):
    """Rows 0 to 7; row 2 is no molecule, row 5 has no label, rows 6 and 7 share an identifier."""
    smiles = [*SMILES[:2], "C1CC", *SMILES[2:], "N"]
    frame = pd.DataFrame({"name": [*"abcdefgg"], "smiles": smiles, "y": [0, 1, 2, 3, 4, np.nan, 6, 7]})
    frame.to_csv(tmp_path / "in.csv", index=False)
    return MoleculeDataset.from_file(tmp_path / "in.csv", task_columns=["y"])


def listed(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def rows_of(dataset, split):
    return {name: dataset.rows[part].tolist() for name, part in split.parts.items()}


def test_rows_go_where_the_list_says(dataset, tmp_path):
    words = ["train", "Training", "train", "val", "test", "", "TEST", "none"]
    path = listed(tmp_path / "parts.csv", row=range(8), part=words)
    split = split_by_list(dataset, path)
    assert rows_of(dataset, split) == {"train": [0, 1], "validation": [3], "test": [4, 6]}
    assert split.facts == {"split": "list", "split_variant": f"{path}, by row", "split_file": str(path),
                           "split_left_out": 1, "split_rejected": 1, "unlabelled": 1}  # fmt: skip


def test_all_rows_of_an_identifier_are_in_one_part(dataset, tmp_path):
    path = listed(tmp_path / "parts.tsv", ID=[*"gdeba"], whatever=["test", "valid", "train", "train", "train"])
    pd.read_csv(path).iloc[:, :2].to_csv(path, index=False, sep="\t")
    assert rows_of(dataset, split_by_list(dataset, path)) == {"train": [0, 1, 4], "validation": [3], "test": [6, 7]}


def test_what_is_not_named_trains_where_no_row_is_said_to(dataset, tmp_path):
    path = listed(tmp_path / "predictions.csv", row=[3, 6], smiles=[SMILES[2], SMILES[5]], split=["validation", "test"])
    split = split_by_list(dataset, path)
    assert rows_of(dataset, split) == {"train": [0, 1, 4, 7], "validation": [3], "test": [6]}
    assert "; 4 rows that it does not name train" in split.facts["split_variant"]
    listed(path, row=[6], split=["test"])
    split = split_by_list(dataset, path)
    assert {name: len(part) for name, part in split.parts.items()} == {"train": 4, "validation": 1, "test": 1}
    assert "1 validation rows drawn from train" in split.facts["split_variant"]
    listed(path, row=[3, 4, 6, 7], split=["none"] * 4)
    parts = rows_of(dataset, split_by_list(dataset, path))
    assert sorted(parts["train"] + parts["validation"]) == [0, 1], "row 5 has no label, and validates nothing"


@pytest.mark.parametrize(
    ("columns", "message"),
    [({"row": [0, 1, 3], "split": ["train", "holdout", "test"]}, r"'holdout' names no part[\s\S]*parts.csv, line 3"),
     ({"row": [0, 1, 8], "split": ["train", "val", "test"]}, r"no row '8' among the molecules[\s\S]*line 4"),
     ({"id": ["a", "x"], "split": ["train", "val"]}, r"no id 'x' among the molecules[\s\S]*line 3"),
     ({"row": [0, 1, 0], "split": ["train", "val", "test"]}, r"row '0' is in two parts[\s\S]*line 4"),
     ({"row": [0, 1], "split": ["train", "val"]}, r"4 molecules are not in the list: row 3, 4, 6, .."),
     ({"row": [0], "smiles": ["CN"], "split": ["train"]}, r"row 0 is 'CN' in the list and 'CO' here[\s\S]*line 2"),
     ({"row": [0], "fold": [1]}, r"no column of parts \(it is of folds: each fold's folder[\s\S]*'row', 'fold'"),
     ({"molecule": ["CO"], "split": ["train"]}, r"no column of rows or identifiers; its columns are: 'molecule', 'sp")],
)  # fmt: skip
def test_a_list_that_does_not_divide_is_named(dataset, tmp_path, columns, message):
    path = listed(tmp_path / "parts.csv", **columns)
    with pytest.raises(DataError, match=message):
        split_by_list(dataset, path)


def test_molecules_without_identifiers_are_not_found_by_them(tmp_path):
    path = listed(tmp_path / "parts.csv", id=["a"], split=["train"])
    with pytest.raises(DataError, match=r"2 molecules have no identifier[\s\S]*--id-column"):
        split_by_list(MoleculeDataset.from_smiles(["CO", "CN"]), path)
    with pytest.raises(DataError, match=r"cannot be read: .*No such file[\s\S]*other.csv"):
        split_by_list(MoleculeDataset.from_smiles(["CO"]), tmp_path / "other.csv")


def test_another_run_divides_alike(tmp_path):
    path = tmp_path / "in.csv"
    frame = pd.DataFrame({"smiles": ["C" * (k % 9 + 1) + "ONS"[k // 9] for k in range(27)], "y": range(27)})
    frame["y"] = frame["y"] ** 1.5
    frame.to_csv(path, index=False)
    first = ("finetune", path, "--tasks", "y", "--head", "kernel", "--workers", 0, "--quiet")
    succeed(*first, "--split", "random", "--fractions", 0.7, 0.15, 0.15, "-o", tmp_path / "a")
    for k, name in enumerate(("split.csv", "predictions.csv")):
        result = succeed(*first, "--split-file", tmp_path / "a" / name, "-o", tmp_path / f"b{k}")
        assert f"list split ({tmp_path / 'a' / name}, by row" in result.stderr
        assert (tmp_path / f"b{k}" / "split.csv").read_bytes() == (tmp_path / "a" / "split.csv").read_bytes()
        split = divide(open_labelled(frame, "y", FeaturizerConfig()), {"file": tmp_path / "a" / name})
        written = pd.read_csv(tmp_path / "a" / "split.csv").groupby("split")["row"]
        assert {part: rows.tolist() for part, rows in split.parts.items()} == {k: [*v] for k, v in written}
    result = run(*first, "--split-file", tmp_path / "a" / "split.csv", "--split", "random", "-o", tmp_path / "c")
    assert (result.exit_code, "leave out --split: --split-file says" in result.output) == (2, True), result.output
    result = run(*first, "--split-file", tmp_path / "a" / "split.csv", "--overwrite", "-o", tmp_path / "a")
    assert result.exit_code != 0
    assert "which the command reads" in result.output or "is what the command reads" in result.output
