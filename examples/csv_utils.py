"""What csv_regression.py and csv_classification.py share: arguments, data, split, batches, model."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import dgl_moleblend as mb  # first: after it, `import dgl` and `import dgllife` work on any torch

# isort: split
import dgl
import pandas as pd
import torch
from dgllife.data import MoleculeCSVDataset
from dgllife.utils import RandomSplitter, ScaffoldSplitter
from torch import Tensor
from torch.utils.data import DataLoader, Subset


def make_parser(description: str, default_data: str, out: str, metrics: list[str]) -> argparse.ArgumentParser:
    """Return the arguments of both scripts."""
    parser = argparse.ArgumentParser(
        description=description.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("-c", "--csv", type=Path, help=f"molecules and labels; without it: {default_data}")
    parser.add_argument("-sc", "--smiles-column", default="smiles")
    parser.add_argument("-t", "--tasks", nargs="+", help="columns of labels; without it: all but the SMILES")
    parser.add_argument("-s", "--split", choices=["scaffold", "random"], default="scaffold")
    parser.add_argument("-sr", "--split-ratio", nargs=3, type=float, default=[0.8, 0.1, 0.1])
    parser.add_argument("-me", "--metric", choices=metrics, default=metrics[0])
    parser.add_argument("--positions", choices=["none", "embed"], default="none", help="2D only, or embed conformers")
    parser.add_argument("--pretrained", type=Path, help="start from the encoder of this model folder")
    parser.add_argument("--size", choices=["tiny", "small", "base"], default="small", help="of a fresh encoder")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--patience", type=int, default=10, help="epochs without a better validation score")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--jobs", type=int, default=1, help="processes that featurize")
    parser.add_argument("--workers", type=int, default=0, help="processes that load batches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out", out), help="folder for the results")
    return parser


def load_dataset(args: argparse.Namespace, frame: pd.DataFrame) -> MoleculeCSVDataset:
    """Featurize a table; molecules that cannot be used are listed in rejects.csv."""
    args.out.mkdir(parents=True, exist_ok=True)
    rejects = args.out / "rejects.csv"
    dataset = MoleculeCSVDataset(
        df=frame,
        smiles_to_graph=mb.MoleculeFeaturizer(positions=args.positions, on_error="none"),
        smiles_column=args.smiles_column,
        task_names=args.tasks,
        cache_file_path=str(args.out / "graphs.bin"),
        n_jobs=args.jobs,
        error_log=str(rejects),
    )
    print(f"{len(dataset)} molecules, {len(frame) - len(dataset)} rejected ({rejects})")
    return dataset


def split_dataset(args: argparse.Namespace, dataset: MoleculeCSVDataset) -> tuple[Subset, Subset, Subset]:
    """Return training, validation and test molecules."""
    shares = dict(zip(("frac_train", "frac_val", "frac_test"), args.split_ratio, strict=True))
    if args.split == "scaffold":
        return ScaffoldSplitter.train_val_test_split(dataset, log_every_n=None, **shares)
    return RandomSplitter.train_val_test_split(dataset, random_state=args.seed, **shares)


def collate_molgraphs(data: Iterable[tuple]) -> tuple[list[str], dgl.DGLGraph, Tensor, Tensor]:
    """Put (SMILES, graph, labels, mask) of several molecules in a batch."""
    smiles, graphs, labels, masks = zip(*data, strict=True)
    return list(smiles), dgl.batch(graphs), torch.stack(labels), torch.stack(masks)


def make_loader(args: argparse.Namespace, dataset: Subset, *, shuffle: bool = False) -> DataLoader:
    """Return batches of molecules."""
    return DataLoader(dataset, args.batch_size, shuffle=shuffle, num_workers=args.workers, collate_fn=collate_molgraphs)


def load_model(args: argparse.Namespace, n_tasks: int) -> mb.MoleBlendPredictor:
    """Return a fresh model, or a fresh property head on a pretrained encoder."""
    if args.pretrained:
        return mb.MoleBlendPredictor.from_pretrained(args.pretrained, n_tasks=n_tasks)
    config = getattr(mb.EncoderConfig, args.size)()
    return mb.MoleBlendPredictor(n_tasks=n_tasks, encoder=mb.MoleBlendEncoder.from_config(config))


def predict(model: mb.MoleBlendPredictor, bg: dgl.DGLGraph, device: torch.device) -> Tensor:
    """Return the model's output for a batched graph, on any device.

    ``model(bg)`` is enough on a CPU. The DGL that pip installs knows no GPU, while torch may: the padded view of the
    same batch is made of torch's tensors alone.
    """
    return model(mb.RelationBatch.from_graph(bg).to(device))
