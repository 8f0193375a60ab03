"""Rejects as a table: one line each, the same columns whether there are any or not."""

import pandas as pd
from stores import make, shard, writer

from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.rows import Reject, rejects_frame


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
