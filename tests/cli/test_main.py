"""The command line's frame: quick help, one place for errors, exit codes."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dgl_moleblend import cli
from dgl_moleblend.errors import ConfigError, DataError, SchemaError


def test_help_lists_every_command_and_imports_none():
    code = (
        "import sys; from dgl_moleblend.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'dgl', 'rdkit', 'numpy', 'pandas', 'pyarrow', 'lightning'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, line in cli.COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert line in done.stdout


def test_the_help_of_featurize_imports_nothing_heavy():
    code = (
        "import sys; from dgl_moleblend.cli import main\n"
        "try: main(['featurize', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'dgl', 'rdkit', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def run(monkeypatch: pytest.MonkeyPatch, error: BaseException):
    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: command)
    return CliRunner().invoke(cli.main, ["featurize"])


@pytest.mark.parametrize(
    ("error", "exit_code", "text"),
    [
        (DataError("no such column", where="a.csv", fix="name another"), 2, "Error: no such column\n  where: a.csv\n"),
        (SchemaError("a field is missing"), 2, "Error: a field is missing"),
        (ConfigError("seed='x' is not allowed", fix="seed must be a number"), 2, "Error: seed='x' is not allowed"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.ClickException("nothing was kept"), 1, "Error: nothing was kept"),
        (click.UsageError("give one"), 2, "Error: give one"),
    ],
)
def test_errors_are_messages_with_exit_codes(monkeypatch, error, exit_code, text):
    result = run(monkeypatch, error)
    assert result.exit_code == exit_code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_full_disk_is_a_failure_not_wrong_usage(monkeypatch):
    error = DataError("the store cannot be written")
    error.__cause__ = OSError(28, "No space left on device")
    assert run(monkeypatch, error).exit_code == 1


def test_faults_of_ours_keep_their_traceback(monkeypatch):
    result = run(monkeypatch, ValueError("shapes do not match"))
    assert result.exit_code == 1
    assert isinstance(result.exception, ValueError)


def test_unknown_commands_and_options():
    result = CliRunner().invoke(cli.main, ["featurise"])
    assert result.exit_code == 2
    assert "There is no command 'featurise'. Did you mean `featurize`?" in result.stderr
    result = CliRunner().invoke(cli.main, ["featurize", "--smile-column", "x"])
    assert result.exit_code == 2
    assert "--smiles-column" in result.stderr, "the nearest option is named"


def test_version():
    from dgl_moleblend import __version__

    assert __version__ in CliRunner().invoke(cli.main, ["--version"]).stdout


@pytest.mark.parametrize(
    ("name", "meant"), [("train", "finetune"), ("finetun", "finetune"), ("predicts", "predict"), ("xyz", None)]
)
def test_a_command_that_is_not_there_suggests_one(name, meant):
    result = CliRunner().invoke(cli.main, [name, "a.csv"])
    assert result.exit_code == 2
    assert f"There is no command {name!r}." in result.stderr
    assert (f"Did you mean `{meant}`?" in result.stderr) == bool(meant)


def test_messages_go_to_a_file(tmp_path):
    path = tmp_path / "log.txt"
    words = ["--log-file", str(path), "-v", "featurize", str(tmp_path / "nowhere.csv"), "-o", str(tmp_path / "out")]
    for _ in range(2):
        result = CliRunner().invoke(cli.main, words)
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr
    text = path.read_text(encoding="utf-8")
    assert text.count("Traceback") == 2
    assert "nowhere.csv" in text
    assert "Traceback" in CliRunner().invoke(cli.main, ["-vv", *words[3:]]).stderr
    (tmp_path / "small.csv").write_text("smiles\nCCO\n")
    result = CliRunner().invoke(cli.main, [*words[:3], "featurize", str(tmp_path / "small.csv"), "-o",
                                           str(tmp_path / "store"), "--workers", "0"])  # fmt: skip
    assert result.exit_code == 0
    said = result.stderr.splitlines()[-1]
    assert said in path.read_text(encoding="utf-8")
    assert result.stderr.count(said) == 1  # once, though it is logged as well
    assert (
        "the log file cannot be written" in CliRunner().invoke(cli.main, ["--log-file", "/nowhere/x", "doctor"]).stderr
    )


def test_exit_codes_are_documented():
    text = " ".join(CliRunner().invoke(cli.main, ["--help"]).stdout.split())
    assert "The exit code is 0 where all went well, 1 where something failed, 2 where" in text


@pytest.mark.parametrize(
    "command",
    [["predict", "nowhere", "-s", "CCO"], ["embed", "nowhere", "a.csv"], ["inspect", "-s", "CCO", "--model", "nowhere"],
     ["finetune", "a.csv", "--encoder", "nowhere"], ["pretrain", "a.csv", "--encoder", "nowhere", "-o", "p"]],
)  # fmt: skip
def test_a_missing_model_is_said_before_torch_is_imported(command, tmp_path):
    program = "import sys, dgl_moleblend.cli as cli; sys.argv = ['dgl-moleblend', *sys.argv[1:]]\n"
    program += "try:\n    cli.main()\nfinally:\n    print('torch' in sys.modules)"
    if command[0] == "embed":
        command = [*command, "-o", "x.parquet"]
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no model folder 'nowhere'" in done.stderr
    assert done.stdout == "False\n"
