"""What fine-tuning to values of atoms or bonds left in a folder: read, and checked against each other."""

from pathlib import Path

from dgl_moleblend import folder as model_folder
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import METRICS_FILE, PREDICTIONS_FILE
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.results import Results, read_curves, read_json, read_run_files, read_table


def read_site_results(folder: Path) -> Results:
    """Read the folder of a model of atoms or bonds; `Results.predictions` has a row for each held-out one.

    Raises
    ------
    CheckpointError, DataError
        If a file is missing or damaged, or two do not agree; the message names it.
    """
    saved = model_folder.read(folder, kinds=(model_folder.SITES,))
    needed = ("validation", "test", "mean_predictor", "mean_by_kind", "kinds", "rows", "values", "level", "metric")
    metrics = read_json(folder / METRICS_FILE, needed)
    tasks = saved.extra["task_names"]
    run = Results(
        **read_run_files(folder),
        extra={**saved.extra, "task_type": "regression"},
        model=saved.config,
        metrics=metrics,
        predictions=read_table(folder / PREDICTIONS_FILE, ("row", "id", "smiles", "split", metrics["level"], "kind"),
                               [column for task in tasks for column in (task, predicted(task))]),
        curves=read_curves(folder),
    )  # fmt: skip
    run.predictions[["row", run.metrics["level"]]] = run.predictions[["row", run.metrics["level"]]].astype(int)
    for name in ("validation", "test"):
        found = run.predictions.loc[run.predictions["split"] == name, "row"].nunique()
        if found != (wanted := metrics["rows"][name]):
            raise DataError(f"{PREDICTIONS_FILE} has {found:,} {name} molecules, metrics.json {wanted:,}",
                            where=str(folder), fix="restore the files, or fine-tune again")  # fmt: skip
    return run
