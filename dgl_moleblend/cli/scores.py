"""Scores as the tables that `finetune` prints."""

from collections.abc import Mapping, Sequence
from typing import Any


def candidates_to_text(metrics: Mapping[str, Any]) -> str:
    """Write the scores of all that were compared, and of their weighted mean, as a table."""
    names = _shown(metrics["test"])
    table = [["", *(f"cv {name}" for name in names), *(f"test {name}" for name in names), "weight", "s"]]
    rows = {**metrics["candidates"], "weighted mean": {**metrics, "weight": 1.0, "seconds": None}}
    for label, row in rows.items():
        cells = [cell(row[part][name]) for part in ("cross_validation", "test") for name in names]
        weight = f"{row['weight']:.2f}" if row["weight"] else "-"
        table.append([label, *cells, weight, "" if row["seconds"] is None else f"{row['seconds']:.0f}"])
    return "\n".join([*aligned(table), *(f"left out: {name} ({why})" for name, why in metrics["skipped"].items())])


def to_text(metrics: Mapping[str, Any]) -> str:
    """Write scores as a table: one row a score, beside those of a model that predicts the mean."""
    names = _shown(metrics["test"])
    chosen = str(metrics.get("chosen_by"))  # the score that chose the weights
    names += [chosen] * (chosen in metrics["test"]["left_out"] and chosen not in names)
    columns = (metrics["validation"], metrics["test"], metrics["mean_predictor"]["test"])
    tasks = _each_task(metrics["test"])
    table = [["", "validation", "test", "mean predictor, test"]]
    table += [[name, *(cell(column[name]) for column in columns)] for name in names]
    table += [[f"rmse {task}", *(cell(column["tasks"][task]["rmse"]) for column in columns)] for task in tasks]
    lines = aligned(table)
    for k, name in enumerate(names, 1):
        if left_out := metrics["test"]["left_out"].get(name):
            lines[k] += f"   ({left_out} of {len(metrics['test']['tasks'])} tasks have no test {name})"
    return "\n".join([*lines, *_explain_scaled(names)])


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    r"""Write rows of cells as lines: the first cell on the left, the others on the right of columns as wide as needed.

    Examples
    --------
    >>> print(*aligned([["", "test"], ["rmse", "12911.3"], ["r2", "0.5000"]]), sep="\n")
             test
    rmse  12911.3
    r2     0.5000
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    ]


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
    table = [[f"{len(metrics['runs'])} runs", "validation", "test", title, "mean predictor"]]
    names = _shown(metrics[together])
    both = (metrics[together], metrics["mean_predictor"][together])
    for name in names:
        cells = [
            f"{cell(metrics['mean'][part][name])} +- {cell(metrics['deviation'][part][name])}"
            for part in ("validation", "test")
        ]
        table.append([name, *cells, *(cell(scores[name]) for scores in both)])
    table += [
        [f"rmse {task}", "", "", *(cell(scores["tasks"][task]["rmse"]) for scores in both)]
        for task in _each_task(metrics[together])
    ]
    return "\n".join([*aligned(table), *_explain_scaled(names)])


def cell(value: float | None) -> str:
    """Write a score: four decimals, fewer where more than two digits stand before them.

    >>> cell(0.5), cell(-12.34567), cell(1715.70161), cell(1e9), cell(None)
    ('0.5000', '-12.3457', '1715.70', '1000000000', '-')
    """
    return "-" if value is None else f"{value:.{min(4, max(0, 6 - len(f'{abs(value):.0f}')))}f}"
