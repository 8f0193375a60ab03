"""The tables that `finetune` prints fit a terminal."""

import pytest

from dgl_moleblend.cli import sites
from dgl_moleblend.cli.scores import candidates_to_text, runs_to_text, to_text
from dgl_moleblend.models.scores import METRICS, main_metrics


@pytest.mark.parametrize(("task_type", "tasks"), [("regression", 1), ("regression", 2), ("classification", 1)])
def test_a_comparison_fits_a_hundred_columns(task_type, tasks):
    names = main_metrics(task_type, tasks)
    scores = {
        **dict.fromkeys((*METRICS[task_type], *names), -123.45678),
        "left_out": dict.fromkeys(METRICS[task_type], 0),
    }
    parts = {"cross_validation": scores, "test": scores}
    metrics = {**parts, "candidates": {"kernel": {**parts, "weight": 1.0, "seconds": 12345.0}}, "skipped": {}}
    lines = candidates_to_text(metrics).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= 100
    assert [word for word in lines[0].split() if word in names] == [*names, *names]


@pytest.mark.parametrize(("value", "shown"), [(1715.70161, "1715.70"), (-123456.78, "-123457"), (1e12, "1" + "0" * 12)])
@pytest.mark.parametrize("tasks", [["y"], ["y", "another property"]])
def test_columns_stay_apart_at_any_size(value, shown, tasks):
    names = {*METRICS["regression"], *main_metrics("regression", len(tasks))}
    one = dict.fromkeys(names, value)
    scores = {**one, "left_out": dict.fromkeys(METRICS["regression"], 0), "tasks": dict.fromkeys(tasks, one)}
    parts = dict.fromkeys(("validation", "test", "cross_validation"), scores)
    several = {"runs": {"a": 0, "b": 0}, "mean": parts, "deviation": parts}
    metrics = {**parts, **several, "mean_predictor": parts, "skipped": {}, "level": "atom", "mean_by_kind": parts,
               "candidates": {"kernel": {**parts, "weight": 0.5, "seconds": 1e6}}}  # fmt: skip
    for table in (to_text, runs_to_text, candidates_to_text, sites.to_text):
        text = table(metrics)
        assert text.split().count(shown) == text.count(shown) > 0, table
