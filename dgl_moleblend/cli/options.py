"""Options that several commands share, so that the same thing has the same name everywhere."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _available_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _combine(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


input_files = click.argument("inputs", nargs=-1, required=True, metavar="FILE...")
"""One or several files, globs, or - for standard input."""

columns = _combine(
    click.option("--smiles-column", metavar="NAME", help="Column of SMILES. [default: found by its name]"),
    click.option("--id-column", metavar="NAME", help="Column (or SDF property) of identifiers."
                 " [default: found by its name; the title of an SDF record]"),
    click.option("--input-format", type=click.Choice(["csv", "tsv", "smi", "sdf", "parquet"]),
                 help="Format of the files. [default: by file name, else by content]"),
    click.option("--encoding", metavar="NAME", help="Text encoding. [default: UTF-8]"),
)  # fmt: skip
"""How molecules are found in a file: smiles_column, id_column, input_format, encoding, as MoleculeReader takes them."""

tasks = _combine(
    click.option("--tasks", "task_columns", multiple=True, metavar="NAME,...",
                 help="Columns (or SDF properties) of labels, separated by commas or by repeating the option; patterns"
                 " such as 'NR-*' and the word 'all' (every numeric column) are understood."),
    click.option("--missing-label", "missing_labels", type=float, multiple=True, metavar="NUMBER",
                 help="A number that stands for a missing label, such as -1. Blank and NaN always do."),
)  # fmt: skip
"""task_columns: tuple of texts that a MoleculeReader resolves to columns; missing_labels: tuple of numbers."""

featurizer = _combine(
    click.option("--positions", type=click.Choice(["none", "given", "embed"]), default="none", show_default=True,
                 help="3D coordinates: none, those of the file (SDF, CXSMILES), or embedded (ETKDGv3, then MMFF)."),
    click.option("--conformers", "num_conformers", type=click.IntRange(1), default=1, show_default=True,
                 metavar="K", help="Conformers embedded per molecule."),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
                 metavar="SECONDS", help="Longest time spent on one molecule's conformers."),
)  # fmt: skip
"""FeaturizerConfig without its seed: positions, num_conformers, timeout."""

seed = click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")

workers = click.option(
    "--workers",
    type=click.IntRange(0),
    default=_available_cpus,
    metavar="N",
    help="Processes that featurize molecules; 0 for none beside this one. [default: one per CPU]",
)

output = click.option("-o", "--output", required=True, type=click.Path(), metavar="PATH", help="Where results go.")

quiet = click.option("--quiet", is_flag=True, help="No progress bars.")
