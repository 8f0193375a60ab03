"""Duplicates: counted, said, and kept together on request."""

import numpy as np
import pytest
from commands import SMILES
from rdkit import Chem
from splitting import together, write

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.duplicates import describe_duplicates, find_duplicates
from dgl_moleblend.data.folds import divide_rows, split_into_folds
from dgl_moleblend.data.splits import split_by_method
from dgl_moleblend.readers.memory import MoleculeList


def test_duplicates_are_counted_and_kept_together(tmp_path):
    smiles = [*SMILES[:10], "OCC", "C(C)C", "OCC"]  # CCO (row 0) twice more, CCC (row 1) once more
    data = MoleculeDataset.from_file(write(tmp_path / "in.csv", smiles), task_columns=["y"])
    parts = {"train": np.arange(10), "validation": np.array([10, 11]), "test": np.array([12])}
    found = find_duplicates(data, parts)
    assert found == {"molecules": 2, "conflicting": 0, "across_parts": 2, "held_out_rows_seen_in_training": 3}
    assert "2 molecules stand in several rows" in describe_duplicates(found)
    for seed in range(4):
        split = split_by_method(data, "random", (0.6, 0.2, 0.2), seed, keep_duplicates_together=True)
        together(split, 13)
        assert find_duplicates(data, split.parts)["across_parts"] == 0
        for fold in split_into_folds(data, 3, "random", seed, keep_duplicates_together=True):
            together(fold, 13)
            assert find_duplicates(data, fold.parts)["across_parts"] == 0


def test_conflicting_labels_are_counted(tmp_path):
    data = MoleculeDataset.from_file(write(tmp_path / "in.csv", ["CCO", "OCC", "CC"]), task_columns=["y"])
    assert find_duplicates(data, {"train": np.arange(3)})["conflicting"] == 1
    assert describe_duplicates(find_duplicates(data, {"train": np.array([0, 2])})) == ""
    bounded = MoleculeDataset.from_reader(MoleculeList(["CCO", "OCC", "OCC"], {"y": [8.5, ">8", 8.5]}))
    assert find_duplicates(bounded, {"train": np.arange(3)})["conflicting"] == 0, "a bound is no other value"


MAPPED = ["[CH3:3][CH2:1][OH:2]", "[OH:1][c:2]1[cH:3][cH:4][cH:5][cH:6][cH:7]1", "[CH3:1][NH2:2]",
          "[CH3:9][CH2:8][CH3:7]", "[NH2:4][c:2]1[cH:3][cH:1][cH:5][cH:6][cH:7]1",
          "[O:2]=[C:1]1[CH2:3][CH2:4][CH2:5]1"]  # fmt: skip
PLAIN = ["CCO", "Oc1ccccc1", "CN", "CCC", "Nc1ccccc1", "O=C1CCC1"]


def test_molecules_with_and_without_atom_map_numbers_are_the_same():
    data = MoleculeDataset.from_smiles(PLAIN + MAPPED)
    found = find_duplicates(data, {"train": np.arange(6), "test": np.arange(6, 12)})
    assert (found["molecules"], found["held_out_rows_seen_in_training"]) == (6, 6)
    for seed in range(4):
        for split in (
            split_by_method(data, "random", (0.5, 0.25, 0.25), seed, keep_duplicates_together=True),
            *split_into_folds(data, 3, "random", seed, keep_duplicates_together=True),
        ):
            assert find_duplicates(data, split.parts)["across_parts"] == 0
    assert data.smiles == PLAIN + MAPPED, "the texts stay as they came"


@pytest.mark.parametrize("scaffold", ["smiles", "decompose"])
def test_a_scaffold_is_the_same_with_and_without_atom_map_numbers(scaffold):
    rings = ["Oc1ccccc1", "Nc1ccccc1", "O=C1CCC1", "C1CC1C", "C1CCCC1O", "c1ccncc1C"]
    data = MoleculeDataset.from_smiles([*rings, *(write_mapped(text) for text in rings)])
    splits = [split_by_method(data, "scaffold", (0.5, 0.25, 0.25), scaffold=scaffold)]
    splits += split_into_folds(data, 3, "scaffold", scaffold=scaffold)
    for split in splits:
        assert find_duplicates(data, split.parts)["across_parts"] == 0
    folds = divide_rows(data, 3, by="scaffold")
    np.testing.assert_array_equal(folds[:6], folds[6:])


def write_mapped(smiles: str) -> str:
    mol = Chem.MolFromSmiles(smiles)
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(mol.GetNumAtoms() - atom.GetIdx())
    return Chem.MolToSmiles(mol)
