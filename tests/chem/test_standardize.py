"""Standard forms: salts, charges and tautomers become one molecule; stereocentres and positions stay."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from dgl_moleblend.chem.compact import featurize_mol, prepare
from dgl_moleblend.chem.standardize import standard_smiles, standardize
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.errors import ConfigError, MoleculeError
from dgl_moleblend.pairs.graph import MoleculeFeaturizer

ALL = FeaturizerConfig.STEPS


@pytest.mark.parametrize(
    ("smiles", "steps", "expected"),
    [
        ("CC(=O)[O-].[Na+]", ("fragment",), "CC(=O)[O-]"),
        ("O.CCO.Cl", ("fragment",), "CCO"),
        ("[Na+].[I-].C", ("fragment",), "C"),
        ("CC(=O)[O-].[Na+]", ("neutral",), "CC(=O)[O-].[Na+]"),  # balanced
        ("CC(=O)[O-]", ("neutral",), "CC(=O)O"),
        ("CC(=O)[O-].[Na+]", ("fragment", "neutral"), "CC(=O)O"),
        ("[NH3+][C@@H](C)C(=O)[O-]", ("neutral",), "C[C@H](N)C(=O)O"),
        ("C[N+](C)(C)CCO", ("neutral",), "C[N+](C)(C)CCO"),
        ("C[N+](=O)[O-]", ALL, "C[N+](=O)[O-]"),
        ("Oc1ccccn1", ("tautomer",), "O=c1cccc[nH]1"),
        ("CC(O)=CC(C)=O", ("tautomer",), "CC(=O)CC(C)=O"),
        ("C[C@H](N)C(=O)O", ("tautomer",), "C[C@H](N)C(=O)O"),
        ("[O-]c1ccccn1.[Na+]", ALL, "O=c1cccc[nH]1"),
    ],
)
def test_what_molecules_become(smiles, steps, expected):
    assert standard_smiles(smiles, steps) == Chem.CanonSmiles(expected)
    arrays = featurize_mol(prepare(smiles, steps=steps[::-1]), FeaturizerConfig())
    assert sorted(arrays.atom.tolist()) == sorted(featurize_mol(prepare(expected), FeaturizerConfig()).atom.tolist())


def test_it_is_off_by_default_and_a_featurizer_does_it():
    salt = "CC(=O)[O-].[Na+]"
    assert MoleculeFeaturizer().arrays(salt).num_atoms == 5
    featurizer = MoleculeFeaturizer(standardize=("neutral", "fragment"))
    assert featurizer.config.standardize == ("fragment", "neutral"), "in the order in which it is done"
    for graph in (featurizer(salt), *featurizer.many([salt])):
        np.testing.assert_array_equal(graph.ndata["atom"], MoleculeFeaturizer()("CC(=O)O").ndata["atom"])
    assert MoleculeFeaturizer.from_config(featurizer.config).config == featurizer.config


def test_positions_stay_with_their_atoms():
    mol = Chem.AddHs(Chem.MolFromSmiles("Oc1ccccn1.Cl"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    prepared = prepare(mol)
    kept = [atom.GetIdx() for atom in prepared.GetAtoms() if atom.GetSymbol() != "Cl"]
    found = standardize(prepared, ALL)
    assert Chem.MolToSmiles(found) == "O=c1cccc[nH]1"
    np.testing.assert_allclose(found.GetConformer().GetPositions(), prepared.GetConformer().GetPositions()[kept])
    assert found.GetConformer().Is3D()


def test_settings_of_before_are_equal_and_unknown_steps_are_named():
    assert "standardize" not in FeaturizerConfig().to_dict()
    stored = FeaturizerConfig(standardize="neutral").to_dict()
    assert stored["standardize"] == ["neutral"]
    assert FeaturizerConfig.from_dict(stored) == FeaturizerConfig(standardize=["neutral"])
    with pytest.raises(ConfigError, match=r"standardize=\['salts'\] is not allowed[\s\S]*'fragment', 'neutral', 'taut"):
        FeaturizerConfig(standardize=["salts"])


def test_what_rdkit_cannot_do_is_said(monkeypatch):
    def fail(mol):
        raise RuntimeError("no way\nand more")

    monkeypatch.setattr("dgl_moleblend.chem.standardize._tools", lambda: {"neutral": fail})
    with pytest.raises(MoleculeError, match=r"cannot standardise the molecule: no way\n  where: a.csv, line 2"):
        standardize(prepare("C"), ("neutral",), "a.csv, line 2")
