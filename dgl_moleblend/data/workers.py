"""Tasks of some records each -> worker processes -> chunks in order, whatever happens to a worker."""

import collections
import concurrent.futures as futures
import gc
import itertools
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

from dgl_moleblend.chem.sanitize import rdkit_session
from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.molecules import PipelineConfig, featurize_record, reject
from dgl_moleblend.data.rows import Reject, Sample
from dgl_moleblend.env.processes import worker_context
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.records import Record

log = logging.getLogger(__name__)
R = TypeVar("R")


@dataclass
class Chunk:
    """Rows that were done: the kept molecules as Arrow columns, and the others."""

    batch: pa.RecordBatch
    rejects: list[Reject]

    @classmethod
    def pack(cls, results: Iterable[Sample | Reject], num_tasks: int, sources: Sequence[str]) -> "Chunk":
        """Sort results into the two places."""
        kept: list[Sample] = []
        rejects: list[Reject] = []
        for result in results:
            kept.append(result) if isinstance(result, Sample) else rejects.append(result)  # type: ignore[func-returns-value]
        return cls(record_batch(kept, num_tasks, sources), rejects)

    def __len__(self) -> int:
        return self.batch.num_rows + len(self.rejects)


@dataclass(frozen=True)
class Task:
    """Some rows with all that a worker needs to know."""

    records: tuple[Record, ...]
    config: PipelineConfig
    num_tasks: int
    sources: tuple[str, ...]


def run_task(task: Task) -> Chunk:
    """Featurize rows in this process."""
    with rdkit_session:
        results = [featurize_record(record, task.config) for record in task.records]
    return Chunk.pack(results, task.num_tasks, task.sources)


def run_task_guarded(task: Task) -> Chunk:
    """Featurize rows in a worker process that the system kills when one molecule takes too long."""
    return Chunk.pack(_guarded(task.records, task.config), task.num_tasks, task.sources)


def _guarded(records: Iterable[Record], config: PipelineConfig, without: frozenset[int] = frozenset()) -> Iterator[Any]:
    """Featurize one by one; SIGALRM, left at its default, ends the process even inside a call to RDKit."""
    has_alarm = hasattr(signal, "setitimer")
    with rdkit_session:
        for record in records:
            if has_alarm:
                signal.setitimer(signal.ITIMER_REAL, config.hard_limit)
            result = featurize_record(record, config, without_positions=record.row in without)
            if has_alarm:
                signal.setitimer(signal.ITIMER_REAL, 0)
            yield result


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, however it ends."""
    gc.freeze()  # to look for garbage among what modules left would copy its pages, which processes share
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def run_isolated(task: Task) -> Chunk:
    """Featurize rows in a child process; one that ends it costs only itself, and the next child goes on."""
    results: list[Sample | Reject] = []
    todo = collections.deque(task.records)
    without: set[int] = set()
    context: Any = worker_context(__name__)
    while todo:
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=_serve, args=(send, tuple(todo), task.config, frozenset(without)), daemon=True)
        child.start()
        send.close()
        try:
            _await_start(receive, child)
            while todo:
                results.append(receive.recv())
                todo.popleft()
        except EOFError:
            child.join()
            record = todo[0]
            timed_out = hasattr(signal, "SIGALRM") and child.exitcode == -signal.SIGALRM
            if timed_out and task.config.on_failed_conformer == "keep" and record.row not in without:
                without.add(record.row)  # once more, without positions
                continue
            results.append(reject(todo.popleft(), "time" if timed_out else "crash", _epitaph(child.exitcode, task)))
        finally:
            receive.close()
        child.join()
    return Chunk.pack(results, task.num_tasks, task.sources)


def _await_start(connection: Any, child: Any) -> None:
    """Tell a process that cannot start from a molecule that ends it."""
    try:
        connection.recv()
    except EOFError as error:
        child.join()
        raise DataError(
            f"worker processes cannot start (exit code {child.exitcode})",
            fix='in a script, call this under `if __name__ == "__main__":`; or work without them: workers=0',
        ) from error


def _serve(connection: Any, records: Sequence[Record], config: PipelineConfig, without: frozenset[int]) -> None:
    _begin_worker()
    connection.send("ready")
    for result in _guarded(records, config, without):
        connection.send(result)


def _epitaph(exitcode: int | None, task: Task) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        if name == "SIGALRM":
            return f"it took longer than the time limit of {task.config.hard_limit:g} s"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"
    return f"the worker process ended with exit code {exitcode}"


def run_tasks(
    tasks: Iterable[Task],
    *,
    workers: int = 0,
    executor: futures.Executor | None = None,
    stall: float | None = None,
) -> Iterator[Chunk]:
    """Run tasks and yield their chunks in order, whatever happens to the workers.

    Parameters
    ----------
    tasks : iterable of Task
        Taken as they are needed.
    workers : int
        Processes; 0 runs in this process, where nothing protects from a crash.
    executor : concurrent.futures.Executor, optional
        Runs the tasks instead, such as dask's `Client.get_executor()`; `workers` then says how many tasks it is given
        ahead. It stays open.
    stall : float, optional
        Seconds to wait for a chunk of a given executor before its rows are done here instead; by default the longest
        that its molecules may take.
    """
    if executor is None and workers == 0:
        yield from map(run_task, tasks)
        return
    runner: Runner[Chunk] = _Pool(workers, run_task_guarded) if executor is None else _Given(executor, run_task, stall)
    yield from _run(tasks, runner, run_isolated, ahead=3 * max(workers, 1) + 1)


def run_elsewhere(
    tasks: Iterable[Task],
    work: Callable[[Task], R],
    alone: Callable[[Task], R],
    executor: futures.Executor,
    *,
    workers: int = 1,
    stall: float | None = None,
) -> Generator[R, None, None]:
    """Let an executor do more with tasks than to featurize them, and yield what comes of each, in order.

    Parameters
    ----------
    tasks : iterable of Task
    work, alone : function
        What is done there, and here with a task that failed there.
    executor, workers, stall
        See `run_tasks`.
    """
    return _run(tasks, _Given(executor, work, stall), alone, ahead=3 * max(workers, 1) + 1)


def run_in_processes(
    tasks: Iterable[Task],
    work: Callable[[Task], R],
    alone: Callable[[Task], R],
    workers: int,
    modules: Sequence[str] = (),
) -> Generator[R, None, None]:
    """Let processes of this machine do more with tasks than to featurize them, and yield what comes of each, in order.

    Parameters
    ----------
    tasks : iterable of Task
    work, alone : function
        What is done there, and here with a task whose process ended.
    workers : int
        Processes, 1 at least.
    modules : sequence of str
        Loaded once for all of them.
    """
    return _run(tasks, _Pool(workers, work, modules), alone, ahead=2 * workers)


class Runner(Protocol[R]):
    """Who does tasks, and may fail."""

    def submit(self, task: Task) -> "futures.Future[R] | None": ...  # noqa: D102

    def result(self, task: Task, future: "futures.Future[R] | None") -> R | None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


def _run(
    tasks: Iterable[Task], runner: Runner[R], alone: Callable[[Task], R], *, ahead: int
) -> Generator[R, None, None]:
    """Give a runner some tasks ahead, yield what comes of each in order, and do here, `alone`, what fails there."""
    tasks = iter(tasks)
    pending: collections.deque[tuple[Task, futures.Future[R] | None]] = collections.deque()
    try:
        while True:
            pending.extend((task, runner.submit(task)) for task in itertools.islice(tasks, ahead - len(pending)))
            if not pending:
                return
            task, future = pending.popleft()
            chunk = runner.result(task, future)
            if chunk is None:  # a worker died, or never answered
                chunk = alone(task)
                pending = collections.deque((t, f if _is_alive(f) else runner.submit(t)) for t, f in pending)
            yield chunk
    finally:
        runner.close()


def _is_alive(future: "futures.Future[R] | None") -> bool:
    return future is not None and not (future.done() and (future.cancelled() or future.exception() is not None))


class _Pool(Generic[R]):
    """Local worker processes; when one dies all are replaced."""

    def __init__(self, workers: int, work: Callable[[Task], R], modules: Sequence[str] = ()) -> None:
        self._workers, self._work, self._modules = workers, work, modules
        self._start()

    def _start(self) -> None:
        context = worker_context(__name__, *self._modules)
        self._pool = futures.ProcessPoolExecutor(self._workers, mp_context=context, initializer=_begin_worker)

    def submit(self, task: Task) -> "futures.Future[R] | None":
        try:
            return self._pool.submit(self._work, task)
        except futures.BrokenExecutor:
            return None

    def result(self, task: Task, future: "futures.Future[R] | None") -> R | None:
        try:
            if future is not None:
                return future.result()
        except Exception as error:
            log.debug("a chunk failed: %r", error)
        self.close()
        self._start()
        return None

    def close(self) -> None:
        processes = list((self._pool._processes or {}).values())  # shutdown would wait for what they are doing
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


def _patience(task: Task) -> float:
    """Seconds within which an executor is expected to be done with a task that is next in line."""
    each = task.config.featurizer.timeout if task.config.featurizer.positions == "embed" else 1.0
    return task.config.hard_limit + len(task.records) * each


class _Given(Generic[R]):
    """Somebody else's executor, of which nothing is known but that it may fail."""

    def __init__(self, executor: futures.Executor, work: Callable[[Task], R], stall: float | None) -> None:
        self._executor, self._work, self._stall = executor, work, stall

    def submit(self, task: Task) -> "futures.Future[R] | None":
        try:
            return self._executor.submit(self._work, task)
        except Exception as error:
            log.warning("the executor takes no more work (%r): the rest is done here", error)
            return None

    def result(self, task: Task, future: "futures.Future[R] | None") -> R | None:
        if future is None:
            return None
        try:
            return future.result(self._stall or _patience(task))
        except Exception as error:
            log.debug("a chunk failed: %r", error)
            future.cancel()
            return None

    def close(self) -> None:
        return None
