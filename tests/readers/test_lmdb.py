"""Uni-Mol's LMDB files: molecules, conformers and targets; hostile values run nothing."""

import gzip
import os
import pickle
from pathlib import Path

import lmdb
import numpy as np
import pytest

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.featurize import featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.lmdb import UniMolReader, read_value
from dgl_moleblend.unpacking import MAX_UNPACKED


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def write(path: Path, values: dict[str, bytes]) -> Path:
    with lmdb.open(str(path), subdir=False, map_size=1 << 24) as environment, environment.begin(write=True) as out:
        for key, value in values.items():
            out.put(key.encode(), value)
    return path


def value(smiles: str, atoms: list[str], conformers: int = 2, **more: object) -> bytes:
    rng = np.random.default_rng(len(atoms))
    coordinates = [rng.normal(size=(len(atoms), 3)).astype(np.float32) for _ in range(conformers)]
    return pickle.dumps({"smi": smiles, "atoms": atoms, "coordinates": coordinates} | more)


def test_molecules_conformers_and_targets(tmp_path):
    flat = np.array([[0, 0, 0], [1.5, 0, 0]], np.float32)
    both = [np.array([[0, 0, 0], [1.2, 0, 0.9]], np.float32), flat]
    path = write(
        tmp_path / "train.lmdb",
        {
            "0": value("CO", ["C", "O", "H", "H", "H", "H"], target=[1.0, np.nan]),
            "10": gzip.compress(value("CCO", ["C", "C", "O"], target=np.array([3.0, 4.0]))),
            "2": value("CC", ["C", "C"], coordinates=both, target=[5.0, 6.0]),
        },
    )
    reader = UniMolReader(path)
    assert reader.task_names == ("target_0", "target_1")
    table = featurize_to_table(reader, PipelineConfig(FeaturizerConfig("given")))
    assert table.rejects.empty
    assert table.ids == ["0", "2", "10"], "keys in the order of their numbers"
    assert table.num_atoms.tolist() == [2, 2, 3]
    assert table.num_conformers.tolist() == [2, 1, 2], "the flat depiction beside a conformer is none"
    np.testing.assert_array_equal(table.labels, [[1, np.nan], [5, 6], [3, 4]])
    expected = np.random.default_rng(6).normal(size=(6, 3)).astype(np.float32)[:2]
    np.testing.assert_allclose(table[0].molecule.positions[0], expected, rtol=1e-6)
    assert UniMolReader(path, ["a", "b"]).task_names == ("a", "b")
    with pytest.raises(DataError, match="there are 2 targets, not 1"):
        UniMolReader(path, ["a"])


def test_what_cannot_be_read_costs_its_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(
        tmp_path / "a.lmdb",
        {
            "0": value("CO", ["C", "O"]),
            "1": pickle.dumps(Hostile()),
            "2": pickle.dumps({"smi": "CO", "atoms": Hostile()}),
            "3": b"\x80\x04junk",
            "4": pickle.dumps([1, 2]),
            "5": value("CO", ["C", "N"]),
            "6": value("CO", ["C"]),
            "7": pickle.dumps({"smi": "CO", "atoms": ["C", "O"], "coordinates": [[1, 2], [3]]}),
            "8": value("C1C", ["C", "C"]),
            "9": b"",
        },
    )
    table = featurize_to_table(UniMolReader(path), PipelineConfig(FeaturizerConfig("given")))
    assert table.rows.tolist() == [0]
    assert table.rejects["row"].tolist() == list(range(1, 10))
    stages = ["read", "read", "read", "read", "parse", "parse", "read", "parse", "read"]
    assert table.rejects["stage"].tolist() == stages
    assert "posix.system, which is not opened" in table.rejects["reason"][0]
    assert not (tmp_path / "hacked").exists()


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        UniMolReader(tmp_path / "none.lmdb")
    (tmp_path / "junk.lmdb").write_bytes(b"junk" * 5_000)
    with pytest.raises(DataError, match="this is no LMDB file"):
        UniMolReader(tmp_path / "junk.lmdb")


def test_arrays_of_either_numpy_are_opened():
    for protocol in (2, 4, 5):
        array = read_value(pickle.dumps({"x": np.arange(6.0).reshape(2, 3), "y": np.float32(2)}, protocol))
        np.testing.assert_array_equal(array["x"], [[0, 1, 2], [3, 4, 5]])
        assert array["y"] == 2


def test_a_value_that_would_fill_the_memory_is_a_row_of_its_own(tmp_path):
    path = write(tmp_path / "a.lmdb", {"0": value("CO", ["C", "O"]), "1": gzip.compress(bytes(MAX_UNPACKED + 1))})
    _, row = UniMolReader(path)
    assert (row.id, row.stage) == ("1", "read")
    assert row.error == "the value cannot be read: it unpacks to more than 67,108,864 bytes"
