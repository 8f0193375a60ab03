"""Parts of a report: its commands are such as work, its settings those that were used, as they are."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dgl_moleblend.config import FeaturizerConfig, TrainingConfig
from dgl_moleblend.predict.calibration import Calibration
from dgl_moleblend.predict.intervals import TaskCalibration
from dgl_moleblend.report.sections import settings, usage


@pytest.mark.parametrize(
    ("extra", "columns", "shown"),
    [
        ({}, [], ["molecules.csv -o", "-s 'CCO'", "inspect -s 'CCO'"]),
        ({"smiles_columns": ["a", "b"]}, [], ["molecules.csv -o"]),
        ({}, ["dose"], ["molecules.csv -o", "inspect -s 'CCO'"]),
        ({"featurizer": {"positions": "given"}}, [], ["molecules.sdf -o", "inspect molecules.sdf"]),
    ],
)
def test_commands_are_those_that_work(extra, columns, shown):
    extra = {"featurizer": {"positions": "none"}, **extra}
    run = SimpleNamespace(folder=Path("my model"), extra=extra, settings={"work": {"columns": columns}})
    found = usage(run, "'my model/network-0'")
    assert [words in line for words, line in zip(shown, found["lines"], strict=True)] == [True] * len(shown)
    assert "'my model'" in found["lines"][0]
    assert (found["molecules"], found["columns"]) == (extra.get("smiles_columns", []), columns)


def results(candidates=(), positions="none", calibration=None):
    start = {"from": "mini"} if {"frozen", "network"} & {*candidates} else None
    chosen = {"training": TrainingConfig(learning_rate=3e-4).to_dict(), "start": start}
    return SimpleNamespace(extra={"featurizer": FeaturizerConfig(positions).to_dict()}, model={}, settings=chosen,
                           versions={"torch": "2.4.0"}, metrics={}, candidates={name: {} for name in candidates},
                           calibration=calibration)  # fmt: skip


def test_keys_with_dots_stay_whole_and_numbers_are_short():
    covered = {"0.5": 0.25, "0.95": 1 / 3}
    task = TaskCalibration(3, (0.1234567, 1.0, 2.0), test={"rows": 4, "covered": covered, "folds": [{"rows": 4}]},
                           deviations=(0.123456789012345, 1.0, 1 / 3))  # fmt: skip
    shown = settings(results(calibration=Calibration("regression", {"log P 1.5": task}, "kernel")))["Calibration"]
    assert shown == {
        "task type": "regression", "deviation of": "kernel", "tasks: log P 1.5: rows": "3",
        "tasks: log P 1.5: residuals": "0.1235, 1, 2", "tasks: log P 1.5: deviations": "0.1235, 1, 0.3333",
        "tasks: log P 1.5: test: rows": "4", "tasks: log P 1.5: test: folds": "1 value",
        "tasks: log P 1.5: test: covered: 0.5": "0.25", "tasks: log P 1.5: test: covered: 0.95": "0.3333",
    }  # fmt: skip


def test_settings_of_what_was_not_done_are_left_out():
    assert settings(results())["Training"]["learning rate"] == "0.0003"
    fast = settings(results(["mean", "forest", "kernel"]))
    assert fast["Training"] == {"seed": "0"}
    assert "Model" not in fast
    assert settings(results(["mean", "frozen"]))["Model"] == {"started from": "mini"}
    assert "epochs at most" in settings(results(["mean", "network"]))["Training"]
    assert {*fast["Input of the model"]} == {"positions", "chirality"}
    embedded = settings(results(positions="embed"))["Input of the model"]
    assert {"positions", "num conformers", "optimize", "timeout", "seed"} <= {*embedded}
