"""Pretrain by blend-then-predict on the 3D structures of an SDF file, and save a folder to fine-tune from.

The structures are taken as they are in the file ("given"); labels are not needed. Afterwards:

    python examples/pretrain_sdf.py
    python examples/csv_regression.py --pretrained out/pretrain_sdf
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import dgl_moleblend as mb

# isort: split
from sample_data import EGFR_SDF

from dgl_moleblend.report.results import read_curves
from dgl_moleblend.train.pretrain import pretrain

OBJECTIVES = {
    "spd": "shortest-path class, cross-entropy",
    "bond_path": "bonds on the path, cross-entropy",
    "positions": "distance, smooth L1 error",
    "denoising": "direction of the noise, 1 - cosine",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sdf", type=Path, default=EGFR_SDF, help="structures with 3D coordinates")
    parser.add_argument("--size", choices=["tiny", "small", "base"], default="small")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--workers", type=int, default=0, help="processes that featurize and load batches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out", "pretrain_sdf"), help="folder for the model")
    parser.add_argument("--overwrite", action="store_true", help="delete what an earlier run left there")
    args = parser.parse_args(arguments)

    dataset = mb.MoleculeDataset.from_file(
        args.sdf, featurizer=mb.FeaturizerConfig(positions="given"), workers=args.workers, progress=True
    )
    print(f"{len(dataset)} molecules of {dataset.num_atoms.min()} to {dataset.num_atoms.max()} atoms")
    for reject in dataset.rejects.itertuples():
        print(f"rejected: {reject.source}, line {reject.line}: {reject.reason}")

    pretrain(
        dataset,
        args.out,
        start=getattr(mb.EncoderConfig, args.size)(),
        blend=mb.BlendConfig(ratio=(0.2, 0.2, 0.6), objective_3d="distance"),
        training=mb.TrainingConfig(
            max_epochs=args.epochs,
            batch_size=args.batch_size,
            learning_rate=args.lr,
            seed=args.seed,
        ),
        compute=mb.Compute(workers=args.workers),
        validation=0.1,
        overwrite=args.overwrite,
    )
    curves = read_curves(args.out)
    print("validation loss after the first and the last epoch:")
    for name, meaning in {"loss": "weighted sum", **OBJECTIVES}.items():
        values = curves[f"validation/{name}"].dropna()
        print(f"  {name:10} {values.iloc[0]:8.4f} {values.iloc[-1]:8.4f}   {meaning}")
    print(f"saved {args.out}; its losses are drawn in {args.out / 'curves.png'}")
    print(f"next:  python examples/csv_regression.py --pretrained {args.out}")


if __name__ == "__main__":  # processes that load batches import this file again
    main()
