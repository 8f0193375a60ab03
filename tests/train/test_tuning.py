"""The search for settings: by validation rows alone, the same again, and going on where it was interrupted."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Callback
from tables import QUIET, chains, parts, watched

import dgl_moleblend as mb
from dgl_moleblend.errors import CheckpointError, DataError, MoleBlendError
from dgl_moleblend.train import tuning
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.run import close_run, is_finished, open_run
from dgl_moleblend.train.start import Start
from dgl_moleblend.train.tuning import search_space, tune

CONFIG = mb.TrainingConfig(max_epochs=1, batch_size=4)
QUICK = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET}


PLAN = RunPlan.of("finetuning", chains(4), start=Start.of(mb.EncoderConfig.tiny()), training=CONFIG, compute=QUIET)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("tuning") / "m"
    dataset = chains(20)
    return out, tune(dataset, parts(dataset), out, trials=3, **QUICK)


def test_the_best_validation_score_is_found(found):
    out, result = found
    table = pd.read_csv(out / "trials.csv")
    assert table["trial"].tolist() == [0, 1, 2]
    best = table.loc[table["score"].idxmin()]
    assert result.training.learning_rate == pytest.approx(best["learning_rate"])
    assert (result.model.readout, result.model.dropout) == (best["readout"], best["dropout"])
    for k in range(3):
        folder = out / "trials" / f"{k:03d}"
        assert table["score"][k] == pytest.approx(json.loads((folder / "metrics.json").read_text())["best"])
        training = json.loads((folder / "run.json").read_text())["settings"]["training"]
        assert training["learning_rate"] == pytest.approx(table["learning_rate"][k])


def test_no_trial_sees_a_test_row(found):
    out, _ = found
    for file in out.glob("trials/*/split.csv"):
        assert set(pd.read_csv(file)["split"]) == {"train", "validation"}


def test_a_trial_leaves_what_its_score_needs_and_no_report(found):
    out, _ = found
    for k in range(3):
        files = {path.name for path in (out / "trials" / f"{k:03d}").iterdir()}
        assert files >= {"run.json", "metrics.json", "predictions.csv"}
        assert not files & {"report.html", "curves.png", "parity.png", "training_set.npz", "calibration.json"}


def test_a_score_that_is_better_when_higher(tmp_path):
    dataset = chains(40, task_type="classification")
    result = tune(dataset, parts(dataset, 10, 10), tmp_path / "m", trials=3, **QUICK)
    best = result.trials.loc[result.trials["score"].idxmax()]
    assert set(result.trials["metric"]) == {"roc_auc"}
    assert (
        best["score"]
        in result.trials["score"][result.trials["learning_rate"] == result.training.learning_rate].tolist()
    )


class Interrupt(Callback):
    """Presses Ctrl-C in the third run that it sees."""

    def __init__(self):
        self.runs = 0

    def on_train_start(self, trainer, module):
        self.runs += 1
        if self.runs == 3:
            raise KeyboardInterrupt


def watch(monkeypatch):
    """List the trials that are trained."""
    trained, original = [], tuning.finetune
    monkeypatch.setattr(tuning, "finetune", lambda d, s, o, **k: trained.append(o.name) or original(d, s, o, **k))
    return trained


def test_an_interrupted_search_goes_on_and_repeats_nothing(found, tmp_path, monkeypatch):
    _, whole = found
    dataset, out = chains(20), tmp_path / "m"
    with pytest.raises(KeyboardInterrupt):
        tune(dataset, parts(dataset), out, trials=3, **QUICK | watched(Interrupt()))
    with pytest.raises(DataError, match="run that did not finish"):
        tune(dataset, parts(dataset), out, trials=3, **QUICK)
    trained = watch(monkeypatch)
    again = tune(dataset, parts(dataset), out, trials=3, resume=True, **QUICK)
    assert trained == ["002"]
    pd.testing.assert_frame_equal(again.trials, whole.trials)
    assert again.training == whole.training
    tune(dataset, parts(dataset), out, trials=3, resume=True, **QUICK)
    assert trained == ["002"]


@pytest.fixture
def finished(found, tmp_path):
    """A copy of the search of three trials, and beside it a model of its best settings."""
    out = shutil.copytree(found[0], tmp_path / "m")
    open_run(out, PLAN)
    close_run(out)
    (out / "notes.txt").write_text("mine")
    return out


def test_a_finished_search_goes_on_with_more_trials(finished, tmp_path, monkeypatch):
    dataset = chains(20)
    whole = tune(dataset, parts(dataset), tmp_path / "whole", trials=5, **QUICK)
    trained = watch(monkeypatch)
    callback = Interrupt()
    callback.runs = 1  # the second run that it sees: the last trial
    with pytest.raises(KeyboardInterrupt):
        tune(dataset, parts(dataset), finished, trials=5, resume=True, **QUICK | watched(callback))
    assert is_finished(finished)  # the model is there until there is a better one to fit
    longer = tune(dataset, parts(dataset), finished, trials=5, resume=True, **QUICK)
    assert trained == ["003", "004", "004"]
    pd.testing.assert_frame_equal(longer.trials, whole.trials)
    assert longer.training == whole.training
    assert is_finished(finished) is None
    assert {path.name for path in finished.iterdir()} == {"notes.txt", "trials", "trials.csv"}


def test_a_finished_search_that_is_read_leaves_its_model(finished, monkeypatch):
    dataset, trained = chains(20), watch(monkeypatch)
    tune(dataset, parts(dataset), finished, trials=3, resume=True, **QUICK)
    assert not trained
    assert is_finished(finished)


def test_a_search_cannot_have_fewer_trials_than_are_finished(finished):
    dataset = chains(20)
    words = (
        r"2 trials are asked for, and the search has finished 3[\s\S]*fix: +resume with --trials 3 or more, or .*anew"
    )
    with pytest.raises(DataError, match=words):
        tune(dataset, parts(dataset), finished, trials=2, resume=True, **QUICK)
    assert is_finished(finished)
    assert len(tune(dataset, parts(dataset), finished, trials=2, overwrite=True, **QUICK).trials) == 2


def test_a_search_goes_on_with_the_same_settings_only(finished):
    dataset, other = chains(20), {**QUICK, "training": CONFIG.replace(seed=1)}
    with pytest.raises(CheckpointError, match=r"training.seed is 1, expected 0"):
        tune(dataset, parts(dataset), finished, trials=4, resume=True, **other)
    assert is_finished(finished)
    assert is_finished(finished / "trials")


@pytest.mark.parametrize("damage", [lambda b: b"junk" * 99, lambda b: b[:3000]])
def test_a_damaged_storage_is_named(finished, damage):
    file = finished / "trials" / "study.db"
    file.write_bytes(damage(file.read_bytes()))
    dataset = chains(20)
    with pytest.raises(CheckpointError, match=r"the search cannot be read[\s\S]*study\.db[\s\S]*--overwrite"):
        tune(dataset, parts(dataset), finished, trials=4, resume=True, **QUICK)


def test_a_finished_search_of_other_data_is_not_read_as_this_one(finished):
    dataset = chains(20, seed=1)
    with pytest.raises(CheckpointError, match="the molecules are not those of the interrupted run"):
        tune(dataset, parts(dataset), finished, trials=3, resume=True, **QUICK)


def test_a_trial_that_fails_is_written_down_and_the_others_go_on(tmp_path, monkeypatch):
    original = tuning.finetune

    def fail_first(dataset, split, out, **settings):
        if out.name == "000":
            raise MoleBlendError("predictions are no longer finite after epoch 1")
        return original(dataset, split, out, **settings)

    dataset = chains(20)
    monkeypatch.setattr(tuning, "finetune", fail_first)
    result = tune(dataset, parts(dataset), tmp_path / "m", trials=2, **QUICK)
    assert np.isnan(result.trials["score"][0])
    assert "no longer finite" in result.trials["error"][0]
    assert result.training.learning_rate == result.trials["learning_rate"][1]


def test_layer_decay_is_searched_for_a_pretrained_encoder_only():
    assert set(search_space(pretrained=True)) - set(search_space(pretrained=False)) == {"layer_decay"}
