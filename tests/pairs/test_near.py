"""Pairs within reach, found without the others: the same as all pairs with the far ones removed."""

import pickle
import tracemalloc

import pytest
import torch
from molecules import AWKWARD_SMILES
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.pairs import graph as graph_module

EXTRA = ("C1CC2CCC1CC2", "C12C3C4C1C5C2C3C45", "CCCCCCCCCCCC", "[Na+].[Cl-]", "C", "c1ccc2c(c1)ccc1ccccc12")


def assert_same(found: object, expected: object) -> None:
    assert torch.equal(torch.stack(found.edges()), torch.stack(expected.edges()))
    for name, value in expected.edata.items():
        assert found.edata[name].dtype == value.dtype
        torch.testing.assert_close(found.edata[name], value, rtol=0, atol=1e-6, equal_nan=True)
    for name, value in expected.ndata.items():
        torch.testing.assert_close(found.ndata[name], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("reach", [0, 1, 2, 5, 8, 100])
def test_a_graph_within_reach_is_the_whole_without_the_rest(reach: int) -> None:
    whole, near = mb.MoleculeFeaturizer(), mb.MoleculeFeaturizer(reach=reach)
    smiles = [*AWKWARD_SMILES, *EXTRA]
    for text, together in zip(smiles, near.many(smiles), strict=True):
        expected = mb.cut_off(whole(text), spd=reach)
        assert_same(near(text), expected)
        assert_same(together, expected)


def test_distances_are_those_of_the_conformer() -> None:
    settings = {"positions": "embed", "seed": 1}
    expected = mb.cut_off(mb.MoleculeFeaturizer(**settings)("CC(C)Cc1ccccc1"), spd=3)
    assert_same(mb.MoleculeFeaturizer(**settings, reach=3)("CC(C)Cc1ccccc1"), expected)


def test_encoders_read_it(encoder: mb.MoleBlendEncoder) -> None:
    text = "CC(C)Cc1ccc(cc1)C(C)C(=O)O"
    near, cut = mb.MoleculeFeaturizer(reach=3)(text), mb.cut_off(mb.MoleculeFeaturizer()(text), spd=3)
    torch.testing.assert_close(encoder(near).token, encoder(cut).token)


def test_memory_grows_with_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MAX_GRAPH_ATOMS", 100)
    featurizer = mb.MoleculeFeaturizer(reach=8)
    peaks = []
    for count in (500, 1000, 2000):
        mol = Chem.MolFromSmiles("NCC(=O)" * count + "O")
        tracemalloc.start()
        graph = featurizer(mol)
        peaks.append(tracemalloc.get_traced_memory()[1] / mol.GetNumAtoms())
        tracemalloc.stop()
        assert graph.num_edges() < 40 * graph.num_nodes()
    assert max(peaks) < 1.2 * min(peaks), "bytes an atom are the same, be the molecule twice or four times as long"


def test_settings_travel_and_are_checked() -> None:
    again = pickle.loads(pickle.dumps(mb.MoleculeFeaturizer(reach=2)))
    assert again("CCCCC").num_edges() == mb.cut_off(mb.MoleculeFeaturizer()("CCCCC"), spd=2).num_edges()
    with pytest.raises(ValueError, match="reach=-1 is not allowed"):
        mb.MoleculeFeaturizer(reach=-1)
