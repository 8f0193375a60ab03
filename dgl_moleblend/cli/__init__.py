"""The command line: commands known by name and one line each, imported when they are run."""

import difflib
import importlib
import logging
import shutil
from typing import Any

import click

from dgl_moleblend._version import __version__
from dgl_moleblend.cli.frame import PREFIX, WIDTH
from dgl_moleblend.cli.messages import Interrupted
from dgl_moleblend.env.memory import keep_no_kernels
from dgl_moleblend.errors import MoleBlendError

log = logging.getLogger(__name__)

COMMANDS = {
    "featurize": "Turn files of molecules into a data set on disk.",
    "pretrain": "Pretrain a model on a data set by blend-then-predict.",
    "finetune": "Fit a model to measured properties.",
    "predict": "Predict properties, one output row per input row.",
    "calibrate": "Calibrate a model on measured molecules of a file.",
    "embed": "Compute molecule embeddings, one output row per input row.",
    "inspect": "Describe a data set, or one molecule's graph.",
    "doctor": "Check the installation and say how to mend it.",
    "convert": "Convert weights of the authors' release.",
}
"""Every command and its line in `--help`; module `dgl_moleblend.cli.NAME` defines it as `command`."""


SYNONYMS = {"train": "finetune", "fit": "finetune", "fine-tune": "finetune", "score": "predict", "screen": "predict",
            "describe": "inspect", "explain": "inspect", "check": "doctor", "preprocess": "featurize"}  # fmt: skip


class LazyGroup(click.Group):
    """A group whose commands are listed without being imported, and whose errors are mapped in one place.

    Exit codes: 0 done, 1 failed, 2 wrong usage (an option, a file, a column, a setting), 130 interrupted (Ctrl-C).
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"{__name__}.{cmd_name}").command  # type: ignore[no-any-return]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Look a command up; the name of one that is not there suggests one that is."""
        name = args[0] if args else ""
        if name and name not in COMMANDS and not name.startswith("-"):
            near = SYNONYMS.get(name) or next(iter(difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)), None)
            ctx.fail(f"There is no command {name!r}." + (f" Did you mean `{near}`?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what we raise on purpose becomes a message, anything else is a fault and keeps its traceback.

        Raises
        ------
        click.ClickException
            With exit code 2 for our errors, 1 where the system refused, 130 after Ctrl-C.
        """
        keep_no_kernels()
        try:
            return super().invoke(ctx)
        except (MoleBlendError, OSError) as error:
            log.debug("the command failed", exc_info=True)
            if isinstance(error, BrokenPipeError):
                raise
            # refused by the system: a full disk, a file without permission
            refused = isinstance(error, OSError) or isinstance(error.__cause__, OSError)
            raise _Message(str(error), exit_code=1 if refused else 2) from error
        except (KeyboardInterrupt, click.Abort):
            raise Interrupted from None


class _Message(click.ClickException):
    """A message without traceback, with the exit code that goes with it."""

    def __init__(self, text: str, *, exit_code: int) -> None:
        super().__init__(text)
        self.__dict__["exit_code"] = exit_code


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": min(shutil.get_terminal_size().columns, WIDTH),
        "auto_envvar_prefix": PREFIX,
    },
)
@click.version_option(__version__, prog_name="dgl-moleblend")
@click.option("-v", "--verbose", count=True, help="Say more of what is done; twice: with tracebacks of errors.")
@click.option("--log-file", type=click.Path(dir_okay=False), metavar="PATH",
              help="Append all messages, with times and tracebacks, to this file.")  # fmt: skip
def main(verbose: int, log_file: str | None) -> None:
    """MoleBLEND for DGL: from a file of molecules to a pretrained model and predictions.

    \b
    A first session:
      dgl-moleblend finetune assay.csv
      dgl-moleblend predict assay-model new.csv -o predictions.csv

    Results go to files or to standard output, messages to standard error. The exit code is 0 where all went well, 1
    where something failed, 2 where the command, a file or a setting was not as it has to be, 130 after Ctrl-C.
    Options may also stand in a file (--config) or in the environment: DGL_MOLEBLEND_FINETUNE_EPOCHS=20.
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if verbose or log_file:
        from dgl_moleblend.cli.messages import listen

        click.get_current_context().call_on_close(listen(verbose, log_file))
