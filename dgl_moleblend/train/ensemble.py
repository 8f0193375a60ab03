"""Several fine-tuning runs in one folder: seeds of one split, or folds; what they score alone and together."""

import shutil
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgl_moleblend.config import PredictorConfig, TrainingConfig, check
from dgl_moleblend.data.splits import Split
from dgl_moleblend.files import (
    CONFIG_FILE,
    ENSEMBLE_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    SPLIT_FILE,
    write_json,
)
from dgl_moleblend.models.scores import METRICS, score, shared_metrics
from dgl_moleblend.predict.calibration import write_calibration
from dgl_moleblend.predict.sinks import write_table
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.page import write_report
from dgl_moleblend.request import Compute
from dgl_moleblend.train.checked import SPLITS, check_request, count_bounds, split_facts
from dgl_moleblend.train.finetune import check_one_device, finetune, split_table
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.plan import Parts, RunPlan
from dgl_moleblend.train.result import FinetuneResult, read_result
from dgl_moleblend.train.run import close_run, is_finished, open_run, read_run
from dgl_moleblend.train.start import Start

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset


@holds_its_folder
def finetune_seeds(
    dataset: "MoleculeDataset",
    split: "Split | Parts",
    out: str | PathLike[str],
    *,
    seeds: int,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> FinetuneResult:
    """Fit a model for each of several seeds on one split, into ``seed-0``, ``seed-1``, ..; then judge their mean.

    `out` itself receives the list of models (ensemble.json) and, of their mean, metrics.json, predictions.csv,
    calibration.json and report.html; and split.csv, the part of every row, which they share.

    Parameters
    ----------
    dataset, split, out
        See `dgl_moleblend.train.finetune.finetune`.
    seeds : int
        At least 2; the first is that of the training config.
    resume, overwrite : bool
        Go on with the runs in `out`: those that are finished are kept, and the interrupted one goes on; or delete them.
    **settings
        Further arguments of `finetune`.

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
    first_seed = (settings.get("training") or TrainingConfig()).seed
    runs = {f"seed-{first_seed + k}": (split, first_seed + k) for k in range(seeds)}
    work = _Runs("seeds", dataset, runs, Path(out), settings)
    results = work.finetune_each(resume=resume, overwrite=overwrite)
    tables = [result.predictions for result in results.values()]
    table, names = tables[0].copy(), work.dataset.task_names
    columns = [predicted(name) for name in names]
    table[columns] = np.mean([one[columns].to_numpy(float) for one in tables], axis=0)
    first = next(iter(results.values())).metrics
    scores: dict[str, Any] = {
        name: _score(table[table["split"] == name], names, first["task_type"], first["label_scale"])
        for name in SPLITS[1:]
    }
    scores["mean_predictor"] = first["mean_predictor"]
    request = next(iter(work.requests.values()))
    facts = {**split_facts(request.facts), **count_bounds(work.dataset, request.parts)}
    return _finish(work.out, results, scores, table, split_table(dataset, request.parts), facts)


@holds_its_folder
def finetune_folds(
    dataset: "MoleculeDataset",
    folds: "Sequence[Split | Parts]",
    out: str | PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> FinetuneResult:
    """Fit a model for each fold, into ``fold-0``, ``fold-1``, ..; then score the test rows of all folds together.

    `out` itself receives what `finetune_seeds` leaves there, but of all test rows; its split.csv says in which fold
    each row is tested.

    Parameters
    ----------
    dataset, out
        See `dgl_moleblend.train.finetune.finetune`.
    folds : sequence of Split, or of mappings
        Each as `split` of `finetune`; `dgl_moleblend.data.splits.split_into_folds` makes them.
    resume, overwrite, **settings
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
    seed = (settings.get("training") or TrainingConfig()).seed
    work = _Runs("folds", dataset, {f"fold-{k}": (fold, seed) for k, fold in enumerate(folds)}, Path(out), settings)
    results = work.finetune_each(resume=resume, overwrite=overwrite)
    tables = [
        result.predictions[result.predictions["split"] == "test"].assign(fold=k)
        for k, result in enumerate(results.values())
    ]
    table = pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)
    task_type, names = next(iter(results.values())).metrics["task_type"], work.dataset.task_names
    scale = np.mean([result.metrics["label_scale"] for result in results.values()], axis=0)  # of the folds' trainings
    requests = list(work.requests.values())
    means = np.stack([np.nanmean(request.exact[request.parts["train"]], axis=0) for request in requests])  # (folds, t)
    constant = table.assign(**{predicted(name): means[table["fold"], k] for k, name in enumerate(names)})
    scores: dict[str, Any] = {
        "out_of_fold": _score(table, names, task_type, scale),
        "mean_predictor": {"out_of_fold": _score(constant, names, task_type, scale)},
    }
    shared = {name: value for name, value in split_facts(requests[0].facts).items() if name != "duplicates"}
    tested = np.concatenate([request.parts["test"] for request in requests])
    shared |= {"folds": len(folds), **count_bounds(work.dataset, {"test": tested})}
    return _finish(work.out, results, scores, table, table[["row", "fold"]], shared)


class _Runs:
    """Several runs of `finetune` in one folder: each by its split and seed, all with the same other settings."""

    def __init__(
        self,
        kind: str,
        dataset: "MoleculeDataset",
        runs: "Mapping[str, tuple[Split | Parts, int]]",
        out: Path,
        settings: Mapping[str, Any],
    ) -> None:
        check_one_device(settings.get("compute"))
        self.out = out
        self.settings = {**settings, "start": Start.of(settings.get("start"))}
        training = settings.get("training") or TrainingConfig()
        tasks = self.settings.pop("tasks", None)
        self.requests = {
            name: check_request(dataset, split, tasks, training.replace(seed=seed))
            for name, (split, seed) in runs.items()
        }
        first = next(iter(self.requests.values()))
        self.dataset = first.dataset
        model = settings.get("model") or PredictorConfig()
        self.plan = RunPlan.of(
            kind, self.dataset, [request.parts for request in self.requests.values()], start=self.settings["start"],
            model=model.to_dict(), training=first.training, compute=settings.get("compute") or Compute(),
            tasks=first.tasks, work={"runs": {name: seed for name, (_, seed) in runs.items()}},
        )  # fmt: skip

    def finetune_each(self, *, resume: bool, overwrite: bool) -> dict[str, FinetuneResult]:
        """Do every run, or read those that are finished."""
        self.settings["start"].keep_from(self.out)
        if overwrite and not resume:
            remove_runs(self.out)
        grows = resume and is_finished(self.out) is not None and self.plan.grows(read_run(self.out)["settings"])
        open_run(self.out, self.plan, resume=resume, overwrite=overwrite)
        results = {}
        for name, request in self.requests.items():
            folder = self.out / name
            finished = is_finished(folder)
            if finished and not (grows and self.plan.grows(read_run(folder)["settings"])):
                results[name] = read_result(folder)
                continue
            settings = {**self.settings, "tasks": request.tasks, "training": request.training}
            split = Split(request.parts, request.facts)
            results[name] = finetune(request.dataset, split, folder, resume=finished is not None, **settings)
        return results


def remove_runs(out: Path) -> None:
    """Delete the models of several seeds, folds or kinds in a folder."""
    for pattern in ("seed-*", "fold-*", "network-*"):
        for file in out.glob(f"{pattern}/{RUN_FILE}"):
            shutil.rmtree(file.parent)
    for kind in ("forest", "trees", "kernel", "frozen"):
        if (out / kind / CONFIG_FILE).is_file():
            shutil.rmtree(out / kind)


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
            metric: [value for run in metrics["runs"].values() if (value := run[part].get(metric)) is not None]
            for metric in _metrics_of(first)
        }
        metrics["mean"][part] = {m: float(np.mean(v)) if v else None for m, v in columns.items()}
        metrics["deviation"][part] = {m: float(np.std(v, ddof=1)) if len(v) > 1 else None for m, v in columns.items()}
    write_json(out / METRICS_FILE, metrics)
    write_table(table, out / PREDICTIONS_FILE)
    write_table(divided, out / SPLIT_FILE)
    write_json(out / ENSEMBLE_FILE, {"models": list(results), "task_type": first["task_type"]})
    write_calibration(out)
    write_report(out)
    close_run(out)
    return FinetuneResult(out, metrics, table)


def _metrics_of(metrics: Mapping[str, Any]) -> list[str]:
    task_type, tasks = metrics["task_type"], len(metrics["test"]["tasks"])
    return list(dict.fromkeys((*shared_metrics(task_type, tasks), *METRICS[task_type])))


def _summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    parts = {part: {m: metrics[part].get(m) for m in _metrics_of(metrics)} for part in SPLITS[1:]}
    return {**{name: metrics[name] for name in ("chosen_by", "epochs", "best", "rows")}, **parts}
