import pytest
import torch

from dgl_moleblend.nn.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_and_mean(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 999)
    out = dropout(x, rate)
    deviation = (rate * (1 - rate) / x.numel()) ** 0.5
    assert abs((out == 0).double().mean().item() - rate) < 5 * deviation
    kept = out[out != 0]
    assert (kept == kept[0]).all()
    assert kept[0].item() == pytest.approx(1 / (1 - rate), rel=1e-4)


def test_neighbours_are_independent() -> None:
    """Four values share a draw; the chance that two of them go together is that of any two."""
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(400_000, 4), 0.5) == 0).double()
    both = dropped.T @ dropped / len(dropped)
    assert (both - 0.25 - 0.25 * torch.eye(4)).abs().max() < 5 * (0.25 / len(dropped)) ** 0.5


def test_the_gradient_is_dropped_alike_and_a_seed_repeats_it() -> None:
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    out = dropout(x, 0.3)
    out.sum().backward()
    assert torch.equal(x.grad == 0, out == 0)
    assert torch.allclose(x.grad * x, out)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.3), out)


def test_nothing_is_dropped_at_rate_0_or_in_evaluation() -> None:
    x = torch.randn(10)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert (Dropout(0.5).train()(torch.ones(1000)) == 0).any()
