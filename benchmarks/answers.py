"""How good the answer of `finetune` is: all it compares, on MoleculeACE, MoleculeNet and ADMET, one setting for all.

    python benchmarks/answers.py --tables moleculeace moleculenet admet --candidates mean forest trees kernel frozen

Each problem leaves a JSON file under --out and is not computed again; interrupt it when you like. Test rows are looked
at once. MoleculeACE has its own split, MoleculeNet dgllife's scaffold split (80 / 10 / 10), ADMET five scaffold folds.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import dgl_moleblend as mb
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.folds import split_into_folds
from dgl_moleblend.data.given_splits import split_by_column
from dgl_moleblend.data.splits import split_by_method
from dgl_moleblend.files import write_json
from dgl_moleblend.models.scores import METRICS
from dgl_moleblend.readers.published import moleculenet
from dgl_moleblend.request import Compute
from dgl_moleblend.train.auto import finetune_auto
from dgl_moleblend.train.comparison import CANDIDATES, Comparison, network_training

DATA = Path(__file__).parents[2] / "shared" / "data"
OUT = Path(__file__).parent / "results" / "answers"
MOLECULENET = ("freesolv", "esol", "bace", "bbbp", "lipophilicity", "tox21")
PUBLISHED = ("SVM-ECFP", "CheMeleon", "RF_Morgan", "Chemprop")
ANSWER = "weighted mean"


class Problem(NamedTuple):
    """A data set, divided once or in folds."""

    table: str
    name: str
    dataset: MoleculeDataset
    splits: list[Any]


def problems(table: str, data: Path, names: Sequence[str] | None) -> Iterator[Problem]:
    """Read the data sets of a table, one after the other."""
    if table == "moleculeace":
        for file in sorted((data / table).glob("CHEMBL*.csv.gz"), key=lambda path: path.stat().st_size):
            name = file.name.removesuffix(".csv.gz")
            if names is None or name in names:
                dataset = MoleculeDataset.from_file(file, smiles_column="smiles", task_columns=["y"])
                yield Problem(table, name, dataset, [split_by_column(dataset, [file], "split", smiles_column="smiles")])
    elif table == "moleculenet":
        for name in MOLECULENET:
            if names is None or name in names:
                dataset = MoleculeDataset.from_reader(moleculenet(name, data / table))
                yield Problem(table, name, dataset, [split_by_method(dataset, "scaffold")])
    else:
        for file in sorted((data / table).glob("*.csv.gz"), key=lambda path: path.stat().st_size):
            name = file.name.removesuffix(".csv.gz")
            if names is None or name in names:
                dataset = MoleculeDataset.from_file(file, task_columns=[name])
                yield Problem(table, name, dataset, split_into_folds(dataset, 5, "scaffold"))


def compute(problem: Problem, args: argparse.Namespace) -> dict[str, Any]:
    """Fit and score all candidates, in every fold."""
    began, runs = time.perf_counter(), []
    for split in problem.splits:
        with tempfile.TemporaryDirectory() as folder:
            found = finetune_auto(
                problem.dataset, split, Path(folder) / "model", start=args.encoder,
                comparison=Comparison(tuple(args.candidates)),
                training=network_training(len(split.parts["train"]) + len(split.parts["validation"]), args.seed),
                compute=Compute(workers=args.workers, progress=False),
            )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)
        metric = METRICS[found.metrics["task_type"]][0]
        rows = {**found.metrics["candidates"], ANSWER: {**found.metrics, "weight": 1.0}}
        runs.append({
            "rows": found.metrics["rows"], "skipped": found.metrics["skipped"], "metric": metric,
            "scores": {name: {"cross_validation": row["cross_validation"][metric], "test": row["test"][metric],
                              "weight": row["weight"], "seconds": row.get("seconds")} for name, row in rows.items()},
        })  # fmt: skip
    return {
        "table": problem.table,
        "problem": problem.name,
        "seconds": time.perf_counter() - began,
        "runs": runs,
        "candidates": args.candidates,
        "encoder": str(args.encoder),
        "seed": args.seed,
        "version": mb.__version__,
    }


def _join_seeds(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one entry a data set and choice of candidates: folds of all its seeds, seconds of them all."""
    joined: dict[tuple[str, ...], dict[str, Any]] = {}
    for one in found:
        entry = joined.setdefault((one["problem"], *one["candidates"]), {**one, "runs": [], "seconds": 0.0})
        entry["runs"] = [*entry["runs"], *one["runs"]]
        entry["seconds"] += one["seconds"]
    return list(joined.values())


def tabulate(folder: Path, data: Path) -> str:
    """Return a Markdown table: mean test score over folds and seeds, their deviation behind it."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    lines = []
    for table in dict.fromkeys(one["table"] for one in found):
        rows = _join_seeds([one for one in found if one["table"] == table])
        names = [name for name in (*CANDIDATES, ANSWER) if any(name in one["runs"][0]["scores"] for one in rows)]
        published = pd.read_csv(data / "moleculeace" / "published.csv") if table == "moleculeace" else None
        extra: list[str] = []
        if published is not None:
            published = published.pivot_table("rmse", "dataset", "model")
            extra = [name for name in PUBLISHED if name in published.columns]
        heading = " | ".join([*names, *extra])
        lines += ["", f"| {table} | {heading} | s |", "|---" * (len(names) + len(extra) + 2) + "|"]
        sums: dict[str, list[float]] = {}
        for one in rows:
            cells = []
            for name in names:
                values = [run["scores"][name]["test"] for run in one["runs"] if name in run["scores"]]
                values = [value for value in values if value is not None]
                sums.setdefault(name, []).append(statistics.mean(values)) if values else None
                spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
                cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "-")
            if published is not None:
                for name in extra:
                    value = float(published.loc[one["problem"], name])
                    sums.setdefault(name, []).append(value)
                    cells.append(f"{value:.3f}")
            metric = one["runs"][0]["metric"]
            lines.append(f"| {one['problem']} ({metric}) | " + " | ".join(cells) + f" | {one['seconds']:.0f} |")
        if len({one["runs"][0]["metric"] for one in rows}) == 1 and len(rows) > 1:
            means = [f"{statistics.mean(sums[name]):.4f}" for name in [*names, *extra] if name in sums]
            lines.append(f"| mean of {len(rows)} | " + " | ".join(means) + " | |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tables", nargs="*", choices=("moleculeace", "moleculenet", "admet"), default=[])
    options.add_argument("--names", nargs="+", help="these data sets alone")
    options.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    options.add_argument("--encoder", default="mini", help="what frozen states and fine-tuning start from")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workers", type=int, default=0, help="processes that compute features")
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--out", type=Path, default=OUT)
    args = options.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for table in args.tables:
        for problem in problems(table, args.data, args.names):
            path = args.out / f"{table}-{problem.name}-{args.seed}.json"
            if not path.exists():
                write_json(path, compute(problem, args))
                print(f"{path.name}: {json.loads(path.read_text())['seconds']:.0f} s", flush=True)
    print(tabulate(args.out, args.data))


if __name__ == "__main__":
    main()
