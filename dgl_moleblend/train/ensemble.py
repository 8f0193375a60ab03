"""Several fine-tuning runs in one folder: seeds of one split, or folds; what they score alone and together."""

import shutil
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgl_moleblend.config import EncoderConfig, TrainingConfig, check
from dgl_moleblend.folder import CONFIG_FILE, ENSEMBLE_FILE, RUN_FILE, read_json, write_json
from dgl_moleblend.models.targets import METRICS, score, shared_metrics
from dgl_moleblend.predict.calibration import write_calibration
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.page import write_report
from dgl_moleblend.schema import RELATIONS
from dgl_moleblend.train.finetune import SPLITS, FinetuneResult, check_request, finetune, split_facts, split_table
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import close_run, is_finished, open_run, write_table
from dgl_moleblend.train.plan import describe_data
from dgl_moleblend.train.start import describe_start, keep_start

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset


@holds_its_folder
def finetune_seeds(
    dataset: "MoleculeDataset",
    split: Mapping[str, Sequence[int] | np.ndarray],
    out: str | PathLike[str],
    *,
    seeds: int,
    facts: Mapping[str, object] | None = None,
    **settings: Any,
) -> FinetuneResult:
    """Fit a model for each of several seeds on one split, into ``seed-0``, ``seed-1``, ..; then judge their mean.

    `out` itself receives the list of models (ensemble.json) and, of their mean, metrics.json, predictions.csv,
    calibration.json and report.html; and split.csv, the part of every row, which they share.

    Parameters
    ----------
    dataset, split, out, facts
        See `dgl_moleblend.train.finetune.finetune`.
    seeds : int
        At least 2; the first is that of the training config.
    **settings
        Further arguments of `finetune`. With ``resume=True`` runs that are finished are kept, and the interrupted one
        goes on.

    Returns
    -------
    FinetuneResult
        Scores "validation" and "test" and predictions are those of the mean prediction; "mean" and "deviation" of the
        single runs.

    Raises
    ------
    DataError, CheckpointError
        As `finetune`.
    """
    check(seeds >= 2, "seeds", seeds, "at least 2")
    config = settings.pop("training_config", None) or TrainingConfig()
    runs = {
        f"seed-{config.seed + k}": (split, config.replace(seed=config.seed + k), dict(facts or {}))
        for k in range(seeds)
    }
    out = Path(out)
    results = _finetune_each(dataset, runs, out, settings)
    tables = [result.predictions for result in results.values()]
    table = tables[0].copy()
    columns = [predicted(name) for name in dataset.task_names]
    table[columns] = np.mean([one[columns].to_numpy(float) for one in tables], axis=0)
    first = next(iter(results.values())).metrics
    scores: dict[str, Any] = {
        name: _score(table[table["split"] == name], dataset.task_names, first["task_type"], first["label_scale"])
        for name in SPLITS[1:]
    }
    scores["mean_predictor"] = first["mean_predictor"]
    divided = split_table(dataset, {name: np.asarray(split.get(name, ()), np.int64) for name in SPLITS})
    return _finish(out, results, scores, table, divided, split_facts(facts or {}))


@holds_its_folder
def finetune_folds(
    dataset: "MoleculeDataset",
    folds: Sequence[Mapping[str, Sequence[int] | np.ndarray]],
    out: str | PathLike[str],
    *,
    facts: Sequence[Mapping[str, object]] | None = None,
    **settings: Any,
) -> FinetuneResult:
    """Fit a model for each fold, into ``fold-0``, ``fold-1``, ..; then score the test rows of all folds together.

    `out` itself receives what `finetune_seeds` leaves there, but of all test rows; its split.csv says in which fold
    each row is tested.

    Parameters
    ----------
    dataset, out
        See `dgl_moleblend.train.finetune.finetune`.
    folds : sequence of mappings
        Each as `split` of `finetune`; `dgl_moleblend.data.splits.split_into_folds` makes them.
    facts : sequence of mappings, optional
        Facts to keep with each fold's model.
    **settings
        As `finetune_seeds`.

    Returns
    -------
    FinetuneResult
        Scores "out_of_fold" of all test rows, each predicted by the model that never saw it, and "mean" and
        "deviation" of the folds; predictions of all test rows, with their fold.

    Raises
    ------
    DataError, CheckpointError
        As `finetune`.
    """
    check(len(folds) >= 2, "folds", len(folds), "at least 2")
    config = settings.pop("training_config", None) or TrainingConfig()
    known = [dict(fact) for fact in facts] if facts is not None else [{} for _ in folds]
    runs = {f"fold-{k}": (split, config, fact) for k, (split, fact) in enumerate(zip(folds, known, strict=True))}
    out = Path(out)
    results = _finetune_each(dataset, runs, out, settings)
    tables = [
        result.predictions[result.predictions["split"] == "test"].assign(fold=k)
        for k, result in enumerate(results.values())
    ]
    table = pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)
    task_type = next(iter(results.values())).metrics["task_type"]
    labels = dataset.labels.astype(np.float64)
    scale = np.mean([result.metrics["label_scale"] for result in results.values()], axis=0)  # of the folds' trainings
    means = np.stack([np.nanmean(labels[np.asarray(fold["train"], np.int64)], axis=0) for fold in folds])  # (folds, t)
    constant = table.assign(**{predicted(name): means[table["fold"], k] for k, name in enumerate(dataset.task_names)})
    scores: dict[str, Any] = {
        "out_of_fold": _score(table, dataset.task_names, task_type, scale),
        "mean_predictor": {"out_of_fold": _score(constant, dataset.task_names, task_type, scale)},
    }
    shared = {name: value for name, value in split_facts(known[0]).items() if name != "duplicates"}
    return _finish(out, results, scores, table, table[["row", "fold"]], shared | {"folds": len(folds)})


def _finetune_each(
    dataset: "MoleculeDataset",
    runs: Mapping[str, tuple[Mapping[str, Sequence[int] | np.ndarray], TrainingConfig, dict[str, object]]],
    out: Path,
    settings: Mapping[str, Any],
) -> dict[str, FinetuneResult]:
    """Do every run, or read those that are finished."""
    keep_start(out, settings.get("encoder"))
    settings = dict(settings)
    resume, overwrite = settings.pop("resume", False), settings.pop("overwrite", False)
    plan = {
        "runs": {name: config.to_dict() for name, (_, config, _) in runs.items()},
        "encoder": describe_start(settings.get("encoder") or EncoderConfig.small()),
        "relations": list(settings.get("relations", RELATIONS)),
        **{name: settings.get(name) for name in ("readout", "dropout", "task_type", "metric")},
        **describe_data(dataset, *(split for split, _, _ in runs.values())),
    }
    for split, config, _ in runs.values():
        check_request(dataset, split, settings.get("task_type"), settings.get("metric"), config)
    if overwrite and not resume:
        remove_runs(out)
    open_run(out, plan, resume=resume, overwrite=overwrite)
    results = {}
    for name, (split, config, facts) in runs.items():
        folder = out / name
        finished = is_finished(folder)
        if finished:
            results[name] = read_result(folder)
        else:
            results[name] = finetune(
                dataset, split, folder, training_config=config, facts=facts, resume=finished is False, **settings
            )
    return results


def remove_runs(out: Path) -> None:
    """Delete the models of several seeds, folds or kinds in a folder."""
    for pattern in ("seed-*", "fold-*", "network-*"):
        for file in out.glob(f"{pattern}/{RUN_FILE}"):
            shutil.rmtree(file.parent)
    for kind in ("forest", "trees", "kernel", "frozen"):
        if (out / kind / CONFIG_FILE).is_file():
            shutil.rmtree(out / kind)


def read_result(folder: Path) -> FinetuneResult:
    """Read back what a finished run gave."""
    metrics = read_json(folder / "metrics.json")
    table = pd.read_csv(folder / "predictions.csv", dtype={"id": str, "smiles": str}, keep_default_na=False,
                        na_values={})  # fmt: skip
    for name in table.columns.difference(["row", "id", "smiles", "split"]):
        table[name] = pd.to_numeric(table[name].replace("", np.nan))
    return FinetuneResult(folder, metrics, table)


def _score(
    table: pd.DataFrame, names: Sequence[str], task_type: str, scale: Sequence[float] | np.ndarray
) -> dict[str, Any]:
    values = table[[predicted(name) for name in names]].to_numpy(float)
    return score(values, table[list(names)].to_numpy(float), task_type, names, [*scale])


def _finish(
    out: Path,
    results: Mapping[str, FinetuneResult],
    scores: Mapping[str, Any],
    table: pd.DataFrame,
    divided: pd.DataFrame,
    facts: Mapping[str, object],
) -> FinetuneResult:
    """Write scores, predictions and how rows are divided; then the list of models, and what is made from these."""
    first = next(iter(results.values())).metrics
    metrics: dict[str, Any] = {name: first[name] for name in ("task_type", "metric")}
    metrics |= {**scores, **facts}
    metrics["runs"] = {name: _summary(result.metrics) for name, result in results.items()}
    metrics |= {"mean": {}, "deviation": {}}
    for part in SPLITS[1:]:
        columns = {
            metric: [run[part][metric] for run in metrics["runs"].values() if run[part][metric] is not None]
            for metric in _metrics_of(first)
        }
        metrics["mean"][part] = {m: float(np.mean(v)) if v else None for m, v in columns.items()}
        metrics["deviation"][part] = {m: float(np.std(v, ddof=1)) if len(v) > 1 else None for m, v in columns.items()}
    write_json(out / "metrics.json", metrics)
    write_table(out / "predictions.csv", table)
    write_table(out / "split.csv", divided)
    write_json(out / ENSEMBLE_FILE, {"models": list(results), "task_type": first["task_type"]})
    write_calibration(out)
    write_report(out)
    close_run(out)
    return FinetuneResult(out, metrics, table)


def _metrics_of(metrics: Mapping[str, Any]) -> list[str]:
    task_type, tasks = metrics["task_type"], len(metrics["test"]["tasks"])
    return list(dict.fromkeys((*shared_metrics(task_type, tasks), *METRICS[task_type])))


def _summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    parts = {part: {m: metrics[part][m] for m in _metrics_of(metrics)} for part in SPLITS[1:]}
    return {**{name: metrics[name] for name in ("chosen_by", "epochs", "best", "rows")}, **parts}
