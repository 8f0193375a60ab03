"""Conformers of earlier runs, in one SQLite file, found by what was embedded and how."""

import functools
import json
import logging
import os
import sqlite3
import zlib
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import numpy as np
from rdkit import rdBase

from dgl_moleblend.files import CACHE_VARIABLE

log = logging.getLogger(__name__)
_METHOD = 1
"""Another one as soon as the same settings give other positions."""
_WAIT = 60.0  # seconds for other processes that write


def find(smiles: str, settings: Mapping[str, Any]) -> np.ndarray | None:
    """Return what `keep` was given, or None.

    Parameters
    ----------
    smiles : str
        Canonical, in whose order the atoms are.
    settings : mapping
        What decides the positions, as JSON can hold it; the version of RDKit does, too.

    Returns
    -------
    ndarray, shape (c, n, 3), float32, angstrom
    """
    path = os.environ.get(CACHE_VARIABLE)
    if not path:
        return None
    try:
        with closing(_connect(path)) as connection:
            row = connection.execute(
                "SELECT conformers, positions, checksum FROM conformers WHERE key = ?", (_key(smiles, settings),)
            ).fetchone()
    except (sqlite3.Error, OSError) as error:
        _say(path, str(error))
        return None
    if row is None:
        return None
    number, positions, checksum = row
    whole = isinstance(positions, bytes) and zlib.crc32(positions) == checksum
    if not whole or not isinstance(number, int) or number < 1 or len(positions) % (12 * number):
        _say(path, f"the conformers of {smiles} are damaged")
        return None
    return np.frombuffer(positions, "<f4").reshape(number, -1, 3).astype(np.float32)


def keep(smiles: str, settings: Mapping[str, Any], positions: np.ndarray) -> None:
    """Keep positions (c, n, 3) for later runs; see `find`."""
    path = os.environ.get(CACHE_VARIABLE)
    if not path:
        return
    blob = np.ascontiguousarray(positions, "<f4").tobytes()
    values = (_key(smiles, settings), len(positions), blob, zlib.crc32(blob))
    try:
        with closing(_connect(path)) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO conformers VALUES (?, ?, ?, ?)", values)
    except (sqlite3.Error, OSError) as error:
        _say(path, str(error))


def _connect(path: str) -> sqlite3.Connection:
    """Open the file: a fraction of a millisecond, and no connection is ever shared with another process or thread."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):  # SQLite does not say what it lacks
        raise FileNotFoundError(f"there is no folder {folder!r}")
    connection = sqlite3.connect(path, timeout=_WAIT)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS conformers"
        " (key TEXT PRIMARY KEY, conformers INTEGER, positions BLOB, checksum INTEGER) WITHOUT ROWID"
    )
    return connection


def _key(smiles: str, settings: Mapping[str, Any]) -> str:
    return json.dumps([smiles, dict(sorted(settings.items())), rdBase.rdkitVersion, _METHOD])


@functools.cache
def _say(path: str, reason: str) -> None:
    """Say once what is wrong with the file."""
    fix = "delete it" if os.path.isdir(os.path.dirname(os.path.abspath(path))) else "make the folder"
    log.warning("conformers are made anew, as the cache %s cannot be used: %s (%s, or name another)", path, reason, fix)
