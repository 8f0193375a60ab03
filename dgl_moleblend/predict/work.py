"""A bar over all that is done with the rows of an input: it is full when the last of them is."""

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from dgl_moleblend.data.workers import Chunk
from dgl_moleblend.readers.records import Reader, Record
from dgl_moleblend.stages import heard

EMBEDDING = 10
"""What conformers take, in units of what else is done with molecules: about so much."""


class WorkProgress:
    """A bar over the bytes of the input that is done: a step's are, by and by, as it is featurized and computed.

    Parameters
    ----------
    reader : Reader
    shown : bool
    stages : int
        How many times a step's molecules are gone through, once they are featurized.
    embeds : bool
        Whether conformers are embedded.
    """

    def __init__(self, reader: Reader, shown: bool, stages: int, *, embeds: bool = False) -> None:
        self._reader, self._shown = reader, shown
        self._before = EMBEDDING if embeds else 1
        self._parts = self._before + max(stages, 1)
        self._steps: deque[tuple[int, int]] = deque()  # rows of steps that were read, and where in the input they end
        self._begin, self._rows, self._rejects = 0.0, 0, 0
        self._anew()

    def __enter__(self) -> "WorkProgress":
        total = self._reader.total_bytes
        text = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]" if total else "{desc} [{elapsed}]"
        self._bar = tqdm(desc="0 rows", total=total, bar_format=text, disable=not self._shown,
                         mininterval=0.5 if sys.stderr.isatty() else 10.0)  # fmt: skip
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _anew(self) -> None:
        """Begin a step."""
        self._featurized, self._rejected, self._passed = 0, 0, 0

    def watch(self, steps: Iterable[tuple[int, list[Record]]]) -> Iterator[tuple[int, list[Record]]]:
        """Take notice of steps as they are read."""
        for number, records in steps:
            self._steps.append((len(records), self._reader.bytes_read))
            yield number, records

    def featurized(self, chunk: Chunk) -> None:
        """Show that some rows of the step are featurized."""
        self._featurized += len(chunk)
        self._rejected += len(chunk.rejects)
        rows = self._steps[0][0] if self._steps else 0
        self._show("featurize", self._before * min(self._featurized / max(rows, 1), 1.0))

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Show what is computed of the step meanwhile; then it is done, unless that fails."""
        self._passed = self._before - 1
        with heard(self._tell):
            yield
        self.done(self._rejected)

    def done(self, rejected: int) -> None:
        """Show that the next step is done."""
        self._begin = self._place(1.0)
        self._rows += self._steps.popleft()[0]
        self._rejects += rejected
        self._anew()
        self._show("", 0.0)

    def _place(self, share: float) -> float:
        """Return where in the input a share of the step ends: steps that were read have it among them by rows."""
        if not self._steps:
            return self._begin
        rows = sum(count for count, _ in self._steps)
        return self._begin + (self._steps[-1][1] - self._begin) * share * (self._steps[0][0] / rows if rows else 1)

    def _tell(self, name: str, share: float) -> None:
        if not share:
            self._passed += 1
        self._show(name, self._passed + share)

    def _show(self, stage: str, parts: float) -> None:
        rate = self._rows / max(time.monotonic() - self._start, 1e-9)
        rejected = f", {self._rejects:,} rejected" if self._rejects else ""
        done = f"{self._rows:,} rows, {rate:,.0f}/s{rejected}" if self._rows else ""
        self._bar.set_description_str(": ".join(text for text in (done, stage) if text), refresh=False)
        place = self._place(min(parts / self._parts, 1.0))
        self._bar.update(max(round(place) - self._bar.n, 0))
