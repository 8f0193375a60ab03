"""A folder that a run writes is held: a second run is refused, and what a process that died held is free."""

import functools
import inspect
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from dgl_moleblend.env.processes import is_first_process
from dgl_moleblend.errors import DataError

LOCK_FILE = ".run.lock"
"""Says whose run it is while one goes on; the hold itself is the system's, which lets go when a process ends."""
P = ParamSpec("P")
R = TypeVar("R")
_held: dict[Path, int | None] = {}


def holds_its_folder(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function hold the folder named by its argument `out` while it works, or from when it has made it."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        out = Path(signature.bind(*args, **kwargs).arguments["out"]).resolve()
        if not is_first_process() or out in _held:  # others of a parallel run write nothing
            return function(*args, **kwargs)
        _held[out] = None
        try:
            if out.is_dir():
                hold(out)
            return function(*args, **kwargs)
        finally:
            _let_go(out)

    return held


def hold(out: Path) -> None:
    """Hold a folder for the function `holds_its_folder` that is at work in it; outside of one, do nothing.

    Raises
    ------
    DataError
        If another run holds it; the message names its process.
    """
    out = out.resolve()
    if out not in _held or _held[out] is not None:
        return
    try:
        import fcntl
    except ImportError:  # the system has no such locks
        return
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise DataError(f"another run is writing this folder{_whose(out)}", where=str(out),
                        fix="wait for it to end, or give another folder") from error  # fmt: skip
    except OSError:  # a file system without locks
        os.close(descriptor)
        return
    _held[out] = descriptor
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    (out / LOCK_FILE).write_text(text, encoding="utf-8")


def _whose(out: Path) -> str:
    try:
        owner = json.loads((out / LOCK_FILE).read_text(encoding="utf-8"))
        return f": process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or just ended
        return ""


def _let_go(out: Path) -> None:
    descriptor = _held.pop(out)
    if descriptor is not None:
        (out / LOCK_FILE).unlink(missing_ok=True)
        os.close(descriptor)
