"""Which group each molecule is in, and groups divided by seed so that none is in two parts."""

from collections.abc import Callable, Sequence

import numpy as np

from dgl_moleblend.chem.clusters import scaffolds, spheres

GROUPINGS: dict[str, Callable[[Sequence[str]], np.ndarray]] = {"scaffold_balanced": scaffolds, "cluster": spheres}
"""Splits whose groups stay whole, and how the group of each molecule is found from its SMILES."""


def divide_groups(groups: np.ndarray, fractions: Sequence[float], seed: int) -> list[np.ndarray]:
    """Divide groups in three parts, as chemprop's balanced scaffold split does.

    Groups in an order drawn at random go to the first part that has room, but those larger than half of validation or
    test before all others: they train, so that what is held out is many small groups.

    Parameters
    ----------
    groups : ndarray of int, shape (N,)
    fractions : sequence of 3 floats
        They add up to 1.
    seed : int

    Returns
    -------
    list of 3 ndarrays
        Indices, together every molecule once.

    Examples
    --------
    >>> groups = np.array([7, 7, 7, 7, 1, 2, 3, 4, 5, 6])
    >>> parts = divide_groups(groups, (0.6, 0.2, 0.2), seed=0)
    >>> [len(part) for part in parts], parts[0][:4].tolist()
    ([6, 2, 2], [0, 1, 2, 3])
    """
    rows = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    order = np.random.default_rng(seed).permutation(len(rows))
    room = np.asarray(fractions) * len(groups)
    large = min((size for size in room[1:] if size > 0), default=np.inf) / 2
    parts: list[list[np.ndarray]] = [[], [], []]
    filled = np.zeros(3, np.int64)
    for k in sorted(order.tolist(), key=lambda k: len(rows[k]) <= large):  # stable: the order drawn stays
        free = room - filled
        fits = np.flatnonzero((room > 0) & (len(rows[k]) <= free + 1e-9))
        part = int(fits[0]) if len(fits) else int(free.argmax())
        parts[part].append(rows[k])
        filled[part] += len(rows[k])
    return [np.sort(np.concatenate(part)) if part else np.empty(0, np.int64) for part in parts]
