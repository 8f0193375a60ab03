"""`--smiles-columns`: rows of several molecules, from the table to predictions of any number of rows."""

import html
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from commands import QUICK, SMILES, run, succeed
from folders import copy_to_edit
from pages import Page

import dgl_moleblend as mb

NAMES = ("--smiles-columns", "solute,solvent", "--tasks", "gap", "--split", "random")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """30 pairs, of which row 3 has no second molecule, row 8 no first one."""
    rows = pd.DataFrame({"id": [f"p{k}" for k in range(30)], "solute": SMILES, "solvent": SMILES[::-1]})
    rows["gap"] = [len(a) - len(b) for a, b in zip(rows["solute"], rows["solvent"], strict=True)]
    rows.loc[3, "solvent"] = "C1CC"
    rows.loc[8, "solute"] = ""
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    rows.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fitted(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    succeed("finetune", table, *NAMES, *QUICK, "-o", folder / "network")
    succeed("finetune", table, *NAMES, "--fast", "--quiet", "--workers", 0, "-o", folder / "fast")
    return folder


def read(text):
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={"gap_predicted": [""]})


@pytest.mark.parametrize("name", ["network", "fast"])
def test_rows_keep_their_place_and_the_bad_ones_say_which_column(name, fitted, table, tmp_path):
    found = read(succeed("predict", fitted / name, table, "--quiet", "--workers", 0).stdout)
    given = pd.read_csv(table, keep_default_na=False)
    assert found["row"].tolist() == [*range(30)]
    assert found["solute"].tolist() == given["solute"].tolist()
    assert np.flatnonzero(found["gap_predicted"].isna()).tolist() == [3, 8]
    assert found["reason"][3].startswith("column 'solvent'")
    assert found["reason"][8].startswith("column 'solute'")
    rejects = pd.read_csv(fitted / name / "rejects.csv")
    assert rejects["row"].tolist() == [3, 8]
    # the columns are found by name, in any order, with workers and in parts
    given[["gap", "solvent", "solute", "id"]].to_csv(tmp_path / "other.csv", index=False)
    again = read(succeed("predict", fitted / name, tmp_path / "other.csv", "--quiet", "--workers", 2).stdout)
    np.testing.assert_allclose(again["gap_predicted"], found["gap_predicted"], rtol=1e-5)
    succeed("predict", fitted / name, table, "--quiet", "--workers", 0, "-o", tmp_path / "parts")
    parts = pd.read_parquet(tmp_path / "parts")
    np.testing.assert_allclose(parts["gap_predicted"].astype(float), found["gap_predicted"], rtol=1e-5)


@pytest.mark.parametrize("name", ["network", "fast"])
def test_the_report_shows_what_works(name, fitted, table, tmp_path):
    page = Page(fitted / name / "report.html")
    use = page.text.partition("How to use it")[2]
    assert "A row is several molecules: their SMILES are read from the columns solute , solvent ." in use
    (shown,) = re.findall("<pre>(.*?)</pre>", page.source, re.DOTALL)
    for line in html.unescape(shown).splitlines():
        words = [
            {"molecules.csv": table, "predictions.csv": tmp_path / "p.csv"}.get(word, word) for word in line.split()
        ]
        succeed(*words[1:], "--quiet", "--workers", 0)
    assert len(pd.read_csv(tmp_path / "p.csv")) == 30


def test_a_run_knows_all_of_its_molecules(fitted, table, tmp_path):
    plan = json.loads((fitted / "network" / "run.json").read_text())["settings"]["data"]
    assert "solvent (2)" in plan
    other, folder = tmp_path / "pairs.csv", tmp_path / "model"
    longer = (*QUICK, "--schedule", "constant", "-o", folder)
    succeed("finetune", table, *NAMES, *longer)
    succeed("finetune", table, *NAMES, *longer, "--epochs", 3, "--resume")
    rows = pd.read_csv(table, keep_default_na=False)
    rows.loc[0, "solvent"] = "CCCCCCCC"
    rows.to_csv(other, index=False)
    result = run("finetune", other, *NAMES, *longer, "--epochs", 4, "--resume")
    assert result.exit_code == 2
    assert "solvent (2)" in result.stderr


def test_one_column_twice_is_two_molecules(table, tmp_path):
    twice = ("--smiles-columns", "solute,solute", "--tasks", "gap", "--split", "random")
    succeed("finetune", table, *twice, *QUICK, "-o", tmp_path / "m")
    found = read(succeed("predict", tmp_path / "m", table, "--quiet", "--workers", 0).stdout)
    assert np.flatnonzero(found["gap_predicted"].isna()).tolist() == [8]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--smiles-columns", "solute,"), "name two or more"),
        (("--smiles-columns", "solute,solvent", "--calibration-file", "-"), "not of a data set or standard input"),
        (("--smiles-columns", "solute,water"), "no SMILES column 'water'"),
        (("--smiles-columns", "solute,solvent", "--smiles-column", "solute"), "--smiles-columns names all"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, words, table, tmp_path):
    result = run("finetune", table, "--tasks", "gap", *arguments, *QUICK, "-o", tmp_path / "m")
    assert result.exit_code == 2
    assert words in result.stderr
    assert "kept" not in result.stderr  # nothing was featurized


def test_a_model_of_several_molecules_says_what_it_needs(fitted, table, tmp_path):
    result = run("predict", fitted / "network", "-s", "CCO")
    assert result.exit_code == 2
    assert "give files of tables with columns solute, solvent" in result.stderr
    for command in ("predict", "calibrate"):
        result = run(command, fitted / "network", table, "--smiles-column", "solute", "--quiet", "--workers", 0)
        assert result.exit_code == 2
        assert "leave out --smiles-column: the model reads solute, solvent" in result.stderr
        assert "standard input" in run(command, fitted / "network", "-", stdin="solute,solvent\n").stderr
    path = tmp_path / "renamed.csv"
    path.write_text(table.read_text().replace("solvent", "medium"))
    result = run("predict", fitted / "network", path, "--quiet", "--workers", 0)
    assert "there is no SMILES column 'solvent'" in result.stderr
    assert "--smiles-column" not in result.stderr
    result = run("inspect", "-s", "CCO", "--model", fitted / "network")
    assert result.exit_code == 2
    assert "a model of 2 molecules a row" in result.stderr


def test_a_model_of_several_molecules_is_calibrated_on_a_file(fitted, tmp_path):
    rows = pd.DataFrame({"solute": [f"{'C' * k}Br" for k in range(1, 13)], "solvent": "CCCCCCCCO", "gap": range(12)})
    rows.loc[2, "solvent"] = "C1"
    rows.to_csv(tmp_path / "month.csv", index=False)
    folder = copy_to_edit(fitted / "fast", tmp_path / "model")
    said = succeed("calibrate", folder, tmp_path / "month.csv", "--quiet", "--workers", 0).stderr
    assert "by 11 rows of month.csv" in said
    assert "1 further rows rejected" in said


def test_a_file_is_learned_from_in_python(table, tmp_path):
    how = {"smiles_column": ["solute", "solvent"], "split": "random", "progress": False}
    model = mb.finetune(table, target="gap", head="trees", out=tmp_path / "m", **how)
    found = model.predict(table, progress=False)
    assert found["row"].tolist() == [*range(30)]
    assert found["reason"][3].startswith("column 'solvent'")
