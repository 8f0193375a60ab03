"""Scores of deviations: values worked out by hand, and what they are of errors that are as large as was said."""

import numpy as np
import pytest

from dgl_moleblend.config import ConfigError
from dgl_moleblend.models.uncertainty import ence, gaussian_nll, miscalibration_area, score_columns, score_deviations


def test_likelihood_by_hand():
    """ln 2 + 1 / 8 + ln √2π of an error of 1 at 2; 0 + 9 / 2 + ln √2π of one of 3 at 1."""
    expected = (0.693147 + 0.125 + 4.5) / 2 + 0.918939
    assert gaussian_nll(np.array([1.0, -3.0]), np.array([2.0, 1.0])) == pytest.approx(expected, abs=1e-5)


def test_ence_is_of_bins_of_like_deviation():
    """Twenty rows are two bins: in that of deviation 1 errors are 1.5 (off by 0.5), in that of 4 they are 3 (0.25)."""
    error = np.array([1.5, 3.0] * 10) * np.resize([1, -1], 20)
    deviation = np.array([1.0, 4.0] * 10)
    assert ence(error, deviation) == pytest.approx((0.5 + 0.25) / 2)
    assert ence(error[:19], deviation[:19]) == pytest.approx(abs(np.sqrt((10 * 1.5**2 + 81) / 19)
                                                                 / np.sqrt((10 + 9 * 16) / 19) - 1))  # fmt: skip


def test_area_by_hand():
    """Two errors, of which the 50 % interval (0.6745 deviations) holds the first from p = 1/2, the other from 3/4 on.

    F is 0 below 1/2, 1/2 up to 3/4, then 1: the area is 1/8 + 1/32 + 1/32.
    """
    error = np.array([0.67448975, -1.15034938])
    assert miscalibration_area(error, np.ones(2)) == pytest.approx(1 / 8 + 1 / 32 + 1 / 32, abs=1e-7)
    assert miscalibration_area(np.array([1e9]), np.ones(1)) == pytest.approx(0.5)


def test_errors_as_large_as_was_said_score_best():
    generator = np.random.default_rng(0)
    deviation = np.exp(generator.normal(size=20_000))
    error = generator.normal(size=20_000) * deviation
    right, narrow, wide = (score_deviations(error, deviation * factor) for factor in (1, 1 / 3, 3))
    assert right["ence"] < 0.05
    assert right["miscalibration_area"] < 0.01
    assert right["nll"] == pytest.approx(np.mean(np.log(deviation)) + 0.5 + np.log(2 * np.pi) / 2, abs=0.03)
    for other in (narrow, wide):
        assert all(other[name] > right[name] + 0.1 for name in right)


def test_rows_without_label_or_deviation_are_left_out():
    nan = np.nan
    found = score_columns([np.array([1.0, nan, 3.0, 4.0]), np.array([1.0])], [np.zeros(4), np.zeros(1)],
                          [np.array([1.0, 1.0, nan, 0.0]), np.array([nan])], ["y", "z"])  # fmt: skip
    assert [*found] == ["y"]
    assert found["y"] == {"rows": 1, **score_deviations(np.ones(1), np.ones(1))}
    with pytest.raises(ConfigError, match="above 0"):
        score_deviations(np.ones(2), np.array([1.0, 0.0]))
