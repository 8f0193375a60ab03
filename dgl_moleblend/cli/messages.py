"""Where log messages go: to standard error as many as are asked for, to a file all of them."""

import logging
from collections.abc import Callable
from typing import Any

import click

from dgl_moleblend.errors import DataError

ROOT = logging.getLogger("dgl_moleblend")
SAID = logging.getLogger("dgl_moleblend.said")
"""Messages that a command has written to standard error."""


class Interrupted(click.ClickException):
    """Ctrl-C was pressed: one line, and the exit code that shells give it."""

    exit_code = 130

    def __init__(self, how: str = "") -> None:
        super().__init__(f"interrupted{how}")

    def show(self, file: Any = None) -> None:
        """Write the line, below a progress bar that may stand there."""
        click.echo(self.format_message(), file=file, err=file is None)


def listen(verbose: int, path: str | None) -> Callable[[], None]:
    """Let messages be heard.

    Parameters
    ----------
    verbose : int
        0: warnings go to standard error; 1: what is done, too; 2: everything, with tracebacks.
    path : str, optional
        A file that everything is appended to.

    Returns
    -------
    callable
        Ends it.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    screen = logging.StreamHandler()
    screen.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)])
    screen.addFilter(lambda record: record.name != SAID.name)
    handlers: list[logging.Handler] = [screen]
    if path is not None:
        try:
            file = logging.FileHandler(path, encoding="utf-8")
        except OSError as error:
            raise DataError(f"the log file cannot be written: {error}", where=path, fix="name another") from error
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(file)
    for handler in handlers:
        ROOT.addHandler(handler)
    ROOT.setLevel(logging.DEBUG)

    def end() -> None:
        ROOT.setLevel(logging.NOTSET)
        for handler in handlers:
            ROOT.removeHandler(handler)
            handler.close()

    return end
