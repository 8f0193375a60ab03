"""Uni-Mol's LMDB files -> records; nothing in their pickles is run."""

import io
import os
import pickle
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import content_of
from dgl_moleblend.readers.records import Record
from dgl_moleblend.unpacking import gunzip

_ARRAYS = {  # what a pickled NumPy array is made of, under the names of NumPy 1 and 2
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy", "numpy.core.numeric",
                   "numpy._core.numeric")
    for name in ("_reconstruct", "scalar", "_frombuffer", "ndarray", "dtype")
} | {("_codecs", "encode")}  # fmt: skip


class _ArraysOnly(pickle.Unpickler):
    """Opens plain values and NumPy arrays, and refuses anything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is not opened")
        return super().find_class(module, name)


def read_value(value: bytes) -> Any:
    """Read one value of an LMDB file.

    Raises
    ------
    pickle.UnpicklingError
        If it holds anything but plain values and arrays.
    ValueError
        If it is packed, and unpacks to more than 64 MB.

    Examples
    --------
    >>> read_value(pickle.dumps({"smi": "CO", "atoms": ["C", "O"]}))
    {'smi': 'CO', 'atoms': ['C', 'O']}
    >>> read_value(pickle.dumps(os.getcwd))
    Traceback (most recent call last):
    _pickle.UnpicklingError: it holds posix.getcwd, which is not opened
    """
    if value[:2] == b"\x1f\x8b":
        value = gunzip(value)
    return _ArraysOnly(io.BytesIO(value)).load()


class UniMolReader:
    """Read molecules, their conformers and targets from LMDB files as Uni-Mol writes them; needs the package lmdb.

    Each value is a pickled dictionary: "smi", "atoms" (n elements), "coordinates" (list of (n, 3) arrays), and perhaps
    "target". A conformer that is flat (z = 0 throughout) beside others that are not is the depiction that Uni-Mol adds
    to its pretraining data, and left out.

    Parameters
    ----------
    path : path
    task_names : sequence of str
        Names of the targets; by default "target" or "target_0", "target_1", ... as many as the first molecule has.

    Raises
    ------
    DataError
        If lmdb is not installed, or the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], task_names: Sequence[str] | None = None) -> None:
        self._path = os.fspath(path)
        self.classes: dict[str, tuple[str, ...]] = {}
        if not os.path.isfile(self._path):
            raise DataError("there is no such file", where=self._path, fix="name the .lmdb file")
        self.total_bytes: int | None = None
        self.bytes_read = 0
        with closing(self._values()) as values:
            first = next((value for _, value in values if not isinstance(value, str)), {})
        width = len(_targets(first))
        if task_names is None:
            task_names = ["target"] if width == 1 else [f"target_{k}" for k in range(width)]
        self.task_names = tuple(task_names)
        if self.task_names and len(self.task_names) != width:
            raise DataError(f"there are {width} targets, not {len(self.task_names)}", where=self._path,
                            fix="name as many as there are")  # fmt: skip

    @property
    def sources(self) -> tuple[str, ...]:
        """The file."""
        return (self._path,)

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values."""
        return {"content": content_of(self._path)}

    def _open(self) -> Any:
        try:
            import lmdb
        except ImportError as error:
            raise DataError("LMDB files need the package lmdb", where=self._path, fix="pip install lmdb") from error
        try:
            return lmdb.open(self._path, subdir=False, readonly=True, lock=False, readahead=False)
        except lmdb.Error as error:
            raise DataError(f"this is no LMDB file: {error}", where=self._path, fix="download it again") from error

    def _values(self) -> Generator[tuple[str, Mapping[str, Any] | str], None, None]:
        """Key and value of every entry, in the order of numbered keys; a text in place of a value says why not."""
        with self._open() as environment, environment.begin() as transaction:
            keys = sorted(transaction.cursor().iternext(values=False), key=_number)
            for key in keys:
                try:
                    value = read_value(transaction.get(key))
                except Exception as error:  # whatever a damaged pickle does
                    yield key.decode("utf-8", "replace"), f"the value cannot be read: {error}"
                    continue
                known = isinstance(value, dict) and isinstance(value.get("smi"), str)
                yield key.decode("utf-8", "replace"), value if known else "the value is not a molecule of Uni-Mol's"

    def __iter__(self) -> Iterator[Record]:
        for row, (key, value) in enumerate(self._values()):
            if isinstance(value, str):
                yield Record(row, self._path, -1, id=key, stage="read", error=value)
            else:
                yield self._record(row, key, value)

    def _record(self, row: int, key: str, value: Mapping[str, Any]) -> Record:
        fixed: dict[str, Any] = {"row": row, "source": self._path, "line": -1, "id": key, "smiles": value["smi"]}
        try:
            labels = tuple(float(x) for x in _targets(value)) if self.task_names else ()
            if len(labels) != len(self.task_names):
                return Record(**fixed, stage="labels", error=f"{len(labels)} targets instead of {len(self.task_names)}")
            atoms, positions = value.get("atoms"), _conformers(value.get("coordinates"))
        except (TypeError, ValueError) as error:
            return Record(**fixed, stage="read", error=f"the value is damaged: {error}")
        if atoms is None or positions is None:
            return Record(**fixed, labels=labels)
        if positions.shape[1:] != (len(atoms), 3):
            return Record(**fixed, stage="read", error=f"{len(atoms)} atoms with coordinates of {positions.shape[1:]}")
        return Record(**fixed, labels=labels, atoms=tuple(map(str, atoms)), positions=positions)


def _number(key: bytes) -> tuple[int, bytes]:
    return (int(key), b"") if key.isdigit() else (1 << 62, key)


def _targets(value: Mapping[str, Any]) -> np.ndarray:
    target = value.get("target")
    return np.empty(0) if target is None else np.asarray(target, np.float64).ravel()


def _conformers(coordinates: Any) -> np.ndarray | None:
    """Conformers as one array, without depictions."""
    if coordinates is None or len(coordinates) == 0:
        return None
    array = np.asarray(coordinates, np.float64)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3:
        raise ValueError(f"coordinates of shape {array.shape}")
    flat = (array[:, :, 2] == 0).all(1)
    return array if flat.all() else array[~flat]
