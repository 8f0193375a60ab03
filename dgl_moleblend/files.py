"""Names of the files of models, runs and data sets, and writing them: whole or not at all, never over what is read."""

import fnmatch
import glob
import itertools
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dgl_moleblend.errors import CheckpointError, DataError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
RUN_FILE = "run.json"
SETTINGS_FILE = "run.toml"
"""Options of a run, as the command line takes them."""
ENSEMBLE_FILE = "ensemble.json"
"""Names the model folders that several runs left in one folder."""
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
SPLIT_FILE = "split.csv"
REJECTS_FILE = "rejects.csv"
CALIBRATION_FILE = "calibration.json"
OWN_CALIBRATION_FILE = "calibration_file.json"
"""Goes before calibration.json: made from rows of a file of their own."""
TRAINING_SET_FILE = "training_set.npz"
REPORT_FILE = "report.html"
CURVES_FILE, PARITY_FILE, ROC_FILE = "curves.png", "parity.png", "roc.png"
TRIALS_FILE = "trials.csv"
CACHE_VARIABLE = "DGL_MOLEBLEND_CONFORMER_CACHE"
"""Environment variable that names a file of conformers; without it they are embedded anew in every run."""
MANIFEST_FILE = "manifest.json"
"""Of a data set on disk."""
TRIALS = "trials"
CHECKPOINTS = "checkpoints"
LOGS = "logs"
RESULTS = (
    RUN_FILE, ENSEMBLE_FILE, CONFIG_FILE, WEIGHTS_FILE, CALIBRATION_FILE, OWN_CALIBRATION_FILE, TRAINING_SET_FILE,
    METRICS_FILE, PREDICTIONS_FILE, SPLIT_FILE, REJECTS_FILE, REPORT_FILE, CURVES_FILE, PARITY_FILE, ROC_FILE,
    SETTINGS_FILE,
)  # fmt: skip
"""Files that a run leaves; those of the run before are deleted when it is overwritten."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path`, renamed at the end: readers see the old or the new, always whole."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            mode = os.fstat(file.fileno()).st_mode  # as the umask has it; what is written may be its owner's alone
        yield temporary
        temporary.chmod(stat.S_IMODE(mode))
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it; see `whole`."""
    with whole(path) as temporary:
        write(temporary)


def lock(path: Path, what: str) -> int | None:
    """Hold a folder or file until `os.close` or the process's end; None where the system has no such locks.

    Raises
    ------
    DataError
        If another process holds it, which writes `what`.
    """
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise DataError(f"another run is writing {what}", where=str(path),
                        fix="wait for it to end, or give another folder") from error  # fmt: skip
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def make_folder(folder: str | os.PathLike[str], fill: Callable[[Path], object]) -> Path:
    """Let `fill` make a folder beside the one that is wanted, then rename it: it appears whole, or not at all.

    Parameters
    ----------
    folder : path
    fill : callable
        Is given a path at which there is nothing yet.

    Raises
    ------
    DataError
        If there is something of this name.
    """
    folder = Path(folder)
    if os.path.lexists(folder):
        raise DataError("there is something of this name", where=str(folder), fix="choose another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        fill(part)
        return part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all; NaN is no JSON and is refused."""
    text = json.dumps(values, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path, names: Iterable[str] = ()) -> dict[str, Any]:
    """Read a JSON object with certain names in it.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or lacks one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except (OSError, ValueError, RecursionError) as error:
        why = "it is empty" if path.is_file() and not path.stat().st_size else str(error)
        raise CheckpointError(f"{path.name} cannot be read: {why}", where=str(path),
                              fix="restore the file, or begin anew with --overwrite") from error  # fmt: skip
    return found


_WRITTEN = (
    *RESULTS, CHECKPOINTS, LOGS, MANIFEST_FILE, "shard-*.arrow", TRIALS, TRIALS_FILE, "seed-*", "fold-*",
    "network-*", "forest", "trees", "kernel", "frozen", "encoder",
)  # fmt: skip
"""What commands write in, or delete from, the folder that is their output."""


def keep_inputs(output: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an output that would replace what is read, before anything is touched.

    Parameters
    ----------
    output : path
        File or folder that is to be written.
    inputs : iterable of paths
        Files, globs and folders that are read; "-" and what does not exist are passed over.

    Raises
    ------
    DataError
        If the output is one of the inputs (by whatever name or link), lies where an input folder has its files, or is
        a folder in which an input lies where results go.
    """
    out = Path(output).resolve()
    for name in itertools.chain.from_iterable([one] if Path(one).exists() else glob.glob(str(one)) for one in inputs):
        real = Path(name).resolve()
        same = real == out or (out.exists() and real.samefile(out))
        if same or _is_written(real, out) or (real.is_dir() and _is_written(out, real)):
            what = (
                "is what the command reads"
                if same
                else f"would replace parts of {str(name)!r}, which the command reads"
            )
            raise DataError(f"the output {str(output)!r} {what}", where=str(name), fix="give the output another name")


def _is_written(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder where a command's results go."""
    if folder not in path.parents:
        return False
    return any(fnmatch.fnmatch(path.relative_to(folder).parts[0], pattern) for pattern in _WRITTEN)
