"""MoleBlendLayer: attention over relations and a feed-forward block, each with a residual and a norm."""

import torch
from torch import Tensor, nn

from dgl_moleblend.errors import SchemaError
from dgl_moleblend.nn.attention import RelationAttention
from dgl_moleblend.nn.dropout import Dropout, dropout
from dgl_moleblend.nn.recompute import recomputed
from dgl_moleblend.nn.views.choice import LayerView
from dgl_moleblend.nn.views.graph import GraphView
from dgl_moleblend.nn.views.padded import PaddedView
from dgl_moleblend.schema import DGLGraph


class MoleBlendLayer(nn.Module):
    """A post-norm Transformer layer over the pairs of atoms (METHOD.md section 5).

    Parameters
    ----------
    feat_size, ffn_size, num_heads : int
        Width d, width of the feed-forward block, attention heads h (h divides d).
    dropout, attention_dropout, activation_dropout : float
        Rates on residual branches, attention weights and feed-forward activations.
    drop_path : float
        Where positive, whole branches are dropped per molecule instead of single values by `dropout`.

    Examples
    --------
    On a DGLGraph of any kind messages go over the edges; `bias` has a row per edge:

    >>> import dgl, torch
    >>> from dgl_moleblend import MoleBlendLayer
    >>> graph = dgl.graph(([0, 1, 1, 2], [1, 0, 2, 1]))
    >>> layer = MoleBlendLayer(feat_size=16, ffn_size=32, num_heads=4)
    >>> layer(graph, torch.randn(3, 16), torch.zeros(4, 4)).shape
    torch.Size([3, 16])

    On padded tensors the first argument says which atoms are real:

    >>> layer(torch.ones(1, 3, dtype=torch.bool), torch.randn(1, 3, 16), torch.zeros(1, 3, 3, 4)).shape
    torch.Size([1, 3, 16])

    Without a bias it is plain attention, as in DGL's containers, which hand on features alone:

    >>> from dgl.nn import Sequential
    >>> Sequential(layer, layer)(graph, torch.randn(3, 16)).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        feat_size: int,
        ffn_size: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = RelationAttention(feat_size, num_heads, attention_dropout)
        self.attention_norm = nn.LayerNorm(feat_size)
        self.ffn = nn.Sequential(
            nn.Linear(feat_size, ffn_size), nn.GELU(), Dropout(activation_dropout), nn.Linear(ffn_size, feat_size)
        )
        self.ffn_norm = nn.LayerNorm(feat_size)
        self.dropout = dropout
        self.drop_path = drop_path

    def reset_parameters(self) -> None:
        """Draw all weights anew, as a fresh layer has them."""
        self.attention.reset_parameters()
        for module in (self.attention_norm, *self.ffn, self.ffn_norm):
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()

    def forward(
        self,
        graph: DGLGraph | Tensor | LayerView,
        feat: Tensor,
        bias: Tensor | None = None,
        get_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Update the features of all nodes.

        Parameters
        ----------
        graph : DGLGraph, or Tensor of shape (b, n) and dtype bool
            Which pairs there are: edges j -> i of a graph, or all pairs of real atoms of a padded batch. (The encoder
            passes a view, whose `logit_bias` has been laid out once for all layers.)
        feat : Tensor, shape (nodes, d) or (b, n, d)
        bias : Tensor, shape (edges, h) or (b, n, n, h), optional
            What each pair adds to every head's attention logits. None: nothing, plain attention.
        get_attention : bool
            Whether to return the attention weights as well, before dropout.

        Returns
        -------
        Tensor, shape of `feat`
        Tensor, shape (edges, h, 1) or (b, n, n, h, 1), optional
            With `get_attention`, as dgl.nn's GATConv gives them: the weights of a receiver's pairs add up to 1. 0 where
            an atom of the pair is padding.

        Raises
        ------
        SchemaError
            If the graph is a block or has several types of nodes or edges, `feat` does not have a row per node and d
            columns, or the bias a row per pair and a column per head.
        """
        if isinstance(graph, Tensor | DGLGraph):
            if isinstance(graph, DGLGraph):
                _check_type(graph)
            public = PaddedView(graph) if isinstance(graph, Tensor) else GraphView(graph)
            self._check_feat(public, feat)
            if bias is None:
                bias = feat.new_zeros(()).expand(*public.pair_shape, self.attention.num_heads)
            self._check_bias(public, bias)
            bias = public.logit_bias(bias)
            if get_attention:
                return self._update(public, feat, bias), self.attention.weights(public, feat, bias).unsqueeze(-1)
            return self._update(public, feat, bias)
        assert bias is not None, "a view comes with a bias"
        return self._update(graph, feat, bias)

    def __prepare_scriptable__(self) -> "MoleBlendLayer":
        raise TypeError(
            "torch.jit.script cannot compile MoleBlendLayer: its first argument may be a DGLGraph, which TorchScript"
            " does not know\n  fix:   torch.export, with a mask as the first argument"
        )

    def _update(self, view: LayerView, feat: Tensor, bias: Tensor) -> Tensor:
        feat, hidden = recomputed(self._widen, feat + self._drop(view, self.attention(view, feat, bias)))
        return self.ffn_norm(feat + self._drop(view, recomputed(self.ffn[1:], hidden, random=self.training)))

    def _widen(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """Norm, and the first layer of the feed-forward block: what it reads is the norm's, and need not be kept."""
        feat = self.attention_norm(feat)
        return feat, self.ffn[0](feat)

    def _drop(self, view: LayerView, branch: Tensor) -> Tensor:
        if not self.training:
            return branch
        if self.drop_path > 0:
            keep = 1 - self.drop_path
            kept = torch.empty(view.num_molecules, device=branch.device).bernoulli_(keep) / keep
            return branch * view.spread(kept).to(branch.dtype)
        return dropout(branch, self.dropout)

    def _check_feat(self, view: PaddedView | GraphView, feat: Tensor) -> None:
        names = "(nodes, d)" if isinstance(view, GraphView) else "(b, n, d)"
        nodes = tuple(view.molecule.shape) if isinstance(view, GraphView) else tuple(view.atom_mask.shape)
        expected = (*nodes, self.attention.out.in_features)
        found = tuple(feat.shape) if isinstance(feat, Tensor) else type(feat).__name__
        if found != expected:
            raise SchemaError(
                f"`feat` must have shape {names} = {expected}, got {found}",
                fix="one row per node, feat_size columns; project features of another width with nn.Linear first",
            )

    def _check_bias(self, view: PaddedView | GraphView, bias: Tensor) -> None:
        names = "(edges, h)" if isinstance(view, GraphView) else "(b, n, n, h)"
        expected = (*view.pair_shape, self.attention.num_heads)
        if tuple(bias.shape) != expected:
            raise SchemaError(
                f"`bias` must have shape {names} = {expected}, got {tuple(bias.shape)}",
                fix="one row per pair, one column per attention head; a graph takes edge rows, a mask padded ones",
            )


def _check_type(graph: DGLGraph) -> None:
    if graph.is_block or not graph.is_homogeneous:
        raise SchemaError(
            f"the graph {'is a block' if graph.is_block else 'has several types of nodes or edges'}; this layer updates"
            " the nodes that it reads, of one type",
            fix="pass the whole graph, or a part of it by dgl.node_subgraph or dgl.in_subgraph; dgl.to_homogeneous"
            " makes one type of several",
        )
