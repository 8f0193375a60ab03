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


def training(*, epochs: int, batch_size: int, learning_rate: float, patience: int) -> Callable[[F], F]:
    """Options of a training run, with the defaults of a command; `training_config` makes a TrainingConfig of them."""
    return _combine(
        click.option("--size", type=click.Choice(["tiny", "small", "base"]), default="small", show_default=True,
                     help="Size of a fresh encoder: tiny is for tests, base is the paper's."),
        click.option("--encoder", type=click.Path(), metavar="FOLDER|NAME",
                     help="Start from the encoder of this saved model (pretrained or fine-tuned) instead, or from"
                     " weights that ship: mini, small."),
        click.option("--epochs", "max_epochs", type=click.IntRange(1), default=epochs, show_default=True,
                     help="Passes over the training molecules."),
        click.option("--steps", "max_steps", type=click.IntRange(1), metavar="N",
                     help="Stop after so many optimiser steps, if the epochs do not end first."),
        click.option("--batch-size", type=click.IntRange(1), default=batch_size, show_default=True, metavar="N",
                     help="Molecules per optimiser step."),
        click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=learning_rate,
                     show_default=True, help="Peak of the learning rate."),
        click.option("--weight-decay", type=click.FloatRange(0), default=0.0, show_default=True,
                     help="Decoupled weight decay of Adam."),
        click.option("--warmup", type=click.FloatRange(0, 1), default=0.1, show_default=True, metavar="SHARE",
                     help="Share of the steps in which the learning rate grows; then it falls as a cosine."),
        click.option("--clip-norm", type=click.FloatRange(0), default=5.0, show_default=True,
                     help="Largest norm of the gradients; 0 for any."),
        click.option("--patience", type=click.IntRange(0), default=patience, show_default=True, metavar="EPOCHS",
                     help="Stop after so many epochs without a better validation score; 0 for never."),
        click.option("--precision", type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]), default="32-true",
                     show_default=True, help="Arithmetic; softmax is always in float32."),
        click.option("--loader-workers", "num_workers", type=click.IntRange(0), default=0, show_default=True,
                     metavar="N", help="Processes that load batches."),
        click.option("--resume", is_flag=True, help="Go on with the interrupted run in the output folder."),
        click.option("--overwrite", is_flag=True, help="Delete the run in the output folder first."),
        seed,
    )  # fmt: skip


TRAINING = ("max_epochs", "max_steps", "batch_size", "learning_rate", "weight_decay", "warmup", "clip_norm", "patience",
            "precision", "num_workers", "seed")  # fmt: skip
"""Options that are settings of a TrainingConfig."""

accelerator = click.option(
    "--accelerator",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a GPU if there is one.",
)

seed = click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of everything random."
)

workers = click.option(
    "--workers",
    type=click.IntRange(0),
    default=_available_cpus,
    metavar="N",
    help="Processes that featurize molecules; 0 for none beside this one. [default: one per CPU]",
)

output = click.option("-o", "--output", required=True, type=click.Path(), metavar="PATH", help="Where results go.")

quiet = click.option("--quiet", is_flag=True, help="No progress bars.")
