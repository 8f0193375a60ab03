"""`finetune --atom-targets`, then `predict`: lists in CSV, JSON and Parquet, which can be read again."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import SMILES, run, succeed
from rdkit import Chem

QUICK = ("--size", "tiny", "--epochs", "2", "--batch-size", "8", "--quiet", "--workers", "0", "--split", "random")


@pytest.fixture(scope="module")
def sdf(tmp_path_factory):
    """Molecules with all hydrogens, degree of each atom (RDKit's property list) and order of each bond."""
    path = tmp_path_factory.mktemp("sdf") / "molecules.sdf"
    writer = Chem.SDWriter(str(path))
    for k, smiles in enumerate(SMILES):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        mol.SetProp("_Name", f"m{k}")
        for atom in mol.GetAtoms():
            atom.SetDoubleProp("degree", float(atom.GetDegree()))
        Chem.CreateAtomDoublePropertyList(mol, "degree")
        mol.SetProp("order", json.dumps([bond.GetBondTypeAsDouble() for bond in mol.GetBonds()]))
        writer.write(mol)
    writer.close()
    return path


@pytest.fixture(scope="module")
def atoms(sdf, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "degree-model"
    result = succeed("finetune", sdf, "--atom-targets", "degree", *QUICK, "-o", out)
    return out, result


def test_a_model_of_atoms_is_made_and_judged(atoms):
    out, result = atoms
    metrics = json.loads((out / "metrics.json").read_text())
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["validation", "test", "mean", "by", "element,", "test"]
    assert lines[1][:2] == ["degree", "rmse"]
    scores = (metrics["validation"], metrics["test"], metrics["mean_by_kind"]["test"])
    assert lines[1][2:] == [f"{one['rmse']:.4f}" for one in scores]
    hydrogens = sum(a.GetTotalNumHs() for s in SMILES for a in Chem.MolFromSmiles(s).GetAtoms())
    count = sum(Chem.MolFromSmiles(s).GetNumAtoms() for s in SMILES)
    for words in (f"{hydrogens} values are of hydrogens that molecules are read without: they are not used",
                  f"{count} values of {count} atoms in 30 molecules", "30 rows: 30 kept, 0 rejected",
                  "random split", "values of atoms, weights chosen by validation rmse"):  # fmt: skip
        assert words in result.stderr
    assert {"parity.png", "curves.png", "predictions.csv", "split.csv", "run.toml"} <= {p.name for p in out.iterdir()}


def test_lists_are_predicted_and_read_again(atoms, tmp_path):
    out, _ = atoms
    path = tmp_path / "new.csv"
    path.write_text("id,smiles,reason\na,CCO,why\nb,C1CC,\nc,[H]O[H],\n")
    result = succeed("predict", out, path, "-o", tmp_path / "p.csv", "--quiet", "--workers", 0)
    assert "3 rows: 2 predicted, 1 rejected" in result.stderr
    table = pd.read_csv(tmp_path / "p.csv")
    assert table["reason_input"].tolist()[:1] == ["why"]
    lists = [json.loads(text) for text in table["degree_predicted"].dropna()]
    assert [len(one) for one in lists] == [3, 1]
    succeed("predict", out, path, "-o", tmp_path / "p.parquet", "--quiet", "--workers", 0)
    stored = pd.read_parquet(tmp_path / "p.parquet")
    assert stored["degree_predicted"][1] is None
    np.testing.assert_allclose(stored["degree_predicted"][0], lists[0], rtol=1e-6)
    printed = succeed("predict", out, path, "--format", "jsonl", "--quiet", "--workers", 0).stdout.splitlines()
    assert json.loads(printed[0])["degree_predicted"] == lists[0]
    assert json.loads(printed[1])["degree_predicted"] is None
    parts = tmp_path / "parts"
    succeed("predict", out, path, "-o", parts, "--quiet", "--workers", 0)
    assert pd.read_parquet(parts)["degree_predicted"].map(lambda v: v is None).tolist() == [False, True, False]
    many = pd.DataFrame({"smiles": SMILES})
    many.to_csv(tmp_path / "many.csv", index=False)
    for name in ("again.csv", "again.parquet"):
        succeed("predict", out, tmp_path / "many.csv", "-o", tmp_path / name, "--quiet", "--workers", 0)
        again = succeed("finetune", tmp_path / name, "--atom-targets", "degree_predicted", *QUICK,
                        "-o", tmp_path / f"{name}-model")  # fmt: skip
        assert "30 rows: 30 kept, 0 rejected" in again.stderr


def test_bonds_and_a_structure_in_its_own_order(sdf, tmp_path):
    result = succeed("finetune", sdf, "--bond-targets", "order", *QUICK, "-o", tmp_path / "m")
    assert "mean by kind" in result.stdout
    printed = succeed("predict", tmp_path / "m", "-s", "c1ccccc1O", "--format", "jsonl", "--quiet").stdout
    assert len(json.loads(printed)["order_predicted"]) == 7
    table = succeed("predict", tmp_path / "m", sdf, "--format", "jsonl", "--quiet", "--workers", 0).stdout
    first = json.loads(table.splitlines()[0])
    assert len(first["order_predicted"]) == 2
    assert first["degree"] if "degree" in first else first["atom.dprop.degree"]


def test_options_that_do_not_go_together(sdf, atoms, tmp_path):
    out, _ = atoms
    for arguments, words in (
        (("--atom-targets", "degree", "--bond-targets", "order"), "a model tells of atoms or of bonds"),
        (("--atom-targets", "degree", "--tasks", "x"), "leave out --tasks: it is of labels of molecules"),
        (("--atom-targets", "degree", "--standardize", "neutral"), "leave out --standardize"),
        (("--atom-targets", "degree", "--head", "trees"), "leave out --head"),
        (("--atom-targets", "degree", "--smiles-columns", "a,b"), "leave out --smiles-columns"),
        (("--atom-targets", "degree", "--calibration-file", "x.csv"), "leave out --calibration-file"),
        (("--atom-targets", "degree", "--relation-column", "r"), "leave out --relation-column"),
        (("--bond-targets", "order", "--folds", "5"), "leave out --folds"),
        (
            ("--bond-targets", "order", "--size", "tiny", "--freeze"),
            "leave out --freeze: a fresh encoder knows nothing",
        ),
    ):
        result = run("finetune", sdf, *arguments, "-o", tmp_path / "x")
        assert result.exit_code == 2
        assert words in result.stderr
    result = run("finetune", sdf, "--atom-targets", "degre", *QUICK, "-o", tmp_path / "x")
    assert result.exit_code == 2
    assert "there is no column 'degre'" in result.stderr
    for arguments, words in (
        (("--top", "3"), "leave out --top"), (("--coverage", "0.8"), "leave out --coverage"),
        (("-o", tmp_path / "p.html"), "a page shows values of molecules"),
    ):  # fmt: skip
        result = run("predict", out, sdf, *arguments)
        assert result.exit_code == 2
        assert words in result.stderr
    result = run("predict", out, out, sdf)
    assert "give one model, if it is of atoms or bonds" in result.stderr
