"""Molecules a second that a loader can feed: from a data set to relations, ready for a model.

* plain: a data set that makes the DGLGraph of a molecule when it is asked for, DGL's `GraphDataLoader`, which batches
  the graphs, and the batch padded.
* ready: the same, but all graphs were made beforehand and are in memory, which takes 19 bytes a pair.
* ours: a store on disk, `make_loader`, batches of molecules of like size, and relations made of a whole batch in the
  process that trains.

One epoch, shuffled, with 0 to 4 worker processes, which stay alive between epochs; their memory is counted too. Speeds
are compared with the plain form without workers.
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import dgl_moleblend as mb  # first: dgl can be imported afterwards

# isort: split
import numpy as np
import torch
from dgl import DGLGraph
from dgl.dataloading import GraphDataLoader
from inputs import bench_arrays, padding_share
from measure import Step, compare, machine, parse, parser, report

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.rows import Sample
from dgl_moleblend.data.writer import StoreWriter
from dgl_moleblend.pairs.batch import MoleculeBatch
from dgl_moleblend.pairs.loader import BucketSampler, make_loader

COLUMNS = {
    "contender": "contender",
    "workers": "workers",
    "molecules_per_s": "molecules/s|.0f",
    "seconds": "s per epoch|.4f",
    "fastest": "fastest|.4f",
    "slowest": "slowest|.4f",
    "peak_mb": "peak MB|.0f",
    "before_mb": "MB before|.0f",
    "times_plain": "speed / plain|.2f",
}
BATCHES = {"batches": "batches", "padded_atoms": "padding, atoms|.1%", "padded_pairs": "padding, pairs|.1%"}


def write_store(folder: Path, molecules: Sequence[MoleculeArrays]) -> None:
    """Write molecules to a store, each with one label."""
    labels = np.zeros(1, np.float32)
    samples = [Sample(molecule, labels, row, "bench") for row, molecule in enumerate(molecules)]
    config = mb.FeaturizerConfig(positions="given")
    writer = StoreWriter(folder, featurizer=config, task_names=["y"], sources=["bench"])
    try:
        for start in range(0, len(samples), writer.shard_size):
            writer.write_shard(record_batch(samples[start : start + writer.shard_size], 1, ["bench"]), [])
        writer.finish()
    finally:
        writer.close()


def build(name: str, folder: Path, batch_size: int) -> Step:
    """Return one epoch of a contender; it gives the number of molecules and the sum of their distances in bonds."""
    way, workers = name.split()[0], int(name.split()[1])
    dataset = mb.MoleculeDataset.from_store(folder)
    if way != "ours":
        items = Graphs(dataset) if way == "plain" else list(Graphs(dataset))
        graphs = GraphDataLoader(items, batch_size=batch_size, shuffle=True, num_workers=workers,
                                 persistent_workers=workers > 0)  # fmt: skip
        return lambda: _use(mb.RelationBatch.from_graph(graph) for graph in graphs)
    loader = make_loader(dataset, batch_size, shuffle=True, num_workers=workers)
    return lambda: _use(batch.molecules.relations() for batch in loader)


class Graphs(Sequence[DGLGraph]):
    """The graphs of a data set, each made when it is asked for."""

    def __init__(self, dataset: mb.MoleculeDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> DGLGraph:
        return MoleculeBatch.from_arrays([self._dataset[index].molecule]).relations().to_graph()


def _use(batches: Iterable[mb.RelationBatch]) -> tuple[int, int]:
    molecules = bonds = 0
    for batch in batches:
        molecules += batch.num_molecules
        bonds += int(batch.spd.clamp(min=0).sum(dtype=torch.int64))
    return molecules, bonds


def check(folder: Path, batch_size: int) -> None:
    """Compare what both feed in an epoch.

    Raises
    ------
    RuntimeError
        If these are other molecules.
    """
    plain, ours = (build(name, folder, batch_size)() for name in ("plain 0", "ours 0"))
    if plain != ours:
        raise RuntimeError(f"plain and ours feed other molecules: {plain} and {ours}")


def padding(molecules: Sequence[MoleculeArrays], batch_size: int, bucket: bool) -> dict[str, float]:
    """Return the mean shares of padding over the batches of an epoch."""
    sizes = np.array([molecule.num_atoms for molecule in molecules])
    plan = BucketSampler(sizes, batch_size, shuffle=True, bucket=bucket).plan()
    shares = [padding_share([molecules[k] for k in batch.index]) for batch in plan]
    return {f"padded_{name}": float(np.mean([share[name] for share in shares])) for name in ("atoms", "pairs")}


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = parser(__doc__.splitlines()[0], rounds=5)
    options.add_argument("--molecules", type=int, help="in the store (default: 4096, short: 256)")
    options.add_argument("--batch", type=int, default=64, help="molecules per batch")
    options.add_argument("--workers", type=int, nargs="+", help="default: 0 1 2 4; short: 0 1")
    args = parse(options, argv)
    args.molecules = args.molecules or (256 if args.short else 4096)
    args.workers = args.workers or ([0, 1] if args.short else [0, 1, 2, 4])
    found = machine()
    molecules = bench_arrays(args.molecules)
    names = [f"{way} {workers}" for workers in args.workers for way in ("plain", "ours")] + ["ready 0"]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        write_store(store, molecules)
        check(store, args.batch)
        measured = compare(names, build, store, args.batch, args=args)
    rows = []
    for name, values in measured.items():
        way, workers = name.split()
        rows.append({"contender": way, "workers": workers, **values,
                     "molecules_per_s": args.molecules / values["seconds"],
                     "times_plain": measured[names[0]]["seconds"] / values["seconds"]})  # fmt: skip
    batches = [{"batches": text, **padding(molecules, args.batch, bucket)}
               for text, bucket in (("of any size", False), ("of like size", True))]  # fmt: skip
    sections = {"Loading": rows, "Padding": batches}
    columns = dict(zip(sections, (COLUMNS, BATCHES), strict=True))
    return report("loader", args, found, sections, columns)


if __name__ == "__main__":
    main()
