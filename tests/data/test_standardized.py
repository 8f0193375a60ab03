"""Data sets of standard forms: settings and the user's SMILES are kept, and all that decides identity sees the form."""

import json

import numpy as np

import dgl_moleblend as mb
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.duplicates import find_duplicates
from dgl_moleblend.data.joined import JoinedTable
from dgl_moleblend.data.pretraining_targets import targets_from_table

SALTS = ["CC(=O)[O-].[Na+]", "Oc1ccccn1", "C[NH3+].[Cl-]"]
PARENTS = ["CC(=O)O", "O=c1cccc[nH]1", "CN"]
SETTINGS = FeaturizerConfig(standardize=FeaturizerConfig.STEPS)


def test_a_store_remembers_it_and_keeps_the_texts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("smiles,y\n" + "".join(f"{text},1\n" for text in SALTS + PARENTS))
    stored = MoleculeDataset.from_file(path, task_columns=["y"], featurizer=SETTINGS, store=tmp_path / "s")
    again = MoleculeDataset.from_store(tmp_path / "s")
    for data in (stored, again):
        assert data.smiles == SALTS + PARENTS
        assert data.structures == PARENTS + PARENTS
        assert data.featurizer == SETTINGS
        for k in range(3):
            assert sorted(data[k].molecule.atom.tolist()) == sorted(data[k + 3].molecule.atom.tolist())
    assert again.subset([1]).structures == PARENTS[1:2]
    plain = MoleculeDataset.from_file(path, store=tmp_path / "t")
    assert plain.structures == plain.smiles
    assert "standardize" not in json.loads((tmp_path / "t" / "manifest.json").read_text())["featurizer"]
    assert JoinedTable([again.table, plain.table]).structures == [*PARENTS, *PARENTS, *SALTS, *PARENTS]


def test_identity_and_scaffolds_are_those_of_the_form(tmp_path):
    data = MoleculeDataset.from_smiles(SALTS + PARENTS, featurizer=SETTINGS)
    parts = {"train": np.arange(3), "test": np.arange(3, 6)}
    assert find_duplicates(data, parts)["held_out_rows_seen_in_training"] == 3
    plain = MoleculeDataset.from_smiles(SALTS + PARENTS)
    assert find_duplicates(plain, parts)["held_out_rows_seen_in_training"] == 0
    path = tmp_path / "labels.csv"
    path.write_text("smiles,y\nCC(=O)[O-].[K+],1\nCN,2\nCO,3\n")
    said: list[str] = []
    targets_from_table(data, path, tell=said.append)
    assert "2 of 3 rows are molecules to pretrain on" in said[0]


def test_a_model_does_to_new_molecules_what_was_done_to_its_own():
    acids = ["C" * k + "C(=O)O" for k in range(1, 13)]
    labels = [float(k) for k in range(1, 13)]
    how = {"split": "random", "head": "trees", "progress": False, "standardize": ("fragment", "neutral")}
    model = mb.finetune((acids, labels), **how)
    salts = [text[:-1] + "[O-].[Na+]" for text in acids]
    table = model.predict(salts, progress=False)
    assert table["smiles"].tolist() == salts, "the texts stay as they came"
    expected = model.predict(acids, progress=False)
    for name in ("y_predicted", "similarity"):
        np.testing.assert_array_equal(table[name], expected[name])
    assert mb.load(model.folder).featurizer.standardize == ("fragment", "neutral")
    other = mb.finetune((acids, labels), **{**how, "standardize": ()}).predict(salts, progress=False)
    assert (other["similarity"] < 1).all()
