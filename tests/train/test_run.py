"""A run's folder: what is there is respected, a damaged one is named, and the plan is what it remembers."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tables import QUIET, chains

import dgl_moleblend as mb
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.run import check_folder, close_run, open_run, read_run
from dgl_moleblend.train.start import Start

CONFIG = mb.TrainingConfig(max_epochs=3)
PLAN = RunPlan.of("finetuning", chains(4), start=Start.of(mb.EncoderConfig.tiny()), training=CONFIG, compute=QUIET)


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    open_run(tmp_path, PLAN)
    with pytest.raises(
        DataError, match=r"run that did not finish[\s\S]*--overwrite \(overwrite=True\) or --resume \(resume=True\)$"
    ):
        open_run(tmp_path, PLAN)
    close_run(tmp_path)
    with pytest.raises(DataError, match=r"already holds a finished run[\s\S]*--overwrite \(overwrite=True\)$"):
        open_run(tmp_path, PLAN)
    with pytest.raises(DataError, match="there is nothing to resume"):
        open_run(tmp_path, PLAN, resume=True)


def test_overwriting_deletes_the_run_and_nothing_else(tmp_path):
    open_run(tmp_path, PLAN)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("rejects.csv", "report.html", "calibration.json"):  # the next run may have none
        (tmp_path / name).touch()
    open_run(tmp_path, PLAN, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_resuming_with_another_plan_names_what_differs(tmp_path):
    open_run(tmp_path, PLAN)
    free = dataclasses.replace(PLAN, compute=QUIET.replace(workers=7, accelerator="cpu"))
    open_run(tmp_path, free, resume=True)
    other = dataclasses.replace(PLAN, training=CONFIG.replace(seed=1))
    with pytest.raises(CheckpointError, match=r"training.seed is 1, expected 0"):
        open_run(tmp_path, other, resume=True)


STAYS = dataclasses.replace(PLAN, training=CONFIG.replace(schedule="constant", patience=2))


def grown(**changes):
    return dataclasses.replace(STAYS, training=STAYS.training.replace(**changes))


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    "changes", [{"max_epochs": 4}, {"patience": 3}, {"patience": 0}, {"max_epochs": 9, "patience": 9}]
)
def test_more_epochs_and_patience_are_no_other_plan_where_the_rate_stays(tmp_path, finished, changes):
    open_run(tmp_path, STAYS)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    if finished:
        close_run(tmp_path)
    open_run(tmp_path, grown(**changes), resume=True)
    assert read_run(tmp_path) == {**read_run(tmp_path), "settings": grown(**changes).to_dict(), "finished": False}
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_epochs": 2}, "training.max_epochs is 2, expected 3"),
        ({"patience": 1}, "training.patience is 1, expected 2"),
        ({"max_steps": 9}, "training.max_steps is 9, expected -1"),
        ({"max_epochs": 4, "learning_rate": 1e-5}, "training.learning_rate is 1e-05, expected 0.0001"),
    ],
)
def test_whatever_else_changes_is_refused_by_name(tmp_path, changes, words):
    open_run(tmp_path, STAYS)
    with pytest.raises(CheckpointError, match=words):
        open_run(tmp_path, grown(**changes), resume=True)


def test_a_cosine_ends_with_its_epochs(tmp_path):
    longer = dataclasses.replace(PLAN, training=CONFIG.replace(max_epochs=4))
    open_run(tmp_path, PLAN)
    with pytest.raises(CheckpointError, match=r"max_epochs is 4, expected 3[\s\S]*--schedule constant"):
        open_run(tmp_path, longer, resume=True)
    close_run(tmp_path)
    with pytest.raises(DataError, match=r"its learning rate has come to 0[\s\S]*--schedule constant"):
        open_run(tmp_path, longer, resume=True)


def test_a_run_that_an_earlier_version_began_is_refused_in_words(tmp_path):
    (tmp_path / "run.json").write_text('{"settings": {"encoder": {}}, "versions": {}, "finished": false}')
    with pytest.raises(CheckpointError, match=r"another version of this package began the run[\s\S]*run\.json"):
        open_run(tmp_path, PLAN, resume=True)


def test_a_folder_that_cannot_be_written_is_said_with_where_and_how(tmp_path):
    with pytest.raises(DataError, match=r"results cannot be written there[\s\S]*where: /proc/nope[\s\S]*fix: "):
        check_folder(Path("/proc/nope"))
    check_folder(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="no run to resume"):
        open_run(tmp_path, PLAN, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="this is a file"):
        open_run(tmp_path / "file", PLAN)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="already holds a model"):
        open_run(tmp_path, PLAN)


def test_run_file_says_what_made_it(tmp_path):
    open_run(tmp_path, PLAN)
    close_run(tmp_path)
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["settings"] == PLAN.to_dict()
    assert run["finished"] is True
    assert run["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


@pytest.mark.parametrize("text", ["", '{"settings": {', "[]", '{"finished": true}', "[" * 100_000])
def test_a_damaged_run_file_is_named_and_can_be_overwritten(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    for again in ({}, {"resume": True}):
        with pytest.raises(CheckpointError, match=r"run\.json cannot be read: [\s\S]*run\.json[\s\S]*--overwrite"):
            open_run(tmp_path, PLAN, **again)
    open_run(tmp_path, PLAN, overwrite=True)
