"""report.html: what a fine-tuned model was made from and how good it is, in one file that stands alone."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.data.summary import count_reasons
from dgl_moleblend.files import REPORT_FILE
from dgl_moleblend.models.scores import METRICS, main_metrics, shared_metrics
from dgl_moleblend.predict.ensemble import COVERAGE
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report import figures, sections
from dgl_moleblend.report.findings import findings
from dgl_moleblend.report.html import Picture, title_of, write
from dgl_moleblend.report.results import Results, kept_epoch, read_results
from dgl_moleblend.report.verdict import verdict
from dgl_moleblend.report.words import (
    CANDIDATE_NAMES,
    CLASSES_HELP,
    METRIC_HELP,
    METRIC_NAMES,
    SKELETON,
    UNCERTAINTY_HELP,
    number,
    score_text,
)

IN_SIGHT = ("scaled", "rmse", "mae", "r2", "spearman", "roc_auc", "pr_auc", "mcc")
"""Scores that are in sight; the others are folded away."""
MANY_TASKS = 12
"""More properties than these are reported in a table, without pictures of each."""
WORST = 10
_FEW_OF_CLASS = 10


def write_report(folder: Path) -> Path:
    """Write `report.html` from the files that fine-tuning left in a folder: of one model, of seeds or of folds.

    The page holds its pictures, loads nothing and runs one script, which copies a SMILES. The same files give the same
    page.

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
    scores = _scores(run)
    kept = None if run.runs or run.candidates else kept_epoch(run.curves, run.metrics)
    worst, best = _extremes(run)
    return write(
        folder / REPORT_FILE,
        "report.html.jinja",
        run=run,
        name=folder.resolve().name,
        title=title_of([*run.one_of] or run.tasks),
        usage=sections.usage(run, _one_network(run)),
        counts=sections.counts(run),
        reasons=count_reasons(run.rejects) if run.rejects is not None else None,
        rejects=run.rejects,
        split=sections.split(run),
        verdict=verdict(run),
        findings=findings(run),
        scores=[one for one in scores if one["key"] in IN_SIGHT],
        further_scores=[one for one in scores if one["key"] not in IN_SIGHT],
        main=main_metrics(run.extra["task_type"], len(run.tasks)),
        each_main=IN_SIGHT,
        metric_names=METRIC_NAMES,
        candidate_names=CANDIDATE_NAMES,
        uncertainty=run.metrics.get("uncertainty"),
        uncertainty_help=UNCERTAINTY_HELP,
        learning=sections.learning(run, kept),
        kept=kept,
        skeleton=SKELETON,
        together=_together(run),
        matrix=_matrix(run),
        each=[_task(run, task) for task in run.tasks] if len(run.tasks) <= MANY_TASKS else [],
        folded=_folds(run),
        many_tasks=MANY_TASKS,
        few_of_class=_FEW_OF_CLASS,
        similarity=_similarity(run),
        worst=worst,
        best=best,
        settings=sections.settings(run),
    )


def _one_network(run: Results) -> str:
    """Return the folder of a network, whose atoms can be drawn; "" where there is none."""
    if run.candidates:
        network = run.candidates.get("network", {"weight": 0})
        return shlex.quote(str(run.folder / network["models"][0])) if network["weight"] else ""
    return shlex.quote(str(run.folder / next(iter(run.runs), "")))


def _scores(run: Results) -> list[dict[str, Any]]:
    rows = []
    shared = shared_metrics(run.extra["task_type"], len(run.tasks))
    if shared[0] not in run.metrics["test"]:  # scores of older versions have no "scaled"
        shared = METRICS[run.extra["task_type"]]
    for metric in (one for one in shared if one in run.metrics["test"]):  # nor correlations
        sources = [run.metrics, run.metrics["mean_predictor"]]
        columns = [source[part].get(metric) for source in sources for part in ("validation", "test")]
        if run.folds:
            columns = [source["test"].get(metric) for source in sources]
        left_out = run.metrics["test"]["left_out"].get(metric, 0) if run.metrics["rows"]["test"] else 0
        note = f"{left_out} of {len(run.tasks)} {_kind(run)} have no test {METRIC_NAMES[metric]}" if left_out else ""
        says = (CLASSES_HELP if run.one_of else METRIC_HELP)[metric]
        rows.append({"key": metric, "name": METRIC_NAMES[metric], "help": says, "values": columns, "note": note})
    return rows


def _kind(run: Results) -> str:
    return "classes" if run.one_of else "properties"


def _folds(run: Results) -> bool:
    """Whether there are so many classifications that one picture shows all, and the curves of each are folded away."""
    return run.classifies and len(run.tasks) > 2


def _together(run: Results) -> list[Picture]:
    """Of two properties the ROC and precision-recall curves, a panel each; of more a dot for each one's area."""
    if not run.classifies or not 1 < len(run.tasks) <= MANY_TASKS:
        return []
    values = run.shown[[predicted(task) for task in run.tasks]].to_numpy(float)
    labels = run.shown[run.tasks].to_numpy(float)
    scores = run.metrics[run.part]
    if _folds(run):
        areas = {task: one["roc_auc"] for task, one in scores["tasks"].items() if one["roc_auc"] is not None}
        alt = f"ROC AUC of {len(areas)} {_kind(run)}; mean area {number(scores['roc_auc'])}"
        few = [task for task in areas if (run.shown[task] == 1).sum() < _FEW_OF_CLASS]
        why = f"hollow: fewer than {_FEW_OF_CLASS} molecules of class 1, rough"
        drawn = figures.score_dots(areas, "area under the ROC curve", 0.5, few, why)
        return [Picture.of(drawn, f"{alt}; {len(few)} hollow, of few molecules of class 1")] if areas else []
    return [
        Picture.of(figures.roc(values, labels, run.tasks),
                 f"ROC curves of {len(run.tasks)} {_kind(run)}; mean area {number(scores['roc_auc'])}"),
        Picture.of(figures.precision_recall(values, labels, run.tasks),
                 f"precision-recall curves of {len(run.tasks)} {_kind(run)}; mean average precision"
                 f" {number(scores['pr_auc'])}"),
    ]  # fmt: skip


def _matrix(run: Results) -> dict[str, Any] | None:
    """Count how often each of several classes (a row) was told as each (a column), of the rows shown; else None."""
    if not run.one_of:
        return None
    known = run.shown.dropna(subset=run.tasks)
    truth, told = (known[names].to_numpy(float).argmax(1) for names in (run.tasks, [*map(predicted, run.tasks)]))
    counts = np.zeros((len(run.tasks), len(run.tasks)), int)
    np.add.at(counts, (truth, told), 1)
    ((name, words),) = run.one_of.items()
    return {"name": name, "words": words, "counts": counts.tolist()}


def _task(run: Results, task: str) -> dict[str, Any]:
    """Pictures of one property and, for classes, how often 0 and 1 were told right at a probability of 0.5."""
    value, label = run.values(task)
    score = run.metrics[run.part]["tasks"][task]
    present = ~np.isnan(label[:, 0])
    found = {"name": task, "labels": int(present.sum()), "pictures": [], "confusion": None, "positive": 0,
             "too_few": False}  # fmt: skip
    if not run.classifies:
        if present.any():
            known = [name for name in ("r2", "spearman", "mae") if score.get(name) is not None]
            caption = ", ".join(f"{METRIC_NAMES[name]} {score_text(score[name], name)}" for name in known)
            similarity = run.shown["similarity"].to_numpy(float) if "similarity" in run.shown else None
            widths = run.half_widths[:, [run.tasks.index(task)]]
            alt = f"{task}: predicted against measured, {present.sum()} {run.part} molecules; {caption}"
            spread = f"{task}: distribution of predicted minus measured, {present.sum()} {run.part} molecules"
            found["pictures"] = [
                Picture.of(
                    figures.parity(
                        value, label, [task], caption, similarity, widths, COVERAGE, run.bounds(task)[:, None]
                    ),
                    alt,
                ),
                Picture.of(figures.residuals(value, label, [task]), spread),
            ]
        return found
    positive, call = label[present, 0] == 1, value[present, 0] >= 0.5
    found["positive"] = int(positive.sum())
    found["confusion"] = None if run.one_of else {
        "found": int((positive & call).sum()),
        "missed": int((positive & ~call).sum()),
        "false": int((~positive & call).sum()),
        "right": int((~positive & ~call).sum()),
    }  # fmt: skip
    found["too_few"] = _folds(run) and int(positive.sum()) < _FEW_OF_CLASS
    if score["roc_auc"] is not None and not found["too_few"]:
        about = f"{present.sum()} {run.part} molecules, {positive.sum()} of class 1"
        found["pictures"] = [
            Picture.of(figures.roc(value, label, [task]),
                     f"{task}: ROC curve, area {number(score['roc_auc'])}; {about}"),
            Picture.of(figures.precision_recall(value, label, [task]),
                     f"{task}: precision against recall, average precision {number(score['pr_auc'])}; {about}"),
            Picture.of(figures.reliability(value, label, [task]),
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
        label += f", mean over {_kind(run)}" + ("" if run.classifies else " / deviation")
    similarity = run.shown["similarity"].to_numpy(float)
    alt = f"{label} against the Tanimoto similarity of Morgan fingerprints to the nearest training molecule"
    return Picture.of(figures.error_by_similarity(similarity, errors.mean(axis=1).to_numpy(), label), alt)


def _extremes(run: Results) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Find the molecules with the largest errors, and others with the smallest, each with its worst property."""
    errors = _errors(run)
    order = errors.max(axis=1).dropna().sort_values(ascending=False, kind="stable").index
    best = order[WORST:][::-1][:WORST]
    return _cards(run, errors, order[:WORST]), _cards(run, errors, best)


def _cards(run: Results, errors: pd.DataFrame, rows: pd.Index) -> list[dict[str, Any]]:
    found = []
    for index in rows:
        row, task = run.shown.loc[index], str(errors.loc[index].idxmax())
        found.append(
            {
                "picture": Picture.of_molecule(row["smiles"]),
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
