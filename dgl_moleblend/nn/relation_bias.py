"""SpdBias, BondPathBias, DistanceBias: one relation of each pair -> what it adds to every head's attention logits."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from dgl_moleblend.nn.gaussian import GaussianKernels
from dgl_moleblend.schema import ATOM_SIZES, BOND_SIZES, NUM_BOND_IDS, PATH_HOPS, bond_parts


class SpdBias(nn.Module):
    """A learned row per shortest-path distance (METHOD.md section 3).

    Parameters
    ----------
    num_heads : int
        h.
    max_dist : int
        Longer paths share the row of this length; "no path" has a row of its own, the last.
    """

    def __init__(self, num_heads: int, max_dist: int = 255) -> None:
        super().__init__()
        self.max_dist = max_dist
        self.embedding = nn.Embedding(max_dist + 2, num_heads)

    def forward(self, spd: Integer[Tensor, "*pairs"]) -> Float[Tensor, "*pairs h"]:
        """Look up the bias of each pair; -1 means no path.

        Parameters
        ----------
        spd : Tensor, shape (...,), integer

        Returns
        -------
        Tensor, shape (..., h)
        """
        row = spd.int().clamp(max=self.max_dist)
        return self.embedding(row.masked_fill(row < 0, self.max_dist + 1))


class BondPathBias(nn.Module):
    r"""The bonds along the shortest path, each hop with a matrix of its own (METHOD.md section 3).

    .. math:: b_{ij} = \frac{1}{\min(\max(spd, 1), 5)} \sum_{p=1}^{5} e_p W_p

    :math:`e_p` is the mean of the rows of the p-th bond's type, stereo and conjugation, or the row of "no bond". There
    are only 61 bond ids, so :math:`e W_p` is a table of 5 x 61 rows and the bias a summed look-up.

    Parameters
    ----------
    num_heads : int
        h.
    """

    no_bond: Tensor
    feature_rows: Tensor
    first_row: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sum(BOND_SIZES), num_heads)  # rows of type, then stereo, then conjugation
        self.hop_weight = nn.Parameter(torch.empty(PATH_HOPS, num_heads, num_heads))
        self.register_buffer("no_bond", torch.zeros(num_heads))  # a padding row: kept, converted, not trained
        kind, stereo, conjugated = bond_parts(torch.arange(NUM_BOND_IDS))
        rows = torch.stack((kind, BOND_SIZES[0] + stereo, BOND_SIZES[0] + BOND_SIZES[1] + conjugated), -1)
        self.register_buffer("feature_rows", rows, persistent=False)  # (60, 3)
        self.register_buffer("first_row", torch.arange(PATH_HOPS) * (NUM_BOND_IDS + 1), persistent=False)
        nn.init.normal_(self.hop_weight, std=0.02)

    def table(self) -> Float[Tensor, "hops 61 h"]:
        """Return every hop's contribution of every bond id; the last id is "no bond"."""
        bond = self.embedding(self.feature_rows).mean(1)  # (60, h)
        bond = torch.cat((bond, self.no_bond.to(bond)[None]))
        return torch.einsum("bh,phk->pbk", bond, self.hop_weight)

    def forward(
        self, bond_path: Integer[Tensor, "*pairs hops"], spd: Integer[Tensor, "*pairs"]
    ) -> Float[Tensor, "*pairs h"]:
        """Sum the contributions of the hops and divide by the length of the path.

        Parameters
        ----------
        bond_path : Tensor, shape (..., 5), integer
            Bond ids, -1 = no bond.
        spd : Tensor, shape (...,), integer
            -1 = no path; counts as 5, as a long one does.

        Returns
        -------
        Tensor, shape (..., h)
        """
        bond = bond_path.long().clamp(-1, NUM_BOND_IDS - 1)
        rows = bond.masked_fill(bond < 0, NUM_BOND_IDS) + self.first_row
        table = self.table().flatten(0, 1)
        total = F.embedding_bag(rows.flatten(0, -2), table, mode="sum")
        hops = spd.masked_fill(spd < 0, PATH_HOPS).clamp(1, PATH_HOPS)
        return total.view(*spd.shape, total.shape[-1]) / hops.unsqueeze(-1)


class DistanceBias(nn.Module):
    """Gaussian kernels of the scaled Euclidean distance, through two linear layers (METHOD.md section 3).

    Parameters
    ----------
    num_heads : int
        h.
    num_kernels : int
        k.
    """

    def __init__(self, num_heads: int, num_kernels: int) -> None:
        super().__init__()
        # distance is scaled and shifted by gamma_query[z_i] + gamma_key[z_j] and beta_query[z_i] + beta_key[z_j]
        self.gamma_query = nn.Parameter(torch.full((ATOM_SIZES[0],), 0.5))
        self.gamma_key = nn.Parameter(torch.full((ATOM_SIZES[0],), 0.5))
        self.beta_query = nn.Parameter(torch.zeros(ATOM_SIZES[0]))
        self.beta_key = nn.Parameter(torch.zeros(ATOM_SIZES[0]))
        self.gaussian = GaussianKernels(num_kernels)
        self.hidden = nn.Linear(num_kernels, num_kernels)
        self.out = nn.Linear(num_kernels, num_heads)

    def kernels(
        self,
        distance: Float[Tensor, "*pairs"],
        receiver: Integer[Tensor, "..."],
        sender: Integer[Tensor, "..."],
    ) -> Float[Tensor, "*pairs k"]:
        """Return the Gaussian kernels of each pair.

        Parameters
        ----------
        distance : Tensor, shape (...,), angstrom
        receiver, sender : Tensor, integer
            Ids of the atomic numbers of both atoms, to be broadcast against `distance`.

        Returns
        -------
        Tensor, shape (..., k)
        """
        receiver, sender = receiver.long(), sender.long()
        gamma = self.gamma_query[receiver] + self.gamma_key[sender]
        return self.gaussian(torch.addcmul(self.beta_query[receiver] + self.beta_key[sender], gamma, distance))

    def project(self, kernels: Float[Tensor, "*pairs k"]) -> Float[Tensor, "*pairs h"]:
        """Turn kernel values into the bias of every head."""
        return self.out(F.gelu(self.hidden(kernels)))

    def forward(
        self,
        distance: Float[Tensor, "*pairs"],
        receiver: Integer[Tensor, "..."],
        sender: Integer[Tensor, "..."],
    ) -> Float[Tensor, "*pairs h"]:
        """Return the bias of each pair; see `kernels`."""
        return self.project(self.kernels(distance, receiver, sender))
