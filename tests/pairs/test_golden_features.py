"""Features and relations of 60 molecules against those of the authors' released code (``tests/golden/README.md``)."""

import json
from functools import cache
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import dgl_moleblend as mb
from dgl_moleblend.schema import NO_BOND, NO_PATH, PATH_HOPS

HERE = Path(__file__).parents[1] / "golden"
MOLECULES = json.loads((HERE / "features_index.json").read_text())["molecules"]
RELEASE_NO_PATH = 510


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(HERE / "features.npz") as file:
        return {key: file[key].astype(np.int64) for key in file.files}


def released(number: int, name: str) -> np.ndarray:
    return golden()[f"mol{number:02d}/{name}"]


def released_bonds(number: int) -> nx.Graph:
    """The graph of bonds with our bond ids."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(released(number, "node_feat"))))
    kind, stereo, conjugated = released(number, "edge_attr").T
    for begin, end, bond_id in zip(*released(number, "edge_index"), 12 * kind + 2 * stereo + conjugated, strict=True):
        graph.add_edge(int(begin), int(end), id=int(bond_id))
    return graph


def released_path(number: int) -> np.ndarray:
    """The release's choice of path, as our bond ids, shape (n, n, 5)."""
    hops = released(number, "edge_input")  # (n, n, at most 5, 3)
    kind, stereo, conjugated = np.moveaxis(hops - 2 - 512 * np.arange(3), -1, 0)
    path = np.where(hops[..., 0] >= 0, 12 * kind + 2 * stereo + conjugated, NO_BOND)
    return np.pad(path, [(0, 0), (0, 0), (0, PATH_HOPS - path.shape[2])], constant_values=NO_BOND)


@pytest.fixture(scope="module")
def graphs() -> list:
    return mb.MoleculeFeaturizer(chirality="tag").many([molecule["smiles"] for molecule in MOLECULES])


def test_sixty_molecules_are_compared() -> None:
    assert len(MOLECULES) == 60


@pytest.mark.parametrize("number", range(60))
def test_atoms_and_distances_equal_the_release(graphs: list, number: int) -> None:
    graph, n = graphs[number], MOLECULES[number]["atoms"]
    spd = released(number, "spatial_pos")
    expected = {
        "atom": (graph.ndata["atom"], released(number, "node_feat")),
        "degree": (graph.ndata["degree"], released(number, "in_degree")),
        "spd": (graph.edata["spd"].view(n, n), np.where(spd == RELEASE_NO_PATH, NO_PATH, spd)),
    }
    for name, (ours, theirs) in expected.items():
        wrong = np.argwhere(ours.numpy() != theirs)
        assert len(wrong) == 0, f"{name} of {MOLECULES[number]['smiles']} differs first at {wrong[0]}"


@pytest.mark.parametrize("number", range(60))
def test_bonds_equal_the_release(number: int) -> None:
    """In RDKit's order, each bond once; the release has each twice, one direction after the other."""
    arrays = mb.MoleculeFeaturizer().arrays(MOLECULES[number]["smiles"])
    kind, stereo, conjugated = released(number, "edge_attr")[::2].T
    assert np.array_equal(arrays.bond_index.T, released(number, "edge_index")[:, ::2])
    assert np.array_equal(arrays.bond_id, 12 * kind + 2 * stereo + conjugated)


@pytest.mark.parametrize("number", range(60))
def test_bond_paths_equal_the_release_but_for_ties(graphs: list, number: int) -> None:
    """Where the shortest path is unique: the release's. Elsewhere: of the tied ones that with the smallest ids."""
    n = MOLECULES[number]["atoms"]
    ours = graphs[number].edata["bond_path"].view(n, n, PATH_HOPS).numpy()
    theirs = released_path(number)
    bonds = released_bonds(number)
    unique = 0
    for i in range(n):
        reached = nx.single_source_shortest_path_length(bonds, i)
        for j in set(range(n)) - set(reached):
            assert (ours[i, j] == NO_BOND).all(), f"atoms {i} and {j} are not connected"
        best = best_paths_from(bonds, reached, i)
        for j in reached:
            tied = best[j]
            first, ids = tuple(ours[i, j]), tuple(theirs[i, j])
            assert ids in tied, f"the release's path from {i} to {j} is no shortest path of the twin: {ids}"
            assert first == min(tied), f"path from {i} to {j}: {first}, the smallest of {len(tied)} is {min(tied)}"
            unique += len(tied) == 1
    assert unique >= n  # the diagonal at least


def best_paths_from(bonds: nx.Graph, length: dict[int, int], i: int) -> dict[int, set[tuple[int, ...]]]:
    """First five bond ids of *every* shortest path from i to each atom, found atom by atom outwards."""
    paths: dict[int, set[tuple[int, ...]]] = {i: {()}}
    for j in sorted(length, key=length.__getitem__):
        if j != i:
            paths[j] = {
                (*path, bonds.edges[v, j]["id"])[:PATH_HOPS]
                for v in bonds[j] if length[v] == length[j] - 1
                for path in paths[v]
            }  # fmt: skip
    return {j: {path + (NO_BOND,) * (PATH_HOPS - len(path)) for path in found} for j, found in paths.items()}


def test_where_paths_tie_the_release_chooses_otherwise_now_and_then(graphs: list) -> None:
    """Or the comparison above would show nothing of ties."""
    ours = [graph.edata["bond_path"].view(graph.num_nodes(), -1, PATH_HOPS).numpy() for graph in graphs]
    assert any((path != released_path(number)).any() for number, path in enumerate(ours))
