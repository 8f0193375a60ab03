"""An estimator in a folder, without pickle: its parameters as JSON beside the files of its model."""

import json
import os
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from dgl_moleblend._version import __version__
from dgl_moleblend.config import TrainingConfig
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.files import make_folder, read_json, write_json

ESTIMATOR_FILE = "estimator.json"
"""Parameters and classes of an estimator, beside its model."""


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files that a model is made of; logs, tables and checkpoints of its run are none."""
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    kept = [
        name for name in names if name.suffix in (".json", ".safetensors", ".npz") and "checkpoints" not in name.parts
    ]
    return {name.as_posix(): (folder / name).read_bytes() for name in kept}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder, with the folders in between."""
    for name, value in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)


def write(
    estimator: BaseEstimator, folder: str | os.PathLike[str], facts: dict[str, Any], files: dict[str, bytes]
) -> Path:
    """Write parameters and model into a new folder, whole or not at all.

    Parameters
    ----------
    estimator : BaseEstimator
    folder : path
    facts : dict
        What fitting found, as JSON can hold it.
    files : dict of name to content

    Raises
    ------
    DataError
        If there is something of this name, or a parameter that JSON cannot hold.
    """
    parameters = {name: _plain(name, value) for name, value in estimator.get_params(deep=False).items()}
    document = {"estimator": type(estimator).__name__, "version": __version__, "parameters": parameters, "facts": facts}

    def fill(part: Path) -> None:
        part.mkdir()
        write_files(part, files)
        write_json(part / ESTIMATOR_FILE, document)

    return make_folder(folder, fill)


def _plain(name: str, value: Any) -> Any:
    """Return a parameter as JSON holds it."""
    if isinstance(value, TrainingConfig):
        return value.to_dict()
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    try:
        json.dumps(value)
    except TypeError as error:
        raise DataError(f"the parameter {name}={value!r} cannot be written as JSON",
                        fix="set it to a number or None first") from error  # fmt: skip
    return value


def read(cls: type, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write` wrote: "parameters" and "facts".

    Raises
    ------
    CheckpointError
        If it is the folder of something else, or damaged.
    """
    path = Path(folder, ESTIMATOR_FILE)
    if not path.is_file():
        raise CheckpointError(f"there is no {ESTIMATOR_FILE}", where=str(folder), fix="give a folder that save() wrote")
    document: dict[str, Any] = read_json(path)
    if document.get("estimator") != cls.__name__:
        raise CheckpointError(f"the folder holds a {document.get('estimator')}", where=str(folder),
                              fix=f"load it with {document.get('estimator')}.load")  # fmt: skip
    return document
