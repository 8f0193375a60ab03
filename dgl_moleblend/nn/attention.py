"""RelationAttention: multi-head attention over the pairs of a view, with a bias for every pair and head."""

from torch import Tensor, nn

from dgl_moleblend.config import check
from dgl_moleblend.nn.views.choice import LayerView
from dgl_moleblend.nn.views.graph import GraphView
from dgl_moleblend.nn.views.padded import PaddedView


class RelationAttention(nn.Module):
    r"""Attention whose logits are :math:`q_i \cdot k_j / \sqrt{c} + b_{ij}`, over any view of the pairs.

    One set of weights serves the dense views (batched matrix products) and the graph view (messages over edges).

    Parameters
    ----------
    feat_size : int
        Width d.
    num_heads : int
        h; divides d.
    dropout : float
        Rate at which attention weights are dropped in training.
    """

    def __init__(self, feat_size: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check(feat_size % num_heads == 0, "num_heads", num_heads, f"a divisor of feat_size={feat_size}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(feat_size, 3 * feat_size)
        self.out = nn.Linear(feat_size, feat_size)

    def forward(self, view: LayerView, feat: Tensor, logit_bias: Tensor) -> Tensor:
        """Let every node receive from its pairs' senders.

        Parameters
        ----------
        view : PaddedView, PackedTokens or GraphView
        feat : Tensor, shape (*nodes, d)
        logit_bias : Tensor
            As `view.logit_bias` lays it out.

        Returns
        -------
        Tensor, shape (*nodes, d)
        """
        out = view.attend(self._project(feat), logit_bias, self.dropout if self.training else 0.0)
        return self.out(out.reshape(feat.shape))

    def weights(self, view: PaddedView | GraphView, feat: Tensor, logit_bias: Tensor) -> Tensor:
        """Return how much every receiver takes from each of its pairs' senders, (*pairs, h)."""
        query, key, _ = self._project(feat).unbind(-3)
        return view.weights(query, key, logit_bias)

    def reset_parameters(self) -> None:
        """Draw all weights anew, as torch does for linear layers."""
        self.query_key_value.reset_parameters()
        self.out.reset_parameters()

    def _project(self, feat: Tensor) -> Tensor:
        shape = (*feat.shape[:-1], 3, self.num_heads, feat.shape[-1] // self.num_heads)
        return self.query_key_value(feat).view(shape)
