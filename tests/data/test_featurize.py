"""The pipeline: kept + rejected = rows, in order, on disk and in memory, in one go or several."""

import concurrent.futures as futures
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from featurized import assert_complete, essence, read
from rdkit import Chem
from stores import content

from dgl_moleblend.data import featurize, molecules, workers
from dgl_moleblend.data.featurize import featurize_to_store, featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.errors import DataError
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
