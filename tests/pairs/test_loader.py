"""The loader: every molecule once an epoch, the same batches whatever the number of workers."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.rows import Sample
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.data.writer import StoreWriter
from dgl_moleblend.pairs.batch import MoleculeBatch
from dgl_moleblend.pairs.loader import BucketSampler, collate, make_loader, save_graphs

SIZES = np.random.default_rng(0).integers(1, 60, 203)


def sample(k: int, num_atoms: int, conformers: int = 3) -> Sample:
    bonds = np.stack([np.arange(num_atoms - 1), np.arange(1, num_atoms)], 1).astype(np.int32)
    positions = np.arange(conformers, dtype=np.float32)[:, None, None] + np.zeros((1, num_atoms, 3), np.float32)
    molecule = MoleculeArrays(
        np.full((num_atoms, 9), k % 2, np.uint8), bonds, np.zeros(len(bonds), np.uint8), positions
    )
    return Sample(molecule, np.array([k, np.nan], np.float32), row=2 * k, smiles="C" * num_atoms)


@pytest.fixture(scope="module")
def dataset() -> MoleculeDataset:
    return MoleculeDataset(
        MoleculeTable([record_batch([sample(k, n) for k, n in enumerate(SIZES)], 2)], task_names=["y", "z"])
    )


def plans(**options: object) -> list[list[int]]:
    epoch = options.pop("epoch", 0)
    sampler = BucketSampler(SIZES, 16, **options)  # type: ignore[arg-type]
    sampler.set_epoch(epoch)  # type: ignore[arg-type]
    assert len(sampler) == len(list(sampler))
    return [plan.index.tolist() for plan in sampler]


def flat(batches: list[list[int]]) -> list[int]:
    return [k for batch in batches for k in batch]


def test_collate_pads_and_remembers(dataset):
    batch = collate([dataset[4], dataset[9]], index=[4, 9], conformers=[1, 5])
    assert isinstance(batch.molecules, MoleculeBatch)
    assert batch.molecules.atom_mask.sum(1).tolist() == [SIZES[4], SIZES[9]]
    assert batch.index.tolist() == [4, 9]
    assert batch.row.tolist() == [8, 18]
    assert batch.labels[:, 0].tolist() == [4, 9]
    assert batch.labels[:, 1].isnan().all()
    assert batch.molecules.positions[0, 0, 0] == 1.0
    assert batch.molecules.positions[1, 0, 0] == 2.0, "conformer 5 of 3 is conformer 2"
    moved = batch.to("meta")
    assert moved.molecules.atom.device.type == moved.labels.device.type == "meta"


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize("max_pairs", [None, 20_000])
def test_every_molecule_is_met_once(shuffle, bucket, max_pairs):
    batches = plans(shuffle=shuffle, bucket=bucket, max_pairs=max_pairs)
    assert sorted(flat(batches)) == list(range(len(SIZES)))
    assert max(map(len, batches)) <= 16
    if not shuffle and not bucket:
        assert flat(batches) == list(range(len(SIZES)))


def test_epochs_and_seeds_differ_and_repeat():
    assert plans(shuffle=True, seed=1, epoch=3) == plans(shuffle=True, seed=1, epoch=3)
    assert plans(shuffle=True, seed=1, epoch=3) != plans(shuffle=True, seed=1, epoch=4)
    assert plans(shuffle=True, seed=1, epoch=3) != plans(shuffle=True, seed=2, epoch=3)
    members = [{frozenset(batch) for batch in plans(shuffle=True, epoch=epoch)} for epoch in range(2)]
    assert members[0] != members[1], "batches are put together anew, not only in another order"
    assert plans() == plans(seed=5, epoch=7), "without shuffling the order is the data set's"


def test_molecules_of_like_size_share_a_batch():
    def padding(batches: list[list[int]]) -> float:
        padded = sum(len(batch) * SIZES[batch].max() ** 2 for batch in batches)
        return 1 - sum(int((SIZES[batch] ** 2).sum()) for batch in batches) / padded

    assert padding(plans(shuffle=True)) < 0.15
    assert padding(plans(shuffle=True, bucket=False)) > 0.4
    first = [SIZES[batch].max() for batch in plans(shuffle=True)]
    assert first != sorted(first), "small molecules do not always come first"


def test_max_pairs_bounds_memory():
    batches = plans(shuffle=True, max_pairs=5_000)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * SIZES[batch].max() ** 2 <= 5_000
    assert len(batches) > len(plans(shuffle=True))
    assert sorted(flat(plans(max_pairs=1))) == list(range(len(SIZES))), "one molecule at a time at the least"


def test_drop_last():
    batches = plans(shuffle=True, drop_last=True)
    assert {len(batch) for batch in batches} == {16}
    assert len(batches) == len(SIZES) // 16


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("drop_last", [False, True])
def test_processes_share_an_epoch(world_size, drop_last):
    parts = [
        plans(shuffle=True, drop_last=drop_last, rank=rank, world_size=world_size, epoch=2)
        for rank in range(world_size)
    ]
    assert len({len(part) for part in parts}) == 1, "every process takes the same number of steps"
    met = [k for part in parts for k in flat(part)]
    if drop_last:
        assert len(set(met)) == len(met)
    else:
        assert set(met) == set(range(len(SIZES)))
        assert len(met) - len(SIZES) <= 16 * (world_size - 1)
    for step in zip(*parts, strict=True):
        assert max(SIZES[batch].max() for batch in step) <= 3 * max(SIZES[batch].min() for batch in step) + 20


@pytest.mark.parametrize("num_atoms", [[], [5]])
def test_tiny_data_sets(num_atoms):
    sampler = BucketSampler(np.array(num_atoms, np.int64), 4, shuffle=True)
    assert [plan.index.tolist() for plan in sampler] == [[0]] * len(num_atoms)


@pytest.mark.parametrize(("option", "value"), [("batch_size", 0), ("max_pairs", 0)])
def test_wrong_settings_are_named(option, value):
    with pytest.raises(ValueError, match=f"{option}=0 is not allowed"):
        BucketSampler(SIZES, **({"batch_size": 4} | {option: value}))


def test_workers_make_the_same_batches(dataset):
    def epoch_of(num_workers: int) -> list[tuple[list[int], torch.Tensor]]:
        loader = make_loader(dataset, 16, shuffle=True, seed=3, num_workers=num_workers)
        out = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            out += [(batch.index.tolist(), batch.molecules.positions) for batch in loader]
        return out

    alone, shared = epoch_of(0), epoch_of(2)
    assert len(alone) == 2 * -(-len(SIZES) // 16)
    for (left, left_positions), (right, right_positions) in zip(alone, shared, strict=True):
        assert left == right
        assert torch.equal(left_positions, right_positions)


def test_conformers_change_with_the_epoch(dataset):
    def conformer_of(epoch: int, **options: object) -> np.ndarray:
        loader = make_loader(dataset, 16, **options)  # type: ignore[arg-type]
        loader.sampler.set_epoch(epoch)
        out = np.full(len(dataset), -1.0)
        for batch in loader:
            out[batch.index] = batch.molecules.positions[:, 0, 0]
        return out

    first, second = conformer_of(0, shuffle=True), conformer_of(1, shuffle=True)
    assert set(first) == {0.0, 1.0, 2.0}
    assert (first != second).mean() > 0.4
    np.testing.assert_array_equal(first, conformer_of(0, shuffle=True))
    assert set(conformer_of(1)) == {0.0}, "evaluation takes the first"


def test_subsets_keep_rows_and_labels(dataset):
    part = dataset.subset([7, 3, 100]).select_tasks(["z", "y"])
    (batch,) = make_loader(part, 8)
    assert batch.index.tolist() == [0, 1, 2]
    assert batch.row.tolist() == [14, 6, 200]
    assert batch.labels[:, 1].tolist() == [7, 3, 100]
    assert batch.molecules.atom_mask.sum(1).tolist() == SIZES[[7, 3, 100]].tolist()


def test_a_model_is_trained_from_a_store_without_rdkit(tmp_path):
    writer = StoreWriter(tmp_path / "s", featurizer=FeaturizerConfig(), task_names=["y", "z"], sources=[""])
    writer.write_shard(record_batch([sample(k, n) for k, n in enumerate(SIZES[:20])], 2), [])
    writer.finish()
    code = f"""
import sys
from dgl_moleblend.cli import main
main(["pretrain", {str(tmp_path / "s")!r}, "--size", "tiny", "--epochs", "1", "--loader-workers", "1", "--quiet",
      "-o", {str(tmp_path / "model")!r}], standalone_mode=False)
assert "torch" in sys.modules
assert "rdkit" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_a_store_is_loaded_without_rdkit_by_fresh_workers(tmp_path):
    writer = StoreWriter(tmp_path / "s", featurizer=FeaturizerConfig(), task_names=["y", "z"], sources=[""])
    writer.write_shard(record_batch([sample(k, n) for k, n in enumerate(SIZES)], 2), [])
    writer.finish()
    code = f"""
import sys
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.pairs.loader import make_loader
if __name__ == "__main__":
    dataset = MoleculeDataset.from_store({str(tmp_path / "s")!r})
    loader = make_loader(dataset, 32, shuffle=True, num_workers=1)
    loader.multiprocessing_context = "spawn"
    rows = sorted(row for batch in loader for row in batch.row.tolist())
    assert rows == list(range(0, 406, 2)), rows
    assert "rdkit" not in sys.modules
"""
    script = tmp_path / "load.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_graphs_for_dgl_say_where_single_precision_makes_labels_equal(tmp_path, caplog):
    labels = np.array([[999999999.98], [1000000000.0], [np.nan], [np.nan]])
    samples = [dataclasses.replace(sample(k, 3), labels=row) for k, row in enumerate(labels)]
    table = MoleculeTable([record_batch(samples, 1)], ["y"])
    save_graphs(MoleculeDataset(table), tmp_path / "graphs.bin")
    assert "labels of 'y' differ by less than float32 can tell" in caplog.text
