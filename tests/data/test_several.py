"""Rows of several molecules: each accounted for, each molecule read by one encoder, whatever stands beside it."""

import numpy as np
import pandas as pd
import pytest
import torch

import dgl_moleblend as mb
from dgl_moleblend.data.duplicates import by_molecule
from dgl_moleblend.data.several import beside
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.models.kernel import KernelModel
from dgl_moleblend.models.trees import TreeModel
from dgl_moleblend.pairs.loader import collate, make_inference_loader
from dgl_moleblend.predict.features import Features, of_molecules
from dgl_moleblend.predict.properties import check_featurizer

SOLUTES = ["CCO", "c1ccccc1O", "C1CC", "CCCCN", "CC(=O)O ", "CCCl", ""]
SOLVENTS = ["O", "CCCCCCCCCCCC", "O", "c1ccncc1", "not", "CO", "O"]


def pairs(first=SOLUTES, second=SOLVENTS):
    return beside([mb.MoleculeDataset.from_smiles(first), mb.MoleculeDataset.from_smiles(second)], ["a", "b"])


def predictor(molecules, readout="mean"):
    torch.manual_seed(0)
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    return mb.MoleBlendPredictor(2, encoder, readout=readout, molecules=molecules).eval()


def test_every_row_is_kept_or_rejected_once_and_the_column_is_named():
    found = pairs()
    assert found.rows.tolist() == [0, 1, 3, 5]
    assert found.smiles == ["CCO.O", "c1ccccc1O.CCCCCCCCCCCC", "CCCCN.c1ccncc1", "CCCl.CO"]
    assert found.rejects["row"].tolist() == [2, 4, 6]
    assert [reason.partition(":")[0] for reason in found.rejects["reason"]] == [
        "column 'a'",
        "column 'b'",
        "column 'a'",
    ]
    assert found.num_atoms.tolist() == [3, 12, 6, 3]
    assert found.divided_by == ["CCO", "c1ccccc1O", "CCCCN", "CCCl"]


def test_a_subset_and_tasks_keep_molecules_beside_each_other():
    found = pairs().subset([3, 1]).subset([1, 0])
    assert found.smiles == ["c1ccccc1O.CCCCCCCCCCCC", "CCCl.CO"]
    assert found.select_tasks([]).smiles == found.smiles
    assert [len(sample.partners[0].atom) for sample in found] == [12, 2]
    assert found.digest() != pairs(second=SOLVENTS[::-1]).digest()
    assert pairs().digest() == pairs().digest()


@pytest.mark.parametrize("readout", ["token", "mean", "sum"])
def test_what_is_predicted_of_a_row_does_not_depend_on_the_others(readout):
    data, model = pairs(), predictor(2, readout)
    with torch.no_grad():
        together = model(collate([*data]).molecules.relations())
        alone = torch.cat([model(collate([sample]).molecules.relations()) for sample in data])
        batches = {int(k): row for batch in make_inference_loader(data, 2)
                   for k, row in zip(batch.index, model(batch.molecules.relations()), strict=True)}  # fmt: skip
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.stack([batches[k] for k in range(4)]), alone, rtol=1e-4, atol=1e-5)


def test_the_head_reads_the_states_of_one_encoder_side_by_side():
    data, model = pairs(), predictor(2)
    states = []
    for part in (data.first, *data.partners):
        encoded = model.encoder(collate([*part]).molecules.relations())
        mask = encoded.view.atom_mask.unsqueeze(-1)
        states.append((encoded.atoms * mask).sum(1) / mask.sum(1))
    expected = model.head(torch.cat(states, 1))
    torch.testing.assert_close(model(collate([*data]).molecules.relations()), expected, rtol=1e-4, atol=1e-5)
    swapped = pairs(SOLVENTS, SOLUTES)
    assert not torch.allclose(model(collate([*swapped]).molecules.relations()), expected, atol=1e-3)


def test_a_saved_predictor_knows_how_many_molecules_it_reads(tmp_path):
    model = predictor(2)
    model.save_pretrained(tmp_path / "m")
    loaded = mb.MoleBlendPredictor.from_pretrained(tmp_path / "m").eval()
    batch = collate([*pairs()]).molecules.relations()
    torch.testing.assert_close(loaded(batch), model(batch), rtol=0, atol=0)


def test_features_of_each_molecule_have_names_of_their_own():
    data = pairs()
    names = of_molecules(("morgan", "rdkit2d"), 2)
    table = Features(data, progress=False).table(names)
    for number, part in enumerate((data.first, *data.partners), start=1):
        own = Features(part, progress=False).table(("morgan", "rdkit2d"))
        end = "" if number == 1 else f"@{number}"
        assert (table[f"morgan{end}"] != own["morgan"]).nnz == 0
        np.testing.assert_array_equal(table[f"rdkit2d{end}"], own["rdkit2d"])
    folds = np.array([0, 1, 0, 1])
    for model_class, settings in ((KernelModel, {}), (TreeModel, {}), (TreeModel, {"kind": "forest"})):
        model = model_class.fit(table, np.arange(4.0)[:, None], "regression", folds, **settings)
        assert {*model.required_features} >= {"morgan", "morgan@2"}
        again = model_class.from_state(*model.state())
        np.testing.assert_array_equal(again.predict(table), model.predict(table))
    with pytest.raises(DataError, match="reads 2 molecules a row, and these are 1"):
        Features(data.first, progress=False).table(names)


def test_rows_of_another_number_of_molecules_are_refused():
    config = mb.FeaturizerConfig()
    check_featurizer(config, pairs(), ["a", "b"])
    with pytest.raises(CheckpointError, match="a molecule from each of the columns a, b, and these rows have 1"):
        check_featurizer(config, pairs().first, ["a", "b"])
    with pytest.raises(CheckpointError, match="reads one molecule a row, and these rows have 2"):
        check_featurizer(config, pairs())


def test_a_table_in_memory_is_learned_from_and_predicted(tmp_path):
    smiles = [f"{'C' * k}{end}" for k in range(1, 9) for end in ("O", "N", "Cl")]
    frame = pd.DataFrame({"a": smiles, "b": smiles[::-1]})
    frame["y"] = frame["a"].str.len() - frame["b"].str.len()
    frame.loc[4, "b"] = "C1CC"
    how = {"smiles_column": ["a", "b"], "split": "random", "progress": False}
    model = mb.finetune(frame, target="y", head="kernel", out=tmp_path / "m", **how)
    table = model.predict(frame, progress=False)
    assert table["reason"][4].startswith("column 'b'")
    assert table["y_predicted"].isna().tolist() == [k == 4 for k in range(24)]
    assert np.corrcoef(table["y_predicted"].drop(4), frame["y"].drop(4))[0, 1] > 0.9
    frame.to_csv(tmp_path / "table.csv", index=False)
    streamed = pd.concat(model.stream(tmp_path / "table.csv", progress=False))
    np.testing.assert_allclose(streamed["y_predicted"], table["y_predicted"], rtol=1e-5)
    with pytest.raises(DataError, match="molecules of the columns a, b, and here is no table"):
        model.predict(["CCO"], progress=False)
    with pytest.raises(DataError, match="no column 'b'"):
        model.predict(frame[["a"]], progress=False)
    with pytest.raises(ValueError, match="left out: the model reads a, b"):
        model.predict(frame, smiles_column="a", progress=False)
    with pytest.raises(DataError, match="name two or more"):
        mb.finetune(frame, target="y", smiles_column=["a"], progress=False)


def test_the_same_molecules_in_the_same_columns_are_duplicates():
    data = pairs(["CCO", "O", "OCC", "CCO"], ["O", "CCO", "O", "CO"])
    assert sorted(by_molecule(data)) == [[0, 2], [1], [3]]


@pytest.mark.parametrize("kind", ["forest", "trees"])
def test_trees_read_every_molecule(kind):
    smiles = [f"{'C' * (k % 7 + 1)}{'ON'[k % 2]}" for k in range(40)]
    data = pairs(["CCO"] * 40, smiles)
    label = np.array([[len(text)] for text in smiles], float)
    model = TreeModel.fit(Features(data, progress=False).table(of_molecules(("morgan",), 2)), label, "regression",
                          kind=kind)  # fmt: skip
    assert np.corrcoef(model.out_of_fold[:, 0], label[:, 0])[0, 1] > 0.9
