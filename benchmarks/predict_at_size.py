"""MOSES' 1,584,663 SMILES through `predict`: rows that add up, memory, rate; killed, resumed, and equal.

A model of mini size is fine-tuned on FreeSolv, 642 molecules; then `predict` writes a folder of parts, of 20,000 rows,
of 200,000 and of all, in a process of its own with its workers, whose memory is watched as `at_size.py` does. Every row
is looked for in its place. The whole is predicted once more, ended by SIGKILL twice on the way and resumed; the parts
must be the same bytes. `--folder` keeps what is there: a benchmark that was cut off goes on.
"""

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from at_size import DATA, FILES, Watched, watch
from measure import machine, report

TRAINED_ON = Path("moleculenet", "SAMPL.csv.gz")
COLUMNS = {"rows": "rows|,", "run": "run", "rejected": "rejected|,", "parts": "parts|,", "seconds": "s|,.1f",
           "rows_per_s": "rows/s|,.0f", "peak_mb": "peak MB|,.0f", "own_mb": "own MB|,.0f",
           "bytes_per_row": "bytes a row|.1f"}  # fmt: skip


def command(*arguments: object) -> list[str]:
    """Return a command of the package as a process is given it."""
    return [sys.executable, "-m", "dgl_moleblend", *map(str, arguments)]


def run(arguments: Sequence[object], kill_at: int | None = None, parts: Path | None = None) -> Watched:
    """Run a command and watch it; `kill_at`: with all that it started, as soon as there are so many parts.

    Raises
    ------
    RuntimeError
        If it fails, or ends before it could be killed.
    """
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True, start_new_session=True)

    def ended(seconds: float) -> bool:
        if kill_at is not None and parts is not None and len([*parts.glob("part-*.parquet")]) >= kill_at:
            os.killpg(process.pid, signal.SIGKILL)
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    taken = watch(process.pid, ended)
    if process.returncode != (0 if kill_at is None else -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(map(str, arguments))} ended with exit code {process.returncode}")
    return taken


def check(folder: Path, smiles: Sequence[str]) -> dict[str, int]:
    """Look for every row in its place, and count.

    Raises
    ------
    RuntimeError
        If a row is lost, doubled or another row's, or has neither a prediction nor a reason.
    """
    parts = sorted(folder.glob("part-*.parquet"))
    rejected = at = 0
    for part in parts:
        table = pq.read_table(part).to_pandas()
        end = at + len(table)
        if table["row"].tolist() != [*range(at, end)] or table["smiles"].tolist() != [*smiles[at:end]]:
            raise RuntimeError(f"{part}: rows {at:,} to {end:,} of the input are not its rows")
        predicted = table[next(name for name in table if name.endswith("_predicted"))].notna()
        if (predicted == (table["reason"] != "")).any():
            raise RuntimeError(f"{part}: a row has neither a prediction nor a reason, or both")
        rejected, at = rejected + int((~predicted).sum()), end
    if at != len(smiles):
        raise RuntimeError(f"{folder}: {at:,} rows of {len(smiles):,}")
    return {"rejected": rejected, "parts": len(parts)}


def predict(
    folder: Path, model: Path, data: Path, smiles: Sequence[str], args: argparse.Namespace
) -> dict[str, object]:
    """Predict a file in one go; what an earlier benchmark measured in this folder is taken from it."""
    result = folder.with_suffix(".json")
    if not result.is_file():
        arguments = ["predict", model, data, "-o", folder, "--workers", args.workers, "--part-rows", args.part_rows]
        if folder.exists():  # cut off: it would not be one run
            raise RuntimeError(f"{folder} is half done: delete it")
        taken = run([*arguments, "--quiet"])
        size = sum(path.stat().st_size for path in folder.glob("part-*.parquet"))
        row = {"rows": len(smiles), "run": "in one go", **check(folder, smiles), **taken._asdict(),
               "rows_per_s": len(smiles) / taken.seconds, "bytes_per_row": size / len(smiles)}  # fmt: skip
        result.write_text(json.dumps(row))
    return json.loads(result.read_text())  # type: ignore[no-any-return]


def predict_killed(
    folder: Path, whole: Path, model: Path, data: Path, smiles: Sequence[str], args: argparse.Namespace
) -> dict[str, object]:
    """Predict a file, ended on the way and resumed, and compare the parts.

    Raises
    ------
    RuntimeError
        If a part is not what the uninterrupted run wrote, byte by byte.
    """
    arguments = ["predict", model, data, "-o", folder, "--workers", args.workers, "--part-rows", args.part_rows,
                 "--quiet"]  # fmt: skip
    expected = sorted(whole.glob("part-*.parquet"))
    seconds, taken = 0.0, None
    for number in range(1, args.kills + 1):
        at = max(1, len(expected) * number // (args.kills + 1))
        if len([*folder.glob("part-*.parquet")]) < at:
            resume = ["--resume"] if folder.exists() else []
            seconds += run([*arguments, *resume], at, folder).seconds
    taken = run([*arguments, "--resume"])
    for part in expected:
        if part.read_bytes() != (folder / part.name).read_bytes():
            raise RuntimeError(f"{folder / part.name} is not what one run wrote")
    return {"rows": len(smiles), "run": f"killed {args.kills} times", **check(folder, smiles),
            "seconds": seconds + taken.seconds, "peak_mb": taken.peak_mb, "own_mb": taken.own_mb}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                      formatter_class=argparse.ArgumentDefaultsHelpFormatter)  # fmt: skip
    options.add_argument("--rows", nargs="+", type=int, default=[20_000, 200_000, 0], help="of the input; 0: all")
    options.add_argument("--short", action="store_true", help="12,000 rows: a minute")
    options.add_argument("--workers", type=int, default=2, help="processes")
    options.add_argument("--part-rows", type=int, default=40_960, help="rows of a part")
    options.add_argument("--kills", type=int, default=2, help="of the run that is cut off")
    options.add_argument("--model", type=Path, help="folder of a model (default: one is trained)")
    options.add_argument("--data", type=Path, default=DATA, help="folder with smiles/ and moleculenet/")
    options.add_argument("--folder", type=Path, help="for files that are written (default: a temporary one)")
    options.add_argument("--json", type=Path, help="file for the results (default: results/; short: none)")
    args = options.parse_args(argv)
    if args.short:
        args.rows, args.part_rows = [12_000], 2_048
    found, table = machine(), []
    with tempfile.TemporaryDirectory() as temporary:
        work = args.folder or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        model = args.model or work / "model"
        if not model.exists():
            subprocess.run(
                command("finetune", args.data / TRAINED_ON, "--tasks", "expt", "--encoder", "mini", "--epochs", 5,
                        "-o", model, "--quiet"), check=True)  # fmt: skip
        with gzip.open(args.data / FILES["moses"], "rt", encoding="utf-8") as file:
            header, *smiles = (line.rstrip("\n") for line in file)
        for rows in args.rows:
            part = smiles[: rows or None]
            data = work / f"moses-{len(part)}.csv"
            data.write_text("\n".join([header, *part]) + "\n")
            whole = work / f"predicted-{len(part)}"
            table.append(predict(whole, model, data, part, args))
        table.append(predict_killed(work / f"killed-{len(part)}", whole, model, data, part, args))
    return report("predict_at_size", args, found, {"Prediction": table}, {"Prediction": COLUMNS}, [])


if __name__ == "__main__":
    main()
