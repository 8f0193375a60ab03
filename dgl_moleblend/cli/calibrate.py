"""`calibrate`: how far off a model's predictions may be, by measured molecules of a file of their own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend import shipped
from dgl_moleblend.cli import options
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import open_molecules, say
from dgl_moleblend.cli.several import add_molecules, check_tables

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
    from dgl_moleblend.predict.recalibrate import check_overwrite

    check_overwrite(model, overwrite=overwrite)
    ensemble = Ensemble.from_pretrained(model, calibrated=False)
    dataset = open_measured(ensemble, inputs, reading, workers=workers, quiet=quiet, missing_labels=missing_labels)
    apply(model, dataset, inputs, overwrite=overwrite, accelerator=accelerator, progress=not quiet)


def open_measured(
    ensemble: "Ensemble", inputs: tuple[str, ...], reading: Mapping[str, Any], **how: Any
) -> "MoleculeDataset":
    """Read measured molecules as a model reads them, with its labels and the columns beside them."""
    columns, molecules = (*ensemble.label_columns, *ensemble.feature_columns), ensemble.smiles_columns
    if molecules:
        check_tables(click.get_current_context(), inputs, molecules)
        reading = {**reading, "smiles_column": molecules[0]}
    first = open_molecules(
        click.get_current_context(), inputs, ensemble.featurizer, task_columns=columns, **reading, **how
    )
    return add_molecules(first, inputs, molecules, reading, workers=how["workers"], quiet=how["quiet"])


def check(measured: "MoleculeDataset", dataset: "MoleculeDataset", task_type: str | None, files: Sequence[str]) -> None:
    """See that a model to be trained on a data set can be calibrated by measured molecules."""
    from dgl_moleblend.predict.recalibrate import check_measured

    check_measured(measured, dataset.task_names, task_type, dataset.classes, _name(files))


def apply_to_new(model: str, dataset: "MoleculeDataset", files: Sequence[str], **how: Any) -> None:
    """Calibrate a model that was just trained; where that fails, say that the model is there."""
    from dgl_moleblend.errors import DataError

    try:
        apply(model, dataset, files, overwrite=True, **how)
    except DataError:
        say(f"the model is finished, in {model}; its calibration on {_name(files)} failed")
        raise


def _name(files: Sequence[str]) -> str:
    from pathlib import Path

    return ", ".join(Path(name).name for name in files)


def apply(model: str, dataset: "MoleculeDataset", files: Sequence[str], **how: Any) -> None:
    """Calibrate, write the report anew, and say what came of it."""
    from pathlib import Path

    from dgl_moleblend.predict.ensemble import COVERAGE, Ensemble
    from dgl_moleblend.report.measured import calibrate_and_report
    from dgl_moleblend.report.trust import describe

    found = calibrate_and_report(Path(model), dataset, _name(files), **how)
    assert found.source is not None
    if left_out := found.source["left_out"]:
        say(f"{left_out:,} rows left out: their molecule is in the training set, or cannot be told from one that is")
    if repeated := found.source["repeated"]:
        say(f"{repeated:,} rows repeat the molecule of a row before: the first label of each counts")
    for text in describe(Ensemble.from_pretrained(model), COVERAGE):
        say(text)
