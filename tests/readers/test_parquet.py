"""Parquet files: the rows of a CSV file, without lines."""

import math

import pandas as pd
import pytest
from molecule_files import read, write

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.molecules import MoleculeReader


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"ID": [7, 8, 9], "SMILES": ["C", None, "CC"], "y": [1, None, 0], "flag": [True, False, True]})
    frame.to_parquet(path)
    records = read(path, task_columns=["y", "flag"])
    assert [(r.row, r.line, r.id, r.smiles, r.error) for r in records] == [
        (0, -1, "7", "C", None),
        (1, -1, "8", "", "the SMILES is blank"),
        (2, -1, "9", "CC", None),
    ]
    assert [r.labels[1] for r in records] == [1.0, 0.0, 1.0]
    assert math.isnan(records[1].labels[0])
    assert records[0].where.endswith("a.parquet, row 0")
    cut = write(tmp_path, "b.parquet", path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        MoleculeReader(cut)


def test_text_in_parquet_that_is_not_utf_8_costs_nothing_but_its_meaning(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"id": ["cafe1", None, "tea"], "smiles": ["C", "CC", "CCC"]}).to_parquet(path, compression=None)
    path.write_bytes(path.read_bytes().replace(b"cafe1", b"caf\xe9!").replace(b"CCC", b"C\xffC"))
    records = read(path)
    assert [record.id for record in records] == ["café!", "", "tea"]
    assert [record.smiles for record in records] == ["C", "CC", "CÿC"]
