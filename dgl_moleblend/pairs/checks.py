"""check_pairs: a graph's pairs are each there once, and their relations agree with one another and with positions."""

from collections.abc import Callable

import torch
from torch import Tensor

from dgl_moleblend.errors import SchemaError
from dgl_moleblend.schema import PATH_HOPS, DGLGraph, check_graph

TOLERANCE = 1e-3
"""Angstrom, and the same part of a distance: what rounding may make of a distance between positions in float32."""


def check_pairs(graph: DGLGraph, *, where: str = "graph") -> None:
    """Check that a DGLGraph satisfies the schema, and that its edges say nothing untrue.

    DGL's transforms fill the data of atoms and edges that they add with zeros or ones, which look like relations. Pairs
    may be left out; a pair that is there must be there once and hold relations that can be true.

    Parameters
    ----------
    graph : DGLGraph
        One molecule or a batch of them; it need not be complete.
    where : str
        Named in the error.

    Raises
    ------
    SchemaError
        If a field is missing or has another shape; if an atom was filled with zeros, a self pair has an spd other than
        0, a pair is there twice, a bond path has another length than its spd says, or a distance is not that of the
        positions.

    Examples
    --------
    >>> import dgl, dgl_moleblend as mb
    >>> graph = mb.MoleculeFeaturizer()("CO")
    >>> check_pairs(graph)
    >>> check_pairs(dgl.add_self_loop(graph))
    Traceback (most recent call last):
    dgl_moleblend.errors.SchemaError: 2 self pairs have an spd other than 0, the first of them 1
      where: graph, edge 4 from atom 0 to atom 0
      fix:   leave out dgl.add_self_loop (or AddSelfLoop): each atom is paired with itself already, and new edges ...
    """
    check_graph(graph, where=where)
    sender, receiver = graph.edges()
    empty = (graph.ndata["atom"] == 0).all(-1)  # hydrogen of charge -5: no atom is
    if empty.any() and (empty := empty & (graph.in_degrees() + graph.out_degrees() == 0)).any():
        first = int(empty.nonzero()[0, 0])
        raise SchemaError(
            f"{int(empty.sum())} atoms hold zeros alone and are in no pair, not even with themselves",
            where=f"{where}, atom {first}",
            fix="leave out dgl.add_nodes: make the graph of the molecule that has these atoms",
        )
    with torch.no_grad():
        spd, bond_path, distance = (graph.edata[name] for name in ("spd", "bond_path", "distance"))
        wrong = {
            _self_pairs: (sender == receiver) != (spd == 0),
            _bond_paths: _paths_differ(bond_path, spd),
            _distances: _distances_differ(graph.ndata["positions"], sender, receiver, distance),
        }
        if torch.stack([found.any() for found in wrong.values()]).any():  # one answer from the device
            for tell, found in wrong.items():
                if found.any():
                    raise _lie(graph, found, tell, where)
    pair = receiver.long() * graph.num_nodes() + sender.long()
    grows = bool((pair[1:] > pair[:-1]).all())  # as the featurizer and cut_off leave it: seen at once
    if not grows and len(pair.unique()) < len(pair):
        raise _lie(graph, _repeated(pair), _twice, where)


def _paths_differ(bond_path: Tensor, spd: Tensor) -> Tensor:
    """Hop k holds a bond if and only if the path has more than k bonds."""
    hops = torch.arange(PATH_HOPS, device=spd.device, dtype=spd.dtype)
    return ((bond_path >= 0) != (hops < spd.unsqueeze(-1))).any(-1)


def _distances_differ(positions: Tensor, sender: Tensor, receiver: Tensor, distance: Tensor) -> Tensor:
    if positions.isnan().all():  # no molecule has any: most 2D work
        return ~distance.isnan()
    offset = positions.index_select(0, receiver) - positions.index_select(0, sender)
    expected = offset.square().sum(-1).sqrt()
    close = (distance - expected).abs() <= TOLERANCE * (1 + expected)
    return ~(close | (distance.isnan() & expected.isnan()))


def _repeated(pair: Tensor) -> Tensor:
    """All but the first edge of each pair."""
    order = pair.argsort(stable=True)
    repeated = torch.zeros_like(pair, dtype=torch.bool)
    repeated[order[1:]] = pair[order[1:]] == pair[order[:-1]]
    return repeated


Tell = Callable[[DGLGraph, int, int], tuple[str, str]]


def _lie(graph: DGLGraph, found: Tensor, tell: Tell, where: str) -> SchemaError:
    edge = int(found.nonzero()[0, 0])
    sender, receiver = (int(end) for end in graph.find_edges(edge))
    what, fix = tell(graph, int(found.sum()), edge)
    return SchemaError(what, where=f"{where}, edge {edge} from atom {sender} to atom {receiver}", fix=fix)


def _self_pairs(graph: DGLGraph, count: int, edge: int) -> tuple[str, str]:
    sender, receiver = graph.find_edges(edge)
    spd = int(graph.edata["spd"][edge])
    if int(sender) == int(receiver):
        return (
            f"{count} self pairs have an spd other than 0, the first of them {spd}",
            "leave out dgl.add_self_loop (or AddSelfLoop): each atom is paired with itself already, and new edges are"
            " filled with ones",
        )
    return (
        f"{count} pairs of two atoms have spd 0",
        "give the edges that dgl.add_edges, AddReverse or another transform added the relations of their pairs, or"
        " leave the transform out: a graph of all pairs needs no further edges",
    )


def _bond_paths(graph: DGLGraph, count: int, edge: int) -> tuple[str, str]:
    path, spd = graph.edata["bond_path"][edge].tolist(), int(graph.edata["spd"][edge])
    return (
        f"{count} bond paths do not have as many bonds as their spd says, the first of them {path} for spd {spd}",
        "leave out what added or filled edges (dgl.add_self_loop, dgl.add_edges, AddReverse): a path holds min(spd,"
        f" {PATH_HOPS}) bond ids, then -1",
    )


def _distances(graph: DGLGraph, count: int, edge: int) -> tuple[str, str]:
    distance = float(graph.edata["distance"][edge])
    sender, receiver = graph.find_edges(edge)
    positions = graph.ndata["positions"]
    expected = float(torch.dist(positions[int(sender)], positions[int(receiver)]))
    return (
        f"{count} distances are not those of the positions, the first of them {distance:.4g} angstrom where it should"
        f" be {expected:.4g}",
        "leave out what added edges (dgl.add_self_loop, dgl.add_edges), or, where positions were changed, set"
        " edata['distance'] to their distances; NaN where there are no positions",
    )


def _twice(graph: DGLGraph, count: int, edge: int) -> tuple[str, str]:
    return (
        f"{count} edges repeat a pair that is there already",
        "leave out AddReverse, dgl.add_reverse_edges, dgl.add_self_loop or dgl.add_edges: a graph of all pairs has both"
        " directions and all self pairs",
    )
