"""Networks that tell how far off they may be: from `--loss` to columns, intervals and scores."""

import numpy as np
import pandas as pd
import pytest
from commands import QUICK, run, succeed
from tables import QUIET, chains, parts

import dgl_moleblend as mb
from dgl_moleblend import folder as model_folder
from dgl_moleblend.predict.calibration import Calibration
from dgl_moleblend.predict.ensemble import Ensemble
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.train.ensemble import finetune_seeds
from dgl_moleblend.train.finetune import finetune

CONFIG = mb.TrainingConfig(max_epochs=2, batch_size=8, learning_rate=1e-3)
ASKED = {"start": mb.EncoderConfig.tiny(), "compute": QUIET}


@pytest.mark.parametrize("loss", ["gaussian", "quantile"])
def test_deviations_are_predicted_scored_and_used(tmp_path, loss):
    dataset = chains(60)
    result = finetune(dataset, parts(dataset, 30, 10), tmp_path / "m", training=CONFIG.replace(loss=loss), **ASKED)
    model = PropertyModel.from_pretrained(tmp_path / "m")
    value, deviation = model.predict_with_deviation(dataset, progress=False)
    np.testing.assert_allclose(value, model.predict(dataset, progress=False), rtol=1e-5)
    assert (deviation > 0).all()
    assert len(np.unique(deviation[:, 0])) > 5, "they differ between molecules"
    table = pd.read_csv(tmp_path / "m" / "predictions.csv")
    np.testing.assert_allclose(table["atoms_deviation"], deviation[table["row"], 0], rtol=1e-4)
    test = table[table["split"] == "test"]
    relative = (test["atoms"] - test["atoms_predicted"]) / test["atoms_deviation"]
    nll = (np.log(test["atoms_deviation"]) + relative**2 / 2).mean() + np.log(2 * np.pi) / 2
    assert result.metrics["uncertainty"]["tasks"]["atoms"]["nll"] == pytest.approx(nll, rel=1e-4)
    page = (tmp_path / "m" / "report.html").read_text()
    assert "miscalibration area" in page
    new = mb.load(tmp_path / "m").predict(dataset, progress=False)
    np.testing.assert_allclose(new["nitrogens_deviation"], deviation[:, 1], rtol=1e-4)
    calibration = Calibration.read(tmp_path / "m" / "calibration.json")
    width = new["atoms_upper"] - new["atoms_predicted"]
    expected = calibration.tasks["atoms"].half_width(0.9, deviation[:, 0])
    np.testing.assert_allclose(width, np.broadcast_to(expected, width.shape), rtol=1e-4)


def test_seeds_add_what_they_differ_by_to_what_each_says(tmp_path):
    dataset = chains(24)
    finetune_seeds(dataset, parts(dataset), tmp_path / "m", seeds=2, training=CONFIG.replace(loss="gaussian"), **ASKED)
    models = [PropertyModel.from_pretrained(tmp_path / "m" / f"seed-{k}") for k in range(2)]
    each = [model.predict_with_deviation(dataset, progress=False) for model in models]
    expected = np.sqrt(np.mean([one[1] ** 2 for one in each], 0) + np.var([one[0] for one in each], axis=0, ddof=1))
    found = Ensemble.from_pretrained(tmp_path / "m").predict_table(dataset, progress=False)
    np.testing.assert_allclose(found["atoms_deviation"], expected[:, 0], rtol=1e-4)
    table = pd.read_csv(tmp_path / "m" / "predictions.csv")
    np.testing.assert_allclose(table["atoms_deviation"], expected[table["row"], 0], rtol=1e-4)


def test_a_loss_of_numbers_is_refused_for_classes(tmp_path):
    path = tmp_path / "in.csv"
    pd.DataFrame({"smiles": ["C" * (k + 1) for k in range(20)], "y": [k % 2 for k in range(20)]}).to_csv(path)
    options = ("--tasks", "y", "--split", "random", "--loss", "gaussian", *QUICK)
    result = run("finetune", path, *options, "-o", tmp_path / "m")
    assert result.exit_code == 2
    assert "loss='gaussian' is not allowed" in result.stderr
    succeed("finetune", path, "--task-type", "regression", *options, "-o", tmp_path / "n")
    assert model_folder.read(tmp_path / "n").config["predictor"]["spread"] == "gaussian"
