"""A bar over the input of a run."""

import time
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm

from dgl_moleblend.data.workers import Chunk
from dgl_moleblend.readers.records import Reader


class InputProgress:
    """A bar over the bytes of the input, which are known beforehand, beside the rows that are done.

    Parameters
    ----------
    reader : Reader
    first_row : int
        Of those that this run does.
    shown : bool
    name : str
        Of what is done.
    """

    def __init__(self, reader: Reader, first_row: int, shown: bool, name: str = "featurize") -> None:
        self._reader, self._first = reader, first_row
        self._rows, self._rejects = first_row, 0
        text = "{desc}{percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
        if not reader.total_bytes:
            text = "{desc}[{elapsed}]"
        self._bar = tqdm(desc=name, total=reader.total_bytes, bar_format=text, disable=not shown)

    def __enter__(self) -> "InputProgress":
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def watch(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Show what passes."""
        for chunk in chunks:
            self.count(len(chunk), len(chunk.rejects), self._reader.bytes_read)
            yield chunk

    def count(self, rows: int, rejects: int, bytes_read: int) -> None:
        """Show that more rows are done, and where in the input they end."""
        self._rows += rows
        self._rejects += rejects
        rate = (self._rows - self._first) / max(time.monotonic() - self._start, 1e-9)
        rejected = f", {self._rejects:,} rejected" if self._rejects else ""
        self._bar.set_description_str(f"{self._rows:,} rows, {rate:,.0f}/s{rejected}", refresh=False)
        self._bar.update(bytes_read - self._bar.n)
