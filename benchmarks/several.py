"""Rows of two molecules: differences in solubility, read from both of them and from the first alone.

    python benchmarks/several.py --seeds 0 1 2

A made table with real values: pairs of ESOL's molecules, labelled with the first one's log solubility less the second
one's. A fifth of the molecules, drawn by the seed, is in no training or validation pair, and test pairs are of these
alone. RMSE on test pairs of the answer of `finetune` and of the kinds of models in it.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dgl_moleblend as mb
from dgl_moleblend.files import write_json

DATA = Path(__file__).parents[2] / "shared" / "data"
FILE, LABEL = "delaney-processed.csv.gz", "measured log solubility in mols per litre"
OUT = Path(__file__).parent / "results" / "several.json"
READ = {"both": ["first", "second"], "first alone": "first"}


def pairs(frame: pd.DataFrame, seed: int, rows: int) -> pd.DataFrame:
    """Return training, validation and test pairs; no molecule of a test pair is in another."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(frame))
    cut = len(order) // 5
    tables = []
    for part, known, count in (("test", order[:cut], rows // 5), ("train", order[cut:], rows)):
        first, second = generator.choice(known, (2, count))
        table = pd.DataFrame({"first": frame["smiles"].to_numpy()[first], "second": frame["smiles"].to_numpy()[second],
                              "gap": frame[LABEL].to_numpy()[first] - frame[LABEL].to_numpy()[second]})  # fmt: skip
        tables.append(table.assign(part=part))
    found = pd.concat(tables, ignore_index=True)
    train = np.flatnonzero(found["part"] == "train")
    found.loc[generator.choice(train, len(train) // 10, replace=False), "part"] = "validation"
    return found


def compare(table: pd.DataFrame, seed: int, *, fast: bool) -> list[dict[str, Any]]:
    """Return the test errors of all candidates, by what they read."""
    rows = []
    for name, columns in READ.items():
        with tempfile.TemporaryDirectory() as folder:
            model = mb.finetune(table, target="gap", smiles_column=columns, split="part", seed=seed, fast=fast,
                                out=Path(folder, "model"), progress=False)  # fmt: skip
            metrics = model.metrics
        errors = {kind: one["test"]["rmse"] for kind, one in metrics["candidates"].items()}
        errors["answer"] = metrics["test"]["rmse"]
        rows += [{"reads": name, "model": kind, "seed": seed, "rmse": error} for kind, error in errors.items()]
    return rows


def tabulate(rows: Sequence[dict[str, Any]]) -> str:
    """Return means and spreads over seeds, as Markdown."""
    lines = ["| model | " + " | ".join(READ) + " |", "| --- |" + " ---: |" * len(READ)]
    for kind in dict.fromkeys(row["model"] for row in rows):
        cells = []
        for name in READ:
            values = [row["rmse"] for row in rows if row["model"] == kind and row["reads"] == name]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--rows", type=int, default=1000, help="pairs to learn from; a fifth as many test")
    options.add_argument("--fast", action="store_true", help="without fine-tuning")
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--out", type=Path, default=OUT)
    args = options.parse_args(argv)
    frame = pd.read_csv(args.data / "moleculenet" / FILE)
    found = [row for seed in args.seeds for row in compare(pairs(frame, seed, args.rows), seed, fast=args.fast)]
    write_json(args.out, {"version": mb.__version__, "several": found})
    print(tabulate(found))


if __name__ == "__main__":
    main()
