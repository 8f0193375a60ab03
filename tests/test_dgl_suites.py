"""The table of DGL's and dgllife's suites: what it counts, on a checkout of a few lines."""

import json
import os
import sys
from pathlib import Path

import dgl_suites
import pytest

LIFE = {
    "utils/test_one.py": "import dgl\n"
    "def test_dgl(): assert dgl.graph(([0], [1])).num_nodes() == 2\n"
    "def test_wrong(): assert 1 == 2, 'one is not two'\n"
    "def test_far(): raise OSError('<urlopen error> URLError: no host')\n",
    "model/test_two.py": "import pytest\n@pytest.mark.skip\ndef test_not(): pass\n",
    "model/sub/test_ends.py": "import os\nos._exit(7)\n",
    "data/helper.py": "",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in LIFE.items():
        file = tmp_path / "tests" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_each_test_is_counted_once(checkout: Path, capsys: pytest.CaptureFixture) -> None:
    before = {file: file.read_text() for file in checkout.rglob("*.py")}
    out = checkout / "out" / "suites.json"
    dgl_suites.main([str(checkout), "--json", str(out)])
    [row] = json.loads(out.read_text())
    assert {name: row[name] for name in ("suite", "tests", *dgl_suites.OUTCOMES)} == {
        "suite": "dgllife", "tests": 5, "passed": 1, "failed": 2, "network": 1, "skipped": 1,
    }  # fmt: skip
    assert row["reasons"] == {
        "utils/test_one.py::test_wrong": "AssertionError: one is not two",
        "utils/test_one.py::test_far": "OSError: <urlopen error> URLError: no host",
        "model/sub/test_ends.py": "Python ended with exit code 7",
    }
    assert row["hook"] is True
    assert row["torch"][0].isdigit()
    printed = capsys.readouterr().out
    assert "| dgllife |" in printed
    assert "1 x Python ended with exit code 7" in printed
    assert {file: file.read_text() for file in checkout.rglob("*.py")} == before


def test_a_file_that_does_not_end_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "test_slow.py"
    file.write_text("import time\ntime.sleep(100)\n")
    result = dgl_suites.run(sys.executable, file, tmp_path, dict(os.environ), timeout=1)
    assert (result.counts, result.reasons) == ({"failed": 1}, {"test_slow.py": "no end after 1 seconds"})


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"holds neither DGL's tests nor dgllife's\n  fix:   git clone"):
        dgl_suites.main([str(tmp_path)])


def test_a_python_without_dgl_is_refused(checkout: Path, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho No package dgl >&2\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(SystemExit, match="cannot run tests: No package dgl"):
        dgl_suites.main([str(checkout), "--python", str(fake), "--json", str(tmp_path / "x.json")])
