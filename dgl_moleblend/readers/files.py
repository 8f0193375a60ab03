"""A file or standard input, packed or not -> bytes and numbered lines, as a stream."""

import codecs
import io
import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from dgl_moleblend.checksums import sha256
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.packed import FAULTS, as_file, unpack

log = logging.getLogger(__name__)
STDIN = "-"
MAX_LINE = 1 << 24
"""Characters of the longest line that is kept; what is beyond is left out, and the line marked."""
_BOMS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def content_of(path: str | os.PathLike[str]) -> str:
    """Return the checksum of a file's bytes, as stores and plans keep it."""
    return sha256(path)[:16]


class Source:
    """One input: its bytes, decompressed, as a stream.

    Parameters
    ----------
    name : str
        File name, or "-".

    Attributes
    ----------
    content_name : str
        The name of what is packed in it, which tells its format.
    """

    def __init__(self, name: str) -> None:
        self.name = "stdin" if name == STDIN else name
        try:
            raw = sys.stdin.buffer if name == STDIN else open(name, "rb")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise DataError(f"the file cannot be read: {error.strerror}", where=name, fix="check it exists and is"
                            " yours to read") from error  # fmt: skip
        self._raw = raw
        self.total_bytes = None if name == STDIN else os.fstat(raw.fileno()).st_size
        buffered = raw if hasattr(raw, "peek") else io.BufferedReader(raw)  # type: ignore[type-var]
        self.stream: io.BufferedReader
        try:
            with self.reading():
                self.stream, self.content_name = unpack(buffered, self.name)
        except BaseException:
            if name != STDIN:
                raw.close()
            raise

    def head(self) -> bytes:
        """Return the first bytes, without taking them off the stream."""
        with self.reading():
            return self.stream.peek(4096)

    def position(self) -> int:
        """Bytes of the file that were read, compressed where it is; 0 for standard input."""
        return self._raw.tell() if self.total_bytes is not None and not self._raw.closed else 0

    def seekable(self) -> BinaryIO:
        """Return the content as a file that can be read in any order; unpacked to a temporary one where needed."""
        with self.reading():
            return as_file(self.stream)

    def reading(self, line: int | None = None) -> "_Reading":
        """Context in which faults of the medium become a DataError."""
        return _Reading(self.name, line)

    def close(self) -> None:
        """Close the file."""
        if self.total_bytes is not None:
            self.stream.close()
            self._raw.close()


class _Reading:
    def __init__(self, name: str, line: int | None) -> None:
        self.where = name if line is None else f"{name}, after line {line}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, FAULTS) or (isinstance(error, OSError) and error.errno is None):
            raise DataError(f"the compressed file is damaged or cut off: {error}", where=self.where,
                            fix="copy or download it again") from error  # fmt: skip
        if isinstance(error, OSError):
            raise DataError(f"the file cannot be read: {error}", where=self.where, fix="copy it again") from error


class NumberedLines:
    r"""Lines of a text with their numbers, as an editor counts them: ended by ``\n``, ``\r\n`` or ``\r``.

    Bytes that are not text in the encoding survive as surrogate characters; `clean` turns them into Windows-1252.

    Parameters
    ----------
    source : Source
    encoding : str, optional
        By default UTF-8, or what the byte-order mark says; UTF-16 without a mark is known by its many NUL bytes.

    Attributes
    ----------
    number : int
        Number of the line handed out last, from 1.
    too_long, has_nul : bool
        Whether a line since the last `mark` was cut at `MAX_LINE`, or had NUL bytes (which are left out).
    taken : list of str
        The lines since the last `mark`.
    """

    def __init__(self, source: Source, encoding: str | None = None) -> None:
        head = source.head()
        bom = next((name for mark, name in _BOMS.items() if head.startswith(mark)), None)
        if bom is None and encoding is None and (bom := unmarked(head)) is not None:
            log.warning("%s: read as %s, which it looks like (--encoding sets another)", source.name, bom.upper())
        bom = bom or "utf-8-sig"
        try:
            codecs.lookup(encoding or bom)
        except LookupError as error:
            raise DataError(f"unknown encoding {encoding!r}", where=source.name,
                            fix="name one that Python knows, such as utf-8, cp1252 or utf-16") from error  # fmt: skip
        self._text = io.TextIOWrapper(source.stream, encoding or bom, errors="surrogateescape", newline="")
        self._source = source
        self._again: deque[str] = deque()
        self.number = 0
        self.mark()

    def mark(self) -> None:
        """Begin a new record."""
        self.taken: list[str] = []
        self.too_long = self.has_nul = False

    def give_back(self) -> None:
        """Take back every line since `mark` but the first: they are handed out again."""
        self._again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1

    @property
    def fault(self) -> str | None:
        """What makes the lines since the last `mark` unusable."""
        if self.too_long:
            return f"the line is longer than {MAX_LINE:,} characters"
        return "the line holds NUL bytes" if self.has_nul else None

    def close(self) -> None:
        """Let go of the source, which stays open."""
        self._text.detach()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self.too_long |= len(line) >= MAX_LINE
        self.taken.append(line)
        if "\0" in line:
            self.has_nul = True
            return line.replace("\0", "")
        return line

    def _read(self) -> str:
        try:
            with self._source.reading(self.number):
                line = self._text.readline(MAX_LINE)
                if len(line) == MAX_LINE and line[-1] not in "\r\n":
                    while (rest := self._text.readline(MAX_LINE)) and rest[-1] not in "\r\n":
                        pass
        except UnicodeError as error:
            raise DataError(f"the file is not {self._text.encoding} text: {error}",
                            where=f"{self._source.name}, after line {self.number}",
                            fix="give its encoding with --encoding") from error  # fmt: skip
        return line


def unmarked(head: bytes) -> str | None:
    r"""Return the UTF-16 that bytes without a byte-order mark are in; None if they are not.

    >>> unmarked("smiles,y".encode("utf-16-le")), unmarked("smiles,y".encode("utf-16-be")), unmarked(b"C\0C,1")
    ('utf-16-le', 'utf-16-be', None)
    """
    size = len(head) // 2
    even, odd = head[0 : 2 * size : 2].count(0), head[1 : 2 * size : 2].count(0)
    if size >= 4 and max(even, odd) > 0.8 * size and min(even, odd) < 0.1 * size:
        return "utf-16-le" if odd > even else "utf-16-be"
    return None


def clean(text: str) -> str:
    r"""Turn bytes that were not UTF-8 into the Windows-1252 characters that they most likely are.

    >>> clean(b"caf\xe9".decode("utf-8", "surrogateescape"))
    'café'
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join(
            bytes([ord(c) - 0xDC00]).decode("cp1252", "replace") if "\udc80" <= c <= "\udcff" else c for c in text
        )
    return text
