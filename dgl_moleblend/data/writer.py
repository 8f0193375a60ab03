"""A data set on disk, written: whole at any moment, and continued where it was cut off."""

import csv
import functools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dgl_moleblend._version import __version__
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.codec import Views
from dgl_moleblend.data.rows import REJECT_FIELDS, Reject
from dgl_moleblend.data.store import (
    STORE_FORMAT,
    STORE_VERSION,
    MoleculeStore,
    config_hash,
    read_manifest,
    sha256,
)
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import MANIFEST_FILE, REJECTS_FILE, lock, write_atomically
from dgl_moleblend.schema import SCHEMA_VERSION

_LEFTOVER = re.compile(r"\.tmp-|\.(manifest\.json|shard-\d+\.arrow)\.[0-9a-f]+$")
"""Names of files that were being written when a run was killed."""


class StoreWriter:
    """Write a store shard by shard so that it is whole at any moment, and goes on where it was cut off.

    A shard is written under another name, flushed to the disk and renamed; then its rejects are appended; then the
    manifest, which says how long each file is, is replaced in one step. What the manifest does not list does not
    exist. Shards end at fixed input rows, so an interrupted and resumed run writes the same bytes as one in one go.

    Parameters
    ----------
    folder : path
        Made if needed.
    featurizer : FeaturizerConfig
    task_names, sources : sequence of str
        Names of the labels, and files that are read.
    classes : mapping of task to tuple of str, optional
        Of labels that were words: those for class 0, class 1, ..
    shard_size : int
        Input rows per shard.
    arguments : dict
        Whatever else decides what is written; a store is only continued with the same.
    versions : dict
        Versions of packages that the molecules depend on.
    overwrite : bool
        Whether to replace a store that is there.

    Raises
    ------
    DataError
        If the folder holds something else, a store made with other arguments, or is being written at this moment.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        featurizer: FeaturizerConfig,
        task_names: Sequence[str],
        sources: Sequence[str],
        classes: Mapping[str, tuple[str, ...]] | None = None,
        shard_size: int = 20_000,
        arguments: dict[str, Any] | None = None,
        versions: dict[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder)
        if shard_size < 1:
            raise DataError(f"shard_size={shard_size} is not allowed", fix="give at least one row per shard")
        identity = {
            "format": STORE_FORMAT,
            "store_version": STORE_VERSION,
            "schema_version": SCHEMA_VERSION,
            "featurizer": json.loads(featurizer.to_json()),
            "featurizer_hash": config_hash(featurizer),
            "arguments": json.loads(json.dumps(arguments or {})),
            "task_names": list(task_names),
            "label_type": "float64",  # stores of before hold float32, and are not continued
            **({"classes": {name: list(words) for name, words in classes.items()}} if classes else {}),
            "sources": list(sources),
            "shard_size": shard_size,
            "versions": {"dgl_moleblend": __version__, "numpy": np.__version__, "pyarrow": pa.__version__}
            | (versions or {}),
        }
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError("this is a file, and a store is a folder", where=str(folder), fix="give another name")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.folder, "this store")
        try:
            with _disk_errors(self.folder):
                self._begin(identity, overwrite)
        except BaseException:
            self.close()
            raise

    def _begin(self, identity: dict[str, Any], overwrite: bool) -> None:
        for name in filter(_LEFTOVER.match, os.listdir(self.folder)):
            (self.folder / name).unlink()
        others = set(os.listdir(self.folder))
        if MANIFEST_FILE in others and not overwrite:
            self.manifest = read_manifest(self.folder)
            self._check_same(identity)
        elif others and MANIFEST_FILE not in others:
            raise DataError(f"the folder is not empty and no store: it holds {sorted(others)[0]!r}",
                            where=str(self.folder), fix="give an empty or new folder")  # fmt: skip
        else:
            if MANIFEST_FILE in others:
                (self.folder / MANIFEST_FILE).unlink()
                for path in (*self.folder.glob("shard-*.arrow"), self.folder / REJECTS_FILE):
                    path.unlink(missing_ok=True)
            self.manifest = identity | {
                "complete": False,
                "counts": {"rows": 0, "kept": 0, "rejected": 0, "with_conformer": 0, "atoms": 0, "bonds": 0},
                "shards": [],
                "rejects": {"file": REJECTS_FILE, "bytes": 0},
            }
            self._write_manifest()
        MoleculeStore(self.folder, allow_partial=True)  # what is there must be whole before more is added
        if self.complete:
            self.close()
        elif length := self.manifest["rejects"]["bytes"]:
            os.truncate(self.folder / REJECTS_FILE, length)
        else:
            (self.folder / REJECTS_FILE).unlink(missing_ok=True)
            self._append_rejects([REJECT_FIELDS])
            self._write_manifest()

    def _check_same(self, identity: dict[str, Any]) -> None:
        for name, value in identity.items():
            before = self.manifest.get(name)
            if before == value:
                continue
            what, old, new = name, before, value
            if isinstance(before, dict) and isinstance(value, dict):
                key = next(key for key in [*value, *before] if before.get(key) != value.get(key))
                what, old, new = f"{name}[{key!r}]", before.get(key), value.get(key)
            changed = "the input files hold other bytes than when the store was made; " * (
                what in ("arguments['content']", "arguments['labels_content']")
            )
            raise DataError(
                f"{changed}the store was made with another {what}: {old!r} there, {new!r} now",
                where=str(self.folder),
                fix="give another folder, or pass --overwrite to replace the store",
            )

    @property
    def complete(self) -> bool:
        """Whether the store is finished."""
        return bool(self.manifest["complete"])

    @property
    def next_row(self) -> int:
        """The first input row that is not in the store yet."""
        return int(self.manifest["counts"]["rows"])

    @property
    def shard_size(self) -> int:
        """Input rows per shard."""
        return int(self.manifest["shard_size"])

    def write_shard(self, batch: pa.RecordBatch, rejects: Sequence[Reject]) -> None:
        """Add the next rows: `batch.num_rows + len(rejects)` input rows are done by this.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            The kept molecules, by row.
        rejects : sequence of Reject
            The others, by row.
        """
        with _disk_errors(self.folder):
            name = f"shard-{len(self.manifest['shards']):05d}.arrow"
            path = self.folder / name
            _write(path, functools.partial(_write_batch, batch))
            first = self.next_row
            rows = batch.num_rows + len(rejects)
            entry = {"file": name, "rows": [first, first + rows], "molecules": batch.num_rows}
            self.manifest["shards"].append(entry | {"bytes": path.stat().st_size, "sha256": sha256(path)})
            views = Views(batch)
            added = {
                "rows": rows,
                "kept": batch.num_rows,
                "rejected": len(rejects),
                "with_conformer": int((np.diff(views.position_offset) > 0).sum()),
                "atoms": len(views.atom),
                "bonds": len(views.bond_id),
            }
            counts = self.manifest["counts"]
            self.manifest["counts"] = {key: counts[key] + added[key] for key in counts}
            self._append_rejects([reject.values() for reject in rejects])
            self._write_manifest()

    def finish(self, blocks: int | None = None) -> MoleculeStore:
        """Mark the store as complete and open it; of a share, say how many blocks of rows the whole input has."""
        with _disk_errors(self.folder):
            self.manifest["complete"] = True
            self.manifest |= {} if blocks is None else {"blocks": blocks}
            self.manifest["rejects"]["sha256"] = sha256(self.folder / REJECTS_FILE)
            self._write_manifest()
        self.close()
        return MoleculeStore(self.folder)

    def close(self) -> None:
        """Let others write to the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _append_rejects(self, rows: Sequence[Sequence[str]]) -> None:
        path = self.folder / REJECTS_FILE
        with path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        self.manifest["rejects"] = {"file": REJECTS_FILE, "bytes": path.stat().st_size}

    def _write_manifest(self) -> None:
        text = json.dumps(self.manifest, indent=1, sort_keys=True) + "\n"
        _write(self.folder / MANIFEST_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def _write_batch(batch: pa.RecordBatch, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file, all of it or nothing, and let the folder say so after a power cut."""
    write_atomically(path, write)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(folder).free
        raise DataError(
            f"the store cannot be written: {error.strerror or error} ({free:,} bytes are free)",
            where=str(folder),
            fix="make room and run the same command again; it goes on where it stopped",
        ) from error
