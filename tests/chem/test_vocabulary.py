"""Atom and bond ids against a plain reading of OGB's lists; and what they do not depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from molecules import AWKWARD_SMILES, rewrite
from rdkit import Chem, RDConfig
from rdkit.Chem import BondStereo, BondType

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.chem.sanitize import read_smiles
from dgl_moleblend.chem.vocabulary import ATOM_FEATURES, BOND_FEATURES, describe_atom, describe_bond, mol_to_arrays
from dgl_moleblend.schema import ATOM_SIZES, BOND_SIZES, NUM_BOND_IDS

CHIRAL = [
    "C[C@H](N)C(=O)O", "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O", "C[S@](=O)c1ccccc1", r"C/C=C\[C@H](F)Cl",
    "C[C@H]1CC[C@@H](C)CC1", "CC[C@]12CC[C@H](C1)C(C)(C)O2",
]  # fmt: skip
STRANGE = [
    "[U+6]", "[CH4+6]", "[N-6]", "[C]", "[H+]", "[2H]C", "[H][H]", "[ReH9]", "[ThH10]", "*", "C$C", "CN(C)(C)->[Zn]Cl",
    "[Th](C)(C)(C)(C)(C)(C)(C)(C)(C)(C)C", "[Pt@SP1](F)(Cl)(Br)I", "FS(F)(F)(F)(F)F", "C#N", "[O-][n+]1ccccc1", "[Og]",
    "[Fe]12345678(C9C1C2C3C49)C1C5C6C7C81", "CC=CCO |w:1.0|", "OC(Cl)=[C@AL1]=C(F)Br", "FP(F)(F)(F)F",
    "c1cc2cc3ccc(cc4ccc(cc5ccc(cc1n2)[nH]5)n4)[nH]3", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", r"F/C=C/F",
    "[Pt](<-N)(<-N)(Cl)Cl",
]  # fmt: skip


def nci(start: int, stop: int, step: int) -> list[str]:
    """Some of the real molecules that RDKit brings along."""
    lines = Path(RDConfig.RDDataDir, "NCI", "first_5K.smi").read_text().splitlines()
    return [line.split()[0] for line in lines[start:stop:step]]


EVERYTHING = [*AWKWARD_SMILES, *CHIRAL, *STRANGE, *nci(0, 5000, 50)]

PLAIN_ATOM = [
    [*range(1, 119)],
    ["CHI_UNSPECIFIED", "CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW", "CHI_OTHER"],
    [*range(11)],
    [*range(-5, 6)],
    [*range(9)],
    [*range(5)],
    ["SP", "SP2", "SP3", "SP3D", "SP3D2"],
    [False, True],
    [False, True],
]
PLAIN_BOND = [
    ["SINGLE", "DOUBLE", "TRIPLE", "AROMATIC"],
    ["STEREONONE", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS", "STEREOANY"],
    [False, True],
]


def place(values: list, value: object) -> int:
    """Index in the list, or one past its end for anything else."""
    return values.index(value) if value in values else len(values)


def plain_atom(atom: Chem.Atom) -> list[int]:
    values = [
        atom.GetAtomicNum(), str(atom.GetChiralTag()), atom.GetTotalDegree(), atom.GetFormalCharge(),
        atom.GetTotalNumHs(), atom.GetNumRadicalElectrons(), str(atom.GetHybridization()), atom.GetIsAromatic(),
        atom.IsInRing(),
    ]  # fmt: skip
    return [place(names, value) for names, value in zip(PLAIN_ATOM, values, strict=True)]


def plain_bond(bond: Chem.Bond) -> int:
    values = [str(bond.GetBondType()), str(bond.GetStereo()), bond.GetIsConjugated()]
    kind, stereo, conjugated = (place(names, value) for names, value in zip(PLAIN_BOND, values, strict=True))
    return 12 * kind + 2 * stereo + conjugated


def bonds_by_atoms(arrays: MoleculeArrays, order: list[int] | None = None) -> dict[tuple[int, int], int]:
    """Bond ids by pair of atoms, as numbered before ``order``."""
    names = order or list(range(arrays.num_atoms))
    pairs = [tuple(sorted((names[i], names[j]))) for i, j in arrays.bond_index.tolist()]
    return dict(zip(pairs, arrays.bond_id.tolist(), strict=True))  # type: ignore[arg-type]


def test_vocabularies_have_the_sizes_of_the_schema() -> None:
    assert tuple(len(feature.values) for feature in ATOM_FEATURES) == ATOM_SIZES
    assert tuple(len(feature.values) for feature in BOND_FEATURES) == BOND_SIZES
    assert NUM_BOND_IDS == 12 * BOND_SIZES[0] == 60


@pytest.mark.parametrize("smiles", EVERYTHING)
def test_ids_are_places_in_ogbs_lists(smiles: str) -> None:
    mol = read_smiles(smiles)
    arrays = mol_to_arrays(mol, chirality="tag")
    assert arrays.atom.tolist() == [plain_atom(atom) for atom in mol.GetAtoms()]
    assert arrays.bond_id.tolist() == [plain_bond(bond) for bond in mol.GetBonds()]
    assert arrays.bond_index.tolist() == [[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] for bond in mol.GetBonds()]
    assert arrays.degree.tolist() == [atom.GetDegree() for atom in mol.GetAtoms()]


def test_arrays_have_the_dtypes_and_shapes_that_stores_rely_on() -> None:
    for smiles in ("C", "CCO"):
        arrays = mol_to_arrays(read_smiles(smiles))
        n = arrays.num_atoms
        found = {name: (value.dtype, value.shape) for name, value in vars(arrays).items()}
        assert found == {
            "atom": (np.uint8, (n, 9)),
            "bond_index": (np.int32, (n - 1, 2)),
            "bond_id": (np.uint8, (n - 1,)),
            "positions": (np.float32, (0, n, 3)),
        }
        assert arrays.atom.flags.c_contiguous
        assert arrays.atom.flags.writeable  # torch asks for that


@pytest.mark.parametrize(
    ("smiles", "atom", "feature", "name"),
    [
        ("*C", 0, "element", "other"),
        ("[Og]", 0, "element", "Og"),
        ("[Pt@SP1](F)(Cl)(Br)I", 0, "chirality", "other"),
        ("[Th](C)(C)(C)(C)(C)(C)(C)(C)(C)(C)C", 0, "neighbours with hydrogens", "other"),
        ("[U+6]", 0, "formal charge", "other"),
        ("[N-6]", 0, "formal charge", "other"),
        ("[O-2]", 0, "formal charge", "-2"),
        ("[ReH9]", 0, "hydrogens", "other"),
        ("[CH4+6]", 0, "radical electrons", "other"),
        ("[H+]", 0, "hybridisation", "other"),
        ("FS(F)(F)(F)(F)F", 1, "hybridisation", "sp3d2"),
        ("c1ccccc1C", 0, "aromatic", "yes"),
        ("c1ccccc1C", 6, "in a ring", "no"),
    ],
)
def test_names_of_ids(smiles: str, atom: int, feature: str, name: str) -> None:
    ids = mol_to_arrays(read_smiles(smiles)).atom[atom]
    column = [f.name for f in ATOM_FEATURES].index(feature)
    assert ATOM_FEATURES[column].values[ids[column]] == name


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("CC", "single"),
        ("C=C", "double"),
        ("C#C", "triple"),
        ("C$C", "other"),
        ("[Zn]<-N", "other"),
        (r"F/C=C/F", "double, E"),
        (r"F/C=C\F", "double, Z"),
        ("CC=CCO |w:1.0|", "double, any"),
        ("C=CC=O", "double, conjugated"),
        ("c1ccccc1", "aromatic, conjugated"),
    ],
)
def test_names_of_bonds(smiles: str, words: str) -> None:
    assert words in [describe_bond(k) for k in mol_to_arrays(read_smiles(smiles)).bond_id.tolist()]


def test_every_bond_id_has_a_name_of_its_own() -> None:
    assert len({describe_bond(k) for k in range(-1, NUM_BOND_IDS)}) == NUM_BOND_IDS + 1


def test_atoms_are_described_without_what_is_not_there() -> None:
    methyl, center = mol_to_arrays(read_smiles("C[C@H](N)O")).atom[:2]
    assert describe_atom(methyl) == "C, neighbours with hydrogens 4, hydrogens 3, hybridisation sp3"
    assert "chirality" in describe_atom(center)
    assert "formal charge +1" in describe_atom(mol_to_arrays(read_smiles("[NH4+]")).atom[0])


def test_a_bond_turned_to_cis_or_trans_by_hand_keeps_its_id() -> None:
    """`read_smiles` and `prepare_mol` make Z and E of them; the vocabulary has them all the same."""
    for stereo, place_in_list in ((BondStereo.STEREOCIS, 3), (BondStereo.STEREOTRANS, 4)):
        mol = read_smiles("FC=CF")
        bond = next(bond for bond in mol.GetBonds() if bond.GetBondType() == BondType.DOUBLE)
        bond.SetStereoAtoms(0, 3)
        bond.SetStereo(stereo)
        assert 12 + 2 * place_in_list in mol_to_arrays(mol).bond_id


@pytest.mark.parametrize("smiles", [*AWKWARD_SMILES, *CHIRAL, *nci(25, 5000, 125)])
def test_ids_do_not_depend_on_numbering_or_writing(smiles: str) -> None:
    generator = torch.Generator().manual_seed(3)
    mol = read_smiles(smiles)
    arrays = mol_to_arrays(mol)
    assert smiles not in CHIRAL or (arrays.atom[:, 1] > 0).any()
    for _ in range(3):
        other_mol, order = rewrite(mol, generator)
        other = mol_to_arrays(other_mol)
        assert np.array_equal(other.atom, arrays.atom[order]), Chem.MolToSmiles(other_mol, canonical=False)
        assert bonds_by_atoms(other, order) == bonds_by_atoms(arrays)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"),
        ("C[C@H]1CC[C@@H](C)CC1", "C[C@H]1CC[C@H](C)CC1"),  # no centre has a label in the older sense
        ("C[C@@H](O)[C@H](Cl)[C@H](C)O", "C[C@@H](O)[C@@H](Cl)[C@H](C)O"),
    ],
)
def test_stereoisomers_differ(one: str, other: str) -> None:
    found = [sorted(mol_to_arrays(read_smiles(smiles)).atom[:, 1].tolist()) for smiles in (one, other)]
    assert found[0] != found[1]


def test_a_search_for_labels_that_takes_too_long_leaves_all_centres_unlabelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgl_moleblend.chem.vocabulary._CIP_EFFORT", 1)
    mol = read_smiles("C[C@H]1CC[C@@H](CC[C@H](O)CCCCl)CC1")
    ids = mol_to_arrays(mol).atom[:, 1]
    assert ids[ids > 0].tolist() == [3, 3, 3]
    assert not any(atom.GetProp("_CIPCode") in "rs" for atom in mol.GetAtoms() if atom.HasProp("_CIPCode"))
