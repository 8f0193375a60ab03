"""The comparison of models: what learns from which rows, what is kept, and that the folder predicts what was judged."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from commands import SMILES, succeed
from folders import copy_to_edit
from pages import Page
from tables import QUIET

import dgl_moleblend as mb
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.models.kernel import KernelModel
from dgl_moleblend.predict import calibration
from dgl_moleblend.predict.ensemble import Ensemble, predict
from dgl_moleblend.predict.features import Features
from dgl_moleblend.report.results import read_results
from dgl_moleblend.report.words import score_text
from dgl_moleblend.train.auto import finetune_auto
from dgl_moleblend.train.comparison import Comparison

CONFIG = mb.TrainingConfig(max_epochs=2, batch_size=8, learning_rate=1e-3, averaging=0.2, head_first=0.2, keep="last")
QUICK = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET,
         "comparison": Comparison(features=("morgan",))}  # fmt: skip
SPLIT = {"train": np.arange(0, 20), "validation": np.arange(20, 25), "test": np.arange(25, 30)}


def write(path, **columns):
    table = pd.DataFrame({"smiles": SMILES, "size": [len(s) / 2 for s in SMILES], **columns})
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return MoleculeDataset.from_file(write(tmp_path_factory.mktemp("t") / "t.csv"), task_columns=["size"])


@pytest.fixture(scope="module")
def result(dataset, tmp_path_factory):
    return finetune_auto(dataset, SPLIT, tmp_path_factory.mktemp("auto") / "m", **QUICK)


def test_all_stand_in_the_table_and_weights_add_up(result):
    candidates = result.metrics["candidates"]
    assert set(candidates) | set(result.metrics["skipped"]) == {
        "mean", "forest", "trees", "kernel", "frozen", "network",
    }  # fmt: skip
    assert result.metrics["skipped"] == {"frozen": "a fresh encoder knows nothing"}
    assert sum(one["weight"] for one in candidates.values()) == pytest.approx(1)
    assert candidates["mean"]["weight"] == 0
    assert result.metrics["cross_validation"]["rmse"] <= candidates["mean"]["cross_validation"]["rmse"]
    page = Page(result.folder / "report.html").text
    assert "kernel machine, counts and descriptors" in page
    assert "Left out: kernel machine, states of the encoder, because a fresh encoder knows nothing." in page


def test_the_mean_is_one_of_all_that_was_learned_from_and_orders_nothing(dataset, result):
    known = np.concatenate([SPLIT["train"], SPLIT["validation"]])
    labels = dataset.labels[:, 0].astype(float)
    mean, baseline = result.metrics["candidates"]["mean"], result.metrics["mean_predictor"]["test"]
    assert mean["test"]["mae"] == baseline["mae"]
    assert mean["test"]["mae"] == pytest.approx(np.abs(labels[SPLIT["test"]] - labels[known].mean()).mean())
    assert mean["cross_validation"]["rmse"] == pytest.approx(labels[known].std())
    assert [one["spearman"] for one in (mean["cross_validation"], mean["test"], baseline)] == [None] * 3
    text = Page(result.folder / "report.html").text
    said = f"always predicting the mean of the training and validation rows has {score_text(baseline['mae'], 'mae')}."
    assert said in text
    assert "always predicts the mean of the training and validation rows" in text


def test_intervals_are_those_that_were_judged(dataset, tmp_path, monkeypatch):
    """Widths that differ between molecules stand beside the right ones, in whatever order the rows are divided."""

    def fit(features, labels, *args, **kwargs):  # a model that knows how far off it is
        model = original(features, labels, *args, **kwargs)
        return dataclasses.replace(model, out_of_fold_deviation=np.abs(model.out_of_fold - labels))

    original = KernelModel.fit
    monkeypatch.setattr(KernelModel, "fit", fit)
    monkeypatch.setattr(calibration, "_spread", lambda error, wide: tuple(np.quantile(wide, (0.05, 0.5, 0.95))))
    order = np.random.default_rng(0).permutation(30)
    split = {"train": order[:15], "validation": order[15:20], "test": order[20:]}
    settings = {**QUICK, "start": None, "comparison": Comparison(("kernel",), ("morgan",))}
    result = finetune_auto(dataset, split, tmp_path / "m", **settings)
    model = Ensemble.from_pretrained(result.folder)
    task, test = model.calibration.tasks["size"], dataset.subset(split["test"])
    assert model.calibration.deviation_of == "kernel"
    np.testing.assert_allclose(task.residuals, 1)
    columns = model.predict_columns(test, progress=False)
    deviation = model.knows_deviation.predict_with_deviation(Features(test, progress=False))[1][:, 0]
    np.testing.assert_allclose(columns["size_upper"] - columns["size_predicted"], task.half_width(0.9, deviation))
    error = np.abs(columns["size_predicted"] - test.labels[:, 0])
    for coverage, share in task.test["covered"].items():
        assert share == np.mean(error <= task.half_width(float(coverage), deviation))
    run = read_results(result.folder)
    shown = pd.Series(run.half_widths[:, 0], index=run.shown["row"].astype(int))
    np.testing.assert_allclose(shown.loc[test.rows], task.half_width(0.9, deviation))


@pytest.mark.parametrize("name", ["size_predicted", "size_deviation"])
def test_a_label_of_the_name_of_a_result_is_refused(tmp_path, name):
    sizes = {name: np.arange(len(SMILES))}
    dataset = MoleculeDataset.from_file(write(tmp_path / "t.csv", **sizes), task_columns=["size", name])
    with pytest.raises(mb.DataError, match=f"cannot be called '{name}': predictions.csv has a column of that"):
        finetune_auto(dataset, SPLIT, tmp_path / "m", **QUICK)
    assert not (tmp_path / "m").exists()


def test_intervals_differ_in_width_without_test_rows_too(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "_spread", lambda error, wide: tuple(np.quantile(wide, (0.05, 0.5, 0.95))))
    split = {"train": np.arange(20), "validation": np.arange(20, 30)}
    settings = {**QUICK, "start": None, "comparison": Comparison(("kernel",), ("morgan",))}
    result = finetune_auto(dataset, split, tmp_path / "m", **settings)
    model = Ensemble.from_pretrained(result.folder)
    assert model.calibration.tasks["size"].test == {}
    columns = model.predict_columns(dataset, progress=False)
    assert (columns["size_upper"] - columns["size_lower"]).std() > 0


def test_the_folder_predicts_what_was_judged(dataset, result):
    test = dataset.subset(SPLIT["test"])
    table = predict(result.folder, test, progress=False)
    judged = result.predictions[result.predictions["split"] == "test"]
    assert np.allclose(table["size_predicted"], judged["size_predicted"], atol=1e-5)
    assert (table["size_lower"] <= table["size_predicted"]).all()
    assert (table["size_spread"] >= 0).all()
    ensemble = Ensemble.from_pretrained(result.folder)
    assert sum(ensemble.weights) == pytest.approx(1)
    kept = {name for one in result.metrics["candidates"].values() if one["weight"] for name in one["models"]}
    assert {path.name for path in result.folder.iterdir() if path.is_dir()} == kept


def test_test_labels_change_nothing_but_their_scores(dataset, result, tmp_path):
    other = write(tmp_path / "o.csv", size=[len(s) / 2 if k < 25 else 99.0 for k, s in enumerate(SMILES)])
    again = finetune_auto(MoleculeDataset.from_file(other, task_columns=["size"]), SPLIT, tmp_path / "m", **QUICK)
    values = [r.predictions["size_predicted"].to_numpy() for r in (result, again)]
    assert np.array_equal(*values)
    assert again.metrics["test"]["rmse"] > 10 * result.metrics["test"]["rmse"]


def test_a_column_of_the_table_is_a_feature_and_is_asked_for_again(tmp_path):
    dose = np.linspace(0, 1, len(SMILES))
    file = write(tmp_path / "t.csv", dose=dose, effect=10 * dose)
    command = ("finetune", file, "--tasks", "effect", "--split", "random", "--fast", "--workers", 0, "--quiet")
    outcome = succeed(*command, "--features", "morgan,dose", "--encoder", make_encoder(tmp_path), "-o", tmp_path / "m")
    scores = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert scores["candidates"]["trees"]["cross_validation"]["r2"] > 0.4
    assert "weighted mean" in outcome.stdout
    answer = succeed("predict", tmp_path / "m", file, "--quiet", "--workers", 0)
    predicted = pd.read_csv(pd.io.common.StringIO(answer.stdout))["effect_predicted"]
    assert np.corrcoef(predicted, dose)[0, 1] > 0.9
    write(tmp_path / "u.csv")
    from commands import run

    refused = run("predict", tmp_path / "m", tmp_path / "u.csv", "--quiet", "--workers", 0)
    assert refused.exit_code == 2
    assert "'dose'" in refused.output


def make_encoder(folder):
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    return encoder.save_pretrained(folder / "encoder")


def test_a_run_that_was_interrupted_keeps_its_networks(dataset, tmp_path, monkeypatch):
    from dgl_moleblend.train import auto

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(auto, "_finish", stop)
    with pytest.raises(KeyboardInterrupt):
        finetune_auto(dataset, SPLIT, tmp_path / "m", **QUICK)
    monkeypatch.undo()
    before = (tmp_path / "m" / "network-0" / "model.safetensors").stat().st_mtime_ns
    resumed = finetune_auto(dataset, SPLIT, tmp_path / "m", resume=True, **QUICK)
    whole = finetune_auto(dataset, SPLIT, tmp_path / "w", **QUICK)
    assert np.array_equal(resumed.predictions["size_predicted"], whole.predictions["size_predicted"])
    if resumed.metrics["candidates"]["network"]["weight"]:
        assert (tmp_path / "m" / "network-0" / "model.safetensors").stat().st_mtime_ns == before
    run_file = tmp_path / "m" / "run.json"
    run_file.write_text(run_file.read_text().replace('"finished": true', '"finished": false'))
    with pytest.raises(mb.CheckpointError, match="settings differ"):
        finetune_auto(
            dataset,
            SPLIT,
            tmp_path / "m",
            resume=True,
            **QUICK | {"comparison": Comparison(features=("morgan", "atom_pair"))},
        )


@pytest.mark.parametrize(
    ("weights", "words"),
    [([0.5], "do not fit its"), ([-0.1, 1.1], "do not fit its"), ("half", "do not fit its")],
)
def test_damaged_weights_are_named(result, tmp_path, weights, words):

    folder = tmp_path / "copy"
    copy_to_edit(result.folder, folder)
    ensemble = json.loads((folder / "ensemble.json").read_text())
    ensemble["weights"] = weights
    ensemble["models"] = (ensemble["models"] * 2)[:2]
    (folder / "ensemble.json").write_text(json.dumps(ensemble))
    with pytest.raises(mb.CheckpointError, match=words) as caught:
        Ensemble.from_pretrained(folder)
    assert caught.value.where == str(folder / "ensemble.json")


def test_members_that_were_exchanged_are_named(result, tmp_path):

    folder = tmp_path / "copy"
    copy_to_edit(result.folder, folder)
    one, other = (folder / name for name in json.loads((folder / "ensemble.json").read_text())["models"][:2])
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    with pytest.raises(mb.CheckpointError, match=r"is not what ensemble\.json was written with") as caught:
        Ensemble.from_pretrained(folder)
    assert caught.value.where == str(one)


def test_a_member_of_another_number_of_tasks_is_named(result, tmp_path):
    import shutil

    from dgl_moleblend.predict.classical import FeatureModel

    kernel = next(name for name in ("kernel", "trees", "forest") if (result.folder / name).is_dir())
    shutil.copytree(result.folder / kernel, tmp_path / "member")
    config = json.loads((tmp_path / "member" / "config.json").read_text())
    config["extra"]["task_names"] = ["size", "colour"]
    (tmp_path / "member" / "config.json").write_text(json.dumps(config))
    with pytest.raises(mb.CheckpointError, match=r"predicts 1 properties, config\.json names 2"):
        FeatureModel.from_pretrained(tmp_path / "member")


def test_candidates_are_checked(dataset, tmp_path):
    with pytest.raises(mb.ConfigError, match="some of mean, forest, trees"):
        finetune_auto(dataset, SPLIT, tmp_path / "m", **QUICK | {"comparison": Comparison(("mean", "bogus"))})


def test_classes_of_several_tasks_with_blanks(tmp_path):
    ring = [float("1" in s) for s in SMILES]
    rare = [1.0 if k in (3, 11) else np.nan if k > 25 else 0.0 for k in range(len(SMILES))]
    file = write(tmp_path / "t.csv", ring=ring, rare=rare)
    data = MoleculeDataset.from_file(file, task_columns=["ring", "rare"])
    found = finetune_auto(
        data, SPLIT, tmp_path / "m", **QUICK | {"comparison": Comparison(("mean", "forest", "kernel"), ("morgan",))}
    )
    assert found.metrics["candidates"]["forest"]["cross_validation"]["roc_auc"] > 0.6
    values = predict(tmp_path / "m", data, progress=False)[["ring_predicted", "rare_predicted"]].to_numpy()
    assert ((values >= 0) & (values <= 1)).all()


def test_the_options_of_a_network_choose_it(tmp_path):
    from commands import run

    file = write(tmp_path / "t.csv")
    refused = run("finetune", file, "--tasks", "size", "--head", "auto", "--epochs", 3, "-o", tmp_path / "m")
    assert refused.exit_code == 2
    assert "leave out --epochs: it is of --head network, not of --head auto" in refused.output
    refused = run("finetune", file, "--tasks", "size", "--features", "morgan", "--seeds", 2, "-o", tmp_path / "m")
    assert refused.exit_code == 2
    assert "leave out --features" in refused.output
    refused = run("finetune", file, "--tasks", "size", "--head", "kernel", "--fast", "-o", tmp_path / "m")
    assert refused.exit_code == 2
    assert "leave out --fast" in refused.output


def test_the_bars_of_the_network_say_which_fold_it_is(dataset, tmp_path, capfd):
    compared = Comparison(("network",))
    settings = QUICK | {"comparison": compared, "training": CONFIG.replace(max_epochs=1)}
    finetune_auto(dataset, SPLIT, tmp_path / "m", **settings | {"compute": mb.Compute()}, report=False)
    shown = capfd.readouterr().err
    assert [f"network, fold {k}/3" in shown for k in (1, 2, 3, 4)] == [True, True, True, False]
