"""Duplicates: counted, said, and kept together on request."""

import numpy as np
from commands import SMILES
from splitting import together, write

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.duplicates import describe_duplicates, find_duplicates
from dgl_moleblend.data.folds import split_into_folds
from dgl_moleblend.data.splits import split_by_method


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
