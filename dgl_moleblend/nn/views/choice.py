"""The views of the same pairs, which of them is taken, and what the encoder reads from it."""

from typing import NamedTuple

import torch
from torch import Tensor

from dgl_moleblend.config import check
from dgl_moleblend.nn.views.graph import GraphView
from dgl_moleblend.nn.views.packed import PackedTokens, PackedView
from dgl_moleblend.nn.views.padded import PaddedView
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.pairs.checks import check_pairs
from dgl_moleblend.schema import DGLGraph, check_graph

BACKENDS = ("auto", "dense", "message_passing")
View = PaddedView | PackedView | GraphView
LayerView = PaddedView | PackedTokens | GraphView


class Relations(NamedTuple):
    """What the encoder reads: node fields with leading shape *nodes, pair fields with leading shape *pairs.

    In the padded view *nodes is (b, n) and *pairs is (b, n, n); in flat views they are (nodes,) and (p,).
    """

    atom: Tensor
    degree: Tensor
    has_conformer: Tensor
    spd: Tensor
    bond_path: Tensor
    distance: Tensor
    has_distance: Tensor


def leaves_out_padding(device: torch.device) -> bool:
    """Whether padding is left out: on CPU it pays; elsewhere finding the real rows would make the host wait."""
    return device.type == "cpu"


def open_view(data: RelationBatch | DGLGraph, backend: str = "auto") -> tuple[View, Relations]:
    """Choose the view in which relations are computed, and return it with them.

    Parameters
    ----------
    data : RelationBatch or DGLGraph
    backend : {"auto", "dense", "message_passing"}
        "auto" is dense for a RelationBatch and for a graph with all pairs, message passing for any other graph.

    Raises
    ------
    SchemaError
        If a field of the schema is missing, an edge says what cannot be true, or "dense" is asked of a graph that
        lacks pairs.
    """
    check(backend in BACKENDS, "backend", backend, f"one of {', '.join(map(repr, BACKENDS))}")
    if isinstance(data, DGLGraph):
        check_graph(data)
        if backend == "auto":
            sizes = data.batch_num_nodes()
            backend = "dense" if torch.equal(data.batch_num_edges(), sizes * sizes) else "message_passing"
        if backend == "dense":
            data = RelationBatch.from_graph(data)
        else:
            check_pairs(data)
    elif backend == "message_passing":
        data = data.to_graph()
    return _open_graph(data) if isinstance(data, DGLGraph) else _open_batch(data)


def _open_batch(batch: RelationBatch) -> tuple[PaddedView | PackedView, Relations]:
    view = PackedView(batch.atom_mask) if leaves_out_padding(batch.atom_mask.device) else PaddedView(batch.atom_mask)
    relations = Relations(
        atom=view.take_nodes(batch.atom.masked_fill(~batch.atom_mask[:, :, None], 0)),
        degree=view.take_nodes(batch.degree),
        has_conformer=view.take_nodes(batch.has_conformer[:, None].expand_as(batch.atom_mask)),
        spd=view.take_pairs(batch.spd),
        bond_path=view.take_pairs(batch.bond_path),
        distance=view.take_pairs(batch.distance),
        has_distance=view.take_pairs(batch.pair_mask & batch.has_conformer[:, None, None]),
    )
    return view, relations


def _open_graph(graph: DGLGraph) -> tuple[GraphView, Relations]:
    distance = graph.edata["distance"]
    relations = Relations(
        atom=graph.ndata["atom"],
        degree=graph.ndata["degree"],
        has_conformer=~graph.ndata["positions"].isnan().any(-1),
        spd=graph.edata["spd"],
        bond_path=graph.edata["bond_path"],
        distance=distance.nan_to_num(0.0),
        has_distance=~distance.isnan(),
    )
    return GraphView(graph), relations
