"""Small stores written down by hand, for tests of what is written and what is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.rows import Reject, Sample
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.data.writer import StoreWriter


def sample(row: int, num_atoms: int = 3, conformers: int = 1) -> Sample:
    rng = np.random.default_rng(row)
    molecule = MoleculeArrays(
        atom=rng.integers(0, 2, (num_atoms, 9)).astype(np.uint8),
        bond_index=np.stack([np.arange(num_atoms - 1), np.arange(1, num_atoms)], 1).astype(np.int32),
        bond_id=rng.integers(0, 60, num_atoms - 1).astype(np.uint8),
        positions=rng.normal(size=(conformers, num_atoms, 3)).astype(np.float32),
    )
    labels = np.array([row, np.nan], np.float32)
    return Sample(molecule, labels, row, "a.csv", row + 2, f"id{row}", "C" * num_atoms)


def reject(row: int) -> Reject:
    return Reject(row, "a.csv", row + 2, f"id{row}", "C1CC", "parse", "a ring is open")


def writer(folder: Path, **changes: object) -> StoreWriter:
    arguments = {"featurizer": FeaturizerConfig(), "task_names": ["y", "z"], "sources": ["a.csv"], "shard_size": 4}
    return StoreWriter(folder, **(arguments | changes))  # type: ignore[arg-type]


def shard(first: int, rejected: tuple[int, ...] = ()) -> tuple[pa.RecordBatch, list[Reject]]:
    rows = range(first, first + 4)
    samples = [sample(row, row % 5 + 1, row % 3) for row in rows if row not in rejected]
    return record_batch(samples, 2, ["a.csv"]), [reject(row) for row in rejected]


def make(folder: Path) -> MoleculeStore:
    out = writer(folder)
    out.write_shard(*shard(0, rejected=(2,)))
    out.write_shard(*shard(4))
    out.write_shard(*shard(8, rejected=(8, 9, 10, 11)))
    return out.finish()


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same(a: Sample, b: Sample) -> None:
    for name in ("atom", "bond_index", "bond_id", "positions"):
        left, right = getattr(a.molecule, name), getattr(b.molecule, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert (a.row, a.source, a.line, a.id, a.smiles) == (b.row, b.source, b.line, b.id, b.smiles)
