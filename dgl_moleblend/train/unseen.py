"""What several models say of rows that they did not learn from: one table, scores, those of the mean predictor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.models.scores import score, score_constants
from dgl_moleblend.predict.calibrated import held_out
from dgl_moleblend.predict.calibration import deviation_column
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.train.result import FinetuneResult


def to_scores(
    table: pd.DataFrame,
    names: Sequence[str],
    task_type: str,
    scale: Sequence[float] | np.ndarray,
    judge: Callable[..., dict[str, Any]] = score,
) -> dict[str, Any]:
    """Score the predictions of a table like predictions.csv."""
    values = table[[predicted(name) for name in names]].to_numpy(float)
    return judge(values, table[list(names)].to_numpy(float), task_type, names, [*scale])


def with_deviations(table: pd.DataFrame, tables: Sequence[pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """Add how far off the mean of several models of a regression may be: what they differ by, and say of themselves."""
    columns = [deviation_column(name) for name in names]
    known = held_out(tables)[["row", *columns]].dropna(axis="columns", how="all")
    return table.drop(columns=columns, errors="ignore").merge(known, on="row", how="left", validate="1:1")


def apart(
    results: Mapping[str, FinetuneResult], names: Sequence[str], means: np.ndarray, word: str
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put together test rows that each model predicted for itself: a table with the number of the model, scores."""
    tables = [
        result.predictions[result.predictions["split"] == "test"].assign(**{word: k})
        for k, result in enumerate(results.values())
    ]
    table = pd.concat(tables, ignore_index=True).sort_values("row", kind="stable", ignore_index=True)
    task_type = next(iter(results.values())).metrics["task_type"]
    scale = np.mean([result.metrics["label_scale"] for result in results.values()], axis=0)  # of the trainings
    constant = table.assign(**{predicted(name): means[table[word], k] for k, name in enumerate(names)})
    scores: dict[str, Any] = {
        "out_of_fold": to_scores(table, names, task_type, scale),
        "mean_predictor": {"out_of_fold": to_scores(constant, names, task_type, scale, score_constants)},
    }
    return table, scores


def beside_test(
    results: Mapping[str, FinetuneResult], names: Sequence[str], means: np.ndarray
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score rows that the folds share as test by the mean of all models, the others by the model that held them out."""
    tables = [result.predictions.assign(fold=float(k)) for k, result in enumerate(results.values())]
    tests = [table[table["split"] == "test"].sort_values("row", ignore_index=True) for table in tables]
    task_type = next(iter(results.values())).metrics["task_type"]
    test = tests[0].assign(fold=np.nan)
    for name in map(predicted, names):
        test[name] = np.mean([one[name] for one in tests], axis=0)
    if all("similarity" in one for one in tests):  # to the nearest molecule that any of them learned from
        test["similarity"] = np.max([one["similarity"] for one in tests], axis=0)
    unseen = [table[table["split"] == "validation"] for table in tables]
    table = pd.concat([*unseen, test], ignore_index=True).sort_values("row", ignore_index=True)
    if task_type == "regression":
        table = with_deviations(table, tables, names)
    scale = np.mean([result.metrics["label_scale"] for result in results.values()], axis=0)
    constant = table.copy()
    fold = table["fold"].fillna(len(tables)).astype(int)
    for k, name in enumerate(names):
        constant[predicted(name)] = np.append(means[:, k], means[:, k].mean())[fold]
    scores: dict[str, Any] = {"mean_predictor": {}, "rows": {"train": 0}}
    for part in ("validation", "test"):
        shown = table["split"] == part
        scores[part] = to_scores(table[shown], names, task_type, scale)
        scores["mean_predictor"][part] = to_scores(constant[shown], names, task_type, scale, score_constants)
        scores["rows"][part] = int(shown.sum())
    return table, scores
