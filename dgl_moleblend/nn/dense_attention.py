"""Attention over padded molecules by batched matrix products, and how the graph token enters its logits."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from dgl_moleblend.nn.dropout import dropout


def token_logits(token: Float[Tensor, " h"], atom_mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b h m m"]:
    """Return the token's bias everywhere, and -inf for padded keys."""
    (b, n), h = atom_mask.shape, len(token)
    absent = F.pad(~atom_mask, (1, 0))[:, None, None, :]
    return token[:, None, None].expand(b, h, n + 1, n + 1).masked_fill(absent, -torch.inf)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, rate: float) -> Tensor:
    """Attention over (b, h, m, c) by batched products; `benchmarks/attention.py` compares it with torch's own."""
    b, h, m, c = query.shape
    query, key, value = (x.view(b * h, m, c) for x in (query, key, value))
    logits = torch.baddbmm(bias.reshape(b * h, m, m).to(query.dtype), query, key.transpose(1, 2), alpha=c**-0.5)
    weight = torch.softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return torch.bmm(dropout(weight, rate).to(value.dtype), value).view(b, h, m, c)
