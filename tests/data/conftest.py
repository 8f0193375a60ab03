"""What tests of splits share."""

import pytest
from commands import SMILES
from splitting import write

from dgl_moleblend.data.dataset import MoleculeDataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return MoleculeDataset.from_file(write(tmp_path_factory.mktemp("in") / "in.csv", SMILES), task_columns=["y"])
