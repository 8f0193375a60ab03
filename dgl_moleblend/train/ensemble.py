"""Several fine-tuning runs in one folder: seeds of one split, folds, new splits; their scores alone and together."""

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
from dgl_moleblend.models.scores import METRICS, shared_metrics
from dgl_moleblend.predict.calibrated import write_calibration
from dgl_moleblend.predict.calibration import score_uncertainty
from dgl_moleblend.predict.sinks import write_table
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.page import write_report
from dgl_moleblend.request import Compute
from dgl_moleblend.train.checked import SPLITS, check_request, count_bounds, split_facts, warn_of_rare_classes
from dgl_moleblend.train.finetune import check_one_device, finetune
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.plan import Parts, RunPlan
from dgl_moleblend.train.result import FinetuneResult, read_result
from dgl_moleblend.train.run import close_run, is_finished, open_run, read_run
from dgl_moleblend.train.start import Start
from dgl_moleblend.train.tables import split_table
from dgl_moleblend.train.unseen import apart, beside_test, to_scores, with_deviations

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
    seed = _first_seed(settings)
    runs = {f"seed-{seed + k}": (split, seed + k) for k in range(seeds)}
    work = _Runs("seeds", dataset, runs, Path(out), settings)
    results = work.finetune_each(resume=resume, overwrite=overwrite)
    tables = [result.predictions for result in results.values()]
    table, names = tables[0].copy(), work.names
    columns = [predicted(name) for name in names]
    table[columns] = np.mean([one[columns].to_numpy(float) for one in tables], axis=0)
    first = next(iter(results.values())).metrics
    if first["task_type"] == "regression":
        table = with_deviations(table, tables, names)
    scores: dict[str, Any] = {
        name: to_scores(table[table["split"] == name], names, first["task_type"], first["label_scale"])
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
    each row is tested. Where all folds have the same test rows (a test file, say), these are scored by the mean of all
    models, and the validation rows each by the model that did not learn from it.

    Parameters
    ----------
    dataset, out
        See `dgl_moleblend.train.finetune.finetune`.
    folds : sequence of Split, or of mappings
        Each as `split` of `finetune`; `dgl_moleblend.data.folds.split_into_folds` and `folds_beside_test` make them.
    resume, overwrite, **settings
        As `finetune_seeds`.

    Returns
    -------
    FinetuneResult
        Scores "out_of_fold" of all test rows, each predicted by the model that never saw it, and "mean" and
        "deviation" of the folds; predictions of all test rows, with their fold. Or, of folds that share their test
        rows, "validation" and "test".

    Raises
    ------
    DataError, CheckpointError
        As `finetune`.
    """
    check(len(folds) >= 2, "folds", len(folds), "at least 2")
    runs = {f"fold-{k}": (fold, _first_seed(settings)) for k, fold in enumerate(folds)}
    work = _Runs("folds", dataset, runs, Path(out), settings)
    results = work.finetune_each(resume=resume, overwrite=overwrite)
    tests = [np.sort(request.parts["test"]) for request in work.requests.values()]
    if len(tests[0]) and all(np.array_equal(tests[0], test) for test in tests[1:]):
        table, scores = beside_test(results, work.names, work.means)
        divided = table[["row", "split", "fold"]]
        return _finish(work.out, results, scores, table, divided, work.facts | {"folds": len(folds)})
    table, scores = apart(results, work.names, work.means, "fold")
    return _finish(work.out, results, scores, table, table[["row", "fold"]], work.facts | {"folds": len(folds)})


@holds_its_folder
def finetune_replicates(
    dataset: "MoleculeDataset",
    splits: "Sequence[Split | Parts]",
    out: str | PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> FinetuneResult:
    """Fit a model for each of several splits, into ``replicate-0``, ..; say how scores differ between them.

    Model number k has the seed of the training config + k. `out` itself receives what `finetune_folds` leaves there:
    predictions of the test rows of every split, with their replicate; split.csv has a column for each.

    Parameters
    ----------
    dataset, out
        See `dgl_moleblend.train.finetune.finetune`.
    splits : sequence of Split, or of mappings
        Each as `split` of `finetune`.
    resume, overwrite, **settings
        As `finetune_seeds`.

    Returns
    -------
    FinetuneResult
        "mean" and "deviation" of the splits' scores; "out_of_fold": of the test rows of all splits together, a row as
        often as it is tested.

    Raises
    ------
    DataError, CheckpointError
        As `finetune`.
    """
    check(len(splits) >= 2, "replicates", len(splits), "at least 2")
    runs = {f"replicate-{k}": (split, _first_seed(settings) + k) for k, split in enumerate(splits)}
    work = _Runs("replicates", dataset, runs, Path(out), settings)
    results = work.finetune_each(resume=resume, overwrite=overwrite)
    table, scores = apart(results, work.names, work.means, "replicate")
    each = [split_table(work.dataset, request.parts).set_index("row")["split"].rename(name)
            for name, request in work.requests.items()]  # fmt: skip
    divided = pd.concat(each, axis=1).sort_index().rename_axis("row").reset_index()
    facts = work.facts | {"replicates": len(splits)}
    if "split_variant" in facts:
        facts["split_variant"] = f"{facts['split_variant']}, and {len(splits) - 1} more by the seeds after it"
    return _finish(work.out, results, scores, table, divided, facts)


def _first_seed(settings: Mapping[str, Any]) -> int:
    return (settings.get("training") or TrainingConfig()).seed


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
            name: check_request(dataset, split, tasks, training.replace(seed=seed), settings.get("weights"))
            for name, (split, seed) in runs.items()
        }
        first = next(iter(self.requests.values()))
        self.dataset = first.dataset
        warn_of_rare_classes(dataset, self.requests.values())
        model = settings.get("model") or PredictorConfig()
        self.plan = RunPlan.of(
            kind, self.dataset, [request.parts for request in self.requests.values()], start=self.settings["start"],
            model=model.to_dict(), training=first.training, compute=settings.get("compute") or Compute(),
            tasks=first.tasks, work={"runs": {name: seed for name, (_, seed) in runs.items()}}, weights=first.weights,
        )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        """Of the properties."""
        return self.dataset.task_names

    @property
    def facts(self) -> dict[str, object]:
        """Of the first split, without what is of it alone, and of labels."""
        first = next(iter(self.requests.values()))
        tested = np.unique(np.concatenate([request.parts["test"] for request in self.requests.values()]))
        shared = {name: value for name, value in split_facts(first.facts).items() if name != "duplicates"}
        return shared | count_bounds(self.dataset, {"test": tested})

    @property
    def means(self) -> np.ndarray:
        """Mean labels of each run's training rows, shape (runs, t)."""
        requests = self.requests.values()
        return np.stack([np.nanmean(request.exact[request.parts["train"]], axis=0) for request in requests])

    def finetune_each(self, *, resume: bool, overwrite: bool) -> dict[str, FinetuneResult]:
        """Do every run, or read those that are finished."""
        self.settings["start"].keep_from(self.out)
        if overwrite and not resume:
            remove_runs(self.out)
        grows = resume and is_finished(self.out) is not None and self.plan.grows(read_run(self.out)["settings"])
        open_run(self.out, self.plan, resume=resume, overwrite=overwrite)
        results = {}
        for at, (name, request) in enumerate(self.requests.items(), start=1):
            folder = self.out / name
            finished = is_finished(folder)
            if finished and not (grows and self.plan.grows(read_run(folder)["settings"])):
                results[name] = read_result(folder)
                continue
            settings = {**self.settings, "tasks": request.tasks, "training": request.training,
                        "description": f"{name} ({at}/{len(self.requests)})"}  # fmt: skip
            split = Split(request.parts, request.facts)
            results[name] = finetune(request.dataset, split, folder, resume=finished is not None, **settings)
        return results


def remove_runs(out: Path) -> None:
    """Delete the models of several seeds, folds, replicates or kinds in a folder."""
    for pattern in ("seed-*", "fold-*", "replicate-*", "network-*"):
        for file in out.glob(f"{pattern}/{RUN_FILE}"):
            shutil.rmtree(file.parent)
    for kind in ("forest", "trees", "kernel", "frozen"):
        if (out / kind / CONFIG_FILE).is_file():
            shutil.rmtree(out / kind)


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
    weighed: dict[str, Any] = {name: first[name] for name in ("weights", "task_weights") if name in first}
    metrics |= {**scores, **facts, **weighed}
    metrics["runs"] = {name: _summary(result.metrics) for name, result in results.items()}
    metrics |= {"mean": {}, "deviation": {}}
    for part in SPLITS[1:]:
        columns = {
            metric: [value for run in metrics["runs"].values() if (value := run[part].get(metric)) is not None]
            for metric in _metrics_of(first)
        }
        metrics["mean"][part] = {m: float(np.mean(v)) if v else None for m, v in columns.items()}
        metrics["deviation"][part] = {m: float(np.std(v, ddof=1)) if len(v) > 1 else None for m, v in columns.items()}
    if metrics["task_type"] == "regression":
        metrics |= score_uncertainty(table, [*first["test"]["tasks"]])
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
