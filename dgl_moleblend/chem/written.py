"""A molecule as it is written, with every hydrogen that is: which of its atoms the features keep, and its bonds."""

from dataclasses import dataclass

import numpy as np
from rdkit import Chem

from dgl_moleblend.chem.sanitize import prepare_mol, rdkit_session
from dgl_moleblend.chem.structures import read_structure
from dgl_moleblend.errors import MoleculeError

_PLACE = "_dgl_moleblend_place"
_FIX = "write it as RDKit writes it, or leave it out"


@dataclass(frozen=True)
class Written:
    """Atoms and bonds in the order in which they are written.

    Parameters
    ----------
    place : ndarray, shape (w,), int64
        Which atom of the molecule each written atom is; -1 for hydrogens that are dropped.
    bonds : ndarray, shape (v, 2), int64
        Ends of each written bond, as `place` numbers them.
    kept_bonds : ndarray, shape (m, 2), int64
        Ends of each bond of the molecule, in its order.
    """

    place: np.ndarray
    bonds: np.ndarray
    kept_bonds: np.ndarray


def read_written(
    mol: Chem.Mol, *, smiles: str = "", structure: str | None = None, form: str = "sdf", charge: int | None = None,
    given: Chem.Mol | None = None,
) -> Written:  # fmt: skip
    """Find out which atom of a molecule each atom is that was written.

    Parameters
    ----------
    mol : Mol
        As it was read, without the hydrogens that RDKit removes.
    smiles, structure, form, charge, given
        What it was read from: a SMILES, the text of a structure and its format (see `read_structure`), or a Mol.

    Raises
    ------
    MoleculeError
        If the atoms cannot be told.

    Examples
    --------
    >>> text = "[H]OC"
    >>> read_written(Chem.MolFromSmiles(text), smiles=text).place.tolist()
    [-1, 0, 1]
    """
    full = _with_hydrogens(smiles, structure, form, charge) if given is None else given
    place = np.arange(full.GetNumAtoms())
    if full.GetNumAtoms() != mol.GetNumAtoms():
        full = Chem.Mol(full)
        for atom in full.GetAtoms():
            atom.SetIntProp(_PLACE, atom.GetIdx())
        kept = [atom.GetIntProp(_PLACE) for atom in prepare_mol(full).GetAtoms()]
        place = np.full(full.GetNumAtoms(), -1)
        place[kept] = np.arange(len(kept))
    elements = [full.GetAtomWithIdx(k).GetAtomicNum() for k in np.flatnonzero(place >= 0).tolist()]
    if elements != [atom.GetAtomicNum() for atom in mol.GetAtoms()]:
        raise MoleculeError("the atoms as they are written cannot be told from those that are kept", fix=_FIX)
    bonds = place[_ends(full)].reshape(-1, 2)
    whole = {(min(pair), max(pair)) for pair in bonds.tolist() if min(pair) >= 0}
    kept_bonds = _ends(mol)
    if not {(min(pair), max(pair)) for pair in kept_bonds.tolist()} <= whole:
        raise MoleculeError("the bonds as they are written cannot be told from those that are kept", fix=_FIX)
    return Written(place, bonds, kept_bonds)


def _ends(mol: Chem.Mol) -> np.ndarray:
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    return np.array(ends, np.int64).reshape(-1, 2)


def _with_hydrogens(smiles: str, structure: str | None, form: str, charge: int | None) -> Chem.Mol:
    if structure is not None and form != "sdf":
        return read_structure(structure, form, charge)
    with rdkit_session:
        if structure is not None:
            mol = Chem.MolFromMolBlock(structure, removeHs=False)
        else:
            parameters = Chem.SmilesParserParams()
            parameters.removeHs = False  # type: ignore[assignment]
            mol = Chem.MolFromSmiles(smiles, parameters)
    if mol is None:
        raise MoleculeError("RDKit cannot read the molecule with its hydrogens", fix=_FIX)
    numbers = [atom.GetAtomMapNum() for atom in mol.GetAtoms()]
    if structure is None and sorted(numbers) == list(range(1, len(numbers) + 1)) != numbers:
        raise MoleculeError(
            "its atoms are numbered in another order than they are written in, and a list of values could go by either",
            fix="take the numbers off, and give values in the order of the SMILES",
        )
    return mol
