"""What the vocabulary does not tell: found in memory, in stores of several shards, in parts and in joined tables."""

import numpy as np
import pytest

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.joined import JoinedTable
from dgl_moleblend.data.unusual import describe_unusual, find_unusual, warnings

CASES = {
    "CCO": "", "[H][H]": "", "[O-]C": "", "[Fe+3]": "", "C[C@H](N)O": "",
    "[2H]C": "an isotope", "C[13CH3]": "an isotope", "[3H]c1ccccc1": "an isotope",
    "*CCO": "a dummy atom (*)", "[*:1]CC": "a dummy atom (*)",
    "[Ti+6]": "a charge beyond 5", "[C-6]": "a charge beyond 5",
    "*C[2H]": "an isotope, a dummy atom (*)",
}  # fmt: skip
WORDS = [f"beyond the model's vocabulary: {words}" if words else "" for words in CASES.values()]


def test_what_is_unusual_is_said_wherever_molecules_lie(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("\n".join(CASES) + "\n")
    data = MoleculeDataset.from_smiles([*CASES])
    assert warnings(data) == WORDS
    assert warnings(data.subset([12, 0, 5])) == [WORDS[12], WORDS[0], WORDS[5]]
    stored = MoleculeDataset.from_file(path, store=tmp_path / "s")
    assert warnings(stored) == WORDS
    joined = MoleculeDataset(JoinedTable([stored.table, data.table]))
    np.testing.assert_array_equal(find_unusual(joined), np.tile(find_unusual(data), (2, 1)))
    assert describe_unusual(data).endswith(": 4 with an isotope, 3 with a dummy atom (*), 2 with a charge beyond 5")


@pytest.mark.parametrize("smiles", [[], ["CCO"]])
def test_there_is_nothing_to_say_of_others(smiles):
    data = MoleculeDataset.from_smiles(smiles)
    assert describe_unusual(data) == ""
    assert warnings(data) == [""] * len(smiles)
    assert find_unusual(data).shape == (len(smiles), 3)
