"""Pairs within reach alone, found bond by bond: time and memory grow with them, not with atoms squared."""

from typing import NamedTuple

import numpy as np

from dgl_moleblend.schema import PATH_HOPS

_DIGIT = 6  # bits a hop, see `relations.shortest_bond_path`
_FIRST = _DIGIT * (PATH_HOPS - 1)


class NearPairs(NamedTuple):
    """Ordered pairs of atoms whose shortest path has at most so many bonds, sorted by receiver, then sender.

    Parameters
    ----------
    receiver, sender : ndarray, shape (p,), int64
    spd : ndarray, shape (p,), int16
        Bonds of the shortest path; 0 of self pairs.
    bond_path : ndarray, shape (p, 5), int8
        Ids of its first bonds from the receiver's end, -1 where there is no such hop; of tied paths the smallest.
    """

    receiver: np.ndarray
    sender: np.ndarray
    spd: np.ndarray
    bond_path: np.ndarray


def find_near_pairs(bond_index: np.ndarray, bond_id: np.ndarray, num_atoms: int, reach: int) -> NearPairs:
    """Search from every atom at once, one bond further a round.

    An atom j is d bonds from i if it is d - 1 from a neighbour of i, and no nearer; the best path from i is the
    smallest over such neighbours of the bond to it, followed by the best path from there.

    Parameters
    ----------
    bond_index : ndarray, shape (m, 2), int
        Begin and end atom of every bond.
    bond_id : ndarray, shape (m,), uint8
    num_atoms : int
    reach : int
        Bonds.

    Examples
    --------
    >>> pairs = find_near_pairs(np.array([[0, 1], [1, 2]]), np.array([12, 0], np.uint8), num_atoms=3, reach=1)
    >>> list(zip(pairs.receiver.tolist(), pairs.sender.tolist(), pairs.spd.tolist(), strict=True))
    [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 2, 1), (2, 1, 1), (2, 2, 0)]
    >>> pairs.bond_path[1].tolist()
    [12, -1, -1, -1, -1]
    """
    atoms = np.arange(num_atoms, dtype=np.int64)
    from_atom, to_atom, first_hop = _directed(bond_index, bond_id)
    # a pair (i, j) is the number i * n + j; `code` holds a hop a digit, the first hop highest
    levels = [(atoms * num_atoms + atoms, np.zeros(num_atoms, np.int64))]
    before = np.empty(0, np.int64)
    for _ in range(reach):
        pair, code = levels[-1]
        receiver, sender = np.divmod(pair, num_atoms)
        start = np.searchsorted(receiver, np.arange(num_atoms + 1))
        count = np.diff(start)[to_atom]  # pairs (v, j) of the last level that each directed bond (i, v) goes on with
        bond = np.repeat(np.arange(len(to_atom)), count)
        further = np.arange(len(bond)) - np.repeat(count.cumsum() - count, count) + np.repeat(start[to_atom], count)
        found = from_atom[bond] * num_atoms + sender[further]
        codes = first_hop[bond] + (code[further] >> _DIGIT)
        new = ~(_among(found, pair) | _among(found, before))
        found, codes = found[new], codes[new]
        if not len(found):
            break
        order = np.lexsort((codes, found))
        found, codes = found[order], codes[order]
        first = np.concatenate([[True], found[1:] > found[:-1]])  # of tied paths the smallest
        before = pair
        levels.append((found[first], codes[first]))
    pairs = np.concatenate([pair for pair, _ in levels])
    order = pairs.argsort(kind="stable")
    spd = np.repeat(np.arange(len(levels), dtype=np.int16), [len(pair) for pair, _ in levels])[order]
    codes = np.concatenate([code for _, code in levels])[order]
    digits = np.stack([codes >> shift for shift in range(_FIRST, -1, -_DIGIT)], axis=-1) & ((1 << _DIGIT) - 1)
    receiver, sender = np.divmod(pairs[order], num_atoms)
    return NearPairs(receiver, sender, spd, (digits - 1).astype(np.int8))


def _directed(bond_index: np.ndarray, bond_id: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return begin, end and code of every bond in both directions."""
    begin, end = bond_index.astype(np.int64).reshape(-1, 2).T
    code = (bond_id.astype(np.int64) + 1) << _FIRST
    return np.concatenate([begin, end]), np.concatenate([end, begin]), np.concatenate([code, code])


def _among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether values are among sorted ones."""
    if not len(known):
        return np.zeros(len(values), bool)
    place = np.searchsorted(known, values)
    return known[np.minimum(place, len(known) - 1)] == values
