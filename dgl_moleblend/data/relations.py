"""Bonds of a whole batch of molecules -> shortest-path distances and bond paths, in tensors, on any device."""

import math

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from dgl_moleblend.schema import NO_PATH, PATH_HOPS

_BASE = 64  # one six-bit digit per hop: bond id + 1, 0 = no bond; five digits fit in an int32


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


def adjacency(
    bond_index: Integer[Tensor, "m 2"], bond_molecule: Integer[Tensor, " m"], num_molecules: int, num_atoms: int
) -> Bool[Tensor, "b n n"]:
    """Which ordered pairs of atoms are bonded.

    Parameters
    ----------
    bond_index : Tensor, shape (m, 2)
        Begin and end atom of every bond, numbered within its molecule.
    bond_molecule : Tensor, shape (m,)
        The molecule of every bond.
    num_molecules, num_atoms : int
        b, and n of the largest molecule.
    """
    out = torch.zeros(num_molecules, num_atoms, num_atoms, dtype=torch.bool, device=bond_index.device)
    begin, end = bond_index.long().unbind(-1)
    molecule = bond_molecule.long()
    out[molecule, begin, end] = True
    out[molecule, end, begin] = True
    return out


def shortest_path_distance(bonded: Bool[Tensor, "b n n"]) -> Int[Tensor, "b n n"]:
    r"""Shortest-path distance in bonds between all ordered pairs, by Seidel's algorithm.

    Squaring the graph (joining atoms at distance two) halves all distances, rounded up; going back, a distance is odd
    if the sender's neighbours are on average nearer. That takes :math:`2 \log_2 n` matrix products for a whole batch,
    without a loop over molecules, pairs or path lengths, and without waiting for the device. Sums stay below 2^24, so
    float32 is exact for up to 4,000 atoms.

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
    n = bonded.shape[-1]
    self_pair = torch.eye(n, dtype=torch.bool, device=bonded.device)
    graph = bonded.to(torch.float64 if n > 4000 else torch.float32)
    levels = []
    for _ in range(math.ceil(math.log2(max(n - 1, 1)))):  # the longest distance there can be is n - 1
        levels.append(graph)
        joined = ((graph + graph @ graph) > 0) & ~self_pair
        graph = joined.to(graph.dtype)
    distance = graph  # every pair of a fragment is joined by now
    for graph in reversed(levels):
        degree = graph.sum(-2, keepdim=True)  # (b, 1, n): of the sender
        distance = 2 * distance - ((distance @ graph) < distance * degree).to(distance.dtype)
    return distance.to(torch.int16).masked_fill_((distance == 0) & ~self_pair, NO_PATH)


def shortest_bond_path(
    spd: Integer[Tensor, "b n n"],
    bond_index: Integer[Tensor, "m 2"],
    bond_molecule: Integer[Tensor, " m"],
    bond_id: Integer[Tensor, " m"],
) -> Integer[Tensor, "b n n hops"]:
    """Ids of the first five bonds on the shortest path from receiver i to sender j.

    Of tied paths the one whose sequence of bond ids is smallest is taken, which does not depend on how atoms are
    numbered. The best first t hops from i to j are the smallest, over neighbours v of i one step nearer to j, of
    (bond(i, v), best first t - 1 hops from v to j): five rounds for a whole batch.

    Parameters
    ----------
    spd : Tensor, shape (b, n, n)
        Shortest-path distances; -1 between fragments.
    bond_index, bond_molecule, bond_id : Tensor, shapes (m, 2), (m,), (m,)
        Atoms, molecule and id of every bond.

    Returns
    -------
    Tensor, shape (b, n, n, 5), int8
        Bond ids from i's end; -1 where there is no such hop.
    """
    b, n, _ = spd.shape
    neighbour, bond = _neighbour_slots(bond_index, bond_molecule, bond_id, b, n)  # (b, n, slots)
    absent = torch.iinfo(torch.int32).max
    best = torch.zeros(b, n, n, dtype=torch.int32, device=spd.device)
    molecule = torch.arange(b, device=spd.device)[:, None]
    nearer_by_slot = []
    for slot in range(neighbour.shape[-1]):
        v = neighbour[:, :, slot]
        nearer = (spd[molecule, v] == spd - 1) & (spd > 0) & (bond[:, :, slot, None] > 0)  # (b, n, n)
        nearer_by_slot.append((v, bond[:, :, slot, None] * _BASE ** (PATH_HOPS - 1), nearer))
    for _ in range(PATH_HOPS):
        tail = best >> 6  # the path of one atom less is one digit shorter
        best = torch.full_like(best, absent)
        for v, first, nearer in nearer_by_slot:
            best = torch.minimum(best, (first + tail[molecule, v]).masked_fill_(~nearer, absent))
        best.masked_fill_(best == absent, 0)
    shift = torch.arange(PATH_HOPS - 1, -1, -1, device=spd.device, dtype=torch.int32) * 6
    return ((best.unsqueeze(-1) >> shift) & (_BASE - 1)).to(torch.int8) - 1


def _neighbour_slots(
    bond_index: Tensor, bond_molecule: Tensor, bond_id: Tensor, num_molecules: int, num_atoms: int
) -> tuple[Tensor, Tensor]:
    """Return each atom's neighbours and bond ids + 1 (0 = empty slot), both (b, n, largest degree)."""
    device = bond_index.device
    index, molecule = bond_index.long(), bond_molecule.long()
    receiver = torch.cat((index[:, 0], index[:, 1])) + torch.cat((molecule, molecule)) * num_atoms
    order = torch.argsort(receiver, stable=True)
    receiver = receiver[order]
    count = torch.bincount(receiver, minlength=num_molecules * num_atoms)
    start = torch.cumsum(count, 0) - count
    slot = torch.arange(len(receiver), device=device) - start[receiver]
    slots = int(count.max()) if len(receiver) else 0
    neighbour = torch.zeros(num_molecules * num_atoms, slots, dtype=torch.long, device=device)
    bond = torch.zeros(num_molecules * num_atoms, slots, dtype=torch.int32, device=device)
    neighbour[receiver, slot] = torch.cat((index[:, 1], index[:, 0]))[order]
    bond[receiver, slot] = (torch.cat((bond_id, bond_id)).to(torch.int32) + 1)[order]
    return neighbour.view(num_molecules, num_atoms, slots), bond.view(num_molecules, num_atoms, slots)
