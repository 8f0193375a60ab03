"""Bonds of a whole batch of molecules -> shortest-path distances and bond paths, in tensors, on any device."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int8, Int16, Integer, UInt8
from torch import Tensor

from dgl_moleblend.schema import NO_PATH, PATH_HOPS

LARGE = 256
"""Atoms of a molecule beyond which, on a CPU, matrix products cost more than a search: fifty times at 3,000 atoms."""
_DIGIT = 6  # bits a hop: bond id + 1 is at most 60, 0 = no bond; five hops fill bits 0 to 29 of an int32
_FIRST = _DIGIT * (PATH_HOPS - 1)
_ABSENT = 1 << 30  # added to the code of a path that there is not: larger than any code


def pairwise_distance(positions: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n n"]:
    """Euclidean distance of every ordered pair, in the unit of `positions`; gradients of self pairs are zero.

    Parameters
    ----------
    positions : Tensor, shape (..., n, 3), angstrom

    Returns
    -------
    Tensor, shape (..., n, n), angstrom
    """
    square = (positions.unsqueeze(-3) - positions.unsqueeze(-2)).square().sum(-1)
    return square.clamp_min(torch.finfo(square.dtype).tiny).sqrt() * (square > 0)


def bond_matrix(
    bond_index: Integer[Tensor, "m 2"],
    bond_molecule: Integer[Tensor, " m"],
    bond_id: UInt8[Tensor, " m"],
    num_molecules: int,
    num_atoms: int,
) -> UInt8[Tensor, "b n n"]:
    """Bonds of a batch as a symmetric matrix of bond id + 1, with 0 for atoms that are not bonded.

    Parameters
    ----------
    bond_index : Tensor, shape (m, 2)
        Begin and end atom of every bond, numbered within its molecule.
    bond_molecule : Tensor, shape (m,)
        The molecule of every bond.
    bond_id : Tensor, shape (m,), uint8
        0 to 59.
    num_molecules, num_atoms : int
        b, and n of the largest molecule.
    """
    out = torch.zeros(num_molecules, num_atoms, num_atoms, dtype=torch.uint8, device=bond_index.device)
    begin, end = bond_index.long().unbind(-1)
    molecule = bond_molecule.long()
    code = bond_id + 1
    out[molecule, begin, end] = code
    out[molecule, end, begin] = code
    return out


def shortest_path_distance(bonded: Bool[Tensor, "b n n"]) -> Int16[Tensor, "b n n"]:
    r"""Shortest-path distance in bonds between all ordered pairs, by Seidel's algorithm.

    Squaring the graph (joining atoms at distance two) halves all distances, rounded up; going back, a distance is odd
    if the sender's neighbours are on average nearer. That takes :math:`2 \log_2 n` matrix products for a whole batch,
    without a loop over molecules, pairs or path lengths, and without waiting for the device. Large molecules on a CPU
    are searched bond by bond, one after the other, in time that grows with :math:`n^2` instead of :math:`n^3 \log n`.

    Parameters
    ----------
    bonded : Tensor, shape (b, n, n), bool
        Symmetric, False on the diagonal.

    Returns
    -------
    Tensor, shape (b, n, n), int16
        0 on the diagonal, -1 between fragments.

    References
    ----------
    Seidel, "On the All-Pairs-Shortest-Path Problem in Unweighted Undirected Graphs", J. Comput. Syst. Sci. 1995.

    Examples
    --------
    >>> bonded = torch.tensor([[[0, 1, 0], [1, 0, 0], [0, 0, 0]]], dtype=torch.bool)
    >>> shortest_path_distance(bonded)
    tensor([[[ 0,  1, -1],
             [ 1,  0, -1],
             [-1, -1,  0]]], dtype=torch.int16)
    """
    b, n, _ = bonded.shape
    if n > LARGE and bonded.device.type == "cpu":
        return torch.stack([_search(one) for one in bonded])
    depth = math.ceil(math.log2(max(n - 1, 1)))  # the longest distance there can be is n - 1
    dtype = torch.float64 if n > 4000 else torch.float32  # sums stay below n^2, which must be exact
    with torch.autocast(bonded.device.type, enabled=False):  # half precision counts to 256 or 2,048 only
        # level k joins atoms up to 2^k bonds apart, each atom to itself as well: that changes no average below
        levels = torch.empty(depth + 1, b, n, n, dtype=dtype, device=bonded.device)
        levels[0] = bonded
        levels[0].diagonal(dim1=-2, dim2=-1).fill_(1)
        for k in range(depth):
            torch.bmm(levels[k], levels[k], out=levels[k + 1]).clamp_(max=1)
        # degree off the diagonal: `distance @ level` then is the sum over neighbours of (their distance - distance)
        levels.diagonal(dim1=-2, dim2=-1).sub_(levels.sum(-2))
        distance = levels[depth].clamp_(min=0)  # 1 for every pair of a fragment
        for k in reversed(range(depth)):
            minus_odd = torch.bmm(distance, levels[k]).clamp_(-1, 0)
            distance = minus_odd.add_(distance, alpha=2)
    spd = distance.to(torch.int16)
    spd.masked_fill_(spd == 0, NO_PATH).diagonal(dim1=-2, dim2=-1).fill_(0)
    return spd


def _search(bonded: Bool[Tensor, "n n"]) -> Int16[Tensor, "n n"]:
    """Shortest-path distances of one molecule; -1 between fragments."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import dijkstra

    distance = dijkstra(csr_matrix(bonded.numpy()), unweighted=True)
    distance[np.isinf(distance)] = NO_PATH
    return torch.from_numpy(distance.astype(np.int16))


def shortest_bond_path(
    spd: Int16[Tensor, "b n n"], bonds: UInt8[Tensor, "b n n"], max_degree: int | None = None
) -> Int8[Tensor, "b n n hops"]:
    """Ids of the first five bonds on the shortest path from receiver i to sender j.

    Of tied paths the one whose sequence of bond ids is smallest is taken, which does not depend on how atoms are
    numbered. The best first t hops from i to j are the smallest, over neighbours v of i one step nearer to j, of
    (bond(i, v), best first t - 1 hops from v to j): five rounds for a whole batch. A path is one integer, a digit a
    hop with the first hop highest, so that the smallest sequence is the smallest integer.

    Parameters
    ----------
    spd : Tensor, shape (b, n, n), int16
        Shortest-path distances; -1 between fragments.
    bonds : Tensor, shape (b, n, n), uint8
        Bond id + 1, 0 = no bond; from `bond_matrix`.
    max_degree : int, optional
        Most bonds of an atom in the batch. Where it is not given it is read from `bonds`, which waits for the device.

    Returns
    -------
    Tensor, shape (b, n, n, 5), int8
        Bond ids from i's end; -1 where there is no such hop.
    """
    b, n, _ = spd.shape
    slots = int((bonds > 0).sum(-1).max()) if max_degree is None else max_degree
    if slots == 0:
        return torch.full((b, n, n, PATH_HOPS), -1, dtype=torch.int8, device=spd.device)

    bond, neighbour = bonds.view(b * n, n).topk(slots, sorted=False)  # (b n, slots)
    own = torch.arange(b * n, device=spd.device).unsqueeze(-1)
    row = torch.where(bond > 0, neighbour + (own - own % n), own)  # an empty slot points to its own atom: never nearer
    row = row.t().reshape(-1)  # (slots b n): slots come first, so that reductions run over whole rows

    distance = spd.view(b * n, n)
    not_nearer = distance.index_select(0, row).view(slots, b * n, n).sub_(distance - 1).clamp_(max=1)
    first_hop = (bond.t().to(torch.int32) << _FIRST).unsqueeze(-1)
    first_hop = torch.add(first_hop, not_nearer, alpha=_ABSENT)  # (slots, b n, n)
    has_path = (distance > 0).to(torch.int32).mul_(_ABSENT - 1)  # all bits, or none

    best = first_hop.amin(0).bitwise_and_(has_path)  # (b n, n)
    for _ in range(PATH_HOPS - 1):
        rest = (best >> _DIGIT).index_select(0, row).view(slots, b * n, n)
        best = rest.add_(first_hop).amin(0).bitwise_and_(has_path)
    best = best.view(b, n, n, 1)
    digits = torch.cat([best >> shift for shift in range(_FIRST, -1, -_DIGIT)], dim=-1)  # (b, n, n, 5)
    return digits.to(torch.int8).bitwise_and_((1 << _DIGIT) - 1).sub_(1)
