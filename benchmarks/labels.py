"""Labels that say less than a number: values known to lie above a bound, beside leaving them out; classes.

    python benchmarks/labels.py bounds
    python benchmarks/labels.py classes --tables esol lipophilicity

Bounds: BACE's pIC50. A share of the values above 8, drawn by the seed, becomes ">8" (all: an assay with a ceiling).
Three contenders see the same training and validation rows: "value" the numbers as they are, "bound" the bounds,
"dropped" none of these rows. What the bounds of the test rows hide is known here, so that two errors are told: of the
test rows whose value all contenders would know, and of all. Classes: a measured value cut in three at its terciles, of
the answer of `finetune --fast` beside what it compares. Both are split at random, 80 / 10 / 10, by the seed.
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
from dgl_moleblend.chem.descriptors import describe
from dgl_moleblend.chem.feature_table import FeatureTable
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.folds import divide_rows
from dgl_moleblend.data.splits import split_by_method
from dgl_moleblend.files import write_json
from dgl_moleblend.models.censored import fit_with_bounds
from dgl_moleblend.models.kernel import KernelModel
from dgl_moleblend.models.trees import TreeModel
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.readers.memory import MoleculeList
from dgl_moleblend.request import Compute
from dgl_moleblend.schema import FEATURE_KINDS
from dgl_moleblend.train.auto import FOLDS, finetune_auto
from dgl_moleblend.train.comparison import CANDIDATES, Comparison, network_training
from dgl_moleblend.train.finetune import finetune

Parts = dict[str, np.ndarray]
DATA = Path(__file__).parents[2] / "shared" / "data"
OUT = Path(__file__).parent / "results" / "labels"
MOLECULENET = {"esol": ("delaney-processed.csv.gz", "measured log solubility in mols per litre"),
               "lipophilicity": ("Lipophilicity.csv.gz", "exp")}  # fmt: skip
"""Files, and which column of theirs is cut in three."""
SHOWN = ("roc_auc", "mcc", "balanced_accuracy", "accuracy")
CEILING = 8.0
CONTENDERS = ("value", "bound", "dropped")


def bounded(frame: pd.DataFrame, table: FeatureTable, share: float, seed: int, args: argparse.Namespace) -> list[Any]:
    """Return the test errors of all contenders and kinds of models, for bounds drawn by one seed."""
    truth = frame["pIC50"].to_numpy(float)
    high = np.flatnonzero(truth > CEILING)
    chosen = np.random.default_rng(seed).choice(high, round(share * len(high)), replace=False)
    is_bound = np.isin(np.arange(len(truth)), chosen)
    rows = []
    for contender in CONTENDERS:
        cells = [f">{CEILING}" if hidden and contender == "bound" else value
                 for hidden, value in zip(is_bound, truth.tolist(), strict=True)]  # fmt: skip
        dataset = MoleculeDataset.from_reader(MoleculeList(frame["mol"].tolist(), {"pIC50": cells}))
        parts = {**split_by_method(dataset, "random", seed=seed).parts}
        if contender == "dropped":
            parts |= {name: parts[name][~is_bound[parts[name]]] for name in ("train", "validation")}
        for kind in args.kinds:
            fit = _fit_network if kind == "network" else _fit
            error = fit(dataset, table, parts, kind, seed, args.epochs) - truth[parts["test"]]
            exact = ~is_bound[parts["test"]]
            rows.append({
                "share": share, "bounds": len(chosen), "seed": seed, "contender": contender, "kind": kind,
                "exact": float(np.sqrt(np.mean(error[exact] ** 2))), "all": float(np.sqrt(np.mean(error**2))),
                "hidden": float(np.mean(error[~exact])) if (~exact).any() else None,
            })  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def _fit(
    dataset: MoleculeDataset, table: FeatureTable, parts: Parts, kind: str, seed: int, epochs: int | None
) -> np.ndarray:
    """Return what trees or a kernel machine predict of the test rows, as `finetune` fits them."""
    rows = np.concatenate([parts["train"], parts["validation"]])
    folds = divide_rows(dataset.subset(rows), FOLDS, seed=seed)
    known = table.take(rows)

    def fit(labels: np.ndarray) -> KernelModel | TreeModel:
        if kind == "kernel":
            return KernelModel.fit(known, labels, "regression", folds, seed=seed)
        return TreeModel.fit(known, labels, "regression", folds, seed=seed, jobs=-1)

    model = fit_with_bounds(fit, dataset.labels[rows], dataset.bounds[rows])
    return model.predict(table.take(parts["test"])).ravel()


def _fit_network(
    dataset: MoleculeDataset, table: FeatureTable, parts: Parts, kind: str, seed: int, epochs: int | None
) -> np.ndarray:
    """Return what the fine-tuned encoder predicts of the test rows."""
    training = network_training(len(parts["train"]), seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        finetune(dataset, parts, out, start="mini", training=training.replace(max_epochs=epochs or training.max_epochs),
                 compute=Compute(progress=False), report=False)  # fmt: skip
        return PropertyModel.from_pretrained(out).predict(dataset.subset(parts["test"]), progress=False).ravel()


def classes(name: str, seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the test scores of all candidates and of the answer, for a value that is cut in three."""
    file, column = MOLECULENET[name]
    frame = pd.read_csv(args.data / "moleculenet" / file, nrows=args.rows)
    tier = pd.qcut(frame[column], 3, labels=["low", "middle", "high"]).astype(str)
    dataset = MoleculeDataset.from_reader(MoleculeList(frame["smiles"].tolist(), {"tier": tier.tolist()}))
    split = split_by_method(dataset, "random", seed=seed)
    training = network_training(len(split.parts["train"]) + len(split.parts["validation"]), seed)
    compared = Comparison(tuple(one for one in CANDIDATES if one != "network"))
    with tempfile.TemporaryDirectory() as folder:
        found = finetune_auto(dataset, split, Path(folder) / "model", start="mini", comparison=compared,
                              training=training, compute=Compute(progress=False), report=False).metrics  # fmt: skip
    rows = {**{one: row["test"] for one, row in found["candidates"].items()}, "the answer": found["test"]}
    done = [{"table": name, "seed": seed, "model": one, **{key: row[key] for key in SHOWN}}
            for one, row in rows.items()]  # fmt: skip
    print(*done, sep="\n", flush=True)
    return done


def tabulate_classes(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table of means over seeds, and their deviations."""
    lines = [f"| table | model | {' | '.join(SHOWN)} |", "|---|---|" + "---:|" * len(SHOWN)]
    for table, model in dict.fromkeys((row["table"], row["model"]) for row in rows):
        same = [row for row in rows if (row["table"], row["model"]) == (table, model)]
        lines.append(f"| {table} | {model} | {' | '.join(_cell([row[key] for row in same]) for key in SHOWN)} |")
    return "\n".join(lines)


def tabulate(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table of means over seeds, and their deviations."""
    lines = ["| bounds | model | labels | RMSE, exact test rows | RMSE, all test rows | mean error, hidden values |",
             "|---|---|---|---:|---:|---:|"]  # fmt: skip
    keys = dict.fromkeys((row["bounds"], row["kind"], row["contender"]) for row in rows)
    for bounds, kind, contender in keys:
        same = [r for r in rows if (r["bounds"], r["kind"], r["contender"]) == (bounds, kind, contender)]
        cells = [_cell([row[name] for row in same if row[name] is not None]) for name in ("exact", "all", "hidden")]
        lines.append(f"| {bounds} | {kind} | {contender} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}" if values else "-"


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("question", choices=("bounds", "classes"))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--shares", nargs="+", type=float, default=[0.25, 1.0])
    options.add_argument("--kinds", nargs="+", choices=("trees", "kernel", "network"), default=["trees", "kernel"])
    options.add_argument("--tables", nargs="+", choices=MOLECULENET, default=["esol"], help="of classes")
    options.add_argument("--epochs", type=int, help="of the network")
    options.add_argument("--rows", type=int, help="the first of the table alone")
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--out", type=Path, default=OUT)
    args = options.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.question == "bounds":
        frame = pd.read_csv(args.data / "moleculenet" / "bace.csv.gz", nrows=args.rows)
        table = describe(frame["mol"].tolist(), FEATURE_KINDS)
        found = [row for share in args.shares for seed in args.seeds
                 for row in bounded(frame, table, share, seed, args)]  # fmt: skip
        text = tabulate(found)
    else:
        found = [row for name in args.tables for seed in args.seeds for row in classes(name, seed, args)]
        text = tabulate_classes(found)
    write_json(args.out / f"{args.question}.json", {"version": mb.__version__, args.question: found})
    print(text)


if __name__ == "__main__":
    main()
