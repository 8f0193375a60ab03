"""Atoms and bonds as they are written, and which of them a molecule keeps."""

import pytest
from rdkit import Chem

from dgl_moleblend.chem.sanitize import prepare_mol, read_smiles
from dgl_moleblend.chem.written import read_written
from dgl_moleblend.errors import MoleculeError


@pytest.mark.parametrize(
    ("smiles", "place"),
    [("CCO", [0, 1, 2]), ("[H]OC", [-1, 0, 1]), ("[H]C([H])([H])O[2H]", [-1, 0, -1, -1, 1, 2]),
     ("[H][H]", [0, 1]), ("[Na+].[H][O-]", [0, -1, 1]), ("[CH3:1][OH:2]", [0, 1])],
)  # fmt: skip
def test_hydrogens_that_are_written_have_a_place_of_their_own(smiles, place):
    written = read_written(read_smiles(smiles), smiles=smiles)
    assert written.place.tolist() == place


def test_bonds_are_in_the_order_of_the_molecule_as_written():
    smiles = "[H]OC([H])=O"
    written = read_written(read_smiles(smiles), smiles=smiles)
    assert written.bonds.tolist() == [[-1, 0], [0, 1], [1, -1], [1, 2]]
    assert written.kept_bonds.tolist() == [[0, 1], [1, 2]]


def test_a_structure_and_a_mol_keep_their_order():
    full = Chem.RenumberAtoms(Chem.AddHs(Chem.MolFromSmiles("CO")), [5, 1, 0, 2, 3, 4])  # H O C H H H
    kept = read_written(prepare_mol(full), given=full)
    assert kept.place.tolist() == [-1, 0, 1, -1, -1, -1]
    block = Chem.MolToMolBlock(full)
    again = read_written(prepare_mol(Chem.MolFromMolBlock(block)), structure=block)
    assert again.place.tolist() == kept.place.tolist()
    assert again.bonds.tolist() == kept.bonds.tolist()


def test_numbers_that_contradict_the_order_are_refused():
    with pytest.raises(MoleculeError, match="numbered in another order than they are written in"):
        read_written(read_smiles("[OH:2][CH3:1]"), smiles="[OH:2][CH3:1]")


def test_other_atoms_are_refused():
    with pytest.raises(MoleculeError, match="atoms as they are written cannot be told"):
        read_written(read_smiles("CCO"), smiles="CCN")
    with pytest.raises(MoleculeError, match="bonds as they are written cannot be told"):
        read_written(read_smiles("CCC"), smiles="CC.C")
    with pytest.raises(MoleculeError, match="RDKit cannot read the molecule with its hydrogens"):
        read_written(read_smiles("CCC"), smiles="C(")
