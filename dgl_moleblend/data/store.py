"""A data set on disk, read: memory-mapped Arrow shards, a manifest that says how long each file is, and the rejects."""

import functools
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from dgl_moleblend.checksums import sha256
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.codec import BOUNDS, Views, arrow_schema
from dgl_moleblend.data.rows import REJECT_KINDS, rejects_frame
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import MANIFEST_FILE, REJECTS_FILE
from dgl_moleblend.schema import SCHEMA_VERSION

STORE_FORMAT = "dgl_moleblend.store"
STORE_VERSION = 1
_FIX_DAMAGE = "copy the store again from where it is whole, or make it again with --overwrite"


class MoleculeStore(MoleculeTable):
    """A data set on disk, memory-mapped: what is not asked for takes no memory.

    Parameters
    ----------
    path : path
        The folder.
    allow_partial : bool
        Whether a store whose writing was interrupted may be opened as far as it goes.
    verify : bool
        Whether to compare the checksum of every file first, which reads them once; without, damage may go unseen or
        crash. Copies that are sent to worker processes do not do it again.

    Attributes
    ----------
    path : Path
    manifest : dict
        Featurizer settings and their hash, package versions, counts, task names, shards with checksums.

    Raises
    ------
    DataError
        If the folder is no store, was written by another schema version, is unfinished, or lacks or cut a file.
    """

    def __init__(self, path: str | os.PathLike[str], *, allow_partial: bool = False, verify: bool = True) -> None:
        self.path = Path(path)
        self._allow_partial = allow_partial
        self.manifest = read_manifest(self.path)
        if not self.manifest["complete"] and not allow_partial:
            raise DataError(
                f"the store is unfinished: {self.manifest['counts']['rows']:,} input rows are done",
                where=str(self.path),
                fix="run the same featurize command again; it goes on where it stopped",
            )
        self._check_rejects(self.manifest["rejects"]["bytes"])
        for entry in self.manifest["shards"]:
            self._check_size(entry)
        if verify:  # first: Arrow may crash on what is damaged
            self.verify()
        self._batches = [self._map_shard(entry) for entry in self.manifest["shards"]]
        try:
            views = [Views(batch) for batch in self._batches]
            self._open(self.manifest["task_names"], self.manifest["sources"], views)
        except (pa.ArrowException, ValueError) as error:
            raise DataError(f"a shard is damaged: {error}", where=str(self.path), fix=_FIX_DAMAGE) from error

    def __reduce__(self) -> tuple[Any, ...]:
        again = functools.partial(MoleculeStore, allow_partial=self._allow_partial, verify=False)
        return again, (str(self.path),)

    def _check_rejects(self, length: int) -> None:
        path = self.path / REJECTS_FILE
        size = path.stat().st_size if path.is_file() else 0
        if size != length if self.manifest["complete"] else size < length:
            what = f"it has {size:,} bytes, {MANIFEST_FILE} says {length:,}" if size else "it is missing or empty"
            raise DataError(f"the list of rejects is damaged: {what}", where=str(path), fix=_FIX_DAMAGE)

    def _check_size(self, entry: dict[str, Any]) -> None:
        path = self.path / entry["file"]
        if not path.is_file():
            raise DataError("a shard is missing", where=str(path), fix=_FIX_DAMAGE)
        if path.stat().st_size != entry["bytes"]:
            raise DataError(
                f"the shard has {path.stat().st_size:,} bytes, {MANIFEST_FILE} says {entry['bytes']:,}",
                where=str(path),
                fix=_FIX_DAMAGE,
            )

    def _map_shard(self, entry: dict[str, Any]) -> pa.RecordBatch:
        path, fix = self.path / entry["file"], _FIX_DAMAGE
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            batch = reader.get_batch(0)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"the shard cannot be read: {error}", where=str(path), fix=fix) from error
        label_type = self.manifest.get("label_type", "float32")
        expected = arrow_schema(len(self.manifest["task_names"]), label_type, bounds=BOUNDS in batch.schema.names)
        if not batch.schema.equals(expected) or batch.num_rows != entry["molecules"] or reader.num_record_batches != 1:
            raise DataError("the shard does not belong to this manifest", where=str(path), fix=fix)
        return batch

    @property
    def featurizer(self) -> FeaturizerConfig:
        """Settings that the molecules were featurized with."""
        return FeaturizerConfig.from_dict(self.manifest["featurizer"])

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Of labels that were words: those for class 0, class 1, .."""
        return {name: tuple(words) for name, words in self.manifest.get("classes", {}).items()}

    @property
    def rejects(self) -> pd.DataFrame:
        """Input rows that are not in the store: row, source, line, id, smiles, stage, reason."""
        length = self.manifest["rejects"]["bytes"]
        if not length:  # interrupted before anything was done
            return rejects_frame([])
        with (self.path / REJECTS_FILE).open("rb") as file:
            content = file.read(length)  # a store that was interrupted may hold rows of the shard after the last
        return pd.read_csv(io.BytesIO(content), dtype=REJECT_KINDS, keep_default_na=False)

    def verify(self) -> None:
        """Read every file and compare its checksum.

        Raises
        ------
        DataError
            That names the first file whose bytes are not those that were written.
        """
        entries = [*self.manifest["shards"], *([self.manifest["rejects"]] if self.manifest["complete"] else [])]
        for entry in entries:
            path = self.path / entry["file"]
            if not path.is_file() or sha256(path) != entry["sha256"]:
                raise DataError("the file is missing or damaged: its checksum is not the one in the manifest",
                                where=str(path), fix=_FIX_DAMAGE)  # fmt: skip


def config_hash(config: FeaturizerConfig) -> str:
    """Checksum of settings, to compare stores by."""
    return hashlib.sha256(config.to_json().encode()).hexdigest()[:16]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check manifest.json.

    Raises
    ------
    DataError
        If there is none, it is damaged, or another version wrote it.
    """
    path = folder / MANIFEST_FILE
    if not folder.is_dir() or not path.is_file():
        raise DataError("this is not a store: there is no manifest.json", where=str(folder),
                        fix="give the folder that `dgl-moleblend featurize -o FOLDER` wrote")  # fmt: skip
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"the manifest is damaged: {error}", where=str(path),
                        fix=_FIX_DAMAGE) from error  # fmt: skip
    if not isinstance(manifest, dict) or manifest.get("format") != STORE_FORMAT:
        raise DataError("this manifest is not a store's", where=str(path), fix="give the folder of a store")
    versions = (manifest.get("store_version"), manifest.get("schema_version"))
    if versions != (STORE_VERSION, SCHEMA_VERSION):
        raise DataError(
            f"the store has layout {versions[0]} and schema {versions[1]}; this version reads layout {STORE_VERSION}"
            f" and schema {SCHEMA_VERSION}",
            where=str(path),
            fix="make the store again with this version of dgl-moleblend",
        )
    return manifest
