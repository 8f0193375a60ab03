"""PaddedView: pairs as padded tensors (b, n, n); what matrix units like, and no waiting for the device."""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from dgl_moleblend.errors import SchemaError
from dgl_moleblend.nn.dense_attention import attend, token_logits
from dgl_moleblend.nn.selection import Masked


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
        out = token_logits(token.to(bias), self.atom_mask).clone()
        out[:, :, 1:, 1:] = self.logit_bias(bias)
        return out

    def attend(
        self, query_key_value: Float[Tensor, "b n 3 h c"], bias: Float[Tensor, "b h n n"], rate: float
    ) -> Float[Tensor, "b n h c"]:
        """Softmax over keys of query . key / sqrt(c) + bias, in float32; weighted sum of values."""
        query, key, value = query_key_value.permute(2, 0, 3, 1, 4).contiguous()
        return attend(query, key, value, bias, rate).transpose(1, 2)

    def weights(
        self, query: Float[Tensor, "b n h c"], key: Float[Tensor, "b n h c"], bias: Float[Tensor, "b h n n"]
    ) -> Float[Tensor, "b n n h"]:
        """Softmax over keys of query . key / sqrt(c) + bias; 0 in the padding."""
        logits = torch.einsum("bihc,bjhc->bhij", query, key) * query.shape[-1] ** -0.5 + bias
        weight = torch.softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
        return (weight * self.atom_mask[:, None, :, None]).permute(0, 2, 3, 1)

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
