"""Reading a store: what was written is what is read, or there is a clear error."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from stores import assert_same, make, sample, shard, writer

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.codec import arrow_schema, record_batch
from dgl_moleblend.data.store import MoleculeStore, sha256
from dgl_moleblend.errors import DataError


def test_what_is_written_is_read(tmp_path):
    store = make(tmp_path / "s")
    kept = [row for row in range(8) if row != 2]
    assert len(store) == 7
    for k, row in enumerate(kept):
        assert_same(store[k], sample(row, row % 5 + 1, row % 3))
        assert_same(store[k - 7], store[k])
        np.testing.assert_array_equal(store.molecule(k).atom, store[k].molecule.atom)
    with pytest.raises(IndexError, match="molecule 7 of a table of 7"):
        store[7]
    assert store.rows.tolist() == kept
    assert store.num_atoms.tolist() == [row % 5 + 1 for row in kept]
    assert store.num_bonds.tolist() == [row % 5 for row in kept]
    assert store.num_conformers.tolist() == [row % 3 for row in kept]
    assert store.ids == [f"id{row}" for row in kept]
    assert store.smiles == ["C" * (row % 5 + 1) for row in kept]
    assert store.labels[:, 0].tolist() == kept
    assert np.isnan(store.labels[:, 1]).all(), "a missing label is NaN"
    assert store.atom_counts().sum() == store.num_atoms.sum()
    assert store.featurizer == FeaturizerConfig()
    assert store.rejects["row"].tolist() == [2, 8, 9, 10, 11]
    assert store.rejects.iloc[0].tolist() == [2, "a.csv", 4, "id2", "C1CC", "parse", "a ring is open"]
    counts = store.manifest["counts"]
    assert counts["rows"] == counts["kept"] + counts["rejected"] == 12
    assert counts["atoms"] == store.num_atoms.sum()
    assert counts["bonds"] == store.num_bonds.sum()
    assert counts["with_conformer"] == (store.num_conformers > 0).sum()


def test_molecules_are_mapped_not_copied(tmp_path):
    store = make(tmp_path / "s")
    before = pa.total_allocated_bytes()
    again = MoleculeStore(tmp_path / "s")
    molecule = again[3].molecule
    assert not molecule.atom.flags.owndata
    assert not molecule.positions.flags.owndata
    assert not molecule.atom.flags.writeable, "a caller cannot write into the file by mistake"
    assert pa.total_allocated_bytes() - before < 4096
    assert len(store) == len(again)


def test_shards_are_mapped_without_open_files(tmp_path):
    """A store of thousands of shards must not use up the files that a process may have open."""
    resource = pytest.importorskip("resource")
    out = writer(tmp_path / "s")
    for k in range(60):
        out.write_shard(*shard(4 * k))
    out.finish()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.open(tmp_path, os.O_RDONLY)
    os.close(highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
    try:
        store = MoleculeStore(tmp_path / "s")
        again = pickle.loads(pickle.dumps(store))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert_same(store[239], sample(239, 239 % 5 + 1, 239 % 3))
    assert_same(again[3], store[3])


def test_pandas_reads_a_shard(tmp_path):
    make(tmp_path / "s")
    frame = pd.read_feather(tmp_path / "s" / "shard-00000.arrow")
    assert frame["smiles"].tolist() == ["C", "CC", "CCCC"]
    assert len(frame["atom"][2]) == 4


def test_a_store_goes_to_workers_by_its_path(tmp_path):
    store = make(tmp_path / "s")
    sent = pickle.dumps(store)
    assert len(sent) < 500
    assert_same(pickle.loads(sent)[5], store[5])


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_truncated_shard_is_refused(tmp_path, cut):
    make(tmp_path / "s")
    path = tmp_path / "s" / "shard-00001.arrow"
    os.truncate(path, path.stat().st_size + cut if cut < 0 else cut)
    with pytest.raises(DataError, match=r"the shard has [\d,]+ bytes, manifest.json says") as error:
        MoleculeStore(tmp_path / "s")
    assert str(path) in str(error.value)


def test_a_missing_or_foreign_shard_is_refused(tmp_path):
    make(tmp_path / "s")
    path = tmp_path / "s" / "shard-00001.arrow"
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(DataError, match="checksum"):
        MoleculeStore(tmp_path / "s")
    with pytest.raises(DataError, match="the shard cannot be read"):
        MoleculeStore(tmp_path / "s", verify=False)
    foreign = record_batch([sample(row) for row in range(3)], 2, ["a.csv"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, foreign.schema) as out:
        out.write_batch(foreign)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    manifest["shards"][1]["bytes"] = path.stat().st_size
    (tmp_path / "s" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="does not belong to this manifest"):
        MoleculeStore(tmp_path / "s", verify=False)
    path.unlink()
    with pytest.raises(DataError, match="a shard is missing"):
        MoleculeStore(tmp_path / "s")


def test_one_changed_bit_is_found(tmp_path):
    atoms = make(tmp_path / "s")[5].molecule.atom.tobytes()
    path = tmp_path / "s" / "shard-00001.arrow"
    data = bytearray(path.read_bytes())
    data[data.index(atoms)] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="checksum is not the one in the manifest") as error:
        MoleculeStore(tmp_path / "s")
    assert "shard-00001.arrow" in str(error.value)
    store = MoleculeStore(tmp_path / "s", verify=False)
    with pytest.raises(DataError, match="checksum"):
        store.verify()
    assert len(pickle.loads(pickle.dumps(store))) == 7, "a copy in a worker does not read everything again"


def test_any_changed_byte_is_found(tmp_path):
    make(tmp_path / "s")
    rng = np.random.default_rng(0)
    for name in ("shard-00000.arrow", "shard-00001.arrow", "rejects.csv"):
        path = tmp_path / "s" / name
        whole = path.read_bytes()
        for place in rng.integers(0, len(whole), 40):
            data = bytearray(whole)
            data[place] ^= rng.integers(1, 256)
            path.write_bytes(data)
            with pytest.raises(DataError):
                MoleculeStore(tmp_path / "s")
        path.write_bytes(whole)
    MoleculeStore(tmp_path / "s")


def test_damaged_rejects_are_refused(tmp_path):
    make(tmp_path / "s")
    path = tmp_path / "s" / "rejects.csv"
    whole = path.read_text()
    path.write_text(whole + "12,a.csv\n")
    with pytest.raises(DataError, match="the list of rejects is damaged"):
        MoleculeStore(tmp_path / "s")
    path.write_text(whole.replace("parse", "parsE", 1))
    with pytest.raises(DataError, match="checksum"):
        MoleculeStore(tmp_path / "s")
    path.unlink()
    with pytest.raises(DataError, match="it is missing or empty"):
        MoleculeStore(tmp_path / "s")


def test_other_versions_and_damaged_manifests(tmp_path):
    make(tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(
        DataError, match="the store has layout 1 and schema 99; this version reads layout 1 and schema 1"
    ):
        MoleculeStore(tmp_path / "s")
    path.write_text(json.dumps({"format": "something"}))
    with pytest.raises(DataError, match="this manifest is not a store's"):
        MoleculeStore(tmp_path / "s")
    path.write_bytes(b"\xff\x00{")
    with pytest.raises(DataError, match="the manifest is damaged"):
        MoleculeStore(tmp_path / "s")


def test_reading_a_store_imports_no_rdkit_and_no_dgl(tmp_path):
    make(tmp_path / "s")
    code = (
        "import sys; from dgl_moleblend.data.store import MoleculeStore;"
        f"assert len(MoleculeStore({str(tmp_path / 's')!r})[0].molecule.atom) == 1;"
        "assert not {'rdkit', 'dgl', 'click'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_store_of_before_whose_labels_are_single_precision_opens(tmp_path):
    make(tmp_path / "s")
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    del manifest["label_type"]
    for entry in manifest["shards"]:
        path = tmp_path / "s" / entry["file"]
        batch = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).get_batch(0)
        column = pa.array(batch.column("labels").to_pylist(), pa.list_(pa.float32(), 2))
        before = arrow_schema(2, "float32")
        batch = pa.record_batch([*batch.columns[:-1], column], schema=before)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, before) as out:
            out.write_batch(batch)
        entry |= {"bytes": path.stat().st_size, "sha256": sha256(path)}
    (tmp_path / "s" / "manifest.json").write_text(json.dumps(manifest))
    store = MoleculeStore(tmp_path / "s")
    assert store.labels.dtype == np.float64
    assert store[1].labels[0] == 1
    with pytest.raises(DataError, match=r"another label_type: None there, 'float64' now"):
        writer(tmp_path / "s")
