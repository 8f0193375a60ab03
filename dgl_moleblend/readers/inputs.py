"""Names, globs and folders -> the files that they stand for."""

import glob
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from dgl_moleblend.errors import DataError
from dgl_moleblend.files import CONFIG_FILE, ENSEMBLE_FILE, MANIFEST_FILE, RUN_FILE
from dgl_moleblend.readers.files import STDIN
from dgl_moleblend.readers.formats import names_molecules

log = logging.getLogger(__name__)
_OWN = (CONFIG_FILE, ENSEMBLE_FILE, MANIFEST_FILE, RUN_FILE)
"""Files by which a folder is known for one of ours, not one of molecules."""


def expand_inputs(inputs: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the files that names, globs and folders stand for, those of each in order; "-" is standard input.

    Of a folder, files whose name is one of molecules are taken; that others are passed over is said.

    Raises
    ------
    DataError
        If a name or glob matches no file, or a folder holds none of molecules.
    """
    found: list[str] = []
    for path in inputs:
        name = os.fspath(path)
        if name == STDIN or Path(name).is_file():
            found.append(name)
        elif Path(name).is_dir():
            found.extend(_files_in(name))
        elif matches := sorted(match for match in glob.glob(name, recursive=True) if Path(match).is_file()):
            found.extend(matches)
        else:
            what = "no file matches" if glob.has_magic(name) else "there is no such file"
            raise DataError(what, where=name, fix="check the name; the working folder is " + os.getcwd())
    if not found:
        raise DataError("no input files", fix="name at least one file, or - for standard input")
    return found


def _files_in(folder: str) -> list[str]:
    """Return the files of molecules in a folder, hidden ones and folders in it left out."""
    every = sorted(str(path) for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    if own := next((name for name in every if Path(name).name in _OWN), None):
        raise DataError(f"this folder is no folder of molecules: it holds {Path(own).name}, as models and data sets do",
                        where=folder, fix="name the files in it that are meant")  # fmt: skip
    found = [name for name in every if names_molecules(name)]
    others = [Path(name).name for name in every if name not in found]
    if not found:
        raise DataError("no file in this folder has a name of molecules, such as a.csv or a.sdf.gz", where=folder,
                        fix="name the files that are meant, with --input-format")  # fmt: skip
    if others:
        shown = ", ".join(others[:5]) + (", .." if len(others) > 5 else "")
        log.warning("%s: %d files are read, and not %s", folder, len(found), shown)
    return found
