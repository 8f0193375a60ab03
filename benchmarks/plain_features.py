"""The plain form of featurization: one molecule at a time, one atom, one pair after the other, as formulae have it."""

import itertools
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import BondStereo, BondType, ChiralType, HybridizationType

ATOM_LISTS: tuple[tuple[Any, list], ...] = (
    (Chem.Atom.GetAtomicNum, [*range(1, 119), "misc"]),
    (
        Chem.Atom.GetChiralTag,
        [
            ChiralType.CHI_UNSPECIFIED,
            ChiralType.CHI_TETRAHEDRAL_CW,
            ChiralType.CHI_TETRAHEDRAL_CCW,
            ChiralType.CHI_OTHER,
            "misc",
        ],
    ),
    (Chem.Atom.GetTotalDegree, [*range(11), "misc"]),
    (Chem.Atom.GetFormalCharge, [*range(-5, 6), "misc"]),
    (Chem.Atom.GetTotalNumHs, [*range(9), "misc"]),
    (Chem.Atom.GetNumRadicalElectrons, [*range(5), "misc"]),
    (
        Chem.Atom.GetHybridization,
        [
            HybridizationType.SP,
            HybridizationType.SP2,
            HybridizationType.SP3,
            HybridizationType.SP3D,
            HybridizationType.SP3D2,
            "misc",
        ],
    ),
    (Chem.Atom.GetIsAromatic, [False, True]),
    (Chem.Atom.IsInRing, [False, True]),
)
BOND_LISTS: tuple[tuple[Any, list], ...] = (
    (Chem.Bond.GetBondType, [BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE, BondType.AROMATIC, "misc"]),
    (
        Chem.Bond.GetStereo,
        [
            BondStereo.STEREONONE,
            BondStereo.STEREOZ,
            BondStereo.STEREOE,
            BondStereo.STEREOCIS,
            BondStereo.STEREOTRANS,
            BondStereo.STEREOANY,
        ],
    ),
    (Chem.Bond.GetIsConjugated, [False, True]),
)
HOPS = 5
FAR = 510


def plain_features(smiles: str) -> dict[str, np.ndarray]:
    """Turn a SMILES into the schema's fields of atoms (n, ..) and pairs (n, n, ..), without positions."""
    mol = Chem.MolFromSmiles(smiles)
    atom = np.array([[_index(values, read(a)) for read, values in ATOM_LISTS] for a in mol.GetAtoms()])
    n = len(atom)
    bond_id = np.full((n, n), -1)
    for bond in mol.GetBonds():
        kind, stereo, conjugated = (_index(values, read(bond)) for read, values in BOND_LISTS)
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bond_id[i, j] = bond_id[j, i] = 12 * kind + 2 * stereo + conjugated
    spd, between = floyd_warshall(bond_id >= 0)
    bond_path = np.full((n, n, HOPS), -1)
    for i in range(n):
        for j in range(n):
            if i != j and spd[i, j] < FAR:
                atoms = [i, *_inner(between, i, j), j]
                hops = [bond_id[a, b] for a, b in itertools.pairwise(atoms)][:HOPS]
                bond_path[i, j, : len(hops)] = hops
    return {"atom": atom, "degree": (bond_id >= 0).sum(1), "spd": np.where(spd < FAR, spd, -1), "bond_path": bond_path}


def floyd_warshall(bonded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return shortest-path distances, `FAR` where there is no path, and an atom between each two, -1 for none."""
    spd = np.where(bonded, 1, FAR)
    np.fill_diagonal(spd, 0)
    between = np.full(spd.shape, -1)
    for k in range(len(spd)):
        through = spd[:, k, None] + spd[None, k, :]
        shorter = through < spd
        spd[shorter] = through[shorter]
        between[shorter] = k
    return spd, between


def _inner(between: np.ndarray, i: int, j: int) -> list[int]:
    k = between[i, j]
    return [] if k < 0 else [*_inner(between, i, k), k, *_inner(between, k, j)]


def _index(values: list, value: object) -> int:
    return values.index(value) if value in values else len(values) - 1
