"""Rows of several molecules (solute and solvent): the option that names their columns, and how these are read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import refuse, say
from dgl_moleblend.env.processes import number_of_processes
from dgl_moleblend.files import MANIFEST_FILE

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

several_columns = options.section(
    "Reading files",
    click.option("--smiles-columns", metavar="NAME,NAME,...",
                 help="Several molecules a row (solute,solvent): each column is read by the one encoder, and the model"
                 " takes their states side by side. Splits go by the first; --group-column keeps others together."),
)  # fmt: skip


def read_columns(
    ctx: click.Context, text: str | None, inputs: Sequence[str], reading: dict[str, Any]
) -> tuple[str, ...]:
    """Return the columns, () where a row is one molecule; the first becomes that of SMILES.

    Raises
    ------
    click.UsageError
        If rows of several molecules cannot be read so.
    DataError
        If a file lacks a column.
    """
    if text is None:
        return ()
    refuse(ctx, ("smiles_column",), "--smiles-columns names all")
    if number_of_processes() > 1 or ctx.params.get("devices", 1) > 1:
        raise click.UsageError("--smiles-columns are of one process and device")
    if not _are_tables(inputs):
        raise click.UsageError("--smiles-columns are of files of tables, not of a data set or standard input")
    from dgl_moleblend.data.several import check_columns
    from dgl_moleblend.readers.molecules import MoleculeReader

    names = check_columns(text.split(","))
    for name in names:  # all of them, before the molecules of the first are read
        reading["smiles_column"] = name
        MoleculeReader(inputs, **reading)
    reading["smiles_column"] = names[0]
    return names


def check_tables(ctx: click.Context, files: Sequence[str], columns: Sequence[str]) -> None:
    """See that a model of several molecules a row is given files of tables, and no column of SMILES but its own.

    Raises
    ------
    click.UsageError
        If not.
    """
    named = ", ".join(columns)
    if not _are_tables(files):
        raise click.UsageError(f"the model reads several molecules a row: give files of tables with columns {named},"
                               " not a data set or standard input")  # fmt: skip
    refuse(ctx, ("smiles_column",), f"the model reads {named}")


def _are_tables(files: Sequence[str]) -> bool:
    """Whether none is standard input, which can be read but once, or a data set, whose molecules are one a row."""
    return "-" not in files and not any(Path(name, MANIFEST_FILE).is_file() for name in files)


def add_molecules(
    first: "MoleculeDataset",
    inputs: Sequence[str],
    columns: Sequence[str],
    reading: Mapping[str, Any],
    *,
    workers: int,
    quiet: bool,
) -> "MoleculeDataset":
    """Return rows of the molecules of all columns; as they are where there are none."""
    if not columns:
        return first
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.several import beside
    from dgl_moleblend.data.unusual import remarks

    others = [
        MoleculeDataset.from_file(inputs, featurizer=first.featurizer, workers=workers, progress=not quiet,
                                  **{**reading, "smiles_column": name})
        for name in columns[1:]
    ]  # fmt: skip
    for name, other in zip(columns[1:], others, strict=True):
        for text in remarks(other):
            say(f"column {name!r}: {text}")
    found = beside([first, *others], columns)
    if lost := len(first) - len(found):
        say(f"{lost:,} further rows rejected, for want of another molecule: {len(found):,} kept")
    return found
