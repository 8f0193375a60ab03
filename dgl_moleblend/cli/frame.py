"""What every command has: help in sections, and options that a file or the environment may give, too."""

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from dgl_moleblend.cli import settings

PREFIX = "DGL_MOLEBLEND"
"""Environment variables are DGL_MOLEBLEND_COMMAND_OPTION."""
WIDTH = 120


def long_name(parameter: click.Parameter) -> str:
    """Return what a parameter is called on the command line, without dashes: "batch-size"."""
    return max(parameter.opts, key=len).lstrip("-")


class Command(click.Command):
    """A command whose options stand in sections (attribute `section` of an option), and may come from elsewhere.

    The command line goes before the environment, that before ``--config``, that before the default.
    """

    def __init__(self, *args: Any, **settings_of_click: Any) -> None:
        super().__init__(*args, **settings_of_click)
        self.params.append(
            click.Option(
                ["--config"],
                type=click.Path(dir_okay=False),
                metavar="FILE",
                is_eager=True,
                expose_value=False,
                callback=_read_settings,
                help="TOML with options of this command, such as the run.toml of an earlier run; what is given here"
                " goes before it.",
            )
        )

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse; each option's variable has the name that it has on the command line."""
        for parameter in self.params:
            if isinstance(parameter, click.Option):
                parameter.envvar = f"{PREFIX}_{info_name}_{long_name(parameter)}".upper().replace("-", "_")
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section, in the order in which they are declared."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=28)


def _read_settings(ctx: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Let the options of a file stand in the place of defaults."""
    if path is None:
        return
    known = {
        long_name(one): one for one in ctx.command.params if isinstance(one, click.Option) and one is not parameter
    }
    found = settings.read(path, str(ctx.info_name), list(known))
    ctx.default_map = {known[name].name: _of_click(known[name], value, path) for name, value in found.items()}


def _of_click(option: click.Option, value: Any, path: str) -> Any:
    """Return a value as click takes it."""
    from dgl_moleblend.errors import ConfigError

    several = option.multiple or option.nargs != 1
    values = value if isinstance(value, list) else [value]
    wanted = "true or false" if option.is_flag else f"a list of {option.nargs}" if option.nargs != 1 else "one value"
    fits = len(values) == option.nargs if option.nargs != 1 else option.multiple or not isinstance(value, list)
    if not fits or any(isinstance(one, bool) != option.is_flag or isinstance(one, dict) for one in values):
        raise ConfigError(f"{long_name(option)} = {value!r} is not allowed", where=path, fix=f"it must be {wanted}")
    return values if several else value


def given_options(ctx: click.Context, skip: Sequence[str] = ()) -> dict[str, Any]:
    """Return the options of a command that were given, anywhere, by their names on the command line."""
    return {
        long_name(option): ctx.params[option.name]
        for option in ctx.command.params
        if isinstance(option, click.Option)
        and option.name in ctx.params
        and long_name(option) not in skip
        and ctx.get_parameter_source(option.name) not in (ParameterSource.DEFAULT, None)
    }
