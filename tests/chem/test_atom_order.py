"""Numbered SMILES: each atom can be told, however the molecule is numbered or written."""

import numpy as np
import pytest
from molecules import AWKWARD_SMILES
from rdkit import Chem

from dgl_moleblend.chem.atom_order import number_smiles
from dgl_moleblend.chem.sanitize import prepare_mol, read_smiles
from dgl_moleblend.chem.vocabulary import mol_to_arrays


@pytest.mark.parametrize("smiles", [*AWKWARD_SMILES, "C[C@H](N)C(=O)O", "C/C=C/C(=O)Cl", "N->[Pt](<-N)(Cl)Cl"])
def test_map_numbers_tell_the_atoms_of_a_molecule_in_any_order(smiles):
    mol = read_smiles(smiles)
    order = np.random.default_rng(0).permutation(mol.GetNumAtoms()).tolist()
    other = mol_to_arrays(prepare_mol(Chem.RenumberAtoms(mol, order)))
    found = Chem.MolFromSmiles(number_smiles(other, smiles))
    number = [atom.GetAtomMapNum() - 1 for atom in found.GetAtoms()]
    if max(number) < 0:
        number = list(range(len(number)))  # it is written in this order
    place = np.argsort(number)
    for atom in found.GetAtoms():
        atom.SetAtomMapNum(0)
    read = mol_to_arrays(prepare_mol(Chem.RenumberAtoms(found, place.tolist())))
    np.testing.assert_array_equal(read.atom, other.atom)
    pairs = [sorted(map(sorted, one.bond_index.tolist())) for one in (read, other)]
    assert pairs[0] == pairs[1]
