"""Conformers of earlier runs: the same atom by atom, however the molecule is written; never wrong ones."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rdkit import Chem

from dgl_moleblend.chem import conformer_cache, conformers
from dgl_moleblend.chem.conformers import embed_positions
from dgl_moleblend.chem.sanitize import read_smiles
from dgl_moleblend.errors import MoleculeError

ALANINE = "C[C@H](N)C(=O)O"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    path = tmp_path / "conformers.sqlite"
    monkeypatch.setenv("DGL_MOLEBLEND_CONFORMER_CACHE", str(path))
    conformer_cache._say.cache_clear()
    return path


@pytest.fixture
def embedded(monkeypatch):
    """How often a molecule was embedded."""
    calls = []
    embed = conformers._embed_smiles
    monkeypatch.setattr(conformers, "_embed_smiles", lambda *given: calls.append(given[0]) or embed(*given))
    return calls


def test_positions_are_those_that_are_made_without(cache, embedded, monkeypatch):
    mols = [read_smiles(smiles) for smiles in (ALANINE, "c1ccccc1O", "[Na+].[O-]C=O")]
    first, again = ([embed_positions(mol, 3, 2) for mol in mols] for _ in range(2))
    assert len(embedded) == 3
    monkeypatch.delenv("DGL_MOLEBLEND_CONFORMER_CACHE")
    for made, found, mol in zip(first, again, mols, strict=True):
        np.testing.assert_array_equal(made, embed_positions(mol, 3, 2))
        np.testing.assert_array_equal(made, found)


def test_another_writing_gets_the_positions_of_its_own_atoms(cache, embedded):
    mol = read_smiles(ALANINE)
    made = embed_positions(mol)
    order = [4, 0, 5, 2, 1, 3]
    other = Chem.RenumberAtoms(mol, order)
    np.testing.assert_array_equal(embed_positions(other), made[:, order])
    assert len(embedded) == 1
    mirror = embed_positions(read_smiles("C[C@@H](N)C(=O)O"))
    assert len(embedded) == 2
    assert not np.array_equal(mirror, made)


@pytest.mark.parametrize("change", [{"seed": 1}, {"num_conformers": 2}, {"optimize": False}])
def test_other_settings_are_other_conformers(change, cache, embedded):
    mol = read_smiles(ALANINE)
    embed_positions(mol)
    embed_positions(mol, **change)
    assert len(embedded) == 2


def test_a_failure_is_not_kept(cache):
    with pytest.raises(MoleculeError, match="atoms, with hydrogens, are more than"):
        embed_positions(read_smiles("C" * 700))
    assert not cache.exists() or not sqlite3.connect(cache).execute("SELECT * FROM conformers").fetchall()


def test_a_file_that_is_no_cache_is_said_and_left(cache, caplog):
    cache.write_bytes(b"my thesis" * 1000)
    mol = read_smiles("CCO")
    found = embed_positions(mol)
    assert found.shape == (1, 3, 3)
    embed_positions(mol)
    assert [str(cache) in record.getMessage() for record in caplog.records].count(True) == 1
    assert "file is not a database" in caplog.text
    assert cache.read_bytes() == b"my thesis" * 1000


def test_a_folder_that_is_not_there_is_named(cache, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("DGL_MOLEBLEND_CONFORMER_CACHE", str(tmp_path / "nowhere" / "c.sqlite"))
    assert embed_positions(read_smiles("CCO")).shape == (1, 3, 3)
    assert f"there is no folder {str(tmp_path / 'nowhere')!r} (make the folder, or name another)" in caplog.text


@pytest.mark.parametrize(
    "damage",
    ["positions = zeroblob(36)", "conformers = 0", "conformers = NULL", "conformers = -1", "positions = zeroblob(0)"],
)
def test_damaged_conformers_are_made_anew(cache, caplog, damage):
    mol = read_smiles("CCO")
    made = embed_positions(mol)
    with sqlite3.connect(cache) as connection:
        connection.execute(f"UPDATE conformers SET {damage}")
    np.testing.assert_array_equal(embed_positions(mol), made)
    assert "the conformers of CCO are damaged" in caplog.text
    conformer_cache._say.cache_clear()
    caplog.clear()
    np.testing.assert_array_equal(embed_positions(mol), made)
    assert not caplog.records


def test_several_may_write_at_once(cache):
    mols = [read_smiles("C" * k + "O") for k in range(1, 9)] * 4
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(embed_positions, mols)]
    with sqlite3.connect(cache) as connection:
        assert connection.execute("SELECT count(*) FROM conformers").fetchone() == (8,)
    for first, later in zip(found[:8], found[24:], strict=True):
        np.testing.assert_array_equal(first, later)
