"""Commands run as a shell would run them, and the small table of molecules that they are given."""

from click.testing import CliRunner, Result

from dgl_moleblend.cli import main

SMILES = (
    "CCO", "CCC", "CCCC", "CC(C)O", "CC(=O)O", "c1ccccc1", "c1ccccc1O", "Cc1ccccc1", "CCN", "CCCl", "CCBr", "CC#N",
    "C1CCCCC1", "C1CCOC1", "c1ccncc1", "CC(=O)C", "CCOCC", "C=C", "C=CC=C", "CO", "CN", "CS", "O", "N", "CC(C)(C)C",
    "c1ccc2ccccc2c1", "Clc1ccccc1", "Fc1ccccc1", "Nc1ccccc1", "OC(=O)c1ccccc1",
)  # fmt: skip
BAD_ROW = 4
"""The row of the table (0-based) whose SMILES cannot be read; the row after it has no label."""


def run(*arguments: object, stdin: str | None = None) -> Result:
    """Run a command as a shell would."""
    return CliRunner().invoke(main, [*map(str, arguments)], input=stdin)


def succeed(*arguments: object, stdin: str | None = None) -> Result:
    """Run a command that must end with exit code 0."""
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


QUICK = ("--size", "tiny", "--epochs", "2", "--batch-size", "8", "--quiet", "--workers", "0")
"""Options of a training run that takes a second."""
