"""report.html: what a fine-tuned model was made from and how good it is, in one file that stands alone."""

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from dgl_moleblend import checkpoint, figures
from dgl_moleblend.data.summary import count_reasons
from dgl_moleblend.prediction import COVERAGE, predicted
from dgl_moleblend.results import Results, read_results
from dgl_moleblend.targets import METRICS
from dgl_moleblend.uncertainty import TaskCalibration

REPORT_FILE = "report.html"
MANY_TASKS = 12
"""More properties than these are reported in a table, without pictures of each."""
WORST = 10
_FIRST_REJECTS = 10
_FEW_OF_CLASS = 10
_NAMED = 6  # so many properties are named in a sentence or a heading
_GUESS = 0.55  # ROC AUC up to which a model is called hardly better than a guess
_FLAT = 0.1  # probabilities of which nine in ten lie closer together hardly differ
_CHANCE = 0.025  # how often an interval that keeps its promise may be said to fall short
_FEW = 50  # with fewer test labels, a score is said to be rough
_LONG = 12  # longer lists of settings are summed up
_METRIC_NAMES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "roc_auc": "ROC AUC", "pr_auc": "PR AUC"}
_METRIC_HELP = {
    "rmse": "root mean square error; large errors weigh more; smaller is better",
    "mae": "mean absolute error; smaller is better",
    "r2": "share of the spread that is explained; 1 is perfect, 0 no better than the mean",
    "roc_auc": "how often class 1 is ranked above class 0; 1 is perfect, 0.5 a guess",
    "pr_auc": "average precision; 1 is perfect, a guess gives the share of class 1",
}
_SPLITS = {
    "scaffold": "Molecules with the same ring scaffold are in the same part, so that test molecules have scaffolds "
    "that were not trained on. This is harder than a random split, and closer to how a model meets new chemistry.",
    "random": "Molecules were divided at random. Near relatives of test molecules may have been trained on: expect "
    "larger errors for new chemistry.",
    "molecular_weight": "Molecules were divided by molecular weight.",
    "stratified": "Molecules were divided so that every part has the same range of labels.",
    "consecutive": "Molecules were divided in the order of the input.",
    "column": "A column of the input says which molecules train, validate and test.",
    "file": "Molecules of some files were kept for validation or testing.",
}


@dataclass(frozen=True)
class Picture:
    """A picture within the page.

    Parameters
    ----------
    svg : bytes
    alt : str
        What it shows, for those who do not see it.
    """

    svg: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The picture as an address that holds it: within an image element, nothing in it can run."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


def write_report(folder: Path) -> Path:
    """Write `report.html` from the files that fine-tuning left in a folder: of one model, of seeds or of folds.

    The page holds its pictures, loads nothing and runs nothing. The same files give the same page.

    Parameters
    ----------
    folder : Path
        With config.json, model.safetensors, metrics.json, predictions.csv, split.csv, run.json and logs; rejects.csv,
        calibration.json and a column "similarity" of predictions.csv are reported where they are. Or with
        ensemble.json, metrics.json, predictions.csv and such a folder for every model.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    CheckpointError, DataError
        If a file is missing or damaged, or two do not agree; the message names it.
    """
    folder = Path(folder)
    run = read_results(folder)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "count": "{:,}".format}
    page = environment.get_template("report.html.jinja").render(
        run=run,
        name=folder.resolve().name,
        place=shlex.quote(str(folder)),
        one_model=shlex.quote(str(folder / next(iter(run.runs), ""))),
        counts=_counts(run),
        reasons=count_reasons(run.rejects) if run.rejects is not None else None,
        first_rejects=run.rejects.head(_FIRST_REJECTS) if run.rejects is not None else None,
        split=_split(run),
        meaning=[*_meaning(run), *_calibration(run)],
        scores=_scores(run),
        metric_names=_METRIC_NAMES,
        learning=_learning(run),
        together=_together(run),
        each=[_task(run, task) for task in run.tasks] if len(run.tasks) <= MANY_TASKS else [],
        many_tasks=MANY_TASKS,
        named=_NAMED,
        few_of_class=_FEW_OF_CLASS,
        similarity=_similarity(run),
        worst=_worst(run),
        settings=_settings(run),
    )
    path = folder / REPORT_FILE
    checkpoint.write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def _counts(run: Results) -> list[tuple[str, int, str]]:
    """Where every input row went: name, number, what it was for. All but the first add up to the first."""
    rows, molecules = run.metrics["rows"], int(run.settings["molecules"])
    rejected = len(run.rejects) if run.rejects is not None else 0
    counts = [("rows in the input", molecules + rejected, "")]
    if run.folds:
        counts.append(("test", rows["test"], "each in one fold, and trained on or validated with in the others"))
    else:
        counts += [
            ("train", rows["train"], "the model learned from these"),
            ("validation", rows["validation"], "chose the epoch whose weights were kept"),
            ("test", rows["test"], "looked at once, at the end"),
        ]
    unused = molecules - sum(rows.values())
    if unused:
        counts.append(("not used", unused, "in no part of the split"))
    return [*counts, ("rejected", rejected, "no molecule could be made of these" if rejected else "")]


def _split(run: Results) -> dict[str, Any]:
    facts = run.extra.get("facts", {})
    kind = facts.get("split")
    of_one_fold = ("fold", "duplicates") if run.folds else ()
    others = {key: value for key, value in facts.items() if key not in ("split", "split_variant", *of_one_fold)}
    return {
        "kind": kind,
        "variant": facts.get("split_variant"),
        "text": _SPLITS.get(kind, "") if isinstance(kind, str) else "",
        "facts": _flat(others),
    }


def _meaning(run: Results) -> list[str]:
    """Say what the scores mean, in sentences."""
    scores, constant = run.metrics[run.part], run.metrics["mean_predictor"][run.part]
    several = len(run.tasks) > 1
    scored = len(run.tasks) - scores["left_out"].get(run.metrics["metric"], 0)
    over = f", on average over {scored} properties" if several else ""
    labels = sum(task["labels"] for task in scores["tasks"].values())
    sentences = []
    if run.part == "validation":
        sentences.append(
            "No row was left for testing. The scores are those of the validation rows, which also chose the weights: "
            "they flatter the model."
        )
    if run.classifies:
        sentences += _meaning_of_classes(run, scores, over)
    else:
        if not several:
            value, label = run.values(run.tasks[0])
            error = np.abs(value - label)[~np.isnan(label)]
            if len(error):
                half, most = np.quantile(error, (0.5, 0.9))
                sentences.append(
                    f"Half of the {run.part} molecules are predicted within ±{_number(half)} of the measured "
                    f"{run.tasks[0]}, nine in ten within ±{_number(most)} (in the unit of the input column)."
                )
        if scores["mae"] is not None and not several:
            sentences.append(_against(scores["mae"], constant["mae"], "mean absolute error", over))
        elif scores["rmse"] is not None and constant["rmse"] is not None:
            better = sum(
                task["rmse"] < constant["tasks"][name]["rmse"]
                for name, task in scores["tasks"].items()
                if task["rmse"] is not None
            )
            sentences.append(
                f"The model is better than always predicting the training mean for {better} of {len(run.tasks)} "
                f"properties (by their RMSE, {run.part} rows)."
            )
    if labels < _FEW * len(run.tasks):
        each = f" ({labels / len(run.tasks):.0f} a property)" if several else ""
        sentences.append(
            f"There are only {labels:,} {run.part} labels{each}: these scores are rough, and another split would give "
            "others."
        )
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
        f"Its average precision is {_number(scores['pr_auc'])}{over}, where a guess has "
        f"{_number(float(np.mean(shares)))}, the share of class 1.",
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
    if not tasks:
        return []
    if run.classifies:
        return [_rescaling(tasks)]
    name, needed = f"{COVERAGE:.0%} interval", math.ceil(COVERAGE / (1 - COVERAGE) - 1e-9)
    several = len(run.tasks) > 1
    wide = {task: found for task, found in tasks.items() if math.isfinite(found.half_width(COVERAGE))}
    if not wide:
        there = "no property has so many" if several else f"there are {tasks[run.tasks[0]].rows:,}"
        return [f"Predictions have no {name}: it takes {needed} validation rows with a label, and {there}."]
    tested = [found for found in wide.values() if found.test]
    share = np.mean([found.test["covered"][str(COVERAGE)] for found in tested]) if tested else math.nan
    short = [task for task, found in wide.items() if found.falls_short(COVERAGE, _CHANCE / len(wide))]
    text = f"Predictions of new molecules come with a {name}"
    if several:
        of_all = "each of" if len(wide) == len(run.tasks) else f"{len(wide)} of"
        text += f" for {of_all} {len(run.tasks)} properties, taken from the errors of the validation rows; "
        covers = f"it covers {share:.0%} of the test rows of a property on average"
    else:
        (found,) = wide.values()
        half_width, rows = _number(found.half_width(COVERAGE)), found.test.get("rows", 0)
        text += (
            f" of ±{half_width} (in the unit of the input column), taken from the errors of {found.rows:,} validation "
            "rows; "
        )
        chance = f", within chance of {COVERAGE:.0%}" if round(share, 2) < COVERAGE and not short else ""
        covers = f"it covers {round(share * rows):,} of {rows:,} test rows ({share:.0%}{chance})" if tested else ""
    sentences = [text + (covers if tested else "no test row says how much it covers") + "."]
    if short:
        which = f" for {len(short)} properties{_named(short)}" if several else ""
        sentences.append(f"That is less than chance explains{which}. {_why_short(run)}")
    return sentences


def _rescaling(tasks: Mapping[str, TaskCalibration]) -> str:
    """Say whose probabilities are rescaled."""
    rescaled = [name for name, task in tasks.items() if task.platt is not None]
    rows = "the validation rows" if len(tasks) > 1 else f"{next(iter(tasks.values())).rows:,} validation rows"
    if not rescaled:
        return f"Probabilities of new molecules are not rescaled (Platt scaling): on {rows} that was not found to help."
    which = f" of {len(rescaled)} of {len(tasks)} properties{_named(rescaled)}" if len(tasks) > 1 else ""
    return (
        f"Probabilities of new molecules are rescaled (Platt scaling), as that helped on {rows}{which}. Scores and "
        "pictures here are those of the probabilities before that; the order of molecules stays the same."
    )


def _why_short(run: Results) -> str:
    kind = run.extra.get("facts", {}).get("split")
    if kind in ("random", "stratified"):
        return "The validation rows chose the weights, which makes their errors, and with them the interval, too small."
    of_split = " of a scaffold split" if kind == "scaffold" else ""
    return (
        f"The test rows{of_split} are not like the validation rows: for molecules unlike those, expect the interval to "
        "be too narrow."
    )


def _named(names: Sequence[str]) -> str:
    """Name a few properties after a colon; many are not named."""
    return ": " + ", ".join(names) if len(names) <= _NAMED else ""


def _against(error: float, constant: float | None, name: str, over: str) -> str:
    if constant is None:
        return f"The {name} is {_number(error)}{over}."
    text = f"The {name} is {_number(error)}{over}; always predicting the training mean has {_number(constant)}. "
    if error >= constant:
        return text + "The model is no better than that: do not rely on it."
    if error > 0.9 * constant:
        return text + "The model is hardly better than that."
    return text + f"The model takes {1 - error / constant:.0%} of that error away."


def _scores(run: Results) -> list[dict[str, Any]]:
    rows = []
    for metric in METRICS[run.extra["task_type"]]:
        sources = [run.metrics, run.metrics["mean_predictor"]]
        columns = [source[part][metric] for source in sources for part in ("validation", "test")]
        if run.folds:
            columns = [source["test"][metric] for source in sources]
        left_out = run.metrics["test"]["left_out"].get(metric, 0) if run.metrics["rows"]["test"] else 0
        note = f"{left_out} of {len(run.tasks)} properties have no test {_METRIC_NAMES[metric]}" if left_out else ""
        rows.append(
            {"name": _METRIC_NAMES[metric], "help": _METRIC_HELP[metric], "values": columns, "note": note}
        )  # fmt: skip
    return rows


def _learning(run: Results) -> list[Picture]:
    """One picture for the loss and one for each score, so that they can stand below each other on a phone."""
    if run.runs:
        return []  # each model has a report of its own
    names: dict[str, list[str]] = {}
    for column in run.curves.columns:
        stage, _, name = column.partition("/")
        if stage in ("train", "validation") and not name.endswith("_step"):
            names.setdefault(name.removesuffix("_epoch"), []).append(column)
    pictures = []
    for name in sorted(names, key=lambda name: (name != "loss", name)):
        figure = figures.loss_curves(run.curves[["step", *names[name]]])
        last = run.curves[names[name]].ffill().iloc[-1]
        ends = ", ".join(f"{column.partition('/')[0]} {_number(last[column])}" for column in names[name])
        pictures.append(_picture(figure, f"{name} over the optimiser steps; at the end: {ends}"))
    return pictures


def _together(run: Results) -> list[Picture]:
    """ROC and precision-recall curves of several properties in one panel each."""
    if not run.classifies or not 1 < len(run.tasks) <= MANY_TASKS:
        return []
    values = run.shown[[predicted(task) for task in run.tasks]].to_numpy(float)
    labels = run.shown[run.tasks].to_numpy(float)
    scores = run.metrics[run.part]
    return [
        _picture(figures.roc(values, labels, run.tasks),
                 f"ROC curves of {len(run.tasks)} properties; mean area {_number(scores['roc_auc'])}"),
        _picture(figures.precision_recall(values, labels, run.tasks),
                 f"precision-recall curves of {len(run.tasks)} properties; mean average precision"
                 f" {_number(scores['pr_auc'])}"),
    ]  # fmt: skip


def _task(run: Results, task: str) -> dict[str, Any]:
    """Pictures of one property and, for classes, how often 0 and 1 were told right at a probability of 0.5."""
    value, label = run.values(task)
    score = run.metrics[run.part]["tasks"][task]
    present = ~np.isnan(label[:, 0])
    found = {"name": task, "labels": int(present.sum()), "pictures": [], "confusion": None, "positive": 0}
    if not run.classifies:
        if present.any():
            caption = f"MAE {_number(score['mae'])}\nRMSE {_number(score['rmse'])}"
            alt = f"{task}: predicted against measured, {present.sum()} {run.part} molecules; {caption}"
            spread = f"{task}: distribution of predicted minus measured, {present.sum()} {run.part} molecules"
            found["pictures"] = [
                _picture(figures.parity(value, label, [task], caption), alt.replace("\n", ", ")),
                _picture(figures.residuals(value, label, [task]), spread),
            ]
        return found
    positive, call = label[present, 0] == 1, value[present, 0] >= 0.5
    found["positive"] = int(positive.sum())
    found["confusion"] = {
        "found": int((positive & call).sum()),
        "missed": int((positive & ~call).sum()),
        "false": int((~positive & call).sum()),
        "right": int((~positive & ~call).sum()),
    }
    if score["roc_auc"] is not None:
        about = f"{present.sum()} {run.part} molecules, {positive.sum()} of class 1"
        found["pictures"] = [
            _picture(figures.roc(value, label, [task]),
                     f"{task}: ROC curve, area {_number(score['roc_auc'])}; {about}"),
            _picture(figures.precision_recall(value, label, [task]),
                     f"{task}: precision against recall, average precision {_number(score['pr_auc'])}; {about}"),
            _picture(figures.reliability(value, label, [task]),
                     f"{task}: share of class 1 found against predicted probability; {about}"),
        ]  # fmt: skip
    return found


def _errors(run: Results) -> pd.DataFrame:
    """Absolute errors of the rows shown, a column a property, comparable between properties."""
    scale = np.ones(len(run.tasks)) if run.classifies else np.asarray(run.extra["scaling"]["scale"], float)
    errors = np.abs(
        run.shown[[predicted(task) for task in run.tasks]].to_numpy(float) - run.shown[run.tasks].to_numpy(float)
    )
    return pd.DataFrame(errors / scale, columns=run.tasks, index=run.shown.index)


def _similarity(run: Results) -> Picture | None:
    if "similarity" not in run.shown or run.shown["similarity"].isna().all():
        return None
    several = len(run.tasks) > 1
    errors = _errors(run) * (1 if several or run.classifies else run.extra["scaling"]["scale"][0])
    label = "absolute error" if not run.classifies else "distance of probability from class"
    if several:
        label += ", mean over properties" + ("" if run.classifies else " / deviation")
    similarity = run.shown["similarity"].to_numpy(float)
    alt = f"{label} against the Tanimoto similarity of Morgan fingerprints to the nearest training molecule"
    return _picture(figures.error_by_similarity(similarity, errors.mean(axis=1).to_numpy(), label), alt)


def _worst(run: Results) -> list[dict[str, Any]]:
    """Find the molecules with the largest errors, each with the property that is worst predicted."""
    errors = _errors(run)
    worst = errors.max(axis=1).dropna().sort_values(ascending=False, kind="stable").index[:WORST]
    found = []
    for index in worst:
        row, task = run.shown.loc[index], str(errors.loc[index].idxmax())
        svg = figures.molecule_svg(row["smiles"])
        found.append(
            {
                "picture": Picture(svg, f"structure of {row['smiles']}") if svg else None,
                "row": row["row"],
                "id": row["id"],
                "smiles": row["smiles"],
                "task": task,
                "measured": row[task],
                "predicted": row[predicted(task)],
                "similarity": row.get("similarity"),
            }
        )
    return found


def _settings(run: Results) -> dict[str, dict[str, str]]:
    sections: dict[str, Any] = {
        "Input of the model": run.extra["featurizer"],
        "Model": {**run.model.get("encoder", {}), **run.model.get("predictor", {})},
        "Training": {**run.settings.get("training", {}),
                     **{key: run.metrics[key] for key in ("epochs", "steps") if key in run.metrics}},
        **({"Calibration": run.calibration} if run.calibration else {}),
        "Versions": run.versions,
    }  # fmt: skip
    if isinstance(run.settings.get("encoder"), str):
        sections["Model"] = {"started from": run.settings["encoder"], **sections["Model"]}
    return {name: _flat(values, "" if isinstance(values, Mapping) else "value") for name, values in sections.items()}


def _flat(values: object, prefix: str = "") -> dict[str, str]:
    """Name every value of nested settings, as text."""
    if isinstance(values, list):
        text = ", ".join(map(str, values)) if len(values) <= _LONG else f"{len(values)} values"
        return {prefix: text}
    if not isinstance(values, Mapping):
        return {prefix: str(values)}
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _picture(figure: Figure, alt: str) -> Picture:
    return Picture(figures.to_svg(figure), alt)


def _number(value: float | None) -> str:
    """Three digits that tell, and a dash for what there is not.

    >>> _number(2.3), _number(-0.0012345), _number(123456.0), _number(None), _number(float("nan"))
    ('2.30', '−0.00123', '123,456', '-', '-')
    """
    if value is None or np.isnan(value):
        return "-"
    whole = 1000 <= abs(value) < 1e9 or value == 0 or abs(value) == 1
    text = f"{value:,.0f}" if whole else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text
