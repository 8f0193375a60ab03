"""`predict`: the input's rows in the input's order, from every kind of input, with no option repeated."""

import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from commands import BAD_ROW, QUICK, SMILES, run, succeed
from rdkit import Chem

from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.predict.calibrated import write_calibration
from dgl_moleblend.report.trust import TRUST


def read(text):
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={"size_predicted": [""]})


@pytest.fixture(scope="module")
def older(model, tmp_path_factory):
    """The model as written before there were calibrations and training sets."""
    folder = tmp_path_factory.mktemp("older") / "model"
    shutil.copytree(model, folder)
    for name in ("calibration.json", "training_set.npz"):
        (folder / name).unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="module")
def complete(table, older, tmp_path_factory):
    """The model with its calibration and its training set."""
    folder = tmp_path_factory.mktemp("complete") / "model"
    shutil.copytree(older, folder)
    split = pd.read_csv(folder / "split.csv")
    write_training_set(folder, pd.read_csv(table)["smiles"][split["row"][split["split"] == "train"]].tolist())
    write_calibration(folder)
    return folder


@pytest.fixture(scope="module")
def other(table, tmp_path_factory):
    """A model of the same property from another seed."""
    folder = tmp_path_factory.mktemp("other") / "model"
    succeed("finetune", table, "--tasks", "size", "--split", "random", "--seed", 1, *QUICK, "-o", folder)
    return folder


@pytest.fixture(scope="module")
def expected(table, model):
    return read(succeed("predict", model, table, "--workers", 0, "--quiet").stdout)


def test_rows_keep_their_place(table, complete):
    expected = read(succeed("predict", complete, table, "--workers", 0, "--quiet").stdout)
    original = pd.read_csv(table)
    own = [name for name in original.columns if name not in ("id", "smiles")]
    assert list(expected.columns) == ["row", "source", "line", "id", "smiles", *own, "size_predicted", "size_lower",
                                      "size_upper", "similarity", "nearest", "warning", "reason"]  # fmt: skip
    lean = read(succeed("predict", complete, table, "--only-predictions", "--workers", 0, "--quiet").stdout)
    pd.testing.assert_frame_equal(lean, expected.drop(columns=own))
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
    assert found["line"].tolist() == ["", "", ""] or found["line"].isna().all()
    assert "3 rows: 2 predicted, 1 rejected (column reason says why)" in result.stderr


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


def test_intervals_hold_their_share_of_the_validation_rows(table, complete):
    result = succeed("predict", complete, table, "--coverage", 0.5, "--workers", 0, "--quiet")
    found = read(result.stdout).set_index("row")
    held_out = pd.read_csv(complete / "predictions.csv").query("split == 'validation'").dropna(subset="size")
    width = np.sort(abs(held_out["size"] - held_out["size_predicted"]))[int(np.ceil((len(held_out) + 1) * 0.5)) - 1]
    kept = found.drop(index=BAD_ROW)
    for column, sign in (("size_lower", -1), ("size_upper", 1)):
        difference = pd.to_numeric(kept[column]) - kept["size_predicted"]
        np.testing.assert_allclose(difference, sign * width, rtol=1e-3)
    assert f"for a coverage of 50%, by {len(held_out)} validation rows; it held" in result.stderr


def test_too_few_validation_rows_are_told(table, complete):
    result = succeed("predict", complete, table, "--coverage", 0.99, "--workers", 0, "--quiet")
    assert "validation rows are too few for a coverage of 99%: the interval is infinite" in result.stderr
    assert read(result.stdout)["size_upper"][0] in (np.inf, "inf")


def test_molecules_unlike_the_training_set_are_warned_of(complete, tmp_path):
    folder = shutil.copytree(complete, tmp_path / "model")
    write_training_set(folder, ["CCO", "CCCO", "CCCCO", "CC(C)O"])
    result = succeed("predict", folder, "-s", SMILES[0], "-s", "FS(F)(F)(F)(F)F", "--quiet")
    found = read(result.stdout)
    assert found["warning"].map(bool).tolist() == [False, True]
    assert found["warning"][1] == f"unlike the training set: nearest {found['similarity'][1]:.2f}"
    assert "1 warned (column warning says why)" in result.stderr


def test_a_model_of_an_older_version_predicts_without_those_columns(older):
    result = succeed("predict", older, "-s", SMILES[0], "--quiet")
    assert "no column similarity: the model folder holds no training_set.npz" in result.stderr
    found = read(result.stdout)
    assert {"similarity", "nearest"}.isdisjoint(found.columns)
    assert found["warning"].tolist() == [""], "which is of the vocabulary alone then"
    assert "size_lower" in read(result.stdout).columns, "predictions.csv is enough for intervals"


def test_several_models_predict_their_mean(table, complete, other, expected, tmp_path):
    result = succeed("predict", complete, other, table, "--workers", 0, "--quiet")
    found = read(result.stdout)
    second = read(succeed("predict", other, table, "--workers", 0, "--quiet").stdout)
    both = np.stack([expected["size_predicted"], second["size_predicted"]])
    np.testing.assert_allclose(found["size_predicted"], both.mean(0), rtol=1e-4)
    spread = pd.to_numeric(found["size_spread"], errors="coerce")
    np.testing.assert_allclose(spread, both.std(0, ddof=1), rtol=1e-2, atol=1e-5)
    assert "mean of 2 models" in result.stderr
    shutil.copytree(complete, tmp_path / "seed-0")
    shutil.copytree(other, tmp_path / "seed-1")
    (tmp_path / "ensemble.json").write_text(json.dumps({"models": ["seed-0", "seed-1"]}))
    assert succeed("predict", tmp_path, table, "--workers", 0, "--quiet").stdout == result.stdout
    write_calibration(tmp_path)
    assert succeed("predict", tmp_path, table, "--workers", 0, "--quiet").stdout == result.stdout


def test_parquet(table, complete, tmp_path):
    succeed("predict", complete, table, "-o", tmp_path / "p.parquet", "--workers", 0, "--quiet")
    frame = pd.read_parquet(tmp_path / "p.parquet")
    assert frame["size_predicted"].isna().tolist() == [k == BAD_ROW for k in range(31)]
    assert (frame["size_lower"].dropna() <= frame["size_predicted"].dropna()).all()
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"], "no temporary file stays"


def test_models_of_different_things_are_no_ensemble(table, model, tmp_path):
    succeed("finetune", table, "--tasks", "ring", "--split", "random", *QUICK, "-o", tmp_path / "ring")
    result = run("predict", model, tmp_path / "ring", "-s", "CCO")
    assert result.exit_code == 2
    assert 'task_names is ["ring"], expected ["size"], task_type is "classification"' in result.stderr
    assert f"model {tmp_path / 'ring'} of the ensemble against {model}" in result.stderr


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
        (["{model}", "{table}", "-o", "p.txt"], "does not end in .csv or .parquet"),
        (["{model}", "{table}", "-o", "nowhere/p.csv"], "there is no folder 'nowhere'"),
        (["{model}", "{table}", "--coverage", "1"], "1.0 is not in the range 0<x<1"),
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


def test_a_model_of_words_says_the_probability_of_which(tmp_path, caplog):
    words = ["Active", "Inactive"] * (len(SMILES) // 2)
    pd.DataFrame({"smiles": SMILES[: len(words)], "hit": words}).to_csv(tmp_path / "in.csv", index=False)
    succeed("finetune", tmp_path / "in.csv", "--tasks", "hit", "--split", "random", *QUICK, "-o", tmp_path / "m")
    assert "'Active' is read as class 1, 'Inactive' as class 0" in caplog.text
    result = succeed("predict", tmp_path / "m", "-s", "CCO", "--quiet")
    assert "hit: probability of 'Active' ('Inactive' is class 0)" in result.stderr
    assert read(result.stdout)["hit_predicted"].between(0, 1).all()


def test_the_users_columns_are_kept_as_they_stand(model, expected, tmp_path):
    path, other = tmp_path / "in.csv", tmp_path / "more.csv"
    path.write_text('batch,reason,SMILES,note,note\n007,ours,CCO,"a, b",1e3\n008,,C1CC,,x\n,short\n')
    other.write_text("smiles;dose\nCCC;1,5\n")
    result = succeed("predict", model, path, other, "--workers", 0, "--quiet")
    found = pd.read_csv(io.StringIO(result.stdout), dtype=str, keep_default_na=False)
    assert found.columns[4:11].tolist() == ["smiles", "batch", "reason_input", "SMILES", "note", "note.2", "dose"]
    assert found["batch"].tolist() == ["007", "008", "", ""]
    assert found["note"].tolist() == ["a, b", "", "", ""]
    assert found["note.2"].tolist() == ["1e3", "x", "", ""]
    assert found["dose"].tolist() == ["", "", "", "1,5"]
    assert found["reason_input"].tolist() == ["ours", "", "", ""]
    assert [bool(text) for text in found["size_predicted"]] == [True, False, False, True]
    assert "column 'reason' of the input is 'reason_input' in the output" in result.stderr


def test_json(model, table, tmp_path):
    result = succeed("predict", model, "-s", "CCO", "-s", "C1CC", "--format", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["smiles"] for line in lines] == ["CCO", "C1CC"]
    assert [line["size_predicted"] is None for line in lines] == [False, True]
    for name, options in (("out.json", ()), ("out.txt", ("--format", "json"))):
        succeed("predict", model, table, "-o", tmp_path / name, *options, "--workers", 0, "--quiet")
        assert len(json.loads((tmp_path / name).read_text(encoding="utf-8"))) == 31
    assert "does not end in" in run("predict", model, table, "-o", tmp_path / "out.txt").stderr
    assert "needs an --output" in run("predict", model, table, "--format", "parquet").stderr


def test_a_page(complete, table, tmp_path):
    result = succeed("predict", complete, table, "-o", tmp_path / "page.html", "--workers", 0, "--quiet")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "31 rows: 30 predicted" in page
    assert page.count("<tr><td") == 31
    assert "unclosed ring" in page[page.index('id="rejects"') :]
    assert re.search(r'<th class="own".*>ring<', page), "the input's own columns"
    assert "30 predicted, 1 rejected" in result.stderr
    succeed("predict", complete, table, "-o", tmp_path / "page.txt", "--format", "html", "--workers", 0, "--quiet")
    assert (tmp_path / "page.txt").read_text(encoding="utf-8") == page
    assert "--format html needs an --output" in run("predict", complete, "-s", "CCO", "--format", "html").stderr


def test_when_an_interval_can_be_trusted_is_said_in_the_help():
    text = " ".join(succeed("predict", "--help").stdout.split())
    assert TRUST in text
    for what in ("predicted", "spread", "deviation", "lower", "upper"):
        assert f"NAME_{what} " in text.replace(",", " ")
    assert "calibrated on (validation rows, or those of `calibrate`)" in text


def test_a_missing_model_is_said_before_torch_is_imported(tmp_path):
    for words in (["predict", "nowhere", "-s", "C"], ["embed", "nowhere", "a.csv", "-o", "a.npz"],
                  ["inspect", "-s", "C", "--model", "nowhere"]):  # fmt: skip
        code = (
            "import sys; from dgl_moleblend.cli import main\n"
            f"try: main({words!r})\n"
            "except SystemExit as end: assert end.code == 2\n"
            "assert not {'torch', 'dgl', 'rdkit', 'pandas'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert "there is no model folder 'nowhere'" in done.stderr
