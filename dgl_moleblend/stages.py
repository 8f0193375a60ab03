"""The bar of a stage of a computation; or, where one bar shows all stages, what tells that how far this one is."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm.auto import tqdm

Listener = Callable[[str, float], None]
"""Is given the name of a stage, and the share of it that is done."""
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Let stages that run meanwhile tell how far they are, instead of drawing bars.

    Examples
    --------
    >>> with heard(print), stage("features", 4, shown=True) as advance:
    ...     advance(3)
    ...     advance(1)
    features 0.0
    features 0.75
    features 1.0
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def stage(name: str, total: int, *, shown: bool, **how: Any) -> Iterator[Callable[[int], object]]:
    """Draw the bar of a stage if it takes more than a second.

    Parameters
    ----------
    name : str
        Stands before the bar.
    total : int
        Things to do.
    shown : bool
        Whether there is a bar; who listens is told anyway.
    **how
        Of tqdm.

    Yields
    ------
    function
        Is told how many more things are done.
    """
    listener, done = _listener.get(), 0
    if listener is None:
        with tqdm(total=total, desc=name, disable=not shown, delay=1.0, file=sys.stderr, **how) as bar:
            yield bar.update
        return

    def tell(count: int) -> None:
        nonlocal done
        done += count
        listener(name, min(done / max(total, 1), 1.0))

    tell(0)
    yield tell
