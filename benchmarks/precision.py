"""Does bf16 learn as float32 does: the losses of one and the same pretraining run in both.

Weights are float32 in both runs; "bf16-mixed" computes in bfloat16 what autocast allows, with softmax and losses
in float32. Both see the same molecules in the same order, the same blends and the same noise. Training losses are means
over an epoch; validation scores every objective on held-out molecules.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from measure import machine, parse, parser, report
from rdkit import RDConfig

import dgl_moleblend as mb
from dgl_moleblend.config import FeaturizerConfig, TrainingConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.report.results import read_curves
from dgl_moleblend.request import Compute
from dgl_moleblend.train.pretrain import pretrain

NCI = Path(RDConfig.RDDataDir) / "NCI" / "first_200.props.sdf"
PRECISIONS = {"float32": "32-true", "bf16": "bf16-mixed"}
SIZES = {"tiny": mb.EncoderConfig.tiny, "small": mb.EncoderConfig.small, "base": mb.EncoderConfig.base}
LOSSES = ("loss", "spd", "bond_path", "positions", "denoising")
STAGES = ("train/loss_epoch", "validation/loss")
VALUES = {"float32": "float32|.4f", "bf16": "bf16|.4f", "relative": "bf16 / float32 - 1|+.2%"}


def compared(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Return rows with the relative difference."""
    return rows.assign(relative=rows["bf16"] / rows["float32"] - 1).to_dict("records")


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = parser(__doc__.splitlines()[0], rounds=1)
    options.add_argument("--input", default=str(NCI), help="file of molecules; an SDF's own positions are used")
    options.add_argument("--positions", choices=("given", "embed"), default="embed")
    options.add_argument("--molecules", type=int, help="the first so many (default: all; short: 24)")
    options.add_argument("--size", choices=SIZES, help="default: small; short: tiny")
    options.add_argument("--epochs", type=int, help="default: 20; short: 2")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--accelerator", default="cpu")
    args = parse(options, argv)
    args.size = args.size or ("tiny" if args.short else "small")
    args.epochs = args.epochs or (2 if args.short else 20)
    args.molecules = args.molecules or (24 if args.short else None)
    found = machine("cuda" if args.accelerator in ("gpu", "cuda") else "cpu")
    dataset = MoleculeDataset.from_file(args.input, featurizer=FeaturizerConfig(args.positions), progress=True)
    dataset = dataset.subset(range(min(len(dataset), args.molecules or len(dataset))))
    curves, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, precision in PRECISIONS.items():
            config = TrainingConfig(max_epochs=args.epochs, batch_size=args.batch)
            began = time.perf_counter()
            out = pretrain(dataset, os.path.join(folder, name), start=SIZES[args.size](), training=config,
                           validation=0.1, compute=Compute(args.accelerator, precision=precision))  # fmt: skip
            seconds[name] = time.perf_counter() - began
            curves[name] = read_curves(out)
    every = max(1, args.epochs // 10)
    rows = []
    for stage in STAGES:
        by_epoch = pd.DataFrame({name: curve[stage].dropna().to_numpy() for name, curve in curves.items()})
        by_epoch.insert(0, "epoch", by_epoch.index + 1)
        by_epoch.insert(0, "stage", stage.partition("/")[0])
        rows += compared(by_epoch[by_epoch["epoch"] % every == 0])
    last = {name: curve.filter(like="validation/").dropna().iloc[-1] for name, curve in curves.items()}
    names = [loss for loss in LOSSES if f"validation/{loss}" in last["float32"]]
    held_out = pd.DataFrame({name: [values[f"validation/{k}"] for k in names] for name, values in last.items()})
    held_out.insert(0, "loss", names)
    notes = [f"{len(dataset)} molecules of {Path(args.input).name}; {name}: {seconds[name]:.0f} s in all"
             for name in PRECISIONS]  # fmt: skip
    if args.json or not args.short:
        notes.append(f"curves: {draw(curves, args.json)}")
    sections = {"Loss by epoch": rows, "Validation, at the end": compared(held_out)}
    heads = ({"stage": "stage", "epoch": "epoch"}, {"loss": "loss"})
    columns = {title: head | VALUES for title, head in zip(sections, heads, strict=True)}
    return report("precision", args, found, sections, columns, notes)


def draw(curves: dict[str, pd.DataFrame], json: Path | None) -> Path:
    """Draw the validation losses of both runs beside the results."""
    path = (json or Path(__file__).parent / "results" / "precision.json").with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axis = plt.subplots(figsize=(6, 4))
    for name, curve in curves.items():
        for stage, style in zip(STAGES, (":", "-"), strict=True):
            values = curve[["step", stage]].dropna()
            axis.plot(values["step"], values[stage], style, label=f"{name}, {stage.partition('/')[0]}")
    axis.set(xlabel="optimiser step", ylabel="loss")
    axis.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
    return path


if __name__ == "__main__":
    main()
