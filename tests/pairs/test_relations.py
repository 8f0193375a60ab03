"""Shortest paths and bond paths against slow twins: networkx, and every path tried."""

import itertools
from collections.abc import Sequence

import networkx as nx
import numpy as np
import pytest
import torch
from rdkit import Chem
from torch import Tensor

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.pairs import relations as relations_module
from dgl_moleblend.pairs.batch import MoleculeBatch
from dgl_moleblend.pairs.relations import bond_matrix, pairwise_distance, shortest_bond_path, shortest_path_distance
from dgl_moleblend.schema import NO_BOND, NO_PATH, PATH_HOPS

Bonds = Sequence[tuple[int, int, int]]  # begin, end, id
SHAPES: dict[str, tuple[int, Bonds]] = {
    "one atom": (1, []),
    "two atoms apart": (2, []),
    "one bond": (2, [(0, 1, 59)]),
    "hexagon of one kind": (6, [(k, (k + 1) % 6, 0) for k in range(6)]),
    "hexagon, the smaller way round is the second": (6, [(k, (k + 1) % 6, 5 - k) for k in range(6)]),
    "square with tails": (8, [(0, 1, 7), (1, 2, 7), (2, 3, 1), (3, 0, 9), (2, 4, 0), (4, 5, 3), (0, 6, 59), (6, 7, 0)]),
    "chain of 30": (30, [(k, k + 1, k % 60) for k in range(29)]),
    "star of 14": (15, [(0, k, k) for k in range(1, 15)]),
    "complete graph": (5, [(i, j, i + j) for i, j in itertools.combinations(range(5), 2)]),
    "three fragments, numbers mixed": (9, [(0, 3, 1), (3, 6, 2), (6, 0, 3), (1, 4, 0), (4, 7, 0), (2, 5, 4)]),
    "ladder": (12, [*[(k, k + 2, 12) for k in range(10)], *[(k, k + 1, 37) for k in range(0, 12, 2)]]),
    "cube": (8, [(i, i ^ (1 << k), 3 * k) for i in range(8) for k in range(3) if i < i ^ (1 << k)]),
}


def slow_relations(num_atoms: int, bonds: Bonds) -> tuple[np.ndarray, np.ndarray]:
    """Distances by networkx; of all shortest paths the one with the smallest sequence of bond ids."""
    graph = nx.Graph()
    graph.add_nodes_from(range(num_atoms))
    graph.add_edges_from((i, j, {"id": k}) for i, j, k in bonds)
    spd = np.full((num_atoms, num_atoms), NO_PATH)
    path = np.full((num_atoms, num_atoms, PATH_HOPS), NO_BOND)
    for i, lengths in nx.all_pairs_shortest_path_length(graph):
        for j, length in lengths.items():
            spd[i, j] = length
            tied = nx.all_shortest_paths(graph, i, j)
            best = min([graph.edges[bond]["id"] for bond in nx.utils.pairwise(atoms)] for atoms in tied)
            path[i, j, : len(best)] = best[:PATH_HOPS]
    return spd, path


def batch_of(molecules: Sequence[tuple[int, Bonds]]) -> MoleculeBatch:
    return MoleculeBatch.from_arrays([
        MoleculeArrays(
            atom=np.zeros((n, 9), np.uint8),
            bond_index=np.array([bond[:2] for bond in bonds], np.int32).reshape(-1, 2),
            bond_id=np.array([bond[2] for bond in bonds], np.uint8),
            positions=np.zeros((0, n, 3), np.float32),
        )
        for n, bonds in molecules
    ])  # fmt: skip


def relations(molecules: Sequence[tuple[int, Bonds]]) -> list[tuple[Tensor, Tensor]]:
    batch = batch_of(molecules).relations()
    return [(batch.spd[k, :n, :n], batch.bond_path[k, :n, :n]) for k, (n, _) in enumerate(molecules)]


def random_shape(source: np.random.Generator) -> tuple[int, Bonds]:
    """A graph of 1 to 12 atoms with many rings, few bond ids (so that paths tie) and often several fragments."""
    n = int(source.integers(1, 13))
    pairs = [pair for pair in itertools.combinations(range(n), 2) if source.random() < source.choice([0.1, 0.25, 0.5])]
    return n, [(i, j, int(source.choice([0, 1, 36, 59]))) for i, j in pairs]


def assert_same(actual: Tensor, expected: np.ndarray | Tensor, what: str) -> None:
    wrong = (actual.numpy() != np.asarray(expected)).nonzero()
    assert len(wrong[0]) == 0, f"{what}: first difference at {[int(w[0]) for w in wrong]}"


@pytest.mark.parametrize("name", SHAPES)
def test_relations_are_those_of_the_slow_twin(name: str) -> None:
    spd, path = slow_relations(*SHAPES[name])
    actual_spd, actual_path = relations([SHAPES[name]])[0]
    assert_same(actual_spd, spd, "spd")
    assert_same(actual_path, path, "bond_path")


def test_relations_of_random_graphs_are_those_of_the_slow_twin() -> None:
    source = np.random.default_rng(0)
    shapes = [random_shape(source) for _ in range(150)]
    for k, (shape, (spd, path)) in enumerate(zip(shapes, relations(shapes), strict=True)):
        expected_spd, expected_path = slow_relations(*shape)
        assert_same(spd, expected_spd, f"spd of graph {k}: {shape}")
        assert_same(path, expected_path, f"bond_path of graph {k}: {shape}")


def test_a_batch_gives_what_each_molecule_gives_alone() -> None:
    shapes = list(SHAPES.values())
    for (name, shape), (spd, path) in zip(SHAPES.items(), relations(shapes), strict=True):
        alone_spd, alone_path = relations([shape])[0]
        assert_same(spd, alone_spd, f"spd of {name}")
        assert_same(path, alone_path, f"bond_path of {name}")


def test_padding_has_no_path_and_no_bond() -> None:
    batch = batch_of(list(SHAPES.values())).relations()
    assert (batch.spd[~batch.pair_mask] == NO_PATH).all()
    assert (batch.bond_path[~batch.pair_mask] == NO_BOND).all()


def test_relations_do_not_depend_on_numbering() -> None:
    source = np.random.default_rng(1)
    for name, (n, bonds) in SHAPES.items():
        spd, path = relations([(n, bonds)])[0]
        order = source.permutation(n)
        new = np.argsort(order)  # atom order[k] becomes atom k
        turned = [(int(new[j]), int(new[i]), k) if source.random() < 0.5 else (int(new[i]), int(new[j]), k)
                  for i, j, k in source.permutation(bonds)] if bonds else []  # fmt: skip
        moved_spd, moved_path = relations([(n, turned)])[0]
        assert_same(moved_spd, spd[order][:, order], f"spd of {name}")
        assert_same(moved_path, path[order][:, order], f"bond_path of {name}")


def test_long_distances_are_exact_in_half_precision_regions() -> None:
    n = 600
    bonds = [(k, k + 1, 0) for k in range(n - 1)]
    with torch.autocast("cpu", torch.bfloat16):
        spd, path = relations([(n, bonds)])[0]
    assert_same(spd, np.abs(np.subtract.outer(range(n), range(n))), "spd of a chain of 600")
    assert path[0, -1].tolist() == [0] * PATH_HOPS
    assert path[5, 3].tolist() == [0, 0, -1, -1, -1]


def test_distances_of_a_dense_hub_on_a_long_tail_are_exact() -> None:
    n = 500  # half of the atoms on one hub: the largest sums that Seidel's algorithm meets
    bonds = [(k, k + 1, 0) for k in range(n // 2)] + [(n // 2, k, 0) for k in range(n // 2 + 1, n)]
    graph = nx.Graph([bond[:2] for bond in bonds])
    expected = np.array(
        [[lengths[j] for j in range(n)] for _, lengths in sorted(nx.all_pairs_shortest_path_length(graph))]
    )
    assert_same(relations([(n, bonds)])[0][0], expected, "spd")


def test_a_known_largest_degree_changes_nothing() -> None:
    n, bonds = SHAPES["star of 14"]
    batch = batch_of([(n, bonds), SHAPES["cube"]])
    assert batch.max_degree == 14
    bonds_of_batch = bond_matrix(batch.bond_index, batch.bond_molecule, batch.bond_id, 2, n)
    assert int((bonds_of_batch > 0).sum(-1).max()) == 14
    spd = shortest_path_distance(bonds_of_batch > 0)
    asked = shortest_bond_path(spd, bonds_of_batch)
    assert_same(shortest_bond_path(spd, bonds_of_batch, max_degree=14), asked, "bond_path")
    assert_same(shortest_bond_path(spd, bonds_of_batch, max_degree=15), asked, "bond_path with a slot too many")


def test_distance_matrix_is_rdkits_for_molecules() -> None:
    for smiles in ("CC1CCC2(C1)CCCCC2", "c1ccc2cc3ccccc3cc2c1", "C[N+](C)(C)CC(=O)[O-].O.[Na+].[Cl-]"):
        mol = Chem.MolFromSmiles(smiles)
        bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), 0) for bond in mol.GetBonds()]
        expected = Chem.GetDistanceMatrix(mol)
        expected[expected > 1e6] = NO_PATH
        assert_same(relations([(mol.GetNumAtoms(), bonds)])[0][0], expected, f"spd of {smiles}")


def test_pairwise_distance_is_the_norm_and_passes_gradients_without_nan() -> None:
    positions = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    positions[1, 2] = positions[1, 3]  # two atoms in one place
    positions.requires_grad_()
    distance = pairwise_distance(positions)
    expected = torch.linalg.norm(positions[:, :, None] - positions[:, None], dim=-1)
    assert torch.allclose(distance, expected, rtol=0, atol=1e-12)
    assert (distance.diagonal(dim1=1, dim2=2) == 0).all()
    distance.sum().backward()
    assert positions.grad is not None
    assert positions.grad.isfinite().all()
    assert positions.grad.abs().max() > 1
    assert pairwise_distance(torch.full((2, 3), float("nan"))).isnan().all()


@pytest.mark.parametrize("shape", SHAPES)
def test_large_molecules_are_searched_to_the_same_distances(shape, monkeypatch):
    batch = batch_of([SHAPES[shape], SHAPES["ladder"]])
    expected = batch.relations().spd
    monkeypatch.setattr(relations_module, "LARGE", 0)
    found = batch.relations().spd
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
