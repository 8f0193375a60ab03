"""A run's folder: its plan, whether it is finished, and what happens to what is there already."""

import platform
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dgl_moleblend import checksums
from dgl_moleblend.env.processes import is_first_process
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import CHECKPOINTS, CONFIG_FILE, LOGS, RESULTS, RUN_FILE, read_json, write_json
from dgl_moleblend.train.lock import hold
from dgl_moleblend.train.plan import RunPlan

LAST = "last.ckpt"
"""The checkpoint that a run is resumed from."""
_PACKAGES = ("dgl-moleblend", "torch", "dgl", "dgllife", "rdkit", "lightning", "numpy", "pandas")


def check_folder(out: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Check that a run can be written to a folder, or resumed there, before its molecules are read.

    Raises
    ------
    DataError
        If the folder is a file or cannot be made or written, or there is a run and it is neither resumed nor
        overwritten, or one to be resumed is missing.
    CheckpointError
        If run.json is damaged.
    """
    if not is_first_process():
        return
    if out.exists() and not out.is_dir():
        raise DataError("this is a file", where=str(out), fix="name a folder for the results")
    if out.is_dir() or not resume:
        _make(out)
    if (out / RUN_FILE).exists() and not (overwrite and not resume):
        finished = is_finished(out)
        if not resume:
            raise DataError(
                "the folder already holds a " + ("finished run" if finished else "run that did not finish"),
                where=str(out),
                fix="choose another folder, or pass --overwrite (overwrite=True)"
                + ("" if finished else " or --resume (resume=True)"),
            )
    elif resume:
        raise DataError(
            "there is no run to resume", where=str(out), fix="leave out --resume (resume=True) to start one"
        )
    elif (out / CONFIG_FILE).exists() and not overwrite:
        raise DataError("the folder already holds a model", where=str(out),
                        fix="choose another folder, or pass --overwrite (overwrite=True)")  # fmt: skip


def _make(out: Path) -> None:
    """Make a folder, and try to write in it."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        trial = out / ".trial"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise DataError(f"results cannot be written there: {error.strerror or error}", where=str(out),
                        fix="name a folder on a disk with space, in which you may write") from error  # fmt: skip
    finally:
        for folder in made:  # empty folders are not left behind by a command that fails on its input
            with suppress(OSError):
                folder.rmdir()


def open_run(out: Path, plan: RunPlan, *, resume: bool = False, overwrite: bool = False, extend: bool = False) -> None:
    """Make the folder of a run and write down its plan, or check that a run that is resumed has the same.

    Parameters
    ----------
    out : Path
    plan : RunPlan
    resume, overwrite : bool
        What to do with a run that is there: go on with it, or delete it. Files that are not a run's stay.
    extend : bool
        A run that is finished may be resumed, too.

    Raises
    ------
    DataError
        See `check_folder`; or if a run to be resumed is finished, and the plan does not let it grow.
    CheckpointError
        If a run is resumed with another plan, whose differences the message names, or run.json is damaged.
    """
    if not is_first_process():
        return
    check_folder(out, resume=resume, overwrite=overwrite)
    out.mkdir(parents=True, exist_ok=True)
    hold(out)
    file = out / RUN_FILE
    if file.exists() and overwrite and not resume:
        delete_run(out)
    if file.exists():
        run = read_run(out)
        if not run["finished"] or extend:
            plan.check_resumes(run["settings"], str(file))
        else:
            _check_goes_on(out, plan, run["settings"])
    write_run(out, plan.to_dict(), finished=False)


def _check_goes_on(out: Path, plan: RunPlan, stored: Mapping[str, Any]) -> None:
    """Check that a finished run has something left to do."""
    if stored.get("training", {}).get("schedule") != "constant":
        if stored.get("training", {}).get("max_epochs", 0) < plan.training.max_epochs:
            why = "the run is finished, and its learning rate has come to 0: it cannot go on with more epochs"
        else:
            why = "the run is finished; there is nothing to resume"
        raise DataError(why, where=str(out), fix="start another run from its weights (--encoder), or begin one that can"
                        " go on (--schedule constant)")  # fmt: skip
    plan.check_resumes(stored, str(out / RUN_FILE))
    if not plan.grows(stored):
        raise DataError("the run is finished; there is nothing to resume", where=str(out),
                        fix="ask for more epochs, or more patience")  # fmt: skip
    if plan.kind in ("pretraining", "finetuning") and not (out / CHECKPOINTS / LAST).exists():
        raise DataError("the run is finished, and its last checkpoint is gone", where=str(out / CHECKPOINTS / LAST),
                        fix="start another run from its weights (--encoder)")  # fmt: skip


def delete_run(out: Path) -> None:
    """Delete the files that a run left in a folder; others stay."""
    for folder in (CHECKPOINTS, LOGS):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in reversed(RESULTS):  # run.json last: without it, what is left would be nobody's
        (out / name).unlink(missing_ok=True)


def close_run(out: Path) -> None:
    """Write down that the run is finished; delete its checkpoints, unless it could go on from them."""
    settings = read_run(out)["settings"]
    write_run(out, settings, finished=True, files=checksums.of_folder(out))
    if settings.get("training", {}).get("schedule") != "constant":
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def is_finished(out: Path) -> bool | None:
    """Whether the run in a folder is finished; None where there is no run."""
    return bool(read_run(out)["finished"]) if (out / RUN_FILE).exists() else None


def read_run(out: Path) -> dict[str, Any]:
    """Read run.json.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    return read_json(out / RUN_FILE, ("settings", "finished"))


def write_run(
    out: Path, settings: Mapping[str, Any], *, finished: bool, files: Mapping[str, str] | None = None
) -> None:
    """Write run.json: the plan, versions, whether it is finished, and then checksums of the files that it left."""
    known = {} if files is None else {"files": dict(files)}
    write_json(out / RUN_FILE, {"settings": settings, "versions": library_versions(), "finished": finished, **known})


def library_versions(packages: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """Versions of Python and of those packages that results depend on and that are there: training needs no RDKit."""
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
