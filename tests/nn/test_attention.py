import math

import dgl
import pytest
import torch
from molecules import lively
from torch import Generator

from dgl_moleblend.nn.attention import RelationAttention
from dgl_moleblend.nn.views.choice import GraphView, PackedView, PaddedView

D, H, N = 12, 3, 5


def slowly(attention: RelationAttention, feat: torch.Tensor, bias: torch.Tensor, present: torch.Tensor):
    """Three loops over receivers, heads and senders."""
    q, k, v = (feat @ attention.query_key_value.weight.T + attention.query_key_value.bias).chunk(3, -1)
    out = torch.zeros_like(feat)
    c = D // H
    for i in range(len(feat)):
        for h in range(H):
            part = slice(h * c, (h + 1) * c)
            senders = [j for j in range(len(feat)) if present[i, j]]
            logits = torch.stack([q[i, part] @ k[j, part] / math.sqrt(c) + bias[i, j, h] for j in senders])
            for share, j in zip(logits.softmax(0), senders, strict=True):
                out[i, part] += share * v[j, part]
    return out @ attention.out.weight.T + attention.out.bias


@pytest.fixture
def case(generator: Generator):
    feat = torch.randn(2, N, D, generator=generator, dtype=torch.float64)
    bias = torch.randn(2, N, N, H, generator=generator, dtype=torch.float64)
    return lively(RelationAttention(D, H)), feat, bias


def test_padded_view_is_the_formula(case) -> None:
    attention, feat, bias = case
    atom_mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    view = PaddedView(atom_mask)
    actual = attention(view, feat, view.logit_bias(bias))
    for k in range(2):
        expected = slowly(attention, feat[k], bias[k], atom_mask[k].expand(N, N))
        assert torch.allclose(actual[k][atom_mask[k]], expected[atom_mask[k]], atol=1e-12)


def test_rows_without_padding_and_the_token_are_the_formula(case) -> None:
    """The token stands in front of every molecule, with one bias to and from all."""
    attention, feat, bias = case
    atom_mask = torch.tensor([[True] * 4, [True, True, False, False]])
    token_bias = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)
    atoms, token = feat[:, 1:], feat[0, 0]
    view = PackedView(atom_mask)
    pairs = view.take_pairs(bias[:, 1:, 1:])
    assert pairs.shape == (16 + 4, H)
    rows_view, rows = view.with_token(view.take_nodes(atoms), token)
    out, out_token = view.split_token(attention(rows_view, rows, view.logit_bias(pairs, token_bias)))
    for k, n in enumerate((4, 2)):
        whole = torch.cat((token[None], atoms[k, :n]))
        whole_bias = token_bias.expand(n + 1, n + 1, H).clone()
        whole_bias[1:, 1:] = bias[k, 1 : n + 1, 1 : n + 1]
        expected = slowly(attention, whole, whole_bias, torch.ones(n + 1, n + 1, dtype=torch.bool))
        assert torch.allclose(out_token[k], expected[0], atol=1e-12)
        assert torch.allclose(out[k, :n], expected[1:], atol=1e-12)
        assert not out[k, n:].any()


def test_graph_view_is_the_formula_on_any_pairs(case, generator: Generator) -> None:
    attention, feat, bias = case
    present = torch.rand(N, N, generator=generator) < 0.5
    present |= torch.eye(N, dtype=torch.bool)
    receiver, sender = present.nonzero(as_tuple=True)
    view = GraphView(dgl.graph((sender, receiver), num_nodes=N))
    actual = attention(view, feat[0], view.logit_bias(bias[0][present]))
    assert torch.allclose(actual, slowly(attention, feat[0], bias[0], present), atol=1e-12)


def test_weights_are_dropped_in_training_only(case) -> None:
    attention, feat, bias = case
    view = PaddedView(torch.ones(2, N, dtype=torch.bool))
    attention.dropout = 0.5
    still = attention(view, feat, view.logit_bias(bias))
    assert torch.equal(still, attention(view, feat, view.logit_bias(bias)))
    assert not torch.equal(still, attention.train()(view, feat, view.logit_bias(bias)))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"(?s)num_heads=5 is not allowed.*divisor of feat_size=12"):
        RelationAttention(12, 5)
