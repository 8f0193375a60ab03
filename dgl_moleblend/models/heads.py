"""Prediction modules over final states: three relation heads, the denoising head, the property head."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from dgl_moleblend.nn.dropout import Dropout
from dgl_moleblend.nn.recompute import recomputed
from dgl_moleblend.schema import BOND_CLASSES, PATH_HOPS, SPD_CLASSES

PAIR_SIZE = 32


class PairStates(NamedTuple):
    """Both factors of the pair features u(i, j) = outer(row_i, column_j), each (b, n, 32)."""

    row: Tensor
    column: Tensor


class PairProjection(nn.Module):
    """Atom states -> the two factors of the pair features (METHOD.md section 7).

    Parameters
    ----------
    feat_size : int
        Width d.
    """

    def __init__(self, feat_size: int) -> None:
        super().__init__()
        self.row = nn.Linear(feat_size, PAIR_SIZE)
        self.row_norm = nn.LayerNorm(PAIR_SIZE, eps=1e-12)
        self.column = nn.Linear(feat_size, PAIR_SIZE)
        self.column_norm = nn.LayerNorm(PAIR_SIZE, eps=1e-12)

    def forward(self, atoms: Float[Tensor, "b n d"]) -> PairStates:
        """Return the factor of the receiving and of the sending atom, each (b, n, 32)."""
        return PairStates(self.row_norm(F.gelu(self.row(atoms))), self.column_norm(F.gelu(self.column(atoms))))


def pair_form(pairs: PairStates, weight: Float[Tensor, "k u"], bias: Float[Tensor, " k"]) -> Float[Tensor, "b n n k"]:
    r"""Apply a linear layer to the outer product of row and column states without making it.

    .. math:: y_k(i, j) = \sum_{pq} W_{k, 32 p + q} \, r_{ip} \, c_{jq} + b_k = r_i^T W_k c_j + b_k

    The rows meet all W_k first, (b n) x 32 by 32 x 32 k, then one batched product with the columns: no 1,024 wide
    tensor over pairs is ever made.

    Parameters
    ----------
    pairs : PairStates
        Two tensors of shape (b, n, 32).
    weight : Tensor, shape (k, 1024)
        Row index of the outer product slow, column index fast.
    bias : Tensor, shape (k,)

    Returns
    -------
    Tensor, shape (b, n, n, k)
        A view of memory in which j, not k, runs fastest; `objectives` reads it in that order.
    """
    b, n, _ = pairs.row.shape
    k = len(bias)
    by_row = weight.view(k, PAIR_SIZE, PAIR_SIZE).transpose(0, 1).reshape(PAIR_SIZE, -1)  # (32, k * 32)
    left = (pairs.row @ by_row).view(b, n * k, PAIR_SIZE)
    out = torch.baddbmm(
        bias.to(left.dtype).repeat(n)[None, :, None].expand(b, -1, n), left, pairs.column.to(left.dtype).transpose(1, 2)
    )
    return out.view(b, n, k, n).transpose(2, 3)


class PairHead(nn.Module):
    """Common part of the heads of both 2D relations: one linear form of the pair features.

    Parameters
    ----------
    feat_size : int
        Width d.
    num_outputs : int
        k.
    """

    def __init__(self, feat_size: int, num_outputs: int) -> None:
        super().__init__()
        self.pairs = PairProjection(feat_size)
        self.out = nn.Linear(PAIR_SIZE**2, num_outputs)

    def logits(self, atoms: Float[Tensor, "b n d"]) -> Float[Tensor, "b n n k"]:
        """Return k numbers a pair."""
        return recomputed(pair_form, self.pairs(atoms), self.out.weight, self.out.bias)


class SpdHead(PairHead):
    """Atom states -> logits of 11 classes of shortest-path distance for every pair.

    Parameters
    ----------
    feat_size : int
        Width d.
    """

    def __init__(self, feat_size: int) -> None:
        super().__init__(feat_size, SPD_CLASSES)

    def forward(self, atoms: Float[Tensor, "b n d"]) -> Float[Tensor, "b n n 11"]:
        """Return logits of 1, 2, .., 10 and "11 or more" bonds."""
        return self.logits(atoms)


class BondPathHead(PairHead):
    """Atom states -> logits of 24 bond classes for each of 5 hops of every pair.

    Parameters
    ----------
    feat_size : int
        Width d.
    """

    def __init__(self, feat_size: int) -> None:
        super().__init__(feat_size, PATH_HOPS * BOND_CLASSES)

    def forward(self, atoms: Float[Tensor, "b n d"]) -> Float[Tensor, "b n n 5 24"]:
        """Return logits of class 6 * type + 2 * stereo + conjugated, hop by hop from the receiver's end."""
        return self.logits(atoms).unflatten(-1, (PATH_HOPS, BOND_CLASSES))


class PositionHead(nn.Module):
    """Common part of the 3D heads: 1024 -> 256 -> outputs without a non-linearity between, so one form at run time.

    Parameters
    ----------
    feat_size : int
        Width d.
    num_outputs : int
    """

    def __init__(self, feat_size: int, num_outputs: int) -> None:
        super().__init__()
        self.pairs = PairProjection(feat_size)
        self.hidden = nn.Linear(PAIR_SIZE**2, 256)
        self.out = nn.Linear(256, num_outputs)

    def collapsed(self, atoms: Float[Tensor, "b n d"]) -> Float[Tensor, "b n n k"]:
        """Apply both linear layers as one."""
        weight = self.out.weight @ self.hidden.weight
        bias = self.out.weight @ self.hidden.bias + self.out.bias
        return pair_form(self.pairs(atoms), weight, bias)


class DirectionHead(PositionHead):
    """Atom states -> the direction of the displacement r_j - r_i of every pair, as released.

    Parameters
    ----------
    feat_size : int
        Width d.
    """

    def __init__(self, feat_size: int) -> None:
        super().__init__(feat_size, 3)

    def forward(self, atoms: Float[Tensor, "b n d"]) -> Float[Tensor, "b n n 3"]:
        """Return a vector per pair; only its direction is scored."""
        return self.collapsed(atoms)


class DistanceHead(PositionHead):
    """Atom states -> Euclidean distance of every pair, angstrom, the same both ways.

    Unlike the paper, which scores displacement vectors: an invariant encoder cannot know how a molecule is turned.

    Parameters
    ----------
    feat_size : int
        Width d.
    """

    def __init__(self, feat_size: int) -> None:
        super().__init__(feat_size, 1)

    def forward(self, atoms: Float[Tensor, "b n d"]) -> Float[Tensor, "b n n"]:
        """Return a distance per pair, not negative (softplus)."""
        one_way = self.collapsed(atoms).squeeze(-1)
        return F.softplus(one_way + one_way.transpose(1, 2))


class DenoisingHead(nn.Module):
    r"""Vector attention over final states that predicts the noise on every atom's position (METHOD.md section 7).

    With attention weights :math:`a_{hij}`, values v, and unit displacements :math:`u_{ij}`, component x of the output
    is :math:`\sum_j u^x_{ij} \sum_h a_{hij} (w^x_h \cdot v_{jh}) + b^x`: the values are projected to one number per
    component and head before, not after, the sum over atoms.

    Parameters
    ----------
    feat_size, num_heads : int
    dropout : float
        Rate on attention weights.
    """

    def __init__(self, feat_size: int, num_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.query_key_value = nn.Linear(feat_size, 3 * feat_size)
        self.out = nn.Linear(feat_size, 3)  # row x, y, z: that component's projection d -> 1

    def forward(
        self,
        atoms: Float[Tensor, "b n d"],
        bias: Float[Tensor, "b n n h"],
        positions: Float[Tensor, "b n 3"],
        atom_mask: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b n 3"]:
        """Predict the noise on positions.

        Parameters
        ----------
        atoms : Tensor, shape (b, n, d)
            Final states.
        bias : Tensor, shape (b, n, n, h)
            The blended relation bias.
        positions : Tensor, shape (b, n, 3), angstrom
            As the encoder saw them, with noise.
        atom_mask : Tensor, shape (b, n), bool

        Returns
        -------
        Tensor, shape (b, n, 3)
            A direction per atom; 0 in the padding.
        """
        b, n, d = atoms.shape
        h, c = self.num_heads, d // self.num_heads
        query, key, value = self.query_key_value(atoms).view(b, n, 3, h, c).unbind(2)
        logits = torch.einsum("bihc,bjhc->bhij", query, key) * c**-0.5 + bias.permute(0, 3, 1, 2)
        logits = logits.masked_fill(~atom_mask[:, None, None, :], -torch.inf)
        weight = torch.softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))
        weight = self.dropout(weight)
        pulled = torch.einsum("bjhc,xhc->bxhj", value, self.out.weight.view(3, h, c)).to(weight.dtype)
        summed = torch.einsum("bhij,bxhj->bxij", weight, pulled)
        displacement = positions[:, None] - positions[:, :, None]  # (b, i, j, 3)
        unit = displacement / (displacement.norm(dim=-1, keepdim=True) + 1e-5)
        return (torch.einsum("bxij,bijx->bix", summed, unit) + self.out.bias) * atom_mask.unsqueeze(-1)


class PropertyHead(nn.Module):
    """State -> properties: Linear(d, d), gelu, Linear(d, tasks) (METHOD.md section 8).

    Parameters
    ----------
    feat_size : int
        Width d.
    n_tasks : int
        Number of properties t.
    dropout : float
        Rate before each linear layer.
    """

    def __init__(self, feat_size: int, n_tasks: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.hidden = nn.Linear(feat_size, feat_size)
        self.out = nn.Linear(feat_size, n_tasks)

    def forward(self, state: Float[Tensor, "... d"]) -> Float[Tensor, "... t"]:
        """Return one number per property."""
        return self.out(self.dropout(F.gelu(self.hidden(self.dropout(state)))))
