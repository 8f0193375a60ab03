"""Records -> chunks -> a data set on disk or in memory: every input row ends in exactly one of kept and rejected."""

import concurrent.futures as futures
import dataclasses
import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
from rdkit import rdBase

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.codec import BOUNDS, with_bounds
from dgl_moleblend.data.input_progress import InputProgress
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.data.rows import rejects_frame
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.data.workers import Chunk, Task, run_tasks
from dgl_moleblend.data.writer import StoreWriter
from dgl_moleblend.readers.records import Reader, Record
from dgl_moleblend.readers.share import Share

log = logging.getLogger(__name__)
T = TypeVar("T")
CHUNK = {"none": 256, "given": 128, "embed": 16}
"""Rows per task of a worker, by `positions`."""


def featurize_to_store(
    reader: Reader,
    folder: str | os.PathLike[str],
    config: PipelineConfig,
    *,
    workers: int = 0,
    executor: futures.Executor | None = None,
    shard_size: int = 20_000,
    overwrite: bool = False,
    progress: bool = False,
) -> MoleculeStore:
    """Featurize files into a store on disk; goes on where an interrupted run with the same arguments stopped.

    Parameters
    ----------
    reader : MoleculeReader or PairedReader
    folder : path
    config : PipelineConfig
    workers, executor
        See `run_tasks`; what is written does not depend on them.
    shard_size : int
        Input rows per shard.
    overwrite : bool
        Whether to replace a store that is there.
    progress : bool
        Whether to show a bar.

    Raises
    ------
    DataError
        If the folder holds something else, the disk is full, or an input file is damaged.
    """
    _say_classes(reader)
    writer = StoreWriter(
        folder,
        featurizer=config.featurizer,
        task_names=reader.task_names,
        sources=reader.sources,
        classes=reader.classes,
        shard_size=shard_size,
        arguments=reader.arguments()
        | {"max_atoms": config.max_atoms, "on_failed_conformer": config.on_failed_conformer},
        versions={"rdkit": rdBase.rdkitVersion},
        overwrite=overwrite,
    )
    try:
        if writer.complete:
            return MoleculeStore(folder)
        with (
            InputProgress(reader, writer.next_row, progress, embeds=_embeds(config)) as bar,
            _closing(iter(reader)) as records,
        ):
            tasks = _tasks(itertools.islice(records, writer.next_row, None), reader, config, shard_size)
            with _closing(run_tasks(tasks, workers=workers, executor=executor)) as chunks:
                for chunk in _join(bar.watch(chunks), shard_size):
                    writer.write_shard(chunk.batch, chunk.rejects)
        return writer.finish(reader.blocks if isinstance(reader, Share) else None)
    finally:
        writer.close()


def featurize_to_table(
    reader: Reader,
    config: PipelineConfig,
    *,
    workers: int = 0,
    executor: futures.Executor | None = None,
    progress: bool = False,
) -> MoleculeTable:
    """Featurize files into memory; see `featurize_to_store`."""
    _say_classes(reader)
    with InputProgress(reader, 0, progress, embeds=_embeds(config)) as bar, _closing(iter(reader)) as records:
        tasks = _tasks(records, reader, config, 1 << 62)
        with _closing(run_tasks(tasks, workers=workers, executor=executor)) as chunks:
            done = list(bar.watch(chunks))
    rejects = rejects_frame(reject for chunk in done for reject in chunk.rejects)
    return MoleculeTable([c.batch for c in _join(done, 1 << 62)], reader.task_names, reader.sources, rejects,
                         config.featurizer, reader.classes)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """Some input rows in a row, featurized.

    Parameters
    ----------
    number : int
        Its first row is ``number`` times the size of a step.
    table : MoleculeTable
        The molecules; its rejects are the other rows.
    cells : sequence of mapping or None
        Of every row, where the reader keeps them.
    """

    number: int
    table: MoleculeTable
    cells: Sequence[Mapping[str, object] | None] = ()


def featurize_steps(
    reader: Reader,
    config: PipelineConfig,
    size: int,
    steps: Iterable[tuple[int, list[Record]]],
    *,
    workers: int = 0,
    progress: bool = False,
) -> Generator[Step, None, None]:
    """Featurize files step by step, so that memory does not grow with their rows.

    Parameters
    ----------
    reader : MoleculeReader or PairedReader
    config : PipelineConfig
    size : int
        Rows a step; the last may have fewer.
    steps : iterable of (int, list of Record)
        As `records_by_step` gives them.
    workers, progress
        See `featurize_to_store`.
    """
    with InputProgress(reader, 0, progress, embeds=_embeds(config)) as bar:
        cut: deque[tuple[int, list[Mapping[str, object] | None]]] = deque()

        def tasks() -> Iterator[Task]:
            for number, records in steps:
                cut.append((number, [record.cells for record in records]))
                yield from _tasks(without_cells(records), reader, config, size)

        with _closing(run_tasks(tasks(), workers=workers)) as chunks:
            for chunk in _join(bar.watch(chunks), size):
                number, cells = cut.popleft()
                table = table_of(chunk, reader.task_names, reader.sources, config.featurizer, reader.classes)
                yield Step(number, table, cells)
        if cut:  # the step of a file without rows
            yield Step(0, MoleculeTable([], reader.task_names, reader.sources, None, config.featurizer, reader.classes))


def records_by_step(
    reader: Reader, size: int, wanted: Callable[[int], bool] = lambda number: True
) -> Generator[tuple[int, list[Record]], None, None]:
    """Yield the rows of each step that is wanted, with its number; of files without rows, a step of none."""
    number = -1
    with _closing(iter(reader)) as records:
        for number, rows in itertools.groupby(records, lambda record: record.row // size):
            if wanted(number):
                yield number, list(rows)
    if number < 0 and wanted(0):
        yield 0, []


def without_cells(records: Sequence[Record]) -> list[Record]:
    """Return records as workers need them."""
    return [record if record.cells is None else dataclasses.replace(record, cells=None) for record in records]


def table_of(
    chunk: Chunk,
    task_names: Sequence[str],
    sources: Sequence[str],
    featurizer: FeaturizerConfig,
    classes: Mapping[str, tuple[str, ...]],
) -> MoleculeTable:
    """Return a chunk as a table."""
    return MoleculeTable([chunk.batch], task_names, sources, rejects_frame(chunk.rejects), featurizer, classes)


def _embeds(config: PipelineConfig) -> bool:
    return config.featurizer.positions == "embed"


def _say_classes(reader: Reader) -> None:
    for name, words in reader.classes.items():
        if len(words) == 2:
            log.warning("the labels in column %r are words: %r is read as class 1, %r as class 0", name, *words[::-1])
        else:
            log.warning("the labels in column %r are words for %d classes: %s", name, len(words), ", ".join(words))


@contextmanager
def _closing(iterator: Iterator[T]) -> Iterator[Iterator[T]]:
    """Let a generator go of its files or processes at once, also after an error."""
    try:
        yield iterator
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


def _tasks(records: Iterable[Record], reader: Reader, config: PipelineConfig, shard_size: int) -> Iterator[Task]:
    """Cut rows into tasks that end where shards end."""
    size = CHUNK[config.featurizer.positions]
    records = iter(records)
    in_shard = 0
    while rows := tuple(itertools.islice(records, min(size, shard_size - in_shard))):
        in_shard = (in_shard + len(rows)) % shard_size
        yield Task(rows, config, len(reader.task_names), reader.sources)


def _join(chunks: Iterable[Chunk], shard_size: int) -> Iterator[Chunk]:
    """Put chunks together to shards."""
    parts: list[Chunk] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size == shard_size:
            yield _concatenate(parts)
            parts, size = [], 0
    if parts:
        yield _concatenate(parts)


def _concatenate(parts: Sequence[Chunk]) -> Chunk:
    batches = [part.batch for part in parts]
    if any(BOUNDS in batch.schema.names for batch in batches):
        batches = [with_bounds(batch) for batch in batches]
    table = pa.Table.from_batches(batches).combine_chunks()
    batches = table.to_batches() or [parts[0].batch]
    return Chunk(batches[0], [reject for part in parts for reject in part.rejects])
