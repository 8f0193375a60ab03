"""Folds: every molecule tested once, none in two parts."""

import numpy as np
import pandas as pd
import pytest
from commands import SMILES
from rdkit.Chem.Scaffolds import MurckoScaffold
from splitting import together

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.folds import split_into_folds
from dgl_moleblend.errors import DataError


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
        assert len(part) == 18
        assert not np.isnan(part).any()  # rows without a label are in no part
        assert 25 < part.mean() < 40


def test_folds_that_cannot_be_made_are_named(dataset):
    with pytest.raises(ValueError, match="folds=2 is not allowed"):
        split_into_folds(dataset, 2)
    with pytest.raises(DataError, match="2 molecules are too few for 3 folds"):
        split_into_folds(dataset.subset([0, 1]), 3)
    with pytest.raises(DataError, match="fewer scaffolds than the 3 folds"):
        split_into_folds(dataset.subset([0, 1, 2, 3]), 3)
    with pytest.raises(DataError, match=r"a class of 'y' \(or its blanks\) has 1 rows, too few for 3 folds"):
        split_into_folds(dataset.subset([0, 2, 4, 6, 1]), 3, "stratified")
