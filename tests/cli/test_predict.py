"""`predict`: the input's rows in the input's order, from every kind of input, with no option repeated."""

import io

import pandas as pd
import pytest
from commands import BAD_ROW, QUICK, SMILES, run, succeed
from rdkit import Chem


def read(text):
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={"size_predicted": [""]})


@pytest.fixture(scope="module")
def expected(table, model):
    return read(succeed("predict", model, table, "--workers", 0, "--quiet").stdout)


def test_rows_keep_their_place(table, expected):
    original = pd.read_csv(table)
    assert list(expected.columns) == ["row", "source", "line", "id", "smiles", "size_predicted", "reason"]
    assert expected["row"].tolist() == list(range(31))
    assert expected["id"].tolist() == original["id"].tolist()
    assert expected["smiles"].tolist() == original["smiles"].tolist()
    assert expected["size_predicted"].isna().tolist() == [k == BAD_ROW for k in range(31)]
    assert [bool(reason) for reason in expected["reason"]] == [k == BAD_ROW for k in range(31)]
    assert "unclosed ring" in expected["reason"][BAD_ROW]


def test_predictions_are_those_that_training_wrote(model, expected):
    held_out = pd.read_csv(model / "predictions.csv")
    found = expected.set_index("row").loc[held_out["row"], "size_predicted"]
    assert held_out["size_predicted"].tolist() == pytest.approx(found.tolist(), rel=1e-4)


def test_smiles_on_the_command_line(model, expected):
    result = succeed("predict", model, "-s", SMILES[0], "-s", "C1CC", "-s", SMILES[7])
    found = read(result.stdout)
    by_smiles = expected.set_index("smiles")["size_predicted"]
    assert found["size_predicted"][0] == pytest.approx(by_smiles[SMILES[0]], rel=1e-4)
    assert found["size_predicted"][2] == pytest.approx(by_smiles[SMILES[7]], rel=1e-4)
    assert found["reason"].map(bool).tolist() == [False, True, False]
    assert "1 of 3 rows have no prediction" in result.stderr


def test_a_file_of_smiles_standard_input_and_an_output_file(model, expected, tmp_path):
    text = "".join(f"{s} m{k}\n" for k, s in enumerate(SMILES[:6]))
    (tmp_path / "in.smi").write_text(text)
    from_file = succeed("predict", model, tmp_path / "in.smi", "-o", tmp_path / "out.csv", "--workers", 0, "--quiet")
    assert from_file.stdout == ""
    from_stdin = succeed("predict", model, "-", "--input-format", "smi", "--workers", 0, "--quiet", stdin=text)
    a, b = read((tmp_path / "out.csv").read_text()), read(from_stdin.stdout)
    pd.testing.assert_frame_equal(a.drop(columns="source"), b.drop(columns="source"))
    by_smiles = expected.set_index("smiles")["size_predicted"]
    assert a["size_predicted"].tolist() == pytest.approx([by_smiles[s] for s in SMILES[:6]], rel=1e-4)
    assert a["id"].tolist() == [f"m{k}" for k in range(6)]


def test_sdf(model, expected, tmp_path):
    with Chem.SDWriter(str(tmp_path / "in.sdf")) as writer:
        for smiles in SMILES[:3]:
            mol = Chem.MolFromSmiles(smiles)
            mol.SetProp("_Name", f"record of {smiles}")
            writer.write(mol)
    found = read(succeed("predict", model, tmp_path / "in.sdf", "--workers", 0, "--quiet").stdout)
    by_smiles = expected.set_index("smiles")["size_predicted"]
    assert found["size_predicted"].tolist() == pytest.approx([by_smiles[s] for s in SMILES[:3]], rel=1e-4)
    assert found["id"][1] == f"record of {SMILES[1]}"


def test_several_files_are_one_output(model, table, tmp_path):
    (tmp_path / "more.smi").write_text("CCO\n")
    found = read(succeed("predict", model, table, tmp_path / "more.smi", "--workers", 0, "--quiet").stdout)
    assert found["row"].tolist() == list(range(32))
    assert found["source"].nunique() == 2


def test_the_model_remembers_that_positions_are_embedded(table, tmp_path):
    options = ["--tasks", "size", "--split", "random", "--positions", "embed", "--conformers", 2]
    succeed("finetune", table, *options, *QUICK, "-o", tmp_path / "m")
    found = read(succeed("predict", tmp_path / "m", table, "--workers", 0, "--quiet").stdout)
    held_out = pd.read_csv(tmp_path / "m" / "predictions.csv")
    again = found.set_index("row").loc[held_out["row"], "size_predicted"]
    assert held_out["size_predicted"].tolist() == pytest.approx(again.tolist(), rel=1e-4)


def test_nothing_that_can_be_predicted(model):
    result = run("predict", model, "-s", "C1CC")
    assert result.exit_code == 1
    assert "no molecule was kept" in result.stderr
    assert read(result.stdout)["reason"].map(bool).tolist() == [True], "the row is there all the same"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{model}"], "give either files or --smiles"),
        (["{model}", "{table}", "-s", "CCO"], "give either files or --smiles"),
        (["nowhere", "{table}"], "there is no model folder 'nowhere'"),
        (["{pretrained}", "{table}"], "kind 'pretraining', but 'predictor' is needed"),
        (["{model}", "nowhere.csv"], "there is no such file"),
        (["{model}", "{table}", "--smiles-column", "mol"], "there is no SMILES column 'mol'"),
        (["{model}", "{store}"], 'positions is "embed", expected "none"'),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(table, model, pretrained, tmp_path, arguments, text):
    names = {"table": table, "model": model, "pretrained": pretrained, "store": tmp_path / "s"}
    if "{store}" in arguments:
        succeed("featurize", table, "--positions", "embed", "--workers", 0, "--quiet", "-o", tmp_path / "s")
    result = run("predict", *(a.format(**names) for a in arguments), "--workers", "0", "--quiet")
    assert result.exit_code == 2, result.output
    assert text in result.stderr
    assert "Traceback" not in result.output
