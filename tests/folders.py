"""Copies of model folders for tests that edit what is in them."""

import json
import shutil
from pathlib import Path


def copy_to_edit(source: Path, target: Path) -> Path:
    """Copy a folder as a version left it that kept no checksums, so that its files may be edited."""
    shutil.copytree(source, target)
    for run in target.rglob("run.json"):
        document = json.loads(run.read_text())
        document.pop("files", None)
        run.write_text(json.dumps(document))
    return target
