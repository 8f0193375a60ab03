"""`doctor`: what is installed, how DGL was loaded, and the mend for each fault."""

import dataclasses
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from dgl_moleblend.cli import formats
from dgl_moleblend.cli.frame import Command

if TYPE_CHECKING:
    from dgl_moleblend.env.diagnosis import Diagnosis


@click.command(cls=Command)
@click.option("--fix", is_flag=True, help="Write a start-up hook, so that scripts which never import dgl_moleblend"
              " can import dgl.")  # fmt: skip
@click.option("--undo", is_flag=True, help="Take the start-up hook out again.")
@formats.option
@click.pass_context
def command(ctx: click.Context, fix: bool, undo: bool, form: str) -> None:
    """Check the installation and say how to mend it.

    Prints versions, how DGL was loaded, CUDA for torch and for DGL, and each fault with its mend. The exit code is 0 if
    all is well and 1 if there is a fault. Nothing is changed, unless --fix or --undo asks for it.
    """
    if fix and undo:
        raise click.UsageError("--fix and --undo exclude each other.")
    if fix:
        ctx.exit(_write_hook())
    if undo:
        ctx.exit(_remove_hook())
    ctx.exit(_examine(form))


def _examine(form: str) -> int:
    from dgl_moleblend.env.diagnosis import diagnose
    from dgl_moleblend.env.probe import STEPS

    with click.progressbar(length=len(STEPS), label="Trying libraries", file=sys.stderr, show_eta=False) as bar:
        diagnosis = diagnose(progress=lambda step: bar.update(1))
    if form == "text":
        click.echo(_report(diagnosis))
    else:
        formats.echo_json(dataclasses.asdict(diagnosis), form)
    return 1 if diagnosis.faults else 0


def _report(diagnosis: "Diagnosis") -> str:
    lines = ["Versions"]
    lines += [f"  {name:<18} {version}" for name, version in diagnosis.versions.items()]
    lines += ["", "State"]
    lines += [_hanging(f"  {name:<18} ", text) for name, text in diagnosis.state.items()]
    lines += ["", f"Faults: {len(diagnosis.faults) or 'none'}"]
    for number, fault in enumerate(diagnosis.faults, start=1):
        lines += [_hanging(f"  {number}. ", fault.what), _hanging("     fix: ", fault.fix)]
    return "\n".join(lines)


def _hanging(head: str, text: str) -> str:
    """Put `text` behind `head`, further lines of it below its first."""
    return head + textwrap.indent(text, " " * len(head)).lstrip()


def _write_hook() -> int:
    from dgl_moleblend.env import startup_hook

    click.echo(f"wrote {startup_hook.write()}; `dgl-moleblend doctor --undo` takes it out, pip uninstall does not")
    click.echo("trying `import dgl` in a fresh Python ...", err=True)
    plain = subprocess.run([sys.executable, "-c", "import dgl"], capture_output=True, text=True)
    if plain.returncode == 0:
        click.echo("`import dgl` works in any script now")
        return 0
    click.echo(f"`import dgl` still fails; `dgl-moleblend doctor` says why:\n{plain.stderr.strip()}", err=True)
    return 1


def _remove_hook() -> int:
    from dgl_moleblend.env import startup_hook

    removed = startup_hook.remove()
    click.echo("\n".join(f"removed {hook}" for hook in removed) or "there is no start-up hook to remove")
    return 0
