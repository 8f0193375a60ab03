"""How far off predictions may be: intervals and probabilities, calibrated on rows that a model did not learn from."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from typing_extensions import Self

from dgl_moleblend.checksums import check_file, renew
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.files import OWN_CALIBRATION_FILE, PREDICTIONS_FILE, write_atomically
from dgl_moleblend.models.uncertainty import score_columns
from dgl_moleblend.predict.intervals import TaskCalibration
from dgl_moleblend.predict.probabilities import fit_platt, fit_temperature, with_temperature
from dgl_moleblend.predict.tables import predicted

COVERAGES = (0.5, 0.8, 0.9, 0.95)
"""Coverages whose share of covered test rows is written down."""
MEMBERS = "members"
"""Stands for all models of a folder in `Calibration.deviation_of`: what they differ by, and say of themselves."""
_LEAST_TO_SPREAD = 30  # validation rows from which on intervals may differ in width


@dataclass(frozen=True)
class Calibration:
    """What the validation rows say of every property of a model.

    Parameters
    ----------
    task_type : {"regression", "classification", "multiclass"}
    tasks : mapping of str to TaskCalibration
    deviation_of : str, optional
        The member that says what is possible of a molecule, where a task has `deviations`: its folder's name; or
        `MEMBERS`.
    source : dict, optional
        The "file" whose rows these are, how many of it were "left_out", being in the training set, and how many
        "repeated" the molecule of a row before; by default they are the validation rows.
    temperature : float, optional
        Of the probabilities of several classes, see `with_temperature`; by default they stay as they are.
    """

    task_type: str
    tasks: Mapping[str, TaskCalibration]
    deviation_of: str | None = None
    source: Mapping[str, Any] | None = None
    temperature: float | None = None

    @property
    def rows_are(self) -> str:
        """What the rows are called."""
        return "validation rows" if self.source is None else f"rows of {self.source['file']}"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read calibration.json.

        Raises
        ------
        CheckpointError
            If the file is damaged.
        """
        check_file(path)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            tasks = {}
            for name, values in document["tasks"].items():
                residuals = np.asarray(values["residuals"], np.float64)
                if residuals.ndim != 1 or not np.isfinite(residuals).all() or (residuals < 0).any():
                    raise ValueError(f"the residuals of {name!r} are no list of numbers of at least 0")
                if len(residuals) not in (0, int(values["rows"])):
                    raise ValueError(f"{name!r} has {len(residuals):,} residuals of {values['rows']:,} rows")
                platt = values["platt"] and (float(values["platt"][0]), float(values["platt"][1]))
                wide = values.get("deviations") and tuple(map(float, values["deviations"]))
                if wide and not (len(wide) == 3 and min(wide) > 0 and document.get("deviation_of")):
                    raise ValueError(
                        f"the deviations of {name!r} are no three numbers above 0 of a model that it names"
                    )
                tasks[name] = TaskCalibration(
                    int(values["rows"]), tuple(np.sort(residuals).tolist()), platt, dict(values["test"]), wide
                )
            source = document.get("source")
            if source is not None:
                source = {"file": str(source["file"]), "left_out": int(source["left_out"]),
                          "repeated": int(source.get("repeated", 0))}  # fmt: skip
            temperature = document.get("temperature")
            if temperature is not None and not 0 < float(temperature) < math.inf:
                raise ValueError(f"the temperature is {temperature!r}, which is no number above 0")
            return cls(str(document["task_type"]), tasks, document.get("deviation_of"), source,
                       None if temperature is None else float(temperature))  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise CheckpointError(
                f"{path.name} is no calibration: {error}",
                where=str(path),
                fix="calibrate again with --overwrite; or delete it, and validation rows count again"
                if path.name == OWN_CALIBRATION_FILE
                else f"delete it: it is then computed from {PREDICTIONS_FILE}",
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return what the file holds."""
        tasks = {
            name: {
                "rows": task.rows,
                "residuals": list(task.residuals),
                "platt": task.platt and list(task.platt),
                "test": task.test,
                "deviations": task.deviations and list(task.deviations),
            }
            for name, task in self.tasks.items()
        }
        return {"task_type": self.task_type, "tasks": tasks, "deviation_of": self.deviation_of,
                **({"source": dict(self.source)} if self.source is not None else {}),
                **({"temperature": self.temperature} if self.temperature is not None else {})}  # fmt: skip

    def rescale(self, names: Sequence[str], values: np.ndarray) -> np.ndarray:
        """Return predictions (N, t) of properties of these names, with calibrated probabilities where they are such."""
        if self.temperature is not None:
            return with_temperature(values, self.temperature)
        return np.stack([self.tasks[name].rescale(values[:, k]) for k, name in enumerate(names)], 1)

    def write(self, path: Path) -> None:
        """Write the file that `read` reads."""
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        renew(path)


def calibrate(
    table: pd.DataFrame, names: Sequence[str], task_type: str, deviation_of: str | None = None
) -> Calibration:
    """Calibrate on validation rows, and count how many test rows the intervals cover.

    Regression: split conformal prediction with absolute residuals, one width for all molecules; or, where a model says
    how far off it may be for each molecule, with residuals in units of that, if this makes residuals more likely by
    more than the standard error of the difference. Classification: Platt
    scaling, see `fit_platt`; several classes: one temperature for all, see `fit_temperature`; each only where it helps.

    Test rows of a scaffold split are not exchangeable with its validation rows, so that coverage may miss what was
    asked for; neither are molecules unlike those of the file. The shares under "test" say how it came out. Validation
    rows chose the weights that were kept, which makes their residuals a little too small.

    Parameters
    ----------
    table : DataFrame
        Columns split ("validation", "test"), and NAME and NAME_predicted of every property; NaN = missing label. With
        `deviation_of` also NAME_deviation, in the unit of the property.
    names : sequence of str
    task_type : {"regression", "classification", "multiclass"}
    deviation_of : str, optional
        The member of the model whose deviations these are, or `MEMBERS`. They are looked at where all rows have one.

    References
    ----------
    Papadopoulos et al., "Normalized nonconformity measures for regression conformal prediction" (2008).
    """
    tasks = {}
    if deviation_of is None:  # predictions.csv of a comparison has such columns
        table = table.drop(columns=[deviation_column(name) for name in names], errors="ignore")
    for name in names:
        label, value, deviation = _known(table, name, "validation")
        if task_type != "regression":
            platt = fit_platt(value, label) if task_type == "classification" else None  # several add up to 1
            tasks[name] = TaskCalibration(len(label), platt=platt)
            continue
        error = np.abs(label - value)
        wide = _spread(error, deviation)
        residuals = np.sort(error if wide is None or deviation is None else error / deviation)
        fitted = TaskCalibration(len(label), tuple(residuals.tolist()), deviations=wide)
        tasks[name] = replace(fitted, test=_count(fitted, *_known(table, name, "test")))
    if task_type == "multiclass":
        return Calibration(task_type, tasks, temperature=_temperature(table, names))
    used = any(task.deviations for task in tasks.values())
    return Calibration(task_type, tasks, deviation_of if used else None)


def count_in_folds(found: Calibration, tables: Sequence[pd.DataFrame]) -> Calibration:
    """Count what intervals cover in each fold by itself, as a row validates in one fold and is a test row in another.

    In each fold the interval is that of its own validation rows, and its test rows are other rows: so none of those
    that are counted has calibrated what it is held against.

    Parameters
    ----------
    found : Calibration
        Of all folds together; its residuals stay.
    tables : sequence of DataFrame
        predictions.csv of each fold's model.
    """
    tasks = {}
    for name, task in found.tasks.items():
        folds = [calibrate(table, [name], found.task_type).tasks[name] for table in tables]
        counts = [{"validation": fold.rows, **fold.test} for fold in folds if fold.test]
        total = sum(part["rows"] for part in counts)
        covered = {
            str(c): sum(part["rows"] * part["covered"][str(c)] for part in counts) / total for c in COVERAGES if total
        }
        tasks[name] = replace(task, test={"rows": total, "covered": covered, "folds": counts} if total else {})
    return Calibration(found.task_type, tasks)


def deviation_column(name: str) -> str:
    """Return the name of the column of what a model holds possible of a property."""
    return f"{name}_deviation"


def score_uncertainty(table: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Score NAME_deviation of predictions.csv, for metrics.json, by its test rows, or validation rows where none test.

    Returns
    -------
    dict
        "uncertainty": "part" ("test" or "validation") and "tasks", see `models.uncertainty.score_columns`; {} where no
        deviation is known.
    """
    part = "test" if (table["split"] == "test").any() else "validation"
    rows = table[table["split"] == part]
    known = [name for name in names if deviation_column(name) in rows]
    label, value, deviation = (
        [rows[column(name)].to_numpy(float) for name in known] for column in (str, predicted, deviation_column)
    )
    tasks = score_columns(label, value, deviation, known)
    return {"uncertainty": {"part": part, "tasks": tasks}} if tasks else {}


def _known(table: pd.DataFrame, name: str, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return labels, predictions and deviations (None where they are not all known) of the rows that have a label."""
    rows = table[table["split"] == split].dropna(subset=[name, predicted(name)])
    column = deviation_column(name)
    known = column in rows and len(rows) and rows[column].notna().all()
    deviation = rows[column].to_numpy(float) if known else None
    return rows[name].to_numpy(float), rows[predicted(name)].to_numpy(float), deviation


def _temperature(table: pd.DataFrame, names: Sequence[str]) -> float | None:
    """Fit the temperature of several classes, a column of 0 and 1 each, on validation rows."""
    columns = [*names, *map(predicted, names)]
    rows = table.loc[table["split"] == "validation", columns].dropna().to_numpy(float)
    return fit_temperature(rows[:, len(names) :], rows[:, : len(names)].argmax(1))


def _spread(error: np.ndarray, deviation: np.ndarray | None) -> tuple[float, float, float] | None:
    """Return the 5, 50 and 95 % quantiles of deviations, or None where errors are as likely with one width for all.

    Errors are taken for Laplace's, whose likelihood is the mean absolute one.
    """
    if deviation is None or len(error) < _LEAST_TO_SPREAD or not (deviation > 0).all() or not error.any():
        return None
    relative = error / deviation
    alike = np.log(error.mean()) + error / error.mean()
    apart = np.log(relative.mean()) + relative / relative.mean() + np.log(deviation)
    gain = alike - apart
    if gain.mean() <= gain.std(ddof=1) / math.sqrt(len(gain)):
        return None
    low, middle, high = np.quantile(deviation, (0.05, 0.5, 0.95)).tolist()
    return low, middle, high


def _count(task: TaskCalibration, label: np.ndarray, value: np.ndarray, deviation: np.ndarray | None) -> dict[str, Any]:
    """Return how many test rows there are, and the share of them in the interval of each coverage."""
    if not len(label) or (task.deviations and deviation is None):
        return {}
    error = np.abs(label - value)
    covered = {str(c): float(np.mean(error <= task.half_width(c, deviation))) for c in COVERAGES}
    return {"rows": len(label), "covered": covered}
