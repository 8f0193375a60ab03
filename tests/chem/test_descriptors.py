"""Features of molecules: RDKit's own numbers, the same in worker processes, and molecules that cannot be read."""

import os

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from dgl_moleblend.chem import descriptors
from dgl_moleblend.chem.descriptors import DESCRIPTORS, KINDS, describe
from dgl_moleblend.errors import ConfigError, MoleculeError

SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "[Na+].[Cl-]", "C", "*CC(*)=O"]


@pytest.fixture(scope="module")
def table():
    return describe(SMILES)


def test_counts_are_rdkits(table):
    generators = {
        "morgan": rdFingerprintGenerator.GetMorganGenerator(radius=2, includeChirality=True),
        "atom_pair": rdFingerprintGenerator.GetAtomPairGenerator(),
    }
    for name, generator in generators.items():
        for k, smiles in enumerate(SMILES):
            expected = generator.GetSparseCountFingerprint(Chem.MolFromSmiles(smiles)).GetNonzeroElements()
            row = table[name][[k]]
            assert dict(zip(row.indices.tolist(), row.data.tolist(), strict=True)) == expected
    paths = table["path"]
    assert paths.sum(1).tolist()[4] == 0
    assert paths[[0]].nnz > 20


def test_mirror_images_differ_in_morgan_counts_only(table):
    assert (table["morgan"][[1]] != table["morgan"][[2]]).nnz > 0
    assert (table["atom_pair"][[1]] != table["atom_pair"][[2]]).nnz == 0


def test_descriptors_are_rdkits_and_those_without_a_value_are_missing(table):
    assert "Ipc" not in DESCRIPTORS
    assert table.columns["rdkit2d"] == DESCRIPTORS
    column = DESCRIPTORS.index("MolWt")
    expected = [Descriptors.MolWt(Chem.MolFromSmiles(smiles)) for smiles in SMILES]
    np.testing.assert_allclose(table["rdkit2d"][:, column], expected, rtol=1e-6)
    assert np.isnan(table["rdkit2d"][5, DESCRIPTORS.index("MaxPartialCharge")])  # no charge is known of a dummy atom
    assert not np.isinf(table["rdkit2d"]).any()


def test_a_descriptor_beyond_float32_is_its_largest_number(monkeypatch):
    named = [("huge", lambda mol: -1e300), ("endless", lambda mol: float("inf")), ("none", lambda mol: 1 / 0)]
    monkeypatch.setattr(descriptors.Descriptors, "descList", named)
    values = descriptors._descriptors([Chem.MolFromSmiles("C")])[0]
    assert values[0] == np.finfo(np.float32).min
    assert np.isnan(values[1:]).all()


def test_worker_processes_give_the_same_in_the_same_order(monkeypatch):
    monkeypatch.setattr(descriptors, "_CHUNK", 2)
    alone, shared = describe(SMILES, workers=0), describe(SMILES, workers=2)
    for name in KINDS:
        if name == "rdkit2d":
            np.testing.assert_array_equal(shared[name], alone[name])
        else:
            assert (shared[name] != alone[name]).nnz == 0
    with pytest.raises(MoleculeError, match=r"RDKit cannot read SMILES 'C1CC': unclosed ring\n  where: molecule 5"):
        describe([*SMILES[:5], "C1CC"], ["morgan"], workers=2)


def _end(task):
    os._exit(3)


def test_a_worker_that_dies_is_said(monkeypatch):
    monkeypatch.setattr(descriptors, "_CHUNK", 2)
    monkeypatch.setattr(descriptors, "_task", _end)
    with pytest.raises(
        MoleculeError, match="a worker process ended while it computed features\n  where: molecules 0 to 1"
    ):
        describe(SMILES, ["morgan"], workers=1)


def test_molecules_are_read_as_their_smiles(table):
    mols = [Chem.AddHs(Chem.MolFromSmiles(smiles)) for smiles in SMILES]
    for name in ("morgan", "atom_pair", "path"):
        assert (describe(mols, [name])[name] != table[name]).nnz == 0
    with pytest.raises(MoleculeError, match=r"there is no molecule(.|\n)*where: molecule 1"):
        describe([mols[0], None], ["morgan"])


def test_no_molecule_makes_a_table_without_rows():
    table = describe([])
    assert len(table) == 0
    assert table["rdkit2d"].shape == (0, len(DESCRIPTORS))
    assert table.take([]).names == KINDS


@pytest.mark.parametrize("kinds", [["morgn"], [], ["morgan", "morgan"]])
def test_unknown_kinds_are_refused(kinds):
    with pytest.raises(
        ConfigError, match=r"kinds=.*is not allowed\n  fix:   kinds must be some of 'morgan', 'atom_pair'"
    ):
        describe(["C"], kinds)
