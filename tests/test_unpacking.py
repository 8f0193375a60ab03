"""Packed files: refused before they fill the memory, and read as they are otherwise."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dgl_moleblend import unpacking
from dgl_moleblend.unpacking import read_npz


def test_arrays_are_read_as_they_were_written(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3), name="y")
    found = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["x"], [[0, 1, 2], [3, 4, 5]])
    assert found["name"] == "y"


def test_a_small_file_of_large_arrays_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_UNPACKED", 1_000)
    monkeypatch.setattr(np, "load", None)  # which would unpack it
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10_000_000, np.uint8))
    with pytest.raises(ValueError, match=r"unpacks to 10,000,1\d\d bytes, and may to "):
        read_npz(tmp_path / "a.npz")


def test_an_array_that_says_it_is_larger_than_it_is(tmp_path: Path):
    content = io.BytesIO()
    header = {"shape": (10**12,), "fortran_order": False, "descr": "|u1"}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content.getvalue())
    with pytest.raises(ValueError, match=r"x\.npy says that it has shape \(1000000000000,\), and is cut off"):
        read_npz(tmp_path / "a.npz")
