"""Options that several commands share, so that the same thing has the same name everywhere."""

import functools
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dgl_moleblend import shipped
from dgl_moleblend.env.processes import available_cpus
from dgl_moleblend.files import CACHE_VARIABLE

if TYPE_CHECKING:
    from dgl_moleblend.config import TrainingConfig
    from dgl_moleblend.request import Compute

F = TypeVar("F", bound=Callable[..., Any])


def _combine(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def section(title: str, *decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator of several options that stand below a title of their own in `--help`."""

    def decorate(function: F) -> F:
        before = len(getattr(function, "__click_params__", []))
        decorated: Any = _combine(*decorators)(function)
        for parameter in decorated.__click_params__[before:]:
            parameter.section = title
        return decorated  # type: ignore[no-any-return]

    return decorate


def grouped(
    name: str, make: Callable[..., Any], *decorators: Callable[[F], F], title: str | None = None
) -> Callable[[F], F]:
    """Return a decorator of several options whose values reach a command as one argument.

    Parameters
    ----------
    name : str
        Of the argument.
    make : callable
        From the options' values, by their names, to the argument.
    *decorators
        The options.
    title : str, optional
        Of their section in `--help`.
    """
    if title is not None:
        decorators = (section(title, *decorators),)

    def decorate(function: F) -> F:
        options: list[str] = []

        @functools.wraps(function)
        def command(*args: Any, **values: Any) -> Any:
            return function(*args, **{name: make(**{option: values.pop(option) for option in options})}, **values)

        before = len(getattr(command, "__click_params__", []))
        decorated: Any = _combine(*decorators)(command)  # type: ignore[arg-type]
        options += [given.name for given in decorated.__click_params__[before:] if given.expose_value]
        return decorated  # type: ignore[no-any-return]

    return decorate


def read_shard(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read K/N.

    Raises
    ------
    click.BadParameter
        If it is no share.
    """
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"{value!r}: give K/N with K from 1 to N, such as 3/64")
    return int(match[1]), int(match[2])


seed = click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of everything random."
)

input_files = click.argument("inputs", nargs=-1, required=True, metavar="FILE...")
"""One or several files, globs, or - for standard input."""

columns = section(
    "Reading files",
    click.option("--smiles-column", metavar="NAME", help="Column of SMILES. [default: found by its name]"),
    click.option("--id-column", metavar="NAME", help="Column (or SDF property) of identifiers."
                 " [default: found by its name; the title of an SDF record]"),
    click.option("--input-format",
                 type=click.Choice(["csv", "tsv", "smi", "parquet", "xlsx", "sdf", "mol2", "xyz", "pdb"]),
                 help="Format of the files. [default: by content, else by file name]"),
    click.option("--encoding", metavar="NAME", help="Text encoding. [default: UTF-8]"),
    click.option("--sheet", metavar="NAME", help="Sheet of an Excel workbook. [default: the first]"),
    click.option("--decimal", type=click.Choice([".", ","]),
                 help="Decimal mark of numbers. [default: a comma in columns where every number says so]"),
    click.option("--charge", type=int, metavar="N", help="Total charge of each molecule of XYZ and PDB files, by which"
                 " bonds are found. [default: as their lines say, else 0]"),
)  # fmt: skip
"""How molecules are found in a file, as MoleculeReader takes it: smiles_column, id_column, input_format, encoding,
sheet, decimal, charge."""

tasks = section(
    "Reading files",
    click.option("--tasks", "task_columns", multiple=True, metavar="NAME,...",
                 help="Columns (or SDF properties) of labels, separated by commas or by repeating the option; patterns"
                 " such as 'NR-*' and the word 'all' (every numeric column) are understood."),
    click.option("--missing-label", "missing_labels", type=float, multiple=True, metavar="NUMBER",
                 help="A number that stands for a missing label, such as -1. Blank and NaN always do."),
    click.option("--relation-column", metavar="NAME",
                 help="Column that says which labels are bounds: >, <, .. beside the value ('' for none). [default:"
                 " found by its name, as 'Standard Relation' beside 'Standard Value'; '>8' in the column of labels is"
                 " understood, too]"),
)  # fmt: skip
"""task_columns: tuple of texts that a MoleculeReader resolves to columns; missing_labels: tuple of numbers;
relation_column."""


def _use_cache(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Have this process, and those that it starts, find conformers in a file."""
    if value is None:
        return
    if not os.path.isdir(folder := os.path.dirname(os.path.abspath(value))):
        raise click.BadParameter(f"there is no folder {folder!r}; make it, or name another file", ctx, parameter)
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = os.path.abspath(value)

    def restore() -> None:
        os.environ.pop(CACHE_VARIABLE)
        os.environ.update({} if before is None else {CACHE_VARIABLE: before})

    ctx.call_on_close(restore)


conformer_cache = section(
    "3D coordinates",
    click.option("--conformer-cache", type=click.Path(dir_okay=False), metavar="FILE", expose_value=False,
                 callback=_use_cache, help="Keep embedded conformers in this file, and take from it those of earlier"
                 " runs. [default: the environment variable DGL_MOLEBLEND_CONFORMER_CACHE, else none]"),
)  # fmt: skip

featurizer = section(
    "3D coordinates",
    click.option("--positions", type=click.Choice(["none", "given", "embed"]), default="none", show_default=True,
                 help="3D coordinates: none, those of the file (SDF, CXSMILES), or embedded (ETKDGv3, then MMFF)."),
    click.option("--conformers", "num_conformers", type=click.IntRange(1), default=1, show_default=True,
                 metavar="K", help="Conformers embedded per molecule."),
    click.option("--standardize", type=click.Choice(["fragment", "neutral", "tautomer"]), multiple=True,
                 help="Do this to each molecule first, by RDKit's MolStandardize; may be repeated: keep its largest"
                 " fragment (without salts), take off charges, make the canonical tautomer. `predict` does the same."),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
                 metavar="SECONDS", help="Longest time spent on one molecule's conformers."),
    click.option("--force-field/--no-force-field", "optimize", default=True, show_default=True,
                 help="Relax embedded conformers by MMFF94s; without, they take less than half the time."),
    conformer_cache,
)  # fmt: skip
"""FeaturizerConfig without its seed: positions, num_conformers, standardize, timeout, optimize."""

reading = grouped("reading", dict, columns)
"""One argument of all of `columns`, a dict."""

labels = grouped("labels", dict, tasks)
"""One argument of all of `tasks`, a dict."""

featurizing = grouped("featurizing", dict, featurizer)
"""One argument of all of `featurizer`, a dict."""


class _Size(click.Choice[str]):
    """Sizes of a fresh encoder; the name of weights that ship is sent where it belongs."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the size.

        Raises
        ------
        click.BadParameter
            If it is none.
        """
        if value not in self.choices and value in shipped.names():
            self.fail(f"{value!r} is the name of weights that ship: give --encoder {value}", param, ctx)
        return super().convert(value, param, ctx)


start = grouped(
    "start",
    dict,
    click.option("--size", type=_Size(["tiny", "small", "base"]), default="small", show_default=True,
                 help="Size of a fresh encoder: tiny is for tests, base is the paper's."),
    click.option("--encoder", type=click.Path(), metavar="FOLDER|NAME",
                 help="Start from the encoder of this saved model (pretrained or fine-tuned) instead, or from"
                 " weights that ship: mini, small."),
    title="Where to start",
)  # fmt: skip
"""Where a training run starts: size and encoder, for `inputs.encoder_choice`."""

again = grouped(
    "again",
    dict,
    click.option("--resume", is_flag=True, help="Go on with the interrupted run in the output folder."),
    click.option("--overwrite", is_flag=True, help="Delete the run in the output folder first."),
)
"""What to do with a run that is there: resume, overwrite."""


def training(*, epochs: int, batch_size: int, learning_rate: float, patience: int) -> Callable[[F], F]:
    """Options of a training run, with the defaults of a command: the argument `training`, a TrainingConfig."""
    return grouped(
        "training",
        _training_config,
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
        click.option("--schedule", type=click.Choice(["cosine", "constant"]), default="cosine", show_default=True,
                     help="What the learning rate does after the warm-up: it falls to 0 at the last step, or stays;"
                     " then --resume takes more --epochs or --patience, also of a finished run."),
        click.option("--warmup", type=click.FloatRange(0, 1), default=0.1, show_default=True, metavar="SHARE",
                     help="Share of the steps in which the learning rate grows (of those of the first epoch where it"
                     " then stays)."),
        click.option("--clip-norm", type=click.FloatRange(0), default=5.0, show_default=True,
                     help="Largest norm of the gradients; 0 for any."),
        click.option("--patience", type=click.IntRange(0), default=patience, show_default=True, metavar="EPOCHS",
                     help="Stop after so many epochs without a better validation score; 0 for never."),
        seed,
        title="Training a network",
    )  # fmt: skip


def _training_config(**settings: Any) -> "TrainingConfig":
    from dgl_moleblend.config import TrainingConfig

    return TrainingConfig(**{**settings, "max_steps": settings["max_steps"] or -1})


accelerator = section(
    "Computing",
    click.option("--accelerator", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True,
                 help="Where to compute; auto takes a GPU if there is one."),
)  # fmt: skip


def _compute(*, num_workers: int, quiet: bool, **settings: Any) -> "Compute":
    from dgl_moleblend.request import Compute

    return Compute(workers=num_workers, progress=not quiet, **settings)


quiet = click.option("--quiet", is_flag=True, help="No progress bars.")

_devices = click.option("--devices", type=click.IntRange(1), default=1, show_default=True, metavar="N",
                        help="Devices that train together.")  # fmt: skip
_computing = (
    click.option("--precision", type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]), default="32-true",
                 show_default=True, help="Arithmetic; softmax is always in float32."),
    accelerator,
    click.option("--logger", type=click.Choice(["csv", "tensorboard", "wandb", "mlflow"]), default="csv",
                 show_default=True, help="Where losses and scores of a training go, beside its CSV file."),
    click.option("--loader-workers", "num_workers", type=click.IntRange(0), default=0, show_default=True,
                 metavar="N", help="Processes that load batches."),
    quiet,
)  # fmt: skip

compute = grouped("compute", _compute, *_computing, _devices, title="Computing")
"""On what to compute, a Compute."""

workers = section(
    "Computing",
    click.option(
        "--workers",
        type=click.IntRange(0),
        default=available_cpus,
        metavar="N",
        help="Processes that featurize molecules; 0 for none beside this one. [default: one per CPU]",
    ),
)

output = click.option("-o", "--output", required=True, type=click.Path(), metavar="PATH", help="Where results go.")
