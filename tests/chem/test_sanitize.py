"""One form of a molecule, however it was written; errors with RDKit's reason; silence, and nothing left changed."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

from dgl_moleblend.chem import sanitize
from dgl_moleblend.chem.conformers import embed_positions
from dgl_moleblend.chem.sanitize import prepare_mol, rdkit_session, read_smiles
from dgl_moleblend.chem.vocabulary import mol_to_arrays
from dgl_moleblend.errors import MoleculeError

UNREADABLE = {
    "": "there is no SMILES: ''",
    " \t ": "there is no SMILES: ' \\t '",
    "C1CC": "RDKit cannot read SMILES 'C1CC': unclosed ring",
    "C((": "RDKit cannot read SMILES 'C((': syntax error near character 3",
    "FAIL": "RDKit cannot read SMILES 'FAIL': syntax error near character 2",
    "[Xx]": "RDKit cannot read SMILES '[Xx]': syntax error near character 2",
    "CN(C)(C)(C)C": "Explicit valence for atom # 1 N, 5, is greater than permitted",
    "c1cccc1": "Can't kekulize mol.  Unkekulized atoms: 0 1 2 3 4",
    "C\0C": "syntax error near character 2",
    "CC\nO": "the SMILES 'CC\\nO' holds a line end",
    "CCO |garbage|": "what stands between the bars is no CXSMILES extension",
    "\ud800": "holds the character '\\ud800'",
    "CCÖ": "the SMILES 'CCÖ' holds the character 'Ö'",
    "C1CC Öl " + "Ä" * 300: "(308 characters): unclosed ring",
    "C" * 150 + "(": "... (151 characters): syntax error near character 151",
}
STEREO = [
    r"F/C=C/Cl", r"C/C(CC)=N\O", r"C/C=C/C=C\C", r"C/C=C/C(/C=C\C)=C\O", "[H]/N=C/C", "CC=CCO |w:1.0|",
    r"C1CCCCC/C=C/1",
    "C[C@H](N)C(=O)O", "C[C@H]1CC[C@@H](C)CC1", "C[S@](=O)c1ccccc1",
]  # fmt: skip
PLAIN = [
    "C", "[Na+].[Cl-]", "c1ccc2[nH]ccc2c1", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "O=[N+]([O-])c1ccccc1", "[2H]C([2H])Cl",
    "[H][H]", "[H+]", "[CH3]", "CN(C)(C)->[Zn]Cl", "*CC*", "[13CH3]O", "[Fe]12345678(C9C1C2C3C49)C1C5C6C7C81",
    "c1cc2cc3ccc(cc4ccc(cc5ccc(cc1n2)[nH]5)n4)[nH]3", "[O-][n+]1ccccc1", "CC(=O)Oc1ccccc1C(=O)O",
]  # fmt: skip


def with_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    return Chem.AddHs(mol)


def kekulized(mol: Chem.Mol) -> Chem.Mol:
    mol = Chem.Mol(mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def without_bond_directions(mol: Chem.Mol) -> Chem.Mol:
    """Z and E are known from the bond alone, as after editing."""
    mol = Chem.Mol(mol)
    for bond in mol.GetBonds():
        bond.SetBondDir(Chem.BondDir.NONE)
    return mol


def unpickled(mol: Chem.Mol) -> Chem.Mol:
    return Chem.Mol(mol.ToBinary())


def prepared_already(mol: Chem.Mol) -> Chem.Mol:
    return prepare_mol(mol)


DISGUISES = [Chem.Mol, Chem.RWMol, with_hydrogens, kekulized, without_bond_directions, unpickled, prepared_already]


@pytest.fixture
def talkative() -> Iterator[None]:
    """RDKit as it starts: importing dgllife switches its log off."""
    before = rdBase.LogStatus()
    for name in ("rdApp.warning", "rdApp.error"):
        rdBase.EnableLog(name)
    yield
    for name in ("rdApp.warning", "rdApp.error"):
        if f"{name}:disabled" in before:
            rdBase.DisableLog(name)


@pytest.fixture
def new_perception() -> Iterator[None]:
    """RDKit's newer stereo perception, which says CIS and TRANS, switched on by the user."""
    Chem.SetUseLegacyStereoPerception(False)
    try:
        yield
    finally:
        Chem.SetUseLegacyStereoPerception(True)


def assert_same_features(actual: Chem.Mol, expected: Chem.Mol) -> None:
    one, other = mol_to_arrays(actual), mol_to_arrays(expected)
    for name in ("atom", "bond_index", "bond_id"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def assert_same_bonds(actual: Chem.Mol, expected: Chem.Mol) -> None:
    """Whichever end of a bond is named first."""
    one, other = (
        {frozenset(ends): k for ends, k in zip(a.bond_index.tolist(), a.bond_id.tolist(), strict=True)}
        for a in map(mol_to_arrays, (actual, expected))
    )
    assert one == other


def without_hand(mol: Chem.Mol) -> np.ndarray:
    """Atom ids that do not tell clockwise from counterclockwise, which the order of the bonds decides."""
    atom = mol_to_arrays(mol).atom.copy()
    atom[atom[:, 1] == 2, 1] = 1
    return atom


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read_is_said_with_rdkits_reason(text: str) -> None:
    with pytest.raises(MoleculeError) as caught:
        read_smiles(text, where="esol.csv, line 418")
    assert caught.value.what.endswith(UNREADABLE[text])
    assert caught.value.where == "esol.csv, line 418"
    assert caught.value.fix
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [None, float("nan"), 7, b"CCO"])
def test_what_is_no_text_is_no_smiles(value: object) -> None:
    with pytest.raises(MoleculeError, match="there is no SMILES"):
        read_smiles(value)


def test_text_too_long_for_a_molecule_is_refused_at_once() -> None:
    with pytest.raises(MoleculeError, match=r"\(1,000,001 characters\) is longer than 1,000,000 characters"):
        read_smiles("C" * (sanitize.MAX_SMILES + 1))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "RDKit gave None"),
        ("CCO", "neither a SMILES nor an RDKit Mol"),
        (float("nan"), "'nan' is neither a SMILES nor an RDKit Mol"),
        (Chem.Mol(), "the molecule has no atoms"),
        (Chem.MolFromSmarts("[C,N]O"), r"the molecule is a query \(SMARTS, atom list\)"),
        (
            Chem.MolFromSmiles("CN(C)(C)(C)C", sanitize=False),
            "cannot sanitise the molecule: Explicit valence for atom # 1",
        ),
    ],
)
def test_what_is_no_molecule_is_refused(value: object, what: str) -> None:
    with pytest.raises(MoleculeError, match=what) as caught:
        prepare_mol(value, where="set.sdf, line 1")
    assert caught.value.where == "set.sdf, line 1"


@pytest.mark.parametrize("text", ["CCO", " CCO ", "[H]OCC", "OCC", "C(O)C", "CCO |(0,0,;1.5,0,;2,1,)|", "CCO |$;;OH$|"])
def test_blanks_around_hydrogens_and_extensions_do_not_matter(text: str) -> None:
    assert Chem.MolToSmiles(read_smiles(text)) == "CCO"


@pytest.mark.parametrize("text", ["CCO CCN", "CC O", "CCO ethanol", "CCO\tethanol", "CCO |$;;OH$| ethanol"])
def test_what_follows_a_blank_is_no_name(text: str) -> None:
    with pytest.raises(MoleculeError, match=r"goes on after a blank: '[\s\S]*fix: .*a \.smi file may have names"):
        read_smiles(text)


@pytest.mark.parametrize(
    ("smiles", "symbols"),
    [
        ("[H]C([H])([H])[H]", "C"),
        ("[2H]C", "HC"),
        ("[H][H]", "HH"),
        ("[H+]", "H"),
        ("[H]/N=C/C", "HNCC"),
        ("*O", "*O"),
    ],
)
def test_hydrogens_are_atoms_where_rdkit_keeps_them(smiles: str, symbols: str) -> None:
    assert "".join(atom.GetSymbol() for atom in read_smiles(smiles).GetAtoms()) == symbols
    mol = Chem.MolFromSmiles(smiles)
    assert "".join(atom.GetSymbol() for atom in prepare_mol(Chem.AddHs(mol)).GetAtoms()) == symbols


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("smiles", [*PLAIN, *STEREO])
def test_a_mol_has_the_features_of_its_smiles(smiles: str, disguise: Callable[[Chem.Mol], Chem.Mol]) -> None:
    assert_same_features(prepare_mol(disguise(Chem.MolFromSmiles(smiles))), read_smiles(smiles))


@pytest.mark.parametrize("smiles", [s for s in [*PLAIN, *STEREO] if "*" not in s and "Fe" not in s and "|" not in s])
def test_an_sdf_record_with_hydrogens_has_the_features_of_its_smiles(smiles: str) -> None:
    """From coordinates: clockwise is told anew, by the order of the record's bonds."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    with rdkit_session:
        assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
        block = Chem.MolToMolBlock(mol, forceV3000="->" in smiles)
        records = [
            Chem.MolFromMolBlock(block),
            Chem.MolFromMolBlock(block, removeHs=False),
            Chem.MolFromMolBlock(block, sanitize=False, removeHs=False),
        ]
    prepared = [prepare_mol(record) for record in records]
    for mol in prepared:
        assert_same_features(mol, prepared[0])
        assert mol.GetNumConformers() == 1
    if "[H]" not in smiles:  # a record does not say which hydrogens are to be atoms
        expected = read_smiles(smiles)
        assert_same_bonds(prepared[0], expected)
        assert np.array_equal(without_hand(prepared[0]), without_hand(expected))


@pytest.mark.usefixtures("new_perception")
@pytest.mark.parametrize("smiles", STEREO)
def test_double_bonds_are_named_by_legacy_perception_whatever_is_switched_on(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    as_smiles, as_mol, edited = read_smiles(smiles), prepare_mol(mol), prepare_mol(without_bond_directions(mol))
    assert not Chem.GetUseLegacyStereoPerception()
    Chem.SetUseLegacyStereoPerception(True)
    expected = Chem.MolFromSmiles(smiles)
    for mol in (as_smiles, as_mol, edited):
        assert_same_features(mol, expected)


def test_the_newer_perception_would_show() -> None:
    """Or the test above would show nothing."""
    Chem.SetUseLegacyStereoPerception(False)
    try:
        new = mol_to_arrays(Chem.MolFromSmiles(STEREO[0])).bond_id
    finally:
        Chem.SetUseLegacyStereoPerception(True)
    assert not np.array_equal(new, mol_to_arrays(Chem.MolFromSmiles(STEREO[0])).bond_id)


def test_a_tag_on_no_stereocentre_leaves_no_trace() -> None:
    """RDKit finds sulphur tetrahedral in the coordinates, calls it SP3, drops the tag, and leaves the SP3."""
    mol = Chem.AddHs(Chem.MolFromSmiles("CS([O])([O])OC"))
    with rdkit_session:
        rdDistGeom.EmbedMolecule(mol, randomSeed=1)
        block = Chem.MolToMolBlock(mol)
        record = Chem.MolFromMolBlock(block)
    assert_same_features(prepare_mol(record), read_smiles("CS([O])([O])OC"))


def test_the_callers_mol_is_left_as_it_is() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("OC1=CC=CC=C1"))
    mol.SetProp("name", "phenol")
    Chem.Kekulize(mol, clearAromaticFlags=True)
    before = mol.ToBinary(Chem.PropertyPickleOptions.AllProps)
    assert prepare_mol(mol).GetNumAtoms() == 7
    assert mol.ToBinary(Chem.PropertyPickleOptions.AllProps) == before


def test_coordinates_of_cxsmiles_are_kept_and_hydrogens_leave_theirs() -> None:
    mol = read_smiles("[H]C([H])([H])O |(0,0,1;1,0,0;0,1,0;0,0,2;1,1,1)|")
    assert mol.GetConformer().GetPositions().tolist() == [[1, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("smiles", "is_3d"),
    [
        ("CC |(0,0,0;1.5,0,0)|", True),
        ("C=CC |(0,0,0.;1,1,-0;2e0,0,0),w:1.0|", True),
        ("CC |(0,0,;1.5,0,)|", False),
        ("CC |(0,0,0;1.5,0,)|", False),
        ("CC(C)C |(0,0,1;1.5,0,0;3,0,0;1,1,0)|", True),
    ],
)
def test_a_cxsmiles_with_z_is_a_structure_and_one_without_a_depiction(smiles: str, is_3d: bool) -> None:
    assert read_smiles(smiles).GetConformer().Is3D() is is_3d


@pytest.mark.usefixtures("talkative")
def test_rdkit_says_nothing_meanwhile_and_as_much_as_before_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    before = rdBase.LogStatus()
    for text in ("C1CC", "c1cccc1", "CN(C)(C)(C)C"):
        with pytest.raises(MoleculeError):
            read_smiles(text)
    read_smiles("[H]")  # RDKit warns that it stays
    with pytest.raises(MoleculeError):
        prepare_mol(Chem.MolFromSmiles("CN(C)(C)(C)C", sanitize=False))
    assert rdBase.LogStatus() == before
    assert capfd.readouterr() == ("", "")
    Chem.MolFromSmiles("C1CC")
    assert "unclosed ring" in capfd.readouterr().err, "RDKit's log was left switched off"


@pytest.mark.usefixtures("talkative")
def test_sessions_may_be_nested_and_end_when_the_last_has_ended() -> None:
    before = rdBase.LogStatus()
    with rdkit_session:
        inside = rdBase.LogStatus()
        with pytest.raises(KeyError), rdkit_session:
            raise KeyError
        assert rdBase.LogStatus() == inside
    assert inside != before
    assert rdBase.LogStatus() == before


@pytest.mark.usefixtures("talkative")
def test_threads_get_their_own_reasons(capfd: pytest.CaptureFixture[str]) -> None:
    texts = ["C1CC", "c1cccc1", "[Xx]", "CN(C)(C)(C)C", "CCO", "CCCC("]
    expected = [UNREADABLE.get(t, "").split(": ")[-1] for t in texts]

    def reason(k: int) -> str:
        try:
            read_smiles(texts[k])
        except MoleculeError as error:
            return error.what
        return ""

    numbers = [k % len(texts) for k in range(600)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(reason, numbers))
    for k, answer in zip(numbers, answers, strict=True):
        assert repr(texts[k]) in answer or texts[k] == "CCO"
        assert answer.endswith(expected[k]), answer
    assert rdBase.LogStatus().count("enabled") == 2
    assert capfd.readouterr() == ("", "")


def haptic(kind: int) -> str:
    """Return ferrocene as a V3000 record: iron is bound, with one kind of bond, to the middle of each ring."""
    rings = "".join(f"M  V30 {k} C {k} {k % 2} 0 0{' CHG=-1' * (k % 5 == 0)}\n" for k in range(1, 11))
    bonds = [(2, 1, 2), (1, 2, 3), (2, 3, 4), (1, 4, 5), (1, 5, 1)]
    lines = [(order, a + at, b + at, "") for at in (0, 5) for order, a, b in bonds]
    lines += [(kind, 12, 11, " ENDPTS=(5 1 2 3 4 5) ATTACH=ALL"), (kind, 13, 11, " ENDPTS=(5 6 7 8 9 10) ATTACH=ALL")]
    body = "".join(f"M  V30 {k} {order} {a} {b}{more}\n" for k, (order, a, b, more) in enumerate(lines, 1))
    return (
        "\n  test\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\nM  V30 COUNTS 13 12 0 0 0\n"
        f"M  V30 BEGIN ATOM\n{rings}M  V30 11 Fe 20 0 0 0 CHG=2\nM  V30 12 * 21 0 0 0\nM  V30 13 * 22 0 0 0\n"
        f"M  V30 END ATOM\nM  V30 BEGIN BOND\n{body}M  V30 END BOND\nM  V30 END CTAB\nM  END\n"
    )


def test_a_metal_that_is_bound_to_the_middle_of_a_ring_is_bound_to_its_atoms():
    mol = prepare_mol(Chem.MolFromMolBlock(haptic(9)))
    assert [atom.GetSymbol() for atom in mol.GetAtoms()] == ["C"] * 10 + ["Fe"], "no dummy atom"
    assert mol.GetAtomWithIdx(10).GetDegree() == 10
    assert len(Chem.GetMolFrags(mol)) == 1


def test_a_bond_to_one_of_several_atoms_is_no_molecule():
    with pytest.raises(MoleculeError, match=r"one of several atoms \(V3000 ENDPTS\)[\s\S]*draw the molecule"):
        prepare_mol(Chem.MolFromMolBlock(haptic(1)))


@pytest.mark.parametrize(
    "mapped",
    ["[CH3:1][C@H:2]([CH3:3])[OH:7]", "[F:5]/[CH:1]=[CH:2]/[F:3]", "[CH3:9][C@@H:4]([NH2:2])[C:1](=[O:3])[OH:8]",
     "[H:9][O:1][CH3:2]", "[OH:1][c:2]1[cH:3][cH:4][cH:5][cH:6][cH:7]1", "[*:1]CC"],
)  # fmt: skip
def test_atom_map_numbers_are_not_part_of_a_molecule(mapped: str) -> None:
    plain = read_smiles(re.sub(r":\d+\]", "]", mapped))
    for mol in (read_smiles(mapped), prepare_mol(Chem.MolFromSmiles(mapped))):
        assert Chem.MolToSmiles(mol) == Chem.MolToSmiles(plain)
        assert_same_features(mol, plain)
        if "*" not in mapped:
            np.testing.assert_array_equal(embed_positions(mol), embed_positions(plain))
