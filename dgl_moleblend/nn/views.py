"""Views of the same pairs: padded tensors, rows without padding, and the edges of a DGLGraph; all can attend."""

from functools import cached_property
from typing import Any, ClassVar, NamedTuple

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

    In the padded view *nodes is (b, n) and *pairs is (b, n, n); in flat views they are (nodes,) and (p,).
    """

    atom: Tensor
    degree: Tensor
    has_conformer: Tensor
    spd: Tensor
    bond_path: Tensor
    distance: Tensor
    has_distance: Tensor


class Masked:
    """The pairs where a mask is True, all of them computed and the others then set to 0: no waiting for the device."""

    def __init__(self, mask: Bool[Tensor, "*pairs"]) -> None:
        self.mask = mask

    def take(self, pairs: Tensor) -> Tensor:
        """Values to compute with: all."""
        return pairs

    def put(self, values: Float[Tensor, "*pairs k"]) -> Float[Tensor, "*pairs k"]:
        """Values where the mask is True, else 0."""
        return values.masked_fill(~self.mask.unsqueeze(-1), 0.0)


class Selected:
    """The pairs where a mask is True, picked out: nothing is computed for the others."""

    def __init__(self, mask: Bool[Tensor, " p"]) -> None:
        self.size = len(mask)
        self.index = mask.nonzero().squeeze(1)

    def take(self, pairs: Tensor) -> Tensor:
        """Values of the selected pairs, (p, ...) -> (q, ...)."""
        return pairs.index_select(0, self.index)

    def put(self, values: Float[Tensor, "q k"]) -> Float[Tensor, "p k"]:
        """Values at their pairs, 0 elsewhere."""
        return values.new_zeros(self.size, values.shape[1]).index_copy(0, self.index, values)


class PaddedView:
    """Every real atom of a padded batch sends to every atom of its molecule; padding is computed and masked.

    Parameters
    ----------
    atom_mask : Tensor, shape (b, n), bool
        True: a real atom (or token).
    """

    select: ClassVar[Any] = Masked

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

    @property
    def pair_shape(self) -> tuple[int, ...]:
        """Leading shape of pair fields, (b, n, n)."""
        return (*self.atom_mask.shape, self.atom_mask.shape[1])

    def receivers(self, nodes: Tensor) -> Tensor:
        """Node values as seen by the receiving atom of each pair, to be broadcast: (b, n, ...) -> (b, n, 1, ...)."""
        return nodes.unsqueeze(2)

    def senders(self, nodes: Tensor) -> Tensor:
        """Node values as seen by the sending atom of each pair, to be broadcast: (b, n, ...) -> (b, 1, n, ...)."""
        return nodes.unsqueeze(1)

    def sum_senders(self, values: Float[Tensor, "b n n k"], chosen: Masked) -> Float[Tensor, "b n k"]:
        """Sum the values of chosen pairs over the sending atoms."""
        return torch.einsum("bij,bijk->bik", chosen.mask.to(values.dtype), values)

    def spread(self, molecules: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1"]:
        """One value per molecule, to be broadcast against node features."""
        return molecules[:, None, None]

    def with_token(self, feat: Float[Tensor, "b n d"], token: Tensor) -> tuple["PaddedView", Float[Tensor, "b m d"]]:
        """Put a token in front of every molecule's atoms, m = n + 1."""
        view = PaddedView(F.pad(self.atom_mask, (1, 0), value=True))
        return view, torch.cat((token.expand(len(feat), 1, -1).to(feat), feat), 1)

    def split_token(self, feat: Float[Tensor, "b m d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b d"]]:
        """Undo `with_token`: padded atom states, 0 in the padding, and token states."""
        return feat[:, 1:] * self.atom_mask[:, :, None].to(feat.dtype), feat[:, 0]

    def logit_bias(self, bias: Float[Tensor, "b n n h"], token: Tensor | None = None) -> Float[Tensor, "b h m m"]:
        """Lay the bias out as attention wants it, heads first; padded keys get -inf, the token its own row and column.

        With `token` (h,) the pairs of the token are put in front, m = n + 1; without it m = n.
        """
        if token is None:
            return bias.permute(0, 3, 1, 2).masked_fill(~self.atom_mask[:, None, None, :], -torch.inf)
        out = _token_logits(token.to(bias), self.atom_mask).clone()
        out[:, :, 1:, 1:] = self.logit_bias(bias)
        return out

    def attend(
        self,
        query: Float[Tensor, "b n h c"],
        key: Float[Tensor, "b n h c"],
        value: Float[Tensor, "b n h c"],
        bias: Float[Tensor, "b h n n"],
        dropout: float,
    ) -> Float[Tensor, "b n h c"]:
        """Softmax over keys of query . key / sqrt(c) + bias, in float32; weighted sum of values."""
        query, key, value = (x.transpose(1, 2).contiguous() for x in (query, key, value))
        return _attend(query, key, value, bias, dropout).transpose(1, 2)

    def pad_nodes(self, nodes: Tensor) -> Tensor:
        """Node values in the padded layout; here they are."""
        return nodes

    def pad_pairs(self, pairs: Tensor) -> Tensor:
        """Pair values in the padded layout; here they are."""
        return pairs

    def take_nodes(self, padded: Tensor) -> Tensor:
        """Node values of this view from the padded layout."""
        return padded

    def take_pairs(self, padded: Tensor) -> Tensor:
        """Pair values of this view from the padded layout."""
        return padded


class FlatView:
    """Nodes and pairs as rows without padding; the base of `PackedView` and `GraphView`.

    Parameters
    ----------
    size : tuple of int
        (b, n) of the padded layout.
    molecule, place : Tensor, shape (nodes,)
        Molecule of every node, and its number within it.
    sender, receiver : Tensor, shape (p,)
        Nodes of every pair.
    """

    select: ClassVar[Any] = Selected

    def __init__(
        self, size: tuple[int, int], molecule: Tensor, place: Tensor, sender: Tensor, receiver: Tensor
    ) -> None:
        self.size = size
        self.molecule = molecule
        self.place = place
        self.sender = sender
        self.receiver = receiver

    @property
    def num_molecules(self) -> int:
        """Number of molecules b."""
        return self.size[0]

    @property
    def pair_shape(self) -> tuple[int, ...]:
        """Leading shape of pair fields, (p,)."""
        return tuple(self.receiver.shape)

    @cached_property
    def node_rows(self) -> Tensor:
        """Rows of the nodes in the flattened padded layout, (nodes,)."""
        return self.molecule * self.size[1] + self.place

    @cached_property
    def pair_rows(self) -> Tensor:
        """Rows of the pairs in the flattened padded layout, (p,)."""
        return self.node_rows[self.receiver] * self.size[1] + self.place[self.sender]

    @cached_property
    def atom_mask(self) -> Bool[Tensor, "b n"]:
        """True: a real atom, in the padded layout."""
        return self.pad_nodes(torch.ones_like(self.molecule, dtype=torch.bool))

    def receivers(self, nodes: Tensor) -> Tensor:
        """Node values of the receiving atom of each pair: (nodes, ...) -> (p, ...)."""
        return nodes.index_select(0, self.receiver)

    def senders(self, nodes: Tensor) -> Tensor:
        """Node values of the sending atom of each pair: (nodes, ...) -> (p, ...)."""
        return nodes.index_select(0, self.sender)

    def sum_senders(self, values: Float[Tensor, "q k"], chosen: Selected) -> Float[Tensor, "nodes k"]:
        """Sum the values of chosen pairs over the sending atoms."""
        out = values.new_zeros(len(self.molecule), values.shape[1])
        return out.index_add(0, self.receiver[chosen.index], values)

    def spread(self, molecules: Float[Tensor, " b"]) -> Float[Tensor, "nodes 1"]:
        """One value per molecule, to be broadcast against node features."""
        return molecules[self.molecule].unsqueeze(-1)

    def pad_nodes(self, nodes: Tensor) -> Tensor:
        """Node values in the padded layout, 0 in the padding: (nodes, ...) -> (b, n, ...)."""
        b, n = self.size
        return nodes.new_zeros(b * n, *nodes.shape[1:]).index_copy(0, self.node_rows, nodes).unflatten(0, (b, n))

    def pad_pairs(self, pairs: Tensor) -> Tensor:
        """Pair values in the padded layout, 0 where there is no pair: (p, ...) -> (b, n, n, ...)."""
        b, n = self.size
        out = pairs.new_zeros(b * n * n, *pairs.shape[1:])
        return out.index_copy(0, self.pair_rows, pairs).unflatten(0, (b, n, n))

    def take_nodes(self, padded: Tensor) -> Tensor:
        """Node values of this view from the padded layout: (b, n, ...) -> (nodes, ...)."""
        return padded.flatten(0, 1).index_select(0, self.node_rows)

    def take_pairs(self, padded: Tensor) -> Tensor:
        """Pair values of this view from the padded layout: (b, n, n, ...) -> (p, ...)."""
        return padded.flatten(0, 2).index_select(0, self.pair_rows)


class PackedView(FlatView):
    """The real atoms of a padded batch and their pairs, one row each; laid out padded for attention only.

    Parameters
    ----------
    atom_mask : Tensor, shape (b, n), bool
        True: a real atom.
    """

    def __init__(self, atom_mask: Bool[Tensor, "b n"]) -> None:
        b, n = atom_mask.shape
        rows = atom_mask.flatten().nonzero().squeeze(1)
        pair_rows = (atom_mask[:, :, None] & atom_mask[:, None, :]).flatten().nonzero().squeeze(1)
        node = torch.cumsum(atom_mask.flatten(), 0) - 1
        receiver_row = torch.div(pair_rows, n, rounding_mode="floor")
        sender_row = torch.div(receiver_row, n, rounding_mode="floor") * n + pair_rows % n
        molecule = torch.div(rows, n, rounding_mode="floor")
        super().__init__((b, n), molecule, rows % n, node[sender_row], node[receiver_row])
        self.node_rows, self.pair_rows, self.atom_mask = rows, pair_rows, atom_mask

    def with_token(self, feat: Float[Tensor, "nodes d"], token: Tensor) -> tuple["PackedTokens", Float[Tensor, "t d"]]:
        """Add one token per molecule, before all atoms; they are rows of their own."""
        return PackedTokens(self), torch.cat((token.expand(self.num_molecules, -1).to(feat), feat))

    def split_token(self, feat: Float[Tensor, "t d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b d"]]:
        """Undo `with_token`: padded atom states, 0 in the padding, and token states."""
        return self.pad_nodes(feat[self.num_molecules :]), feat[: self.num_molecules]

    def logit_bias(self, bias: Float[Tensor, "p h"], token: Tensor) -> Float[Tensor, "b h m m"]:
        """Lay the bias out as attention wants it, heads first, the token in front; padded keys get -inf."""
        heads_last = _token_logits(token.to(bias), self.atom_mask).permute(0, 2, 3, 1)
        molecule, i, j = self.molecule[self.receiver], self.place[self.receiver] + 1, self.place[self.sender] + 1
        return heads_last.index_put((molecule, i, j), bias).permute(0, 3, 1, 2).contiguous()


class PackedTokens:
    """The rows that layers see in a packed view: b tokens, then all real atoms.

    Parameters
    ----------
    atoms : PackedView
    """

    def __init__(self, atoms: PackedView) -> None:
        b, n = atoms.size
        tokens = torch.arange(b, device=atoms.molecule.device)
        self.molecule = torch.cat((tokens, atoms.molecule))
        self.place = torch.cat((torch.zeros_like(tokens), atoms.place + 1))
        self.shape = (b, n + 1)

    @property
    def num_molecules(self) -> int:
        """Number of molecules b."""
        return self.shape[0]

    def spread(self, molecules: Float[Tensor, " b"]) -> Float[Tensor, "t 1"]:
        """One value per molecule, to be broadcast against node features."""
        return molecules[self.molecule].unsqueeze(-1)

    def pad_nodes(self, rows: Tensor) -> Tensor:
        """Rows in the padded layout with the token in front, 0 in the padding: (t, ...) -> (b, m, ...)."""
        out = rows.new_zeros(*self.shape, *rows.shape[1:])
        return out.index_put((self.molecule, self.place), rows)

    def attend(
        self,
        query: Float[Tensor, "t h c"],
        key: Float[Tensor, "t h c"],
        value: Float[Tensor, "t h c"],
        bias: Float[Tensor, "b h m m"],
        dropout: float,
    ) -> Float[Tensor, "t h c"]:
        """Attend as `PaddedView.attend` does, from rows to rows."""
        at = (self.molecule, self.place, self.shape)
        query, key, value = (_PadHeadsFirst.apply(x, *at) for x in (query, key, value))
        return _TakeRows.apply(_attend(query, key, value, bias, dropout), *at)


class GraphView(FlatView):
    """Pairs that are the edges of a (batched) DGLGraph, which need not be complete: messages go over edges.

    Parameters
    ----------
    graph : DGLGraph
        Its structure alone is used; its data are neither read nor changed.
    """

    def __init__(self, graph: DGLGraph) -> None:
        sender, receiver = (end.long() for end in graph.edges())
        sizes = graph.batch_num_nodes()
        molecule = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
        first = torch.cumsum(sizes, 0) - sizes
        place = torch.arange(len(molecule), device=sizes.device) - first[molecule]
        super().__init__((len(sizes), int(sizes.max())), molecule, place, sender, receiver)
        self.graph = graph

    def with_token(self, feat: Float[Tensor, "nodes d"], token: Tensor) -> tuple["GraphView", Tensor]:
        """Add one token node per molecule, after all atoms, joined both ways with its atoms and with itself."""
        atoms = torch.arange(len(feat), device=feat.device)
        tokens = len(feat) + torch.arange(self.num_molecules, device=feat.device)
        own_token = tokens[self.molecule]
        graph = dgl.graph(
            (torch.cat((self.sender, own_token, atoms, tokens)), torch.cat((self.receiver, atoms, own_token, tokens))),
            num_nodes=len(feat) + len(tokens),
        )
        view = GraphView(graph)
        view.size = (self.num_molecules, self.size[1] + 1)
        view.molecule = torch.cat((self.molecule, tokens - len(feat)))
        view.place = torch.cat((self.place + 1, torch.zeros_like(tokens)))
        return view, torch.cat((feat, token.expand(len(tokens), -1).to(feat)))

    def split_token(self, feat: Float[Tensor, "nodes d"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b d"]]:
        """Undo `with_token`: padded atom states, 0 in the padding, and token states."""
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


View = PaddedView | PackedView | GraphView
LayerView = PaddedView | PackedTokens | GraphView


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


def _token_logits(token: Float[Tensor, " h"], atom_mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b h m m"]:
    """Return the token's bias everywhere, and -inf for padded keys."""
    (b, n), h = atom_mask.shape, len(token)
    absent = F.pad(~atom_mask, (1, 0))[:, None, None, :]
    return token[:, None, None].expand(b, h, n + 1, n + 1).masked_fill(absent, -torch.inf)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float) -> Tensor:
    """Attention over (b, h, m, c) by batched products; on CPU faster than scaled_dot_product_attention with a bias."""
    b, h, m, c = query.shape
    query, key, value = (x.view(b * h, m, c) for x in (query, key, value))
    logits = torch.baddbmm(bias.reshape(b * h, m, m).to(query.dtype), query, key.transpose(1, 2), alpha=c**-0.5)
    weight = torch.softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return torch.bmm(F.dropout(weight, dropout).to(value.dtype), value).view(b, h, m, c)


class _PadHeadsFirst(torch.autograd.Function):
    """Rows (t, h, c) -> padded (b, h, m, c), in one copy; its gradient is what `_TakeRows` computes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, molecule: Tensor, place: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(molecule, place)
        return _pad_heads_first(rows, molecule, place, shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        molecule, place = ctx.saved_tensors
        return grads[0].transpose(1, 2)[molecule, place], None, None, None


class _TakeRows(torch.autograd.Function):
    """Padded (b, h, m, c) -> rows (t, h, c), in one copy; its gradient is what `_PadHeadsFirst` computes."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, molecule: Tensor, place: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(molecule, place)
        ctx.shape = shape
        return padded.transpose(1, 2)[molecule, place]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        molecule, place = ctx.saved_tensors
        return _pad_heads_first(grads[0], molecule, place, ctx.shape), None, None, None


def _pad_heads_first(rows: Tensor, molecule: Tensor, place: Tensor, shape: tuple[int, int]) -> Tensor:
    out = rows.new_zeros(shape[0], rows.shape[1], shape[1], rows.shape[2])
    out.transpose(1, 2)[molecule, place] = rows
    return out
