"""`featurize`: files of molecules -> a store on disk, or DGLGraphs."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.executors import open_executor
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import check_embedding, resumable, say
from dgl_moleblend.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from dgl_moleblend.readers.records import Reader

DATASETS = ("pcqm4mv2", "qm9", "esol", "freesolv", "lipophilicity", "bbbp", "bace", "bace_regression", "tox21",
            "toxcast", "hiv", "muv", "sider", "clintox")  # fmt: skip
"""Names of `dgl_moleblend.readers.published`, which takes long to import."""


@click.command(cls=Command)
@options.input_files
@options.output
@options.columns
@options.tasks
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(),
    metavar="TABLE",
    help="With SDF files: take labels from this table, which has one row per record in the same order.",
)
@click.option(
    "--dataset",
    type=click.Choice(DATASETS),
    metavar="NAME",
    help=f"FILE is the folder of a published data set, whose columns and units are known: {', '.join(DATASETS)}.",
)
@click.option(
    "--uncharacterized",
    type=click.Path(),
    metavar="FILE",
    help="With --dataset qm9: leave out the molecules of the authors' uncharacterized.txt.",
)
@options.featurizer
@options.seed
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["store", "dgl"]),
    default="store",
    show_default=True,
    help="A store (a folder, memory-mapped, for training), or one file for dgl.load_graphs (small sets).",
)
@click.option("--max-atoms", type=click.IntRange(1, 65_535), metavar="N", help="Reject larger molecules.")
@click.option(
    "--on-failed-conformer",
    type=click.Choice(["reject", "keep"]),
    default="reject",
    show_default=True,
    help="Molecules that get no 3D positions: rejected, or kept without.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    default=20_000,
    show_default=True,
    metavar="ROWS",
    help="Input rows per file of the store; an interrupted run loses at most so many.",
)
@click.option("--shard", callback=options.read_shard, metavar="K/N",
              help="Featurize every N-th block of --shard-size rows alone, from the K-th on: for N runs, each into a"
              " data set of its own; `pretrain` takes them all.")  # fmt: skip
@options.workers
@click.option(
    "--executor",
    metavar="NAME",
    help="Who does the work instead: dask:ADDRESS (a dask scheduler), or MODULE:FUNCTION that returns any"
    " concurrent.futures executor; --workers then says how many it has.",
)
@click.option("--overwrite", is_flag=True, help="Replace what is there instead of going on with it.")
@options.quiet
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    labels_file: str | None,
    dataset: str | None,
    uncharacterized: str | None,
    output: str,
    output_format: str,
    positions: str,
    num_conformers: int,
    standardize: tuple[str, ...],
    timeout: float,
    optimize: bool,
    seed: int,
    max_atoms: int | None,
    on_failed_conformer: str,
    shard_size: int,
    shard: tuple[int, int] | None,
    workers: int,
    executor: str | None,
    overwrite: bool,
    quiet: bool,
    **reading: Any,
) -> None:
    """Turn files of molecules into a data set on disk.

    FILE is CSV, TSV, SMI, SDF, Excel, Parquet, MOL2, XYZ or PDB (of a ligand), each also packed (.gz, .bz2, .xz, .zst,
    .zip), or Uni-Mol's .lmdb; a folder or a glob of files is one input, and - is standard input. Every input row is
    either in the data set or in rejects.csv, with line and reason. A run that was interrupted goes on where it
    stopped if the same command is given again.

    \b
      dgl-moleblend featurize esol.csv --tasks logS -o esol.store
      dgl-moleblend featurize '*.sdf.gz' --positions given --tasks all -o qm.store
      dgl-moleblend featurize --dataset pcqm4mv2 ogb/pcqm4m-v2 --positions given --on-failed-conformer keep -o pcq.store
      dgl-moleblend featurize - --input-format smi --positions embed -o zinc.store < zinc.smi
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from dgl_moleblend.config import FeaturizerConfig
    from dgl_moleblend.data.codec import MAX_ATOMS
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.featurize import featurize_to_store, featurize_to_table
    from dgl_moleblend.data.molecules import PipelineConfig
    from dgl_moleblend.data.store import MoleculeStore
    from dgl_moleblend.data.table import MoleculeTable
    from dgl_moleblend.data.unusual import remarks
    from dgl_moleblend.files import REJECTS_FILE, keep_inputs, write_atomically
    from dgl_moleblend.pairs.loader import save_graphs
    from dgl_moleblend.readers.share import Share

    check_embedding(ctx, positions)
    rejects_path = Path(output, REJECTS_FILE)
    if output_format == "dgl":
        rejects_path = Path(output).with_suffix(".rejects.csv")
    for path in (output, rejects_path):
        keep_inputs(path, (*inputs, *(name for name in (labels_file, uncharacterized) if name is not None)))
    if shard is not None and "-" in inputs:
        raise click.UsageError("leave out --shard: standard input can be read but once")
    reader = _open(inputs, labels_file, dataset, uncharacterized, reading)
    left_out = _left_out(reader)
    if shard is not None:
        reader = Share(reader, *shard, block=shard_size)
    featurizer = FeaturizerConfig(positions, seed=seed, num_conformers=num_conformers, timeout=timeout,
                                  optimize=optimize, standardize=standardize)  # fmt: skip
    config = PipelineConfig(featurizer, max_atoms or MAX_ATOMS, on_failed_conformer)
    if output_format == "dgl":
        _refuse_existing(output, overwrite)
    with open_executor(executor) as given:
        how: dict[str, Any] = {"workers": workers, "executor": given, "progress": not quiet}
        if output_format == "store":
            with resumable("; the same command goes on where it stopped"):
                table: MoleculeTable = featurize_to_store(
                    reader, output, config, shard_size=shard_size, overwrite=overwrite, **how
                )
        else:
            table = featurize_to_table(reader, config, **how)
    if output_format == "dgl":
        write_atomically(rejects_path, lambda temporary: table.rejects.to_csv(temporary, index=False))
        if len(table):
            save_graphs(MoleculeDataset(table), output)
    _report(len(table), table.rejects, output, rejects_path)
    for text in (*left_out, *remarks(MoleculeDataset(table))):
        say(text)
    if isinstance(reader, Share) and not len(table) + len(table.rejects):
        blocks = table.manifest["blocks"] if isinstance(table, MoleculeStore) else reader.blocks
        if blocks:  # else the whole input has no rows
            no_file = "; no file of graphs is written, as DGL has none without graphs" * (output_format == "dgl")
            say(f"this share has no rows, which is no error: {reader.of:,} shares of {blocks:,} blocks of"
                f" {shard_size:,} rows (--shard-size){no_file}")  # fmt: skip
            return
    if not len(table):
        raise click.ClickException("no molecule was kept")


def _open(
    inputs: tuple[str, ...],
    labels_file: str | None,
    dataset: str | None,
    uncharacterized: str | None,
    reading: dict[str, Any],
) -> "Reader":
    """Choose the reader; options that it would not look at are refused."""
    given = {f"--{name.replace('_', '-')}" for name, value in reading.items() if value not in (None, ())}
    given = {{"--task-columns": "--tasks", "--missing-labels": "--missing-label"}.get(name, name) for name in given}
    if uncharacterized and dataset != "qm9":
        raise click.UsageError("--uncharacterized goes with --dataset qm9")
    if dataset is not None:
        from dgl_moleblend.readers.published import open_published

        if given or labels_file or len(inputs) != 1:
            raise click.UsageError("--dataset takes one folder, and neither columns nor labels: it knows them")
        return open_published(dataset, inputs[0], **({"uncharacterized": uncharacterized} if uncharacterized else {}))
    if all(name.endswith(".lmdb") for name in inputs):
        from dgl_moleblend.readers.lmdb import UniMolReader

        if given - {"--tasks"} or labels_file or len(inputs) != 1:
            raise click.UsageError("an .lmdb file is read alone, and takes none of these options but --tasks")
        names = [name for text in reading["task_columns"] for name in text.split(",")]
        return UniMolReader(inputs[0], names or None)
    if labels_file is not None:
        from dgl_moleblend.readers.pairing import PairedReader

        if reading.pop("input_format") not in (None, "sdf"):
            raise click.UsageError("--labels goes with SDF files")
        if reading.pop("charge") is not None:
            raise click.UsageError("--charge goes with XYZ and PDB files, and --labels with SDF files")
        return PairedReader(inputs, labels_file, **reading)
    from dgl_moleblend.readers.molecules import MoleculeReader

    return MoleculeReader(inputs, **reading)


def _left_out(reader: "Reader") -> list[str]:
    """Say which columns could be labels where none is asked for; before standard input is read."""
    from dgl_moleblend.readers.columns import listed
    from dgl_moleblend.readers.labels import columns_of_numbers
    from dgl_moleblend.readers.molecules import MoleculeReader
    from dgl_moleblend.readers.pairing import PairedReader

    if reader.task_names or not isinstance(reader, MoleculeReader | PairedReader):
        return []
    cells, commas = reader.first_cells()
    names = columns_of_numbers(cells, commas=commas)
    if not names:
        return []
    option = f"--tasks {shlex.quote(','.join(names))}" if len(names) <= 3 else "--tasks NAME,... or --tasks all"
    return [f"left out: {listed(names)}, numbers or classes that models can learn ({option} keeps them)"]


def _refuse_existing(output: str, overwrite: bool) -> None:
    if Path(output).exists() and not overwrite:
        raise DataError("the file is there already", where=output, fix="give another name, or pass --overwrite")
    if not Path(output).absolute().parent.is_dir():
        raise DataError("there is no such folder", where=str(Path(output).parent), fix="make it, or give another")


def _report(kept: int, rejects: "pd.DataFrame", output: str, rejects_path: Path) -> None:
    """Say how many rows went where."""
    stages = ", ".join(f"{stage} {count:,}" for stage, count in rejects["stage"].value_counts().items())
    say(f"{kept + len(rejects):,} rows: {kept:,} kept, {len(rejects):,} rejected"
        + (f" ({stages})" if stages else ""))  # fmt: skip
    say(f"molecules: {output}\nrejects:   {rejects_path}")
