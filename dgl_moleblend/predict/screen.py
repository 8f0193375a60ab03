"""Molecules of any number -> tables of what a model says of them, step by step: memory hardly grows with the rows."""

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from dgl_moleblend.config import check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.featurize import featurize_steps, records_by_step, table_of, without_cells
from dgl_moleblend.data.input_progress import InputProgress
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.data.several import beside
from dgl_moleblend.data.workers import (
    Chunk,
    Task,
    run_elsewhere,
    run_in_processes,
    run_isolated,
    run_task,
    run_task_guarded,
)
from dgl_moleblend.env.memory import keep_no_kernels
from dgl_moleblend.env.processes import available_cpus
from dgl_moleblend.predict.inference import choose_device
from dgl_moleblend.predict.jobs import Job
from dgl_moleblend.predict.tables import place_beside, renamed
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.records import Record

STEP = 2048
"""Rows that are computed at once. What comes of a row depends in its last digits on the others of its step, and on
nothing else."""
ENOUGH = 4
"""Steps from which on it pays to start processes that compute."""
Steps = Iterator[tuple[int, pd.DataFrame]]
Wanted = Callable[[int], bool]


def _every(step: int) -> bool:
    return True


class Files:
    """Molecules in files: read, featurized and computed step by step, in order; every row is in a table.

    Parameters
    ----------
    reader : MoleculeReader
        The cells that it keeps stand beside what is computed, see `place_beside`.
    others : sequence of MoleculeReader
        Of the further molecules of each row, of the same files.
    columns : sequence of str
        What the molecules are called where there are several.

    Attributes
    ----------
    renamed : dict of str to str
        New names of the user's columns whose names the table has, as soon as there is a step.
    """

    def __init__(
        self, reader: MoleculeReader, others: Sequence[MoleculeReader] = (), columns: Sequence[str] = ()
    ) -> None:
        self._reader, self._others, self._columns = reader, [*others], tuple(columns)
        self.renamed: dict[str, str] = {}

    @property
    def types(self) -> Mapping[str, Any]:
        """Arrow types of the user's columns, None for text."""
        return self._reader.cell_types

    def plan(self) -> dict[str, Any]:
        """Return what decides which molecules there are, as JSON can hold it."""
        others = {"others": [reader.arguments() for reader in self._others]} if self._others else {}
        return {"inputs": self._reader.arguments(), "columns": [*self.types], **others}

    def steps(
        self,
        job: Job,
        *,
        size: int | None = None,
        wanted: Wanted = _every,
        workers: int = 0,
        executor: Executor | None = None,
        progress: bool = False,
    ) -> Steps:
        """Compute step by step.

        Parameters
        ----------
        job : Job
        size : int
            Rows of a step; by default `STEP`.
        wanted : function
            Of the number of a step: whether it is computed.
        workers : int
            Processes: on a GPU, of few rows, or where conformers are embedded, they featurize, ahead of what is
            computed here; else each does whole steps, with its share of the CPUs. Of an executor, how many it has.
        executor : concurrent.futures.Executor, optional
            Computes whole steps elsewhere: its workers must find the model folders under the same names. A step that
            fails there is computed here, and a molecule that ends its process is rejected alone.
        progress : bool
            Whether to show a bar.

        Yields
        ------
        tuple of int and DataFrame
            Number of the step, and a table as `align` gives it, the user's columns in it. One at least, of no rows.
        """
        reader, config, size = self._reader, PipelineConfig(job.featurizer), size or STEP
        with closing(records_by_step(reader, size, wanted)) as found:
            if self._others:
                yield from self._several(job, config, size, found, wanted, workers, executor, progress)
                return
            first = [*itertools.islice(found, ENOUGH)]
            steps = itertools.chain(first, found)
            here = workers < 2 or len(first) < ENOUGH or job.featurizer.positions == "embed"
            if executor is None and (here or choose_device(job.accelerator).type != "cpu"):
                shown = progress and len(first) < ENOUGH  # bars after that of featurization; of many steps they flicker
                for step in featurize_steps(reader, config, size, steps, workers=workers, progress=progress):
                    table = job.tabulate(MoleculeDataset(step.table), progress=shown)
                    yield step.number, self._beside(table, step.cells)
                return
            yield from self._whole_steps(job, config, steps, workers, executor, progress)

    def _several(
        self,
        job: Job,
        config: PipelineConfig,
        size: int,
        first: Iterable[tuple[int, list[Record]]],
        wanted: Wanted,
        workers: int,
        executor: Executor | None,
        progress: bool,
    ) -> Steps:
        """Read the molecules of each row side by side and compute them here, see `steps`."""
        check(executor is None, "executor", executor, "left out: rows of several molecules are computed here")
        with ExitStack() as opened:
            found = [(self._reader, first)]
            for reader in self._others:
                records = opened.enter_context(closing(records_by_step(reader, size, wanted)))
                found.append((reader, records))
            featurized = [
                opened.enter_context(closing(featurize_steps(reader, config, size, records, workers=workers,
                                                             progress=progress and reader is self._reader)))
                for reader, records in found
            ]  # fmt: skip
            for steps in zip(*featurized, strict=True):
                dataset = beside([MoleculeDataset(step.table) for step in steps], self._columns)
                yield steps[0].number, self._beside(job.tabulate(dataset), steps[0].cells)

    def _whole_steps(
        self,
        job: Job,
        config: PipelineConfig,
        steps: Iterable[tuple[int, list[Record]]],
        workers: int,
        executor: Executor | None,
        progress: bool,
    ) -> Steps:
        """Let other processes, of this machine or an executor's, do all of a step, see `steps`."""
        reader = self._reader
        cut: deque[tuple[int, list[Mapping[str, object] | None], int]] = deque()

        def tasks() -> Iterator[Task]:
            for number, records in steps:
                cut.append((number, [record.cells for record in records], reader.bytes_read))
                yield Task(tuple(without_cells(records)), config, len(reader.task_names), reader.sources)

        about = (job, reader.task_names, dict(reader.classes))
        alone = functools.partial(_featurize_and_compute, about, featurize=run_isolated)
        if executor is None:
            own = functools.partial(_featurize_and_compute_beside, about, workers)
            tables = run_in_processes(tasks(), own, alone, workers, modules=(__name__,))
        else:
            work = functools.partial(_featurize_and_compute, about)
            tables = run_elsewhere(tasks(), work, alone, executor, workers=workers)
        with closing(tables), InputProgress(reader, 0, progress, "compute") as bar:
            for table in tables:
                number, cells, bytes_read = cut.popleft()
                bar.count(len(table), int((table["reason"] != "").sum()), bytes_read)
                yield number, self._beside(table, cells)

    def _beside(self, table: pd.DataFrame, cells: Sequence[Mapping[str, object] | None]) -> pd.DataFrame:
        self.renamed = self.renamed or renamed([*table.columns], [*self.types])
        return place_beside(table, cells, self.types)


class Featurized:
    """Molecules that are featurized already; the rows of a step are those of the input they came from.

    Parameters
    ----------
    dataset : MoleculeDataset
    """

    types: Mapping[str, Any] = {}
    renamed: Mapping[str, str] = {}

    def __init__(self, dataset: MoleculeDataset) -> None:
        self._dataset = dataset

    def plan(self) -> dict[str, Any]:
        """Return what decides which molecules there are, as JSON can hold it."""
        return {"inputs": self._dataset.digest()}

    def steps(
        self, job: Job, *, size: int | None = None, wanted: Wanted = _every, progress: bool = False, **elsewhere: object
    ) -> Steps:
        """Compute step by step; see `Files.steps`, whose workers and executor are not needed here."""
        dataset, rejects, size = self._dataset, self._dataset.rejects, size or STEP
        rows, others = dataset.rows // size, rejects["row"].to_numpy() // size
        count = 1 + int(max(rows.max(initial=0), others.max(initial=0)))
        steps = [step for step in range(count) if wanted(step)]
        bar = tqdm(steps, desc="steps", unit="step", delay=1.0, disable=not progress or len(steps) < 2)
        for step in bar:
            part = dataset.subset(np.flatnonzero(rows == step))
            yield step, job.tabulate(part, rejects[others == step], progress=progress and len(steps) < 2)


def _featurize_and_compute(
    about: tuple[Job, tuple[str, ...], dict[str, tuple[str, ...]]],
    task: Task,
    featurize: Callable[[Task], Chunk] = run_task,
) -> pd.DataFrame:
    """Do all of a step: a function of its rows and the model's folder alone."""
    keep_no_kernels()
    job, task_names, classes = about
    table = table_of(featurize(task), task_names, task.sources, task.config.featurizer, classes)
    return job.tabulate(MoleculeDataset(table))


def _featurize_and_compute_beside(
    about: tuple[Job, tuple[str, ...], dict[str, tuple[str, ...]]], workers: int, task: Task
) -> pd.DataFrame:
    """Do all of a step in one of several processes of a machine."""
    _share_cpus(workers)
    return _featurize_and_compute(about, task, run_task_guarded)


@functools.cache
def _share_cpus(workers: int) -> None:
    """Leave the other processes their share of the CPUs."""
    threads = max(1, available_cpus() // workers)
    torch.set_num_threads(threads)
    threadpool_limits(threads)
