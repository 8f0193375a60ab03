"""Seeds and folds: a model folder each, one list of them, scores alone and together, and going on after Ctrl-C."""

import json

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Callback
from tables import QUIET, chains, parts, watched

import dgl_moleblend as mb
from dgl_moleblend import folder as model_folder
from dgl_moleblend.data.folds import folds_beside_test
from dgl_moleblend.data.splits import Split
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.predict.ensemble import predict
from dgl_moleblend.report.results import read_results
from dgl_moleblend.train import ensemble
from dgl_moleblend.train.ensemble import finetune_folds, finetune_replicates, finetune_seeds

CONFIG = mb.TrainingConfig(max_epochs=2, batch_size=4, learning_rate=1e-3)
QUICK = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET}


def make_folds(number, k=3):
    buckets = np.array_split(np.arange(number), k)
    return [
        {"test": buckets[i], "validation": buckets[(i + 1) % k],
         "train": np.concatenate([b for j, b in enumerate(buckets) if j not in (i, (i + 1) % k)])}
        for i in range(k)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    dataset = chains(24)
    out = tmp_path_factory.mktemp("seeds") / "m"
    return dataset, finetune_seeds(dataset, Split(parts(dataset), {"split": "rows"}), out, seeds=2, **QUICK)


def test_seeds_leave_a_model_each_and_their_list(seeds):
    _, result = seeds
    assert json.loads((result.folder / "ensemble.json").read_text())["models"] == ["seed-0", "seed-1"]
    for name in ("seed-0", "seed-1"):
        assert model_folder.read(result.folder / name).extra["task_names"] == ["atoms", "nitrogens"]
    assert json.loads((result.folder / "metrics.json").read_text()) == json.loads(json.dumps(result.metrics))
    assert result.metrics["split"] == "rows"
    single = [result.metrics["runs"][name]["test"]["rmse"] for name in ("seed-0", "seed-1")]
    assert single[0] != single[1]
    assert result.metrics["mean"]["test"]["rmse"] == pytest.approx(np.mean(single))
    assert result.metrics["deviation"]["test"]["rmse"] == pytest.approx(np.std(single, ddof=1))


def test_predictions_of_seeds_are_the_mean_of_the_models(seeds):
    dataset, result = seeds
    table = pd.read_csv(result.folder / "predictions.csv")
    each = [
        predict(result.folder / name, dataset, progress=False).set_index("row").loc[table["row"]]
        for name in ("seed-0", "seed-1")
    ]
    for task in ("atoms", "nitrogens"):
        mean = np.mean([one[f"{task}_predicted"] for one in each], 0)
        np.testing.assert_allclose(table[f"{task}_predicted"], mean, rtol=1e-5)
        spread = np.std([one[f"{task}_predicted"] for one in each], axis=0, ddof=1)
        np.testing.assert_allclose(table[f"{task}_deviation"], spread, rtol=1e-4)
    test = table[table["split"] == "test"]
    found = result.metrics["uncertainty"]
    error, deviation = test["atoms"] - test["atoms_predicted"], test["atoms_deviation"]
    nll = (np.log(deviation) + (error / deviation) ** 2 / 2).mean() + np.log(2 * np.pi) / 2
    assert found["part"] == "test"
    assert found["tasks"]["atoms"]["nll"] == pytest.approx(nll, rel=1e-4)
    assert found["tasks"]["nitrogens"]["rows"] == test["nitrogens"].notna().sum()
    rmse = np.sqrt(((test["atoms"] - test["atoms_predicted"]) ** 2).mean())
    assert result.metrics["test"]["tasks"]["atoms"]["rmse"] == pytest.approx(rmse, rel=1e-5)


def test_seeds_share_a_split_that_their_folder_tells(seeds):
    dataset, result = seeds
    table = pd.read_csv(result.folder / "split.csv")
    assert {name: rows["row"].tolist() for name, rows in table.groupby("split")} == {
        name: part.tolist() for name, part in parts(dataset).items()
    }
    for name in ("seed-0", "seed-1"):
        assert (result.folder / name / "split.csv").read_bytes() == (result.folder / "split.csv").read_bytes()


def test_folds_predict_every_row_by_a_model_that_never_saw_it(tmp_path):
    dataset, folds = chains(18), make_folds(18)
    result = finetune_folds(dataset, folds, tmp_path / "m", **QUICK)
    assert json.loads((tmp_path / "m" / "ensemble.json").read_text())["models"] == ["fold-0", "fold-1", "fold-2"]
    table = pd.read_csv(tmp_path / "m" / "predictions.csv")
    assert table["row"].tolist() == list(range(18))
    for k, fold in enumerate(folds):
        assert table["row"][table["fold"] == k].tolist() == fold["test"].tolist()
    divided = pd.read_csv(tmp_path / "m" / "split.csv")
    assert divided.columns.tolist() == ["row", "fold"]
    assert {k: rows["row"].tolist() for k, rows in divided.groupby("fold")} == {
        k: fold["test"].tolist() for k, fold in enumerate(folds)
    }
    rmse = np.sqrt(((table["atoms"] - table["atoms_predicted"]) ** 2).mean())
    assert result.metrics["out_of_fold"]["tasks"]["atoms"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    errors = []
    for fold in folds:
        labels = dataset.labels[:, 0]
        errors.append(labels[fold["test"]] - labels[fold["train"]].mean())
    constant = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    assert result.metrics["mean_predictor"]["out_of_fold"]["tasks"]["atoms"]["rmse"] == pytest.approx(constant)
    assert result.metrics["mean_predictor"]["out_of_fold"]["spearman"] is None


class Interrupt(Callback):
    """Presses Ctrl-C at the beginning of an epoch of the second run."""

    def on_train_epoch_start(self, trainer, module):
        if module.config.seed == 1 and trainer.current_epoch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_seed_goes_on_and_finished_ones_are_kept(seeds, tmp_path, monkeypatch):
    dataset, whole = seeds
    out = tmp_path / "m"
    with pytest.raises(KeyboardInterrupt):
        finetune_seeds(dataset, parts(dataset), out, seeds=2, **QUICK | watched(Interrupt()))
    assert not (out / "ensemble.json").exists()
    with pytest.raises(DataError, match="run that did not finish"):
        finetune_seeds(dataset, parts(dataset), out, seeds=2, **QUICK)
    with pytest.raises(CheckpointError, match="settings differ"):
        finetune_seeds(dataset, parts(dataset), out, seeds=3, resume=True, **QUICK)
    trained = []
    original = ensemble.finetune
    monkeypatch.setattr(
        ensemble, "finetune", lambda d, s, o, **k: trained.append((o.name, k["resume"])) or original(d, s, o, **k)
    )
    again = finetune_seeds(dataset, Split(parts(dataset), {"split": "rows"}), out, seeds=2, resume=True, **QUICK)
    assert trained == [("seed-1", True)]
    assert again.metrics["test"]["rmse"] == pytest.approx(whole.metrics["test"]["rmse"], rel=1e-6)
    pd.testing.assert_frame_equal(again.predictions, whole.predictions, check_dtype=False)


def test_overwriting_deletes_the_runs_that_were_there(seeds, tmp_path):
    dataset = chains(18)
    out = tmp_path / "m"
    finetune_folds(dataset, make_folds(18), out, **QUICK)
    (out / "notes.txt").write_text("mine")
    finetune_seeds(dataset, parts(dataset), out, seeds=2, overwrite=True, **QUICK)
    assert not list(out.glob("fold-*"))
    assert set(pd.read_csv(out / "split.csv")["split"]) == {"train", "validation", "test"}
    assert (out / "notes.txt").read_text() == "mine"


def test_replicates_say_how_scores_differ_between_splits(tmp_path):
    dataset, generator = chains(18), np.random.default_rng(0)
    drawn = [generator.permutation(18) for _ in range(3)]
    named = [dict(zip(("train", "validation", "test"), np.split(rows, [8, 12]), strict=True)) for rows in drawn]
    splits = [Split(one, {"split": "random", "split_variant": f"seed {k}"}) for k, one in enumerate(named)]
    result = finetune_replicates(dataset, splits, tmp_path / "m", **QUICK)
    names = [f"replicate-{k}" for k in range(3)]
    assert json.loads((tmp_path / "m" / "ensemble.json").read_text())["models"] == names
    table = pd.read_csv(tmp_path / "m" / "predictions.csv")
    labels = dataset.labels[:, 0]
    errors, of_means = [], []
    for k, (rows, name) in enumerate(zip(drawn, names, strict=True)):
        own = table[table["replicate"] == k]
        assert own["row"].tolist() == sorted(rows[12:].tolist())
        alone = predict(tmp_path / "m" / name, dataset, progress=False)["atoms_predicted"].to_numpy()
        np.testing.assert_allclose(own["atoms_predicted"], alone[own["row"]], rtol=1e-5)
        errors.append(float(np.sqrt(np.mean((labels - alone)[rows[12:]] ** 2))))
        of_means.append(labels[rows[12:]] - labels[rows[:8]].mean())
    own = [result.metrics["runs"][name]["test"] for name in names]
    assert result.metrics["mean"]["test"]["mae"] == pytest.approx(np.mean([one["mae"] for one in own]))
    assert result.metrics["deviation"]["test"]["mae"] == pytest.approx(np.std([one["mae"] for one in own], ddof=1))
    together = result.metrics["out_of_fold"]["tasks"]["atoms"]["rmse"]
    assert together == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5), "each split tests six"
    constant = result.metrics["mean_predictor"]["out_of_fold"]["tasks"]["atoms"]["rmse"]
    assert constant == pytest.approx(np.sqrt(np.mean(np.concatenate(of_means) ** 2)))
    divided = pd.read_csv(tmp_path / "m" / "split.csv", index_col="row")
    assert [*divided.columns] == names
    assert [divided.index[divided[names[1]] == part].tolist() for part in ("train", "validation", "test")] == [
        sorted(rows.tolist()) for rows in np.split(drawn[1], [8, 12])
    ]
    assert result.metrics["replicates"] == 3
    assert result.metrics["split_variant"] == "seed 0, and 2 more by the seeds after it"
    seeds = [json.loads((tmp_path / "m" / name / "run.json").read_text())["settings"]["training"]["seed"]
             for name in names]  # fmt: skip
    assert seeds == [0, 1, 2], "weights begin otherwise, too"
    calibration = json.loads((tmp_path / "m" / "calibration.json").read_text())["tasks"]["atoms"]
    assert [fold["rows"] for fold in calibration["test"]["folds"]] == [6, 6, 6]


def test_folds_beside_test_rows_are_tested_on_them_together(tmp_path):
    dataset, test = chains(18), np.array([2, 5, 11])
    rest = np.setdiff1d(np.arange(18), test)
    folds = [split.parts for split in folds_beside_test(dataset, test, 3, method="random", seed=1)]
    for fold in folds:
        assert fold["test"].tolist() == test.tolist()
        assert sorted([*fold["train"], *fold["validation"]]) == rest.tolist()
    assert sorted(np.concatenate([fold["validation"] for fold in folds]).tolist()) == rest.tolist()
    result = finetune_folds(dataset, folds, tmp_path / "m", **QUICK)
    table = pd.read_csv(tmp_path / "m" / "predictions.csv").set_index("row")
    alone = [predict(tmp_path / "m" / f"fold-{k}", dataset, progress=False)["atoms_predicted"] for k in range(3)]
    np.testing.assert_allclose(table["atoms_predicted"][test], np.mean(alone, axis=0)[test], rtol=1e-5)
    for k, fold in enumerate(folds):
        held_out = fold["validation"]
        assert (table["fold"][held_out] == k).all()
        np.testing.assert_allclose(table["atoms_predicted"][held_out], alone[k][held_out], rtol=1e-5)
    labels, scores = dataset.labels[:, 0], result.metrics
    for part, rows in (("validation", rest), ("test", test)):
        rmse = np.sqrt(np.mean((labels[rows] - table["atoms_predicted"][rows]) ** 2))
        assert scores[part]["tasks"]["atoms"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    means = [labels[fold["train"]].mean() for fold in folds]
    constant = np.sqrt(np.mean((labels[test] - np.mean(means)) ** 2))
    assert scores["mean_predictor"]["test"]["tasks"]["atoms"]["rmse"] == pytest.approx(constant)
    assert scores["rows"] == {"train": 0, "validation": 15, "test": 3}
    assert len(json.loads((tmp_path / "m" / "calibration.json").read_text())["tasks"]["atoms"]["residuals"]) == 15
    rows = read_results(tmp_path / "m").split
    assert rows.groupby("split").size().to_dict() == {"test": 3, "validation": 15}


def test_the_bar_of_each_run_says_which_it_is(tmp_path, capfd):
    settings = QUICK | {"training": CONFIG.replace(max_epochs=1), "compute": mb.Compute()}
    finetune_seeds(chains(24), parts(chains(24)), tmp_path / "m", seeds=2, **settings)
    shown = capfd.readouterr().err
    assert "seed-0 (1/2)" in shown
    assert "seed-1 (2/2)" in shown
