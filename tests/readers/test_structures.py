"""MOL2, XYZ and PDB: the molecules that they were written of; what cannot be known of them is said."""

import pytest
from molecule_files import read, sdf, write
from rdkit import Chem
from rdkit.Chem import AllChem

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.featurize import featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig, read_mol
from dgl_moleblend.readers.molecules import MoleculeReader

ALANINE, ASPIRIN, NITRO = "C[C@H](N)C(=O)[O-]", "CC(=O)Oc1ccccc1C(=O)O", "C/C=C/c1ccc([N+](=O)[O-])cc1"
WATER = "3\nwater\nO 0.000 0.000 0.117\nH 0.000 0.757 -0.469\nH 0.000 -0.757 -0.469\n"
BENZENE_MOL2 = """# made by hand
@<TRIPOS>MOLECULE
chlorobenzene
 7 7 0 0 0
SMALL
NO_CHARGES

@<TRIPOS>ATOM
""" + "".join(
    f"{k} {name} {x} {y} 0.1 {kind}\n"
    for k, name, x, y, kind in [
        (1, "C1", 1.40, 0.00, "C.ar"), (2, "C2", 0.70, 1.21, "C.ar"), (3, "C3", -0.70, 1.21, "C.ar"),
        (4, "C4", -1.40, 0.00, "C.ar"), (5, "C5", -0.70, -1.21, "C.ar"), (6, "C6", 0.70, -1.21, "C.ar"),
        (7, "CL", 3.10, 0.00, "Cl"),
    ]
) + "@<TRIPOS>BOND\n" + "".join(f"{k} {k} {k % 6 + 1} ar\n" for k in range(1, 7)) + "7 1 7 1\n"  # fmt: skip


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    return mol


def smiles_of(path: object, **options: object) -> list[str]:
    return [Chem.MolToSmiles(read_mol(record)) for record in read(path, **options)]


def canonical(smiles: str) -> str:
    return Chem.CanonSmiles(smiles)


def reasons(path: object, **options: object) -> list[str]:
    return featurize_to_table(MoleculeReader(path, **options), PipelineConfig()).rejects["reason"].tolist()  # type: ignore[arg-type]


def frame(smiles: str, comment: str) -> str:
    lines = Chem.MolToXYZBlock(embedded(smiles)).split("\n")
    return "\n".join([lines[0], comment, *lines[2:]])


def test_xyz_of_many_frames(tmp_path, caplog):
    path = write(tmp_path, "a.xyz", WATER + frame(ALANINE, "ala charge=-1 energy=-1.5") + "\n" + frame(NITRO, ""))
    records = read(path, task_columns=["energy"])
    assert [(r.line, r.id, r.charge, str(r.labels[0])) for r in records] == [
        (1, "water", 0, "nan"), (6, "ala", -1, "-1.5"), (21, "", 0, "nan")]  # fmt: skip
    assert smiles_of(path) == [canonical(text) for text in ("O", ALANINE, NITRO)]
    assert "line 1: bonds are found from the positions by RDKit; total charge 0 (charge=N" in caplog.text
    (oxygen,) = MoleculeDataset.from_file(write(tmp_path, "w.xyz", WATER), featurizer=None)
    assert oxygen.molecule.num_atoms == 1


def test_the_charge_of_an_xyz_file(tmp_path):
    path = write(tmp_path, "a.xyz", frame(ALANINE, "alanine"))
    (reason,) = reasons(path)
    assert reason.startswith("with total charge 0, RDKit finds no bonds between these positions: ")
    assert smiles_of(path, charge=-1) == [canonical(ALANINE)]
    assert smiles_of(write(tmp_path, "b.xyz", "1\n\nNa 0 0 0\n"), charge=1) == ["[Na+]"]
    assert smiles_of(write(tmp_path, "c.xyz", "1\n\n11 0 0 0\n"), charge=1) == ["[Na+]"], "an element by its number"
    (reason,) = reasons(write(tmp_path, "d.xyz", WATER.replace("water", "charge=1.5")))
    assert reason == "the comment line's charge '1.5' is no whole number"


def test_frames_that_are_damaged_cost_themselves(tmp_path):
    benzene = Chem.RemoveHs(embedded("c1ccccc1"))
    heavy = Chem.MolToXYZBlock(benzene)
    text = WATER + "some words\nC 0 0 0\n" + heavy + WATER + "3\ncut\nO 0 0 0\n"
    records = read(path := write(tmp_path, "a.xyz", text))
    assert [(r.line, r.error) for r in records if r.error] == [
        (6, "lines 6 to 7 are no frame: each begins with its number of atoms"),
        (21, "the frame has 1 atoms, and says 3"),
    ]
    assert [r.row for r in records] == [0, 1, 2, 3, 4]
    assert (
        reasons(path)[1] == "with total charge 0, RDKit finds no bonds between these positions: hydrogens are missing"
    )
    (reason,) = reasons(write(tmp_path, "b.xyz", WATER.replace("0.117", "x")), input_format="xyz")
    assert reason.startswith("RDKit cannot read the structure")


def test_a_double_bond_is_written_where_rdkit_leaves_charges(tmp_path):
    assert smiles_of(write(tmp_path, "a.xyz", frame("CS(C)=O", ""))) == ["CS(C)=O"]


def test_mol2(tmp_path):
    path = write(tmp_path, "a.mol2", BENZENE_MOL2 + BENZENE_MOL2.replace("CL", "BR").replace("Cl", "Br"))
    assert [(r.line, r.id) for r in read(path)] == [(2, "chlorobenzene"), (25, "chlorobenzene")]
    assert smiles_of(path) == ["Clc1ccccc1", "Brc1ccccc1"]
    (reason,) = reasons(write(tmp_path, "b.mol2", BENZENE_MOL2.replace("7 1 7 1", "7 1 9 1")))
    assert reason.startswith("RDKit cannot read the structure: ")


@pytest.mark.parametrize("flavor", [0, 8, 10], ids=["orders", "single CONECT", "no CONECT"])
def test_pdb_of_a_ligand_with_hydrogens(tmp_path, flavor):
    path = write(tmp_path, "a.pdb", Chem.MolToPDBBlock(embedded(ASPIRIN), flavor=flavor))
    assert smiles_of(path) == [canonical(ASPIRIN)]


def test_pdb_without_hydrogens_needs_bond_orders(tmp_path):
    ligand = Chem.RemoveHs(embedded(ASPIRIN))
    assert smiles_of(write(tmp_path, "a.pdb", Chem.MolToPDBBlock(ligand))) == [canonical(ASPIRIN)]
    (reason,) = reasons(write(tmp_path, "b.pdb", Chem.MolToPDBBlock(ligand, flavor=10)))
    assert reason.startswith("the ligand has neither hydrogens nor bond orders")
    peptide = Chem.MolFromSequence("AF")
    AllChem.EmbedMolecule(peptide, randomSeed=1)
    block = Chem.MolToPDBBlock(peptide, flavor=10)
    assert smiles_of(write(tmp_path, "c.pdb", block)) == [Chem.MolToSmiles(peptide)]


def test_pdb_of_several_models_and_of_complexes(tmp_path):
    block = Chem.MolToPDBBlock(embedded("CCO"), flavor=10).replace("END\n", "")
    two = f"MODEL        1\n{block}ENDMDL\nMODEL        2\n{block}ENDMDL\nEND\n"
    assert smiles_of(write(tmp_path, "a.pdb", two)) == ["CCO", "CCO"]
    peptide = Chem.MolFromSequence("GG")
    AllChem.EmbedMolecule(peptide, randomSeed=1)
    beside = Chem.MolToPDBBlock(peptide, flavor=10).replace("END\n", "")
    (reason,) = reasons(write(tmp_path, "b.pdb", beside + block))
    assert reason == "this is a protein or complex: 2 amino acids, and UNL"
    water = block.splitlines()[0].replace("UNL     1", "HOH     2")
    (reason,) = reasons(write(tmp_path, "c.pdb", block + water + "\n"))
    assert reason == "there is water beside the ligand"


@pytest.mark.parametrize("form", ["V2000", "V3000"])
@pytest.mark.parametrize("blank", ["\n", "  \n"])
def test_blank_lines_before_the_end_of_a_mol_block(tmp_path, form, blank):
    text = sdf("CCO", "c1ccccc1")
    if form == "V3000":
        text = "".join(Chem.MolToV3KMolBlock(Chem.MolFromSmiles(s)) + "$$$$\n" for s in ("CCO", "c1ccccc1"))
    assert smiles_of(write(tmp_path, "a.sdf", text.replace("M  END", f"{blank}M  END"))) == ["CCO", "c1ccccc1"]
