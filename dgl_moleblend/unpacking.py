"""What is packed, unpacked within bounds: a small file that would fill the memory is refused before it does."""

import gzip
import io
import math
import zipfile
from os import PathLike
from pathlib import Path

import numpy as np

MAX_UNPACKED = 1 << 26
"""Bytes that anything may unpack to, 64 MB."""
MAX_RATIO = 100
"""How many times its size a file of arrays may unpack to, where that is more."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def gunzip(value: bytes, limit: int = MAX_UNPACKED) -> bytes:
    """Unpack gzip.

    Raises
    ------
    ValueError
        If there is more in it than the limit; not more than that is unpacked.

    Examples
    --------
    >>> gunzip(gzip.compress(b"CCO")), len(gzip.compress(bytes(10**6))) < 2000
    (b'CCO', True)
    >>> gunzip(gzip.compress(bytes(10**6)), limit=1000)
    Traceback (most recent call last):
    ValueError: it unpacks to more than 1,000 bytes
    """
    with gzip.GzipFile(fileobj=io.BytesIO(value)) as file:
        found = file.read(limit + 1)
    if len(found) > limit:
        raise ValueError(f"it unpacks to more than {limit:,} bytes")
    return found


def read_npz(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of an NPZ file, without running code.

    Raises
    ------
    ValueError, OSError, zipfile.BadZipFile
        If the file is damaged, or unpacks to more than 64 MB and 100 times its size.
    """
    path = Path(path)
    limit = max(MAX_UNPACKED, MAX_RATIO * path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        if (size := sum(entry.file_size for entry in archive.infolist())) > limit:
            raise ValueError(f"it unpacks to {size:,} bytes, and may to {limit:,}")
        for entry in archive.infolist():
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                if version not in _HEADERS:
                    raise ValueError(f"{entry.filename} is an array of version {version}")
                shape, _, dtype = _HEADERS[version](file)
            if math.prod(shape) * dtype.itemsize > entry.file_size:  # NumPy would make room for all of it first
                raise ValueError(f"{entry.filename} says that it has shape {shape}, and is cut off")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
