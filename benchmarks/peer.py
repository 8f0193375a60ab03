"""The column of chemprop in the tables of `answers.py`: its own command, its defaults, the same rows and parts.

    python benchmarks/peer.py --chemprop ENVIRONMENT/bin/chemprop --names freesolv esol --seeds 0 1 2

The environment is one of its own, with chemprop 2.3.1 (`pip install chemprop==2.3.1`). Each data set and seed leaves a
JSON file under --out and is not computed again. Validation rows choose the epoch; test rows are predicted once.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from answers import DATA, MOLECULENET, OUT, problems

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.files import write_json
from dgl_moleblend.models.scores import METRICS, score
from dgl_moleblend.models.targets import find_task_type

PARTS = {"train": "train", "validation": "val", "test": "test"}
"""Names of parts, here and there."""


def as_table(dataset: MoleculeDataset, parts: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return a table as chemprop reads it: SMILES, labels (nothing where there is none), and which part a row is in."""
    table = pd.DataFrame({"smiles": dataset.smiles, **dict(zip(dataset.task_names, dataset.labels.T, strict=True))})
    table["split"] = ""
    for name, rows in parts.items():
        table.loc[rows, "split"] = PARTS[name]
    return table[table["split"] != ""]


def compute(dataset: MoleculeDataset, parts: dict[str, np.ndarray], command: str, seed: int) -> dict[str, Any]:
    """Train and test chemprop."""
    names = [*dataset.task_names]
    kind = find_task_type(dataset.labels, names)
    table, began = as_table(dataset, parts), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        table.to_csv(Path(folder, "data.csv"), index=False)
        asked = ["train", "-i", "data.csv", "-o", "model", "--smiles-columns", "smiles", "--target-columns", *names,
                 "--splits-column", "split", "--task-type", kind, "--pytorch-seed", str(seed)]  # fmt: skip
        subprocess.run([command, *asked], cwd=folder, check=True, capture_output=True)
        found = pd.read_csv(Path(folder, "model", "model_0", "test_predictions.csv"))
    test = table[table["split"] == "test"]
    if found["smiles"].tolist() != test["smiles"].tolist():
        raise RuntimeError("chemprop's predictions are not in the order of the rows it was given")
    scores = score(found[names].to_numpy(), test[names].to_numpy(), kind, names)
    metric = METRICS[kind][0]
    return {"metric": metric, "test": scores[metric], "rows": {name: len(rows) for name, rows in parts.items()},
            "seconds": time.perf_counter() - began}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--chemprop", required=True, help="its command, in an environment of its own")
    options.add_argument("--names", nargs="+", choices=MOLECULENET, default=list(MOLECULENET))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--out", type=Path, default=OUT / "chemprop")
    args = options.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        for problem in problems("moleculenet", args.data, [name]):
            found = []
            for seed in args.seeds:
                path = args.out / f"moleculenet-{name}-{seed}.json"
                if not path.exists():
                    write_json(path, compute(problem.dataset, problem.splits[0].parts, args.chemprop, seed))
                found.append(json.loads(path.read_text()))
            values = np.array([one["test"] for one in found])
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            print(f"{name} ({found[0]['metric']}): {values.mean():.3f}{spread}", flush=True)


if __name__ == "__main__":
    main()
