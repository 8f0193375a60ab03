"""Graphs that lie are refused by name; graphs that were meant to be changed work."""

import dgl
import pytest
import torch
from dgl import DGLGraph
from dgl.transforms import AddReverse, AddSelfLoop, DropEdge
from molecules import AWKWARD_SMILES, molecule_with_positions
from torch import Generator

import dgl_moleblend as mb
from dgl_moleblend.errors import SchemaError
from dgl_moleblend.pairs.checks import check_pairs

FLAT, SPATIAL = mb.MoleculeFeaturizer(), mb.MoleculeFeaturizer(positions="given")


@pytest.fixture
def predictor() -> mb.MoleBlendPredictor:
    torch.manual_seed(0)
    return mb.MoleBlendPredictor(1, mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())).eval()


@pytest.fixture
def graph() -> DGLGraph:
    return FLAT("CC(=O)N")


def spatial(smiles: str = "CC(=O)N") -> DGLGraph:
    graph = SPATIAL(molecule_with_positions(smiles, Generator().manual_seed(0)))
    assert graph is not None
    return graph


@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
def test_what_the_featurizer_makes_is_true(smiles: str) -> None:
    check_pairs(dgl.batch([FLAT(smiles), spatial(smiles), FLAT("CCO")]))
    check_pairs(dgl.batch([FLAT(smiles), spatial(smiles)]).int())


LIES = {
    "dgl.add_self_loop": (dgl.add_self_loop, r"4 self pairs have an spd other than 0, the first of them 1"),
    "AddSelfLoop": (AddSelfLoop(), r"self pairs have an spd other than 0"),
    "add_self_loop, zeros": (lambda g: dgl.add_self_loop(g, fill_data=0.0), r"\[0, 0, 0, 0, 0\] for spd 0"),
    "remove, then add": (lambda g: dgl.add_self_loop(dgl.remove_self_loop(g)), r"self pairs have an spd other than 0"),
    "AddReverse": (AddReverse(), r"pairs of two atoms have spd 0(.|\n)*AddReverse"),
    "AddReverse, data copied": (AddReverse(copy_edata=True), r"edges repeat a pair(.|\n)*AddReverse"),
    "add_reverse_edges": (lambda g: dgl.add_reverse_edges(g, copy_edata=True), r"edges repeat a pair"),
    "add_edges": (lambda g: dgl.add_edges(g, [0], [1]), r"1 pairs of two atoms have spd 0(.|\n)*dgl.add_edges"),
    "no data": (dgl.add_reverse_edges, r"edata\['spd'\] is missing"),
}


@pytest.mark.parametrize(("transform", "words"), LIES.values(), ids=list(LIES))
@pytest.mark.parametrize("positions", [False, True])
def test_a_transform_that_makes_a_graph_lie_is_named(predictor, transform, words: str, positions: bool) -> None:
    changed = transform(spatial() if positions else FLAT("CC(=O)N"))
    for enter in (predictor, mb.RelationBatch.from_graph, lambda g: mb.cut_off(g, spd=2)):
        with pytest.raises(mb.SchemaError, match=words):
            enter(changed)


def test_an_error_says_which_edge(graph) -> None:
    lie = dgl.batch([FLAT("C"), dgl.add_self_loop(graph)])
    with pytest.raises(mb.SchemaError, match="where: graph, edge 17 from atom 1 to atom 1"):
        check_pairs(lie)
    with pytest.raises(mb.SchemaError, match="where: the third, edge 16"):
        check_pairs(dgl.add_self_loop(graph), where="the third")


@pytest.mark.parametrize(
    ("field", "edge", "value", "words"),
    [
        ("spd", 1, 3, r"1 bond paths .* \[0, -1, -1, -1, -1\] for spd 3"),
        ("spd", 1, -1, r"1 bond paths .* for spd -1"),
        ("bond_path", 2, torch.tensor([-1, 0, 0, -1, -1]), r"\[-1, 0, 0, -1, -1\] for spd 2"),
        ("distance", 1, 1.5, r"1 distances are not those of the positions, the first of them 1.5 angstrom where.* nan"),
    ],
)
def test_relations_that_disagree(graph, field: str, edge: int, value, words: str) -> None:
    graph.edata[field][edge] = value
    with pytest.raises(mb.SchemaError, match=words):
        check_pairs(graph)


def test_distances_belong_to_positions() -> None:
    graph = spatial()
    check_pairs(graph)
    graph.ndata["positions"] += 1000.0  # moved as a whole, which costs digits
    check_pairs(graph)
    graph.ndata["positions"][0] += 1.0
    with pytest.raises(mb.SchemaError, match=r"6 distances are not(.|\n)*set edata\['distance'\]"):
        check_pairs(graph)
    graph.ndata["positions"][:] = torch.nan
    with pytest.raises(mb.SchemaError, match=r"16 distances are not.*\n.*\n.*NaN where there are no positions"):
        check_pairs(graph)


MEANT = {
    "cut_off": lambda g: mb.cut_off(g, spd=1),
    "edges removed": lambda g: dgl.remove_edges(g, [0, 3, 7]),
    "self pairs removed": dgl.remove_self_loop,
    "edges dropped": DropEdge(0.3),
    "atoms removed": lambda g: dgl.remove_nodes(g, [1]),
    "edges in another order": lambda g: dgl.edge_subgraph(g, torch.randperm(g.num_edges()), relabel_nodes=False),
    "atoms in another order": lambda g: dgl.node_subgraph(g, [2, 0, 1]),
    "edges sorted": dgl.reorder_graph,
}


@pytest.mark.parametrize("change", MEANT.values(), ids=list(MEANT))
@pytest.mark.parametrize("positions", [False, True])
def test_a_change_that_was_meant_works(predictor, change, positions: bool) -> None:
    out = predictor(change(spatial() if positions else FLAT("CC(=O)N")))
    assert torch.isfinite(out).all()


def test_blocks_and_heterographs_are_refused(predictor) -> None:
    hetero = dgl.heterograph({("atom", "bond", "atom"): ([0], [1]), ("atom", "pair", "atom"): ([0], [1])})
    with pytest.raises(mb.SchemaError, match="the graph has several types of nodes or edges; its nodes must be atoms"):
        predictor(hetero)
    with pytest.raises(mb.SchemaError, match="the graph is a block; its nodes must be atoms"):
        predictor(dgl.to_block(FLAT("CCO")))


def test_the_gradient_of_positions_passes() -> None:
    graph = spatial()
    graph.ndata["positions"].requires_grad_()
    check_pairs(graph)


def test_atoms_that_were_filled_with_zeros_are_refused():
    graph = dgl.batch([mb.MoleculeFeaturizer()("CCO"), dgl.add_nodes(mb.MoleculeFeaturizer()("CO"), 2)])
    with pytest.raises(SchemaError, match=r"2 atoms hold zeros alone[\s\S]*graph, atom 5[\s\S]*dgl\.add_nodes"):
        check_pairs(graph)
    hydrogen = mb.MoleculeFeaturizer()("[H+]")
    hydrogen.ndata["atom"][:] = 0
    check_pairs(hydrogen)  # of a caller's own making, with its self pair
