"""Dropout whose random numbers cost a quarter on CPU, where drawing them is most of dropout's time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STEPS = 1 << 16


def dropout(x: Tensor, rate: float) -> Tensor:
    """Set values to 0 with probability `rate` and scale the others by 1 / (1 - rate).

    On CPU one 64-bit draw serves four values, so a rate is rounded to 1 / 65536, and the scale with it: the mean is
    kept exactly. Elsewhere this is torch's own dropout.

    Parameters
    ----------
    x : Tensor
    rate : float
        In [0, 1).
    """
    dropped = round(rate * _STEPS)
    if x.device.type != "cpu" or not 0 < dropped < _STEPS:
        return F.dropout(x, rate)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - _STEPS // 2
    return torch.where(kept, x, 0.0) * (_STEPS / (_STEPS - dropped))  # keeps one byte a value for the gradient


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
