"""Packed files -> what is in them, as a stream: gzip, bzip2, xz, Zstandard, and ZIP archives of one file."""

import bz2
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from dgl_moleblend.errors import DataError

SUFFIXES = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".zip")
"""What names of packed files end in, in small letters; content is known by its first bytes, whatever its name."""
FAULTS = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)
"""What is raised while damaged content is unpacked; bzip2 and Zstandard raise an OSError without a number."""
_OFFICE = ("[Content_Types].xml", "mimetype")
"""What the ZIP archives hold that documents of office programs are."""
_SHOWN = 5


def unpack(stream: Any, name: str) -> tuple[Any, str]:
    """Return the content of a file, unpacked where it is packed, and the name that tells what it is.

    Parameters
    ----------
    stream : file, with ``peek``
    name : str

    Returns
    -------
    tuple of BufferedReader and str
        Of an archive, the name of the file in it; of other packed files, theirs without the ending.

    Raises
    ------
    DataError
        If an archive holds several files, none, or one with a password.
    """
    head = stream.peek(6)[:6]
    if head.startswith(b"\x1f\x8b"):
        raw: Any = gzip.GzipFile(fileobj=stream)
    elif head.startswith(b"BZh"):
        raw = bz2.BZ2File(stream)
    elif head.startswith(b"\xfd7zXZ\0"):
        raw = lzma.LZMAFile(stream)  # noqa: SIM115 - handed on
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        raw = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _open_archive(stream, name)
    else:
        return stream, name
    return io.BufferedReader(raw, 1 << 16), without_ending(name)


def without_ending(name: str) -> str:
    """Return a name without what says that a file is packed.

    >>> without_ending("esol.csv.gz"), without_ending("esol.csv")
    ('esol.csv', 'esol.csv')
    """
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix.casefold() in SUFFIXES else name


def _open_archive(stream: Any, name: str) -> tuple[Any, str]:
    """Open the one file in a ZIP archive; leave the documents of office programs as they are."""
    file: Any = as_file(stream)
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise DataError(f"the archive is damaged or cut off: {error}", where=name,
                        fix="copy or download it again") from error  # fmt: skip
    names = archive.namelist()
    if any(one in names for one in _OFFICE):
        file.seek(0)
        return file, name
    found = [one for one in archive.infolist() if not one.is_dir() and not _is_hidden(Path(one.filename))]
    if len(found) != 1:
        listed = ", ".join(repr(one.filename) for one in found[:_SHOWN]) + (", .." if len(found) > _SHOWN else "")
        raise DataError(
            f"the archive holds {len(found)} files, and one is read" + (f": {listed}" if found else ""),
            where=name,
            fix="unpack it, and give what is in it (several files, or their folder)",
        )
    try:
        return io.BufferedReader(archive.open(found[0]), 1 << 16), found[0].filename  # type: ignore[type-var]
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:  # a password, an unusual method
        raise DataError(f"{found[0].filename!r} in the archive cannot be unpacked: {error}", where=name,
                        fix="unpack it by hand, and give what is in it") from error  # fmt: skip


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def as_file(stream: Any) -> BinaryIO:
    """Return content as a file that can be read in any order; as a temporary one where it is a stream."""
    if stream.seekable() and isinstance(getattr(stream, "raw", None), io.FileIO):
        return stream  # type: ignore[no-any-return]
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its reader
    shutil.copyfileobj(stream, unpacked)
    unpacked.seek(0)
    return unpacked
