"""A molecule as compact arrays, O(n): what stores keep, and what relations are made from."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MoleculeArrays:
    """One molecule's atoms, bonds and positions; knows nothing of RDKit or DGL.

    Parameters
    ----------
    atom : ndarray, shape (n, 9), uint8
        Ids of the nine atom features.
    bond_index : ndarray, shape (m, 2), int32
        Begin and end atom of every bond, each bond once.
    bond_id : ndarray, shape (m,), uint8
        ``12 * type + 2 * stereo + conjugated``.
    positions : ndarray, shape (c, n, 3), float32, angstrom
        Conformers; c = 0 where the molecule has none.
    """

    atom: np.ndarray
    bond_index: np.ndarray
    bond_id: np.ndarray
    positions: np.ndarray

    @property
    def num_atoms(self) -> int:
        """Number of atoms n."""
        return len(self.atom)

    @property
    def degree(self) -> np.ndarray:
        """Number of neighbours of each atom, shape (n,), uint8."""
        return np.bincount(self.bond_index.ravel(), minlength=self.num_atoms).astype(np.uint8)

    def conformer(self, index: int = 0) -> np.ndarray | None:
        """Return the positions (n, 3) of conformer `index` modulo their number, or None where there is none."""
        return self.positions[index % len(self.positions)] if len(self.positions) else None
