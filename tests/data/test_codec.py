"""Record batches: what a bond cannot name is refused."""

import numpy as np
import pytest

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.data.codec import MAX_ATOMS, record_batch
from dgl_moleblend.data.rows import Sample
from dgl_moleblend.errors import DataError


def test_molecules_too_large_for_a_bond_are_refused():
    big = MoleculeArrays(
        np.zeros((MAX_ATOMS + 1, 9), np.uint8),
        np.zeros((0, 2), np.int32),
        np.zeros(0, np.uint8),
        np.zeros((0, MAX_ATOMS + 1, 3), np.float32),
    )
    with pytest.raises(DataError, match="65,536 atoms; a store keeps molecules of up to 65,535"):
        record_batch([Sample(big, np.empty(0, np.float32), 0)], 0)
