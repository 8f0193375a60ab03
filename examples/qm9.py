"""QM9: twelve properties from DFT geometries, one model for all of them, through the Python API.

The folder holds gdb9.sdf and gdb9.sdf.csv, gzipped or not. The positions of the SDF are taken as they are ("given");
energies become meV, in which they are customarily compared. MAE is that of test molecules drawn at random.

    python examples/qm9.py gdb9
    python examples/qm9.py gdb9 --molecules 2000 --epochs 5
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import dgl_moleblend as mb

# isort: split
import numpy as np

from dgl_moleblend.data.splits import split_by_method
from dgl_moleblend.readers.published import qm9
from dgl_moleblend.train.finetune import finetune

SAMPLE = Path(__file__).parents[1] / "../shared/data/qm9"
"""Where 10,000 molecules of QM9 may lie beside a clone of the repository."""
SOURCE = "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/gdb9.tar.gz"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="folder of gdb9.sdf and gdb9.sdf.csv")
    parser.add_argument("--uncharacterized", type=Path, help="the authors' list of molecules to leave out")
    parser.add_argument("--molecules", type=int, help="draw so many instead of all")
    parser.add_argument("--pretrained", type=Path, help="folder of a pretrained model to start from")
    parser.add_argument("--size", choices=["tiny", "small", "base"], default="small", help="of a fresh encoder")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--workers", type=int, default=0, help="processes that featurize and load batches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out", "qm9"), help="folder for the model")
    parser.add_argument("--overwrite", action="store_true", help="delete what an earlier run left there")
    args = parser.parse_args(arguments)
    folder = args.folder or SAMPLE
    if args.folder is None and not SAMPLE.is_dir():
        parser.error(f"give the folder of gdb9.sdf and gdb9.sdf.csv; they are in {SOURCE}")

    try:
        reader = qm9(folder, energies="meV", uncharacterized=args.uncharacterized)
    except mb.DataError as error:
        parser.error(f"{error}\nQM9 is in {SOURCE}")
    featurizer = mb.FeaturizerConfig(positions="given")
    dataset = mb.MoleculeDataset.from_reader(reader, featurizer=featurizer, workers=args.workers, progress=True)
    print(f"{len(dataset)} molecules, {len(dataset.rejects)} rejected")
    if args.molecules is not None:
        drawn = np.random.default_rng(args.seed).permutation(len(dataset))[: args.molecules]
        dataset = dataset.subset(np.sort(drawn))
    split = split_by_method(dataset, "random", seed=args.seed)
    print(f"random split: {split}")

    result = finetune(
        dataset,
        split,
        args.out,
        tasks=[mb.Task(name, "regression", unit) for name, unit in reader.units.items()],
        start=args.pretrained or getattr(mb.EncoderConfig, args.size)(),
        training=mb.TrainingConfig(
            max_epochs=args.epochs,
            batch_size=args.batch_size,
            learning_rate=args.lr,
            metric="loss",  # of standardised labels: a mean over twelve units would be that of the largest numbers
            seed=args.seed,
        ),
        compute=mb.Compute(workers=args.workers),
        overwrite=args.overwrite,
    )
    ours, mean = (scores["test"]["tasks"] for scores in (result.metrics, result.metrics["mean_predictor"]))
    print(f"{'test MAE':8} {'model':>14} {'mean predictor':>16}   unit")
    for name, unit in reader.units.items():
        print(f"{name:8} {ours[name]['mae']:14,.3f} {mean[name]['mae']:16,.3f}   {unit}")
    print(f"saved {args.out}; open {args.out / 'report.html'}")


if __name__ == "__main__":  # processes that load batches import this file again
    main()
