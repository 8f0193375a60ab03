import pytest
import torch
from torch import Generator, Tensor
from torch.autograd import gradcheck, gradgradcheck

from dgl_moleblend.nn.dropout import draw_kept
from dgl_moleblend.nn.packed_attention import Layout, _Attend, attend_rows

B, H, M, C = 3, 2, 4, 3
MOLECULE = torch.tensor([0, 1, 2, 0, 0, 0, 1, 2, 2])  # tokens first, then atoms: 4, 2 and 3 rows
PLACE = torch.tensor([0, 0, 0, 1, 2, 3, 1, 1, 2])


@pytest.fixture
def layout() -> Layout:
    return Layout.of(MOLECULE, PLACE, (B, M), H)


@pytest.fixture
def inputs(generator: Generator) -> tuple[Tensor, Tensor]:
    rows = torch.randn(len(MOLECULE), 3, H, C, generator=generator, dtype=torch.float64)
    bias = torch.randn(B, H, M, M, generator=generator, dtype=torch.float64)
    present = torch.zeros(B, M, dtype=torch.bool)
    present[MOLECULE, PLACE] = True
    return rows.requires_grad_(), bias.masked_fill(~present[:, None, None, :], -torch.inf).requires_grad_()


def slowly(rows: Tensor, bias: Tensor, kept: Tensor, scale: float) -> Tensor:
    """Row by row and head by head."""
    out = []
    for t in range(len(rows)):
        same = (MOLECULE[t] == MOLECULE).nonzero().squeeze(1)
        for h in range(H):
            logits = rows[same, 1, h] @ rows[t, 0, h] * C**-0.5 + bias[MOLECULE[t], h, PLACE[t], PLACE[same]]
            stays = kept[MOLECULE[t] * H + h, PLACE[t], PLACE[same]]
            out.append((logits.softmax(0) * stays * scale) @ rows[same, 2, h])
    return torch.stack(out).view(len(rows), H, C)


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_attention_and_its_gradients_are_the_formula(inputs, layout, rate: float, generator: Generator) -> None:
    rows, bias = inputs
    torch.manual_seed(5)
    out = attend_rows(rows, bias, rate, layout)
    torch.manual_seed(5)
    kept, scale = draw_kept((B * H, M, M), rate) if rate else (torch.ones(B * H, M, M, dtype=torch.bool), 1.0)
    expected = slowly(rows, bias, kept, scale)
    assert torch.allclose(out, expected, atol=1e-12)
    given = torch.randn(out.shape, generator=generator, dtype=out.dtype)
    for actual, wanted in zip(
        torch.autograd.grad(out, inputs, given), torch.autograd.grad(expected, inputs, given), strict=True
    ):
        assert torch.allclose(actual, wanted, atol=1e-12)


def test_gradients_can_be_differentiated_again(inputs, layout) -> None:
    """As forces are, which are the gradient of an energy and themselves learned."""
    rows, bias = inputs
    kept, scale = draw_kept((B * H, M, M), 0.4)
    absent = torch.where(bias.detach() == -torch.inf, bias.detach(), 0.0)
    finite = torch.where(bias.detach() == -torch.inf, 0.0, bias.detach()).requires_grad_()

    def attention(rows: Tensor, finite: Tensor) -> Tensor:
        return _Attend.apply(rows, finite + absent, kept, scale, layout)

    def second_layer(rows: Tensor, finite: Tensor) -> Tensor:
        """Its rows depend on the bias already."""
        return attention(rows + attention(rows, finite)[:, None], finite)

    assert gradcheck(second_layer, (rows, finite))
    assert gradgradcheck(second_layer, (rows, finite))
    plainly = torch.autograd.grad(second_layer(rows, finite).sin().sum(), (rows, finite))
    to_differentiate = torch.autograd.grad(second_layer(rows, finite).sin().sum(), (rows, finite), create_graph=True)
    for actual, expected in zip(to_differentiate, plainly, strict=True):
        assert torch.allclose(actual, expected, atol=1e-12)


def test_nothing_padded_is_kept_for_the_gradient(inputs, layout) -> None:
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(tuple(x.shape)) or x, lambda x: x):
        attend_rows(*inputs, 0.4, layout)
    assert sorted(kept) == sorted([(9, 3, H, C), (B, H, M, M), (B * H, M, M)])  # inputs, and a byte for each weight


def test_a_bad_molecule_stays_alone(inputs, layout) -> None:
    rows, bias = inputs
    spoiled = rows.detach().clone()
    spoiled[MOLECULE == 0] = torch.nan
    out = attend_rows(spoiled, bias, 0.0, layout)
    assert out[MOLECULE == 0].isnan().all()
    assert torch.equal(out[MOLECULE != 0], attend_rows(rows, bias, 0.0, layout)[MOLECULE != 0])
