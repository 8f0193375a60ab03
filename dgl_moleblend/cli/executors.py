"""``--executor``: who featurizes the molecules, instead of processes of this machine."""

import importlib
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import click

CONNECT = 10.0
"""Seconds within which a dask scheduler must answer."""


@contextmanager
def open_executor(name: str | None) -> Iterator[Executor | None]:
    """Open an executor for the time of a run.

    Parameters
    ----------
    name : str or None
        "dask:ADDRESS", the scheduler of a dask cluster, or "MODULE:FUNCTION", which is called without arguments and
        returns any `concurrent.futures.Executor`; None for none.

    Raises
    ------
    click.UsageError
        If there is no such module or function, the cluster does not answer, or what comes is no executor.
    """
    if name is None:
        yield None
        return
    kind, _, rest = name.partition(":")
    if not rest:
        raise click.UsageError(f"--executor {name}: give dask:ADDRESS or MODULE:FUNCTION")
    if kind == "dask":
        with _connect(rest) as client:
            yield client.get_executor(pure=False)
        return
    try:
        executor = getattr(importlib.import_module(kind), rest)()
    except (ImportError, AttributeError) as error:
        raise click.UsageError(f"--executor {name}: {error}") from error
    if not isinstance(executor, Executor):
        raise click.UsageError(f"--executor {name} gave {executor!r}, which is no concurrent.futures.Executor")
    with executor:
        yield executor


def _connect(address: str):  # type: ignore[no-untyped-def]
    try:
        from distributed import Client
    except ImportError as error:
        raise click.UsageError("--executor dask:... needs the package distributed: pip install distributed") from error
    try:
        return Client(address, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"the dask scheduler {address} does not answer: {error}") from error
