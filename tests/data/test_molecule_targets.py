import numpy as np
import pytest

import dgl_moleblend as mb
from dgl_moleblend.data.molecule_targets import MoleculeTargets


def made() -> MoleculeTargets:
    values = np.array([[1.0, 5.0, 2.0], [2.0, 5.0, np.nan], [40.0, 5.0, 1.0], [3.0, 5.0, 0.5]])
    one = MoleculeTargets.from_descriptors("descriptors", ["logp", "constant", "ring"], values)
    other = MoleculeTargets.from_labels(
        "labels", ["active", "pKi"], [0, 3, 3, 1, 2, 2], [0, 0, 1, 1, 1, 1], [0, 1, 7.0, 5.0, 8.0, 10.0], size=4
    )
    return MoleculeTargets.join([one, other])


def test_descriptors_are_gaussian_by_rank_and_constants_are_left_out() -> None:
    targets = made()
    assert targets.names == ("logp", "ring", "active", "pKi")
    assert targets.kinds == ("value", "value", "class", "value")
    logp = targets.rows(np.arange(4))[:, 0]
    assert np.argsort(logp).tolist() == [0, 1, 3, 2]
    assert abs(logp.mean()) < 1e-3
    assert abs(logp.std() - 1) < 1e-2


def test_what_is_missing_is_nan_and_a_zero_is_a_zero() -> None:
    rows = made().rows(np.array([0, 1, 3]))
    assert np.isnan(rows[1, 1])
    assert rows[0, 2] == 0
    assert rows[2, 2] == 1
    assert np.isnan(rows[[0, 1], [3, 2]]).all()


def test_repeated_measurements_are_averaged_then_standardised() -> None:
    pki = made().rows(np.arange(4))[1:, 3]  # 5, mean of 8 and 10, 7
    assert np.allclose(pki, (np.array([5, 9, 7]) - 7) / np.std([5, 9, 7]))


def test_rows_are_those_of_any_subset() -> None:
    targets, order = made(), np.array([3, 0, 2])
    assert np.array_equal(targets.take(order).rows(np.arange(3)), targets.rows(order), equal_nan=True)
    chosen = targets.select([3, 0])
    assert chosen.names == ("logp", "pKi")
    assert np.array_equal(chosen.rows(np.arange(4)), targets.rows(np.arange(4))[:, [0, 3]], equal_nan=True)
    assert targets.rows(np.array([], int)).shape == (0, 4)


def test_written_and_read_they_are_the_same(tmp_path) -> None:
    targets = made()
    targets.write(tmp_path / "targets.npz")
    again = MoleculeTargets.read(tmp_path / "targets.npz")
    assert again.describe() == targets.describe()
    assert again.digest() == targets.digest()
    assert np.array_equal(again.rows(np.arange(4)), targets.rows(np.arange(4)), equal_nan=True)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", None])
def test_a_damaged_file_is_named(tmp_path, damage: bytes | None) -> None:
    path = tmp_path / "targets.npz"
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(mb.DataError, match="the targets cannot be read") as caught:
        MoleculeTargets.read(path)
    assert caught.value.where == str(path)


def test_columns_and_molecules_must_fit() -> None:
    targets = made()
    with pytest.raises(mb.DataError, match="4 columns of targets have 3 names"):
        MoleculeTargets(targets.names[:3], targets.groups, targets.kinds, targets.dense, targets.scarce)
    with pytest.raises(mb.DataError, match="targets of 3 and of 4 molecules"):
        MoleculeTargets(targets.names, targets.groups, targets.kinds, targets.dense[:3], targets.scarce)
