"""Bounds among the labels of a data set: kept on disk and in memory, counted, known by a run."""

import json

import numpy as np
import pandas as pd
import pytest
from stores import sample, writer

from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.featurize import featurize_to_store
from dgl_moleblend.data.labelled import open_labelled
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.data.summary import Summary, describe_bounds
from dgl_moleblend.errors import DataError
from dgl_moleblend.pairs.loader import collate, save_graphs
from dgl_moleblend.readers.molecules import MoleculeReader

CELLS = ["1", ">8", "3", "<2", "~4", "", "6", "7", "8", ">9"]
BOUNDS = [0, 1, 0, -1, 0, 0, 0, 0, 0, 1]


@pytest.fixture
def path(tmp_path):
    rows = [f"{'C' * (k + 1)},{cell},{k}" for k, cell in enumerate(CELLS)]
    (tmp_path / "a.csv").write_text("smiles,y,z\n" + "\n".join(rows) + "\n")
    return tmp_path / "a.csv"


def test_bounds_are_kept_in_memory_and_on_disk(path, tmp_path):
    """In shards that hold some, in those that hold none, and in a shard made of chunks of both kinds."""
    memory = MoleculeDataset.from_file(path, task_columns=["y", "z"])
    assert memory.bounds.T.tolist() == [BOUNDS, [0] * 10]
    assert memory.labels[1, 0] == 8
    reader = MoleculeReader(path, task_columns=["y", "z"])
    store = featurize_to_store(reader, tmp_path / "s", PipelineConfig(), workers=0, shard_size=4)
    np.testing.assert_array_equal(MoleculeDataset(store).bounds, memory.bounds)
    assert "bounds" not in store._batches[1].schema.names, "a shard without bounds is written as before"
    assert MoleculeDataset(store).digest() == memory.digest()
    part = memory.select_tasks(["z", "y"]).subset([9, 0, 3])
    assert part.bounds.tolist() == [[0, 1], [0, 0], [0, -1]]
    assert part[0].bounds.tolist() == [0, 1]
    assert collate([*part]).bounds.tolist() == part.bounds.tolist()


def test_chunks_with_and_without_bounds_make_one_shard(tmp_path):
    from dgl_moleblend.data.featurize import _concatenate
    from dgl_moleblend.data.workers import Chunk

    with_one = sample(1).__class__(**{**vars(sample(1)), "bounds": np.array([0, -1], np.int8)})
    chunks = [Chunk(record_batch([one], 2, ["a.csv"]), []) for one in (sample(0), with_one)]
    out = writer(tmp_path / "s", shard_size=2)
    out.write_shard(_concatenate(chunks).batch, [])
    assert out.finish().bounds.tolist() == [[0, 0], [0, -1]]


def test_a_run_knows_bounds_and_labels_without_any_as_before(path):
    bounded = MoleculeDataset.from_file(path, task_columns=["y", "z"])
    exact = MoleculeDataset.from_file(path, task_columns=["z"])
    assert {*bounded.digest()} - {*exact.digest()} == {"bounds"}


def test_bounds_are_counted_and_stand_apart_from_the_values(path):
    dataset = MoleculeDataset.from_file(path, task_columns=["y", "z"])
    text = Summary.of(dataset.table).to_text()
    assert "3 of 9 labels are bounds" in text
    summary = Summary.of(dataset.table)
    assert summary.labels.loc["y", ["values", "bounds", "max"]].tolist() == [9, 3, 8], "9 is no value, but a bound"
    assert json.loads(json.dumps(summary.to_dict(), default=float))["labels"]["y"]["bounds"] == 3
    said = describe_bounds(dataset.labels, dataset.bounds, dataset.task_names)
    assert said == "3 of 9 labels are bounds (y: 2 above, 1 below)"
    assert "bounds" not in Summary.of(MoleculeDataset.from_file(path, task_columns=["z"]).table).labels


def test_graphs_are_written_with_their_bounds(path, tmp_path):
    import dgl

    save_graphs(MoleculeDataset.from_file(path, task_columns=["y"]), tmp_path / "g.bin")
    assert dgl.load_graphs(str(tmp_path / "g.bin"))[1]["bounds"].ravel().tolist() == BOUNDS


def test_a_data_frame_and_its_relations():
    frame = pd.DataFrame({"smiles": ["C", "CC", "CCC"], "IC50": [5.0, 10000, 3], "relation": ["=", ">", "="]})
    told = []
    found = open_labelled(frame.rename(columns={"relation": "IC50 relation"}), None, _config(), tell=told.append)
    assert found.dataset.bounds.ravel().tolist() == [0, 1, 0]
    assert told[-1] == "column 'IC50 relation' says which labels of 'IC50' are bounds (relation_column='' reads none)"
    assert not open_labelled(frame, "IC50", _config()).dataset.bounds.any()
    assert open_labelled(frame, "IC50", _config(), relation_column="relation").dataset.bounds.any()
    with pytest.raises(DataError, match=r"there is no column 'relations'(.|\n)*relation_column='relation'"):
        open_labelled(frame, "IC50", _config(), relation_column="relations")
    with pytest.raises(DataError, match="relation_column='x' is given, and no DataFrame or file"):
        open_labelled((["C", "CC"], [1, 2]), None, _config(), relation_column="x")


def test_measured_labels_of_pretraining_leave_bounds_out(path):
    from dgl_moleblend.data.pretraining_targets import targets_from_table

    told = []
    targets = targets_from_table(MoleculeDataset.from_file(path), path, ["y"], tell=told.append)
    assert "3 hold bounds (>, <), which are left out" in told[0]
    assert np.isnan(targets.rows(np.arange(10))[:, 0]).tolist() == [cell[:1] in (">", "<", "") for cell in CELLS]


def _config():
    from dgl_moleblend.config import FeaturizerConfig

    return FeaturizerConfig()
