"""A SMILES whose atoms can be told: those of a structure are seldom written in the order that they have in a file."""

import numpy as np
from rdkit import Chem

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.chem.sanitize import read_smiles
from dgl_moleblend.chem.vocabulary import mol_to_arrays
from dgl_moleblend.schema import bond_parts

_KINDS = [Chem.BondType.names[name] for name in ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC", "QUADRUPLE")]
"""By type of bond; the last stands for any other."""


def number_smiles(molecule: MoleculeArrays, smiles: str, *, chirality: str = "cip") -> str:
    """Return a molecule's SMILES; where it is written in another order, with each atom's number + 1 as its map number.

    Parameters
    ----------
    molecule : MoleculeArrays
        Atoms in the order that they are numbered in, from 0.
    smiles : str
        Of the same molecule.
    chirality : {"cip", "tag"}
        As the molecule was featurized.

    Examples
    --------
    >>> methanol, backwards = (mol_to_arrays(Chem.MolFromSmiles(text)) for text in ("CO", "OC"))
    >>> number_smiles(methanol, "CO"), number_smiles(backwards, "CO")
    ('CO', '[OH:1][CH3:2]')
    """
    mol = read_smiles(smiles)
    written = mol_to_arrays(mol, chirality=chirality)
    if written.num_atoms != molecule.num_atoms or len(written.bond_id) != len(molecule.bond_id):
        return smiles
    if np.array_equal(written.atom, molecule.atom) and _bonds(written) == _bonds(molecule):
        return smiles
    for width in (molecule.atom.shape[1], 1):  # all that is known of an atom; or its element, where a file says more
        labels: dict[tuple[int, ...], int] = {}
        match = _skeleton(molecule, width, labels).GetSubstructMatch(_skeleton(written, width, labels))
        if match:
            for atom, number in zip(mol.GetAtoms(), match, strict=True):
                atom.SetAtomMapNum(number + 1)
            return Chem.MolToSmiles(mol)
    return smiles


def _bonds(molecule: MoleculeArrays) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in molecule.bond_index.tolist()}


def _skeleton(molecule: MoleculeArrays, width: int, labels: dict[tuple[int, ...], int]) -> Chem.Mol:
    """Return carbon atoms whose isotope tells what is known of each, with their bonds."""
    skeleton = Chem.RWMol()
    for ids in molecule.atom[:, :width].tolist():
        atom = Chem.Atom(6)
        atom.SetIsotope(labels.setdefault(tuple(ids), len(labels) + 1))
        skeleton.AddAtom(atom)
    for (i, j), kind in zip(molecule.bond_index.tolist(), bond_parts(molecule.bond_id)[0].tolist(), strict=True):
        skeleton.AddBond(i, j, _KINDS[kind] if width > 1 else Chem.BondType.SINGLE)
    return skeleton
