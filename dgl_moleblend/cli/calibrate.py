"""`calibrate`: how far off a model's predictions may be, by measured molecules of a file of their own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend import shipped
from dgl_moleblend.cli import options
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import open_molecules, say
from dgl_moleblend.cli.several import add_molecules

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.predict.ensemble import Ensemble


@click.command(cls=Command)
@click.argument("model", type=click.Path(), metavar="MODEL")
@options.input_files
@options.reading
@click.option("--missing-label", "missing_labels", type=float, multiple=True, metavar="NUMBER",
              help="A number that stands for a missing label, such as -1. Blank and NaN always do.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an earlier calibration on a file.")
@options.accelerator
@options.workers
@options.quiet
def command(
    model: str,
    inputs: tuple[str, ...],
    reading: Mapping[str, Any],
    missing_labels: tuple[float, ...],
    overwrite: bool,
    accelerator: str,
    workers: int,
    quiet: bool,
) -> None:
    """Calibrate MODEL, a folder that `finetune` wrote, on measured molecules that it did not learn from.

    FILE has the columns of labels that the model was trained on. Its rows take the place of the validation rows:
    intervals of a regression are made from the errors on them, and probabilities of classes are rescaled by them where
    that helps. Rows whose molecule is in the training set (or has the fingerprint of one that is) are left out. MODEL
    gets calibration_file.json and a new report.html; delete the former, and validation rows count again.

    \b
      dgl-moleblend calibrate assay-model last-month.csv
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    shipped.find(model)  # said before torch is imported

    from dgl_moleblend.predict.ensemble import Ensemble

    ensemble = Ensemble.from_pretrained(model)
    dataset = open_measured(ensemble, inputs, reading, workers=workers, quiet=quiet, missing_labels=missing_labels)
    apply(model, dataset, inputs, overwrite=overwrite, accelerator=accelerator, progress=not quiet)


def open_measured(
    ensemble: "Ensemble", inputs: tuple[str, ...], reading: Mapping[str, Any], **how: Any
) -> "MoleculeDataset":
    """Read measured molecules as a model reads them, with its labels and the columns beside them."""
    columns, molecules = (*ensemble.label_columns, *ensemble.feature_columns), ensemble.smiles_columns
    if molecules:
        reading = {**reading, "smiles_column": molecules[0]}
    first = open_molecules(
        click.get_current_context(), inputs, ensemble.featurizer, task_columns=columns, **reading, **how
    )
    return add_molecules(first, inputs, molecules, reading, workers=how["workers"], quiet=how["quiet"])


def apply(model: str, dataset: "MoleculeDataset", inputs: tuple[str, ...], **how: Any) -> None:
    """Calibrate, write the report anew, and say what came of it."""
    from pathlib import Path

    from dgl_moleblend.files import METRICS_FILE
    from dgl_moleblend.predict.ensemble import COVERAGE, Ensemble
    from dgl_moleblend.predict.recalibrate import calibrate_on
    from dgl_moleblend.report.page import write_report
    from dgl_moleblend.report.trust import describe

    found = calibrate_on(model, dataset, ", ".join(Path(name).name for name in inputs), **how)
    left_out = found.source["left_out"] if found.source is not None else 0
    if left_out:
        say(f"{left_out:,} rows left out: their molecule is in the training set, or cannot be told from one that is")
    for text in describe(Ensemble.from_pretrained(model), COVERAGE):
        say(text)
    if Path(model, METRICS_FILE).is_file():
        write_report(Path(model))
