"""Dropout whose random numbers cost a quarter on CPU, where drawing them is most of dropout's time."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

_STEPS = 1 << 16


def draw_kept(shape: Sequence[int], rate: float) -> tuple[Bool[Tensor, "..."], float]:
    """Draw which values stay, on CPU, and return with it the scale that keeps the mean.

    One 64-bit draw serves four values, so a rate is rounded to 1 / 65536, and the scale with it: the mean is kept
    exactly.

    Parameters
    ----------
    shape : sequence of int
    rate : float
        Probability of being dropped, in [0, 1).

    Returns
    -------
    kept : Tensor of `shape`, bool
    scale : float
    """
    dropped = min(round(rate * _STEPS), _STEPS - 1)
    size = torch.Size(shape).numel()
    draws = torch.empty(-(-size // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    kept = draws.view(torch.int16)[:size].view(*shape) >= dropped - _STEPS // 2
    return kept, _STEPS / (_STEPS - dropped)


def dropout(x: Tensor, rate: float) -> Tensor:
    """Set values to 0 with probability `rate` and scale the others so that the mean stays; see `draw_kept`.

    Elsewhere than on CPU this is torch's own dropout.

    Parameters
    ----------
    x : Tensor
    rate : float
        In [0, 1).
    """
    if x.device.type != "cpu" or not 0 < round(rate * _STEPS) < _STEPS:
        return F.dropout(x, rate)
    return _Drop.apply(x, *draw_kept(x.shape, rate))


class _Drop(torch.autograd.Function):
    """Keep one byte a value for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return torch.where(kept, x, 0.0).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return _Drop.apply(gradients[0], *ctx.saved_tensors, ctx.scale), None, None


class Dropout(nn.Module):
    """`dropout` in training, nothing in evaluation.

    Parameters
    ----------
    p : float
        Rate in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop values in training."""
        return dropout(x, self.p) if self.training else x

    def extra_repr(self) -> str:
        """Show the rate in print."""
        return f"p={self.p}"
