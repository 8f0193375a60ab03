"""Which molecules are alike: those of one sphere by Tanimoto similarity, or of one ring scaffold."""

from collections.abc import Sequence

import numpy as np

from dgl_moleblend.chem.similarity import find_nearest, fingerprints

RADIUS = 0.65
"""Tanimoto distance by Morgan fingerprints within which a molecule joins the middle of a sphere: two middles are less
alike than 0.35, as two molecules drawn at random nearly always are."""


def spheres(smiles: Sequence[str], radius: float = RADIUS) -> np.ndarray:
    """Cluster molecules by sphere exclusion (RDKit's LeaderPicker): each belongs to the nearest middle.

    A molecule becomes a middle if it is further than the radius from those before it. Molecules at the rims of two
    spheres may still be nearer to each other than the radius.

    Parameters
    ----------
    smiles : sequence of N str
    radius : float
        From 0 to 1.

    Returns
    -------
    ndarray of int, shape (N,)
        The number of each molecule's cluster; the same for the same molecules in the same order.

    References
    ----------
    Taylor, "Simulation Analysis of Experimental Design Strategies for Screening Random Compounds as Potential New
    Drugs and Agrochemicals" (1995); Butina (1999).

    Examples
    --------
    >>> spheres(["CCCCCCO", "CCCCCCCO", "c1ccc2[nH]ccc2c1", "Cc1ccc2[nH]ccc2c1"]).tolist()
    [0, 0, 1, 1]
    """
    from rdkit.DataStructs import CreateFromFPSText
    from rdkit.SimDivFilters.rdSimDivPickers import LeaderPicker

    packed = fingerprints(smiles)
    if not len(packed):
        return np.zeros(0, np.int64)
    vectors = [CreateFromFPSText(row.tobytes().hex()) for row in packed]  # bits in another order, as like each other
    middles = np.sort(np.asarray(LeaderPicker().LazyBitVectorPick(vectors, len(vectors), radius), np.int64))
    return np.unique(find_nearest(packed, packed[middles])[1], return_inverse=True)[1]


def scaffold_smiles(smiles: Sequence[str]) -> list[str]:
    """Return each molecule's Bemis-Murcko scaffold, "" where there is no ring.

    >>> scaffold_smiles(["Cc1ccccc1", "CCO"])
    ['c1ccccc1', '']
    """
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    from dgl_moleblend.chem.sanitize import read_smiles

    return [MurckoScaffoldSmiles(mol=read_smiles(text)) for text in smiles]


def scaffolds(smiles: Sequence[str]) -> np.ndarray:
    """Return the number of each molecule's Bemis-Murcko scaffold, shape (N,); that of molecules without a ring is one.

    Examples
    --------
    >>> scaffolds(["Cc1ccccc1", "CCO", "Oc1ccccc1", "CCN"]).tolist()
    [1, 0, 1, 0]
    """
    return np.unique(np.array(scaffold_smiles(smiles), dtype=str), return_inverse=True)[1]
