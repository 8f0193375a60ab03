"""Weights of molecules and properties, from a column or an array to each kind of model; what is wrong is named."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import QUICK, run, succeed
from tables import QUIET, chains, parts

import dgl_moleblend as mb
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.models.losses import label_importance
from dgl_moleblend.sklearn import MoleBlendRegressor
from dgl_moleblend.train.finetune import finetune

SMILES = [f"C{'C' * (k % 8)}{end}" for k in range(12) for end in ("O", "N", "S")]
VALUES = [float(len(text)) for text in SMILES]
WEIGHTS = [0.0 if k % 3 == 0 else 1.0 + k % 2 for k in range(len(SMILES))]
WRONG = [900.0 if weight == 0 else value for value, weight in zip(VALUES, WEIGHTS, strict=True)]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "in.csv"
    pd.DataFrame({"smiles": SMILES, "y": WRONG, "sure": WEIGHTS}).to_csv(path, index=False)
    return path


def test_a_column_weighs_molecules_for_every_kind_of_model(table, tmp_path):
    options = ("--weight-column", "sure", "--split", "random", "--workers", 0, "--quiet", "--head", "kernel")
    result = succeed("finetune", table, *options, "-o", tmp_path / "m")
    assert "column 'sure' weighs molecules in training, from 0 to 2; scores are not weighted" in result.stderr
    assert "--tasks y: the one column" in result.stderr
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert metrics["weights"]["largest"] == 2
    assert metrics["weights"]["zero"] > 5
    found = mb.load(tmp_path / "m").predict(SMILES, progress=False)["y_predicted"]
    assert np.abs(found - VALUES).mean() < 20
    rows = pd.read_csv(table)
    for given, weights in ((rows, "sure"), (table, "sure"), ((SMILES, WRONG), WEIGHTS)):
        model = mb.finetune(given, **({} if isinstance(given, tuple) else {"target": "y"}), weights=weights,
                            split="random", head="kernel", progress=False)  # fmt: skip
        again = model.predict(SMILES, progress=False)["y_predicted"]
        np.testing.assert_allclose(again, found, rtol=1e-6)


def test_a_network_learns_by_weights_and_scores_without(tmp_path):
    """One step on all training rows: the loss that is logged is that of the fresh network, weighted by hand."""
    dataset, split = chains(24), parts(chains(24))
    weights = np.where(np.arange(24) % 2, 1.0, 3.0)
    config = mb.TrainingConfig(max_epochs=1, batch_size=24, seed=3, schedule="constant",
                               task_weights=(("nitrogens", 2.0),))  # fmt: skip
    asked = {"start": mb.EncoderConfig.tiny(attention_dropout=0.0, activation_dropout=0.0, drop_path=0.0),
             "compute": QUIET}  # fmt: skip
    logged = {}
    for name, extra in (("weighted", {"training": config, "weights": weights}),
                        ("plain", {"training": config.replace(task_weights=())})):  # fmt: skip
        result = finetune(dataset, split, tmp_path / name, **asked, **extra)
        logged[name] = pd.read_csv(next((tmp_path / name / "logs").glob("*/metrics.csv")))["train/loss_epoch"].dropna()
        if name == "weighted":
            assert result.metrics["task_weights"] == {"nitrogens": 2.0}
            assert result.metrics["weights"] == {"rows": 12, "least": 1, "mean": 2, "largest": 3, "zero": 0}
            table = pd.read_csv(tmp_path / name / "predictions.csv")
            test = table[table["split"] == "test"]
            rmse = float(np.sqrt(((test["atoms"] - test["atoms_predicted"]) ** 2).mean()))
            assert result.metrics["test"]["tasks"]["atoms"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    labels = dataset.labels[split["train"]]
    scaled = (labels - np.nanmean(labels, 0)) / np.nanstd(labels, 0)
    importance = label_importance(labels, weights[split["train"]], [1.0, 2.0])
    zero = [np.nanmean(scaled**2 * one) for one in (importance, 1.0)]
    ratio = logged["weighted"].iloc[0] / logged["plain"].iloc[0]
    assert ratio == pytest.approx(zero[0] / zero[1], rel=0.1), "a fresh network predicts nearly the mean"
    assert abs(zero[0] / zero[1] - 1) > 0.02
    with pytest.raises(CheckpointError, match="weights of the molecules are not those of the interrupted run"):
        finetune(dataset, split, tmp_path / "weighted", **asked, training=config.replace(max_epochs=2),
                 weights=weights[::-1], resume=True)  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "task_weights", "text"),
    [(np.ones(23), (), r"weights: \(23,\) weights for 24 molecules"),
     (np.zeros(24), (), "weights: all are 0"),
     (np.r_[np.zeros(12), np.ones(12)], (), "every training row has a weight of 0"),
     (None, (("carbons", 1.0),), r"task_weights=\('carbons',\) is not allowed[\s\S]*named after properties: atoms"),
     (None, (("atoms", 0.0), ("nitrogens", 0.0)), r"is not allowed[\s\S]*above 0 for one")],
)  # fmt: skip
def test_weights_that_count_nothing_are_refused(tmp_path, weights, task_weights, text):
    dataset = chains(24)
    with pytest.raises(ValueError, match=text):
        finetune(dataset, parts(dataset), tmp_path / "m", start=mb.EncoderConfig.tiny(), compute=QUIET,
                 training=mb.TrainingConfig(task_weights=task_weights), weights=weights)  # fmt: skip


def test_task_weights_of_the_command_line(table, tmp_path):
    options = ("--tasks", "y,sure", "--split", "random", "--task-type", "regression", *QUICK, "-o", tmp_path / "m")
    succeed("finetune", table, "--task-weight", "y=0.5", *options)
    assert json.loads((tmp_path / "m" / "metrics.json").read_text())["task_weights"] == {"y": 0.5}
    result = run("finetune", table, "--task-weight", "y", *options)
    assert (result.exit_code, "--task-weight 'y' is not NAME=WEIGHT" in result.stderr) == (2, True)
    result = run("finetune", table, "--weight-column", "sure", *options[:-1], tmp_path / "n")
    assert "sure: --weight-column names it, so leave it out of --tasks" in result.stderr
    result = run("finetune", table, "--tasks", "y", "--task-weight", "y=2", "--head", "kernel", "-o", tmp_path / "n")
    assert "leave out --task-weight: it is of --head network" in result.stderr


def test_an_estimator_takes_weights_as_scikit_learn_names_them():
    fitted = MoleBlendRegressor(head="kernel", random_state=0).fit(SMILES, WRONG, sample_weight=WEIGHTS)
    assert np.abs(fitted.predict(SMILES) - VALUES).mean() < 20
    with pytest.raises(DataError, match="sample_weight: the molecule 'CO' has a weight that is no finite"):
        MoleBlendRegressor(head="kernel").fit(SMILES, WRONG, sample_weight=[-1.0, *WEIGHTS[1:]])


@pytest.mark.parametrize(
    ("column", "cell", "text"),
    [("sure", "", "column 'sure': the molecule 'CS' has no weight\n  where: "),
     ("sure", "-1", "column 'sure': the molecule 'CS' has a weight that is no finite number of at least 0"),
     ("sure", ">2", "column 'sure': the molecule 'CS' has a weight that is no finite number of at least 0"),
     ("wrong", "1", "'wrong'")],
)  # fmt: skip
def test_a_weight_that_is_none_is_named(table, tmp_path, column, cell, text):
    frame = pd.read_csv(table, dtype=str)
    frame.loc[2, "sure"] = cell
    frame.to_csv(table, index=False)
    result = run("finetune", table, "--tasks", "y", "--weight-column", column, "--split", "random", "--workers", 0,
                 "--head", "kernel", "--quiet", "-o", tmp_path / "m")  # fmt: skip
    assert result.exit_code in (1, 2)
    assert text in result.stderr
    assert column != "sure" or "in.csv, line 4" in result.stderr
