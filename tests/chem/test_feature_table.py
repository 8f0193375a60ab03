"""A table of features: rows are taken together, and what does not fit is named."""

import numpy as np
import pytest
from scipy import sparse

from dgl_moleblend.chem.feature_table import FeatureTable, fold
from dgl_moleblend.errors import DataError


@pytest.fixture
def table():
    counts = sparse.csr_array(np.array([[1, 0, 2], [0, 3, 0], [1, 1, 1]]))
    return FeatureTable(
        {"morgan": counts, "assay": np.arange(6, dtype=np.float32).reshape(3, 2)}, {"assay": ("t", "dose")}
    )


def test_rows_are_taken_by_number_or_mask(table):
    for rows in ([2, 0], np.array([2, 0])):
        taken = table.take(rows)
        assert taken["morgan"].toarray().tolist() == [[1, 1, 1], [1, 0, 2]]
        assert taken["assay"].tolist() == [[4, 5], [0, 1]]
    masked = table.take(np.array([False, True, False]))
    assert len(masked) == 1
    assert masked.columns == table.columns
    assert len(table.take([])) == 0


def test_it_is_a_mapping_of_names(table):
    assert table.names == tuple(table) == ("morgan", "assay")
    assert "morgan" in table
    assert "path" not in table
    assert (table.is_dense("assay"), table.is_dense("morgan")) == (True, False)
    with pytest.raises(DataError, match="feature 'path' is missing; there are 'morgan', 'assay'"):
        table["path"]


def test_columns_of_the_users_own_join(table):
    joined = table.with_dense("column", np.array([[1.0], [np.nan], [3.0]]), ["temperature"])
    assert joined.names == ("morgan", "assay", "column")
    assert joined["column"].dtype == np.float32
    with pytest.raises(DataError, match="there is a feature 'assay' already"):
        table.with_dense("assay", np.zeros((3, 1)), ["x"])


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        (np.zeros((2, 1)), ["x"], "features differ in their number of rows: morgan 3, assay 3, new 2"),
        (np.zeros((3, 2)), ["x"], "feature 'new' has 2 columns, 1 have a name"),
        (np.zeros(3), ["x"], r"feature 'new' has shape \(3,\)"),
        (np.array([[0.0], [np.inf], [0.0]]), ["x"], "feature 'new' is infinite\n  where: row 1, column 'x'"),
    ],
)
def test_features_that_do_not_fit_are_refused(table, values, columns, message):
    with pytest.raises(DataError, match=message):
        table.with_dense("new", values, columns)


def test_a_table_without_features_is_refused():
    with pytest.raises(DataError, match="a table of features has no features"):
        FeatureTable({})


def test_what_a_model_needs_is_named(table):
    table.require(["morgan", "assay"], {"assay": ["t", "dose"]})
    with pytest.raises(DataError, match="features are missing: 'path', 'rdkit2d'; there are 'morgan', 'assay'"):
        table.require(["morgan", "path", "rdkit2d"], {})
    with pytest.raises(DataError, match="the columns of feature 'assay' are not the model's: without 'pH'; with 't'"):
        table.require(["assay"], {"assay": ["pH", "dose"]})
    with pytest.raises(DataError, match="feature 'assay' are not the model's: another order"):
        table.require(["assay"], {"assay": ["dose", "t"]})
    with pytest.raises(DataError, match="feature 'morgan' is counts, the model was trained with dense"):
        table.require(["morgan"], {"morgan": ["x"]})


def test_folding_keeps_every_count():
    ids = np.random.default_rng(0).integers(0, 2**32, 500)
    row = np.arange(500) % 5
    counts = sparse.csr_array((np.ones(500, np.int32), (row, ids)), shape=(5, 2**32))
    folded = fold(counts, 64)
    assert folded.shape == (5, 64)
    assert folded.sum(1).tolist() == [100] * 5
    assert (folded > 0).sum(1).min() > 40  # ids spread over the columns
