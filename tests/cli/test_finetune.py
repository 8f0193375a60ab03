"""`finetune`: from a table to a model and scores; bad rows, task types, data sets; what goes wrong."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from commands import BAD_ROW, QUICK, SMILES, run, succeed
from safetensors.numpy import load_file

import dgl_moleblend as mb
from dgl_moleblend import folder as model_folder


def test_scores_go_to_stdout_and_files_messages_to_stderr(table, tmp_path):
    result = succeed("finetune", table, "--tasks", "size", "--split", "random", *QUICK, "-o", tmp_path / "m")
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["validation", "test", "mean", "predictor,", "test"]
    assert lines[1][:2] == ["rmse", f"{metrics['validation']['rmse']:.4f}"]
    assert lines[1][2:] == [f"{metrics['test']['rmse']:.4f}", f"{metrics['mean_predictor']['test']['rmse']:.4f}"]
    for words in ("31 rows: 30 kept, 1 rejected",
                  "random split (dgllife RandomSplitter, seed 0): 23 molecules train, 2 validate, 4 test",
                  "1 molecules have no label, and are in no part",
                  "regression (as the labels are), weights chosen by validation rmse"):  # fmt: skip
        assert words in result.stderr


def test_rejected_rows_shift_no_other(table, model):
    rejects = pd.read_csv(model / "rejects.csv")
    assert rejects[["row", "line", "id", "smiles"]].values.tolist() == [[BAD_ROW, BAD_ROW + 2, "bad", "C1CC"]]
    split = pd.read_csv(model / "split.csv")
    assert split["row"].tolist() == [row for row in range(31) if row not in (BAD_ROW, BAD_ROW + 1)]  # it has no label
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
    result = succeed("finetune", tmp_path / "s", *options, *QUICK, "-o", tmp_path / "both")
    assert model_folder.read(tmp_path / "both").extra["task_names"] == ["size", "ring"]
    metrics = json.loads((tmp_path / "both" / "metrics.json").read_text())
    shown = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[1:4]}
    assert [*shown] == ["scaled", "r2", "spearman"]
    assert shown["scaled"][:2] == [f"{metrics[part]['scaled']:.4f}" for part in ("validation", "test")]
    sizes = [metrics[part]["tasks"]["size"]["rmse"] for part in ("validation", "test")]
    assert [f"{size:.4f}" for size in sizes] == result.stdout.splitlines()[4].split()[2:4]
    assert "scaled: mean RMSE, each in units of its property's deviation" in result.stdout
    succeed("finetune", tmp_path / "s", "--tasks", "r*", *options, *QUICK, "-o", tmp_path / "one")
    assert model_folder.read(tmp_path / "one").extra["task_names"] == ["ring"]


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
    found = model_folder.read(tmp_path / "m")
    assert found.extra["featurizer"]["positions"] == "embed"
    assert found.config["predictor"]["readout"] == "mean"
    assert found.config["encoder"] == mb.EncoderConfig.tiny().to_dict()
    assert found.extra["facts"]["split"] == "random"


def test_scaffold_split_is_the_default(table, tmp_path):
    result = succeed("finetune", table, "--tasks", "size", "--fractions", 0.6, 0.2, 0.2, *QUICK, "-o", tmp_path / "m")
    assert "scaffold split (dgllife ScaffoldSplitter, scaffold_func='smiles'): " in result.stderr
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert metrics["split_variant"] == "dgllife ScaffoldSplitter, scaffold_func='smiles'"
    assert metrics["duplicates"]["molecules"] == 0


def test_folds_and_seeds_leave_a_list_of_models_and_a_table(table, tmp_path):
    options = ["--tasks", "size", "--split", "random"]
    result = succeed("finetune", table, *options, "--folds", 3, *QUICK, "-o", tmp_path / "folds")
    metrics = json.loads((tmp_path / "folds" / "metrics.json").read_text())
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1][0] == "rmse"
    assert lines[1][-2:] == [f"{scores['out_of_fold']['rmse']:.4f}" for scores in (metrics, metrics["mean_predictor"])]
    assert "fold 2: 10 molecules train, 10 validate, 9 test" in result.stderr
    assert len(pd.read_csv(tmp_path / "folds" / "predictions.csv")) == 29
    succeed("finetune", table, *options, "--seeds", 2, "--seed", 5, *QUICK, "-o", tmp_path / "seeds")
    models = json.loads((tmp_path / "seeds" / "ensemble.json").read_text())["models"]
    assert models == ["seed-5", "seed-6"]


def test_a_column_and_files_divide(table, tmp_path):
    frame = pd.read_csv(table).assign(part=["train"] * 20 + ["val"] * 6 + ["test"] * 5)
    frame.to_csv(tmp_path / "all.csv", index=False)
    options = ["--tasks", "size", "--split-column", "part"]
    result = succeed("finetune", tmp_path / "all.csv", *options, *QUICK, "-o", tmp_path / "m")
    assert "column split (column 'part'): 18 molecules train, 6 validate, 5 test" in result.stderr
    for name, part in frame.groupby("part"):
        part.to_csv(tmp_path / f"{name}.csv", index=False)
    files = ["--validation-file", tmp_path / "val.csv", "--test-file", tmp_path / "test.csv"]
    result = succeed("finetune", tmp_path / "train.csv", *files, "--tasks", "size", *QUICK, "-o", tmp_path / "n")
    assert "18 molecules train, 6 validate, 5 test" in result.stderr
    assert "validation file: 6 rows kept, 0 rejected" in result.stderr


def test_duplicates_are_reported(table, tmp_path):
    frame = pd.read_csv(table)
    pd.concat([frame, frame.assign(size=lambda f: f["size"] + 1)]).to_csv(tmp_path / "twice.csv", index=False)
    options = ["--tasks", "size", "--split", "random"]
    result = succeed("finetune", tmp_path / "twice.csv", *options, *QUICK, "-o", tmp_path / "m")
    assert "29 molecules stand in several rows, 29 of them with different labels; " in result.stderr
    assert "(--keep-duplicates-together prevents it)" in result.stderr
    options.append("--keep-duplicates-together")
    result = succeed("finetune", tmp_path / "twice.csv", *options, *QUICK, "-o", tmp_path / "n")
    assert "; 0 held-out rows hold a molecule that is also trained on" in result.stderr


def test_the_best_of_some_trials_becomes_the_model(table, tmp_path):
    options = ["--tasks", "size", "--split", "random", "--trials", 2]
    result = succeed("finetune", table, *options, *QUICK, "-o", tmp_path / "m")
    assert "best settings: learning_rate " in result.stderr
    trials = pd.read_csv(tmp_path / "m" / "trials.csv")
    best = trials.loc[trials["score"].idxmin()]
    found = model_folder.read(tmp_path / "m")
    assert found.config["predictor"]["readout"] == best["readout"]
    assert found.extra["facts"]["trials"] == 2
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert metrics["best"] == pytest.approx(best["score"], rel=1e-5)


def test_a_finished_search_goes_on_and_the_model_is_fitted_anew(table, tmp_path):
    options = ["--tasks", "size", "--split", "random", *QUICK, "-o", tmp_path / "m"]
    succeed("finetune", table, *options, "--trials", 1)
    first = pd.read_csv(tmp_path / "m" / "trials.csv")
    result = run("finetune", table, *options, "--trials", 1, "--resume")
    assert result.exit_code == 2
    assert "the run is finished; there is nothing to resume" in result.stderr
    result = succeed("finetune", table, *options, "--trials", 2, "--resume")
    assert "the model of fewer trials is deleted; it is fitted anew" in result.stderr
    trials = pd.read_csv(tmp_path / "m" / "trials.csv")
    pd.testing.assert_frame_equal(trials[:1], first)
    found = model_folder.read(tmp_path / "m")
    assert found.extra["facts"]["trials"] == len(trials) == 2
    assert found.config["predictor"]["readout"] == trials.loc[trials["score"].idxmin(), "readout"]
    assert (tmp_path / "m" / "report.html").exists()
    result = run("finetune", table, *options, "--trials", 1, "--resume")
    assert result.exit_code == 2
    assert "1 trials are asked for, and the search has finished 2" in result.stderr
    assert "resume with --trials 2 or more" in result.stderr
    assert model_folder.read(tmp_path / "m") == found


def test_a_pretrained_encoder_can_be_frozen(table, pretrained, tmp_path):
    quick = [option for option in QUICK if option not in ("--size", "tiny")]
    options = ["--tasks", "size", "--encoder", pretrained, "--freeze", "--split", "random", *quick]
    succeed("finetune", table, *options, "-o", tmp_path / "m")
    before, after = (load_file(folder / "model.safetensors") for folder in (pretrained, tmp_path / "m"))
    shared = [name for name in after if name.startswith("encoder.")]
    assert len(shared) > 20
    assert all((before[name] == after[name]).all() for name in shared)
    training = json.loads((tmp_path / "m" / "run.json").read_text())["settings"]["training"]
    assert (training["learning_rate"], training["max_epochs"]) == (3e-3, 2)  # its own default; as given


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--split-column", "ring", "--folds", "3"], "leave out --folds: --split-column says already"),
        (["--split-column", "ring", "--split", "random"], "leave out --split: --split-column says"),
        (["--split-column", "ring"], "'0' in column 'ring' names no part of the split"),
        (["--split-column", "part"], "there is no column 'part'"),
        (["--split", "random", "--scaffold", "decompose"], "leave out --scaffold: the split is random"),
        (["--folds", "3", "--seeds", "2"], "leave out --seeds: --folds makes several models"),
        (
            ["--folds", "3", "--split", "consecutive"],
            "--folds are by --split scaffold, random, scaffold_balanced, clu",
        ),
        (["--folds", "3", "--fractions", "0.8", "0.1", "0.1"], "leave out --fractions: one fold tests"),
        (["--freeze"], "leave out --freeze: a fresh encoder knows nothing"),
        (["--trials", "3", "--dropout", "0.1"], "leave out --dropout: --trials searches for it"),
        (["--test-file", "{table}"], "is a training file, too: name it once"),
        (["--class-weights", "--split", "random"], "class weights are for classification"),
        (["--split", "random", "--seeds", "2", "--metric", "roc_auc"], "metric='roc_auc' is not allowed"),
        (["--split", "random", "--folds", "3", "--task-type", "classification"], "are 0, 1 or empty"),
        (["--split", "random", "--trials", "2", "--metric", "roc_auc"], "metric='roc_auc' is not allowed"),
    ],
)
def test_options_that_contradict_each_other_are_named(table, tmp_path, options, text):
    options = [option.format(table=table) for option in options]
    result = run("finetune", table, "--tasks", "size", *options, *QUICK, "-o", tmp_path / "m")
    assert result.exit_code == 2, result.output
    assert text in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere.csv"], "there is no such file"),
        (["{table}"], "2 columns can be what is to be predicted: 'size', 'ring'"),
        (
            ["{table}", "--tasks", "sice"],
            "there is no task column 'sice'; the columns are: 'id', 'smiles', 'size', 'ring'",
        ),
        (["{table}", "--tasks", "Size-"], "did you mean 'size'?"),
        (
            ["{table}", "--tasks", "logP"],
            "there is no task column 'logP'; the columns are: 'id', 'smiles', 'size', 'ring'",
        ),
        (
            ["{table}", "--tasks", "size", "--task-type", "classification"],
            "labels of a classification are 0, 1 or empty",
        ),
        (["{table}", "--tasks", "size", "--metric", "roc_auc"], "metric='roc_auc' is not allowed"),
        (["{table}", "--tasks", "size", "--loss", "focal"], "or gaussian or quantile: this is a regression"),
        (["{table}", "--tasks", "size", "--fractions", "0.5", "0.5", "0.5"], "fractions="),
        (["{table}", "--tasks", "size", "--fractions", "1", "0", "0"], "validation part of the split is empty"),
        (["{table}", "--tasks", "size", "--encoder", "moleblend-base"], "there is no model folder 'moleblend-base'"),
        (["{table}", "--tasks", "size", "--split", "magic"], "'magic' is not one of"),
        (
            ["{table}", "--tasks", "size, ring", "--features", "morgan,size", "--fast"],
            "size: name it in --tasks or in --features, not in both",
        ),
        (["{bad}", "--tasks", "y"], "no molecule was kept; the first was rejected: RDKit cannot read SMILES 'C1CC'"),
        (["{table}", "--tasks", "size", "--trials", "2", "--encoder", "nowhere"], "there is no model folder 'nowhere'"),
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


def test_the_one_column_that_can_be_a_label_is_taken_before_anything_is_featurized(table, tmp_path, monkeypatch):
    frame = pd.read_csv(table)
    frame.drop(columns="ring").rename(columns={"smiles": "Ligand SMILES"}).assign(mol=frame["id"]).to_csv(
        tmp_path / "one.csv", index=False
    )
    result = succeed("finetune", tmp_path / "one.csv", *QUICK, "-o", tmp_path / "m")
    assert "--tasks size: the one column that can be what is to be predicted" in result.stderr
    assert model_folder.read(tmp_path / "m").extra["task_names"] == ["size"]

    def featurized(*_, **__):
        raise AssertionError

    monkeypatch.setattr(mb.MoleculeDataset, "from_file", featurized)
    assert run("finetune", table, *QUICK, "-o", tmp_path / "n").exit_code == 2  # two columns


def test_folders_are_looked_at_before_molecules_are_read(table, tmp_path, monkeypatch):
    def read(*_, **__):
        raise AssertionError

    monkeypatch.setattr(mb.MoleculeDataset, "from_file", read)
    for options, text in [
        (["-o", "/proc/nope"], "results cannot be written there"),
        (["-o", tmp_path, "--resume"], "there is no run to resume"),
    ]:
        result = run("finetune", table, "--tasks", "size", *QUICK, *options)
        assert result.exit_code in (1, 2)
        assert text in result.stderr
        assert "where: " in result.stderr
        assert "fix: " in result.stderr


def test_rows_without_a_label_take_no_place(table, tmp_path):
    frame = pd.read_csv(table)
    frame.loc[frame.index[::3], "size"] = np.nan  # beside the one that has none
    frame.to_csv(tmp_path / "blanks.csv", index=False)
    options = ["--tasks", "size", "--split", "random", "--fractions", 0.5, 0.25, 0.25]
    result = succeed("finetune", tmp_path / "blanks.csv", *options, *QUICK, "-o", tmp_path / "m")
    blank = set(frame.index[frame["size"].isna()]) - {BAD_ROW}
    assert f"{len(blank)} molecules have no label, and are in no part" in result.stderr
    assert not blank & set(pd.read_csv(tmp_path / "m" / "split.csv")["row"])
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert metrics["rows"]["test"] == metrics["test"]["tasks"]["size"]["labels"]


@pytest.mark.parametrize("seed", [-1, 99999999999])
def test_seeds_that_no_generator_takes_are_usage_errors(table, tmp_path, seed):
    result = run("finetune", table, "--tasks", "size", "--seed", seed, *QUICK, "-o", tmp_path / "m")
    assert result.exit_code == 2
    assert "is not in the range 0<=x<=" in result.stderr


def test_two_processes_train_one_network_and_one_writes_what_it_predicts(table, tmp_path):
    command = [
        sys.executable,
        "-m",
        "dgl_moleblend",
        "finetune",
        table,
        "--tasks",
        "size",
        "-o",
        tmp_path / "m",
        *QUICK,
    ]
    options = ["--split", "random", "--batch-size", "2", "--accelerator", "cpu", "--devices", "2"]
    done = subprocess.run([*map(str, command), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" rows: ") == done.stderr.count(f"open {tmp_path / 'm'}") == 1
    assert done.stdout.count("rmse") == 1
    assert not list((tmp_path / "m").glob(".*"))
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert metrics["best"] == pytest.approx(metrics["validation"]["rmse"], rel=1e-5)  # of both processes, no row twice
    predictions = pd.read_csv(tmp_path / "m" / "predictions.csv")
    assert predictions["row"].is_monotonic_increasing
    assert predictions["row"].is_unique
    assert len(predictions) == metrics["rows"]["validation"] + metrics["rows"]["test"]
    succeed("predict", tmp_path / "m", table, "--workers", "0", "--quiet", "-o", tmp_path / "p.csv")
    again = pd.read_csv(tmp_path / "p.csv").set_index("row").loc[predictions["row"], "size_predicted"]
    assert again.tolist() == pytest.approx(predictions["size_predicted"].tolist(), rel=1e-5)
    assert metrics["steps"] == metrics["epochs"] * -(-metrics["rows"]["train"] // 4)  # two molecules in each process


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--head", "auto"], "leave out --devices: it is of --head network, not of --head auto"),
        (["--folds", "3"], "leave out --folds: several --devices train one model"),
        (["--seeds", "2"], "leave out --seeds: several --devices train one model"),
    ],
)
def test_several_devices_are_for_one_network(table, tmp_path, options, text):
    result = run("finetune", table, "--tasks", "size", "--devices", "2", *options, "-o", tmp_path / "m")
    assert result.exit_code == 2
    assert text in result.stderr


def test_the_name_of_weights_that_ship_is_no_size(table, tmp_path):
    result = run("finetune", table, "--tasks", "size", "--size", "mini", "-o", tmp_path / "m")
    assert result.exit_code == 2
    assert "give --encoder mini" in result.stderr


def test_columns_that_options_name_are_not_what_is_to_be_predicted(tmp_path):
    rows = [f"{smiles},{'ab'[k % 2]},{'xyz'[k % 3]}" for k, smiles in enumerate(SMILES)]
    (tmp_path / "a.csv").write_text("smiles,series,grade\n" + "\n".join(rows) + "\n")
    how = ("finetune", tmp_path / "a.csv", "--fractions", 1, 0, 0, "--workers", 0, "--quiet", "-o", tmp_path / "m")
    assert "2 columns can be what is to be predicted: 'series', 'grade'" in run(*how).stderr
    assert "--tasks grade: the one column" in run(*how, "--group-column", "series").stderr


def test_labels_over_many_decades_get_advice_once(tmp_path):
    rows = [f"{smiles},{0.3 * 1.6**k},{k / 7},{k * 100}" for k, smiles in enumerate(SMILES)]
    (tmp_path / "a.csv").write_text("smiles,IC50,pIC50,zero\n" + "\n".join(rows) + "\n")
    how = ("--fractions", 1, 0, 0, "--workers", 0, "--quiet", "-o", tmp_path / "m")
    text = "values of 'IC50' span 5 decades, from 0.3 to 249230: models of their logarithm (for nM: 9 - log10) usually"
    said = run("finetune", tmp_path / "a.csv", "--tasks", "all", *how).stderr
    assert said.count(text) == 1
    assert said.count(" decades, from ") == 1
    given = run("finetune", tmp_path / "a.csv", "--tasks", "IC50", "--task-type", "multiclass", *how).stderr
    assert "decades" not in given
    succeed("featurize", tmp_path / "a.csv", "--tasks", "IC50", "--quiet", "--workers", 0, "-o", tmp_path / "s")
    assert text in run("finetune", tmp_path / "s", *how).stderr
