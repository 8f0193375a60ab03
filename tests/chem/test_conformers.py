"""Positions: a molecule's own are checked, embedded ones are repeatable; never flat, zero or NaN."""

import math

import numpy as np
import pytest
import torch
from molecules import rewrite, set_positions
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom, rdMolTransforms

from dgl_moleblend.chem import conformers
from dgl_moleblend.chem.conformers import embed_positions, given_positions
from dgl_moleblend.chem.sanitize import prepare_mol, read_smiles
from dgl_moleblend.errors import MoleculeError

FULLERENE = (
    "C12=C3C4=C5C6=C1C7=C8C9=C1C%10=C%11C(=C29)C3=C2C3=C4C4=C5C5=C9C6=C7C6=C7C8=C1C1=C8C%10=C%10C%11=C2C2=C3C3=C4C4=C5"
    "C5=C%11C%12=C(C6=C95)C7=C1C1=C%12C5=C%11C4=C3C3=C5C(=C81)C%10=C23"
)
IMPOSSIBLE = "C[C@@]12C[C@]1(C)C2"  # its stereocentres contradict its rings
EMBEDDED = [
    "CCO", "c1ccccc1", "C[C@H](N)C(=O)O", r"C/C=C\C", "CC(=O)Oc1ccccc1C(=O)O", "C12C3C4C1C5C4C3C25", "[2H]C([2H])Cl",
    "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "*CC*", "C[CH]C", "FS(F)(F)(F)(F)F", "[H][H]", "N->[Pt](<-N)(Cl)Cl",
    "c1cc2cc3ccc(cc4ccc(cc5ccc(cc1n2)[nH]5)n4)[nH]3", "[Fe]12345678(C9C1C2C3C49)C1C5C6C7C81", "[NH3+]CC(=O)[O-]",
    "CC(=O)[O-].[Na+]", "[Na+].[Cl-]", "c1ccccc1.c1ccccc1.O", "[Mg+2].[Cl-].[Cl-]",
]  # fmt: skip
DEPICTION = """
  drawn             2D

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.2990    0.7500    0.0000 C   0  0
    2.5981    0.0000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
"""
WEDGED = """
  computed          3D

  4  3  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 B   0  0
    1.3100    0.0000    0.0000 F   0  0
   -0.6550    1.1345    0.0000 Cl  0  0
   -0.6550   -1.1345    0.0000 Br  0  0
  1  2  1  1
  1  3  1  0
  1  4  1  0
M  END
"""


def distances(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions[..., :, None, :] - positions[..., None, :, :], axis=-1)


def closest(positions: np.ndarray) -> float:
    between = distances(positions.astype(np.float64))
    np.fill_diagonal(between, math.inf)
    return float(between.min())


# Given ---------------------------------------------------------------------------------------------------------------


def test_given_positions_are_the_records_without_its_hydrogens() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    assert rdDistGeom.EmbedMultipleConfs(mol, 3, randomSeed=1)
    expected = [conformer.GetPositions()[:3] for conformer in mol.GetConformers()]
    given = given_positions(prepare_mol(mol))
    assert given.dtype == np.float32
    assert np.array_equal(given, np.float32(expected))
    record = Chem.MolFromMolBlock(Chem.MolToMolBlock(mol), removeHs=False)
    assert np.allclose(given_positions(prepare_mol(record)), expected[0], atol=1e-4)


@pytest.mark.parametrize(
    ("smiles", "positions"),
    [
        ("O", [[0, 0, 0]]),
        ("CO", [[0, 0, 0], [1.4, 0, 0]]),
        ("C=O", [[0, 0, 0], [0, 1.2, 0]]),
        ("CCC", [[1, 0, 0], [0, 0, 0], [0, 1e-3, 0]]),
    ],
)
def test_planar_molecules_and_atoms_at_the_origin_are_fine(smiles: str, positions: list[list[float]]) -> None:
    mol = set_positions(Chem.MolFromSmiles(smiles), np.array(positions))
    assert np.array_equal(given_positions(mol)[0], np.float32(positions))


def test_a_structure_that_says_3d_is_one_though_rdkit_takes_it_for_a_depiction() -> None:
    mol = Chem.MolFromMolBlock(WEDGED)
    assert not mol.GetConformer().Is3D(), "RDKit reads wedges in a plane otherwise by now"
    assert given_positions(prepare_mol(mol)).shape == (1, 4, 3)
    assert given_positions(read_smiles("CC |(0,0,0;1.5,0,0)|")).tolist() == [[[0, 0, 0], [1.5, 0, 0]]]


def test_a_depiction_is_no_structure() -> None:
    for mol in (prepare_mol(Chem.MolFromMolBlock(DEPICTION)), read_smiles("CC |(0,0,;1.5,0,)|")):
        with pytest.raises(MoleculeError, match="conformer 0 is a flat depiction, not a 3D structure") as caught:
            given_positions(mol, where="set.sdf, line 1")
        assert caught.value.where == "set.sdf, line 1"
        assert 'positions="embed"' in str(caught.value)


def test_without_a_conformer_there_are_no_positions() -> None:
    with pytest.raises(MoleculeError, match="the molecule has no positions") as caught:
        given_positions(read_smiles("CCO"))
    assert 'positions="embed"' in str(caught.value)


@pytest.mark.parametrize(
    ("positions", "what"),
    [
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], "conformer 0 has two atoms in one place"),
        ([[3, 1, 2], [3, 1, 2], [3, 1, 2]], "conformer 0 has two atoms in one place"),
        ([[0, 0, 0], [1.4, 0, 0], [0, 0, 0]], "conformer 0 has two atoms in one place"),
        ([[0, 0, 0], [1.4, 0, 0], [math.nan, 0, 0]], "conformer 0 holds NaN or infinity"),
        ([[0, 0, 0], [1.4, 0, 0], [math.inf, 0, 0]], "conformer 0 holds NaN or infinity"),
        ([[0, 0, 0], [1.4, 0, 0], [1e300, 0, 0]], "conformer 0 has coordinates beyond 100,000 angstrom"),
    ],
)
def test_positions_that_no_molecule_has_are_refused(positions: list[list[float]], what: str) -> None:
    with pytest.raises(MoleculeError, match=what):
        given_positions(set_positions(Chem.MolFromSmiles("CCO"), np.array(positions)))


def test_a_bad_conformer_is_named() -> None:
    mol = set_positions(Chem.MolFromSmiles("CO"), np.array([[0, 0, 0], [1.4, 0, 0]]))
    mol.AddConformer(Chem.Conformer(2), assignId=True)
    with pytest.raises(MoleculeError, match="conformer 1"):
        given_positions(mol)


# Embedded ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smiles", EMBEDDED)
def test_embedded_positions_are_those_of_a_molecule(smiles: str) -> None:
    mol = read_smiles(smiles)
    positions = embed_positions(mol, seed=3)
    assert positions.shape == (1, mol.GetNumAtoms(), 3)
    assert positions.dtype == np.float32
    assert np.isfinite(positions).all()
    assert closest(positions[0]) > 0.6
    between = distances(positions[0])
    for bond in mol.GetBonds():
        assert between[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] < 2.8
    assert mol.GetNumConformers() == 0


@pytest.mark.parametrize("smiles", ["C", "[Na+]", "O", "[H+]", "*", "[He]", "[CH3]"])
def test_a_single_atom_stands_near_the_origin(smiles: str) -> None:
    positions = embed_positions(read_smiles(smiles))
    assert positions.shape == (1, 1, 3)
    assert np.abs(positions).max() < 0.6  # the centre of mass does, hydrogens included


def test_a_geometry_that_is_known() -> None:
    between = distances(embed_positions(read_smiles("c1ccccc1C"))[0])
    for i in range(6):
        assert between[i, (i + 1) % 6] == pytest.approx(1.395, abs=0.02)
        assert between[i, (i + 3) % 6] == pytest.approx(2.79, abs=0.05)
    assert between[5, 6] == pytest.approx(1.50, abs=0.03)


@pytest.mark.parametrize(
    "smiles", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", r"C/C=C\CC", r"C/C=C/CC", "C[C@H](F)/C=C/Cl"]
)
def test_stereochemistry_is_that_of_the_molecule(smiles: str) -> None:
    mol = read_smiles(smiles)
    seen = set_positions(Chem.MolFromSmiles(smiles.translate(str.maketrans("", "", r"/\@"))), embed_positions(mol)[0])
    Chem.AssignStereochemistryFrom3D(seen)
    assert Chem.MolToSmiles(seen) == Chem.MolToSmiles(mol)


@pytest.mark.parametrize("smiles", ["CC(=O)[O-].[Na+]", "[Na+].[Cl-]", "[Mg+2].[Cl-].[Cl-]", "C[NH3+].[Br-]"])
def test_ions_of_a_salt_touch_but_do_not_overlap(smiles: str) -> None:
    mol = read_smiles(smiles)
    between = distances(embed_positions(mol)[0])
    first, *others = Chem.GetMolFrags(mol)
    gap = between[np.ix_(first, [k for atoms in others for k in atoms])].min()
    assert 1.7 < gap < 4.5


def test_fragments_without_a_force_field_stand_side_by_side() -> None:
    mol = read_smiles("[Pt].CCO.[Pt]")
    positions = embed_positions(mol)[0]
    for atoms in Chem.GetMolFrags(mol):
        others = [k for k in range(mol.GetNumAtoms()) if k not in atoms]
        assert distances(positions)[np.ix_(atoms, others)].min() >= conformers.FRAGMENT_GAP - 1e-4


def test_positions_depend_on_the_seed_alone() -> None:
    chain = "CCCCC(N)CCO"
    first = embed_positions(read_smiles(chain), seed=5)
    embed_positions(read_smiles("CCCCC"), seed=9)
    assert np.array_equal(embed_positions(read_smiles(chain), seed=5), first)
    assert not np.allclose(distances(embed_positions(read_smiles(chain), seed=6)), distances(first), atol=0.1)


def test_conformers_are_several_and_one_seed_after_the_other() -> None:
    mol = read_smiles("CCCC(N)CO")
    for seed in (0, 1, 2**31 - 1, 2**40, -1):
        several = embed_positions(mol, seed=seed, num_conformers=3)
        assert several.shape == (3, 7, 3)
        for k in range(3):
            assert np.array_equal(several[k], embed_positions(mol, seed=seed + k)[0])
            for other in range(k):
                assert not np.allclose(distances(several[k]), distances(several[other]), atol=0.05)


@pytest.mark.parametrize(
    "smiles",
    ["CC(=O)Oc1ccccc1C(=O)O", "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O", "CC(=O)[O-].[NH3+]CCO", "[2H]OCC(F)C=C"],
)
def test_positions_do_not_depend_on_numbering_or_writing(smiles: str) -> None:
    """Atoms that the molecule's symmetry exchanges may change places, so all distances are compared, sorted."""
    generator = torch.Generator().manual_seed(11)
    mol = read_smiles(smiles)
    expected = embed_positions(mol)[0]
    for _ in range(3):
        other, order = rewrite(mol, generator)
        elements = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        assert [atom.GetAtomicNum() for atom in other.GetAtoms()] == [elements[k] for k in order]
        between, again = distances(expected[order]), distances(embed_positions(other)[0])
        assert np.allclose(np.sort(between.ravel()), np.sort(again.ravel()), atol=1e-3)
        bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in other.GetBonds()]
        assert np.allclose([between[ends] for ends in bonds], [again[ends] for ends in bonds], atol=0.02)


def test_the_force_field_relaxes() -> None:
    mol = read_smiles("CC(=O)Oc1ccccc1C(=O)O")
    energy = []
    for optimize in (False, True):
        whole = Chem.AddHs(set_positions(mol, embed_positions(mol, optimize=optimize)[0]), addCoords=True)
        angle = rdMolTransforms.GetAngleDeg(whole.GetConformer(), 1, 3, 4)
        assert angle == pytest.approx(118, abs=8)
        energy.append(whole.GetConformer().GetPositions())
    assert not np.allclose(distances(energy[0]), distances(energy[1]), atol=0.02)


def test_a_cage_is_embedded_without_the_knowledge_of_flat_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformers, "_MAX_EMBEDDINGS", 3)
    positions = embed_positions(read_smiles(FULLERENE))[0]
    radius = np.linalg.norm(positions - positions.mean(0), axis=1)
    assert radius == pytest.approx(3.55, abs=0.1)  # as measured


def test_what_cannot_be_embedded_is_an_error_that_says_so() -> None:
    with pytest.raises(MoleculeError, match="cannot be embedded: the stereocentres contradict the rings") as caught:
        embed_positions(read_smiles(IMPOSSIBLE), where="molecules[4]")
    assert caught.value.where == "molecules[4]"
    assert caught.value.fix


def test_a_failure_that_rdkit_does_not_count_has_no_made_up_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformers.rdDistGeom, "EmbedMolecule", lambda mol, parameters: -1)
    with pytest.raises(MoleculeError, match="cannot be embedded: RDKit gives no reason"):
        embed_positions(read_smiles("CCO"))


def test_the_time_limit_holds() -> None:
    with pytest.raises(MoleculeError, match="cannot be embedded: the time limit has passed"):
        embed_positions(read_smiles("CCO"), timeout=1e-9)


def test_rdkits_own_time_limit_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cage that would be tried for minutes."""
    monkeypatch.setattr(conformers, "_MAX_EMBEDDINGS", 1_000_000)
    with pytest.raises(MoleculeError, match="the time limit has passed"):
        embed_positions(read_smiles(FULLERENE), timeout=1)


def test_too_large_a_molecule_is_refused_before_its_bounds_are_made() -> None:
    with pytest.raises(MoleculeError, match=r"cannot be embedded: 3,002 atoms, with hydrogens, are more than 2,000"):
        embed_positions(read_smiles("C" * 1000))


def test_a_smiles_that_rdkit_writes_but_cannot_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    mol = read_smiles("CCO")
    write = Chem.MolToSmiles
    monkeypatch.setattr(Chem, "MolToSmiles", lambda mol: write(mol) + "(")
    with pytest.raises(MoleculeError, match="RDKit cannot read this SMILES, which it wrote itself"):
        embed_positions(mol)


@pytest.mark.parametrize(
    ("smiles", "cause"),
    [
        ("CC(C)C(=O)O", r"C \(atom 1\) with its neighbours"),
        ("CS(C)(=O)=O", r"S \(atom 1\) with its neighbours"),
        ("C1CCOCC1", "the ring of atoms 0 and 1"),
        ("c1ccccc1", None),
        ("CCCCCC", None),  # its zigzag lies in a plane
        ("C1C=CCC=C1", None),  # two sp3 atoms, and flat
        ("CC(=O)Nc1ccccc1", None),
        ("C1CC1", None),
    ],
)
def test_a_depiction_that_is_called_3d_is_none_where_it_cannot_be_flat(smiles, cause):
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    block = Chem.MolToMolBlock(mol).replace("2D\n", "3D\n", 1)
    mol = prepare_mol(Chem.MolFromMolBlock(block))
    if cause is None:
        assert given_positions(mol).shape == (1, mol.GetNumAtoms(), 3)
        return
    with pytest.raises(MoleculeError, match=rf"called 3D and every z is 0, but {cause} is not flat[\s\S]*\"embed\""):
        given_positions(mol)
