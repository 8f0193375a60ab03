"""`predict`: fine-tuned models over files of molecules -> one row of a table for every input row."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend import shipped
from dgl_moleblend.cli import options
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import open_molecules, say
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import MANIFEST_FILE, keep_inputs

if TYPE_CHECKING:
    import pandas as pd


@click.command(cls=Command)
@click.argument("model", type=click.Path(), metavar="MODEL...")
@click.argument("inputs", nargs=-1, metavar="[FILE]...")
@click.option("-s", "--smiles", multiple=True, help="Predict this molecule; may be repeated.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="PATH",
              help="File to write: .csv, .parquet, .json, .jsonl or .html (a page). "
              "[default: standard output]")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "json", "jsonl", "html"]),
              help="json: a list of objects; jsonl: an object a line; html: a page with structures, to be sorted. "
              "[default: as --output ends; csv]")  # fmt: skip
@click.option(
    "--only-predictions", is_flag=True, help="Leave out the other columns of FILE, and be leaner with memory."
)
@click.option("--coverage", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.9, show_default=True,
              help="Share of molecules whose measured value is to lie between NAME_lower and NAME_upper.")  # fmt: skip
@options.columns
@options.accelerator
@options.workers
@options.quiet
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    inputs: tuple[str, ...],
    smiles: tuple[str, ...],
    output: str | None,
    form: str | None,
    only_predictions: bool,
    coverage: float,
    accelerator: str,
    workers: int,
    quiet: bool,
    **reading: Any,
) -> None:
    """Predict properties with MODEL, a folder that `finetune` wrote.

    Several MODEL folders, or one with an ensemble.json, predict their mean. FILE is CSV, SMI, SDF, Excel, Parquet.., or
    a data set that `featurize` wrote; - is standard input. The models remember how molecules are featurized. The
    output has the input's rows in the input's order, with the columns

    \b
      row, source, line, id, smiles   where the molecule comes from
      those of FILE                   as they stand there (SDF: properties), unless --only-predictions;
                                      "NAME_input" where NAME is one of these here
      NAME_predicted                  the property, or the probability of class 1
      NAME_spread                     several models: standard deviation over them
      NAME_lower, NAME_upper          regression: holds the measured value of 90 % (--coverage) of
                                      molecules like the validation rows; infinite if these are too few
      similarity, nearest             Tanimoto, to the nearest training molecule; its SMILES
      warning                         "unlike the training set" where similarity is low
      reason                          why a row has no prediction

    An interval can be trusted for a molecule like those that the model was validated on; of new scaffolds, and where
    there is a warning, fewer measured values than promised may lie within. What it held of the test rows is written to
    standard error.

    \b
      dgl-moleblend predict esol-model new.csv -o predictions.csv
      dgl-moleblend predict esol-model new.csv -o page.html
      dgl-moleblend predict esol-model -s CCO -s c1ccccc1
      dgl-moleblend predict seed-0 seed-1 seed-2 new.csv --coverage 0.8 > predictions.csv
      zcat big.smi.gz | dgl-moleblend predict esol-model - --input-format smi > predictions.csv
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if form is None:
        check_output(output, (".csv", ".parquet", ".json", ".jsonl", ".html"))
        form = "html" if output is not None and Path(output).suffix == ".html" else None
    elif output is None and form in ("parquet", "html"):
        raise click.UsageError(f"--format {form} needs an --output")
    shipped.find(model)  # said before torch is imported

    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.predict.ensemble import Ensemble
    from dgl_moleblend.predict.members import is_model
    from dgl_moleblend.predict.tables import beside, write_table, write_text
    from dgl_moleblend.report.trust import describe

    further = next((k for k, path in enumerate(inputs) if not is_model(path)), len(inputs))
    models, files = (model, *inputs[:further]), inputs[further:]
    if bool(files) == bool(smiles):
        raise click.UsageError("give either files or --smiles")
    if output is not None:
        keep_inputs(output, (*models, *files))
    ensemble = Ensemble.from_pretrained(models)
    for text in ensemble.missing:
        say(text)
    if smiles:
        dataset = MoleculeDataset.from_smiles(smiles, featurizer=ensemble.featurizer)
    else:
        if ensemble.feature_columns:
            reading["task_columns"] = ensemble.feature_columns
        dataset = open_molecules(ctx, files, ensemble.featurizer, workers=workers, quiet=quiet, **reading)
    table = ensemble.predict_table(dataset, coverage=coverage, progress=not quiet, accelerator=accelerator)
    if "-" in files and not only_predictions:
        say("standard input is read once: of its columns, those of the molecules are kept")
    elif files and not only_predictions and not any(Path(name, MANIFEST_FILE).is_file() for name in files):
        from dgl_moleblend.readers.reading import FileOptions
        from dgl_moleblend.readers.whole import read_whole

        how = ("input_format", "encoding", "sheet", "decimal", "charge")
        own = read_whole(files, FileOptions(**{name: reading[name] for name in how}))
        if len(own) != len(table):
            raise DataError(f"a file changed while it was read: {len(table):,} rows, then {len(own):,}", where=files[0])
        table, renamed = beside(table, own)
        for name, new in renamed.items():
            say(f"column {name!r} of the input is {new!r} in the output, which has one of that name")
    if output is None:
        write_text(table, sys.stdout, form or "csv", digits=7)
    elif form == "html":
        from dgl_moleblend.report.predictions import write_predictions

        name = ", ".join(Path(one).resolve().name for one in models)
        for text in write_predictions(table, output, ensemble, model=name, coverage=coverage):
            say(text)
    else:
        write_table(table, output, digits=7, form=form)
    for text in describe(ensemble, coverage):
        say(text)
    warned = f", {(table['warning'] != '').sum():,} warned (unlike the training set)" if "warning" in table else ""
    summarize(table, "predicted", warned)


def check_output(output: str | None, suffixes: Sequence[str], option: str = "--output") -> None:
    """Raise a BadParameter, before anything is computed, if a file cannot be written or is of no known format."""
    if output is None:
        return
    if Path(output).suffix not in suffixes:
        raise click.BadParameter(f"{output!r} does not end in {' or '.join(suffixes)}", param_hint=option)
    if not Path(output).parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(Path(output).parent)!r}", param_hint=option)


def summarize(table: "pd.DataFrame", done: str, more: str = "") -> None:
    """Say what became of the rows.

    Raises
    ------
    click.ClickException
        If there is no molecule among them.
    """
    rejected = int((table["reason"] != "").sum())
    why = " (column reason says why)" if rejected else ""
    say(f"{len(table):,} rows: {len(table) - rejected:,} {done}, {rejected:,} rejected{why}{more}")
    if rejected == len(table):
        raise click.ClickException("no molecule was kept")
