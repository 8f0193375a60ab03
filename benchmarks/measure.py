"""Times and peak memory of contenders in one run on one machine; the machine itself; tables and JSON."""

import argparse
import ctypes
import gc
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import dgl_moleblend as mb

RESULTS = Path(__file__).parent / "results"
STATUS = Path("/proc/self/status")
Step = Callable[..., object]


class Laps:
    """Seconds of the parts of a step: `lap(name)` ends a part, and waits for the device."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}
        synchronize(device)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a part."""
        synchronize(self._device)
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


class Timing(NamedTuple):
    """Seconds of a step over all rounds."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """The middle one: what is reported."""
        return statistics.median(self.seconds)

    def row(self) -> dict[str, float]:
        """Median, fastest and slowest."""
        return {"seconds": self.median, "fastest": min(self.seconds), "slowest": max(self.seconds)}


class Memory(NamedTuple):
    """Megabytes of the process (and its workers), or of the accelerator where there is one.

    Parameters
    ----------
    before : float
        With everything built, before the first step.
    peak : float
    """

    before: float
    peak: float


def synchronize(device: str) -> None:
    """Wait for an accelerator."""
    if device == "cuda":
        torch.cuda.synchronize()


def alternate(steps: Mapping[str, Step], rounds: int, device: str = "cpu") -> dict[str, Timing]:
    """Time steps in turn, so that whatever slows the machine slows all of them; one round before is not counted.

    Parameters
    ----------
    steps : mapping of str to callable
    rounds : int
        The contender that begins changes from round to round.
    device : str
        "cpu" or "cuda"; waited for after each step.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(-1, rounds):
        for k in range(len(names)):
            name = names[(number + k) % len(names)]
            synchronize(device)
            start = time.perf_counter()
            steps[name]()
            synchronize(device)
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(values) for name, values in seconds.items()}


def breakdown(step: Step, rounds: int, device: str = "cpu") -> dict[str, float]:
    """Median seconds of each part of a step, which is called with a `Laps` to mark their ends."""
    laps = []
    for _ in range(rounds):
        laps.append(Laps(device))
        step(laps[-1])
    return {name: statistics.median(lap.seconds[name] for lap in laps) for name in laps[0].seconds}


def peak_memory(build: Callable[..., Step], *arguments: object, device: str = "cpu", calls: int = 2) -> Memory:
    """Build a step in a fresh process, call it, and read the most memory that this took.

    A process of its own for every contender: otherwise the hungriest one hides the others' peak.

    Parameters
    ----------
    build : callable
        Of a module, so that the other process finds it; returns the step.
    *arguments
        Given to `build`.
    device : str
        On "cuda" the accelerator's memory is reported, else the process' resident memory and that of its workers.
    calls : int

    Raises
    ------
    RuntimeError
        If the process ended without an answer: out of memory, or an error that it has printed.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_watch, args=(send, build, arguments, device, torch.get_num_threads(), calls))
    child.start()
    send.close()
    try:
        memory = Memory(*receive.recv())
    except EOFError:
        memory = None
    child.join()
    if memory is None:
        raise RuntimeError(f"{build.__name__}{arguments[:1]} ended with exit code {child.exitcode}")
    return memory


def _watch(
    connection: Any, build: Callable[..., Step], arguments: tuple, device: str, threads: int, calls: int
) -> None:
    torch.set_num_threads(threads)
    step = build(*arguments)
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # give back what building left, and forget its peak
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
    for _ in range(calls):
        step()
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _resident("VmHWM")
    connection.send((before / 1e6, peak / 1e6))


def _resident(field: str) -> float:
    """Bytes of this process and its workers, by a field of Linux' /proc/PID/status.

    Not `resource.getrusage`, whose peak a process takes over from the one that started it.
    """
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def compare(
    names: Iterable[str], build: Callable[..., Step], *arguments: object, args: argparse.Namespace, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """Return a row of times and memory for each contender, which `build(name, *arguments)` makes.

    Peaks are measured first, one process after the other; then all contenders are built here and timed in turn.
    """
    names = list(names)
    rows: dict[str, dict[str, float]] = {name: {} for name in names}
    if args.memory:
        for name in names:
            memory = peak_memory(build, name, *arguments, device=device)
            rows[name] |= {"before_mb": memory.before, "peak_mb": memory.peak}
    timings = alternate({name: build(name, *arguments) for name in names}, args.rounds, device)
    return {name: timings[name].row() | rows[name] for name in names}


def machine(device: str = "cpu") -> dict[str, object]:
    """Describe what the figures were measured on, and how busy it was with other things when they were begun."""
    import dgl
    from rdkit import rdBase

    found = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dgl": dgl.__version__,
        "rdkit": rdBase.rdkitVersion,
        "dgl_moleblend": mb.__version__,
    }
    if found["load"] > 0.5:
        print(f"warning: the machine is busy (load {found['load']}): do not trust these times", file=sys.stderr)
    return found


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """Options that all benchmarks have; `rounds` is the default of a full run."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--short", action="store_true", help="small settings: seconds to a minute")
    options.add_argument("--rounds", type=int, help=f"timed rounds (default: {rounds}, short: 3)")
    options.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    options.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory")
    options.add_argument(
        "--json", type=Path, help="file for the results (default: results/NAME.json here; short: none)"
    )
    options.set_defaults(full_rounds=rounds)
    return options


def parse(options: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line and set the number of threads."""
    args = options.parse_args(argv)
    if args.rounds is None:
        args.rounds = 3 if args.short else args.full_rounds
    if args.threads:
        torch.set_num_threads(args.threads)
    if getattr(args, "device", "cpu") == "cuda" and not torch.cuda.is_available():
        options.error("--device cuda: this torch sees no CUDA device")
    return args


def table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> str:
    """Lay out rows as a Markdown table.

    Parameters
    ----------
    rows : sequence of mappings
        A row need not have every column.
    columns : mapping of str to str
        Column of the rows -> "heading|format", such as "seconds|.3f"; without a format the value as it is.
    """
    heads = [heading.partition("|")[0] for heading in columns.values()]
    formats = [heading.partition("|")[2] for heading in columns.values()]
    lines = [
        [
            format(row[name], spec) if row.get(name) is not None else "-"
            for name, spec in zip(columns, formats, strict=True)
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    right = [bool(spec) for spec in formats]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (w - 1) + ":") if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(heads), line(rule), *map(line, lines)])


def report(
    name: str,
    args: argparse.Namespace,
    found: Mapping[str, object],
    sections: Mapping[str, Sequence[Mapping[str, object]]],
    columns: Mapping[str, Mapping[str, str]],
    notes: Sequence[str] = (),
) -> dict[str, object]:
    """Print a table for each section and write all of it as JSON.

    Parameters
    ----------
    name : str
        Of the benchmark; the JSON file's by default.
    args : Namespace
        As `parse` gives it.
    found : mapping
        As `machine` gave it before the measurement.
    sections : mapping of str to rows
    columns : mapping of str to mapping
        For each section what `table` needs.
    notes : sequence of str
        Printed below the tables, and kept.
    """
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    print(f"\n{command}\n" + ", ".join(f"{key} {value}" for key, value in found.items()))
    for title, rows in sections.items():
        print(f"\n{title}\n\n{table(rows, columns[title])}")
    for note in notes:
        print(f"\n{note}")
    settings = json.loads(json.dumps(vars(args), default=str))  # paths as text, in lists too
    result = {"benchmark": name, "command": command, "machine": dict(found), "settings": settings,
              "sections": {title: list(rows) for title, rows in sections.items()}, "notes": list(notes)}  # fmt: skip
    path = args.json or (None if args.short else RESULTS / f"{name}.json")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"\nwritten to {path}")
    return result
