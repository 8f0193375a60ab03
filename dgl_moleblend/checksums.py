"""Checksums of the files that a run left: one that was exchanged, cut or edited since is refused by name."""

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.files import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    ENSEMBLE_FILE,
    METRICS_FILE,
    OWN_CALIBRATION_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    SPLIT_FILE,
    TRAINING_SET_FILE,
    WEIGHTS_FILE,
    read_json,
    write_json,
)

_READ_AGAIN = (
    CONFIG_FILE, WEIGHTS_FILE, ENSEMBLE_FILE, CALIBRATION_FILE, OWN_CALIBRATION_FILE, TRAINING_SET_FILE, METRICS_FILE,
    PREDICTIONS_FILE, SPLIT_FILE,
)  # fmt: skip
_DEEP = 3  # folders above a file in which the run may lie that made it: encoder of a member of an ensemble


def sha256(path: str | os.PathLike[str]) -> str:
    """Checksum of a file's bytes: it tells a file that was changed, whatever its length and time."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def known_sha256(path: Path) -> str:
    """Return the checksum of a file, read once as long as it stays the same."""
    return _sha256(path, *_stamp(path))


def of_folder(out: Path) -> dict[str, str]:
    """Return checksums of the files that a run left and commands read again: its own, and those of its models."""
    return {path.relative_to(out).as_posix(): sha256(path) for path in _read_again(out)}


def stamps_of(out: Path) -> tuple[object, ...]:
    """Return what changes when one of these files is written anew, without reading them."""
    return tuple(_stamp(path) for path in _read_again(out))


def _read_again(out: Path) -> list[Path]:
    return sorted(
        path for name in _READ_AGAIN for path in (*out.glob(name), *out.glob(f"*/{name}"), *out.glob(f"*/*/{name}"))
    )


def check_file(path: Path) -> Path:
    """Check that a file is the one that the run left there, where a finished run says so; return it.

    Raises
    ------
    CheckpointError
        If it is another, or run.json is damaged.
    """
    for run, name in _runs(path):
        expected = _known(run).get(name)
        if expected is not None and path.is_file() and expected != known_sha256(path):
            raise CheckpointError(
                f"{path.name} is not the file that the run left: it was exchanged, cut or edited",
                where=str(path),
                fix=f"restore it, or train again; {run.name} beside the model holds the checksum of what it was",
            )
    return path


def renew(path: Path) -> None:
    """Take up a file that this package wrote anew in the folder of a finished run."""
    for run, name in _runs(path):
        document = read_json(run)
        if name in document.get("files", {}):
            write_json(run, document | {"files": document["files"] | {name: sha256(path)}})


def _runs(path: Path) -> list[tuple[Path, str]]:
    """Return run.json of each folder that the file lies in or below, with the file's name as that would have it."""
    if path.name not in _READ_AGAIN:
        return []
    folders = [folder for folder in list(path.parents)[:_DEEP] if (folder / RUN_FILE).is_file()]
    return [(folder / RUN_FILE, path.relative_to(folder).as_posix()) for folder in folders]


def _known(run: Path) -> dict[str, Any]:
    return _files(run, *_stamp(run))


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


@functools.lru_cache(maxsize=64)
def _files(run: Path, *stamp: int) -> dict[str, Any]:
    found = read_json(run).get("files", {})
    return found if isinstance(found, dict) else {}


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, *stamp: int) -> str:
    return sha256(path)
