"""Pretrain the encoders that ship, and the study that chose their objectives, from prepared data.

    python benchmarks/pretraining_runs.py study prepared --steps 3000 --out study     (all variants, side by side)
    python benchmarks/pretraining_runs.py train prepared --size small --steps 15000 --out runs/small

`prepared` holds stores and targets.npz; training needs neither RDKit nor dgllife, so a bare GPU machine will do. A run
that was interrupted goes on with the same command.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from lightning.pytorch import Callback

from dgl_moleblend.config import BlendConfig, EncoderConfig, TrainingConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.molecule_targets import MoleculeTargets
from dgl_moleblend.request import Compute
from dgl_moleblend.train.pretrain import pretrain
from dgl_moleblend.train.run import is_finished

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"num_layers": 2, "feat_size": 32, "ffn_size": 32, "num_heads": 4, "num_kernels": 8},
    "mini": {"num_layers": 5, "feat_size": 128, "ffn_size": 384, "num_heads": 8, "num_kernels": 64},
    "small": {"num_layers": 8, "feat_size": 256, "ffn_size": 1024, "num_heads": 16, "num_kernels": 64},
}
LEARNING_RATE = {"tiny": 2e-3, "mini": 1e-3, "small": 5e-4}
CALIBRATION = (60, 180)
"""Steps between which a trial run is timed."""
FLAT = "corpus"
"""The store without positions; the others have them."""
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"groups": ()},
    "no-denoising": {"groups": (), "blend": {"denoising_weight": 0.0}},
    "descriptors": {"groups": ("descriptors",)},
    "labels": {"groups": ("labels",)},
    "both": {"groups": ("descriptors", "labels")},
    "both-whole": {"groups": ("descriptors", "labels"), "blend": {"whole": 0.5}},
    "both-whole-weak-denoising": {"groups": ("descriptors", "labels"),
                                  "blend": {"whole": 0.5, "denoising_weight": 1.0}},
    "both-whole-flat": {"groups": ("descriptors", "labels"), "blend": {"whole": 0.5}, "stores": (FLAT,)},
    # what the study taught: denoising at the paper's weight drowns all else, and so few epochs want no dropout
    "ships": {"groups": ("descriptors", "labels"),
              "blend": {"whole": 0.5, "denoising_weight": 0.1, "positions_weight": 0.1},
              "encoder": {"attention_dropout": 0.0, "activation_dropout": 0.0, "drop_path": 0.0}},
}  # fmt: skip


def open_prepared(folder: Path, variant: dict[str, Any]) -> tuple[MoleculeDataset, MoleculeTargets | None]:
    """Return molecules and targets of a variant."""
    names = json.loads((folder / "stores.json").read_text(encoding="utf-8"))
    wanted = variant.get("stores", tuple(names))
    dataset = MoleculeDataset.from_stores([folder / f"{name}.store" for name in names if name in wanted])
    if not variant["groups"]:
        return dataset, None
    targets = MoleculeTargets.read(folder / "targets.npz")
    sizes = [len(MoleculeDataset.from_store(folder / f"{name}.store")) for name in names]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    kept = [np.arange(starts[k], starts[k + 1]) for k, name in enumerate(names) if name in wanted]
    columns = [k for k, group in enumerate(targets.groups) if group in variant["groups"]]
    return dataset, targets.take(np.concatenate(kept)).select(columns)


class Clock(Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def steps_in(seconds: float, run: Callable[..., Any], config: TrainingConfig) -> int:
    """Return how many steps fit into a time, by a trial run of some."""
    clock, began = Clock(), time.perf_counter()
    with TemporaryDirectory() as folder:
        run(Path(folder) / "trial", config.replace(max_steps=CALIBRATION[1]), callbacks=[clock])
    step = (clock.times[-1] - clock.times[CALIBRATION[0]]) / (CALIBRATION[1] - 1 - CALIBRATION[0])
    left = seconds - (time.perf_counter() - began)
    print(f"{1000 * step:.1f} ms a step, {left:.0f} s left", flush=True)
    return max(int(0.93 * left / step), 1)


def train(args: argparse.Namespace) -> None:
    """Pretrain one encoder."""
    import torch

    torch.set_float32_matmul_precision("high")
    variant = VARIANTS[args.variant]
    dataset, targets = open_prepared(args.prepared, variant)
    config = TrainingConfig(
        max_epochs=100_000, max_steps=args.steps, batch_size=args.batch, warmup=0.05, seed=args.seed,
        learning_rate=args.learning_rate or LEARNING_RATE[args.size], weight_decay=0.01,
    )  # fmt: skip

    def run(out: Path, config: TrainingConfig, **settings: Any) -> Path:
        return pretrain(
            dataset, out, start=EncoderConfig(**SIZES[args.size], **variant.get("encoder", {})), targets=targets,
            training=config, blend=BlendConfig(**variant.get("blend", {})), validation=0.002,
            compute=Compute(precision=args.precision, workers=args.loader_workers, progress=False,
                            callbacks=tuple(settings.pop("callbacks", ()))), **settings,
        )  # fmt: skip

    began = time.perf_counter()
    resume = is_finished(args.out) is False
    if args.seconds and not resume:
        config = config.replace(max_steps=steps_in(args.seconds, run, config))
    run(args.out, config, resume=resume, overwrite=not resume)
    seconds = time.perf_counter() - began
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    facts = {"variant": args.variant, "size": args.size, "steps": config.max_steps, "batch": args.batch,
             "molecules": len(dataset), "seconds": seconds, "device": device, "resumed": resume}  # fmt: skip
    (args.out / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(
        f"{args.variant}, {args.size}: {config.max_steps} steps of {args.batch} in {seconds:.0f} s on {device}",
        flush=True,
    )


def study(args: argparse.Namespace) -> None:
    """Pretrain all variants at equal steps, side by side: on a GPU each waits for Python most of the time."""
    args.out.mkdir(parents=True, exist_ok=True)
    running = {}
    for name in args.variants:
        command = [sys.executable, __file__, "train", str(args.prepared), "--variant", name, "--size", args.size,
                   "--steps", str(args.steps), "--batch", str(args.batch), "--precision", args.precision,
                   "--loader-workers", str(args.loader_workers), "--out", str(args.out / name)]  # fmt: skip
        with (args.out / f"{name}.log").open("w") as log:
            running[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        if len(running) % args.parallel == 0:
            for process in running.values():
                process.wait()
    for name, process in running.items():
        print(name, "exit", process.wait(), (args.out / f"{name}.log").read_text()[-300:], flush=True)


def main() -> None:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = options.add_subparsers(required=True)
    for function in (train, study):
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(function=function)
        command.add_argument("prepared", type=Path)
        command.add_argument("--size", choices=SIZES, default="mini")
        command.add_argument("--steps", type=int, default=3000)
        command.add_argument("--batch", type=int, default=256)
        command.add_argument("--precision", default="32-true")
        command.add_argument("--loader-workers", type=int, default=1)
        command.add_argument("--out", type=Path, required=True)
        if function is study:
            command.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
            command.add_argument("--parallel", type=int, default=len(VARIANTS))
        else:
            command.add_argument("--variant", choices=VARIANTS, default="ships")
            command.add_argument("--learning-rate", type=float)
            command.add_argument("--seed", type=int, default=0)
            command.add_argument(
                "--seconds", type=float, help="as many steps as fit into this time, instead of --steps"
            )
    args = options.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
