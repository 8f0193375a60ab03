"""Scaffolds and clusters divided by seed: none in two parts, shares as asked for, of splits and of folds."""

import itertools
import json

import numpy as np
import pytest
from commands import SMILES, succeed
from splitting import together, write

from dgl_moleblend.chem.clusters import scaffolds, spheres
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.folds import divide_rows, split_into_folds
from dgl_moleblend.data.grouped import divide_groups
from dgl_moleblend.data.splits import split_by_method
from dgl_moleblend.errors import DataError

GROUPS = {"scaffold_balanced": scaffolds, "cluster": spheres}


def apart(groups, parts):
    found = [{*groups[part].tolist()} for part in parts]
    assert not any(one & other for one, other in itertools.combinations(found, 2))


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.5, 0.5, 0.0), (0.6, 0.2, 0.2)])
def test_groups_stay_whole_and_the_large_ones_train(fractions):
    sizes = [30, 12, *[2] * 19, *[1] * 20]
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    drawn = set()
    for seed in (0, 1, 2, 0):
        parts = divide_groups(groups, fractions, seed)
        assert sorted(np.concatenate(parts).tolist()) == list(range(100))
        apart(groups, parts)
        assert [len(part) for part in parts] == pytest.approx([100 * share for share in fractions], abs=1)
        assert {0, 1} <= {*groups[parts[0]].tolist()} or fractions[1] == 0.5, "larger than half of what is held out"
        drawn.add(tuple(parts[1]))
    assert len(drawn) == 3, "the seed decides, and nothing else"


@pytest.mark.parametrize("method", [*GROUPS])
def test_no_scaffold_or_cluster_is_in_two_parts_or_folds(dataset, method):
    groups = GROUPS[method](SMILES)
    split = split_by_method(dataset, method, (0.6, 0.2, 0.2), seed=3)
    together(split, len(SMILES))
    apart(groups, split.parts.values())
    assert split.facts["split"] == method
    assert split.facts["split_variant"].endswith("seed 3")
    folds = split_into_folds(dataset, 3, method, seed=3)
    apart(groups, [fold.parts["test"] for fold in folds])
    assert sorted(np.concatenate([fold.parts["test"] for fold in folds]).tolist()) == list(range(len(SMILES)))
    inner = divide_rows(dataset, 3, by=method)
    shown = np.arange(len(SMILES)) if method == "cluster" else np.flatnonzero(groups)  # 0: no ring, none in common
    apart(groups, [shown[inner[shown] == k] for k in range(3)])


def test_one_cluster_cannot_be_divided(tmp_path):
    alike = ["C" * k + "O" for k in range(8, 14)]
    dataset = MoleculeDataset.from_file(write(tmp_path / "in.csv", alike), task_columns=["y"])
    with pytest.raises(DataError, match=r"the validation part of the split is empty[\s\S]*--split random"):
        split_by_method(dataset, "cluster")
    with pytest.raises(DataError, match="fewer clusters than the 3 folds"):
        split_into_folds(dataset, 3, "cluster")


def test_a_comparison_by_cluster_says_so(tmp_path):
    table = write(tmp_path / "in.csv", [f"C{'C' * k}{end}" for k in range(6) for end in ("O", "N", "c1ccccc1", "C#N")])
    options = ("--tasks", "y", "--task-type", "regression", "--head", "kernel", "--workers", 0, "--quiet")
    result = succeed("finetune", table, "--split", "cluster", "--fractions", 0.6, 0.2, 0.2, *options, "-o",
                     tmp_path / "m")  # fmt: skip
    assert "cluster split (whole clusters of Morgan fingerprints by sphere exclusion, seed 0)" in result.stderr
    work = json.loads((tmp_path / "m" / "run.json").read_text())["settings"]["work"]
    assert (work["by_scaffold"], work["by"]) == (False, "cluster")
