"""`predict`: fine-tuned models over files of molecules -> one row of a table for every input row."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend import shipped
from dgl_moleblend.cli import options
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import say
from dgl_moleblend.cli.screening import (
    Screening,
    check,
    check_output,
    is_folder,
    many_or_best,
    open_source,
    prepare,
    rank_by,
    run,
)
from dgl_moleblend.cli.sites import open_site_job
from dgl_moleblend.files import keep_inputs

if TYPE_CHECKING:
    import pandas as pd

    from dgl_moleblend.predict.jobs import Prediction


@click.command(cls=Command)
@click.argument("model", type=click.Path(), metavar="MODEL...")
@click.argument("inputs", nargs=-1, metavar="[FILE]...")
@click.option("-s", "--smiles", multiple=True, help="Predict this molecule; may be repeated.")
@click.option("-o", "--output", type=click.Path(), metavar="PATH",
              help="File to write: .csv, .parquet, .json, .jsonl or .html (a page); or, of a name without an ending, a"
              " folder of Parquet parts. [default: standard output]")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "json", "jsonl", "html"]),
              help="json: a list of objects; jsonl: an object a line; html: a page with structures, to be sorted. "
              "[default: as --output ends; csv]")  # fmt: skip
@click.option("--only-predictions", is_flag=True, help="Leave out the other columns of FILE.")
@click.option("--coverage", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.9, show_default=True,
              help="Share of molecules whose measured value is to lie between NAME_lower and NAME_upper.")  # fmt: skip
@many_or_best
@options.columns
@options.conformer_cache
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
    screening: Screening,
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
      NAME_predicted                  the property, or the probability of class 1; of several classes
                                      the most probable, and NAME=CLASS_predicted the probability of each
      NAME_spread                     several models, as a comparison keeps: how far they are apart, the
                                      standard deviation of what they say
      NAME_deviation                  regression: how far off the model holds the prediction to be, where
                                      it was trained to tell (--loss gaussian, quantile), or the width of
                                      intervals goes by it
      NAME_lower, NAME_upper          regression: holds the measured value of 90 % (--coverage) of
                                      molecules like those that the model is calibrated on (validation
                                      rows, or those of `calibrate`); infinite if these are too few
      similarity, nearest             Tanimoto, to the nearest training molecule; its SMILES
      warning                         "unlike the training set" where similarity is low; "beyond the
                                      model's vocabulary": isotopes, dummy atoms (*), charges beyond 5
      reason                          why a row has no prediction

    Of a model of atoms or bonds, NAME_predicted is a list (in text, JSON): a value for each atom or bond in RDKit's
    order of the molecule as written, without hydrogens; where smiles is not written in that order, its atoms have their
    numbers, from 1.

    An interval can be trusted for a molecule like those that the model was calibrated on; of new scaffolds, and where
    there is a warning, fewer measured values than promised may lie within. What it held of the test rows is written to
    standard error.

    Rows are read, computed and written as they come, so that many of them take hardly more memory (but for a page,
    which holds all). A file appears when all are in it. A folder gets a Parquet file for every 100,000 rows or so,
    which pandas and others read as one; a run into a folder that was cut off goes on with --resume, and with --shard
    many machines share the work.

    \b
      dgl-moleblend predict esol-model new.csv -o predictions.csv
      dgl-moleblend predict esol-model new.csv -o page.html
      dgl-moleblend predict esol-model -s CCO -s c1ccccc1
      dgl-moleblend predict seed-0 seed-1 seed-2 new.csv --coverage 0.8 > predictions.csv
      zcat big.smi.gz | dgl-moleblend predict esol-model - --input-format smi --format jsonl > predictions.jsonl
      dgl-moleblend predict esol-model library.smi.gz -o hits.csv --top 1000 --only-predictions
      dgl-moleblend predict esol-model library.smi.gz -o predictions --shard 3/64
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if form is None and not is_folder(output):
        check_output(output, (".csv", ".parquet", ".json", ".jsonl", ".html"))
        form = "html" if output is not None and Path(output).suffix == ".html" else None
    elif output is None and form in ("parquet", "html"):
        raise click.UsageError(f"--format {form} needs an --output")
    check(ctx, screening, parts=is_folder(output, form), stdin="-" in inputs)
    shipped.find(model)  # said before torch is imported
    prepare(inputs, screening, workers)

    from dgl_moleblend.predict.jobs import Prediction, SitePrediction
    from dgl_moleblend.predict.members import is_model, predicts_sites
    from dgl_moleblend.report.trust import describe

    further = next((k for k, path in enumerate(inputs) if not is_model(path)), len(inputs))
    models, files = (model, *inputs[:further]), inputs[further:]
    if bool(files) == bool(smiles):
        raise click.UsageError("give either files or --smiles")
    if output is not None:
        keep_inputs(output, (*models, *files))
    rank, page = None, None
    columns: tuple[str, ...] = ()
    molecules: tuple[str, ...] = ()
    job: Prediction | SitePrediction
    if any(map(predicts_sites, models)):
        job = open_site_job(ctx, models, form, accelerator)
    else:
        job = Prediction(models, coverage, accelerator)
        for text in job.ensemble.missing:
            say(text)
        rank, columns = rank_by(screening, job.ensemble.task_names), job.ensemble.feature_columns
        molecules = job.ensemble.smiles_columns
        page = functools.partial(write_page, output, job, models) if output and form == "html" else None
    source = open_source(ctx, smiles, files, job, task_columns=columns, keep_cells=not only_predictions,
                         smiles_columns=molecules, **reading)  # fmt: skip
    tally = run(source, job, output, form, screening, rank=rank, page=page, workers=workers, progress=not quiet)
    for name, new in source.renamed.items():
        say(f"column {name!r} of the input is {new!r} in the output, which has one of that name")
    for text in () if isinstance(job, SitePrediction) else describe(job.ensemble, coverage):
        say(text)
    tally.say("predicted")


def write_page(path: str, job: "Prediction", models: Sequence[str], table: "pd.DataFrame") -> None:
    """Write predictions as a page."""
    from dgl_moleblend.report.predictions import write_predictions

    name = ", ".join(Path(one).resolve().name for one in models)
    for text in write_predictions(table, path, job.ensemble, model=name, coverage=job.coverage):
        say(text)
