"""Values of sites, which are the atoms or the bonds of molecules, beside a data set of these."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.summary import ELEMENTS
from dgl_moleblend.schema import bond_parts

LEVELS = ("atom", "bond")
"""What the sites of a molecule are."""


def bond_order(molecule: MoleculeArrays) -> np.ndarray:
    """Return the bonds of a molecule, by their numbers, in the order in which networks tell of them: by their atoms.

    >>> ends = np.array([[2, 1], [0, 2], [0, 1]], np.int32)
    >>> bond_order(MoleculeArrays(np.zeros((3, 9)), ends, np.zeros(3, np.uint8), np.zeros((0, 3, 3)))).tolist()
    [2, 1, 0]
    """
    ends = np.sort(molecule.bond_index, axis=1)
    return np.lexsort((ends[:, 1], ends[:, 0]))


def site_kinds(molecule: MoleculeArrays, level: str) -> list[str]:
    """Return of which kind each site is, atoms by element ("C"), bonds by elements and type ("C-O single").

    Bonds are in the order of `bond_order`.
    """
    elements = [ELEMENTS[k] for k in molecule.atom[:, 0].tolist()]
    if level == "atom":
        return elements
    from dgl_moleblend.chem.vocabulary import BOND_FEATURES  # RDKit comes with it, which loaders do without

    types, found = BOND_FEATURES[0].values, []
    for k in bond_order(molecule).tolist():
        first, second = sorted(elements[atom] for atom in molecule.bond_index[k].tolist())
        found.append(f"{first}-{second} {types[bond_parts(int(molecule.bond_id[k]))[0]]}")
    return found


def num_sites(dataset: MoleculeDataset, level: str) -> np.ndarray:
    """Return how many sites each molecule has, shape (N,)."""
    if level == "atom":
        return np.asarray(dataset.num_atoms, np.int64)
    return np.array([len(sample.molecule.bond_id) for sample in dataset], np.int64)


def places_of(counts: np.ndarray, index: np.ndarray | Sequence[int]) -> np.ndarray:
    """Return where the sites of some molecules stand among those of all, one molecule after the other.

    >>> places_of(np.array([2, 1, 3]), [2, 0]).tolist()
    [3, 4, 5, 0, 1]
    """
    index = np.asarray(index, np.int64)
    first, size = (counts.cumsum() - counts)[index], counts[index]
    before = size.cumsum() - size
    return np.arange(int(size.sum())) + (first - before).repeat(size)


@dataclass(frozen=True, eq=False)
class SiteValues:
    """Values of the sites of N molecules, s of them in all, those of the first molecule first.

    Parameters
    ----------
    level : {"atom", "bond"}
        Atoms are in the order of the molecule, bonds in that of `bond_order`.
    names : tuple of t str
    counts : ndarray, shape (N,), int64
        How many sites each molecule has.
    values : ndarray, shape (s, t), float64
        NaN where there is none.
    kinds : ndarray, shape (s,), of str
        See `site_kinds`.
    """

    level: str
    names: tuple[str, ...]
    counts: np.ndarray
    values: np.ndarray
    kinds: np.ndarray

    @classmethod
    def of(
        cls, dataset: MoleculeDataset, level: str, names: Sequence[str], by_row: Mapping[int, np.ndarray]
    ) -> "SiteValues":
        """Gather the values of a data set's molecules.

        Parameters
        ----------
        dataset : MoleculeDataset
        level : {"atom", "bond"}
        names : sequence of t str
        by_row : mapping of int to ndarray, shape (sites, t)
            By input row, atoms and bonds in RDKit's order; molecules that are not in it have no values.
        """
        counts, values, kinds = [], [np.empty((0, len(names)))], []
        for sample in dataset:
            of_molecule = site_kinds(sample.molecule, level)
            found = by_row.get(sample.row)
            if found is None:
                found = np.full((len(of_molecule), len(names)), np.nan)
            assert len(found) == len(of_molecule), f"row {sample.row}"
            values.append(found if level == "atom" else found[bond_order(sample.molecule)])
            counts.append(len(of_molecule))
            kinds += of_molecule
        return cls(level, tuple(names), np.array(counts, np.int64), np.concatenate(values), np.array(kinds, dtype=str))

    def __len__(self) -> int:
        return len(self.counts)

    def rows(self, index: np.ndarray) -> Float[np.ndarray, "sites t"]:
        """Return the values of the sites of some molecules, one molecule after the other."""
        return self.values[places_of(self.counts, index)]

    def take(self, index: np.ndarray) -> "SiteValues":
        """Return the values of some molecules, in the order given."""
        places, index = places_of(self.counts, index), np.asarray(index, np.int64)
        return SiteValues(self.level, self.names, self.counts[index], self.values[places], self.kinds[places])

    def replace_values(self, values: np.ndarray) -> "SiteValues":
        """Return other values of the same sites."""
        return SiteValues(self.level, self.names, self.counts, values, self.kinds)

    def digest(self) -> str:
        """Return a checksum of all values, for a run's plan."""
        content = [f"{self.level}{self.names}".encode(), self.counts.tobytes(), self.values.tobytes()]
        found = hashlib.sha256()
        for one in content:
            found.update(one)
        return found.hexdigest()[:16]
