"""The house is kept: names of files are spelled in one place, no module is long, nothing reads an error's text."""

import re
from pathlib import Path

import pytest

import dgl_moleblend
from dgl_moleblend import files

ROOT = Path(dgl_moleblend.__file__).parent
MODULES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}
LONGEST = 400
NAMES = {value for name, value in vars(files).items() if name.endswith("_FILE")}
ELSEWHERE = {"env/compat.py": {"config.json"}}  # DGL's own


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_too_long_for_one_idea(module):
    assert MODULES[module].count("\n") <= LONGEST, f"{module}: part it, one idea a file"


def test_names_of_files_are_spelled_in_one_place():
    assert "config.json" in NAMES
    assert "predictions.csv" in NAMES
    spelled = {
        module: found
        for module, text in MODULES.items()
        if module != "files.py"
        and (found := {name for name in NAMES if f'"{name}"' in text} - ELSEWHERE.get(module, set()))
    }
    assert not spelled, "take them from files.py"


def test_nothing_searches_the_text_of_an_error():
    searched = [module for module, text in MODULES.items() if re.search(r"in str\((error|exc|e)\)", text)]
    assert not searched, "errors have `what`, `where` and `fix`"
