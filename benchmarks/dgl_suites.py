"""DGL's and dgllife's own test suites under this package's hook: how many tests pass on which torch.

    python benchmarks/dgl_suites.py CHECKOUT [CHECKOUT ..] [--python PYTHON ..] [--native] [--suite NAME ..]

A checkout is a clone of DGL or of dgl-lifesci at the version that is installed (git checkout v2.1.0, v0.3.2): only its
folder `tests` is read, and what is tested is what each PYTHON has installed. Each file of tests has a process of its
own, so that one that ends Python ends no other. --native leaves the hook out, for the torch that DGL was built for.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import tqdm
from measure import RESULTS, table

PACKAGE = Path(__file__).resolve().parents[1]
SUITES = {
    "dgl": {
        "sparse": ["python/pytorch/sparse"],
        "nn": ["python/pytorch/nn", "python/pytorch/optim", "python/pytorch/mpops", "python/pytorch/geometry"],
        "core": ["python/common"],
    },
    "dgllife": {"dgllife": ["utils", "model", "data"]},
}
"""Folders of a checkout's `tests` by suite."""
NETWORK = re.compile(
    r"URLError|ConnectionError|Max retries|Failed downloading|HTTPError|ProxyError|Temporary failure"
    r"|No such file.*/download/"
)
REASON = 160  # characters of an error's first line that are kept
OUTCOMES = ("passed", "failed", "network", "skipped")


class File(NamedTuple):
    """What the tests of one file came to: tests by `OUTCOMES`, the reasons of those that failed, and seconds."""

    counts: Counter[str]
    reasons: dict[str, str]
    seconds: float


def kind(checkout: Path) -> str:
    """Tell what `checkout` is a checkout of.

    Raises
    ------
    SystemExit
        If it has neither's tests.
    """
    for name, suites in SUITES.items():
        if all((checkout / "tests" / folder).is_dir() for folders in suites.values() for folder in folders):
            return name
    raise SystemExit(
        f"{checkout} holds neither DGL's tests nor dgllife's\n"
        "  fix:   git clone https://github.com/dmlc/dgl (git checkout v2.1.0), or awslabs/dgl-lifesci (v0.3.2)"
    )


def test_files(tests: Path, folders: Sequence[str]) -> list[Path]:
    """Files of tests in some folders of `tests`, in order."""
    return [file for folder in folders for file in sorted((tests / folder).rglob("test_*.py"))]


def environment(scratch: Path, tests: Path, native: bool) -> dict[str, str]:
    """Variables of a process of tests: where the hook and the tests' own modules are, one thread, no GPU."""
    path = [str(tests), str(tests / "python")]
    if not native:
        hook = scratch / "hook"
        hook.mkdir(exist_ok=True)
        (hook / "sitecustomize.py").write_text("import dgl_moleblend\n")  # what `doctor --fix` has Python do
        path = [str(hook), str(PACKAGE), *path]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        "DGLBACKEND": "pytorch",
        "DGLTESTDEV": "cpu",
        "DGL_DOWNLOAD_DIR": str(scratch / "download"),
        "OMP_NUM_THREADS": "1",
    }


def versions(python: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Ask a Python what it has installed."""
    code = (
        "import json, platform; from importlib.metadata import version; print(json.dumps({'python':"
        " platform.python_version(), **{n: version(n) for n in ('torch', 'dgl', 'dgllife', 'numpy')}}))"
    )
    done = subprocess.run([python, "-c", code], env=variables, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python} cannot run tests: {(done.stderr.strip().splitlines() or ['it ended'])[-1]}")
    return json.loads(done.stdout)


def run(python: str, file: Path, tests: Path, variables: Mapping[str, str], timeout: float) -> File:
    """Run the tests of one file."""
    began = time.perf_counter()
    report = file.with_suffix(".xml")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(file)]
    try:
        done = subprocess.run(command, cwd=tests, env=variables, capture_output=True, text=True, timeout=timeout)
        ended = f"Python ended with exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        ended = f"no end after {timeout:g} seconds"
    name = str(file.relative_to(tests))
    if not report.exists():
        return File(Counter(failed=1), {name: ended}, time.perf_counter() - began)
    counts, reasons = Counter[str](), {}
    for case in ElementTree.parse(report).iter("testcase"):
        outcome, reason = judge(case)
        counts[outcome] += 1
        if reason:
            reasons[f"{name}::{case.get('name')}"] = reason.replace(f"{tests.parent}{os.sep}", "")
    return File(counts, reasons, time.perf_counter() - began)


def judge(case: ElementTree.Element) -> tuple[str, str]:
    """Tell one of `OUTCOMES` and, of a test that failed, the reason."""
    for child in case:
        if child.tag in ("failure", "error"):
            text = child.get("message") or child.text or ""
            network = NETWORK.search(text + (child.text or ""))
            return "network" if network else "failed", (text.strip().splitlines() or [""])[0][:REASON]
        if child.tag == "skipped":
            return "skipped", ""
    return "passed", ""


def measure(
    checkouts: Sequence[Path], pythons: Sequence[str], suites: Sequence[str] | None, native: bool, timeout: float
) -> Iterator[dict[str, Any]]:
    """Run suites of all checkouts with all Pythons; yield a row for each suite of each Python."""
    for python in pythons:
        for checkout in checkouts:
            with tempfile.TemporaryDirectory() as folder:
                tests = Path(folder) / "tests"  # a copy: no test writes into the checkout, none imports its sources
                shutil.copytree(checkout / "tests", tests)
                variables = environment(Path(folder), tests, native)
                found = versions(python, variables)
                for suite, folders in SUITES[kind(checkout)].items():
                    if suites and suite not in suites:
                        continue
                    files = tqdm.tqdm(test_files(tests, folders), desc=f"{suite}, torch {found['torch']}", unit="file")
                    results = [run(python, file, tests, variables, timeout) for file in files]
                    yield summary(suite, found, native, results)


def summary(suite: str, found: Mapping[str, str], native: bool, results: Sequence[File]) -> dict[str, Any]:
    """Add up the files of a suite."""
    counts = sum((result.counts for result in results), Counter[str]())
    return {
        "suite": suite,
        **found,
        "hook": not native,
        "tests": sum(counts.values()),
        **{outcome: counts[outcome] for outcome in OUTCOMES},
        "seconds": round(sum(result.seconds for result in results), 1),
        "reasons": {name: reason for result in results for name, reason in result.reasons.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run, print a table and the commonest reasons, write JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("checkout", nargs="+", type=Path, help="of DGL or of dgl-lifesci")
    options.add_argument(
        "--python", action="append", help="whose installation is tested; may be repeated (default: this)"
    )
    options.add_argument("--native", action="store_true", help="without this package's hook")
    options.add_argument("--suite", action="append", choices=[s for suites in SUITES.values() for s in suites])
    options.add_argument("--timeout", type=float, default=1200, help="seconds for one file of tests")
    options.add_argument("--json", type=Path, default=RESULTS / "dgl_suites.json")
    args = options.parse_args(argv)
    for checkout in args.checkout:
        kind(checkout)
    rows = list(measure(args.checkout, args.python or [sys.executable], args.suite, args.native, args.timeout))
    columns = {"suite": "suite", "torch": "torch", "numpy": "NumPy", "hook": "hook", "tests": "tests"}
    columns |= {outcome: outcome for outcome in OUTCOMES} | {"seconds": "s"}
    print(table(rows, columns))
    for row in rows:
        for reason, count in Counter(row["reasons"].values()).most_common(8):
            print(f"{row['suite']}, torch {row['torch']}: {count} x {reason}")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
