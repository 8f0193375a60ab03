"""`inspect`: a data set in numbers and a picture, and one molecule."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dgl_moleblend.cli import main
from dgl_moleblend.data.molecules import MoleculeReader
from dgl_moleblend.data.pipeline import PipelineConfig, featurize_to_store
from dgl_moleblend.data.summary import ELEMENTS


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


def test_a_large_molecule_is_not_printed_in_full():
    assert "--figure draws them" in run("-s", "C" * 40).stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "give either a STORE or --smiles"),
        (["x", "-s", "C"], "give either a STORE or --smiles"),
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
