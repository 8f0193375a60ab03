import torch
from torch import Tensor

from dgl_moleblend.nn.recompute import recomputed


def wide(x: Tensor, weight: Tensor) -> Tensor:
    return (x[:, None] * torch.linspace(0, 1, 1000)).sin() @ weight


def test_values_and_gradients_stay_and_inner_values_are_not_kept() -> None:
    x, weight = torch.randn(50, requires_grad=True), torch.randn(1000, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda y: kept.append(y.numel()) or y, lambda y: y):
        plain = wide(x, weight)
        assert max(kept) == 50_000
        kept.clear()
        out = recomputed(wide, x, weight)
    assert max(kept, default=0) <= 1000
    assert torch.equal(out, plain)
    for actual, expected in zip(
        torch.autograd.grad(out.sum(), (x, weight)), torch.autograd.grad(plain.sum(), (x, weight)), strict=True
    ):
        assert torch.equal(actual, expected)
