"""`embed`: one embedding for every input row, as Parquet or NPZ."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import BAD_ROW, run, succeed
from rdkit import Chem

import dgl_moleblend as mb


def test_rows_keep_their_place_in_both_formats(table, pretrained, tmp_path):
    for name in ("e.parquet", "e.npz"):
        result = succeed("embed", pretrained, table, "-o", tmp_path / name, "--workers", 0, "--quiet")
        assert "31 rows: 30 embedded, 1 rejected (column reason says why)" in result.stderr
    frame, arrays = pd.read_parquet(tmp_path / "e.parquet"), np.load(tmp_path / "e.npz")
    assert arrays["embedding"].shape == (31, 32)
    assert np.isnan(arrays["embedding"]).all(1).tolist() == [k == BAD_ROW for k in range(31)]
    assert np.array_equal(np.stack(frame["embedding"]), arrays["embedding"], equal_nan=True)
    kept = [k for k in range(31) if k != BAD_ROW]
    np.testing.assert_array_equal(np.stack(frame["embedding"][kept]), arrays["embedding"][kept])
    original = pd.read_csv(table)
    assert frame["id"].tolist() == arrays["id"].tolist() == original["id"].tolist()
    assert arrays["reason"][BAD_ROW]


def test_embeddings_are_the_encoders_with_the_positions_of_its_training(table, pretrained, tmp_path):
    succeed("embed", pretrained, table, "-o", tmp_path / "e.npz", "--readout", "mean", "--workers", 0, "--quiet")
    encoder = mb.MoleBlendEncoder.from_pretrained(pretrained).eval()
    smiles = pd.read_csv(table)["smiles"][0]
    batch = mb.RelationBatch.from_graphs([mb.MoleculeFeaturizer(positions="embed", seed=0)(smiles)])
    expected = encoder(batch).atoms[0].mean(0).detach().numpy()
    np.testing.assert_allclose(np.load(tmp_path / "e.npz")["embedding"][0], expected, rtol=1e-3, atol=1e-5)
    succeed("embed", pretrained, table, "-o", tmp_path / "flat.npz", "--readout", "mean", "--positions", "none",
            "--workers", 0, "--quiet")  # fmt: skip
    assert not np.allclose(np.load(tmp_path / "flat.npz")["embedding"][0], expected, atol=1e-3)


def test_a_fine_tuned_model_embeds_as_well(table, model, tmp_path):
    succeed("embed", model, table, "-o", tmp_path / "e.npz", "--workers", 0, "--quiet")
    assert np.load(tmp_path / "e.npz")["embedding"].shape == (31, 32)


def test_atoms_have_a_row_each(table, model, tmp_path):
    for name in ("a.parquet", "a.npz"):
        succeed("embed", model, table, "-o", tmp_path / name, "--atoms", "--workers", 0, "--quiet")
    frame, arrays = pd.read_parquet(tmp_path / "a.parquet"), np.load(tmp_path / "a.npz", allow_pickle=False)
    assert list(frame.columns) == ["row", "id", "smiles", "atom", "element", "embedding"]
    sizes = {row: Chem.MolFromSmiles(s).GetNumAtoms() for row, s in enumerate(pd.read_csv(table)["smiles"])
             if row != BAD_ROW}  # fmt: skip
    assert frame.groupby("row").size().to_dict() == sizes
    first = Chem.MolFromSmiles(frame["smiles"][0])
    assert frame["element"][: sizes[0]].tolist() == [atom.GetSymbol() for atom in first.GetAtoms()]
    assert frame["atom"].tolist() == [k for size in sizes.values() for k in range(size)]
    assert frame["id"].tolist() == arrays["id"].tolist()
    np.testing.assert_array_equal(np.stack(frame["embedding"]), arrays["embedding"])
    succeed("embed", model, table, "-o", tmp_path / "m.npz", "--readout", "sum", "--workers", 0, "--quiet")
    sums = np.load(tmp_path / "m.npz")["embedding"]
    for row, part in frame.groupby("row"):
        np.testing.assert_allclose(np.stack(part["embedding"]).sum(0), sums[row], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("more", [[], ["--atoms"]])
def test_a_picture_of_them(table, model, tmp_path, more):
    arguments = ("--picture", tmp_path / "e.png", "--color", "size", "--workers", 0, "--quiet", *more)
    succeed("embed", model, table, "-o", tmp_path / "e.npz", *arguments)
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["{pretrained}", "{table}", "-o", "e.csv"], 2, "does not end in .parquet or .npz"),
        (["nowhere", "{table}", "-o", "e.npz"], 2, "there is no model folder 'nowhere'"),
        (["{pretrained}", "{table}", "-o", "nowhere/e.npz"], 2, "there is no folder 'nowhere'"),
        (["{pretrained}", "{table}", "-o", "e.npz", "--picture", "e.txt"], 2, "does not end in .png or .svg or .pdf"),
        (["{pretrained}", "{table}", "-o", "e.npz", "--color", "size"], 2, "give both"),
        (["{pretrained}", "{table}", "-o", "e.npz", "--atoms", "--readout", "sum"], 2, "leave out --readout"),
        (["{pretrained}", "nowhere.csv", "-o", "e.npz"], 2, "there is no such file"),
        (["{pretrained}", "-o", "e.npz"], 2, "Missing argument"),
        (["{model}", "{table}", "-o", "e.npz", "--positions", "embed"], 2, 'positions is "embed", expected "none"'),
        (["{pretrained}", "{bad}", "-o", "e.npz"], 1, "no molecule was kept"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(
    table, pretrained, model, tmp_path, monkeypatch, arguments, exit_code, text
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.smi").write_text("C1CC\n")
    names = {"table": table, "pretrained": pretrained, "model": model, "bad": "bad.smi"}
    result = run("embed", *(a.format(**names) for a in arguments), "--workers", "0", "--quiet")
    assert result.exit_code == exit_code, result.output
    assert text in result.stderr
    assert "Traceback" not in result.output


def test_an_ensemble_is_refused_before_molecules_are_read(table, model, tmp_path):
    (tmp_path / "ensemble.json").write_text(json.dumps({"models": [str(model)]}))
    result = run("embed", tmp_path, table, "-o", tmp_path / "e.npz", "--workers", "0", "--quiet")
    assert result.exit_code == 2
    assert "an ensemble has no embeddings of its own" in result.stderr
    assert "rows" not in result.stderr


def test_atoms_of_a_structure_are_told_in_the_order_of_its_file(model, tmp_path):
    mol = Chem.RenumberAtoms(Chem.MolFromSmiles("CC(=O)NCO"), [5, 2, 0, 3, 1, 4])
    (tmp_path / "in.sdf").write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    succeed("embed", model, tmp_path / "in.sdf", "-o", tmp_path / "a.parquet", "--atoms", "--workers", 0, "--quiet")
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert frame["element"].tolist() == [atom.GetSymbol() for atom in mol.GetAtoms()]
    numbered = Chem.MolFromSmiles(frame["smiles"][0])
    for atom in numbered.GetAtoms():
        other = mol.GetAtomWithIdx(atom.GetAtomMapNum() - 1)
        assert (atom.GetSymbol(), atom.GetDegree()) == (other.GetSymbol(), other.GetDegree())


def test_a_cache_of_conformers_is_of_models_that_embed(table, pretrained, model, tmp_path):
    cache = ("--conformer-cache", tmp_path / "c.sqlite", "--workers", 0, "--quiet", "-o")
    succeed("embed", pretrained, table, *cache, tmp_path / "e.parquet")
    assert (tmp_path / "c.sqlite").is_file()
    result = run("embed", pretrained, table, "--positions", "none", *cache, tmp_path / "n.parquet")
    assert result.exit_code == 2
    assert "leave out --conformer-cache: no conformers are embedded; or add --positions embed" in result.stderr
    for given in ((table,), ("-s", "CCO")):
        result = run("predict", model, *given, *cache, tmp_path / "p.csv")
        assert result.exit_code == 2
        assert "leave out --conformer-cache: the model reads no embedded conformers" in result.stderr
