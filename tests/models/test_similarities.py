"""Kernels between molecules: against slow twins, in blocks, and back from their arrays."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import norm, rankdata

from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.models import similarities
from dgl_moleblend.models.similarities import MinMax, RankedGaussian, RankScaler


def counts(rows, seed, columns=2**32):
    """Counts of ids that many rows share, and of ids that are one row's own, in any column of an unfolded table."""
    random = np.random.default_rng(seed)
    ids = np.concatenate([[3, 2**31 + 5, 2**32 - 1], random.integers(0, 2**32, 40)])
    dense = random.poisson(np.concatenate([[5, 2, 1], np.full(40, 0.2)]), (rows, 43))
    row, column = np.nonzero(dense)
    return sparse.csr_array((dense[row, column].astype(np.int32), (row, ids[column])), shape=(rows, columns))


def slow_min_max(a, b):
    kernel = np.zeros((a.shape[0], b.shape[0]))
    as_dicts = [
        [dict(zip(r.indices, r.data, strict=True)) for r in (m[[k]] for k in range(m.shape[0]))] for m in (a, b)
    ]
    for i, one in enumerate(as_dicts[0]):
        for j, two in enumerate(as_dicts[1]):
            low = sum(min(one.get(k, 0), two.get(k, 0)) for k in one.keys() | two.keys())
            high = sum(max(one.get(k, 0), two.get(k, 0)) for k in one.keys() | two.keys())
            kernel[i, j] = low / high if high else 0
    return kernel


@pytest.mark.parametrize("share", [0.0, 0.3, 1.1], ids=["all dense", "both", "all sparse"])
def test_min_max_is_exact_for_rows_that_it_has_not_seen(share, monkeypatch):
    monkeypatch.setattr(similarities, "_FREQUENT", share)
    monkeypatch.setattr(similarities, "_BLOCK", 7)
    reference, new = counts(20, 0), counts(15, 1)
    kernel = MinMax(reference)
    np.testing.assert_allclose(kernel(new), slow_min_max(new, reference), rtol=1e-6)
    np.testing.assert_allclose(kernel.between(), slow_min_max(reference, reference), rtol=1e-6)


def test_min_max_of_a_molecule_without_counts_is_0():
    empty = sparse.csr_array((1, 2**32), dtype=np.int32)
    assert MinMax(counts(4, 0))(empty).tolist() == [[0, 0, 0, 0]]
    assert MinMax(empty)(counts(2, 0)).tolist() == [[0], [0]]


def test_ranks_are_those_of_the_reference_rows_alone():
    values = np.random.default_rng(0).lognormal(size=(30, 3)).astype(np.float32)
    values[:, 2] = 1
    scaler = RankScaler(values)
    assert scaler.kept.tolist() == [0, 1]
    score = norm.ppf((rankdata(values[:, 0]) - 0.5) / 30)
    np.testing.assert_allclose(scaler(values)[:, 0], (score - score.mean()) / (score.std() + 1e-3), atol=1e-5)
    with_others = scaler(np.concatenate([values, 1000 * values]))
    np.testing.assert_array_equal(with_others[:30], scaler(values))
    assert scaler(np.array([[1e9, np.nan, 5.0]], np.float32)).tolist() == [[scaler(values)[:, 0].max(), 0.0]]


def test_columns_without_two_values_are_left_out():
    nothing = np.array([[np.nan, 1.0, np.nan], [np.nan, 1.0, 3.0]])
    assert RankScaler(nothing)(nothing).shape == (2, 0)
    assert RankedGaussian(nothing)(nothing).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("kind", ["counts", "dense"])
def test_a_kernel_comes_back_from_its_arrays(kind):
    if kind == "counts":
        kernel, new = MinMax(counts(12, 0)), counts(5, 1)
    else:
        random = np.random.default_rng(0)
        kernel, new = RankedGaussian(random.normal(size=(12, 4))), random.normal(size=(5, 4))
    again = type(kernel).from_state(kernel.state(), "x")
    np.testing.assert_array_equal(again(new), kernel(new))
    np.testing.assert_array_equal(again.between(), kernel.between())


def test_arrays_that_do_not_fit_are_refused():
    state = MinMax(counts(12, 0)).state()
    with pytest.raises(
        CheckpointError, match=r"the stored arrays of feature 'morgan' do not fit each other: .* counts"
    ):
        MinMax.from_state({**state, "counts": state["counts"][1:]}, "morgan")
    with pytest.raises(CheckpointError, match="feature 'morgan'"):
        MinMax.from_state({**state, "ids": state["ids"][:3]}, "morgan")
    state = RankedGaussian(np.random.default_rng(0).normal(size=(12, 4))).state()
    with pytest.raises(
        CheckpointError, match=r"feature 'dose' do not fit each other: 4 columns, rows of shape \(12, 3\)"
    ):
        RankedGaussian.from_state({**state, "rows": state["rows"][:, 1:]}, "dose")
    with pytest.raises(CheckpointError, match="feature 'dose' do not fit each other: 4 columns, 47 knots"):
        RankedGaussian.from_state({**state, "knots": state["knots"][1:]}, "dose")
