"""`finetune`: from a table to a model and scores; bad rows, task types, data sets; what goes wrong."""

import json

import pandas as pd
import pytest
from commands import BAD_ROW, QUICK, SMILES, run, succeed

import dgl_moleblend as mb
from dgl_moleblend import checkpoint


def test_scores_go_to_stdout_and_files_messages_to_stderr(table, tmp_path):
    result = succeed("finetune", table, "--tasks", "size", "--split", "random", *QUICK, "-o", tmp_path / "m")
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["validation", "test", "mean", "predictor,", "test"]
    assert lines[1][:2] == ["rmse", f"{metrics['validation']['rmse']:.4f}"]
    assert lines[1][2:] == [f"{metrics['test']['rmse']:.4f}", f"{metrics['mean_predictor']['test']['rmse']:.4f}"]
    for words in ("31 rows: 30 kept, 1 rejected", "random split: 24 molecules train, 3 validate, 3 test",
                  "regression (as the labels are), weights chosen by validation rmse"):  # fmt: skip
        assert words in result.stderr


def test_rejected_rows_shift_no_other(table, model):
    rejects = pd.read_csv(model / "rejects.csv")
    assert rejects[["row", "line", "id", "smiles"]].values.tolist() == [[BAD_ROW, BAD_ROW + 2, "bad", "C1CC"]]
    split = pd.read_csv(model / "split.csv")
    assert split["row"].tolist() == [row for row in range(31) if row != BAD_ROW]
    predictions = pd.read_csv(model / "predictions.csv")
    original = pd.read_csv(table)
    for _, row in predictions.iterrows():
        assert row["smiles"] == original["smiles"][row["row"]]
        assert row["id"] == original["id"][row["row"]]
        if row["row"] != BAD_ROW + 1:
            assert row["size"] == original["size"][row["row"]]


def test_classes_and_numbers_are_told_apart(table, tmp_path):
    result = succeed("finetune", table, "--tasks", "ring", "--split", "random", *QUICK, "-o", tmp_path / "m")
    assert "classification (as the labels are)" in result.stderr
    assert "roc_auc" in result.stdout
    options = ["--tasks", "ring", "--task-type", "regression", "--metric", "mae", "--split", "random"]
    result = succeed("finetune", table, *options, *QUICK, "-o", tmp_path / "n")
    assert "regression, weights chosen by validation mae" in result.stderr


def test_several_tasks_by_pattern_and_from_a_data_set(table, tmp_path):
    succeed("featurize", table, "--tasks", "all", "--workers", 0, "--quiet", "-o", tmp_path / "s")
    options = ["--split", "random", "--task-type", "regression"]
    succeed("finetune", tmp_path / "s", *options, *QUICK, "-o", tmp_path / "both")
    assert checkpoint.read(tmp_path / "both").extra["task_names"] == ["size", "ring"]
    succeed("finetune", tmp_path / "s", "--tasks", "r*", *options, *QUICK, "-o", tmp_path / "one")
    assert checkpoint.read(tmp_path / "one").extra["task_names"] == ["ring"]


def test_a_pretrained_encoder_with_its_positions(table, pretrained, tmp_path):
    quick = [option for option in QUICK if option not in ("--size", "tiny")]
    options = [
        "--tasks",
        "size",
        "--encoder",
        pretrained,
        "--positions",
        "embed",
        "--readout",
        "mean",
        "--split",
        "random",
    ]
    succeed("finetune", table, *options, *quick, "-o", tmp_path / "m")
    found = checkpoint.read(tmp_path / "m")
    assert found.extra["featurizer"]["positions"] == "embed"
    assert found.config["predictor"]["readout"] == "mean"
    assert found.config["encoder"] == mb.EncoderConfig.tiny().to_dict()
    assert found.extra["facts"]["split"] == "random"


def test_scaffold_split_is_the_default(table, tmp_path):
    result = succeed("finetune", table, "--tasks", "size", "--fractions", 0.6, 0.2, 0.2, *QUICK, "-o", tmp_path / "m")
    assert "scaffold split" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere.csv"], "there is no such file"),
        (["{table}"], "the molecules have no labels"),
        (
            ["{table}", "--tasks", "logP"],
            "there is no task column 'logP'; the columns are: 'id', 'smiles', 'size', 'ring'",
        ),
        (
            ["{table}", "--tasks", "size", "--task-type", "classification"],
            "labels of a classification are 0, 1 or empty",
        ),
        (["{table}", "--tasks", "size", "--metric", "roc_auc"], "metric='roc_auc' is not allowed"),
        (["{table}", "--tasks", "size", "--fractions", "0.5", "0.5", "0.5"], "fractions="),
        (["{table}", "--tasks", "size", "--fractions", "1", "0", "0"], "validation part of the split is empty"),
        (["{table}", "--tasks", "size", "--encoder", "moleblend-base"], "there is no model folder 'moleblend-base'"),
        (["{table}", "--tasks", "size", "--split", "magic"], "'magic' is not one of"),
        (["{bad}", "--tasks", "y"], "part of the split is empty"),
        (["{store}", "--positions", "embed"], "leave out --positions: {store} is a data set, featurized already"),
        (["{store}", "--tasks", "logP"], "there are no labels 'logP'; there are: 'size'"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(table, tmp_path, arguments, text):
    (tmp_path / "bad.csv").write_text("smiles,y\nC1CC,1\n")
    names = {"table": table, "bad": tmp_path / "bad.csv", "store": tmp_path / "s"}
    if any("{store}" in a for a in arguments):
        succeed("featurize", table, "--tasks", "size", "--workers", 0, "--quiet", "-o", tmp_path / "s")
    arguments = [a.format(**names) for a in arguments]
    result = run("finetune", *arguments, "-o", tmp_path / "m", "--workers", "0", "--quiet")
    assert result.exit_code == 2, result.output
    assert text.format(**names) in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "m").exists()


def test_labels_that_are_no_numbers_cost_their_row_only(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("smiles,y\n" + "".join(f"{s},{k if k != 3 else 'high'}\n" for k, s in enumerate(SMILES[:20])))
    result = succeed("finetune", path, "--tasks", "y", "--split", "random", *QUICK, "-o", tmp_path / "m")
    assert "20 rows: 19 kept, 1 rejected" in result.stderr
    assert "'high'" in pd.read_csv(tmp_path / "m" / "rejects.csv")["reason"][0]
