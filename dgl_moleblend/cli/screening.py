"""Options of commands that compute a table of any number of rows, step by step, and where such a table goes."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.executors import open_executor
from dgl_moleblend.cli.inputs import check_embedding, open_molecules, refuse, resumable, say
from dgl_moleblend.cli.several import check_tables
from dgl_moleblend.env.processes import prepare_workers
from dgl_moleblend.files import MANIFEST_FILE

if TYPE_CHECKING:
    import pandas as pd

    from dgl_moleblend.predict.jobs import Job
    from dgl_moleblend.predict.parts import Parts
    from dgl_moleblend.predict.screen import Featurized, Files

MANY = 200_000
"""Bytes of files of molecules from which on processes are started before anything is read."""
DIGITS = 7
"""Of numbers in text."""


@dataclass(frozen=True)
class Screening:
    """How a table of many rows is computed and kept.

    Parameters
    ----------
    shard : tuple of int, optional
        Which share of the parts is this run's, from 1, and how many there are.
    part_rows : int
        Rows of a part, at least.
    resume : bool
    top : int, optional
        How many rows are kept, of those that are best `by` a property.
    by : str, optional
    lowest : bool
    executor : str, optional
    """

    shard: tuple[int, int] | None
    part_rows: int
    resume: bool
    executor: str | None
    top: int | None = None
    by: str | None = None
    lowest: bool = False


_MANY = (
    click.option("--resume", is_flag=True, help="Go on with the folder of parts of a run that was cut off."),
    click.option("--shard", callback=options.read_shard, metavar="K/N",
                 help="Compute every N-th part alone, from the K-th on: for N runs into one folder."),
    click.option("--part-rows", type=click.IntRange(1), default=100_000, show_default=True, metavar="N",
                 help="Rows of a part (rounded up to a multiple of 2,048)."),
    click.option("--executor", metavar="NAME",
                 help="Compute elsewhere: dask:ADDRESS, or MODULE:FUNCTION that returns a concurrent.futures executor,"
                 " whose workers find MODEL under the same name; --workers then says how many it has."),
)  # fmt: skip
_BEST = (
    click.option("--top", type=click.IntRange(1), metavar="N", help="Write the N best rows alone, the best first."),
    click.option("--by", metavar="NAME", help="The property that says what is best. [default: the only one]"),
    click.option("--lowest", is_flag=True, help="The lowest values are the best."),
)
many = options.grouped("screening", Screening, *_MANY, title="Many molecules")
"""The argument `screening` of a command that computes a row for each input row."""
many_or_best = options.grouped("screening", Screening, *_MANY, *_BEST, title="Many molecules")
"""The same, of one whose rows have an order of merit."""


def is_folder(output: str | None, form: str | None = None) -> bool:
    """Whether an output is a folder of parts: it has no ending, and no format is asked for."""
    return output is not None and form is None and not Path(output).suffix


def check_output(output: str | None, suffixes: Sequence[str], option: str = "--output") -> None:
    """Raise a BadParameter, before anything is computed, if a file cannot be written or is of no known format."""
    if output is None:
        return
    if Path(output).suffix not in suffixes:
        raise click.BadParameter(f"{output!r} does not end in {' or '.join(suffixes)}", param_hint=option)
    if not Path(output).parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(Path(output).parent)!r}", param_hint=option)


def check(ctx: click.Context, screening: Screening, *, parts: bool, stdin: bool) -> None:
    """Raise a UsageError if options do not go together."""
    if not parts:
        refuse(ctx, ("resume", "shard", "part_rows"), "it is of a folder of parts; give -o a name without an ending")
    elif stdin:
        refuse(ctx, ("resume", "shard"), "standard input can be read but once")
    if screening.top is None:
        refuse(ctx, ("by", "lowest"), "it is of --top")
    elif parts:
        raise click.UsageError("--top writes one file: give -o a name that ends in .csv, .parquet, .json or .jsonl")


def rank_by(screening: Screening, names: Sequence[str]) -> str | None:
    """Return the column that rows are ranked by.

    Raises
    ------
    click.UsageError
        If there is no such property, or several and none is named.
    """
    from dgl_moleblend.predict.tables import predicted

    if screening.top is None:
        return None
    by = screening.by if screening.by is not None or len(names) > 1 else names[0]
    if by is None or by not in names:
        what = "--top needs --by" if by is None else f"--by {by}: the model predicts no such property"
        raise click.UsageError(f"{what}; it predicts: {', '.join(names)}")
    return predicted(by)


def prepare(files: Sequence[str], screening: Screening, workers: int) -> None:
    """Let the process that workers come from load what it needs while this one does, if there will be workers."""
    size = sum(path.stat().st_size for path in map(Path, files) if path.is_file())
    if workers > 1 and size > MANY and screening.executor is None:
        prepare_workers("dgl_moleblend.predict.screen")


@dataclass
class Tally:
    """What became of rows."""

    rows: int = 0
    rejected: int = 0
    warned: int | None = None

    def take_up(self, parts: Iterable[Mapping[str, Any]]) -> None:
        """Take up the rows of parts that are there."""
        for part in parts:
            self.rows += part["rows"]
            self.rejected += part["rejected"]
            if part["warned"] is not None:
                self.warned = (self.warned or 0) + part["warned"]

    def count(self, table: "pd.DataFrame") -> None:
        """Take up the rows of a table."""
        self.rows += len(table)
        self.rejected += int((table["reason"] != "").sum())
        if "warning" in table:
            self.warned = (self.warned or 0) + int((table["warning"] != "").sum())

    def say(self, done: str) -> None:
        """Say what became of the rows.

        Raises
        ------
        click.ClickException
            If there is no molecule among them.
        """
        why = " (column reason says why)" if self.rejected else ""
        more = "" if self.warned is None else f", {self.warned:,} warned (column warning says why)"
        say(f"{self.rows:,} rows: {self.rows - self.rejected:,} {done}, {self.rejected:,} rejected{why}{more}")
        if self.rejected == self.rows:
            raise click.ClickException("no molecule was kept")


def open_source(
    ctx: click.Context,
    smiles: Sequence[str],
    files: tuple[str, ...],
    job: "Job",
    *,
    task_columns: Sequence[str] = (),
    keep_cells: bool = False,
    smiles_columns: Sequence[str] = (),
    **reading: Any,
) -> "Files | Featurized":
    """Open molecules given as SMILES, a data set that `featurize` wrote, or files that are read on the way.

    Parameters
    ----------
    ctx : click.Context
    smiles, files
        One of the two.
    job : Job
    task_columns : sequence of str
        Columns whose numbers the model reads beside the molecules.
    keep_cells : bool
        Whether the columns of files stand in the output.
    smiles_columns : sequence of str
        Of a model that reads several molecules a row.
    **reading
        See `options.columns`.
    """
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.predict.screen import Featurized, Files
    from dgl_moleblend.readers.molecules import MoleculeReader

    check_embedding(ctx, job.featurizer.positions, files)
    if smiles_columns:
        return _open_several(ctx, smiles, files, smiles_columns, task_columns, keep_cells, reading)
    if smiles:
        refuse(ctx, ("executor",), "it is of files")
        return Featurized(MoleculeDataset.from_smiles(smiles, featurizer=job.featurizer))
    if any(Path(name, MANIFEST_FILE).is_file() for name in files):
        refuse(ctx, ("executor",), "the molecules are featurized already")
        if task_columns:
            reading["task_columns"] = tuple(task_columns)
        return Featurized(open_molecules(ctx, files, job.featurizer, workers=0, quiet=True, **reading))
    return Files(MoleculeReader(files, task_columns=task_columns, keep_cells=keep_cells, **reading))


def _open_several(
    ctx: click.Context,
    smiles: Sequence[str],
    files: Sequence[str],
    columns: Sequence[str],
    task_columns: Sequence[str],
    keep_cells: bool,
    reading: Mapping[str, Any],
) -> "Files":
    """Open files whose rows are several molecules, once for each of their columns."""
    from dgl_moleblend.predict.screen import Files
    from dgl_moleblend.readers.molecules import MoleculeReader

    if smiles:
        named = ", ".join(columns)
        raise click.UsageError(f"leave out -s, and give files of tables with columns {named}, which the model reads")
    check_tables(ctx, files, columns)
    refuse(ctx, ("executor",), "rows of several molecules are computed here")
    how = [{**reading, "smiles_column": name} for name in columns]
    first = MoleculeReader(files, task_columns=task_columns, keep_cells=keep_cells, **how[0])
    return Files(first, [MoleculeReader(files, **settings) for settings in how[1:]], columns)


def run(
    source: "Files | Featurized",
    job: "Job",
    output: str | None,
    form: str | None,
    screening: Screening,
    *,
    rank: str | None = None,
    page: Callable[["pd.DataFrame"], None] | None = None,
    workers: int,
    progress: bool,
) -> Tally:
    """Compute all steps, write their tables, and count their rows.

    Parameters
    ----------
    source, job
        Molecules, and what is computed of them.
    output, form
        A file and its format; a folder; or standard output.
    screening : Screening
    rank : str, optional
        Column that the best are chosen by.
    page : function, optional
        Takes all rows at the end, instead of the output.
    workers, progress
        See `Files.steps`.
    """
    tally = Tally()
    with ExitStack() as opened:
        executor = opened.enter_context(open_executor(screening.executor))
        if output is not None and is_folder(output, form):
            parts = _open_parts(output, screening, {**job.plan(), **source.plan()})
            tally.take_up(parts.parts.values())
            opened.enter_context(resumable())
            write, wanted = opened.enter_context(parts.open()).write, parts.wanted
        else:
            take = opened.enter_context(_open_file(output, form, screening, rank, page))
            write, wanted = (lambda step, table: take(table)), (lambda step: True)
        for step, table in source.steps(job, wanted=wanted, workers=workers, executor=executor, progress=progress):
            write(step, table)
            tally.count(table)
    return tally


def _open_parts(output: str, screening: Screening, plan: dict[str, Any]) -> "Parts":
    from dgl_moleblend.predict.parts import Parts, Share
    from dgl_moleblend.predict.screen import STEP

    parts = Parts(Path(output), plan, steps=-(-screening.part_rows // STEP), share=Share(*screening.shard or (1, 1)),
                  resume=screening.resume)  # fmt: skip
    if parts.parts:
        rows = sum(part["rows"] for part in parts.parts.values())
        say(f"{len(parts.parts):,} parts of {rows:,} rows are there already")
    return parts


@contextmanager
def _open_file(
    output: str | None,
    form: str | None,
    screening: Screening,
    rank: str | None,
    page: Callable[["pd.DataFrame"], None] | None,
) -> Iterator[Callable[["pd.DataFrame"], None]]:
    """Open what takes the tables of steps: a file, standard output or a page, or the best rows for one of these."""
    from dgl_moleblend.predict.sinks import best_of, format_of, gather, open_file, open_text

    form = form or (format_of(output) if output else None) or "csv"
    with ExitStack() as opened:
        write = opened.enter_context(
            gather(page) if page is not None
            else open_text(sys.stdout, form, DIGITS) if output is None
            else open_file(Path(output), form, digits=DIGITS)
        )  # fmt: skip
        if rank is not None and screening.top is not None:
            write = opened.enter_context(best_of(write, screening.top, rank, lowest=screening.lowest))
        yield write
