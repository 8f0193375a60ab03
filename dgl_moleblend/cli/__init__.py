"""The command line: commands known by name and one line each, imported when they are run."""

import importlib
from typing import Any

import click

from dgl_moleblend._version import __version__
from dgl_moleblend.errors import MoleBlendError

COMMANDS = {
    "featurize": "Turn files of molecules into a data set on disk.",
    "pretrain": "Pretrain a model on a data set by blend-then-predict.",
    "finetune": "Fit a model to measured properties.",
    "predict": "Predict properties, one output row per input row.",
    "embed": "Compute molecule embeddings, one output row per input row.",
    "inspect": "Describe a data set, or one molecule's graph.",
    "doctor": "Check the installation and say how to mend it.",
    "convert": "Convert weights of the authors' release.",
}
"""Every command and its line in `--help`; module `dgl_moleblend.cli.NAME` defines it as `command`."""


class LazyGroup(click.Group):
    """A group whose commands are listed without being imported, and whose errors are mapped in one place.

    Exit codes: 0 done, 1 failed, 2 wrong usage (an option, a file, a column, a setting).
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"{__name__}.{cmd_name}").command  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what we raise on purpose becomes a message, anything else is a fault and keeps its traceback.

        Raises
        ------
        click.ClickException
            With exit code 2 for our errors, 1 where the system refused.
        """
        try:
            return super().invoke(ctx)
        except MoleBlendError as error:
            refused = isinstance(error.__cause__, OSError)  # by the system: a full disk, a file without permission
            raise _Message(str(error), exit_code=1 if refused else 2) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _Message(str(error), exit_code=1) from error
        except KeyboardInterrupt:
            raise _Message("interrupted", exit_code=1) from None


class _Message(click.ClickException):
    """A message without traceback, with the exit code that goes with it."""

    def __init__(self, text: str, *, exit_code: int) -> None:
        super().__init__(text)
        self.__dict__["exit_code"] = exit_code


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="dgl-moleblend")
def main() -> None:
    """MoleBLEND for DGL: from a file of molecules to a pretrained model and predictions.

    \b
    A first session:
      dgl-moleblend featurize molecules.csv --positions embed -o molecules.store
      dgl-moleblend pretrain molecules.store -o pretrained
      dgl-moleblend finetune esol.csv --tasks logS --encoder pretrained -o esol-model
      dgl-moleblend predict esol-model new.csv -o predictions.csv

    Results go to files or to standard output, messages to standard error.
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
