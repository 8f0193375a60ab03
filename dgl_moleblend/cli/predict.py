"""`predict`: a fine-tuned model over files of molecules -> one row of CSV for every input row."""

import sys
from typing import Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import open_molecules, say


@click.command()
@click.argument("model", type=click.Path())
@click.argument("inputs", nargs=-1, metavar="[FILE]...")
@click.option("-s", "--smiles", multiple=True, help="Predict this molecule; may be repeated.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="PATH",
              help="CSV file to write. [default: standard output]")  # fmt: skip
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
    accelerator: str,
    workers: int,
    quiet: bool,
    **reading: Any,
) -> None:
    """Predict properties with MODEL, a folder that `finetune` wrote.

    FILE is CSV, TSV, SMI, SDF or Parquet; - is standard input. The output has the input's rows in the input's order:
    row, source, line, id, smiles, a column NAME_predicted for each property, and reason, which says why a row has no
    prediction. Classes are predicted as the probability of 1. The model remembers how molecules are featurized.

    \b
      dgl-moleblend predict esol-model new.csv -o predictions.csv
      dgl-moleblend predict esol-model -s CCO -s c1ccccc1
      zcat big.smi.gz | dgl-moleblend predict esol-model - --input-format smi > predictions.csv
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if bool(inputs) == bool(smiles):
        raise click.UsageError("give either files or --smiles")

    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.prediction import PropertyModel

    trained = PropertyModel.from_pretrained(model)
    if smiles:
        dataset = MoleculeDataset.from_smiles(smiles, featurizer=trained.featurizer)
    else:
        dataset = open_molecules(ctx, inputs, trained.featurizer, workers=workers, quiet=quiet, **reading)
    table = trained.predict_table(dataset, progress=not quiet, accelerator=accelerator)
    table.to_csv(output or sys.stdout, index=False)
    if len(dataset.rejects):
        say(f"{len(dataset.rejects):,} of {len(table):,} rows have no prediction; column reason says why")
    if not len(dataset):
        raise click.ClickException("no molecule was kept")
