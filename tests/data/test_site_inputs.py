"""Values of atoms and bonds from tables, SDF, NPZ and lists: each at its atom, or its row refused with a reason."""

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.data.site_inputs import open_site_files, open_sites
from dgl_moleblend.data.sites import SiteValues, bond_order
from dgl_moleblend.errors import ConfigError, DataError

PLAIN = mb.FeaturizerConfig()


def lists(data, k):
    """The values of molecule k, by its atoms, or by its bonds in RDKit's order."""
    found = data.values.rows([k])
    if data.values.level == "bond":
        back = np.empty_like(found)
        back[bond_order(data.labelled.dataset[k].molecule)] = found
        found = back
    return found[:, 0].tolist()


def test_values_of_a_table_lie_at_their_atoms_and_bad_rows_say_why(tmp_path):
    path = tmp_path / "shifts.csv"
    path.write_text(
        'id,smiles,shift\na,CCO,"[1.5, null, 3]"\nb,[H]OC,7 8 9\nc,OC,"[8, 9]"\nd,CC,\ne,CCO,"[1, 2]"\n'
        'f,CC,"1 x"\ng,C1CC,1 2 3\nh,[OH:2][CH3:1],1 2\ni,[H]OC,1\n'
    )
    said = []
    data = open_site_files([path], ["shift"], "atom", PLAIN, tell=said.append)
    dataset = data.labelled.dataset
    assert dataset.ids == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(lists(data, 0), [1.5, np.nan, 3])
    assert lists(data, 1) == [8, 9]  # the first is a hydrogen's
    assert said == ["1 values are of hydrogens that molecules are read without: they are not used"]
    assert np.isnan(lists(data, 3)).all()
    np.testing.assert_array_equal(dataset.labels[:, 0], [2.25, 8.5, 8.5, np.nan])  # means
    assert data.values.kinds.tolist() == ["C", "C", "O", "O", "C", "O", "C", "C", "C"]
    reasons = dict(zip(dataset.rejects["id"], dataset.rejects["reason"], strict=True))
    assert reasons["e"] == "'shift' has 2 values, and the molecule 3 atoms as it is written"
    assert reasons["f"] == "'shift' holds no list of numbers: 'x' is no number"
    assert "unclosed ring" in reasons["g"]
    assert "its atoms are numbered in another order than they are written in" in reasons["h"]
    assert reasons["i"] == (
        "'shift' has 1 value, and the molecule 3 atoms as it is written (2 without the hydrogens that are not kept)"
    )


def test_property_lists_of_sdf_with_hydrogens(tmp_path):
    writer = Chem.SDWriter(str(tmp_path / "m.sdf"))
    for smiles in ("CO", "C=N"):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        mol = Chem.RenumberAtoms(mol, [*range(2, mol.GetNumAtoms()), 1, 0])  # hydrogens first, then the hetero atom
        for atom in mol.GetAtoms():
            if atom.GetAtomicNum() != 7:
                atom.SetDoubleProp("q", atom.GetAtomicNum() / 8)
        Chem.CreateAtomDoublePropertyList(mol, "q")
        mol.SetProp("order", " ".join(str(bond.GetBondTypeAsDouble()) for bond in mol.GetBonds()))
        writer.write(mol)
    writer.close()
    data = open_site_files([tmp_path / "m.sdf"], ["q"], "atom", PLAIN)
    np.testing.assert_array_equal(lists(data, 0), [1.0, 0.75])
    np.testing.assert_array_equal(lists(data, 1), [np.nan, 0.75])
    bonds = open_site_files([tmp_path / "m.sdf"], ["order"], "bond", PLAIN)
    assert [lists(bonds, k) for k in (0, 1)] == [[1.0], [2.0]]
    assert bonds.values.kinds.tolist() == ["C-O single", "C-N double"]


def test_bonds_are_in_rdkits_order_whichever_way_atoms_are_numbered():
    smiles = "OC1CC(=O)C1N"  # the ring closes late: its bond is not the last by atoms
    mol = Chem.MolFromSmiles(smiles)
    values = [10.0 * bond.GetBeginAtomIdx() + bond.GetEndAtomIdx() for bond in mol.GetBonds()]
    data = open_sites(([smiles], [values]), None, "bond", PLAIN)
    assert lists(data, 0) == values
    ends = np.sort(data.labelled.dataset[0].molecule.bond_index, axis=1)[bond_order(data.labelled.dataset[0].molecule)]
    assert ends.tolist() == sorted(ends.tolist())
    table = dict(zip(map(tuple, ends.tolist()), data.values.values[:, 0].tolist(), strict=True))
    assert {10.0 * min(v // 10, v % 10) + max(v // 10, v % 10) for v in values} == {10.0 * i + j for (i, j) in table}
    assert all({v // 10, v % 10} == {*pair} for pair, v in table.items())


def test_arrays_by_identifier(tmp_path):
    np.savez(tmp_path / "shift.npz", a=np.array([1.0, 2.0, np.nan]), other=np.zeros(2))
    (tmp_path / "m.csv").write_text("id,smiles\na,CCO\nb,CC\n")
    said = []
    data = open_site_files([tmp_path / "m.csv"], [str(tmp_path / "shift.npz")], "atom", PLAIN, tell=said.append)
    assert data.values.names == ("shift",)
    np.testing.assert_array_equal(lists(data, 0), [1, 2, np.nan])
    assert said == ["1 of 2 arrays are of no molecule here: 'other'"]
    frame = pd.DataFrame({"id": ["x", "a"], "smiles": ["CC", "CCO"]})
    again = open_sites(frame, tmp_path / "shift.npz", "atom", PLAIN)
    np.testing.assert_array_equal(lists(again, 1), [1, 2, np.nan])
    with pytest.raises(
        DataError, match=r"no array has the identifier of a molecule: arrays are 'a', 'other', mol.* 'x'"
    ):
        open_sites(frame.assign(id=["x", "y"]), tmp_path / "shift.npz", "atom", PLAIN)
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="the file is no NPZ of arrays"):
        open_sites(frame, tmp_path / "bad.npz", "atom", PLAIN)


def test_molecules_in_memory_and_parquet(tmp_path):
    frame = pd.DataFrame({"smiles": ["CO", "N", None], "q": [[0.1, -0.1], None, [1.0]], "z": ["8 9", "[7]", "1"]},
                         index=[5, 6, 7])  # fmt: skip
    data = open_sites(frame, ["q", "z"], "atom", PLAIN)
    np.testing.assert_array_equal(data.values.values, [[0.1, 8], [-0.1, 9], [np.nan, 7]])
    assert data.labelled.dataset.rejects["row"].tolist() == [2]
    frame.to_parquet(tmp_path / "m.parquet")
    stored = open_site_files([tmp_path / "m.parquet"], ["q", "z"], "atom", PLAIN)
    np.testing.assert_array_equal(stored.values.values, data.values.values)
    mol = Chem.AddHs(Chem.MolFromSmiles("CO"))
    assert lists(open_sites(([mol], [[*range(6)]]), None, "atom", PLAIN), 0) == [0.0, 1.0]
    assert open_sites(["CO"], pd.Series([[1, 2]], name="s"), "atom", PLAIN).values.names == ("s",)


def test_what_cannot_be_is_said(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("smiles,shift\nCCO,1 2 3\n")
    other = tmp_path / "n.csv"
    other.write_text("smiles,shifts\nCCO,1 2 3\n")
    with pytest.raises(DataError, match="there is no column 'shft'"):
        open_site_files([path], ["shft"], "atom", PLAIN, option="--atom-targets")
    with pytest.raises(DataError, match=r"n\.csv"):
        open_site_files([path, other], ["shift"], "atom", PLAIN)
    with pytest.raises(DataError, match=r"2 molecules and 1 lists of values"):
        open_sites((["C", "N"], [[1]]), None, "atom", PLAIN)
    with pytest.raises(DataError, match="the values of the bonds are not named"):
        open_sites(str(path), None, "bond", PLAIN)
    with pytest.raises(DataError, match="no atom has a value of 'y'"):
        open_sites((["C"], [None]), None, "atom", PLAIN)
    with pytest.raises(DataError, match="there are molecules, and no values of their atoms"):
        open_sites(["C"], "q", "atom", PLAIN)
    with pytest.raises(ConfigError, match="level='pair' is not allowed"):
        open_sites((["C"], [[1]]), None, "pair", PLAIN)
    with pytest.raises(ConfigError, match="values belong to the molecule as it is written"):
        open_sites((["C"], [[1]]), None, "atom", mb.FeaturizerConfig(standardize=("neutral",)))
    dataset = mb.MoleculeDataset.from_file(path, store=tmp_path / "store")
    for given in (dataset, str(tmp_path / "store")):
        with pytest.raises(DataError, match="a data set"):
            open_sites(given, "shift", "atom", PLAIN)


def test_values_are_taken_by_molecule():
    values = SiteValues("atom", ("q",), np.array([2, 0, 3]), np.arange(5.0)[:, None], np.array(list("CNCCO")))
    assert values.rows([2, 0])[:, 0].tolist() == [2, 3, 4, 0, 1]
    part = values.take([2, 1])
    assert (part.counts.tolist(), part.values[:, 0].tolist(), part.kinds.tolist()) == ([3, 0], [2, 3, 4], [*"CCO"])
    assert part.digest() != values.digest() == values.take([0, 1, 2]).digest()
