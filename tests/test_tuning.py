"""The search for settings: by validation rows alone, the same again, and going on where it was interrupted."""

import json

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Callback
from tables import chains, parts

import dgl_moleblend as mb
from dgl_moleblend import tuning
from dgl_moleblend.errors import DataError, MoleBlendError
from dgl_moleblend.tuning import search_space, tune

CONFIG = mb.TrainingConfig(max_epochs=1, batch_size=4)
QUICK = {"encoder": mb.EncoderConfig.tiny(), "training_config": CONFIG, "progress": False}


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
    assert result.training_config.learning_rate == pytest.approx(best["learning_rate"])
    assert result.predictor == {"readout": best["readout"], "dropout": best["dropout"]}
    for k in range(3):
        trial = json.loads((out / "trials" / f"{k:03d}" / "trial.json").read_text())
        metrics = json.loads((out / "trials" / f"{k:03d}" / "metrics.json").read_text())
        assert trial["score"] == metrics["validation"]["rmse"] or trial["score"] == metrics["best"]
        assert trial["settings"]["learning_rate"] == pytest.approx(table["learning_rate"][k])


def test_no_trial_sees_a_test_row(found):
    out, _ = found
    for file in out.glob("trials/*/split.csv"):
        assert set(pd.read_csv(file)["split"]) == {"train", "validation"}


def test_a_score_that_is_better_when_higher(tmp_path):
    dataset = chains(40, task_type="classification")
    result = tune(dataset, parts(dataset, 10, 10), tmp_path / "m", trials=3, **QUICK)
    best = result.trials.loc[result.trials["score"].idxmax()]
    assert set(result.trials["metric"]) == {"roc_auc"}
    assert (
        best["score"]
        in result.trials["score"][result.trials["learning_rate"] == result.training_config.learning_rate].tolist()
    )


class Interrupt(Callback):
    """Presses Ctrl-C in the third run that it sees."""

    def __init__(self):
        self.runs = 0

    def on_train_start(self, trainer, module):
        self.runs += 1
        if self.runs == 3:
            raise KeyboardInterrupt


def test_an_interrupted_search_goes_on_and_repeats_nothing(found, tmp_path, monkeypatch):
    _, whole = found
    dataset, out = chains(20), tmp_path / "m"
    with pytest.raises(KeyboardInterrupt):
        tune(dataset, parts(dataset), out, trials=3, callbacks=[Interrupt()], **QUICK)
    with pytest.raises(DataError, match="run that did not finish"):
        tune(dataset, parts(dataset), out, trials=3, **QUICK)
    trained = []
    original = tuning.finetune
    monkeypatch.setattr(tuning, "finetune", lambda d, s, o, **k: trained.append(o.name) or original(d, s, o, **k))
    again = tune(dataset, parts(dataset), out, trials=3, resume=True, **QUICK)
    assert trained == ["002"]
    pd.testing.assert_frame_equal(again.trials, whole.trials)
    assert again.training_config == whole.training_config
    tune(dataset, parts(dataset), out, trials=3, resume=True, **QUICK)
    assert trained == ["002"]


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
    assert result.training_config.learning_rate == result.trials["learning_rate"][1]


def test_layer_decay_is_searched_for_a_pretrained_encoder_only():
    assert set(search_space(pretrained=True)) - set(search_space(pretrained=False)) == {"layer_decay"}
