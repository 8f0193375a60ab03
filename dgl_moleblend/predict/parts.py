"""A folder of results in Parquet parts: each appears whole, a run that was cut off goes on, machines share the work."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dgl_moleblend.checksums import sha256
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import lock, read_json, write_json
from dgl_moleblend.predict.sinks import Write, open_file

_LEFTOVER = re.compile(r"\.(_parts.*\.json|part-\d+\.parquet)\.[0-9a-f]{32}$")


_WORDS = {"inputs": "molecules, or other options of reading (the files have changed since?)", "shares": "shards",
          "models": "models (they have changed since?)", "columns": "columns of the input",
          "steps_per_part": "--part-rows (in steps)"}  # fmt: skip
"""What the entries of a plan are for readers."""


@dataclass(frozen=True)
class Share:
    """Which of the parts are this run's: number `number` of `of`, from 1; every `of`-th part."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}-of-{self.of}"


class Parts:
    """Parts of a folder that are written here: part-00000.parquet and so on, and what is known of them.

    A part is written under another name, flushed and renamed; then the list of parts, ``_parts.json`` (of a share of
    the work ``_parts-3-of-64.json``), is replaced in one step. What it does not list is written again. A folder of all
    shares is read as one: ``pandas.read_parquet(folder)``.

    Parameters
    ----------
    folder : Path
        Made if needed.
    plan : dict
        What decides what is written, in plain values; a folder is only continued with the same.
    steps : int
        Steps a part.
    share : Share
    resume : bool
        Whether to go on with what is there.
    """

    def __init__(
        self, folder: Path, plan: dict[str, Any], *, steps: int, share: Share | None = None, resume: bool = False
    ) -> None:
        self.folder, self.steps, self.share = folder, steps, share or Share()
        self._list = folder / ("_parts.json" if self.share.of == 1 else f"_parts-{self.share}.json")
        self._plan = json.loads(json.dumps({**plan, "steps_per_part": steps, "shares": self.share.of}))
        if folder.exists() and not folder.is_dir():
            raise DataError("this is a file, and parts go to a folder", where=str(folder), fix="give another name")
        folder.mkdir(parents=True, exist_ok=True)
        self._check_others()
        self._locked = folder / f".{self._list.stem}.lock"
        self._locked.touch()
        self._lock = lock(self._locked, "these parts")
        self.parts: dict[int, dict[str, Any]] = {}
        try:
            if self._list.is_file():
                self._take_up(resume)
        except BaseException:
            self._let_go()
            raise
        for path in [path for path in folder.iterdir() if _LEFTOVER.match(path.name)]:
            if self.share.of == 1:  # of others' it is not known whether they are being written
                path.unlink()

    def _check_others(self) -> None:
        """Refuse a folder that holds something else, or parts of another plan."""
        own = re.compile(r"_parts(-\d+-of-\d+)?\.json|part-\d+\.parquet|\..*")
        for name in sorted(os.listdir(self.folder)):
            if not own.fullmatch(name):
                raise DataError(f"the folder is not empty: it holds {name!r}", where=str(self.folder),
                                fix="give an empty or new folder")  # fmt: skip
        for path in sorted(self.folder.glob("_parts*.json")):
            before = read_json(path, ("plan", "parts"))["plan"]
            for name in [*self._plan, *before]:
                if before.get(name) != self._plan.get(name):
                    what = _WORDS.get(name, name)
                    old, new = before.get(name), self._plan.get(name)
                    told = "" if isinstance(old, dict | list) else f": {old!r} there, {new!r} now"
                    raise DataError(
                        f"the parts that are there were made with other {what}{told}",
                        where=str(path),
                        fix="give another folder, or the same arguments",
                    )

    def _take_up(self, resume: bool) -> None:
        if not resume:
            raise DataError("there are parts of a run before", where=str(self._list),
                            fix="go on with --resume, or give another folder")  # fmt: skip
        for part in read_json(self._list)["parts"]:
            path = self.folder / part["file"]
            if (
                path.is_file() and sha256(path) == part["sha256"]
            ):  # of one that was changed or lost, rows are done again
                self.parts[part["part"]] = part

    def wanted(self, step: int) -> bool:
        """Whether a step is to be computed here: it is of this share, and of no part that is there."""
        part = step // self.steps
        return part % self.share.of == self.share.number - 1 and part not in self.parts

    @contextmanager
    def open(self) -> Iterator["Writer"]:
        """Take tables by the number of their steps, in order; a part is done when the next begins, or at the end."""
        writer = Writer(self)
        try:
            yield writer
            writer.finish()
            self._write_list(complete=True)
        except BaseException as error:
            writer.drop(error)
            raise
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._locked.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)

    def add(self, number: int, path: Path, counts: Mapping[str, int | None]) -> None:
        """Take up a part that is whole."""
        self.parts[number] = {"part": number, "file": path.name, **counts, "sha256": sha256(path)}
        self._write_list(complete=False)

    def _write_list(self, *, complete: bool) -> None:
        parts = [self.parts[number] for number in sorted(self.parts)]
        write_json(self._list, {"plan": self._plan, "complete": complete, "parts": parts})


class Writer:
    """Puts the tables of steps into the files of parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._number: int | None = None
        self._files = ExitStack()

    def write(self, step: int, table: pd.DataFrame) -> None:
        """Take the next step."""
        number = step // self._parts.steps
        if number != self._number:
            self.finish()
            self._number = number
            self._counts: dict[str, Any] = {"rows": 0, "rejected": 0, "warned": None}
            self._path = self._parts.folder / f"part-{number:05d}.parquet"
            self._write: Write = self._files.enter_context(open_file(self._path, "parquet"))
        self._write(table)
        self._counts["rows"] += len(table)
        self._counts["rejected"] += int((table["reason"] != "").sum())
        if "warning" in table:
            self._counts["warned"] = (self._counts["warned"] or 0) + int((table["warning"] != "").sum())

    def finish(self) -> None:
        """Close the part that is being written."""
        if self._number is not None:
            self._files.close()
            self._parts.add(self._number, self._path, self._counts)
            self._number = None

    def drop(self, error: BaseException) -> None:
        """Leave no file of a part that is not whole."""
        self._files.__exit__(type(error), error, None)
