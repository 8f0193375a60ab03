"""A share of the rows of an input, for an array of jobs that divide the work."""

from collections.abc import Iterator, Mapping

from dgl_moleblend.config import check
from dgl_moleblend.readers.records import Reader, Record


class Share:
    """Every `of`-th block of rows of a reader, from the `number`-th on; rows keep their numbers.

    Parameters
    ----------
    reader : Reader
    number, of : int
        Which share, from 1, and how many there are.
    block : int
        Rows of a block.

    Attributes
    ----------
    of : int
    blocks : int or None
        How many blocks the whole input has, once it has been read to its end.

    Examples
    --------
    >>> from dgl_moleblend.readers.memory import MoleculeList
    >>> [record.row for record in Share(MoleculeList(["C"] * 9), 2, 3, block=2)]
    [2, 3, 8]
    """

    def __init__(self, reader: Reader, number: int, of: int, *, block: int) -> None:
        check(1 <= number <= of, "number", number, f"from 1 to {of}")
        check(block >= 1, "block", block, "at least 1")
        self.of = of
        self._reader, self._number, self._block = reader, number, block
        self.blocks: int | None = None

    @property
    def bytes_read(self) -> int:
        """How far the whole input is read."""
        return self._reader.bytes_read

    @property
    def total_bytes(self) -> int | None:
        """Size of the whole input, where it is known."""
        return self._reader.total_bytes

    @property
    def sources(self) -> tuple[str, ...]:
        """Files that are read."""
        return self._reader.sources

    @property
    def task_names(self) -> tuple[str, ...]:
        """Columns that the labels come from."""
        return self._reader.task_names

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Of labels that are words, those for class 0, class 1, .."""
        return self._reader.classes

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values."""
        return {**self._reader.arguments(), "share": [self._number, self.of, self._block]}

    def __iter__(self) -> Iterator[Record]:
        row = -1
        for one in self._reader:
            row = one.row
            if row // self._block % self.of == self._number - 1:
                yield one
        self.blocks = row // self._block + 1
