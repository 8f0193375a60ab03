"""What fine-tuning left in a folder, of one model or of several: read, and checked against each other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend import folder as model_folder
from dgl_moleblend.checksums import check_file
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import (
    ENSEMBLE_FILE,
    LOGS,
    METRICS_FILE,
    PREDICTIONS_FILE,
    REJECTS_FILE,
    RUN_FILE,
    SPLIT_FILE,
)
from dgl_moleblend.models.scores import METRICS
from dgl_moleblend.predict.calibrated import calibration_file
from dgl_moleblend.predict.calibration import Calibration, deviation_column
from dgl_moleblend.predict.ensemble import COVERAGE
from dgl_moleblend.predict.intervals import TaskCalibration
from dgl_moleblend.predict.tables import bound_columns, predicted


@dataclass(frozen=True)
class Results:
    """The files of a model folder, checked against each other."""

    folder: Path
    extra: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    metrics: dict[str, Any]
    predictions: pd.DataFrame
    split: pd.DataFrame
    rejects: pd.DataFrame | None
    curves: pd.DataFrame
    calibration: Calibration | None = None

    @property
    def tasks(self) -> list[str]:
        """Names of the properties."""
        return list(self.extra["task_names"])

    @property
    def classifies(self) -> bool:
        """Whether the properties are classes."""
        return self.extra["task_type"] != "regression"

    @property
    def one_of(self) -> dict[str, list[str]]:
        """What several classes are of, and what they are called, where each is one of `tasks`; else nothing."""
        return self.extra["classes"] if self.extra["task_type"] == "multiclass" else {}

    @property
    def runs(self) -> dict[str, Any]:
        """Scores of each model, where the folder holds several; else none."""
        return self.metrics.get("runs", {})

    @property
    def candidates(self) -> dict[str, Any]:
        """Scores and weights of the kinds of models that were compared; else none."""
        return self.metrics.get("candidates", {})

    @property
    def folds(self) -> bool:
        """Whether each of several models was tested on molecules of its own: another fold, or its own split."""
        return "out_of_fold" in self.metrics

    @property
    def replicates(self) -> bool:
        """Whether each of several models has a split of its own, so that a row can be tested more than once."""
        return "replicates" in self.metrics

    @property
    def folds_beside_test(self) -> bool:
        """Whether each of several models validates another part of the molecules, and all are tested on the same."""
        return "folds" in self.metrics and not self.folds

    @property
    def learned_from(self) -> int:
        """The number of molecules that were trained on, by one of the models at least."""
        rows = self.metrics["rows"]
        return int(rows["train"] + (rows["validation"] if self.candidates or self.folds_beside_test else 0))

    @cached_property
    def part(self) -> str:
        """The part that pictures show: test, or validation where nothing was left for testing."""
        return "test" if self.metrics["rows"]["test"] else "validation"

    @cached_property
    def shown(self) -> pd.DataFrame:
        """Predictions of that part."""
        return self.predictions[self.predictions["split"] == self.part]

    @property
    def calibrated(self) -> dict[str, TaskCalibration]:
        """What is known of each property by the rows that the model is calibrated on."""
        known = self.calibration.tasks if self.calibration else {}
        return {task: known[task] for task in self.tasks if task in known}

    def values(self, task: str) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and labels of the rows shown, each of shape (rows, 1)."""
        return self.shown[[predicted(task)]].to_numpy(float), self.shown[[task]].to_numpy(float)

    def bounds(self, task: str) -> np.ndarray:
        """Return what values of the rows shown are above, and below, shape (rows, 2); NaN where no bound is known."""
        columns = [self.shown.get(name, pd.Series(np.nan, self.shown.index)) for name in bound_columns(task)]
        return np.stack([column.to_numpy(float) for column in columns], 1)

    @cached_property
    def half_widths(self) -> np.ndarray:
        """Half the width of the intervals of the rows shown, shape (rows, t); NaN where it is not known or infinite."""
        widths = np.full((len(self.shown), len(self.tasks)), np.nan)
        for k, task in enumerate(self.tasks):
            found, column = self.calibrated.get(task), deviation_column(task)
            if found is None or self.classifies or (found.deviations and column not in self.shown):
                continue  # the last: versions before wrote no such column
            deviation = self.shown[column].to_numpy(float) if found.deviations else None
            widths[:, k] = found.half_width(COVERAGE, deviation)
        return np.where(np.isfinite(widths), widths, np.nan)


def read_results(folder: Path) -> Results:
    """Read the folder of one model, or of seeds or folds.

    Raises
    ------
    CheckpointError, DataError
        If a file is missing or damaged, or two do not agree; the message names it.
    """
    return _read_several(folder) if (folder / ENSEMBLE_FILE).exists() else _read(folder)


def _read(folder: Path) -> Results:
    saved = model_folder.read(folder, kinds=("predictor",))
    missing = [name for name in ("task_names", "task_type", "scaling", "featurizer") if name not in saved.extra]
    if missing:
        raise DataError(
            f"the folder does not say what is predicted: {', '.join(missing)} missing",
            where=str(folder / model_folder.CONFIG_FILE),
            fix="give a folder that `dgl-moleblend finetune` wrote",
        )
    tasks = saved.extra["task_names"]
    metrics = read_json(folder / METRICS_FILE, ("validation", "test", "mean_predictor", "rows", "metric"))
    predictions = _read_predictions(folder, tasks)
    run = Results(
        **read_run_files(folder),
        extra=saved.extra,
        model=saved.config,
        metrics=metrics,
        predictions=predictions,
        curves=read_curves(folder),
        calibration=_read_calibration(folder),
    )
    _check_agreement(run)
    return run


def _read_several(folder: Path) -> Results:
    """Read the folder of several models: what they share from the first of them, what they gave from the folder."""
    ensemble = read_json(folder / ENSEMBLE_FILE, ("models",))
    if "extra" in ensemble:
        return _read_blend(folder, ensemble["extra"])
    models = ensemble["models"]
    first = _read(folder / models[0])
    metrics = read_json(folder / METRICS_FILE, ("runs", "mean", "deviation", "metric", "mean_predictor"))
    predictions = _read_predictions(folder, first.tasks)
    if "out_of_fold" in metrics:
        unknown = {**dict.fromkeys(METRICS[first.extra["task_type"]]), "labels": 0}
        nothing = {**unknown, "left_out": {}, "tasks": dict.fromkeys(first.tasks, unknown)}
        metrics |= {"validation": nothing, "test": metrics["out_of_fold"]}
        constant = metrics["mean_predictor"]["out_of_fold"]
        metrics |= {"mean_predictor": {"validation": nothing, "test": constant}}
        metrics["rows"] = {"train": 0, "validation": 0, "test": len(predictions)}
    else:
        metrics["rows"] = metrics.get("rows", first.metrics["rows"])
    run = replace(first, folder=folder, metrics=metrics, predictions=predictions,
                  calibration=_read_calibration(folder))  # fmt: skip
    if run.folds_beside_test:
        run = replace(run, split=read_table(folder / SPLIT_FILE, ("row", "split")))
    if not run.folds:
        _check_agreement(run)
    return run


def _read_blend(folder: Path, extra: dict[str, Any]) -> Results:
    """Read the folder of models of several kinds, whose weighted mean is the answer."""
    needed = ("validation", "test", "mean_predictor", "rows", "metric", "candidates", "skipped")
    run = Results(
        **read_run_files(folder),
        extra=extra,
        model={},
        metrics=read_json(folder / METRICS_FILE, needed),
        predictions=_read_predictions(folder, extra["task_names"]),
        curves=pd.DataFrame(),
        calibration=_read_calibration(folder),
    )
    _check_agreement(run)
    return run


def read_run_files(folder: Path) -> dict[str, Any]:
    """Read what every run leaves: where it is, settings, versions, the split and the rejects."""
    document, rejects = read_json(folder / RUN_FILE, ("settings", "versions")), folder / REJECTS_FILE
    return {
        "folder": folder,
        "settings": document["settings"],
        "versions": document["versions"],
        "split": read_table(folder / SPLIT_FILE, ("row", "split")),
        "rejects": read_table(rejects, ("row", "id", "smiles", "stage", "reason")) if rejects.exists() else None,
    }


def _read_predictions(folder: Path, tasks: Sequence[str]) -> pd.DataFrame:
    numbers = [column for task in tasks for column in (task, predicted(task))]
    optional = ("similarity", *map(deviation_column, tasks), *(name for task in tasks for name in bound_columns(task)))
    return read_table(folder / PREDICTIONS_FILE, ("row", "id", "smiles", "split"), numbers, optional)


def _read_calibration(folder: Path) -> Calibration | None:
    file = calibration_file(folder)
    return Calibration.read(file) if file.exists() else None


def _check_agreement(run: Results) -> None:
    """Refuse files whose counts are not the same."""
    rows = run.metrics["rows"]
    held_out = {name: int((run.predictions["split"] == name).sum()) for name in ("validation", "test")}
    split = {name: int((run.split["split"] == name).sum()) for name in rows}
    for file, found in ((PREDICTIONS_FILE, held_out), (SPLIT_FILE, split)):
        for name, number in found.items():
            if number != rows[name]:
                raise DataError(
                    f"{file} has {number:,} {name} rows, metrics.json {rows[name]:,}",
                    where=str(run.folder),
                    fix="restore the files, or fine-tune again",
                )


def read_json(path: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Read a JSON file that holds some entries.

    Raises
    ------
    DataError
        If it is missing or damaged.
    """
    check_file(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _missing(path) from error
    except ValueError as error:
        raise DataError("this is no JSON", where=str(path), fix="restore the file, or fine-tune again") from error
    lacking = [key for key in needed if not isinstance(document, dict) or key not in document]
    if lacking:
        raise DataError(f"{', '.join(lacking)} missing", where=str(path), fix="restore the file, or fine-tune again")
    return document


def read_table(
    path: Path, texts: Sequence[str], numbers: Sequence[str] = (), optional: Sequence[str] = ()
) -> pd.DataFrame:
    """Read columns of a CSV file, `texts` as they stand there: an id "NA" is no missing value."""
    check_file(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except ValueError as error:
        raise DataError(f"this is no table: {error}", where=str(path), fix="restore it, or fine-tune again") from error
    numbers = [*numbers, *(name for name in optional if name in table.columns)]
    lacking = [name for name in (*texts, *numbers) if name not in table.columns]
    if lacking:
        raise DataError(
            f"column {', '.join(map(repr, lacking))} is missing", where=str(path), fix="restore it, or fine-tune again"
        )
    try:
        return table.assign(**{name: pd.to_numeric(table[name]).astype(float) for name in numbers})
    except ValueError as error:
        raise DataError(
            f"a number is damaged: {error}", where=str(path), fix="restore it, or fine-tune again"
        ) from error


def _missing(path: Path) -> DataError:
    return DataError(
        f"{path.name} is missing", where=str(path.parent), fix="give a folder that `dgl-moleblend finetune` wrote"
    )


def read_curves(out: Path) -> pd.DataFrame:
    """Read the logged values of a run, all its starts together: one row a logged step, columns as logged."""
    files = sorted((out / LOGS).glob("version_*/metrics.csv"), key=lambda p: int(p.parent.name.split("_")[1]))
    if not files:
        raise DataError("there are no logs", where=str(out / LOGS), fix="give the folder of a training run")
    table = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    return table.groupby("step", as_index=False).last()


def main_curves(curves: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    """Leave out the scores that no picture has room for, but for the one that chose the weights."""
    further = {f"validation/{name}" for names in METRICS.values() for name in names[3:] if name != metric}
    return curves[[column for column in curves.columns if column not in further]]


def kept_epoch(curves: pd.DataFrame, metrics: Mapping[str, Any]) -> int | None:
    """Return the epoch, counted from 0, whose weights a network's run kept; None where the logs do not tell.

    Parameters
    ----------
    curves : DataFrame
        See `read_curves`.
    metrics : mapping
        metrics.json of the run: what chose the weights, and its best score; None if the last weights were kept.
    """
    score = f"validation/{metrics['chosen_by']}"
    if not {"epoch", score} <= {*curves.columns}:
        return None
    known = curves[["epoch", score]].dropna()
    if metrics["best"] is not None:
        known = known[np.isclose(known[score], metrics["best"], rtol=1e-6, atol=0)][:1]
    return int(known["epoch"].iloc[-1]) if len(known) else None
