"""GraphView: pairs that are the edges of a DGLGraph; attention is message passing."""

import torch
from jaxtyping import Float
from torch import Tensor

from dgl_moleblend.nn.dropout import dropout
from dgl_moleblend.nn.views.flat import FlatView
from dgl_moleblend.schema import DGLGraph


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
        import dgl

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
        self, query_key_value: Float[Tensor, "nodes 3 h c"], bias: Float[Tensor, "edges h"], rate: float
    ) -> Float[Tensor, "nodes h c"]:
        """Softmax over incoming edges of query . key / sqrt(c) + bias, in float32; weighted sum of senders."""
        from dgl.ops import u_mul_e_sum

        query, key, value = query_key_value.unbind(1)
        with torch.autocast(query.device.type, enabled=False):
            weight = dropout(self.weights(query, key, bias), rate)
            return u_mul_e_sum(self.graph, value.to(weight.dtype), weight.unsqueeze(-1)).to(query.dtype)

    def weights(
        self, query: Float[Tensor, "nodes h c"], key: Float[Tensor, "nodes h c"], bias: Float[Tensor, "edges h"]
    ) -> Float[Tensor, "edges h"]:
        """Softmax over incoming edges of query . key / sqrt(c) + bias."""
        from dgl.nn.functional import edge_softmax
        from dgl.ops import u_dot_v

        work = torch.promote_types(query.dtype, torch.float32)  # DGL's kernels are float32 and float64
        with torch.autocast(query.device.type, enabled=False):
            score = u_dot_v(self.graph, key.to(work), query.to(work)).squeeze(-1) * query.shape[-1] ** -0.5
            return edge_softmax(self.graph, score + bias.to(work))
