"""The pipeline: kept + rejected = rows, in order, whatever a molecule does to the process it is in."""

import concurrent.futures as futures
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data import featurize, molecules, workers
from dgl_moleblend.data.featurize import featurize_to_store, featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.data.workers import Task, run_tasks
from dgl_moleblend.errors import DataError, MoleculeError
from dgl_moleblend.readers.molecules import MoleculeReader

SHARED = Path(__file__).parents[2] / "../shared/data"
ROWS = [
    "CCO,1",
    "C1CC,2",
    "c1ccccc1,",
    ",3",
    "C" * 30 + ",4",
    "CC(=O)O,x",
    "[Na+].[Cl-],5",
    "N(C)(C)(C)C,6",
    "FAIL,7",
    "C,8",
]
STAGES = {1: "parse", 3: "read", 5: "labels", 7: "parse", 8: "parse"}


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text("smiles,y\n" + "\n".join(ROWS * 20) + "\n")
    return path


def read(path: Path) -> MoleculeReader:
    return MoleculeReader(path, task_columns=["y"])


def essence(table: MoleculeTable) -> list[tuple[object, ...]]:
    return [
        (s.row, s.line, s.smiles, s.labels.tobytes(), s.molecule.atom.tobytes(), s.molecule.positions.tobytes())
        for s in table
    ]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_complete(table: MoleculeTable, rows: int) -> None:
    """Every row is in exactly one of the two places, and both are in order."""
    kept, rejected = table.rows.tolist(), table.rejects["row"].tolist()
    assert sorted(kept + rejected) == list(range(rows))
    assert kept == sorted(kept)
    assert rejected == sorted(rejected)


def test_every_row_is_kept_or_rejected(table_file):
    table = featurize_to_table(read(table_file), PipelineConfig())
    assert_complete(table, 200)
    for k in range(0, 200, 10):
        stages = dict(table.rejects[table.rejects["row"].between(k, k + 9)][["row", "stage"]].to_numpy())
        assert {row - k: stage for row, stage in stages.items()} == STAGES
    for sample in table:
        smiles, label = ROWS[sample.row % 10].split(",")
        assert sample.smiles == smiles
        assert sample.molecule.num_atoms == Chem.MolFromSmiles(smiles).GetNumAtoms()
        assert sample.line == sample.row + 2
        np.testing.assert_equal(sample.labels[0], float(label) if label else np.nan)
    assert all(table.rejects["reason"].str.len() > 5)


def test_identifiers_that_occur_twice_name_rows_of_their_own(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,smiles,y\na,CCO,1\na,CCN,2\n,C1CC,3\na,C1CC,4\n,CCO,5\n")
    table = featurize_to_table(read(path), PipelineConfig())
    assert [(s.row, s.id, s.smiles, s.labels[0]) for s in table] == [
        (0, "a", "CCO", 1),
        (1, "a", "CCN", 2),
        (4, "", "CCO", 5),
    ]
    assert table.rejects[["row", "id"]].values.tolist() == [[2, ""], [3, "a"]]


def test_max_atoms(table_file):
    table = featurize_to_table(read(table_file), PipelineConfig(max_atoms=10))
    assert_complete(table, 200)
    sizes = table.rejects[table.rejects["stage"] == "size"]
    assert (sizes["row"] % 10 == 4).all()
    assert set(sizes["reason"]) == {"30 atoms are more than 10"}
    assert table.num_atoms.max() == 6


@pytest.mark.parametrize(
    ("option", "value"), [("max_atoms", 0), ("max_atoms", 70_000), ("on_failed_conformer", "drop"), ("time_limit", -1)]
)
def test_wrong_settings_are_named(option, value):
    with pytest.raises(ValueError, match=f"{option}={value!r} is not allowed"):
        PipelineConfig(**{option: value})


def test_the_output_does_not_depend_on_who_does_the_work(tmp_path, table_file):
    plain = PipelineConfig()
    featurize_to_store(read(table_file), tmp_path / "alone", plain, shard_size=60)
    featurize_to_store(read(table_file), tmp_path / "pool", plain, shard_size=60, workers=2)
    with futures.ThreadPoolExecutor(2) as executor:
        featurize_to_store(read(table_file), tmp_path / "given", plain, shard_size=60, executor=executor)
        assert executor.submit(int, 3).result() == 3, "the executor stays open"
    expected = content(tmp_path / "alone")
    assert sorted(expected) == ["manifest.json", "rejects.csv", *(f"shard-0000{k}.arrow" for k in range(4))]
    assert content(tmp_path / "pool") == expected
    assert content(tmp_path / "given") == expected
    manifest = json.loads(expected["manifest.json"])
    assert [shard["rows"] for shard in manifest["shards"]] == [[0, 60], [60, 120], [120, 180], [180, 200]]
    assert manifest["counts"]["rows"] == 200
    assert str(tmp_path / "alone") not in expected["manifest.json"].decode()


def test_chunks_that_do_not_divide_shards(tmp_path, table_file, monkeypatch):
    featurize_to_store(read(table_file), tmp_path / "a", PipelineConfig(), shard_size=50)
    monkeypatch.setitem(featurize.CHUNK, "none", 7)
    featurize_to_store(read(table_file), tmp_path / "b", PipelineConfig(), shard_size=50)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_the_store_holds_what_the_table_holds(tmp_path, table_file):
    table = featurize_to_table(read(table_file), PipelineConfig())
    store = featurize_to_store(read(table_file), tmp_path / "s", PipelineConfig(), shard_size=60)
    assert essence(store) == essence(table)
    pd.testing.assert_frame_equal(store.rejects, table.rejects, check_dtype=False)


def test_a_second_run_does_nothing(tmp_path, table_file, monkeypatch):
    featurize_to_store(read(table_file), tmp_path / "s", PipelineConfig())
    monkeypatch.setattr(molecules, "read_smiles", None)
    again = featurize_to_store(read(table_file), tmp_path / "s", PipelineConfig())
    assert_complete(again, 200)
    with pytest.raises(DataError, match=r"another arguments\['max_atoms'\]: 65535 there, 9 now"):
        featurize_to_store(read(table_file), tmp_path / "s", PipelineConfig(max_atoms=9))


def test_a_changed_input_file_is_not_mixed_in(tmp_path, table_file):
    featurize_to_store(read(table_file), tmp_path / "s", PipelineConfig())
    words = r"hold other bytes than when the store was made[\s\S]*another arguments\['content'\]"
    before, times = table_file.read_text(), table_file.stat()
    for changed in (before + "CCC,9\n", before[:-2] + "7\n"):  # longer; of the same length and time
        table_file.write_text(changed)
        os.utime(table_file, ns=(times.st_atime_ns, times.st_mtime_ns))
        with pytest.raises(DataError, match=words):
            featurize_to_store(read(table_file), tmp_path / "s", PipelineConfig())


def test_an_interrupted_run_goes_on(tmp_path, table_file, monkeypatch):
    featurize_to_store(read(table_file), tmp_path / "whole", PipelineConfig(), shard_size=60)
    seen: list[int] = []

    def interrupted(record, config, **options):
        seen.append(record.row)
        if record.row == 130:
            raise KeyboardInterrupt
        return pipeline_featurize(record, config, **options)

    pipeline_featurize = workers.featurize_record
    monkeypatch.setattr(workers, "featurize_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        featurize_to_store(read(table_file), tmp_path / "s", PipelineConfig(), shard_size=60)
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["counts"]["rows"] == 120
    again: list[int] = []
    monkeypatch.setattr(
        workers, "featurize_record", lambda r, c, **o: (again.append(r.row), pipeline_featurize(r, c, **o))[1]
    )
    featurize_to_store(read(table_file), tmp_path / "s", PipelineConfig(), shard_size=60)
    assert again == list(range(120, 200)), "what was done is not done again"
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_a_damaged_input_is_not_taken_for_its_end(tmp_path):
    import gzip

    packed = gzip.compress(("smiles\n" + "".join(f"{'C' * (k % 97 + 1)}\n" for k in range(2_000))).encode())
    path = tmp_path / "in.csv.gz"
    path.write_bytes(packed[: len(packed) - 100])
    with pytest.raises(DataError, match="damaged or cut off"):
        featurize_to_store(MoleculeReader(path), tmp_path / "s", PipelineConfig(), shard_size=100)
    with pytest.raises(DataError, match="unfinished"):
        MoleculeStore(tmp_path / "s")


def write_sdf(path: Path, smiles: list[str]) -> None:
    with Chem.SDWriter(str(path)) as writer:
        for k, text in enumerate(smiles):
            mol = Chem.AddHs(Chem.MolFromSmiles(text))
            AllChem.EmbedMolecule(mol, randomSeed=1)
            mol.SetProp("_Name", f"m{k}")
            mol.SetProp("y", str(k))
            writer.write(mol)


def test_structures_come_with_their_positions(tmp_path):
    path = tmp_path / "in.sdf"
    smiles = ["CCO", "c1ccccc1", "CC(=O)O"]
    write_sdf(path, smiles)
    table = featurize_to_table(read(path), PipelineConfig(FeaturizerConfig("given")))
    assert_complete(table, 3)
    assert [sample.id for sample in table] == ["m0", "m1", "m2"]
    assert [Chem.CanonSmiles(s.smiles) for s in table] == [Chem.CanonSmiles(s) for s in smiles]
    assert table.labels.ravel().tolist() == [0, 1, 2]
    for mol, sample in zip(Chem.SDMolSupplier(str(path)), table, strict=True):
        assert sample.molecule.positions.shape == (1, mol.GetNumAtoms(), 3)
        expected = np.linalg.norm(mol.GetConformer().GetPositions(), axis=1)
        found = np.linalg.norm(sample.molecule.positions[0], axis=1)
        np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-5)


def test_a_structure_that_rdkit_cannot_read(tmp_path):
    path = tmp_path / "in.sdf"
    write_sdf(path, ["CCO", "CCC", "CCN"])
    blocks = path.read_text().split("$$$$\n")
    blocks[1] = blocks[1].replace(" 11 10 ", " 99 10 ").replace("  1  2  1  0", "  1 88  1  0")
    path.write_text("$$$$\n".join(blocks))
    table = featurize_to_table(read(path), PipelineConfig())
    assert_complete(table, 3)
    assert table.rows.tolist() == [0, 2]
    assert table.rejects[["id", "stage"]].values.tolist() == [["m1", "parse"]]
    assert table.rejects["reason"][0].startswith("RDKit cannot read the structure: ")
    assert "no reason" not in table.rejects["reason"][0]


def test_a_structure_with_characters_cut_in_two(tmp_path):
    """RDKit quotes the columns that it cannot read, which may be half of a character."""
    path = tmp_path / "in.sdf"
    write_sdf(path, ["CCO", "CCC"])
    text = path.read_text()
    place = text.splitlines()[4][:30]
    path.write_text(text.replace(place, place + "é", 1), encoding="utf-8")
    table = featurize_to_table(read(path), PipelineConfig())
    assert table.rows.tolist() == [1]
    assert table.rejects["stage"].tolist() == ["parse"]
    assert table.rejects["reason"][0] == "RDKit cannot read the structure: Element '? C' not found"


featurize_mol = molecules.featurize_mol


def fail_to_featurize(mol: Chem.Mol, config: FeaturizerConfig) -> object:
    """Have no positions for molecules of three atoms, whoever asks."""
    if config.positions != "none" and mol.GetNumAtoms() == 3:
        raise MoleculeError("no conformer after 10 attempts")
    if mol.GetNumAtoms() == 4:
        raise KeyError("a fault of ours")
    return featurize_mol(mol, config)


def test_failed_conformers_are_rejected_or_kept_without(tmp_path, monkeypatch):
    monkeypatch.setattr(molecules, "featurize_mol", fail_to_featurize)
    path = tmp_path / "in.smi"
    path.write_text("CC\nCCO\nCCCC\nCCCCC\n")
    embed = FeaturizerConfig("embed", num_conformers=2)
    table = featurize_to_table(MoleculeReader(path), PipelineConfig(embed))
    assert_complete(table, 4)
    assert table.rows.tolist() == [0, 3]
    assert table.num_conformers.tolist() == [2, 2]
    assert table.rejects[["row", "stage", "reason"]].values.tolist() == [
        [1, "conformer", "no conformer after 10 attempts"],
        [2, "featurize", "KeyError: 'a fault of ours'"],
    ]
    kept = featurize_to_table(MoleculeReader(path), PipelineConfig(embed, on_failed_conformer="keep"))
    assert kept.rows.tolist() == [0, 1, 3]
    assert kept.num_conformers.tolist() == [2, 0, 2]
    assert kept[1].molecule.positions.shape == (0, 3, 3), "no positions, neither flat nor zero"


NASTY = """
import os, sys, time
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data import featurize, molecules
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.data.featurize import featurize_to_store
from dgl_moleblend.data.molecules import PipelineConfig

featurize_mol = molecules.featurize_mol

def be_nasty(mol, config):
    symbol = mol.GetAtomWithIdx(0).GetSymbol()
    if symbol == "F":
        os._exit(7)
    if symbol == "Cl":
        os.kill(os.getpid(), 11)
    if symbol == "Br":
        os.kill(os.getpid(), 9)
    if symbol == "I" or (symbol == "P" and config.positions != "none"):
        while True:
            pass
    return featurize_mol(mol, config)

molecules.featurize_mol = be_nasty
featurize.CHUNK.update(none=8, embed=8)

if __name__ == "__main__":
    config = PipelineConfig(FeaturizerConfig("embed"), on_failed_conformer="keep", time_limit=3.0)
    featurize_to_store(MoleculeReader(sys.argv[1]), sys.argv[2], config, workers=2, shard_size=20)
"""


def test_a_molecule_that_ends_or_stops_its_process_costs_only_itself(tmp_path):
    smiles = ["CO"] * 50
    for row, text in {3: "FC", 4: "FCC", 17: "ClC", 30: "PC", 33: "BrC", 49: "IC"}.items():
        smiles[row] = text
    (tmp_path / "nasty.py").write_text(NASTY)
    (tmp_path / "in.smi").write_text("\n".join(smiles) + "\n")
    command = [sys.executable, tmp_path / "nasty.py", tmp_path / "in.smi", tmp_path / "s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    store = MoleculeStore(tmp_path / "s")
    assert_complete(store, 50)
    assert store.rejects[["row", "stage", "reason"]].values.tolist() == [
        [3, "crash", "the worker process ended with exit code 7"],
        [4, "crash", "the worker process ended with exit code 7"],
        [17, "crash", "the worker process was ended by SIGSEGV"],
        [33, "crash", "the worker process was ended by SIGKILL (out of memory?)"],
        [49, "time", "it took longer than the time limit of 3 s"],
    ]
    without = store.rows[store.num_conformers == 0].tolist()
    assert without == [30], "what hangs in its conformers is kept without on request"


def test_workers_that_cannot_start_are_no_fault_of_the_molecules(tmp_path):
    (tmp_path / "in.smi").write_text("C\nCC\n")
    (tmp_path / "script.py").write_text(
        "from dgl_moleblend.data.dataset import MoleculeDataset\n"
        f"MoleculeDataset.from_file({str(tmp_path / 'in.smi')!r}, workers=1)\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DataError: worker processes cannot start" in done.stderr
    assert '`if __name__ == "__main__":`' in done.stderr


class BrokenExecutor(futures.Executor):
    """Takes some work, does some of it, and then fails in every way there is."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, function, /, *args, **kwargs):
        self.count += 1
        future: futures.Future = futures.Future()
        if self.count == 1:
            future.set_result(function(*args, **kwargs))
        elif self.count == 2:
            future.set_exception(RuntimeError("the worker is gone"))
        elif self.count > 3:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return future


def test_an_executor_that_fails_or_never_answers(tmp_path):
    path = tmp_path / "in.smi"
    path.write_text("C\nCC\nCCC\nCCCC\nC1C\nCCO\n")
    records = list(MoleculeReader(path))
    tasks = [Task((record,), PipelineConfig(), 0, (str(path),)) for record in records]
    chunks = list(run_tasks(tasks, executor=BrokenExecutor(), workers=2, stall=0.2))
    assert [chunk.batch.column("row").to_pylist() for chunk in chunks] == [[0], [1], [2], [3], [], [5]]
    assert [reject.row for chunk in chunks for reject in chunk.rejects] == [4]


def test_conformers_do_not_depend_on_the_number_of_workers(tmp_path):
    path = tmp_path / "in.smi"
    path.write_text("\n".join(["CCO", "CC(C)Cc1ccccc1", "C1CCCCC1", "NCC(=O)O"] * 5))
    config = PipelineConfig(FeaturizerConfig("embed", seed=5, num_conformers=2))
    alone = featurize_to_table(MoleculeReader(path), config)
    pool = featurize_to_table(MoleculeReader(path), config, workers=2)
    assert set(alone.num_conformers) == {2}
    assert essence(alone) == essence(pool)


@pytest.mark.parametrize(
    ("name", "rows", "rejected"),
    [
        ("BBBP.csv.gz", 2_050, [59, 61, 391, 614, 642, 645, 646, 647, 648, 649, 685]),
        ("tox21.csv.gz", 7_831, 8),
        ("toxcast_data.csv.gz", 8_615, 18),
    ],
)
def test_published_files_lose_the_rows_that_they_are_known_to_lose(name, rows, rejected):
    path = SHARED / "moleculenet" / name
    if not path.exists():
        pytest.skip("the data are not here")
    table = featurize_to_table(MoleculeReader(path), PipelineConfig(), workers=2)
    assert_complete(table, rows)
    assert set(table.rejects["stage"]) == {"parse"}
    found = table.rejects["row"].tolist()
    assert found == rejected if isinstance(rejected, list) else len(found) == rejected
