"""Records -> chunks -> worker processes -> molecules and rejects: every input row ends in exactly one of the two."""

import collections
import concurrent.futures as futures
import functools
import itertools
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from rdkit import Chem, rdBase
from tqdm import tqdm

from dgl_moleblend.chem.compact import featurize_mol
from dgl_moleblend.chem.sanitize import prepare_mol, rdkit_session, read_smiles
from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.store import (
    MAX_ATOMS,
    MoleculeStore,
    MoleculeTable,
    Reject,
    Sample,
    StoreWriter,
    record_batch,
    rejects_frame,
)
from dgl_moleblend.errors import DataError, MoleculeError
from dgl_moleblend.readers.molecules import Reader, Record

log = logging.getLogger(__name__)
T = TypeVar("T")

CHUNK = {"none": 256, "given": 128, "embed": 16}
"""Rows per task of a worker, by `positions`."""


@dataclass(frozen=True)
class PipelineConfig:
    """How rows are turned into molecules.

    Parameters
    ----------
    featurizer : FeaturizerConfig
    max_atoms : int
        Larger molecules are rejected.
    on_failed_conformer : {"reject", "keep"}
        What happens to a molecule that gets no positions: rejected, or kept without.
    time_limit : float, optional
        Seconds after which a worker process that is stuck in one molecule is killed; by default 10 more than twice
        the featurizer's timeout, which ends the search for conformers without killing anything.
    """

    featurizer: FeaturizerConfig = field(default_factory=FeaturizerConfig)
    max_atoms: int = MAX_ATOMS
    on_failed_conformer: str = "reject"
    time_limit: float | None = None

    def __post_init__(self) -> None:
        check(1 <= self.max_atoms <= MAX_ATOMS, "max_atoms", self.max_atoms, f"1 to {MAX_ATOMS:,}")
        check(self.on_failed_conformer in ("reject", "keep"), "on_failed_conformer", self.on_failed_conformer,
              "'reject' or 'keep'")  # fmt: skip
        check(self.time_limit is None or self.time_limit > 0, "time_limit", self.time_limit, "positive")

    @property
    def hard_limit(self) -> float:
        """Seconds after which a stuck worker is killed."""
        return self.time_limit or 2 * self.featurizer.timeout + 10.0


def featurize_record(record: Record, config: PipelineConfig, *, without_positions: bool = False) -> Sample | Reject:
    """Turn one record into a molecule, or into the reason why not.

    Parameters
    ----------
    record : Record
    config : PipelineConfig
    without_positions : bool
        Leave the positions out, whatever the settings say.
    """
    if record.stage is not None:
        return _reject(record, record.stage, record.error or "")
    stage = "parse"
    try:
        mol = read_mol(record)
        stage = "pair"
        if record.molblock is not None and record.smiles:
            _check_same_atoms(mol, record.smiles)
        stage = "size"
        if mol.GetNumAtoms() > config.max_atoms:
            raise MoleculeError(f"{mol.GetNumAtoms():,} atoms are more than {config.max_atoms:,}")
        stage = "featurize"
        full, flat = config.featurizer, _without_positions(config.featurizer)
        if full.positions == "none" or without_positions:
            molecule = featurize_mol(mol, flat)
        else:
            try:
                molecule = featurize_mol(mol, full)
            except MoleculeError:
                molecule = featurize_mol(mol, flat)  # if this works, it was the positions that failed
                stage = "conformer"
                if config.on_failed_conformer == "reject":
                    raise
        smiles = record.smiles.split(" |")[0] if record.smiles else Chem.MolToSmiles(mol)
    except MoleculeError as error:
        return _reject(record, stage, error.what)
    except Exception as error:
        log.debug("%s", record.where, exc_info=True)
        return _reject(record, stage, f"{type(error).__name__}: {error}")
    labels = np.asarray(record.labels, np.float32)
    return Sample(molecule, labels, record.row, record.source, record.line, record.id, smiles)


@functools.lru_cache(maxsize=8)
def _without_positions(config: FeaturizerConfig) -> FeaturizerConfig:
    return config.replace(positions="none")


def read_mol(record: Record) -> Chem.Mol:
    """Return the molecule of a record, with the positions that it gives.

    Raises
    ------
    MoleculeError
        If RDKit cannot read it; the message says where it stands.
    """
    if record.mol is not None:
        return prepare_mol(record.mol, where=record.where)
    if record.positions is not None:
        return _with_positions(read_smiles(record.smiles, where=record.where), record)
    if record.molblock is None:
        return read_smiles(record.smiles, where=record.where)
    with rdkit_session:  # chirality and double bonds are read from the coordinates, hydrogens removed
        mol = Chem.MolFromMolBlock(record.molblock)
    if mol is None:
        raise MoleculeError(f"RDKit cannot read the structure: {_why_not(record.molblock)}", where=record.where)
    return prepare_mol(mol, where=record.where)


def _with_positions(mol: Chem.Mol, record: Record) -> Chem.Mol:
    """Give a molecule conformers whose atoms are listed in the order of its SMILES, hydrogens anywhere between."""
    assert record.atoms is not None
    assert record.positions is not None
    atoms, positions = np.array(record.atoms), record.positions
    expected = [atom.GetSymbol() for atom in mol.GetAtoms()]
    for keep in (np.arange(len(atoms)), np.flatnonzero(atoms != "H")):
        if atoms[keep].tolist() == expected:
            for values in positions[:, keep].astype(np.float64):
                conformer = Chem.Conformer(len(keep))
                conformer.SetPositions(np.ascontiguousarray(values))
                conformer.Set3D(True)
                mol.AddConformer(conformer, assignId=True)
            return mol
    raise MoleculeError(f"the atoms that have positions are not those of the SMILES {record.smiles!r}")


def _check_same_atoms(mol: Chem.Mol, smiles: str) -> None:
    """Refuse a structure that cannot be of this SMILES; bonds, charges and hydrogens may be seen otherwise in it."""
    found, expected = (
        collections.Counter(atom.GetSymbol() for atom in molecule.GetAtoms() if atom.GetAtomicNum() != 1)
        for molecule in (mol, read_smiles(smiles))
    )
    if found != expected:
        words = [" ".join(f"{symbol}{count}" for symbol, count in sorted(c.items())) for c in (found, expected)]
        raise MoleculeError(f"the structure has the atoms {words[0]}, its SMILES {words[1]}")


def _why_not(molblock: str) -> str:
    """Read once more, to catch what RDKit says; where it says nothing, see whether the number of lines is right."""
    # RDKit counts bytes, quotes columns and so may cut a character in two: a "?" for each byte that is not ASCII
    molblock = bytes(byte if byte < 128 else ord("?") for byte in molblock.encode()).decode()
    with rdBase.CaptureErrorLog() as captured:
        Chem.MolFromMolBlock(molblock)
    lines = [line.split("] ", 1)[-1].strip() for line in captured.messages.splitlines()]
    spoken = [line for line in lines if line and line != "****" and "Violation" not in line]
    if spoken:
        return spoken[0]
    block = molblock.split("\n")
    counts = block[3] if len(block) > 3 else ""
    if "V3000" in counts:
        return "its atom or bond lines are damaged"
    try:
        atoms, bonds = int(counts[:3]), int(counts[3:6])
    except ValueError:
        return f"its fourth line is no counts line: {counts[:80]!r}"
    if len(block) < 4 + atoms + bonds + 1:
        return f"its counts line says {atoms} atoms and {bonds} bonds, more than there are lines"
    return f"the lines of its {atoms} atoms and {bonds} bonds are damaged"


def _reject(record: Record, stage: str, reason: str) -> Reject:
    return Reject(record.row, record.source, record.line, record.id, record.smiles, stage, reason)


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _context() -> Any:
    """Fork from a clean process where that is possible: threads of this one cannot harm, and modules load once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def run_isolated(task: Task) -> Chunk:
    """Featurize rows in a child process; one that ends it costs only itself, and the next child goes on."""
    results: list[Sample | Reject] = []
    todo = collections.deque(task.records)
    without: set[int] = set()
    context = _context()
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
            results.append(_reject(todo.popleft(), "time" if timed_out else "crash", _epitaph(child.exitcode, task)))
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
    tasks = iter(tasks)
    runner = _Pool(workers) if executor is None else _Given(executor, stall)
    pending: collections.deque[tuple[Task, futures.Future[Chunk] | None]] = collections.deque()
    ahead = 3 * max(workers, 1) + 1
    try:
        while True:
            pending.extend((task, runner.submit(task)) for task in itertools.islice(tasks, ahead - len(pending)))
            if not pending:
                return
            task, future = pending.popleft()
            chunk = runner.result(task, future)
            if chunk is None:  # a worker died, or never answered
                chunk = run_isolated(task)
                pending = collections.deque((t, f if _is_alive(f) else runner.submit(t)) for t, f in pending)
            yield chunk
    finally:
        runner.close()


def _is_alive(future: "futures.Future[Chunk] | None") -> bool:
    return future is not None and not (future.done() and (future.cancelled() or future.exception() is not None))


class _Pool:
    """Local worker processes; when one dies all are replaced."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._start()

    def _start(self) -> None:
        self._pool = futures.ProcessPoolExecutor(self._workers, mp_context=_context(), initializer=_begin_worker)

    def submit(self, task: Task) -> "futures.Future[Chunk] | None":
        try:
            return self._pool.submit(run_task_guarded, task)
        except futures.BrokenExecutor:
            return None

    def result(self, task: Task, future: "futures.Future[Chunk] | None") -> Chunk | None:
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


class _Given:
    """Somebody else's executor, of which nothing is known but that it may fail."""

    def __init__(self, executor: futures.Executor, stall: float | None) -> None:
        self._executor, self._stall = executor, stall

    def submit(self, task: Task) -> "futures.Future[Chunk] | None":
        try:
            return self._executor.submit(run_task, task)
        except Exception as error:
            log.warning("the executor takes no more work (%r): the rest is done here", error)
            return None

    def result(self, task: Task, future: "futures.Future[Chunk] | None") -> Chunk | None:
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
    writer = StoreWriter(
        folder,
        featurizer=config.featurizer,
        task_names=reader.task_names,
        sources=reader.sources,
        shard_size=shard_size,
        arguments=reader.arguments()
        | {"max_atoms": config.max_atoms, "on_failed_conformer": config.on_failed_conformer},
        versions={"rdkit": rdBase.rdkitVersion},
        overwrite=overwrite,
    )
    try:
        if writer.complete:
            return MoleculeStore(folder)
        with _Progress(reader, writer.next_row, progress) as bar, _closing(iter(reader)) as records:
            tasks = _tasks(itertools.islice(records, writer.next_row, None), reader, config, shard_size)
            with _closing(run_tasks(tasks, workers=workers, executor=executor)) as chunks:
                for chunk in _join(bar.watch(chunks), shard_size):
                    writer.write_shard(chunk.batch, chunk.rejects)
        return writer.finish()
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
    with _Progress(reader, 0, progress) as bar, _closing(iter(reader)) as records:
        tasks = _tasks(records, reader, config, 1 << 62)
        with _closing(run_tasks(tasks, workers=workers, executor=executor)) as chunks:
            done = list(bar.watch(chunks))
    rejects = rejects_frame(reject for chunk in done for reject in chunk.rejects)
    return MoleculeTable([c.batch for c in _join(done, 1 << 62)], reader.task_names, reader.sources, rejects,
                         config.featurizer)  # fmt: skip


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
    table = pa.Table.from_batches([part.batch for part in parts]).combine_chunks()
    batches = table.to_batches() or [parts[0].batch]
    return Chunk(batches[0], [reject for part in parts for reject in part.rejects])


class _Progress:
    """A bar over the bytes of the input, which are known beforehand, beside the rows that are done."""

    def __init__(self, reader: Reader, first_row: int, shown: bool) -> None:
        self._reader, self._first = reader, first_row
        self._rows, self._rejects = first_row, 0
        text = "{desc}{percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
        if not reader.total_bytes:
            text = "{desc}[{elapsed}]"
        self._bar = tqdm(desc="featurize", total=reader.total_bytes, bar_format=text, disable=not shown)

    def __enter__(self) -> "_Progress":
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def watch(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Show what passes."""
        for chunk in chunks:
            self._rows += len(chunk)
            self._rejects += len(chunk.rejects)
            rate = (self._rows - self._first) / max(time.monotonic() - self._start, 1e-9)
            rejected = f", {self._rejects:,} rejected" if self._rejects else ""
            self._bar.set_description_str(f"{self._rows:,} rows, {rate:,.0f}/s{rejected}", refresh=False)
            self._bar.update(self._reader.bytes_read - self._bar.n)
            yield chunk
