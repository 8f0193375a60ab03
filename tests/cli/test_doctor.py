"""`dgl-moleblend doctor`: what it prints, its exit codes, and that it changes nothing unasked."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from dgl_moleblend.cli.doctor import command
from dgl_moleblend.env import diagnosis, startup_hook
from dgl_moleblend.env.diagnosis import Diagnosis, Fault


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in place of this Python's own, where `import dgl` in a fresh Python gives `dgl.py`."""
    monkeypatch.setattr(startup_hook, "folders", lambda: [tmp_path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_this_installation_is_well(folder):
    result = CliRunner().invoke(command)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    for name in ("python", "torch", "dgl", "dgllife", "numpy", "pandas", "rdkit", "lightning", "pyarrow"):
        assert any(line.split()[:1] == [name] and line.split()[1][0].isdigit() for line in lines), name
    for name in ("torch on CUDA", "DGL on CUDA", "dgl.graphbolt", "dgl.sparse", "start-up hook"):
        assert any(line.startswith(f"  {name}") and "unknown" not in line for line in lines), name
    assert lines[-1] == "Faults: none"
    assert list(folder.iterdir()) == []


def test_faults_are_printed_with_their_mends_and_the_exit_code_is_1(monkeypatch):
    faults = [Fault("rdkit is missing", "pip install rdkit"), Fault("two\nlines", "one")]
    monkeypatch.setattr(diagnosis, "diagnose", lambda progress: Diagnosis({"torch": "2.13.0"}, {"python": "x"}, faults))
    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    document = {"versions": {"torch": "2.13.0"}, "state": {"python": "x"},
                "faults": [dataclasses.asdict(fault) for fault in faults]}  # fmt: skip
    for form in ("json", "jsonl"):
        found = CliRunner().invoke(command, ["--format", form])
        assert found.exit_code == 1
        assert json.loads(found.stdout) == document
    assert result.output.endswith(
        "Faults: 2\n  1. rdkit is missing\n     fix: pip install rdkit\n  2. two\n     lines\n     fix: one\n"
    )


def test_fix_and_undo(folder):
    (folder / "dgl.py").touch()
    runner = CliRunner()
    fixed = runner.invoke(command, ["--fix"])
    assert fixed.exit_code == 0, fixed.output
    assert f"wrote {folder / startup_hook.FILE_NAME}" in fixed.output
    assert "`import dgl` works in any script now" in fixed.output
    assert (folder / startup_hook.FILE_NAME).read_text() == startup_hook.CONTENT
    undone = runner.invoke(command, ["--undo"])
    assert (undone.exit_code, undone.output) == (0, f"removed {folder / startup_hook.FILE_NAME}\n")
    assert not (folder / startup_hook.FILE_NAME).exists()
    assert runner.invoke(command, ["--undo"]).output == "there is no start-up hook to remove\n"


def test_fix_that_does_not_help_says_so(folder):
    (folder / "dgl.py").write_text("raise ImportError('broken on purpose')")
    result = CliRunner().invoke(command, ["--fix"])
    assert result.exit_code == 1
    assert "`import dgl` still fails" in result.output
    assert "broken on purpose" in result.output


def test_fix_and_undo_exclude_each_other(folder):
    result = CliRunner().invoke(command, ["--fix", "--undo"])
    assert result.exit_code == 2
    assert "exclude each other" in result.output
    assert list(folder.iterdir()) == []
