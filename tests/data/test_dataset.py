"""MoleculeDataset: the same molecules from a file or a store, and splits that lose none."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem.Scaffolds import MurckoScaffold

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import SPLITS, MoleculeDataset
from dgl_moleblend.errors import DataError

CORES = ["c1ccccc1{}", "C1CCCCC1{}", "c1ccncc1{}", "C1CCNC1{}", "{}", "c1ccc2ccccc2c1{}"]
TAILS = ["C", "CC", "CO", "CCO", "CCN", "CC(=O)O", "C#N", "C(F)(F)F"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = [core.format(tail) for core in CORES for tail in TAILS]
    lines = [f"m{k},{smiles},{k % 2},{k if k % 3 else ''}" for k, smiles in enumerate(rows)]
    lines[5] = "m5,C1CC,1,5"
    path = tmp_path / "in.csv"
    path.write_text("name,smiles,active,y\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def dataset(path: Path) -> MoleculeDataset:
    return MoleculeDataset.from_file(path, task_columns=["active", "y"])


def test_labels_and_rows_belong_to_their_molecules(dataset):
    assert len(dataset) == 47
    assert dataset.rejects["row"].tolist() == [5]
    assert dataset.task_names == ("active", "y")
    for k, sample in enumerate(dataset):
        assert sample.id == f"m{sample.row}" == dataset.ids[k]
        assert sample.row == dataset.rows[k] == k + (k >= 5)
        assert sample.labels[0] == sample.row % 2
        assert np.isnan(sample.labels[1]) == (sample.row % 3 == 0)
        np.testing.assert_array_equal(dataset.labels[k], sample.labels)
        assert sample.molecule.num_atoms == dataset.num_atoms[k]
        assert sample.smiles == dataset.smiles[k]
    assert dataset.num_conformers.tolist() == [0] * 47


def test_a_store_is_made_once_and_then_opened(path, tmp_path):
    first = MoleculeDataset.from_file(path, task_columns=["y"], store=tmp_path / "s")
    before = (tmp_path / "s" / "shard-00000.arrow").stat().st_mtime_ns
    again = MoleculeDataset.from_file(path, task_columns=["y"], store=tmp_path / "s")
    assert (tmp_path / "s" / "shard-00000.arrow").stat().st_mtime_ns == before
    opened = MoleculeDataset.from_store(tmp_path / "s")
    for other in (again, opened, pickle.loads(pickle.dumps(opened))):
        assert other.smiles == first.smiles
        np.testing.assert_array_equal(other.labels, first.labels)
        assert other.rejects.equals(first.rejects)
        assert other.featurizer == FeaturizerConfig()
    with pytest.raises(DataError, match="another task_names"):
        MoleculeDataset.from_file(path, task_columns=["active"], store=tmp_path / "s")


def test_settings_reach_the_featurizer(path):
    dataset = MoleculeDataset.from_file(path, max_atoms=8, featurizer=FeaturizerConfig("embed", num_conformers=2))
    assert dataset.num_atoms.max() == 8
    assert set(dataset.num_conformers) == {2}
    assert set(dataset.rejects["stage"]) == {"parse", "size"}


def test_subsets_of_subsets(dataset):
    part = dataset.subset([10, 20, 30, 40]).subset([3, -3])
    assert part.ids == ["m41", "m21"]
    assert part.rows.tolist() == [41, 21]
    assert [s.id for s in part] == ["m41", "m21"]
    assert part[-1].id == "m21"
    assert part.select_tasks(["y"]).labels.ravel().tolist() == [41, np.nan] or np.isnan(part.labels[1, 1])
    assert len(dataset.subset([])) == 0
    for bad in ([47], [-48]):
        with pytest.raises(IndexError, match="indices of a data set of 47"):
            dataset.subset(bad)
    with pytest.raises(IndexError, match="molecule 2 of a data set of 2"):
        part[2]


def test_select_tasks(dataset):
    chosen = dataset.select_tasks(["y"])
    assert chosen.task_names == ("y",)
    assert chosen.labels.shape == (47, 1)
    assert chosen[1].labels.tolist() == [1.0]
    assert chosen.select_tasks(["active"]).task_names == ("active",), "chosen from the table, not from what was chosen"
    with pytest.raises(DataError, match="there are no labels 'logP'; there are: 'active', 'y'"):
        dataset.select_tasks(["logP"])


@pytest.mark.parametrize("method", SPLITS)
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.5, 0.5, 0.0)])
def test_splits_lose_no_molecule(dataset, method, fractions):
    parts = dataset.split(method, fractions)
    assert sorted(np.concatenate(parts).tolist()) == list(range(47))
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part) - 47 * fraction) <= 8
    again = dataset.split(method, fractions)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_scaffolds_are_not_divided(dataset):
    parts = dataset.split("scaffold", (0.6, 0.2, 0.2))
    scaffolds = [{MurckoScaffold.MurckoScaffoldSmiles(dataset.smiles[k]) for k in part} for part in parts]
    assert not scaffolds[0] & scaffolds[1]
    assert not scaffolds[0] & scaffolds[2]
    assert not scaffolds[1] & scaffolds[2]
    assert all(len(part) for part in parts)


def test_the_seed_moves_random_splits(dataset):
    first, second = dataset.split("random", seed=0), dataset.split("random", seed=1)
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "method='magic' is not allowed"),
        ({"fractions": (0.5, 0.1, 0.1)}, "fractions=.* is not allowed"),
        ({"fractions": (0.5, 0.5)}, "fractions=.* is not allowed"),
    ],
)
def test_wrong_splits_are_named(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        dataset.split(**options)


def test_save_graphs(dataset, tmp_path):
    import dgl

    from dgl_moleblend.pairs.loader import save_graphs
    from dgl_moleblend.schema import check_graph

    save_graphs(dataset, tmp_path / "g.bin", batch_size=8)
    graphs, tensors = dgl.load_graphs(str(tmp_path / "g.bin"))
    assert [g.num_nodes() for g in graphs] == dataset.num_atoms.tolist()
    assert tensors["rows"].tolist() == dataset.rows.tolist()
    np.testing.assert_array_equal(tensors["labels"].numpy(), dataset.labels)
    for graph, sample in zip(graphs, dataset, strict=True):
        check_graph(graph)
        assert graph.num_edges() == sample.molecule.num_atoms**2
        np.testing.assert_array_equal(graph.ndata["atom"].numpy(), sample.molecule.atom)


def test_manifest_says_what_it_needs(path, tmp_path):
    MoleculeDataset.from_file(path, store=tmp_path / "s")
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert set(manifest["versions"]) == {"dgl_moleblend", "numpy", "pyarrow", "rdkit"}
    assert manifest["featurizer"]["positions"] == "none"
    assert manifest["sources"] == [str(path)]


def test_labels_keep_their_digits(tmp_path):
    """999999999.98 and 1000000000 are one number in float32."""
    path = tmp_path / "in.csv"
    path.write_text("smiles,y\nCCO,999999999.98\nCCN,1000000000.00\nCCC,\n")
    for dataset in (
        MoleculeDataset.from_file(path, task_columns=["y"]),
        MoleculeDataset.from_file(path, task_columns=["y"], store=tmp_path / "s"),
        MoleculeDataset.from_store(tmp_path / "s"),
    ):
        np.testing.assert_array_equal(dataset.labels[:, 0], [999999999.98, 1000000000.0, np.nan])
