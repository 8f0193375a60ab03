"""The README's examples are run: Python as it stands, commands with a tiny model and one epoch."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from dgl_moleblend.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line.strip()
]


@pytest.mark.parametrize("code", PYTHON, ids=["first", "library", "dgllife"])
def test_python(code: str, tmp_path) -> None:
    """In a process of its own, as a reader would run it."""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_commands(tmp_path, monkeypatch) -> None:
    """In the README's order: each reads what those before it wrote."""
    monkeypatch.chdir(tmp_path)
    ran = []
    for line in COMMANDS:
        words = shlex.split(line, comments=True)
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True)
            lines = Path("freesolv.csv").read_text(encoding="utf-8").splitlines()
            Path("freesolv.csv").write_text("\n".join(lines[:40]), encoding="utf-8")
            continue
        assert words[0] == "dgl-moleblend", line
        if words[1] == "pretrain":
            words += ["--epochs", "1", "--size", "tiny"]
        elif words[1] == "finetune" and "--encoder" in words:
            words += ["--epochs", "1"]
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
        ran.append(words[1])
    assert ran == [
        "finetune", "predict", "predict", "finetune", "featurize", "inspect", "pretrain", "finetune", "inspect",
        "finetune", "finetune", "predict", "embed",
    ]  # fmt: skip
    assert Path("model/report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {"expt_predicted", "expt_spread", "expt_lower", "expt_upper"} <= {*pd.read_csv("ensemble.csv").columns}
    assert len(Path("predictions.csv").read_text(encoding="utf-8").splitlines()) == 40
