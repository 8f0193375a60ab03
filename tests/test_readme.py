"""The examples of README and guide are run: Python as it stands, commands with a tiny model and one epoch."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from dgl_moleblend.cli import main

ROOT = Path(__file__).parents[1]
TEXT = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "examples/GUIDE.md"))
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line.strip()
]


@pytest.mark.parametrize("code", PYTHON, ids=["first", "library", "dgllife", "atoms"])
def test_python(code: str, tmp_path) -> None:
    """In a process of its own, as a reader would run it."""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_commands(tmp_path, monkeypatch) -> None:
    """In the order of README and guide: each reads what those before it wrote."""
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
