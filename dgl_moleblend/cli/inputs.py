"""What commands are given: molecules from a data set or from files, and the settings of a training run."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dgl_moleblend.cli.messages import SAID, Interrupted
from dgl_moleblend.env.processes import is_first_process, name_of_run
from dgl_moleblend.files import MANIFEST_FILE

if TYPE_CHECKING:
    from dgl_moleblend.config import EncoderConfig, FeaturizerConfig
    from dgl_moleblend.data.dataset import MoleculeDataset

_PREPARED = "DGL_MOLEBLEND_MOLECULES"
READING = ("smiles_column", "id_column", "input_format", "encoding", "sheet", "decimal", "charge")
FEATURIZING = ("positions", "num_conformers", "timeout", "standardize", "optimize")
EMBEDDING = ("num_conformers", "optimize", "conformer_cache")
"""Options of conformers that are embedded."""


def open_molecules(
    ctx: click.Context,
    inputs: tuple[str, ...],
    featurizer: "FeaturizerConfig",
    *,
    workers: int,
    quiet: bool,
    store: Path | None = None,
    **reading: Any,
) -> "MoleculeDataset":
    """Open the data set, or several, that `featurize` wrote, or read and featurize files on the way.

    With a `store`, the first of several processes writes there what it featurizes, and the others wait for it.

    Raises
    ------
    click.UsageError
        If options are given that a data set has settled already, data sets and files are mixed, or several data sets
        are given where labels are needed.
    """
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.unusual import remarks

    check_embedding(ctx, featurizer.positions, inputs)
    stores = [name for name in inputs if Path(name, MANIFEST_FILE).is_file()]
    if stores and len(stores) < len(inputs):
        raise click.UsageError(f"{stores[0]} is a data set, and not all of the others are: give data sets or files")
    if stores:
        refuse(
            ctx,
            (*READING, *FEATURIZING, "missing_labels", "relation_column"),
            f"{stores[0]} is a data set, featurized already",
        )
    if len(stores) > 1:
        if "task_columns" in reading:
            raise click.UsageError("only `pretrain`, which needs no labels, takes several data sets: give one")
        return MoleculeDataset.from_stores(stores)
    if stores:
        dataset = MoleculeDataset.from_store(stores[0])
        wanted = reading.get("task_columns", ())
        return dataset.select_tasks(_match(wanted, dataset.task_names)) if wanted else dataset
    if store is not None and not is_first_process():
        return _await_store(store)
    dataset = MoleculeDataset.from_file(
        inputs, featurizer=featurizer, workers=workers, progress=not quiet, store=store, **reading
    )
    say(f"{len(dataset) + len(dataset.rejects):,} rows: {len(dataset):,} kept, {len(dataset.rejects):,} rejected")
    for text in remarks(dataset):
        say(text)
    return dataset


@contextmanager
def prepared_once(out: Path) -> Iterator[Path]:
    """Give the processes of a parallel run one place for the molecules, which is gone when they are through."""
    store = Path(
        os.environ.setdefault(_PREPARED, str(out / f".molecules-{name_of_run()}"))
    )  # Lightning's own inherit it
    try:
        yield store
    finally:
        os.environ.pop(_PREPARED, None)
        if is_first_process():
            shutil.rmtree(store, ignore_errors=True)
            store.with_name(f"{store.name}-targets.npz").unlink(missing_ok=True)
            with suppress(OSError):  # what there is to keep is in it by now
                out.rmdir()


def _await_store(store: Path) -> "MoleculeDataset":
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.store import read_manifest

    await_first(lambda: (store / MANIFEST_FILE).is_file() and bool(read_manifest(store)["complete"]))
    return MoleculeDataset.from_store(store)


def await_first(is_done: Callable[[], bool]) -> None:
    """Wait until the first of several processes has done something.

    Raises
    ------
    click.ClickException
        If what started the processes has ended.
    """
    parent = os.getppid()
    while not is_done():
        if os.getppid() != parent:
            raise click.ClickException("the process that reads the molecules has ended")
        time.sleep(0.1)


def _match(wanted: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    """Resolve names, patterns and the word "all" to labels of a data set."""
    import fnmatch

    found: dict[str, None] = {}
    for text in wanted:
        for part in [text] if text in names else [part.strip() for part in text.split(",") if part.strip()]:
            matches = [part] if part in names else list(names) if part == "all" else fnmatch.filter(names, part)
            found.update(dict.fromkeys(matches or [part]))  # `select_tasks` says which there are
    return list(found)


def find_tasks(inputs: tuple[str, ...], reading: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the one column that can be what is to be predicted; () of a data set, whose labels are all meant."""
    from dgl_moleblend.data.labelled import find_label
    from dgl_moleblend.errors import DataError
    from dgl_moleblend.readers.inputs import expand_inputs

    if any(Path(name, MANIFEST_FILE).is_file() for name in inputs):
        return ()
    first = expand_inputs(inputs)[0]
    if first == "-":
        raise DataError("what is to be predicted is not named, and standard input can be read but once", where="stdin",
                        fix="name its column with --tasks")  # fmt: skip
    name = find_label(first, reading, skip=columns, option="--tasks")
    say(f"--tasks {name}: the one column that can be what is to be predicted")
    return (name,)


def refuse(ctx: click.Context, names: tuple[str, ...], reason: str) -> None:
    """Raise a UsageError if one of these options was given."""
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"leave out {parameter.opts[0]}: {reason}")


def refuse_on_line(ctx: click.Context, names: tuple[str, ...], reason: str) -> None:
    """Raise a UsageError if one of these was given on the command line; files and the environment serve many runs."""
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            says_no = parameter.secondary_opts and ctx.params[parameter.name] is False
            name = (parameter.secondary_opts if says_no else parameter.opts)[0]
            raise click.UsageError(f"leave out {name}: {reason}")


def check_embedding(ctx: click.Context, positions: str, inputs: Sequence[str] = ()) -> None:
    """Raise a UsageError if options of embedded conformers were given, and none are embedded."""
    for name in inputs:
        if Path(name, MANIFEST_FILE).is_file():
            refuse_on_line(ctx, EMBEDDING, f"{name} is a data set, featurized already")
    if positions == "embed":
        return
    if any(parameter.name == "positions" for parameter in ctx.command.params):
        refuse_on_line(ctx, EMBEDDING, "no conformers are embedded; or add --positions embed, which does that")
    refuse_on_line(ctx, EMBEDDING, "the model reads no embedded conformers")


def unless_given(ctx: click.Context, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return those defaults whose option was not given."""
    return {
        name: value for name, value in defaults.items() if ctx.get_parameter_source(name) is ParameterSource.DEFAULT
    }


def encoder_choice(ctx: click.Context, size: str, encoder: str | None) -> "EncoderConfig | str":
    """Return the size of a fresh encoder, or the folder of one to start from."""
    from dgl_moleblend.config import EncoderConfig

    if encoder is not None:
        refuse(ctx, ("size",), "--encoder has a size of its own")
        return encoder
    return {"tiny": EncoderConfig.tiny, "small": EncoderConfig.small, "base": EncoderConfig.base}[size]()


@contextmanager
def resumable(how: str = "; the same command with --resume goes on") -> Iterator[None]:
    """Say after Ctrl-C how the run goes on.

    Raises
    ------
    Interrupted
        With exit code 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(how) from None


def say(text: str) -> None:
    """Write a message to standard error; of the processes of a parallel run, the first does."""
    if is_first_process():
        click.echo(text, err=True)
        SAID.info(text)
