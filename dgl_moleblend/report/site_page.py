"""report.html of a model of atoms or bonds: errors beside the means of kinds, by kind, and where they are largest."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.data.summary import count_reasons
from dgl_moleblend.files import REPORT_FILE
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report import figures, sections
from dgl_moleblend.report.html import Picture, title_of, write
from dgl_moleblend.report.results import Results, kept_epoch
from dgl_moleblend.report.site_results import read_site_results
from dgl_moleblend.report.verdict import Verdict, grade
from dgl_moleblend.report.words import METRIC_HELP, METRIC_NAMES, score_text

WORST = 10
_SHOWN = ("rmse", "mae", "r2")
_KINDS = {"atom": "element", "bond": "kind of bond"}


def write_site_report(folder: Path) -> Path:
    """Write `report.html` from the files that fine-tuning to values of atoms or bonds left in a folder.

    Parameters
    ----------
    folder : Path
        With config.json, metrics.json, predictions.csv, split.csv, run.json and logs; rejects.csv where it is.

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
    run = read_site_results(folder)
    level, part = run.metrics["level"], run.part
    kept = kept_epoch(run.curves, run.metrics)
    return write(
        folder / REPORT_FILE,
        "sites.html.jinja",
        run=run,
        name=folder.resolve().name,
        title=title_of(run.tasks),
        usage=sections.usage(run),
        level=level,
        of_kind=_KINDS[level],
        verdict=judge(run),
        scores=_scores(run),
        by_kind=[
            (name, kind, row) for name, kinds in run.metrics["kinds"][part].items() for kind, row in kinds.items()
        ],
        pictures=[(task, _pictures(run, task)) for task in run.tasks],
        worst=_worst(run),
        counts=sections.counts(run),
        split=sections.split(run),
        rejects=run.rejects,
        reasons=count_reasons(run.rejects) if run.rejects is not None else None,
        learning=sections.learning(run, kept),
        kept=kept,
        metric_names=METRIC_NAMES,
        settings=sections.settings(run),
    )


def judge(run: Results) -> Verdict:
    """Judge by the share that is explained of what the means of kinds leave, the mean over values."""
    of_kind = _KINDS[run.metrics["level"]]
    own, mean = run.metrics[run.part]["tasks"], run.metrics["mean_by_kind"][run.part]["tasks"]
    pairs = [(own[task]["rmse"], mean[task]["rmse"]) for task in run.tasks]
    if any(error is None or not constant for error, constant in pairs):
        return Verdict(
            "unknown", f"The {run.part} rows say too little: a value has no error beside its mean by {of_kind}."
        )
    share = float(np.mean([1 - (error / constant) ** 2 for error, constant in pairs]))
    several = ", the mean over values" if len(pairs) > 1 else ""
    return grade("r2", share, f"{share:.0%} of the squared error of the mean by {of_kind} is taken away on {run.part} "
                              f"rows{several}")  # fmt: skip


def _scores(run: Results) -> list[dict[str, Any]]:
    sources = (run.metrics, run.metrics["mean_by_kind"], run.metrics["mean_predictor"])
    rows = []
    for task in run.tasks:
        for metric in _SHOWN:
            values = [run.metrics["validation"]["tasks"][task][metric]]
            values += [source["test"]["tasks"][task][metric] for source in sources]
            rows.append({"task": task, "name": METRIC_NAMES[metric], "key": metric, "values": values,
                         "help": METRIC_HELP[metric]})  # fmt: skip
    return rows


def _pictures(run: Results, task: str) -> list[Picture]:
    value, truth = run.values(task)
    known = int((~np.isnan(truth)).sum())
    if not known:
        return []
    score = run.metrics[run.part]["tasks"][task]
    caption = ", ".join(f"{METRIC_NAMES[name]} {score_text(score[name], name)}"
                        for name in ("r2", "mae") if score[name] is not None)  # fmt: skip
    what = f"{known:,} {run.metrics['level']}s of {run.part} molecules"
    return [
        Picture.of(figures.parity(value, truth, [task], caption),
                   f"{task}: predicted against measured, {what}; {caption}"),
        Picture.of(figures.residuals(value, truth, [task], unit=f"{run.metrics['level']}s"),
                   f"{task}: distribution of predicted minus measured, {what}"),
    ]  # fmt: skip


def _worst(run: Results) -> list[dict[str, Any]]:
    """Find the molecules with the largest errors, each with its worst site; of several values in units of each."""
    shown, level = run.shown, run.metrics["level"]
    scale = np.asarray(run.extra["prior"]["scale"], float)
    errors = pd.DataFrame(
        np.abs(shown[[*map(predicted, run.tasks)]].to_numpy(float) - shown[run.tasks].to_numpy(float)) / scale,
        columns=run.tasks, index=shown.index,
    ).dropna(how="all")  # fmt: skip
    order = errors.max(axis=1).sort_values(ascending=False, kind="stable").index
    first = shown.loc[order].drop_duplicates("row").index[:WORST]
    found = []
    for index in first:
        row, task = shown.loc[index], str(errors.loc[index].idxmax())
        found.append({"picture": Picture.of_molecule(row["smiles"]), "row": row["row"], "id": row["id"],
                      "smiles": row["smiles"], "task": task, "site": f"{level} {row[level]} ({row['kind']})",
                      "measured": row[task], "predicted": row[predicted(task)]})  # fmt: skip
    return found
