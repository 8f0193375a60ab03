"""Heads that say how far off they may be: mean and variance, or three quantiles; their losses and deviations."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

OUTPUTS = {"gaussian": 2, "quantile": 3}
"""Numbers that a head of each kind gives a property; the first is what is predicted: the mean, or the median."""
LEVELS = (0.05, 0.5, 0.95)
"""Of the quantiles."""
_LEAST_VARIANCE = 1e-4  # of standardised labels: no label is so exact that its likelihood has no bound
_Z = 1.6448536269514722  # of a normal distribution, 90 % lie within so many deviations


def deviation_of(outputs: Float[Tensor, "b t k"], kind: str) -> Float[Tensor, "b t"]:
    r"""Return how far off a prediction may be, in the scale of the labels that the head was trained on.

    Parameters
    ----------
    outputs : Tensor, shape (b, t, k)
        Of the head: mean and variance before softplus; or median, and how far the other quantiles are below and above
        it, before softplus.
    kind : {"gaussian", "quantile"}

    Examples
    --------
    >>> deviation_of(torch.tensor([[[0.3, 0.541325]]]), "gaussian").round(decimals=3)  # softplus(0.5413) = 1
    tensor([[1.]])
    """
    if kind == "gaussian":
        return _variance(outputs).sqrt()
    low, _, high = _quantiles(outputs).unbind(-1)
    return ((high - low) / (2 * _Z)).clamp(min=math.sqrt(_LEAST_VARIANCE))


def spread_loss(
    outputs: Float[Tensor, "b t k"], target: Float[Tensor, "b t"], kind: str, bounds: Integer[Tensor, "b t"] | None
) -> Float[Tensor, "b t"]:
    r"""Return the loss of each label: its negative log likelihood, or the mean pinball loss of the quantiles.

    Of a label that is a bound, :math:`y > c`, the likelihood is that of a value beyond it,
    :math:`\Phi((\mu - c) / \sigma)` (Tobit); of quantiles, those on its right side cost nothing.

    Parameters
    ----------
    outputs, kind
        See `deviation_of`.
    target : Tensor, shape (b, t)
        Standardised.
    bounds : Tensor, shape (b, t), integer, optional
        1 where the value is above its label, -1 below, 0 where it is the label.

    References
    ----------
    Nix and Weigend, "Estimating the mean and variance of the target probability distribution" (1994); Koenker and
    Bassett, "Regression Quantiles" (1978).
    """
    if kind == "gaussian":
        variance = _variance(outputs)
        error = outputs[..., 0] - target
        each = (variance.log() + error**2 / variance + math.log(2 * math.pi)) / 2
        if bounds is None:
            return each
        return torch.where(bounds == 0, each, -torch.special.log_ndtr(bounds * error / variance.sqrt()))
    found = _quantiles(outputs)
    below = target.unsqueeze(-1) - found
    level = below.new_tensor(LEVELS)
    each = torch.maximum(level * below, (level - 1) * below)
    if bounds is not None:
        each = each.masked_fill(bounds.unsqueeze(-1) * -below > 0, 0.0)
    return each.mean(-1)


def _variance(outputs: Float[Tensor, "b t k"]) -> Float[Tensor, "b t"]:
    return F.softplus(outputs[..., 1]) + _LEAST_VARIANCE


def _quantiles(outputs: Float[Tensor, "b t k"]) -> Float[Tensor, "b t k"]:
    """Return the quantiles of `LEVELS`, which cannot cross."""
    middle, below, above = outputs.unbind(-1)
    return torch.stack([middle - F.softplus(below), middle, middle + F.softplus(above)], -1)
