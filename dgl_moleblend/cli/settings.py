"""Files of options: a table for each command, options by their names. TOML, for `--config`."""

import contextlib
import difflib
import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from dgl_moleblend.errors import ConfigError
from dgl_moleblend.files import RUN_FILE, SETTINGS_FILE, write_atomically

NOT_KEPT = ("output", "resume", "overwrite", "quiet", "config")
"""Options of one start of a run, not of the run."""


def read(path: str, command: str, known: Sequence[str]) -> dict[str, Any]:
    """Read the options of a command.

    Parameters
    ----------
    path : str
    command : str
    known : sequence of str
        Names of its options. In the file "batch_size" is "batch-size", too.

    Returns
    -------
    dict
        Values by names.

    Raises
    ------
    ConfigError
        If the file cannot be read, has no table of the command, or an option that there is not; a near one is named.
    """
    from dgl_moleblend.cli import COMMANDS

    document = _load(path)
    for name, table in document.items():
        if name not in COMMANDS or not isinstance(table, dict):
            near = _nearest(name, COMMANDS)
            raise ConfigError(
                f"{name!r} is no table of options" + (f"; did you mean [{near}]?" if near else ""),
                where=path,
                fix=f"write options below the name of their command, such as [{command}]",
            )
    if command not in document:
        there = ", ".join(f"[{name}]" for name in document) or "nothing"
        raise ConfigError(f"there are no options of {command}: the file has {there}", where=path,
                          fix=f"write them below a line [{command}]")  # fmt: skip
    found = {}
    for key, value in document[command].items():
        name = key.replace("_", "-")
        if name not in known:
            near = _nearest(name, known)
            raise ConfigError(
                f"{command} has no option {key!r}" + (f"; did you mean {near!r}?" if near else ""),
                where=path,
                fix=f"`dgl-moleblend {command} --help` lists the options",
            )
        found[name] = value
    return found


def _load(path: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"this is not TOML: {error}", where=path, fix="correct that line") from error
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=path, fix="name another") from error


def _nearest(name: str, known: Sequence[str] | Mapping[str, str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.5)), None)


@contextlib.contextmanager
def kept(ctx: click.Context, out: Path, inputs: Sequence[str], derived: Mapping[str, Any]) -> Iterator[None]:
    """Leave the options of a run in its folder, however the run ends, once it has begun.

    Parameters
    ----------
    ctx : click.Context
    out : Path
        The folder.
    inputs : sequence of str
        The files that the command was given.
    derived : dict
        Options that were found, not given.
    """
    from dgl_moleblend.cli.frame import given_options
    from dgl_moleblend.env.processes import is_first_process

    before = (out / RUN_FILE).exists()
    try:
        yield
    finally:
        resumed_or_new = not before or ctx.params.get("resume") or ctx.params.get("overwrite")
        if is_first_process() and (out / RUN_FILE).exists() and resumed_or_new:
            words = ["dgl-moleblend", str(ctx.info_name), *inputs, "--config", str(out / SETTINGS_FILE), "-o", "FOLDER"]
            text = to_text(str(ctx.info_name), {**derived, **given_options(ctx, NOT_KEPT)}, shlex.join(words))
            write_atomically(out / SETTINGS_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def to_text(command: str, options: Mapping[str, Any], how: str) -> str:
    """Write options as TOML, with the command that takes them.

    >>> print(to_text("finetune", {"tasks": ("a b",), "epochs": 3, "fast": True}, "dgl-moleblend finetune a.csv"))
    # The options that this run was given; every other has its default. To use them again:
    #   dgl-moleblend finetune a.csv
    [finetune]
    tasks = ["a b"]
    epochs = 3
    fast = true
    <BLANKLINE>
    """
    lines = ["# The options that this run was given; every other has its default. To use them again:"]
    lines += [f"#   {' '.join(how.splitlines())}", f"[{command}]"]
    return "\n".join([*lines, *(f"{name} = {_value(value)}" for name, value in options.items()), ""])


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # TOML's own words: inf, nan
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
