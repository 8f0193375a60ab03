"""Euclidean distance -> k Gaussian kernel values."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_NOTHING = -60.0
"""Kernels below exp(-60) = 1e-26 are 0: float32 numbers near 1e-38 make matrix products ten times as slow."""
REACH = 12.0
"""Angstrom; fresh kernels stand at even steps from 0 to here, two steps wide."""


def kernel_step(num_kernels: int) -> float:
    """Return about the step between fresh kernels, angstrom; times this, a pair's kernel values add up to about 1."""
    return REACH / num_kernels


def gaussian_kernels(
    distance: Float[Tensor, "*pairs"], center: Float[Tensor, " k"], width: Float[Tensor, " k"]
) -> Float[Tensor, "*pairs k"]:
    r"""Expand Euclidean distances in k normalised Gaussian kernels.

    .. math:: \psi_k(r) = \exp\{-(r - \mu_k)^2 / 2 \sigma_k^2\} / (\sqrt{2 \pi} \, \sigma_k)

    Parameters
    ----------
    distance : Tensor, shape (...,), angstrom
        :math:`r`. Pairs without a conformer may hold any finite value; the caller masks them.
    center, width : Tensor, shape (k,), angstrom
        :math:`\mu` and :math:`\sigma > 0`.

    Returns
    -------
    Tensor, shape (..., k), 1 / angstrom
        0 where it would be below 1e-26.

    References
    ----------
    Luo et al., "One Transformer Can Understand Both 2D & 3D Molecular Data", the 3D distance encoding.

    Examples
    --------
    >>> gaussian_kernels(torch.tensor([1.5]), torch.tensor([1.5, 3.0]), torch.ones(2)).shape
    torch.Size([1, 2])
    """
    # exp(log_norm - scaled^2): a few passes over (..., k), which is what this costs
    scale = 1 / (math.sqrt(2) * width)
    scaled = torch.addcmul(-center * scale, distance.unsqueeze(-1), scale)
    log = torch.addcmul(-torch.log(math.sqrt(2 * math.pi) * width), scaled, scaled, value=-1)
    return F.threshold(log, _NOTHING, -torch.inf).exp()


class GaussianKernels(nn.Module):
    """k Gaussian kernels with learned centers and widths; a width is ``|weight| + 0.01``, so never 0.

    Parameters
    ----------
    num_kernels : int
        k.
    """

    def __init__(self, num_kernels: int) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.empty(num_kernels))
        self.width = nn.Parameter(torch.empty(num_kernels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Space centers evenly over 0 to 12 angstrom, each two steps wide.

        Unlike the paper, whose centers and widths lie within 3 angstrom: atoms further apart look alike to them, and
        a fresh model is slow to tell a long molecule from a short one.
        """
        with torch.no_grad():
            self.center.copy_(torch.linspace(0, REACH, len(self.center)))
            self.width.fill_(2 * kernel_step(len(self.width)))

    def forward(self, distance: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs k"]:
        """Return the kernel values of scaled distances; see `gaussian_kernels`."""
        return gaussian_kernels(distance, self.center, self.width.abs() + 0.01)
