"""`embed`: any saved model over files of molecules -> one embedding for every input row, or for every atom."""

from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend import shipped
from dgl_moleblend.cli import options
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import open_molecules, refuse, say
from dgl_moleblend.cli.screening import (
    Screening,
    Tally,
    check,
    check_output,
    is_folder,
    many,
    open_source,
    prepare,
    run,
)

if TYPE_CHECKING:
    import numpy as np

    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.predict.jobs import Embedding


@click.command(cls=Command)
@click.argument("model", type=click.Path())
@options.input_files
@click.option("-o", "--output", required=True, type=click.Path(), metavar="PATH",
              help="File to write: .parquet (column embedding holds lists) or .npz; or, of a name without an ending, a"
              " folder of Parquet parts.")  # fmt: skip
@many
@options.columns
@click.option("--atoms", is_flag=True, help="One embedding for every atom instead of every molecule.")
@click.option("--readout", "--pooling", "readout", type=click.Choice(["token", "mean", "sum"]),
              help="What represents a molecule: its graph token, or the mean or sum over its atoms. [default: as the "
              "model reads; of a pretrained one the token where pretraining scored it, as of those that ship, else the "
              "mean]")  # fmt: skip
@click.option("--positions", type=click.Choice(["none", "given", "embed"]),
              help="3D coordinates. [default: as the model was trained]")  # fmt: skip
@options.conformer_cache
@click.option("--picture", type=click.Path(dir_okay=False), metavar="PATH",
              help="Draw the embeddings' two main components: .png, .svg or .pdf.")  # fmt: skip
@click.option("--color", metavar="NAME", help="Column of numbers that colours the picture.")
@options.accelerator
@options.workers
@options.quiet
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    inputs: tuple[str, ...],
    output: str,
    atoms: bool,
    readout: str | None,
    positions: str | None,
    picture: str | None,
    color: str | None,
    screening: Screening,
    accelerator: str,
    workers: int,
    quiet: bool,
    **reading: Any,
) -> None:
    """Compute embeddings with MODEL, a folder that `pretrain` or `finetune` wrote, or weights that ship: mini, small.

    FILE is one data set that `featurize` wrote, or CSV, SMI, SDF, Parquet..; - is standard input. The output has
    the input's rows in the input's order: row, source, line, id, smiles, embedding (NaN where there is none) and
    reason. With --atoms it has a row for every atom: row of the molecule, id, smiles, atom (from 0), element,
    embedding; a SMILES that is not written in the order of the atoms has their numbers, from 1, in it.

    \b
      dgl-moleblend embed mini molecules.smi -o molecules.parquet
      dgl-moleblend embed pretrained esol.csv -o esol.npz --picture esol.png --color logS
      dgl-moleblend embed pretrained molecules.smi -o atoms.parquet --atoms
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if not is_folder(output):
        check_output(output, (".parquet", ".npz"))
    check(ctx, screening, parts=is_folder(output), stdin="-" in inputs)
    at_once = atoms or picture is not None or output.endswith(".npz")
    if at_once and is_folder(output):
        raise click.UsageError("--atoms and --picture are of one file: give -o a name that ends in .parquet or .npz")
    if at_once:
        refuse(ctx, ("executor",), "it is of one embedding for every molecule, in .parquet")
    if picture is not None:
        check_output(picture, (".png", ".svg", ".pdf"), "--picture")
    if color is not None and picture is None:
        raise click.UsageError("--color says how to colour a --picture: give both")
    if atoms:
        refuse(ctx, ("readout",), "with --atoms no molecule is read out")
    shipped.find(model)  # said before torch is imported
    prepare(inputs, screening, workers)
    if color is not None:
        reading["task_columns"] = (color,)

    from dgl_moleblend.files import keep_inputs
    from dgl_moleblend.predict.jobs import Embedding

    for path in (output, picture):
        if path is not None:
            keep_inputs(path, (model, *inputs))
    job = Embedding(model, readout, positions, accelerator)
    if not at_once:
        source = open_source(ctx, (), inputs, job, **reading)
        run(source, job, output, None, screening, workers=workers, progress=not quiet).say("embedded")
    else:
        dataset = open_molecules(ctx, inputs, job.featurizer, workers=workers, quiet=quiet, **reading)
        vectors = write_at_once(dataset, job, output, atoms=atoms, progress=not quiet)
        if picture is not None:
            draw(dataset, vectors, picture, color)
    say(f"embeddings: {output}")
    if picture is not None:
        say(f"picture: {picture}")


def write_at_once(
    dataset: "MoleculeDataset", job: "Embedding", output: str, *, atoms: bool, progress: bool
) -> "np.ndarray":
    """Write the embeddings of all molecules, or of their atoms, and return them."""
    import numpy as np

    from dgl_moleblend.predict.tables import align, tabulate_atoms, write_embeddings

    vectors = np.empty((0, job.model.encoder.config.feat_size), np.float32)
    how: dict[str, Any] = {"progress": progress, "accelerator": job.accelerator}
    if len(dataset):
        model = job.model
        vectors = model.embed_atoms(dataset, **how) if atoms else model.embed(dataset, readout=job.readout, **how)
    molecules = align(dataset, {} if atoms else {"embedding": list(vectors)})
    write_embeddings(tabulate_atoms(dataset, vectors) if atoms else molecules, output)
    tally = Tally()
    tally.count(molecules)
    tally.say("embedded")
    return vectors


def draw(dataset: "MoleculeDataset", vectors: "np.ndarray", path: str, color: str | None) -> None:
    """Draw embeddings of molecules or atoms, coloured by the molecules' labels."""
    import numpy as np

    from dgl_moleblend.report import figures
    from dgl_moleblend.report.projection import embedding_map

    values = None if color is None else dataset.labels[:, 0].astype(np.float64)
    if values is not None and len(values) < len(vectors):
        values = np.repeat(values, dataset.num_atoms)
    figures.save(embedding_map(np.asarray(vectors), values, color or ""), path)
