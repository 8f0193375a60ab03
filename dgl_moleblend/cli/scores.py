"""Scores as the tables that `finetune` prints."""

from collections.abc import Mapping
from typing import Any


def candidates_to_text(metrics: Mapping[str, Any]) -> str:
    """Write the scores of all that were compared, and of their weighted mean, as a table."""
    names = _shown(metrics["test"])
    header = [f"cv {name}" for name in names] + [f"test {name}" for name in names]
    widths = [max(len(text), 7) + 2 for text in header]
    lines = [f"{'':14}" + _row(header, widths) + f"{'weight':>8}{'s':>6}"]
    rows = {**metrics["candidates"], "weighted mean": {**metrics, "weight": 1.0, "seconds": None}}
    for label, row in rows.items():
        cells = [_cell(row[part][name]) for part in ("cross_validation", "test") for name in names]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        weight = f"{row['weight']:.2f}" if row["weight"] else "-"
        lines.append(f"{label:14}" + _row(cells, widths) + f"{weight:>8}{seconds:>6}")
    lines += [f"left out: {name} ({why})" for name, why in metrics["skipped"].items()]
    return "\n".join(lines)


def to_text(metrics: Mapping[str, Any]) -> str:
    """Write scores as a table: one row a score, beside those of a model that predicts the mean."""
    names = _shown(metrics["test"])
    chosen = str(metrics.get("chosen_by"))  # the score that chose the weights
    names += [chosen] * (chosen in metrics["test"]["left_out"] and chosen not in names)
    columns = (metrics["validation"], metrics["test"], metrics["mean_predictor"]["test"])
    tasks = _each_task(metrics["test"])
    width = 1 + max(7, *map(len, names), *(len(f"rmse {task}") for task in tasks))
    lines = [f"{'':{width}}{'validation':>12}{'test':>12}{'mean predictor, test':>24}"]
    for name in names:
        cells = [_cell(column[name]) for column in columns]
        lines.append(f"{name:{width}}{cells[0]:>12}{cells[1]:>12}{cells[2]:>24}")
        if left_out := metrics["test"]["left_out"].get(name):
            lines[-1] += f"   ({left_out} of {len(metrics['test']['tasks'])} tasks have no test {name})"
    for task in tasks:
        cells = [_cell(column["tasks"][task]["rmse"]) for column in columns]
        lines.append(f"{f'rmse {task}':{width}}{cells[0]:>12}{cells[1]:>12}{cells[2]:>24}")
    return "\n".join([*lines, *_explain_scaled(names)])


def _shown(scores: Mapping[str, Any]) -> list[str]:
    """Return the scores that a table has room for; metrics.json has the others, too."""
    from dgl_moleblend.models.scores import SCALED, main_metrics

    if "roc_auc" in scores["left_out"]:
        return list(scores["left_out"])[:3]
    return list(main_metrics("regression", 2 if SCALED in scores else 1))


def _each_task(scores: Mapping[str, Any]) -> list[str]:
    """Return the tasks whose errors are written in their own units, since one number for all has none."""
    return list(scores["tasks"]) if "scaled" in scores else []


def _explain_scaled(names: list[str]) -> list[str]:
    return ["scaled: mean RMSE, each in units of its property's deviation among the training rows"] * (
        "scaled" in names
    )


def runs_to_text(metrics: Mapping[str, Any]) -> str:
    """Write scores of several runs: mean and deviation, then all of them together, beside the mean predictor."""
    together = "out_of_fold" if "out_of_fold" in metrics else "test"
    title = "all test rows" if together == "out_of_fold" else "test, of the mean"
    lines = [f"{len(metrics['runs'])} runs{'validation':>20}{'test':>20}{title:>20}{'mean predictor':>20}"]
    names = _shown(metrics[together])
    for name in names:
        cells = [
            f"{_cell(metrics['mean'][part][name])} +- {_cell(metrics['deviation'][part][name])}"
            for part in ("validation", "test")
        ]
        cells += [_cell(metrics[together][name]), _cell(metrics["mean_predictor"][together][name])]
        lines.append(f"{name:8}{cells[0]:>18}" + "".join(f"{cell:>20}" for cell in cells[1:]))
    for task in _each_task(metrics[together]):
        scores = [one["tasks"][task]["rmse"] for one in (metrics[together], metrics["mean_predictor"][together])]
        lines.append(f"{f'rmse {task}':46}" + "".join(f"{_cell(value):>20}" for value in scores))
    return "\n".join([*lines, *_explain_scaled(names)])


def _row(cells: list[str], widths: list[int]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
