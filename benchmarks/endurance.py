"""What no user should ever see: a row that is lost or shifted, a traceback, a hang, a run that a kill has changed.

    python benchmarks/endurance.py rows --rows 1000000     mutated rows through `featurize`
    python benchmarks/endurance.py kills --kills 100       commands killed at random moments, and resumed

rows: real SMILES and labels are written as tables with mutations of the SMILES, of cells and of bytes. Every input row
has an identifier that is never touched, so that a row in the wrong place is seen. Each file must end in exit code 0,
without a traceback, within its time, and with kept + rejected = rows.

kills: featurize, pretrain and finetune (a network; and all cheap kinds of models) are ended by SIGKILL, with all their
processes, at a random moment; the same command goes on (with --resume, where it has that option), and what it leaves
must be equal, byte for byte, to what an uninterrupted run leaves.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from measure import machine

from dgl_moleblend.data.store import MoleculeStore

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
PART = 25_000
"""Rows of a file of mutated ones."""
LIMIT = 1800
"""Seconds after which a command hangs."""
SIGNS = "CNOPSFIBrclnos()[]=#@/\\+-.%0123456789H* \t\u00b2\u2212é\x00\x07"
CELLS = ("", " ", "nan", "inf", "-inf", "1e400", "1,5", "0x10", "--", "#N/A", "1e-320", "\u22125", "TRUE", "9" * 400)
ODD = ("C" * 700, "C(" * 400 + "C" + ")" * 400, "[" * 50, "[C+99]", "[999C]", "C%99CC", "C1CC1" * 60, "C.C" * 90,
       "c1ccccc1" * 40, "[Fe]" * 80, "CC>>CO", "InChI=1S/CH4/h1H4", "=HYPERLINK(1)", "N[C@@](F)(Cl)(Br)I")  # fmt: skip


def mutate_smiles(smiles: str, generator: random.Random) -> str:
    """Return a SMILES after one to four mutations."""
    if generator.random() < 0.02:
        return generator.choice(ODD)
    text = list(smiles)
    for _ in range(generator.randint(1, 4)):
        at, how = generator.randrange(len(text) + 1), generator.randrange(5)
        if how == 0:
            text.insert(at, generator.choice(SIGNS))
        elif how == 1 and text:
            del text[at : at + generator.randint(1, 3)]
        elif how == 2 and at < len(text):
            text[at] = generator.choice(SIGNS)
        elif how == 3:
            text = text[:at] + text[generator.randrange(len(text) + 1) :]
        else:
            text[at:at] = text[: generator.randint(0, 12)]
    return "".join(text)


def write_rows(path: Path, smiles: Sequence[str], generator: random.Random) -> None:
    """Write a table of mutated rows, a line each: id, smiles, y and note."""
    with path.open("wb") as file:
        file.write(b"id,smiles,y,note\n")
        for number in range(PART):
            text, label, note = generator.choice(smiles), f"{generator.gauss(0, 3):.3f}", "x"
            how = generator.random()
            if how < 0.8:
                text = mutate_smiles(text, generator)
            elif how < 0.9:
                label = generator.choice(CELLS)
            elif how < 0.95:
                note = generator.choice(("a,b", "", "x,,,,", "\ufeff", "\u2028", "long" * 5_000))
            line = f"r{number},{text},{label},{note}".replace("\n", " ").replace("\r", " ").replace('"', " ").encode()
            if how >= 0.95:  # bytes that are no text
                at = generator.randrange(len(f"r{number},"), len(line) + 1)
                line = line[:at] + bytes(generator.choices((0, 0x80, 0xC3, 0xFE, 0xFF), k=2)) + line[at:]
            file.write(line + b"\n")


def run(command: Sequence[str], limit: float = LIMIT) -> tuple[int | None, str]:
    """Run `dgl-moleblend`; exit code (None after the limit) and what it said."""
    try:
        done = subprocess.run(_command(command), capture_output=True, timeout=limit, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return None, f"more than {limit:.0f} s"
    return done.returncode, done.stderr


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "dgl_moleblend", *map(str, arguments)]


def rows(args: argparse.Namespace) -> dict[str, Any]:
    """Send mutated rows through `featurize`."""
    from sample_data import freesolv, solubility

    smiles = [*freesolv()["smiles"], *solubility()["smiles"]]
    total: Counter[str] = Counter()
    faults: list[str] = []
    began = time.perf_counter()
    for part in range(-(-args.rows // PART)):
        with tempfile.TemporaryDirectory() as folder:
            table, store = Path(folder, "rows.csv"), Path(folder, "store")
            write_rows(table, smiles, random.Random(f"{args.seed}-{part}"))
            code, text = run(["featurize", table, "--tasks", "y", "--id-column", "id", "-o", store,
                              "--workers", args.workers, "--quiet"])  # fmt: skip
            if code is None:
                total["hangs"] += 1
            if "Traceback" in text:
                total["tracebacks"] += 1
            if code != 0 or "Traceback" in text:
                faults.append(f"part {part}: exit code {code}: {text[-2000:]}")
                continue
            found = MoleculeStore(store)
            rejects = found.rejects
            kept = pd.DataFrame({"row": found.rows, "id": found.ids})
            places = pd.concat([kept, rejects[["row", "id"]]])
            known = places[places["id"] != ""]  # a line that is not divided in cells has none
            shifted = int((known["id"].astype(str) != "r" + known["row"].astype(str)).sum())
            unique = places["row"].nunique()
            total.update(rows=PART, kept=len(kept), rejected=len(rejects), shifted=shifted,
                         lost=PART - unique, twice=len(places) - unique)  # fmt: skip
        print(f"{total['rows']:,} rows: {dict(total)}", file=sys.stderr, flush=True)
    names = ("rows", "kept", "rejected", "lost", "twice", "shifted", "tracebacks", "hangs")
    return {**{name: total[name] for name in names}, "seconds": time.perf_counter() - began, "faults": faults}


def jobs(folder: Path) -> dict[str, tuple[list[str], str | None, Callable[[Path], dict[str, str]]]]:
    """Return the commands that are killed: arguments, the option that goes on, and what is compared."""
    from sample_data import freesolv

    frame = freesolv()
    frame.to_csv(folder / "all.csv", index=False)
    frame.iloc[::6].to_csv(folder / "some.csv", index=False)
    some, few = folder / "some.csv", ["--size", "tiny", "--quiet", "--workers", 0]
    return {
        "featurize": (["featurize", folder / "all.csv", "--tasks", "expt", "--positions", "embed", "--shard-size", 100,
                       "--workers", 2, "--quiet"], None, every_file),
        "pretrain": (["pretrain", some, "--epochs", 6, *few], "--resume", weights),
        "finetune": (["finetune", some, "--tasks", "expt", "--head", "network", "--epochs", 6, *few], "--resume",
                     weights),
        "finetune --fast": (["finetune", some, "--tasks", "expt", "--fast", "--quiet", "--workers", 0], "--resume",
                            weights),
    }  # fmt: skip


def every_file(folder: Path) -> dict[str, str]:
    """Checksums of all files of a folder."""
    return {str(path.relative_to(folder)): _checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def weights(folder: Path) -> dict[str, str]:
    """Checksums of what a model folder predicts with, and of what it predicted."""
    names = re.compile(r"model\.safetensors|predictions\.csv|split\.csv|calibration\.json|ensemble\.json|config\.json")
    return {name: digest for name, digest in every_file(folder).items() if names.search(name)}


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill(command: Sequence[str], after: float) -> bool:
    """Start a command, and end it and all its processes after so many seconds; whether it was still at work."""
    process = subprocess.Popen(_command(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def kills(args: argparse.Namespace) -> dict[str, Any]:
    """Kill commands at random moments and let them go on."""
    generator = random.Random(args.seed)
    found: dict[str, Counter[str]] = {}
    faults: list[str] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        wanted = {name: job for name, job in jobs(work).items() if name in args.jobs}
        whole: dict[str, tuple[dict[str, str], float]] = {}
        for name, (command, _, compared) in wanted.items():
            out, start = work / name.replace(" ", ""), time.perf_counter()
            code, text = run([*command, "-o", out])
            if code != 0:
                raise SystemExit(f"{name} failed:\n{text}")
            whole[name] = compared(out), time.perf_counter() - start
        for number in range(args.kills):
            name = list(wanted)[number % len(wanted)]
            command, go_on, compared = wanted[name]
            expected, seconds = whole[name]
            count = found.setdefault(name, Counter())
            out = work / "killed"
            shutil.rmtree(out, ignore_errors=True)
            arguments, after = [*command, "-o", out], generator.uniform(0, seconds)
            count["kills"] += kill(arguments, after)
            while generator.random() < 0.3:  # some are killed again
                again = [*arguments, go_on] if go_on and out.exists() else arguments
                count["kills"] += kill(again, generator.uniform(0, seconds))
            code, text = run([*arguments, go_on] if go_on and out.exists() else arguments)
            done = code == 0 or "the run is finished" in text  # it may have been killed when all was written
            got = compared(out) if out.is_dir() else {}
            different = sorted(file for file in {*expected, *got} if expected.get(file) != got.get(file))
            count.update(runs=1, resumed=done, equal=done and not different)
            if not done or different:
                faults.append(f"{name}, killed after {after:.2f} s of {seconds:.2f}: exit code {code}; "
                              f"different: {', '.join(different) or '-'}; {text[-1500:]}")  # fmt: skip
            print(f"{number + 1}: {name} {dict(count)}", file=sys.stderr, flush=True)
    rows = [{"command": name, **{key: count[key] for key in ("runs", "kills", "resumed", "equal")},
             "seconds": whole[name][1]} for name, count in found.items()]  # fmt: skip
    return {"commands": rows, "seconds": time.perf_counter() - began, "faults": faults}


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("rows", "kills"))
    options.add_argument("--rows", type=int, default=1_000_000, help=f"in files of {PART:,}")
    options.add_argument("--kills", type=int, default=100, help="runs that are killed, each at least once")
    options.add_argument("--jobs", nargs="+", default=["featurize", "pretrain", "finetune", "finetune --fast"])
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, help="a JSON file of the figures")
    args = options.parse_args(argv)
    result = {"machine": machine(), **(rows(args) if args.what == "rows" else kills(args))}
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(bool(result["faults"]))


if __name__ == "__main__":
    main()
