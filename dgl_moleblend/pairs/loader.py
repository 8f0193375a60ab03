"""Molecules of like size -> batches, by worker processes, the same for any number of them."""

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dgl_moleblend.config import check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.molecule_targets import MoleculeTargets
from dgl_moleblend.data.rows import Sample
from dgl_moleblend.data.sites import SiteValues
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import write_atomically
from dgl_moleblend.pairs.batch import MoleculeBatch, TensorStruct

log = logging.getLogger(__name__)
_WINDOW = 64  # batches: molecules are sorted by size within so many, and shuffled beyond


@dataclass(frozen=True, eq=False, repr=False)
class TrainingBatch(TensorStruct):
    """b molecules with their labels, and which they are.

    Parameters
    ----------
    molecules : MoleculeBatch
        Of several molecules a row, the first of every row, then the second of every row, and so on.
    labels : Tensor, shape (b, t), float64
        NaN = missing. In their own unit, whose digits float32 may not hold; scaled labels are float32.
    index : Tensor, shape (b,), int64
        Number of the molecule in the data set.
    row : Tensor, shape (b,), int64
        Number of its input row.
    bounds : Tensor, shape (b, t), int8
        1 where the value is above its label, -1 below, 0 where it is the label.
    """

    molecules: MoleculeBatch
    labels: Float[Tensor, "b t"]
    index: Integer[Tensor, " b"]
    row: Integer[Tensor, " b"]
    bounds: Integer[Tensor, "b t"]


def collate(
    samples: Sequence[Sample], index: Sequence[int] | None = None, conformers: Sequence[int] | None = None
) -> TrainingBatch:
    """Put samples in a batch.

    Parameters
    ----------
    samples : sequence of Sample
        At least one.
    index : sequence of int, optional
        Their numbers in the data set; by default 0, 1, ...
    conformers : sequence of int, optional
        Which conformer of each (modulo their number); by default the first.
    """
    several = 1 + len(samples[0].partners)
    arrays = [sample.molecule for sample in samples]
    arrays += [sample.partners[k] for k in range(several - 1) for sample in samples]
    return TrainingBatch(
        molecules=MoleculeBatch.from_arrays(arrays, None if conformers is None else [*conformers] * several),
        labels=torch.from_numpy(np.stack([sample.labels for sample in samples])),
        index=torch.as_tensor(np.arange(len(samples)) if index is None else np.asarray(index, np.int64)),
        row=torch.as_tensor([sample.row for sample in samples]),
        bounds=torch.from_numpy(np.stack([sample.relations for sample in samples])),
    )


@dataclass(frozen=True)
class BatchPlan:
    """Which molecules make a batch, and which conformer of each."""

    index: np.ndarray
    conformers: np.ndarray


class BucketSampler(Sampler[BatchPlan]):
    """Plan an epoch's batches of molecules of like size; the plan depends on nothing but the arguments and the epoch.

    Molecules are shuffled, sorted by size within windows of 64 batches, cut into batches, and the batches shuffled.

    Parameters
    ----------
    num_atoms : ndarray, shape (N,)
        Size of every molecule.
    batch_size : int
        Molecules per batch (and process, in distributed training).
    shuffle : bool
        False keeps the order of the data set, unless `bucket` asks for sorting.
    seed : int
    bucket : bool, optional
        Whether molecules of like size share a batch; by default as `shuffle`.
    drop_last : bool
        Leave out the batch that is not full; in distributed training, also those that not every process gets.
    max_pairs : int, optional
        Upper limit of b * n * n in a batch, n being the atoms of its largest molecule: bounds memory. A molecule that
        is larger on its own is a batch on its own.
    rank, world_size : int, optional
        This process and the number of processes; by default as torch.distributed says. Every process gets the same
        number of batches: without `drop_last` some are repeated for that.

    Attributes
    ----------
    begin : int
        The batch that the next pass begins with, 0 again afterwards: a run resumed in the middle of an epoch sets it.
    """

    def __init__(
        self,
        num_atoms: np.ndarray,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        bucket: bool | None = None,
        drop_last: bool = False,
        max_pairs: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        check(batch_size >= 1, "batch_size", batch_size, "at least 1")
        check(max_pairs is None or max_pairs >= 1, "max_pairs", max_pairs, "at least 1")
        self.num_atoms = np.asarray(num_atoms)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.bucket = shuffle if bucket is None else bucket
        self.drop_last, self.max_pairs = drop_last, max_pairs
        self._rank, self._world_size = rank, world_size
        self.epoch = 0
        self.begin = 0
        self._plan: tuple[tuple[int, int, int], list[BatchPlan]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; Lightning calls this by itself."""
        self.epoch = epoch

    def _process(self) -> tuple[int, int]:
        if self._rank is not None and self._world_size is not None:
            return self._rank, self._world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def plan(self) -> list[BatchPlan]:
        """Return this epoch's batches of this process."""
        rank, world_size = self._process()
        key = (self.epoch, rank, world_size)
        if self._plan is None or self._plan[0] != key:
            self._plan = key, self._make(rank, world_size)
        return self._plan[1]

    def _make(self, rank: int, world_size: int) -> list[BatchPlan]:
        generator = np.random.default_rng([self.seed, self.epoch])
        size = len(self.num_atoms)
        order = generator.permutation(size) if self.shuffle else np.arange(size)
        conformers = generator.integers(0, 1 << 30, size) if self.shuffle else np.zeros(size, np.int64)
        window = _WINDOW * self.batch_size * world_size if self.bucket else size
        batches: list[np.ndarray] = []
        for start in range(0, size, max(window, 1)):
            part = order[start : start + window]
            if self.bucket:
                part = part[np.argsort(self.num_atoms[part], kind="stable")]
            batches += self._cut(part)
        # processes work on consecutive batches at the same time, so these stay together
        groups = [batches[k : k + world_size] for k in range(0, len(batches), world_size)]
        if groups and len(groups[-1]) < world_size:
            short = groups.pop()
            if not self.drop_last:
                groups.append([*short, *(batches[k % len(batches)] for k in range(world_size - len(short)))])
        if self.shuffle:
            groups = [groups[k] for k in generator.permutation(len(groups))]
        return [BatchPlan(group[rank], conformers[group[rank]]) for group in groups]

    def _cut(self, part: np.ndarray) -> list[np.ndarray]:
        if self.max_pairs is None:
            cuts = list(range(self.batch_size, len(part), self.batch_size))
        else:
            cuts, start, largest = [], 0, 0
            for k, atoms in enumerate(self.num_atoms[part].tolist()):
                largest = max(largest, atoms)
                count = k + 1 - start
                if count > 1 and (count > self.batch_size or count * largest**2 > self.max_pairs):
                    cuts.append(k)
                    start, largest = k, atoms
        batches = np.split(part, cuts) if len(part) else []
        if self.drop_last and self.max_pairs is None:
            batches = [batch for batch in batches if len(batch) == self.batch_size]
        return batches

    def __iter__(self) -> Iterator[BatchPlan]:
        begin, self.begin = self.begin, 0
        return iter(self.plan()[begin:])

    def __len__(self) -> int:
        return len(self.plan())


class _Batches(Dataset[TrainingBatch]):
    """A data set whose items are whole batches, so that workers collate them."""

    def __init__(self, dataset: MoleculeDataset, targets: MoleculeTargets | SiteValues | None = None) -> None:
        self.dataset = dataset
        self.targets = targets

    def __getitem__(self, plan: BatchPlan) -> TrainingBatch:  # type: ignore[override]
        samples = [self.dataset[k] for k in plan.index.tolist()]
        batch = collate(samples, plan.index.tolist(), plan.conformers.tolist())
        if self.targets is None:
            return batch
        return dataclasses.replace(batch, labels=torch.from_numpy(self.targets.rows(plan.index)))


def _as_it_is(batch: Any) -> TrainingBatch:
    return batch


def make_loader(
    dataset: MoleculeDataset,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    bucket: bool | None = None,
    drop_last: bool = False,
    max_pairs: int | None = None,
    pin_memory: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    targets: MoleculeTargets | SiteValues | None = None,
) -> DataLoader[TrainingBatch]:
    r"""Return a loader of `TrainingBatch`es that is the same for any number of workers.

    Its `sampler.set_epoch(epoch)` chooses the epoch: another order, and another conformer of molecules with several.
    Lightning calls it; give its Trainer ``use_distributed_sampler=False``, because the sampler divides batches between
    processes itself.

    Parameters
    ----------
    dataset : MoleculeDataset
    num_workers : int
        Processes that load batches; of a store they map the files again and copy nothing.
    pin_memory : bool
        Whether batches are put in page-locked memory for CUDA.
    batch_size, shuffle, seed, bucket, drop_last, max_pairs, rank, world_size
        See `BucketSampler`.
    targets : MoleculeTargets or SiteValues, optional
        Of these very molecules; they take the place of the labels, of sites as rows of all sites of the batch.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "alkanes.smi")
    >>> _ = path.write_text("C\nCC\nCCC\nCCCC\n")
    >>> loader = make_loader(MoleculeDataset.from_file(path), batch_size=2)
    >>> [batch.molecules.atom_mask.sum(1).tolist() for batch in loader]
    [[1, 2], [3, 4]]
    """
    sampler = BucketSampler(dataset.num_atoms, batch_size, shuffle=shuffle, seed=seed, bucket=bucket,
                            drop_last=drop_last, max_pairs=max_pairs, rank=rank, world_size=world_size)  # fmt: skip
    return DataLoader(
        _Batches(dataset, targets),
        batch_size=None,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
    )


def make_inference_loader(
    dataset: MoleculeDataset, batch_size: int, *, num_workers: int = 0, pin_memory: bool = False
) -> DataLoader[TrainingBatch]:
    """Return a loader that shows each molecule once for every conformer it has (once if it has none).

    Molecules of like size share a batch, of at most ``batch_size * 128**2`` pairs. Whoever predicts adds up results by
    the batch's `index`, and divides by how often each was met.

    Parameters
    ----------
    dataset : MoleculeDataset
    batch_size, num_workers, pin_memory
        See `make_loader`.
    """
    sampler = BucketSampler(dataset.num_atoms, batch_size, bucket=True, max_pairs=batch_size * 128**2, rank=0,
                            world_size=1)  # fmt: skip
    times = np.maximum(dataset.num_conformers, 1)
    plans = [
        BatchPlan(index, np.full(len(index), k))
        for plan in sampler.plan()
        for k in range(int(times[plan.index].max()))
        for index in [plan.index[times[plan.index] > k]]
    ]
    return DataLoader(
        _Batches(dataset),
        batch_size=None,
        sampler=plans,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
    )


def save_graphs(dataset: MoleculeDataset, path: str | os.PathLike[str], *, batch_size: int = 32) -> None:
    """Write a data set as DGLGraphs for `dgl.load_graphs`, in its order, with "labels" (N, t) and "rows" (N,).

    Where some labels are bounds, also "bounds" (N, t): 1 where the value is above its label, -1 below, else 0.

    Parameters
    ----------
    dataset : MoleculeDataset
        All its graphs, which hold n * n pairs each, are in memory at the end: for small sets.
    path : path
        Usually ends in .bin; a file that is there is replaced when the new one is whole.
    batch_size : int
        Molecules whose relations are made at a time.

    Raises
    ------
    DataError
        If the file cannot be written, such as on a full disk.
    """
    import dgl

    graphs = [None] * len(dataset)
    for batch in make_loader(dataset, batch_size, bucket=True, max_pairs=batch_size * 128**2):
        relations = batch.molecules.relations()
        for k, graph in zip(batch.index.tolist(), dgl.unbatch(relations.to_graph()), strict=True):
            graphs[k] = graph
    labels = dataset.labels.astype(np.float32)  # what losses in DGL's training loops take
    for name, exact, rounded in zip(dataset.task_names, dataset.labels.T, labels.T, strict=True):
        if len(np.unique(exact)) > len(np.unique(rounded)):
            log.warning("labels of %r differ by less than float32 can tell, and became equal in %s", name, path)
    tensors = {"labels": torch.from_numpy(labels), "rows": torch.from_numpy(dataset.rows.copy())}
    if (bounds := dataset.bounds).any():
        tensors["bounds"] = torch.from_numpy(bounds.astype(np.int8))

    def write(temporary: Path) -> None:
        try:
            dgl.save_graphs(str(temporary), graphs, tensors)
        except dgl.DGLError as error:
            raise OSError("DGL could not write all of it") from error

    try:
        write_atomically(Path(path), write)
    except OSError as error:
        raise DataError(f"the graphs cannot be written: {error}", where=os.fspath(path),
                        fix="make room, or give a folder that can be written to") from error  # fmt: skip
