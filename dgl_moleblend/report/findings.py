"""What the scores of a fine-tuned model mean, in sentences: how far off it is, whether to rely on it, and why."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgl_moleblend.predict.calibration import Calibration
from dgl_moleblend.predict.ensemble import COVERAGE
from dgl_moleblend.predict.intervals import TaskCalibration
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.results import Results
from dgl_moleblend.report.trust import TRUST
from dgl_moleblend.report.words import number, score_text

NAMED = 6
"""So many properties are named in a sentence or a heading."""
_GUESS = 0.55  # ROC AUC up to which a model is called hardly better than a guess
_FLAT = 0.1  # probabilities of which nine in ten lie closer together hardly differ
_CHANCE = 0.025  # how often an interval that keeps its promise may be said to fall short
_FEW = 50  # with fewer test labels, a score is said to be rough


def findings(run: Results) -> list[str]:
    """Say in sentences what the scores mean, and what new predictions can be held to."""
    return [*_meaning(run), *_bounds(run), *_calibration(run)]


def _meaning(run: Results) -> list[str]:
    scores, constant = run.metrics[run.part], run.metrics["mean_predictor"][run.part]
    several = len(run.tasks) > 1
    scored = len(run.tasks) - scores["left_out"].get(run.metrics["metric"], 0)
    over = f", on average over {scored} {'classes' if run.one_of else 'properties'}" if several else ""
    labels = sum(task["labels"] for task in scores["tasks"].values())
    mean = "mean of the training and validation rows" if run.candidates else "training mean"
    sentences = []
    if run.part == "validation":
        sentences.append(
            "No row was left for testing. The scores are those of the validation rows, which also chose the weights: "
            "they flatter the model."
        )
    if run.one_of:
        sentences += _meaning_of_one_class(run, scores, constant)
    elif run.classifies:
        sentences += _meaning_of_classes(run, scores, over)
    else:
        if not several:
            value, label = run.values(run.tasks[0])
            error = np.abs(value - label)[~np.isnan(label)]
            if len(error):
                half, most = np.quantile(error, (0.5, 0.9))
                sentences.append(
                    f"Half of the {run.part} molecules are predicted within ±{number(half)} of what was "
                    f"measured, nine in ten within ±{number(most)} ({run.tasks[0]}, in the unit of the input column)."
                )
        if scores["mae"] is not None and not several:
            sentences.append(_against(scores["mae"], constant["mae"], mean))
        elif scores["rmse"] is not None and constant["rmse"] is not None:
            better = sum(
                task["rmse"] < constant["tasks"][name]["rmse"]
                for name, task in scores["tasks"].items()
                if task["rmse"] is not None
            )
            sentences.append(
                f"The model is better than always predicting the {mean} for {better} of {len(run.tasks)} "
                f"properties (by their RMSE, {run.part} rows)."
            )
    labels //= max(1, len(run.tasks) if run.one_of else 1)  # every class has them all
    several = several and not run.one_of
    if labels < _FEW * (len(run.tasks) if several else 1):
        each = f" ({labels / len(run.tasks):.0f} a property)" if several else ""
        sentences.append(
            f"There are only {labels:,} {run.part} labels{each}: these scores are rough, and another split would give "
            "others."
        )
    return sentences


def _bounds(run: Results) -> list[str]:
    """Say how many labels are bounds, what was made of them, and how many predictions lie on their right side."""
    counts = run.metrics.get("bounds")
    if not counts:
        return []
    text = f"{counts['bounds']:,} of {counts['labels']:,} labels are bounds (above or below a value): predictions on " \
           "their right side cost nothing in training, and no score counts them"  # fmt: skip
    right = total = 0
    for task in run.tasks:
        value, bounds = run.values(task)[0], run.bounds(task)
        total += int((~np.isnan(bounds)).sum())
        right += int((value[:, 0] > bounds[:, 0]).sum() + (value[:, 0] < bounds[:, 1]).sum())
    return [
        text + (f"; {right:,} of {total:,} among the {run.part} rows are predicted on that side." if total else ".")
    ]


def _meaning_of_one_class(run: Results, scores: Mapping[str, Any], constant: Mapping[str, Any]) -> list[str]:
    """Say how often the right one of several classes is told."""
    if scores["accuracy"] is None:
        return [f"All {run.part} rows are of one class, so there is nothing to tell."]
    text = f"The most probable of {len(run.tasks)} classes is the right one for {scores['accuracy']:.0%} of the" \
           f" {run.part} molecules; always the largest class is for {constant['accuracy']:.0%}."  # fmt: skip
    ranked = {name: task["roc_auc"] for name, task in scores["tasks"].items() if task["roc_auc"] is not None}
    worst = min(ranked, key=lambda name: ranked[name])
    sentences = [text, f"The class hardest to tell from the rest is {worst} (ROC AUC {number(ranked[worst])})."]
    if scores["mcc"] <= 0 or scores["roc_auc"] <= _GUESS:
        sentences.append("This is hardly better than a guess: do not rely on this model.")
    return sentences


def _meaning_of_classes(run: Results, scores: Mapping[str, Any], over: str) -> list[str]:
    if scores["roc_auc"] is None:
        return [f"No property has both classes among the {run.part} rows, so there is nothing to rank."]
    shares = []
    for task in run.tasks:
        label = run.shown[task].dropna()
        if label.nunique() == 2:
            shares.append(label.mean())
    sentences = [
        f"Given one molecule of class 1 and one of class 0 from the {run.part} rows, the model ranks the right one "
        f"higher in {scores['roc_auc']:.0%} of cases{over}; a guess does in 50%.",
        f"Its average precision is {number(scores['pr_auc'])}{over}, where a guess has "
        f"{number(float(np.mean(shares)))}, the share of class 1.",
    ]
    low, high = np.nanquantile(run.shown[[predicted(task) for task in run.tasks]].to_numpy(float), (0.05, 0.95), axis=0)
    flat = (high - low) < _FLAT
    if flat.all() and scores["roc_auc"] > _GUESS:
        between = f" (from {low[0]:.2f} to {high[0]:.2f})" if len(run.tasks) == 1 else ""
        sentences.append(
            f"Its probabilities hardly differ between molecules{between}: use them to rank molecules, not to decide."
        )
    ranked = {name: task["roc_auc"] for name, task in scores["tasks"].items() if task["roc_auc"] is not None}
    guesses = [name for name, area in ranked.items() if area <= 0.5]
    if guesses and len(run.tasks) > 1:
        sentences.append(
            f"It is no better than a guess for {len(guesses)} of {len(ranked)} properties{_named(guesses)}."
        )
    if scores["roc_auc"] <= _GUESS:
        sentences.append("This is hardly better than a guess: do not rely on this model.")
    return sentences


def _calibration(run: Results) -> list[str]:
    """Say how predictions of new molecules are calibrated, and how that came out; nothing where it is not known."""
    tasks = run.calibrated
    if not tasks or run.calibration is None:
        return []
    rows_are = run.calibration.rows_are
    if run.classifies:
        return [_sharpened(run.calibration) if run.one_of else _rescaling(tasks, rows_are)]
    name, needed = f"{COVERAGE:.0%} interval", math.ceil(COVERAGE / (1 - COVERAGE) - 1e-9)
    several = len(run.tasks) > 1
    wide = {task: found for task, found in tasks.items() if math.isfinite(np.max(found.half_width(COVERAGE)))}
    if not wide:
        there = "no property has so many" if several else f"there are {tasks[run.tasks[0]].rows:,}"
        return [f"Predictions have no {name}: it takes {needed} {rows_are} with a label, and {there}."]
    tested = [found for found in wide.values() if found.test]
    share = np.mean([found.test["covered"][str(COVERAGE)] for found in tested]) if tested else math.nan
    short = [task for task, found in wide.items() if found.falls_short(COVERAGE, _CHANCE / len(wide))]
    text = f"Predictions of new molecules come with a {name}"
    if several:
        of_all = "each of" if len(wide) == len(run.tasks) else f"{len(wide)} of"
        text += f" for {of_all} {len(run.tasks)} properties, taken from the errors of the {rows_are}; "
        covers = f"it covers {share:.0%} of the test rows of a property on average"
        if any("folds" in found.test for found in tested):
            covers += f", each {_each(run)}'s by the interval of its own validation rows"
    else:
        (found,) = wide.values()
        width, rows = np.atleast_1d(found.half_width(COVERAGE)), found.test.get("rows", 0)
        half_width = number(width[0]) if len(width) == 1 else f"{number(width[0])} to ±{number(width[-1])}"
        alike = "" if len(width) == 1 else ", wider where the model knows less"
        text += (
            f" of ±{half_width} (in the unit of the input column{alike}), taken from the errors of {found.rows:,} "
            f"{rows_are}; "
        )
        chance = f", within chance of {COVERAGE:.0%}" if round(share, 2) < COVERAGE and not short else ""
        covers = f"it covers {round(share * rows):,} of {rows:,} test rows ({share:.0%}{chance})" if tested else ""
        if tested and (folds := found.test.get("folds")):
            each = [fold["covered"][str(COVERAGE)] for fold in folds]
            covers = (
                f"in each {_each(run)}, the interval of its own validation rows covers {min(each):.0%} to "
                f"{max(each):.0%} of its test rows, together {round(share * rows):,} of {rows:,} ({share:.0%}{chance})"
            )
    sentences = [text + (covers if tested else "no test row says how much it covers") + "."]
    if short:
        which = f" for {len(short)} properties{_named(short)}" if several else ""
        sentences.append(f"That is less than chance explains{which}. {_why_short(run)}")
    if run.metrics.get("bounds"):
        sentences.append(
            "Intervals come from rows with an exact value alone: they say nothing of values beyond bounds."
        )
    return [*sentences, TRUST]


def _rescaling(tasks: Mapping[str, TaskCalibration], rows_are: str) -> str:
    """Say whose probabilities are rescaled."""
    rescaled = [name for name, task in tasks.items() if task.platt is not None]
    rows = f"the {rows_are}" if len(tasks) > 1 else f"{next(iter(tasks.values())).rows:,} {rows_are}"
    if not rescaled:
        return f"Probabilities of new molecules are not rescaled (Platt scaling): on {rows} that was not found to help."
    which = f" of {len(rescaled)} of {len(tasks)} properties{_named(rescaled)}" if len(tasks) > 1 else ""
    return (
        f"Probabilities of new molecules are rescaled (Platt scaling), as that helped on {rows}{which}. Scores and "
        "pictures here are those of the probabilities before that; the order of molecules stays the same."
    )


def _sharpened(found: Calibration) -> str:
    """Say whether the probabilities of several classes are rescaled."""
    rows = f"{next(iter(found.tasks.values())).rows:,} {found.rows_are}"
    if found.temperature is None:
        return f"Probabilities of new molecules are not rescaled: on {rows} that was not found to help."
    how = "flatter" if found.temperature > 1 else "sharper"
    return (
        f"Probabilities of new molecules are made {how} (temperature {found.temperature:.3g}), as that helped on "
        f"{rows}. Scores and pictures here are those of the probabilities before that; the most probable class stays "
        "the same."
    )


def _why_short(run: Results) -> str:
    kind = run.extra.get("facts", {}).get("split")
    if run.calibration is not None and run.calibration.source is not None:
        return f"The test rows are not like the {run.calibration.rows_are}."
    if kind in ("random", "stratified"):
        return "The validation rows chose the weights, which makes their errors, and with them the interval, too small."
    of_split = " of a scaffold split" if kind == "scaffold" else ""
    return (
        f"The test rows{of_split} are not like the validation rows: for molecules unlike those, expect the interval to "
        "be too narrow."
    )


def _each(run: Results) -> str:
    return "split" if run.replicates else "fold"


def _named(names: Sequence[str]) -> str:
    """Name a few properties after a colon; many are not named."""
    return ": " + ", ".join(names) if len(names) <= NAMED else ""


def _against(error: float, constant: float | None, mean: str) -> str:
    """Say how far off one property is on average, beside a constant."""
    text = f"The mean absolute error is {score_text(error, 'mae')}"
    if constant is None:
        return f"{text}."
    text += f"; always predicting the {mean} has {score_text(constant, 'mae')}. "
    if error >= constant:
        return text + "The model is no better than that: do not rely on it."
    if error > 0.9 * constant:
        return text + "The model is hardly better than that."
    return text + f"The model takes {1 - error / constant:.0%} of that error away."
