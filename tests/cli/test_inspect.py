"""`inspect`: a data set in numbers and a picture, and one molecule."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dgl_moleblend.cli import main
from dgl_moleblend.data.featurize import featurize_to_store
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.data.summary import ELEMENTS
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.report.words import SKELETON


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text("smiles,y\nCCO,1\nc1ccccc1Cl,\nC1CC,3\nC1CCC,3\nO,-2\n,5\n*C,0\n")
    featurize_to_store(MoleculeReader(path, task_columns=["y"]), tmp_path / "s", PipelineConfig())
    return tmp_path / "s"


def test_a_store_in_numbers(store, tmp_path):
    result = run(store, "--figure", tmp_path / "s.png")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "input rows 7" in lines
    assert "kept 4" in lines
    assert "rejected 3" in lines
    assert "atoms 13 in all, 1 to 7 a molecule, median 2.5 (5 to 95 %: 1.15 to 6.4)" in lines
    assert "with positions 0 (0.0%), conformers in all 0" in lines
    assert "elements C 9, O 2, Cl 1, * 1" in lines
    assert "y 3 0.25 -0.3333 1.247 -2 1" in lines
    assert any(line.startswith("2 parse RDKit cannot read SMILES …") for line in lines), "alike reasons add up"
    assert "1 read the SMILES is blank" in lines
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_damage_is_said(store):
    shard = store / "shard-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-1])
    result = run(store)
    assert result.exit_code == 2
    assert "Error: the shard has" in result.stderr


def test_an_unfinished_store_says_so(store):
    path = store / "manifest.json"
    path.write_text(path.read_text().replace('"complete": true', '"complete": false'))
    result = run(store)
    assert result.exit_code == 0, result.output
    assert "UNFINISHED" in result.stderr


def test_one_molecule(tmp_path):
    result = run("-s", "CC.O", "--figure", tmp_path / "m.svg")
    assert result.exit_code == 0, result.output
    assert "3 atoms, 9 ordered pairs" in result.stdout
    assert "ndata['atom'] uint8 (3, 9)" in " ".join(result.stdout.split())
    assert "C0 0 1 ." in " ".join(result.stdout.split()), "no path to the other fragment"
    assert "distance / angstrom" not in result.stdout
    assert (tmp_path / "m.svg").read_text().startswith("<?xml")


def test_one_molecule_in_3d():
    result = run("-s", "CC |(0,0,0;1.2,0,0.9)|", "--positions", "given")
    assert result.exit_code == 0, result.output
    assert "C0 0.00 1.50" in " ".join(result.stdout.split())


@pytest.fixture
def ligands(tmp_path: Path) -> Path:
    """An SDF file of ethanol in 3D and of a record that cannot be read."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles("OCC"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    block = Chem.MolToMolBlock(mol)
    path = tmp_path / "ligands.sdf"
    path.write_text(f"{block}$$$$\n{block.replace('  9  8', ' 99  8', 1)}$$$$\n")
    return path


def test_one_molecule_of_a_file(ligands, tmp_path):
    result = run(ligands, "--positions", "given", "--figure", tmp_path / "m.png")
    assert result.exit_code == 0, result.output
    assert "3 atoms, 9 ordered pairs" in result.stdout
    assert "distance / angstrom" in result.stdout
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_a_row_that_is_damaged_or_missing(ligands, store):
    result = run(ligands, "--row", 1)
    assert result.exit_code == 2
    assert f"where: {ligands}, line" in result.stderr
    result = run(ligands, "--row", 2)
    assert result.exit_code == 2
    assert "there is no row 2" in result.stderr
    assert "the file has 2 rows, counted from 0" in result.stderr
    result = run(store.parent / "in.csv", "--row", 5)
    assert "the SMILES is blank" in result.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two properties that knows little."""
    from tables import chains, parts

    import dgl_moleblend as mb
    from dgl_moleblend.train.finetune import finetune

    dataset = chains(24, conformers=0)
    config = mb.TrainingConfig(max_epochs=1, batch_size=8)
    out = tmp_path_factory.mktemp("model") / "m"
    finetune(
        dataset, parts(dataset), out, start=mb.EncoderConfig.tiny(), training=config, compute=mb.Compute(progress=False)
    )
    return out


def test_what_atoms_add_to_a_prediction(model, ligands, tmp_path):
    result = run("-s", "OCC", "--model", model, "--figure", tmp_path / "m.svg")
    assert result.exit_code == 0, result.output
    lines = {" ".join(line.split()[:-2]): [float(x) for x in line.split()[-2:]]
             for line in result.stdout.splitlines()[1:]}  # fmt: skip
    assert list(lines) == ["prediction", "bare skeleton", "O0", "C1", "C2", "all atoms", "unexplained"]
    for k in range(2):
        added = sum(lines[atom][k] for atom in ("O0", "C1", "C2"))
        assert added == pytest.approx(lines["all atoms"][k], abs=2e-4)
        assert lines["bare skeleton"][k] + added == pytest.approx(lines["prediction"][k], abs=5e-3)
    assert (tmp_path / "m.svg").read_text().startswith("<?xml")
    assert SKELETON in result.stderr
    assert run("-s", "OCC", "--model", model, "--figure", tmp_path / "n.svg", "--numbers").exit_code == 0
    assert (tmp_path / "n.svg").read_bytes() != (tmp_path / "m.svg").read_bytes()
    of_file = run(ligands, "--model", model, "--task", "nitrogens")
    assert of_file.exit_code == 0, of_file.output
    assert of_file.stdout.splitlines()[0].split() == ["nitrogens"]
    assert float(of_file.stdout.splitlines()[1].split()[-1]) == pytest.approx(lines["prediction"][1], abs=1e-3)


def test_a_property_that_the_model_does_not_have(model):
    result = run("-s", "C", "--model", model, "--task", "logP")
    assert result.exit_code == 2
    assert "'logP' is none of the model's properties: atoms, nitrogens" in result.stderr


def test_a_large_molecule_is_not_printed_in_full():
    assert "--figure draws them" in run("-s", "C" * 40).stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "give either a STORE or FILE, or --smiles"),
        (["x", "-s", "C"], "give either a STORE or FILE, or --smiles"),
        (["-s", "C", "--task", "y"], "--task goes with --model"),
        (["-s", "C", "--model", "m", "--numbers"], "--numbers goes with --model and --figure"),
        (["-s", "C", "--row", "1"], "leave out --row: --smiles is one molecule"),
        (["nowhere", "--model", "m"], "leave out --model: it goes with a molecule, not with a data set"),
        (["-s", "C", "--model", "m", "--positions", "embed"], "leave out --positions: the model remembers it"),
        (["-s", "C", "--model", "nowhere"], "there is no model folder 'nowhere'"),
        (["nowhere"], "this is not a store"),
        (["-s", "C1CC"], "RDKit cannot read SMILES 'C1CC'"),
    ],
)
def test_wrong_usage(arguments, text):
    result = run(*arguments)
    assert result.exit_code == 2
    assert text in result.stderr
    assert "Traceback" not in result.output


def test_elements_are_rdkits():
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    assert list(ELEMENTS[:118]) == [table.GetElementSymbol(z) for z in range(1, 119)]
    assert len(ELEMENTS) == 119


def test_json(store, model):
    found = json.loads(run(store, "--format", "json").stdout)
    assert found["kept"] + found["rejected"] == found["rows"]
    assert found["complete"]
    molecule = json.loads(run("-s", "CCO", "--format", "jsonl").stdout)
    assert molecule["elements"] == ["C", "C", "O"]
    assert molecule["spd"] == [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    assert molecule["distance"] is None
    explained = json.loads(run("-s", "CCO", "--model", model, "--format", "json").stdout)
    for found in explained["properties"].values():
        total = found["baseline"] + sum(found["atoms"]) + found["unexplained"]
        assert total == pytest.approx(found["prediction"], rel=1e-6)
