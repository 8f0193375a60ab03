"""The tables that `finetune` prints fit a terminal."""

import pytest

from dgl_moleblend.cli.scores import candidates_to_text
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
