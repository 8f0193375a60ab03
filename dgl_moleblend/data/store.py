"""A data set on disk: memory-mapped Arrow shards, a manifest and the rejects; written atomically and resumably."""

import csv
import functools
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dgl_moleblend._version import __version__
from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.errors import DataError
from dgl_moleblend.schema import ATOM_SIZES, SCHEMA_VERSION

STORE_FORMAT = "dgl_moleblend.store"
STORE_VERSION = 1
MANIFEST = "manifest.json"
REJECTS = "rejects.csv"
REJECT_FIELDS = ("row", "source", "line", "id", "smiles", "stage", "reason")
_REJECT_KINDS: dict[str, type] = {name: np.int64 if name in ("row", "line") else str for name in REJECT_FIELDS}
MAX_ATOMS = 65_535
"""Bonds are kept as pairs of 16-bit atom numbers."""
_FIX_DAMAGE = "copy the store again from where it is whole, or make it again with --overwrite"
_TEXT_LIMIT = 2_000  # characters of a rejected SMILES or reason that are written down


@dataclass(frozen=True)
class Sample:
    """One molecule of a table with its labels and where it came from.

    Parameters
    ----------
    molecule : MoleculeArrays
    labels : ndarray, shape (t,), float32
        NaN = missing.
    row : int
        0-based number of the input row, counted over all files.
    source : str
        The file.
    line : int
        Line of the file as an editor shows it; -1 where a file has no lines.
    id, smiles : str
        Identifier, "" where there is none; SMILES as given, or RDKit's where the file gave a structure.
    """

    molecule: MoleculeArrays
    labels: np.ndarray
    row: int
    source: str = ""
    line: int = -1
    id: str = ""
    smiles: str = ""


@dataclass(frozen=True)
class Reject:
    """An input row that is not in the table, and why.

    Parameters
    ----------
    row, source, line, id, smiles
        As in `Sample`.
    stage : str
        "read", "labels", "parse", "size", "conformer", "featurize", "time" or "crash".
    reason : str
        One line.
    """

    row: int
    source: str
    line: int
    id: str
    smiles: str
    stage: str
    reason: str

    def values(self) -> tuple[str, ...]:
        """Return the row of rejects.csv: one line of text, long SMILES cut short."""
        texts = (self.id, self.smiles, self.stage, self.reason)
        return (str(self.row), self.source, str(self.line), *(_one_line(text) for text in texts))


def _one_line(text: str) -> str:
    text = " ".join(text.replace("\0", "\\0").split())
    text = text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]} ... ({len(text):,} characters)"
    return text.encode("utf-8", "backslashreplace").decode()


def rejects_frame(rejects: Iterable[Reject]) -> pd.DataFrame:
    """Return rejects as a table with the columns of rejects.csv."""
    rows = [reject.values() for reject in rejects]
    return _typed(rows) if rows else _no_rejects().copy()


def _typed(rows: list[tuple[str, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(REJECT_FIELDS)).astype(_REJECT_KINDS)


@functools.cache
def _no_rejects() -> pd.DataFrame:
    """Return an empty table, which most predictions of a few molecules need and pandas takes milliseconds to make."""
    return _typed([])


def arrow_schema(num_tasks: int) -> pa.Schema:
    """Columns of a shard; one row is one molecule of n atoms, m bonds and c conformers (c * n positions)."""
    fields = [
        ("row", pa.int64()),
        ("source", pa.int32()),  # number of the file in the manifest's "sources"
        ("line", pa.int64()),
        ("id", pa.large_string()),
        ("smiles", pa.large_string()),
        ("atom", pa.large_list(_not_null(pa.list_(pa.uint8(), len(ATOM_SIZES))))),
        ("bond_index", pa.large_list(_not_null(pa.list_(pa.uint16(), 2)))),
        ("bond_id", pa.large_list(_not_null(pa.uint8()))),
        ("positions", pa.large_list(_not_null(pa.list_(pa.float32(), 3)))),
    ]
    if num_tasks:  # Arrow has no lists of width 0
        fields.append(("labels", pa.list_(pa.float32(), num_tasks)))
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])


def _not_null(kind: pa.DataType) -> pa.Field:
    return pa.field("item", kind, nullable=False)


def record_batch(samples: Sequence[Sample], num_tasks: int, sources: Sequence[str] = ("",)) -> pa.RecordBatch:
    """Pack samples in one Arrow record batch.

    Parameters
    ----------
    samples : sequence of Sample
    num_tasks : int
        Length t of every sample's labels.
    sources : sequence of str
        Files by number; every sample's source is one of them.

    Raises
    ------
    DataError
        If a molecule has more atoms than a bond's 16-bit atom numbers can name.
    """
    schema = arrow_schema(num_tasks)
    number = {source: k for k, source in enumerate(sources)}
    for sample in samples:
        if sample.molecule.num_atoms > MAX_ATOMS:
            raise DataError(f"{sample.molecule.num_atoms:,} atoms; a store keeps molecules of up to {MAX_ATOMS:,}",
                            where=f"{sample.source}, line {sample.line}", fix="pass --max-atoms")  # fmt: skip
    molecules = [sample.molecule for sample in samples]

    def ragged(name: str, values: list[np.ndarray]) -> pa.Array:
        kind = schema.field(name).type
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum([len(value) for value in values], out=offsets[1:])
        inner = kind.value_type
        fixed = pa.types.is_fixed_size_list(inner)
        dtype = (inner.value_type if fixed else inner).to_pandas_dtype()
        flat = np.concatenate([value.ravel() for value in values]) if values else np.empty(0)
        content = pa.array(flat.astype(dtype))
        if fixed:
            content = pa.FixedSizeListArray.from_arrays(content, type=inner)
        return pa.LargeListArray.from_arrays(pa.array(offsets), content, type=kind)

    columns: dict[str, pa.Array] = {
        "row": pa.array([s.row for s in samples], pa.int64()),
        "source": pa.array([number[s.source] for s in samples], pa.int32()),
        "line": pa.array([s.line for s in samples], pa.int64()),
        "id": pa.array([s.id for s in samples], pa.large_string()),
        "smiles": pa.array([s.smiles for s in samples], pa.large_string()),
        "atom": ragged("atom", [m.atom for m in molecules]),
        "bond_index": ragged("bond_index", [m.bond_index for m in molecules]),
        "bond_id": ragged("bond_id", [m.bond_id for m in molecules]),
        "positions": ragged("positions", [m.positions.reshape(-1, 3) for m in molecules]),
    }
    if num_tasks:
        labels = np.stack([s.labels for s in samples]) if samples else np.empty((0, num_tasks))
        columns["labels"] = pa.FixedSizeListArray.from_arrays(
            pa.array(labels.astype(np.float32).ravel()), type=schema.field("labels").type
        )
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


class _Views:
    """NumPy views of one record batch, without a copy."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        def flat(name: str) -> tuple[np.ndarray, np.ndarray]:
            column = batch.column(name)
            values = column.values
            if pa.types.is_fixed_size_list(values.type):
                width = values.type.list_size
                return column.offsets.to_numpy(), values.values.to_numpy().reshape(-1, width)
            return column.offsets.to_numpy(), values.to_numpy()

        self.num_molecules = batch.num_rows
        self.row, self.source, self.line = (batch.column(c).to_numpy() for c in ("row", "source", "line"))
        self.id, self.smiles = batch.column("id"), batch.column("smiles")
        self.atom_offset, self.atom = flat("atom")
        self.bond_offset, self.bond_index = flat("bond_index")
        self.bond_id = flat("bond_id")[1]
        self.position_offset, self.positions = flat("positions")
        if "labels" in batch.schema.names:
            column = batch.column("labels")
            self.labels = column.values.to_numpy().reshape(-1, column.type.list_size)
        else:
            self.labels = np.empty((batch.num_rows, 0), np.float32)

    def molecule(self, k: int) -> MoleculeArrays:
        atom = self.atom[self.atom_offset[k] : self.atom_offset[k + 1]]
        bonds = slice(self.bond_offset[k], self.bond_offset[k + 1])
        positions = self.positions[self.position_offset[k] : self.position_offset[k + 1]]
        return MoleculeArrays(
            atom=atom,
            bond_index=self.bond_index[bonds].astype(np.int32),
            bond_id=self.bond_id[bonds],
            positions=positions.reshape(-1, len(atom), 3),
        )


def _text_of(column: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the texts of a column end (their number + 1, from the first's start), and their bytes."""
    _, offsets, content = column.buffers()
    if not len(column):
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    ends = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    text = np.empty(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
    return ends, text[ends[0] : ends[-1]]


class MoleculeTable:
    """Molecules in Arrow record batches: in memory here, memory-mapped in `MoleculeStore`.

    Parameters
    ----------
    batches : sequence of pyarrow.RecordBatch
        As `record_batch` makes them.
    task_names : sequence of str
        Names of the t labels.
    sources : sequence of str
        Files that the molecules came from.
    rejects : DataFrame, optional
        The input rows that are not in the table.
    featurizer : FeaturizerConfig, optional
        Settings that the molecules were featurized with, where they are known.

    Examples
    --------
    >>> ethanol = MoleculeArrays(np.zeros((3, 9), np.uint8), np.array([[0, 1], [1, 2]], np.int32),
    ...                          np.zeros(2, np.uint8), np.zeros((0, 3, 3), np.float32))
    >>> sample = Sample(ethanol, labels=np.array([-0.77], np.float32), row=4, id="ethanol", smiles="CCO")
    >>> table = MoleculeTable([record_batch([sample], num_tasks=1)], ["logS"])
    >>> len(table), table[0].smiles, table.num_atoms, table.labels
    (1, 'CCO', array([3]), array([[-0.77]], dtype=float32))
    """

    def __init__(
        self,
        batches: Sequence[pa.RecordBatch],
        task_names: Sequence[str] = (),
        sources: Sequence[str] = ("",),
        rejects: pd.DataFrame | None = None,
        featurizer: FeaturizerConfig | None = None,
    ) -> None:
        self._featurizer = featurizer
        self._batches = list(batches)
        self._rejects = rejects_frame([]) if rejects is None else rejects
        self._open(task_names, sources, [_Views(batch) for batch in self._batches])

    def _open(self, task_names: Sequence[str], sources: Sequence[str], views: list[_Views]) -> None:
        self.task_names = tuple(task_names)
        self.sources = tuple(sources)
        self._views = views
        self._end = np.cumsum([views.num_molecules for views in self._views], dtype=np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return MoleculeTable, (self._batches, self.task_names, self.sources, self._rejects, self._featurizer)

    def __len__(self) -> int:
        return int(self._end[-1]) if len(self._end) else 0

    def _find(self, index: int) -> tuple[_Views, int]:
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"molecule {index} of a table of {size}")
        index = index % size
        shard = int(np.searchsorted(self._end, index, side="right"))
        return self._views[shard], int(index - (self._end[shard - 1] if shard else 0))

    def __getitem__(self, index: int) -> Sample:
        views, k = self._find(index)
        return Sample(
            molecule=views.molecule(k),
            labels=views.labels[k],
            row=int(views.row[k]),
            source=self.sources[views.source[k]],
            line=int(views.line[k]),
            id=views.id[k].as_py(),
            smiles=views.smiles[k].as_py(),
        )

    def molecule(self, index: int) -> MoleculeArrays:
        """Return the arrays alone, which is all that training needs."""
        views, k = self._find(index)
        return views.molecule(k)

    def __iter__(self) -> Iterator[Sample]:
        return (self[k] for k in range(len(self)))

    def _vector(self, parts: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
        return np.concatenate(parts) if parts else empty

    @functools.cached_property
    def num_atoms(self) -> np.ndarray:
        """Number of atoms of every molecule, shape (N,), int64."""
        return self._vector([np.diff(v.atom_offset) for v in self._views], np.empty(0, np.int64))

    @functools.cached_property
    def num_bonds(self) -> np.ndarray:
        """Number of bonds of every molecule, shape (N,), int64."""
        return self._vector([np.diff(v.bond_offset) for v in self._views], np.empty(0, np.int64))

    @functools.cached_property
    def num_conformers(self) -> np.ndarray:
        """Number of conformers of every molecule, shape (N,), int64."""
        positions = self._vector([np.diff(v.position_offset) for v in self._views], np.empty(0, np.int64))
        return positions // np.maximum(self.num_atoms, 1)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """Labels of every molecule, shape (N, t), float32; NaN = missing."""
        return self._vector([v.labels for v in self._views], np.empty((0, len(self.task_names)), np.float32))

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """Input row of every molecule, shape (N,), int64."""
        return self._vector([v.row for v in self._views], np.empty(0, np.int64))

    @property
    def ids(self) -> list[str]:
        """Identifier of every molecule, "" where there is none."""
        return [value for views in self._views for value in views.id.to_pylist()]

    @property
    def smiles(self) -> list[str]:
        """SMILES of every molecule."""
        return [value for views in self._views for value in views.smiles.to_pylist()]

    @property
    def featurizer(self) -> FeaturizerConfig | None:
        """Settings that the molecules were featurized with, where they are known."""
        return self._featurizer

    @property
    def rejects(self) -> pd.DataFrame:
        """Input rows that are not in the table: row, source, line, id, smiles, stage, reason."""
        return self._rejects

    def digest(self) -> dict[str, str]:
        """Return checksums of what the molecules are, however they are divided in batches or shards.

        Returns
        -------
        dict
            "molecules" (atoms, bonds), "positions", "smiles" and "rows" to a checksum each. Memory-mapped arrays are
            read once and not copied.
        """
        found = {name: hashlib.sha256() for name in ("molecules", "positions", "smiles", "rows")}
        streams: dict[str, Any] = {}

        def add(name: str, column: str, array: np.ndarray) -> None:
            stream = streams.setdefault(f"{name} {column}", hashlib.sha256())
            stream.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")

        for views in self._views:
            add("molecules", "atom_count", np.diff(views.atom_offset))
            add("molecules", "atom", views.atom)
            add("molecules", "bond_count", np.diff(views.bond_offset))
            add("molecules", "bond_index", views.bond_index)
            add("molecules", "bond_id", views.bond_id)
            add("positions", "position_count", np.diff(views.position_offset))
            add("positions", "positions", views.positions)
            ends, text = _text_of(views.smiles)
            add("smiles", "length", np.diff(ends))
            add("smiles", "text", text)
            add("rows", "row", np.asarray(views.row, np.int64))
        for name, stream in streams.items():
            found[name.split()[0]].update(f"{name} {stream.hexdigest()}".encode())
        return {name: total.hexdigest()[:16] for name, total in found.items()}

    def atom_counts(self) -> np.ndarray:
        """How often each id of the first atom feature (atomic number - 1) occurs, shape (119,), int64."""
        counts = np.zeros(ATOM_SIZES[0], np.int64)
        for views in self._views:
            counts += np.bincount(views.atom[:, 0], minlength=ATOM_SIZES[0])
        return counts


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
            views = [_Views(batch) for batch in self._batches]
            self._open(self.manifest["task_names"], self.manifest["sources"], views)
        except (pa.ArrowException, ValueError) as error:
            raise DataError(f"a shard is damaged: {error}", where=str(self.path), fix=_FIX_DAMAGE) from error

    def __reduce__(self) -> tuple[Any, ...]:
        again = functools.partial(MoleculeStore, allow_partial=self._allow_partial, verify=False)
        return again, (str(self.path),)

    def _check_rejects(self, length: int) -> None:
        path = self.path / REJECTS
        size = path.stat().st_size if path.is_file() else 0
        if size != length if self.manifest["complete"] else size < length:
            what = f"it has {size:,} bytes instead of {length:,}" if size else "it is missing or empty"
            raise DataError(f"the list of rejects is damaged: {what}", where=str(path), fix=_FIX_DAMAGE)

    def _check_size(self, entry: dict[str, Any]) -> None:
        path = self.path / entry["file"]
        if not path.is_file():
            raise DataError("a shard is missing", where=str(path), fix=_FIX_DAMAGE)
        if path.stat().st_size != entry["bytes"]:
            raise DataError(
                f"the shard has {path.stat().st_size:,} bytes instead of {entry['bytes']:,}",
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
        expected = arrow_schema(len(self.manifest["task_names"]))
        if not batch.schema.equals(expected) or batch.num_rows != entry["molecules"] or reader.num_record_batches != 1:
            raise DataError("the shard does not belong to this manifest", where=str(path), fix=fix)
        return batch

    @property
    def featurizer(self) -> FeaturizerConfig:
        """Settings that the molecules were featurized with."""
        return FeaturizerConfig.from_dict(self.manifest["featurizer"])

    @property
    def rejects(self) -> pd.DataFrame:
        """Input rows that are not in the store: row, source, line, id, smiles, stage, reason."""
        length = self.manifest["rejects"]["bytes"]
        if not length:  # interrupted before anything was done
            return rejects_frame([])
        with (self.path / REJECTS).open("rb") as file:
            content = file.read(length)  # a store that was interrupted may hold rows of the shard after the last
        return pd.read_csv(io.BytesIO(content), dtype=_REJECT_KINDS, keep_default_na=False)

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


def sha256(path: Path) -> str:
    """Checksum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    path = folder / MANIFEST
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
            "sources": list(sources),
            "shard_size": shard_size,
            "versions": {"dgl_moleblend": __version__, "numpy": np.__version__, "pyarrow": pa.__version__}
            | (versions or {}),
        }
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError("this is a file, and a store is a folder", where=str(folder), fix="give another name")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        try:
            with _disk_errors(self.folder):
                self._begin(identity, overwrite)
        except BaseException:
            self.close()
            raise

    def _begin(self, identity: dict[str, Any], overwrite: bool) -> None:
        leftovers = [name for name in os.listdir(self.folder) if name.startswith(".tmp-")]
        for name in leftovers:
            (self.folder / name).unlink()
        others = set(os.listdir(self.folder))
        if MANIFEST in others and not overwrite:
            self.manifest = read_manifest(self.folder)
            self._check_same(identity)
        elif others and MANIFEST not in others:
            raise DataError(f"the folder is not empty and no store: it holds {sorted(others)[0]!r}",
                            where=str(self.folder), fix="give an empty or new folder")  # fmt: skip
        else:
            if MANIFEST in others:
                (self.folder / MANIFEST).unlink()
                for path in (*self.folder.glob("shard-*.arrow"), self.folder / REJECTS):
                    path.unlink(missing_ok=True)
            self.manifest = identity | {
                "complete": False,
                "counts": {"rows": 0, "kept": 0, "rejected": 0, "with_conformer": 0, "atoms": 0, "bonds": 0},
                "shards": [],
                "rejects": {"file": REJECTS, "bytes": 0},
            }
            self._write_manifest()
        MoleculeStore(self.folder, allow_partial=True)  # what is there must be whole before more is added
        if self.complete:
            self.close()
        elif length := self.manifest["rejects"]["bytes"]:
            os.truncate(self.folder / REJECTS, length)
        else:
            (self.folder / REJECTS).unlink(missing_ok=True)
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
            with (
                _replacing(path) as temporary,
                pa.OSFile(str(temporary), "wb") as sink,
                pa.ipc.new_file(sink, batch.schema) as writer,
            ):
                writer.write_batch(batch)
            first = self.next_row
            rows = batch.num_rows + len(rejects)
            entry = {"file": name, "rows": [first, first + rows], "molecules": batch.num_rows}
            self.manifest["shards"].append(entry | {"bytes": path.stat().st_size, "sha256": sha256(path)})
            views = _Views(batch)
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

    def finish(self) -> MoleculeStore:
        """Mark the store as complete and open it."""
        with _disk_errors(self.folder):
            self.manifest["complete"] = True
            self.manifest["rejects"]["sha256"] = sha256(self.folder / REJECTS)
            self._write_manifest()
        self.close()
        return MoleculeStore(self.folder)

    def close(self) -> None:
        """Let others write to the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _append_rejects(self, rows: Sequence[Sequence[str]]) -> None:
        path = self.folder / REJECTS
        with path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        self.manifest["rejects"] = {"file": REJECTS, "bytes": path.stat().st_size}

    def _write_manifest(self) -> None:
        with _replacing(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(self.manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name; on the way out its content is on the disk under `path`, all of it or nothing."""
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
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


def _lock(folder: Path) -> int | None:
    """Hold a folder until the process ends; None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise DataError("another run is writing this store", where=str(folder),
                        fix="wait for it to end, or give another folder") from error  # fmt: skip
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor
