"""A bar over the input of a run."""

import logging
import time
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm

from dgl_moleblend.data.workers import Chunk
from dgl_moleblend.readers.records import Reader

log = logging.getLogger(__name__)
ENOUGH = 50
"""Rows after which is said how long conformers will take."""
_WORTH = 60.0  # seconds that need no word


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
    embeds : bool
        Whether conformers are embedded: what these will take is then said, once `ENOUGH` rows have shown it.
    """

    def __init__(
        self, reader: Reader, first_row: int, shown: bool, name: str = "featurize", *, embeds: bool = False
    ) -> None:
        self._embeds, self._measured_from = embeds, (0, 0.0)
        self._reader, self._first = reader, first_row
        self._rows, self._rejects = first_row, 0
        text = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
        if not reader.total_bytes:
            text = "{desc} [{elapsed}]"
        self._name = name
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
        self._bar.set_description_str(f"{self._name}: {self._rows:,} rows, {rate:,.0f}/s{rejected}", refresh=False)
        self._bar.update(bytes_read - self._bar.n)
        if self._embeds:
            self._foretell(bytes_read)

    def _foretell(self, bytes_read: int) -> None:
        """Say what conformers will take; the first chunk, before which processes start, is not measured."""
        now = time.monotonic()
        first, began = self._measured_from
        if not began:
            self._measured_from = self._rows, now
        elif self._rows - first >= ENOUGH:
            self._embeds = False
            each, share = (now - began) / (self._rows - first), bytes_read / max(self._reader.total_bytes or 0, 1)
            rows = (self._rows - self._first) / share if 0 < share <= 1 else 0.0
            if rows * each > _WORTH:
                log.warning(
                    "conformers: %.0f ms a molecule, some %.0f minutes for about %s rows (--positions none does without"
                    " them, --no-force-field takes less than half, --conformer-cache keeps them for the next run)",
                    1e3 * each, max(rows * each / 60, 1), f"{rows:,.0f}",
                )  # fmt: skip
