"""SMILES and Mols to graphs: the schema, one by one and many, failures, and all that DGL and dgllife do with graphs."""

import csv
import gzip
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import dgl
import networkx as nx
import numpy as np
import pytest
import torch
from dgl import DGLGraph
from dgl.data import DGLDataset
from dgl.dataloading import GraphDataLoader
from dgllife.data import MoleculeCSVDataset
from dgllife.utils import CanonicalAtomFeaturizer, CanonicalBondFeaturizer
from molecules import AWKWARD_SMILES, molecule_with_positions, rewrite, set_positions
from rdkit import Chem, RDConfig
from rdkit.Chem import rdDistGeom
from torch.utils.data import DataLoader

import dgl_moleblend as mb
from dgl_moleblend.chem.sanitize import read_smiles
from dgl_moleblend.pairs import graph as graph_module
from dgl_moleblend.schema import EDGE_FIELDS, NO_BOND, NO_PATH, NODE_FIELDS, check_graph

MOLECULENET = Path(__file__).parents[3] / "shared" / "data" / "moleculenet"
FERROCENE = "[Fe]12345678(C9C1C2C3C49)C1C5C6C7C81"
PEPTIDE = Chem.MolToSmiles(Chem.MolFromSequence("AEDCGFHWYKLMNPQRSTVIA"))
AWKWARD = [
    *AWKWARD_SMILES, "[H][H]", "[2H]C([2H])([2H])Cl", "[H+]", "[CH3]", FERROCENE, "CC=CCO |w:1.0|", "C$C", "c1ccncc1",
    "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "c1cc2cc3ccc(cc4ccc(cc5ccc(cc1n2)[nH]5)n4)[nH]3", "[Mg+2].[Cl-].[Cl-]",
    "C[C@H](N)C(=O)O", "N#N", "C" * 45, PEPTIDE,
]  # fmt: skip
BAD = ["C1CC", "", "c1cccc1", None]


def some_real_molecules() -> list[str]:
    lines = Path(RDConfig.RDDataDir, "NCI", "first_5K.smi").read_text().splitlines()
    return [line.split()[0] for line in lines[:5000:70]]


def assert_equal_graphs(actual: DGLGraph, expected: DGLGraph, what: str = "") -> None:
    assert all(map(torch.equal, actual.edges(), expected.edges())), f"edges {what}"
    for one, other in ((actual.ndata, expected.ndata), (actual.edata, expected.edata)):
        assert set(one) == set(other)
        for name, value in other.items():
            assert one[name].dtype == value.dtype, f"{name} {what}"
            assert torch.equal(one[name].nan_to_num(-7.5), value.nan_to_num(-7.5)), f"{name} {what}"


def pairs(graph: DGLGraph, name: str) -> torch.Tensor:
    n = graph.num_nodes()
    return graph.edata[name].view(n, n, *graph.edata[name].shape[1:])


@pytest.fixture(scope="module")
def featurizer() -> mb.MoleculeFeaturizer:
    return mb.MoleculeFeaturizer()


# What a graph holds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smiles", AWKWARD)
def test_graphs_satisfy_the_schema(featurizer: mb.MoleculeFeaturizer, smiles: str) -> None:
    graph = featurizer(smiles)
    check_graph(graph)
    n = Chem.MolFromSmiles(smiles).GetNumAtoms()
    assert (graph.num_nodes(), graph.num_edges()) == (n, n * n)
    sender, receiver = graph.edges()
    assert torch.equal(receiver, torch.arange(n).repeat_interleave(n))
    assert torch.equal(sender, torch.arange(n).repeat(n))
    for frame, fields in ((graph.ndata, NODE_FIELDS), (graph.edata, EDGE_FIELDS)):
        assert {name: (value.dtype, tuple(value.shape[1:])) for name, value in frame.items()} == {
            name: (field.dtype, field.shape) for name, field in fields.items()
        }
    assert graph.ndata["positions"].isnan().all()
    assert graph.edata["distance"].isnan().all()


@pytest.mark.parametrize("smiles", AWKWARD)
def test_relations_are_rdkits_distances_and_bonds(featurizer: mb.MoleculeFeaturizer, smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    graph = featurizer(smiles)
    spd, path = pairs(graph, "spd"), pairs(graph, "bond_path")
    expected = Chem.GetDistanceMatrix(mol)
    expected[expected > 1e6] = NO_PATH
    assert np.array_equal(spd.numpy(), expected)
    assert torch.equal((path != NO_BOND).sum(-1), spd.clamp(0, 5).long())
    arrays = featurizer.arrays(smiles)
    for (i, j), bond_id in zip(arrays.bond_index.tolist(), arrays.bond_id.tolist(), strict=True):
        assert path[i, j].tolist() == path[j, i].tolist() == [bond_id, -1, -1, -1, -1]
    assert graph.ndata["degree"].tolist() == [atom.GetDegree() for atom in mol.GetAtoms()]


def test_a_graph_worked_out_by_hand(featurizer: mb.MoleculeFeaturizer) -> None:
    graph = featurizer("C=CC#N.[Na+]")  # 0=1-2#3, conjugated throughout, and an ion
    assert pairs(graph, "spd").tolist() == [
        [0, 1, 2, 3, -1],
        [1, 0, 1, 2, -1],
        [2, 1, 0, 1, -1],
        [3, 2, 1, 0, -1],
        [-1, -1, -1, -1, 0],
    ]
    path = pairs(graph, "bond_path")
    assert path[0, 3].tolist() == [13, 1, 25, -1, -1]
    assert path[3, 0].tolist() == [25, 1, 13, -1, -1]  # from the receiver's end
    assert path[4, 0].tolist() == [-1] * 5
    assert graph.ndata["degree"].tolist() == [1, 2, 2, 1, 0]
    assert graph.ndata["atom"][3].tolist() == [6, 0, 1, 5, 0, 0, 0, 0, 0]
    assert graph.ndata["atom"][4].tolist() == [10, 0, 0, 6, 0, 0, 5, 0, 0]


def test_distances_are_those_of_the_positions() -> None:
    mol = Chem.MolFromSmiles("CO.C")
    positions = [[0.0, 0, 0], [0, 3, 4], [1, 0, 0]]
    graph = mb.MoleculeFeaturizer(positions="given")(set_positions(mol, np.array(positions)))
    assert graph.ndata["positions"].tolist() == positions
    expected = torch.tensor([[0, 5, 1], [5, 0, 26**0.5], [1, 26**0.5, 0]])
    assert torch.allclose(pairs(graph, "distance"), expected)


def test_a_mol_gives_what_its_smiles_gives(featurizer: mb.MoleculeFeaturizer) -> None:
    for smiles in AWKWARD:
        mol = Chem.MolFromSmiles(smiles)
        before = mol.ToBinary(Chem.PropertyPickleOptions.AllProps)
        assert_equal_graphs(featurizer(mol), featurizer(smiles), smiles)
        assert_equal_graphs(featurizer(Chem.AddHs(mol)), featurizer(smiles), smiles)
        assert mol.ToBinary(Chem.PropertyPickleOptions.AllProps) == before


@pytest.mark.parametrize("smiles", [*(s for s in AWKWARD if "|" not in s), *some_real_molecules()[::6]])
def test_graphs_do_not_depend_on_numbering_or_writing(smiles: str, generator: torch.Generator) -> None:
    """Not even on it where paths tie; but for which way round a stereocentre is, see `MoleculeFeaturizer`."""
    featurizer = mb.MoleculeFeaturizer(positions="given")
    mol = molecule_with_positions(smiles, generator)
    graph = featurizer(mol)
    for _ in range(2):
        other_mol, order = rewrite(mol, generator)
        other = featurizer(other_mol)
        for name in ("spd", "bond_path", "distance"):
            assert torch.equal(pairs(other, name), pairs(graph, name)[order][:, order]), name
        for name in ("degree", "positions"):
            assert torch.equal(other.ndata[name], graph.ndata[name][order]), name
        ids, expected = other.ndata["atom"], graph.ndata["atom"][order]
        either_way = (ids[:, 1] > 0) & (ids[:, 1] < 3) & (expected[:, 1] > 0) & (expected[:, 1] < 3)
        assert torch.equal(ids[:, 1][~either_way], expected[:, 1][~either_way])
        assert torch.equal(ids[:, [0, *range(2, 9)]], expected[:, [0, *range(2, 9)]])
        assert "@" in smiles or smiles == PEPTIDE or not either_way.any()


def test_which_way_round_a_stereocentre_is_does_not_depend_on_the_writing(featurizer: mb.MoleculeFeaturizer) -> None:
    one, other = featurizer("N[C@@H](C)C(=O)O"), featurizer("C[C@H](N)C(=O)O")
    assert one.ndata["atom"][1, 1] == other.ndata["atom"][1, 1]
    released = mb.MoleculeFeaturizer(chirality="tag")
    one, other = released("N[C@@H](C)C(=O)O"), released("C[C@H](N)C(=O)O")
    assert one.ndata["atom"][1, 1] != other.ndata["atom"][1, 1]


def test_ties_are_there_to_be_broken(featurizer: mb.MoleculeFeaturizer) -> None:
    """1,4-dioxin ring: across it, one way has a double bond first, the other a single bond; the smaller id wins."""
    path = pairs(featurizer("C1=CCC=CC1"), "bond_path")
    graph = nx.Graph([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)])
    assert len(list(nx.all_shortest_paths(graph, 0, 3))) == 2
    assert path[0, 3].tolist() == [0, 0, 12, -1, -1]
    assert path[3, 0].tolist() == [0, 0, 12, -1, -1]


def test_170_atoms_and_chains_beyond_20_bonds(featurizer: mb.MoleculeFeaturizer) -> None:
    graph = featurizer(PEPTIDE)
    assert graph.num_nodes() > 160
    assert graph.edata["spd"].max() > 60
    assert featurizer("C" * 45).edata["spd"].max() == 44


# Positions ------------------------------------------------------------------------------------------------------------


def test_given_positions_are_found_without_the_hydrogens() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("OCC=O"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=4)
    featurizer = mb.MoleculeFeaturizer(positions="given")
    graph = featurizer(Chem.MolFromMolBlock(Chem.MolToMolBlock(mol), removeHs=False))
    expected = torch.from_numpy(mol.GetConformer().GetPositions()[:4]).float()
    assert torch.allclose(graph.ndata["positions"], expected, atol=1e-4)
    assert torch.allclose(pairs(graph, "distance"), torch.cdist(expected, expected), atol=1e-3)
    from_text = featurizer("CO |(0,0,0.5;1.4,0,0)|")
    assert from_text.ndata["positions"].tolist() == pytest.approx(np.float32([[0, 0, 0.5], [1.4, 0, 0]]))


def test_embedded_positions_are_repeatable_whatever_came_before() -> None:
    featurizer = mb.MoleculeFeaturizer(positions="embed", seed=7)
    graph = featurizer("CC(N)C=O")
    assert graph.ndata["positions"].isfinite().all()
    assert graph.edata["distance"].isfinite().all()
    there = featurizer.many(["CCCC", "O", "CC(N)C=O", "[Na+].[Cl-]"])
    assert_equal_graphs(there[2], graph)
    assert all(g.ndata["positions"].isfinite().all() for g in there)
    assert not torch.equal(mb.MoleculeFeaturizer(positions="embed", seed=8)("CC(N)C=O").ndata["positions"],
                           graph.ndata["positions"])  # fmt: skip


def test_a_graph_holds_the_first_conformer_and_arrays_hold_all() -> None:
    featurizer = mb.MoleculeFeaturizer(positions="embed", num_conformers=3)
    arrays = featurizer.arrays("CCCO")
    assert arrays.positions.shape == (3, 4, 3)
    assert np.array_equal(featurizer("CCCO").ndata["positions"], arrays.positions[0])


def test_asked_for_positions_that_are_not_there_are_an_error() -> None:
    with pytest.raises(mb.MoleculeError, match="the molecule has no positions"):
        mb.MoleculeFeaturizer(positions="given")("CCO")
    with pytest.raises(mb.MoleculeError, match="cannot be embedded"):
        mb.MoleculeFeaturizer(positions="embed")("C[C@@]12C[C@]1(C)C2")


# Many -----------------------------------------------------------------------------------------------------------------


def test_many_gives_what_one_by_one_gives(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    molecules = [molecule_with_positions(s, generator) for s in [*AWKWARD, *some_real_molecules()]]
    featurizer = mb.MoleculeFeaturizer(positions="given")
    expected = [featurizer(mol) for mol in molecules]
    for chunk_pairs in (1 << 15, 700):
        monkeypatch.setattr(graph_module, "_CHUNK_PAIRS", chunk_pairs)
        for k, (graph, alone) in enumerate(zip(featurizer.many(molecules), expected, strict=True)):
            assert_equal_graphs(graph, alone, f"of molecule {k}")


def test_many_takes_any_iterable_and_none_at_all(featurizer: mb.MoleculeFeaturizer) -> None:
    assert [g.num_nodes() for g in featurizer.many(s for s in ("CCO", "C"))] == [3, 1]
    assert featurizer.many([]) == []


def test_graphs_of_many_share_no_memory(featurizer: mb.MoleculeFeaturizer) -> None:
    """A graph that is kept, or sent to another process, does not keep the batch that it was made in."""
    one, other = featurizer.many(["CCO", "CCN"])
    for graph in (one, other):
        for frame in (graph.ndata, graph.edata):
            for name in frame:
                value = frame[name]
                assert value.untyped_storage().nbytes() == value.numel() * value.element_size()
    one.edges()[0].add_(1)
    one.edata["spd"].zero_()
    assert_equal_graphs(other, featurizer("CCN"))
    assert_equal_graphs(featurizer("CCO"), featurizer.many(["CCO"])[0])


# Failures -------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_featurized_raises_and_says_where(featurizer: mb.MoleculeFeaturizer) -> None:
    with pytest.raises(mb.MoleculeError, match="RDKit cannot read SMILES 'C1CC': unclosed ring"):
        featurizer("C1CC")
    with pytest.raises(mb.MoleculeError) as caught:
        featurizer.many(["CCO", "C", "c1cccc1", "C1CC"])
    assert caught.value.where == "molecules[2]"
    with pytest.raises(mb.MoleculeError) as caught:
        featurizer.arrays("C1CC", where="esol.csv, line 9")
    assert caught.value.where == "esol.csv, line 9"


def test_failures_are_none_and_logged_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    featurizer = mb.MoleculeFeaturizer(on_error="none")
    with caplog.at_level(logging.WARNING):
        assert [featurizer(bad) for bad in BAD] == [None] * len(BAD)
        assert len(caplog.records) == len(BAD)
        graphs = featurizer.many(["CCO", *BAD, "C"])
    assert [g and g.num_nodes() for g in graphs] == [3, None, None, None, None, 1]
    assert len(caplog.records) == 2 * len(BAD)
    assert "molecules[1]" in caplog.text
    with pytest.raises(mb.MoleculeError):
        featurizer.arrays("C1CC")


def test_too_many_atoms_for_all_pairs_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MAX_GRAPH_ATOMS", 5)
    featurizer = mb.MoleculeFeaturizer()
    with pytest.raises(mb.MoleculeError, match="6 atoms are too many for a graph of all pairs"):
        featurizer("CCCCCC")
    with pytest.raises(mb.MoleculeError, match="6 atoms are too many") as caught:
        featurizer.many(["C", "CCCCCC"])
    assert caught.value.where == "molecules[1]"
    assert featurizer.arrays("CCCCCC").num_atoms == 6  # compact arrays have no pairs


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"positions": "2d"}, "positions='2d' is not allowed"),
        ({"on_error": "skip"}, "on_error='skip' is not allowed"),
        ({"num_conformers": 0}, "num_conformers=0 is not allowed"),
        ({"timeout": 0}, "timeout=0 is not allowed"),
    ],
)
def test_options_that_are_not_allowed_name_those_that_are(options: dict, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        mb.MoleculeFeaturizer(**options)


def test_settings_go_to_a_config_and_back() -> None:
    config = mb.FeaturizerConfig(positions="embed", seed=3, num_conformers=2, optimize=False, timeout=5.0)
    featurizer = mb.MoleculeFeaturizer.from_config(config, on_error="none")
    assert featurizer.config == config
    assert featurizer.on_error == "none"
    again = pickle.loads(pickle.dumps(featurizer))
    assert repr(again) == repr(featurizer)
    assert "seed=3" in repr(featurizer)


def test_files_of_moleculenet_hold_as_many_unreadable_rows_as_counted() -> None:
    counts = {"BBBP": 11, "tox21": 8, "SAMPL": 0}
    if not MOLECULENET.exists():
        pytest.skip("the data sets are not beside this checkout")
    failed = {}
    for name in counts:
        with gzip.open(MOLECULENET / f"{name}.csv.gz", "rt") as file:
            failed[name] = sum(not is_readable(row["smiles"]) for row in csv.DictReader(file))
    assert failed == counts


def is_readable(smiles: str) -> bool:
    try:
        read_smiles(smiles)
    except mb.MoleculeError:
        return False
    return True


# DGL and dgllife ------------------------------------------------------------------------------------------------------


class Molecules(DGLDataset):
    """A DGL data set as DGL's guide writes them."""

    def __init__(self, smiles: list[str], save_dir: Path) -> None:
        self.smiles = smiles
        super().__init__("molecules", save_dir=str(save_dir))

    def process(self) -> None:
        self.graphs = mb.MoleculeFeaturizer().many(self.smiles)
        self.labels = torch.arange(len(self.smiles))

    def save(self) -> None:
        dgl.save_graphs(f"{self.save_path}.bin", self.graphs, {"labels": self.labels})

    def load(self) -> None:
        self.graphs, labels = dgl.load_graphs(f"{self.save_path}.bin")
        self.labels = labels["labels"]

    def has_cache(self) -> bool:
        return Path(f"{self.save_path}.bin").exists()

    def __getitem__(self, k: int) -> tuple[DGLGraph, torch.Tensor]:
        return self.graphs[k], self.labels[k]

    def __len__(self) -> int:
        return len(self.graphs)


def test_graphs_can_be_batched_and_taken_apart(featurizer: mb.MoleculeFeaturizer) -> None:
    graphs = featurizer.many(AWKWARD)
    batched = dgl.batch(graphs)
    check_graph(batched)
    assert batched.batch_num_nodes().tolist() == [g.num_nodes() for g in graphs]
    for graph, alone in zip(dgl.unbatch(batched), graphs, strict=True):
        assert_equal_graphs(graph, alone)


def test_messages_follow_the_edges(featurizer: mb.MoleculeFeaturizer) -> None:
    """Edge j -> i: what atom i receives is summed over row i of the dense view."""
    graph = featurizer("CC(=O)[O-].[Na+]")
    feat = torch.arange(5.0)
    weight = pairs(graph, "spd").float()
    with graph.local_scope():
        graph.ndata["feat"] = feat
        graph.edata["weight"] = weight.flatten()
        graph.update_all(dgl.function.u_mul_e("feat", "weight", "m"), dgl.function.sum("m", "out"))
        assert torch.equal(graph.ndata["out"], weight @ feat)


def test_graphs_can_be_saved_and_loaded(featurizer: mb.MoleculeFeaturizer, tmp_path: Path) -> None:
    graphs = [*featurizer.many(AWKWARD), mb.MoleculeFeaturizer(positions="embed")("CCO")]
    dgl.save_graphs(str(tmp_path / "graphs.bin"), graphs, {"y": torch.arange(3)})
    loaded, labels = dgl.load_graphs(str(tmp_path / "graphs.bin"))
    assert labels["y"].tolist() == [0, 1, 2]
    for graph, other, unpickled in zip(graphs, loaded, pickle.loads(pickle.dumps(graphs)), strict=True):
        assert_equal_graphs(other, graph, "loaded")
        assert_equal_graphs(unpickled, graph, "unpickled")


def test_a_dgl_dataset_and_its_loader_take_the_graphs(tmp_path: Path) -> None:
    dataset = Molecules(AWKWARD, tmp_path)
    again = Molecules(AWKWARD, tmp_path)
    for (graph, label), (other, other_label) in zip(dataset, again, strict=True):
        assert_equal_graphs(other, graph)
        assert label == other_label
    sizes = []
    for batched, labels in GraphDataLoader(dataset, batch_size=4, shuffle=False):
        assert len(labels) == batched.batch_size
        sizes += mb.RelationBatch.from_graph(batched).atom_mask.sum(1).tolist()
    assert sizes == [graph.num_nodes() for graph in dataset.graphs]


class Lazy(torch.utils.data.Dataset):
    """Featurizes where it is asked: in the loader's worker."""

    def __init__(self, smiles: list[str]) -> None:
        self.smiles, self.featurizer = smiles, mb.MoleculeFeaturizer(positions="embed", seed=1)

    def __len__(self) -> int:
        return len(self.smiles)

    def __getitem__(self, k: int) -> DGLGraph:
        return self.featurizer(self.smiles[k])


def test_a_featurizer_works_in_the_workers_of_a_loader() -> None:
    dataset = Lazy(["CCO", "C", "CC(=O)[O-].[Na+]", "c1ccccc1"])
    loader = DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=dgl.batch)
    graphs = [graph for batched in loader for graph in dgl.unbatch(batched)]
    for k, graph in enumerate(graphs):
        assert_equal_graphs(graph, dataset[k], f"of molecule {k}")


def test_dgllifes_data_set_takes_the_featurizer_and_counts_failures(tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"smiles": ["CCO", "C1CC", "c1ccccc1", "CC(=O)O"], "y": [0.1, 0.2, 0.3, None]})
    dataset = MoleculeCSVDataset(
        table,
        mb.MoleculeFeaturizer(on_error="none"),
        CanonicalAtomFeaturizer(atom_data_field="hv"),
        None,
        "smiles",
        str(tmp_path / "cache.bin"),
    )
    assert [dataset.smiles[k] for k in range(len(dataset))] == ["CCO", "c1ccccc1", "CC(=O)O"]
    smiles, graph, label, mask = dataset[1]
    check_graph(graph)
    assert graph.ndata["hv"].shape == (6, 74)
    assert (smiles, label.item(), mask.item()) == ("c1ccccc1", pytest.approx(0.3), 1)


def test_node_featurizers_add_fields_and_see_the_same_atoms(featurizer: mb.MoleculeFeaturizer) -> None:
    def masses(mol: Chem.Mol) -> dict[str, torch.Tensor]:
        return {"mass": torch.tensor([atom.GetMass() for atom in mol.GetAtoms()])}

    graph = featurizer(Chem.AddHs(Chem.MolFromSmiles("CO")), node_featurizer=masses)
    assert graph.ndata["mass"].tolist() == pytest.approx([12.011, 15.999])
    check_graph(graph)


def test_featurizers_that_do_not_fit_are_refused(featurizer: mb.MoleculeFeaturizer) -> None:
    with pytest.raises(ValueError, match=r"one row per bond.*\n.*edge_featurizer=None"):
        featurizer("CO", edge_featurizer=CanonicalBondFeaturizer())
    with pytest.raises(ValueError, match=r"3 rows of 'x' for 2 atoms"):
        featurizer("CO", node_featurizer=lambda mol: {"x": torch.zeros(3)})
    with pytest.raises(ValueError, match="a field 'atom', which is the schema's"):
        featurizer("CO", node_featurizer=lambda mol: {"atom": torch.zeros(2)})


def test_dgl_is_imported_for_graphs_alone() -> None:
    """Processes that fill a store would wait a second for it."""
    code = """
import sys
import dgl_moleblend.data.featurize
from dgl_moleblend.pairs.graph import MoleculeFeaturizer
featurizer = MoleculeFeaturizer(positions="embed")
assert featurizer.arrays("CCO").num_atoms == 3
assert "dgl" not in sys.modules
featurizer("CCO")
assert "dgl" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
