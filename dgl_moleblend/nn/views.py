"""Two views of the same pairs: padded tensors, and the edges of a DGLGraph. Both know how to attend over them."""

from functools import cached_property
from typing import NamedTuple

import dgl
import torch
from dgl import DGLGraph
from dgl.nn.functional import edge_softmax
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from dgl_moleblend.batch import RelationBatch
from dgl_moleblend.errors import SchemaError
from dgl_moleblend.schema import check_graph


class Relations(NamedTuple):
    """What the encoder reads: node fields with leading shape *nodes, pair fields with leading shape *pairs.

    In the dense view *nodes is (b, n) and *pairs is (b, n, n); in the graph view (nodes,) and (edges,).
    """

    atom: Tensor
    degree: Tensor
    has_conformer: Tensor
    spd: Tensor
    bond_path: Tensor
    distance: Tensor
    has_distance: Tensor


class DenseView:
    """Pairs of a padded batch: every atom receives from every real atom of its molecule.

    Parameters
    ----------
    atom_mask : Tensor, shape (b, n), bool
        True: a real atom (or token).
    """

    def __init__(self, atom_mask: Bool[Tensor, "b n"]) -> None:
        if atom_mask.dtype != torch.bool or atom_mask.ndim != 2:
            raise SchemaError(
                f"`atom_mask` must be bool of shape (b, n), got {atom_mask.dtype} of shape {tuple(atom_mask.shape)}",
                fix="pass RelationBatch.atom_mask",
            )
        self.atom_mask = atom_mask

    @property
    def num_molecules(self) -> int:
        """Number of molecules b."""
        return len(self.atom_mask)

    def receivers(self, nodes: Tensor) -> Tensor:
        """Node values as seen by the receiving atom of each pair, to be broadcast: (b, n, ...) -> (b, n, 1, ...)."""
        return nodes.unsqueeze(2)

    def senders(self, nodes: Tensor) -> Tensor:
        """Node values as seen by the sending atom of each pair, to be broadcast: (b, n, ...) -> (b, 1, n, ...)."""
        return nodes.unsqueeze(1)

    def sum_senders(self, pairs: Float[Tensor, "b n n k"], mask: Bool[Tensor, "b n n"]) -> Float[Tensor, "b n k"]:
        """Sum pair values over the sending atoms where the mask is True."""
        return torch.einsum("bij,bijk->bik", mask.to(pairs.dtype), pairs)

    def spread(self, molecules: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1"]:
        """One value per molecule, to be broadcast against node features."""
        return molecules[:, None, None]

    def with_token(self, feat: Float[Tensor, "b n d"], token: Tensor) -> tuple["DenseView", Float[Tensor, "b m d"]]:
        """Put a token in front of every molecule's atoms; m = n + 1."""
        view = DenseView(F.pad(self.atom_mask, (1, 0), value=True))
        return view, torch.cat((token.expand(len(feat), 1, -1).to(feat), feat), 1)

    def split_token(self, feat: Float[Tensor, "b m d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b d"]]:
        """Undo `with_token`: padded atom states, 0 in the padding, and token states (called on the view without)."""
        return feat[:, 1:] * self.atom_mask[:, :, None].to(feat.dtype), feat[:, 0]

    def logit_bias(self, bias: Float[Tensor, "b n n h"], token: Tensor | None = None) -> Float[Tensor, "b h m m"]:
        """Lay the bias out as attention wants it, heads first; padded keys get -inf, the token its own row and column.

        With `token` (h,) the pairs of the token are put in front, m = n + 1; without it m = n.
        """
        absent = ~self.atom_mask[:, None, None, :]
        if token is None:
            return bias.permute(0, 3, 1, 2).masked_fill(absent, -torch.inf)
        b, n, _, h = bias.shape
        out = token.to(bias)[:, None, None].expand(b, h, n + 1, n + 1).clone()
        out[:, :, 1:, 1:] = bias.permute(0, 3, 1, 2)
        return out.masked_fill(F.pad(absent, (1, 0)), -torch.inf)

    def attend(
        self,
        query: Float[Tensor, "b n h c"],
        key: Float[Tensor, "b n h c"],
        value: Float[Tensor, "b n h c"],
        bias: Float[Tensor, "b h n n"],
        dropout: float,
    ) -> Float[Tensor, "b n h c"]:
        """Softmax over keys of query . key / sqrt(c) + bias, in float32; weighted sum of values."""
        b, n, h, c = query.shape

        def heads_first(x: Tensor) -> Tensor:
            return x.transpose(1, 2).reshape(b * h, n, c)

        logits = torch.baddbmm(
            bias.reshape(b * h, n, n).to(query.dtype),
            heads_first(query),
            heads_first(key).transpose(1, 2),
            alpha=c**-0.5,
        )
        weight = F.dropout(_softmax(logits), dropout)
        out = weight.to(value.dtype) @ heads_first(value)
        return out.view(b, h, n, c).transpose(1, 2)

    def pad_nodes(self, nodes: Tensor) -> Tensor:
        """Node values in the padded layout; here they are."""
        return nodes

    def pad_pairs(self, pairs: Tensor) -> Tensor:
        """Pair values in the padded layout; here they are."""
        return pairs

    def take_pairs(self, dense: Tensor) -> Tensor:
        """Pair values of this view from the padded layout."""
        return dense

    def take_nodes(self, dense: Tensor) -> Tensor:
        """Node values of this view from the padded layout."""
        return dense


class GraphView:
    """Pairs that are the edges of a (batched) DGLGraph, which need not be complete: messages go over edges.

    Parameters
    ----------
    graph : DGLGraph
        Its structure alone is used; its data are neither read nor changed.
    molecule : Tensor, shape (nodes,), optional
        The molecule of every node; by default as DGL batched them.
    """

    def __init__(self, graph: DGLGraph, molecule: Tensor | None = None) -> None:
        self.graph = graph
        self.sender, self.receiver = (end.long() for end in graph.edges())
        if molecule is None:
            sizes = graph.batch_num_nodes()
            molecule = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
        self.molecule = molecule

    @property
    def num_molecules(self) -> int:
        """Number of molecules b."""
        return self.graph.batch_size

    @cached_property
    def place(self) -> Tensor:
        """Each atom's number within its molecule, shape (nodes,)."""
        sizes = self.graph.batch_num_nodes()
        first = torch.cumsum(sizes, 0) - sizes
        return torch.arange(len(self.molecule), device=sizes.device) - first[self.molecule]

    @cached_property
    def atom_mask(self) -> Bool[Tensor, "b n"]:
        """True: a real atom, in the padded layout."""
        return self.pad_nodes(torch.ones_like(self.molecule, dtype=torch.bool))

    def receivers(self, nodes: Tensor) -> Tensor:
        """Node values of the receiving atom of each edge: (nodes, ...) -> (edges, ...)."""
        return nodes[self.receiver]

    def senders(self, nodes: Tensor) -> Tensor:
        """Node values of the sending atom of each edge: (nodes, ...) -> (edges, ...)."""
        return nodes[self.sender]

    def sum_senders(self, pairs: Float[Tensor, "p k"], mask: Bool[Tensor, " p"]) -> Float[Tensor, "nodes k"]:
        """Sum edge values over the sending atoms where the mask is True."""
        return dgl.ops.copy_e_sum(self.graph, pairs * mask.to(pairs.dtype).unsqueeze(-1))

    def spread(self, molecules: Float[Tensor, " b"]) -> Float[Tensor, "nodes 1"]:
        """One value per molecule, to be broadcast against node features."""
        return molecules[self.molecule].unsqueeze(-1)

    def with_token(self, feat: Float[Tensor, "nodes d"], token: Tensor) -> tuple["GraphView", Tensor]:
        """Add one token node per molecule, joined both ways with its atoms and with itself.

        Returns the view of the larger graph (atoms first, then tokens; edges of this graph first) and its features.
        """
        atoms = torch.arange(len(feat), device=feat.device)
        tokens = len(feat) + torch.arange(self.num_molecules, device=feat.device)
        own_token = tokens[self.molecule]
        graph = dgl.graph(
            (torch.cat((self.sender, own_token, atoms, tokens)), torch.cat((self.receiver, atoms, own_token, tokens))),
            num_nodes=len(feat) + len(tokens),
        )
        molecule = torch.cat((self.molecule, tokens - len(feat)))
        return GraphView(graph, molecule), torch.cat((feat, token.expand(len(tokens), -1).to(feat)))

    def split_token(self, feat: Float[Tensor, "nodes d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b d"]]:
        """Undo `with_token`: padded atom states, 0 in the padding, and token states (called on the view without)."""
        return self.pad_nodes(feat[: len(self.molecule)]), feat[len(self.molecule) :]

    def logit_bias(self, bias: Float[Tensor, "p h"], token: Tensor | None = None) -> Float[Tensor, "edges h"]:
        """Lay the bias out as attention wants it: the edges of this graph, then those that `with_token` adds."""
        if token is None:
            return bias
        return torch.cat((bias, token.to(bias).expand(2 * len(self.molecule) + self.num_molecules, -1)))

    def attend(
        self,
        query: Float[Tensor, "nodes h c"],
        key: Float[Tensor, "nodes h c"],
        value: Float[Tensor, "nodes h c"],
        bias: Float[Tensor, "edges h"],
        dropout: float,
    ) -> Float[Tensor, "nodes h c"]:
        """Softmax over incoming edges of query . key / sqrt(c) + bias, in float32; weighted sum of senders."""
        with torch.autocast(query.device.type, enabled=False):
            work = torch.promote_types(query.dtype, torch.float32)  # DGL's kernels are float32 and float64
            score = dgl.ops.u_dot_v(self.graph, key.to(work), query.to(work)).squeeze(-1) * query.shape[-1] ** -0.5
            weight = F.dropout(edge_softmax(self.graph, score + bias.to(work)), dropout)  # (edges, h)
            return dgl.ops.u_mul_e_sum(self.graph, value.to(work), weight.unsqueeze(-1)).to(query.dtype)

    def pad_nodes(self, nodes: Tensor) -> Tensor:
        """Node values in the padded layout, 0 in the padding: (nodes, ...) -> (b, n, ...)."""
        n = int(self.graph.batch_num_nodes().max())
        out = nodes.new_zeros(self.num_molecules, n, *nodes.shape[1:])
        return out.index_put((self.molecule, self.place), nodes)

    def pad_pairs(self, pairs: Tensor) -> Tensor:
        """Pair values in the padded layout, 0 where there is no edge: (edges, ...) -> (b, n, n, ...)."""
        n = int(self.graph.batch_num_nodes().max())
        out = pairs.new_zeros(self.num_molecules, n, n, *pairs.shape[1:])
        at = (self.molecule[self.receiver], self.place[self.receiver], self.place[self.sender])
        return out.index_put(at, pairs)

    def take_pairs(self, dense: Tensor) -> Tensor:
        """Edge values from the padded layout: (b, n, n, ...) -> (edges, ...)."""
        return dense[self.molecule[self.receiver], self.place[self.receiver], self.place[self.sender]]

    def take_nodes(self, dense: Tensor) -> Tensor:
        """Node values from the padded layout: (b, n, ...) -> (nodes, ...)."""
        return dense[self.molecule, self.place]


View = DenseView | GraphView


def view_of(pairs: DGLGraph | Tensor | View) -> View:
    """Return the view that a public argument stands for: a graph, an atom mask, or a view itself."""
    if isinstance(pairs, DenseView | GraphView):
        return pairs
    return GraphView(pairs) if isinstance(pairs, DGLGraph) else DenseView(pairs)


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
        If a field of the schema is missing, or "dense" is asked of a graph that lacks pairs.
    """
    if backend not in ("auto", "dense", "message_passing"):
        raise ValueError(f"backend={backend!r} is not allowed\n  fix:   one of 'auto', 'dense', 'message_passing'")
    if isinstance(data, DGLGraph):
        check_graph(data)
        if backend == "auto":
            sizes = data.batch_num_nodes()
            backend = "dense" if torch.equal(data.batch_num_edges(), sizes * sizes) else "message_passing"
        if backend == "dense":
            data = RelationBatch.from_graph(data)
    elif backend == "message_passing":
        data = data.to_graph()
    return _open_graph(data) if isinstance(data, DGLGraph) else _open_batch(data)


def _open_batch(batch: RelationBatch) -> tuple[DenseView, Relations]:
    view = DenseView(batch.atom_mask)
    relations = Relations(
        atom=batch.atom.masked_fill(~batch.atom_mask[:, :, None], 0),
        degree=batch.degree,
        has_conformer=batch.has_conformer[:, None].expand_as(batch.atom_mask),
        spd=batch.spd,
        bond_path=batch.bond_path,
        distance=batch.distance,
        has_distance=batch.pair_mask & batch.has_conformer[:, None, None],
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


def _softmax(logits: Tensor) -> Tensor:
    return torch.softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
