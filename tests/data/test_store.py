"""The store: what was written is what is read, at any moment, or there is a clear error."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data import writer as writer_module
from dgl_moleblend.data.codec import MAX_ATOMS, record_batch
from dgl_moleblend.data.rows import Reject, Sample, rejects_frame
from dgl_moleblend.data.codec import arrow_schema
from dgl_moleblend.data.store import MoleculeStore, sha256
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.data.writer import StoreWriter
from dgl_moleblend.errors import DataError


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


def test_a_table_goes_to_workers_by_value():
    table = MoleculeTable([shard(0)[0]], ["y", "z"], ["a.csv"], rejects_frame([reject(7)]))
    again = pickle.loads(pickle.dumps(table))
    assert_same(again[2], table[2])
    assert again.rejects.equals(table.rejects)
    assert again.task_names == ("y", "z")


def test_tables_without_labels_molecules_or_batches():
    empty = MoleculeTable([record_batch([], 2)], ["y", "z"])
    assert len(empty) == 0
    assert empty.labels.shape == (0, 2)
    none = MoleculeTable([], ["y"])
    assert len(none) == 0
    assert none.labels.shape == (0, 1)
    assert none.num_atoms.tolist() == []
    bare = Sample(sample(0).molecule, np.empty(0, np.float32), 0)
    table = MoleculeTable([record_batch([bare], 0)])
    assert table[0].labels.shape == (0,)
    assert table.labels.shape == (1, 0)


def test_molecules_too_large_for_a_bond_are_refused():
    big = MoleculeArrays(
        np.zeros((MAX_ATOMS + 1, 9), np.uint8),
        np.zeros((0, 2), np.int32),
        np.zeros(0, np.uint8),
        np.zeros((0, MAX_ATOMS + 1, 3), np.float32),
    )
    with pytest.raises(DataError, match="65,536 atoms; a store keeps molecules of up to 65,535"):
        record_batch([Sample(big, np.empty(0, np.float32), 0)], 0)


def test_the_same_input_makes_the_same_bytes(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_an_interrupted_store_is_readable_on_request_and_goes_on(tmp_path):
    make(tmp_path / "whole")
    first = writer(tmp_path / "s")
    assert first.next_row == 0
    first.write_shard(*shard(0, rejected=(2,)))
    first.close()
    with pytest.raises(DataError, match="the store is unfinished: 4 input rows are done") as error:
        MoleculeStore(tmp_path / "s")
    assert "run the same featurize command again" in str(error.value)
    part = MoleculeStore(tmp_path / "s", allow_partial=True)
    assert len(part) == 3
    assert part.rejects["row"].tolist() == [2]
    # what a run leaves that is killed after writing a shard, before the manifest says so
    (tmp_path / "s" / "shard-00001.arrow").write_bytes(b"half a shard")
    (tmp_path / "s" / ".tmp-shard-00002.arrow").write_bytes(b"half a shard")
    with (tmp_path / "s" / "rejects.csv").open("a") as file:
        file.write("5,half a")
    assert MoleculeStore(tmp_path / "s", allow_partial=True).rejects["row"].tolist() == [2]
    second = writer(tmp_path / "s")
    assert second.next_row == 4
    second.write_shard(*shard(4))
    second.write_shard(*shard(8, rejected=(8, 9, 10, 11)))
    second.finish()
    assert content(tmp_path / "s") == content(tmp_path / "whole")


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import test_store
from dgl_moleblend.data.codec import arrow_schema
from dgl_moleblend.data.store import MoleculeStore, sha256

def run(folder):
    out = test_store.writer(folder)
    shards = [test_store.shard(0, rejected=(2,)), test_store.shard(4), test_store.shard(8, rejected=(8, 9, 10, 11))]
    for shard in shards[out.next_row // 4:]:
        out.write_shard(*shard)
    if not out.complete:
        out.finish()

def die_after(steps):
    for name in ("fsync", "replace", "truncate", "unlink"):
        def call(*args, real=getattr(os, name), **kwargs):
            nonlocal steps
            steps -= 1
            if steps < 0:
                os.kill(os.getpid(), 9)
            return real(*args, **kwargs)
        setattr(os, name, call)

whole = Path(sys.argv[1])
for steps in range(1_000):
    folder = Path(sys.argv[2], str(steps))
    child = os.fork()
    if child == 0:
        die_after(steps)
        run(folder)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if (folder / "manifest.json").exists():
        MoleculeStore(folder, allow_partial=True)
    run(folder)
    assert test_store.content(folder) == test_store.content(whole), steps
    if status == 0:
        print(steps, "kills")
        break
    assert status == 9, status
"""


def test_a_run_killed_at_any_step_goes_on_to_the_same_bytes(tmp_path):
    """Killed by signal 9 before each call to the file system in turn, then run again."""
    make(tmp_path / "whole")
    script = tmp_path / "crash.py"
    script.write_text(CRASH.format(folder=str(Path(__file__).parent)))
    (tmp_path / "runs").mkdir()
    command = [sys.executable, script, tmp_path / "whole", tmp_path / "runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 20


def test_other_arguments_do_not_mix(tmp_path):
    make(tmp_path / "s")
    assert writer(tmp_path / "s").complete
    with pytest.raises(DataError, match=r"another featurizer\['seed'\]: 0 there, 1 now"):
        writer(tmp_path / "s", featurizer=FeaturizerConfig(seed=1))
    with pytest.raises(DataError, match=r"another task_names: \['y', 'z'\] there, \['y'\] now") as error:
        writer(tmp_path / "s", task_names=["y"])
    assert "--overwrite" in str(error.value)
    replaced = writer(tmp_path / "s", shard_size=2, overwrite=True)
    assert replaced.next_row == 0
    assert sorted(content(tmp_path / "s")) == ["manifest.json", "rejects.csv"]


def test_folders_that_are_something_else(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"not empty and no store: it holds 'thesis.docx'"):
            writer(tmp_path, overwrite=overwrite)
    with pytest.raises(DataError, match="this is a file, and a store is a folder"):
        writer(tmp_path / "thesis.docx")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "thesis.docx"):
        with pytest.raises(DataError, match="this is not a store"):
            MoleculeStore(path)
    with pytest.raises(DataError, match="shard_size=0 is not allowed"):
        writer(tmp_path / "s", shard_size=0)


def test_two_runs_do_not_write_one_store(tmp_path):
    first = writer(tmp_path / "s")
    with pytest.raises(DataError, match="another run is writing this store"):
        writer(tmp_path / "s")
    first.close()
    writer(tmp_path / "s").close()


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_truncated_shard_is_refused(tmp_path, cut):
    make(tmp_path / "s")
    path = tmp_path / "s" / "shard-00001.arrow"
    os.truncate(path, path.stat().st_size + cut if cut < 0 else cut)
    with pytest.raises(DataError, match=r"the shard has [\d,]+ bytes instead of") as error:
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


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    make(tmp_path / "whole")
    out = writer(tmp_path / "s")
    out.write_shard(*shard(0, rejected=(2,)))

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writer_module.os, "fsync", no_space)
        with pytest.raises(DataError, match=r"cannot be written: No space left on device \([\d,]+ bytes are free\)"):
            out.write_shard(*shard(4))
    out.close()
    assert not [name for name in content(tmp_path / "s") if name.startswith(".tmp")]
    again = writer(tmp_path / "s")
    again.write_shard(*shard(4))
    again.write_shard(*shard(8, rejected=(8, 9, 10, 11)))
    again.finish()
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_rejects_have_the_same_columns_whether_there_are_any_or_not(tmp_path):
    out = writer(tmp_path / "s")
    out.write_shard(*shard(0))
    none = out.finish().rejects
    assert none.empty
    pd.testing.assert_series_equal(none.dtypes, rejects_frame([]).dtypes)
    pd.testing.assert_series_equal(none.dtypes, make(tmp_path / "some").rejects.dtypes)


def test_rejects_are_one_line_each_whatever_they_hold(tmp_path):
    out = writer(tmp_path / "s", shard_size=3)
    nasty = ['C\n"C",\r\n', "\udce9\0", "C" * 1_000_000]
    rejects = [Reject(k, "a,b.csv", -1, text, text, "read", "why,\nnot") for k, text in enumerate(nasty)]
    out.write_shard(record_batch([], 2), rejects)
    frame = out.finish().rejects
    assert frame["row"].tolist() == [0, 1, 2]
    assert frame["smiles"][0] == 'C "C",'
    assert frame["smiles"][1] == "\\udce9\\0"
    assert frame["smiles"][2].endswith("... (1,000,000 characters)")
    assert (tmp_path / "s" / "rejects.csv").read_text().count("\n") == 4


def test_reading_a_store_imports_no_rdkit_and_no_dgl(tmp_path):
    make(tmp_path / "s")
    code = (
        "import sys; from dgl_moleblend.data.codec import arrow_schema
from dgl_moleblend.data.store import MoleculeStore, sha256;"
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
        with pa.memory_map(str(path)) as file:
            batch = pa.ipc.open_file(file).get_batch(0)
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
