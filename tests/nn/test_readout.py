import pytest
import torch

from dgl_moleblend.nn.readout import readout


def test_pooled_by_hand() -> None:
    atoms = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]], [[5.0, 6.0], [1.0, 0.0], [3.0, 0.0]]])
    token = torch.tensor([[7.0, 8.0], [9.0, 10.0]])
    atom_mask = torch.tensor([[True, True, False], [True, True, True]])
    assert readout(atoms, token, atom_mask, "token").tolist() == [[7, 8], [9, 10]]
    assert readout(atoms, token, atom_mask, "sum").tolist() == [[4, 6], [9, 6]]
    assert readout(atoms, token, atom_mask, "mean").tolist() == [[2, 3], [3, 2]]  # by atoms, not by padded length


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"(?s)readout='max' is not allowed.*'token', 'mean', 'sum'"):
        readout(torch.ones(1, 1, 1), torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), "max")
