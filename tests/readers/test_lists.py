"""Lists of numbers in cells: every way of writing them, and what is said of others."""

import numpy as np
import pytest

from dgl_moleblend.readers.lists import read_list


@pytest.mark.parametrize(
    "cell",
    ["[1.5, null, 2]", "[1.5, NaN, 2.0]", "1.5,,2", "1.5, n/a , 2", " 1.5  nan 2 ", "[?] 1.5 ? 2", "1.5 n/a\n2",
     [1.5, None, 2], (1.5, float("nan"), 2), np.array([1.5, np.nan, 2]), ["1.5", "", "2"]],
)  # fmt: skip
def test_a_list_is_read_however_it_is_written(cell):
    np.testing.assert_array_equal(read_list(cell), [1.5, np.nan, 2.0])


@pytest.mark.parametrize("cell", [None, float("nan"), "", "  ", "[]", "null", [], np.empty(0)])
def test_nothing_is_an_empty_list(cell):
    assert read_list(cell).shape == (0,)


@pytest.mark.parametrize("cell", ["7.5", 7.5, [7.5], "[7.5]"])
def test_one_number_is_a_list_of_one(cell):
    assert read_list(cell).tolist() == [7.5]


@pytest.mark.parametrize(
    ("cell", "why"),
    [("1.5 n.d. 2", "'n.d.' is no number"), ("[1.5, [2]]", "'[2]' is no number"), ("1,5 2,5", "'5 2' is no number"),
     ([1.5, "x"], "'x' is no number"), (np.ones((2, 2)), "an array of shape (2, 2) is no list"),
     ("1e99", "'1e99' is no number"), ("[1.5", "'[1.5' is no number")],
)  # fmt: skip
def test_what_is_no_list_says_why(cell, why):
    assert read_list(cell) == why
