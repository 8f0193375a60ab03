"""Tables: what was put in is what comes out, here, in a worker, and where there is nothing."""

import pickle

import numpy as np
from stores import assert_same, reject, sample, shard

from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.rows import Sample, rejects_frame
from dgl_moleblend.data.table import MoleculeTable


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
