"""`calibrate`: intervals and probabilities by measured molecules of a file of their own."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from commands import QUICK, run, succeed
from folders import copy_to_edit

import dgl_moleblend as mb
from dgl_moleblend.errors import DataError
from dgl_moleblend.predict.probabilities import fit_platt, fit_temperature, with_temperature

ALCOHOLS = [f"{'C' * n}O" for n in range(3, 9)]
AMINES = [f"{'C' * n}N" for n in range(3, 9)] + [f"{'C' * n}S" for n in range(3, 9)]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Molecules that the model has not seen, one twice bounded, one unlabelled, one it was trained on (or held out)."""
    path = tmp_path_factory.mktemp("measured") / "month.csv"
    new = [*ALCOHOLS, *AMINES]
    rows = [f"{smiles},{k / 3},{k % 2}" for k, smiles in enumerate(new)]
    path.write_text("smiles,size,ring\n" + "\n".join([*rows, "CCCCCCCCCF,>5,", "CCCCCCCCCCl,,", "C1CC,3,1"]) + "\n")
    return path


@pytest.fixture
def folder(model, tmp_path):
    return copy_to_edit(model, tmp_path / "model")


def predictions(folder, *arguments):
    text = succeed("predict", folder, *arguments, "--quiet", "--workers", 0).stdout
    return pd.read_csv(io.StringIO(text))


def test_intervals_come_from_the_errors_on_the_file(folder, measured):
    before = (folder / "calibration.json").read_bytes()
    raw = predictions(folder, measured)[:18]
    errors = np.sort(np.abs(raw["size_predicted"] - np.arange(18) / 3))
    said = succeed("calibrate", folder, measured, "--quiet", "--workers", 0).stderr
    found = json.loads((folder / "calibration_file.json").read_text())
    assert found["source"] == {"file": "month.csv", "left_out": 0, "repeated": 0}
    np.testing.assert_allclose(found["tasks"]["size"]["residuals"], errors, atol=1e-5)
    own = pd.read_csv(folder / "predictions.csv")
    assert found["tasks"]["size"]["test"]["rows"] == own["size"][own["split"] == "test"].notna().sum() > 0
    assert "by 18 rows of month.csv" in said
    after = predictions(folder, measured, "--coverage", 0.8)[:18]
    np.testing.assert_allclose(after["size_upper"] - after["size_predicted"], errors[15], atol=1e-5)  # ceil(19 * .8)
    assert (after["size_predicted"] == raw["size_predicted"]).all()
    assert (folder / "calibration.json").read_bytes() == before
    assert "18 rows of month.csv" in (folder / "report.html").read_text()


def test_molecules_of_the_training_set_are_left_out(table, folder, measured, tmp_path):
    split = pd.read_csv(folder / "split.csv")
    rows = split["row"][split["split"] == "train"].iloc[:3]
    seen = pd.read_csv(table)["smiles"][rows]
    path = tmp_path / "with-seen.csv"
    path.write_text(measured.read_text() + "".join(f"{smiles},100,0\n" for smiles in seen))
    said = succeed("calibrate", folder, path, "--quiet", "--workers", 0).stderr
    found = json.loads((folder / "calibration_file.json").read_text())
    assert found["tasks"]["size"]["rows"] == 18
    assert found["source"]["left_out"] == 3
    assert "3 rows left out: their molecule is in the training set" in said
    assert max(found["tasks"]["size"]["residuals"]) < 90


def test_a_second_time_asks_first_and_without_the_file_validation_rows_count(folder, measured):
    arguments = ("calibrate", folder, measured, "--quiet", "--workers", 0)
    validated = predictions(folder, measured)
    succeed(*arguments)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "--overwrite (overwrite=True) replaces that" in result.stderr
    succeed(*arguments, "--overwrite")
    (folder / "calibration_file.json").unlink()
    pd.testing.assert_frame_equal(predictions(folder, measured), validated)


def test_what_cannot_calibrate_is_refused(folder, tmp_path, measured):
    path = tmp_path / "other.csv"
    path.write_text("smiles,weight\nCCCCO,1\n")
    result = run("calibrate", folder, path, "--quiet", "--workers", 0)
    assert result.exit_code == 2
    assert "size" in result.stderr
    path.write_text("smiles,size\nCCCCO,\n")
    result = run("calibrate", folder, path, "--quiet", "--workers", 0)
    assert result.exit_code == 2
    assert "no row has a value of size" in result.stderr
    damaged = json.dumps({"task_type": "regression", "tasks": {}, "source": {"rows": 3}})
    (folder / "calibration_file.json").write_text(damaged)
    result = run("predict", folder, measured, "--quiet", "--workers", 0)
    assert result.exit_code == 2
    assert "calibration_file.json is no calibration" in result.stderr


def test_probabilities_are_rescaled_by_the_file(table, tmp_path):
    out, path = tmp_path / "rings", tmp_path / "month.csv"
    smiles = [f"{'C' * n}{end}" for n in range(1, 21) for end in ("O", "N", "F", "Cl")]
    path.write_text("smiles,ring\n" + "".join(f"{text},{int(k % 10 == 0)}\n" for k, text in enumerate(smiles)))
    succeed("finetune", table, "--tasks", "ring", "--split", "random", *QUICK, "--calibration-file", path, "-o", out)
    kept = out / "calibration_file.json"
    found = json.loads(kept.read_text())
    left_out = found["source"]["left_out"]
    assert found["tasks"]["ring"]["rows"] == 80 - left_out
    shutil.move(kept, tmp_path / "kept.json")
    (out / "calibration.json").unlink()
    raw = predictions(out, path)
    seen = raw["similarity"] >= 1
    assert seen.sum() == left_out
    expected = fit_platt(raw["ring_predicted"][~seen].to_numpy(), raw["ring"][~seen].to_numpy(float))
    assert (found["tasks"]["ring"]["platt"] is None) == (expected is None)
    if expected is not None:
        np.testing.assert_allclose(found["tasks"]["ring"]["platt"], expected, rtol=1e-3)


def test_an_ensemble_and_a_comparison_are_calibrated(table, measured, tmp_path):
    for name, how in {"seeds": ("--seeds", 2, *QUICK), "fast": ("--fast", "--quiet", "--workers", 0)}.items():
        out = tmp_path / name
        succeed("finetune", table, "--tasks", "size", "--split", "random", *how, "-o", out)
        raw = predictions(out, measured)
        said = succeed("calibrate", out, measured, "--quiet", "--workers", 0).stderr
        found = json.loads((out / "calibration_file.json").read_text())["tasks"]["size"]
        assert "rows of month.csv" in said
        assert found["rows"] == 18 - (raw["similarity"][:18] >= 1).sum()
        if found["deviations"] is None:
            errors = np.abs(raw["size_predicted"][:18] - np.arange(18) / 3)[raw["similarity"][:18] < 1]
            np.testing.assert_allclose(found["residuals"], np.sort(errors), atol=1e-5)


def test_several_classes_get_a_temperature_by_the_file(tmp_path):
    kind = np.array(["acid", "base", "salt"])[np.arange(80) % 3]
    smiles = RINGED
    trained, path, out = tmp_path / "trained.csv", tmp_path / "month.csv", tmp_path / "model"
    pd.DataFrame({"smiles": smiles[:40], "kind": kind[:40]}).to_csv(trained, index=False)
    succeed("finetune", trained, "--tasks", "kind", "--split", "random", "--fast", "--quiet", "--workers", 0, "-o", out)
    cells = np.where(np.arange(40) % 5 == 0, "", np.where(kind[40:] == "salt", "base", kind[40:]))  # no salt is here
    pd.DataFrame({"smiles": smiles[40:], "kind": cells}).to_csv(path, index=False)
    (out / "calibration.json").unlink()
    columns = [f"kind={word}" for word in ("acid", "base", "salt")]
    raw = predictions(out, path)
    values = raw[[f"{name}_predicted" for name in columns]].to_numpy()
    said = succeed("calibrate", out, path, "--quiet", "--workers", 0).stderr
    found = json.loads((out / "calibration_file.json").read_text())
    known = (raw["similarity"] < 1).to_numpy() & (cells != "")
    assert [found["tasks"][name]["rows"] for name in columns] == [known.sum()] * 3
    place = np.array([columns.index(f"kind={cell}") for cell in cells[known]])
    expected = fit_temperature(values[known], place)
    assert found.get("temperature") == (expected and pytest.approx(expected, rel=1e-3))
    assert f"{known.sum()} rows of month.csv" in said
    assert f"{known.sum()} rows of month.csv" in (out / "report.html").read_text()
    after = predictions(out, path)
    wanted = values if expected is None else with_temperature(values, expected)
    np.testing.assert_allclose(after[[f"{name}_predicted" for name in columns]], wanted, atol=1e-3)
    assert (after["kind_predicted"] == raw["kind_predicted"]).all()
    path.write_text("smiles,kind\nCCCCCCCCO,acid\nCCCCCCCCN,gas\n")
    result = run("calibrate", out, path, "--overwrite", "--quiet", "--workers", 0)
    assert result.exit_code == 2
    assert "'kind' has a class 'gas', which the model does not know: acid, base, salt" in result.stderr


RINGS = ("C1CC1", "C1CCC1", "c1ccccc1", "c1ccncc1", "c1ccoc1", "c1ccsc1", "C1COC1", "C1CNC1")
ENDS = ("O", "N", "F", "Cl", "CO", "CN", "OC(=O)", "NC(=O)", "S", "Br")
RINGED = list(np.random.default_rng(0).permutation([f"{end}{ring}" for ring in RINGS for end in ENDS]))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A model of two classes that are words, and its table."""
    folder = tmp_path_factory.mktemp("told")
    pd.DataFrame({"smiles": RINGED[:40], "active": np.where(np.arange(40) % 3, "no", "yes")}).to_csv(
        folder / "t.csv", index=False
    )
    succeed("finetune", folder / "t.csv", "--split", "random", "--fast", "--quiet", "--workers", 0, "-o", folder / "m")
    return folder / "m"


def written(path, smiles, **columns):
    pd.DataFrame({"smiles": smiles, **columns}).to_csv(path, index=False)
    return path


def test_classes_that_are_words_are_calibrated_and_others_refused(told, tmp_path):
    out = copy_to_edit(told, tmp_path / "m")
    words = written(tmp_path / "w.csv", RINGED[40:], active=["yes", "no", "no", "yes"] * 10)
    succeed("calibrate", out, words, "--quiet", "--workers", 0)
    by_words = json.loads((out / "calibration_file.json").read_text())["tasks"]
    numbers = written(tmp_path / "n.csv", RINGED[40:], active=[1, 0, 0, 1] * 10)
    succeed("calibrate", out, numbers, "--overwrite", "--quiet", "--workers", 0)
    assert json.loads((out / "calibration_file.json").read_text())["tasks"] == by_words
    for cells, message in (
        ([6.5, 7.25] * 20, "'active' holds 6.5, and the model tells classes: no and yes"),
        (["hit", "miss"] * 20, "'active' holds"),
        ([">1", ">0"] * 20, "no row has a value of active, but 40 are bounds, by which nothing is calibrated"),
        ([""] * 40, "no row has a value of active"),
    ):
        result = run("calibrate", out, written(tmp_path / "x.csv", RINGED[40:], active=cells), "--overwrite",
                     "--quiet", "--workers", 0)  # fmt: skip
        assert result.exit_code == 2, (cells, result.stderr)
        assert message in result.stderr
    none = written(tmp_path / "bad.csv", ["C1CC", "nothing"], active=[1, 0])
    assert "no row is a molecule" in run("calibrate", out, none, "--overwrite", "--quiet", "--workers", 0).stderr
    rows = pd.read_csv(told / "split.csv").query("split == 'train'")["row"]
    pd.read_csv(told.parent / "t.csv").loc[rows].to_csv(tmp_path / "trained.csv", index=False)
    trained = run("calibrate", out, tmp_path / "trained.csv", "--overwrite", "--quiet", "--workers", 0)
    assert trained.exit_code == 2
    assert "every molecule that has a label is in the training set" in trained.stderr


@pytest.mark.parametrize("cells", [[6.5, 7.25] * 20, [""] * 40], ids=["numbers", "empty"])
def test_a_file_that_cannot_calibrate_is_refused_before_training(told, cells, tmp_path):
    path = written(tmp_path / "x.csv", RINGED[40:], active=cells)
    result = run("finetune", told.parent / "t.csv", "--split", "random", *QUICK, "--calibration-file", path,
                 "-o", tmp_path / "m")  # fmt: skip
    assert result.exit_code == 2
    assert "x.csv" in result.stderr
    assert not (tmp_path / "m").exists()


def test_a_molecule_counts_once_however_it_is_written(folder, tmp_path):
    alike = ["CCCCO", "OCCCC", "C(CCC)O"]
    once = written(tmp_path / "once.csv", ["CCCCO", *AMINES], size=[2.0, *np.arange(12) / 3])
    again = written(tmp_path / "again.csv", [*alike, *AMINES, *AMINES], size=[2.0, 9.0, 7.0, *np.arange(24) / 3])
    found = []
    for path in (once, again):
        said = succeed("calibrate", folder, path, "--overwrite", "--quiet", "--workers", 0).stderr
        found.append(json.loads((folder / "calibration_file.json").read_text())["tasks"])
    assert found[0] == found[1]
    assert "14 rows repeat the molecule of a row before" in said


def test_test_rows_of_the_file_are_not_held_against_the_interval_that_they_made(folder, measured, tmp_path):
    own = pd.read_csv(folder / "predictions.csv")
    test = own[(own["split"] == "test") & own["size"].notna()]
    path = written(tmp_path / "some.csv", [*test["smiles"][1:], *AMINES], size=[*test["size"][1:], *np.arange(12) / 3])
    said = succeed("calibrate", folder, path, "--quiet", "--workers", 0).stderr
    task = json.loads((folder / "calibration_file.json").read_text())["tasks"]["size"]
    assert len(test) > 1
    assert task["test"]["rows"] == 1
    assert "of 1 test rows" in said
    path = written(tmp_path / "all.csv", [*test["smiles"], *AMINES], size=[*test["size"], *np.arange(12) / 3])
    said = succeed("calibrate", folder, path, "--overwrite", "--quiet", "--workers", 0).stderr
    assert json.loads((folder / "calibration_file.json").read_text())["tasks"]["size"]["test"] == {}
    assert "test rows" not in said


def test_a_damaged_calibration_is_replaced(folder, measured):
    (folder / "calibration_file.json").write_text("{")
    refused = run("predict", folder, "-s", "CCO", "--quiet", "--workers", 0)
    assert "calibrate again with --overwrite; or delete it, and validation rows count again" in refused.stderr
    succeed("calibrate", folder, measured, "--overwrite", "--quiet", "--workers", 0)
    succeed("predict", folder, "-s", "CCO", "--quiet", "--workers", 0)


def test_python_calibrates_as_the_command_does(model, measured, tmp_path):
    by_command = copy_to_edit(model, tmp_path / "command")
    succeed("calibrate", by_command, measured, "--quiet", "--workers", 0)
    wanted = json.loads((by_command / "calibration_file.json").read_text())
    table = pd.read_csv(measured)
    exact = table[pd.to_numeric(table["size"], errors="coerce").notna()].iloc[:18]
    forms = {"file": measured, "frame": table, "pair": (exact["smiles"].tolist(), exact["size"].astype(float).tolist())}
    for name, given in forms.items():
        loaded = mb.load(copy_to_edit(model, tmp_path / name))
        before = loaded.predict(["CCO"], progress=False)
        loaded.calibrate(given, progress=False)
        found = json.loads((tmp_path / name / "calibration_file.json").read_text())
        np.testing.assert_allclose(found["tasks"]["size"]["residuals"], wanted["tasks"]["size"]["residuals"], rtol=1e-4)
        after = loaded.predict(["CCO"], progress=False)
        assert after["size_predicted"].item() == before["size_predicted"].item()
        assert after["size_upper"].item() != before["size_upper"].item()
        assert "18 rows of " in loaded.report.read_text()
        with pytest.raises(DataError, match="calibrated on a file already"):
            loaded.calibrate(given, progress=False)
        loaded.calibrate(given, overwrite=True, progress=False)
