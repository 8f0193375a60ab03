"""`embed`: any saved model over files of molecules -> one embedding for every input row."""

from pathlib import Path
from typing import Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import open_molecules, say


@click.command()
@click.argument("model", type=click.Path())
@options.input_files
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), metavar="PATH",
              help="File to write: .parquet (column embedding holds lists) or .npz.")  # fmt: skip
@options.columns
@click.option("--pooling", type=click.Choice(["token", "mean", "sum"]), default="token", show_default=True,
              help="What represents a molecule: its graph token, or the mean or sum over its atoms.")  # fmt: skip
@click.option("--positions", type=click.Choice(["none", "given", "embed"]),
              help="3D coordinates. [default: as the model was trained]")  # fmt: skip
@options.accelerator
@options.workers
@options.quiet
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    inputs: tuple[str, ...],
    output: str,
    pooling: str,
    positions: str | None,
    accelerator: str,
    workers: int,
    quiet: bool,
    **reading: Any,
) -> None:
    """Compute molecule embeddings with MODEL, a folder that `pretrain` or `finetune` wrote.

    FILE is one data set that `featurize` wrote, or CSV, TSV, SMI, SDF or Parquet; - is standard input. The output has
    the input's rows in the input's order: row, source, line, id, smiles, embedding (NaN where there is none) and
    reason.

    \b
      dgl-moleblend embed pretrained molecules.smi -o molecules.parquet
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    suffix = Path(output).suffix
    if suffix not in (".parquet", ".npz"):
        raise click.BadParameter(f"{output!r} ends in neither .parquet nor .npz", param_hint="--output")

    from dgl_moleblend.prediction import align, embed, featurizer_of, write_embeddings

    featurizer = featurizer_of(model)
    if positions is not None:
        featurizer = featurizer.replace(positions=positions)
    dataset = open_molecules(ctx, inputs, featurizer, workers=workers, quiet=quiet, **reading)
    vectors = []
    if len(dataset):
        vectors = list(embed(model, dataset, pooling=pooling, progress=not quiet, accelerator=accelerator))
    table = align(dataset, {"embedding": vectors})
    write_embeddings(table, output)
    if len(dataset.rejects):
        say(f"{len(dataset.rejects):,} of {len(table):,} rows have no embedding; column reason says why")
    if not len(dataset):
        raise click.ClickException("no molecule was kept")
    say(f"embeddings: {output}")
