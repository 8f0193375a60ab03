"""mb.finetune and mb.pretrain: from molecules in hand to a model that is asked, and what it tells of itself."""

import re

import numpy as np
import pandas as pd
import pytest
from commands import SMILES
from matplotlib.figure import Figure

import dgl_moleblend as mb
from dgl_moleblend.errors import CheckpointError, ConfigError, DataError
from dgl_moleblend.train.auto import finetune_auto
from dgl_moleblend.train.finetune import finetune
from dgl_moleblend.train.run import write_run

FRAME = pd.DataFrame({"smiles": SMILES, "size": [float(len(s)) for s in SMILES], "odd": [len(s) % 2 for s in SMILES]})
FRAME.loc[4, "smiles"] = "C1CC"
QUICK = mb.TrainingConfig(max_epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "size-model"
    return mb.finetune(FRAME, "size", encoder=mb.EncoderConfig.tiny(), head="network", training=QUICK, out=out,
                       split="random", progress=False)  # fmt: skip


def test_a_model_is_given_back_and_accounts_for_every_row(network):
    assert re.fullmatch(r"<.*size-model: regression of size>", repr(network))
    assert network.report.read_text(encoding="utf-8").startswith("<!")
    assert network.metrics["test"]["rmse"] > 0
    rows = network.rows
    assert rows["row"].tolist() == list(range(len(FRAME)))
    assert rows["split"].value_counts().to_dict() == {"train": 23, "test": 4, "validation": 2, "rejected": 1}
    assert rows.loc[4, "split"] == "rejected"
    assert "unclosed ring" in rows.loc[4, "reason"]
    # in the unit of the label, unlike the bare network: a fresh one tells of the mean of the training rows
    assert abs(network.predict(FRAME)["size_predicted"].mean() - FRAME["size"].mean()) < 1.5
    held_out = network.predictions
    again = network.predict(held_out["smiles"])["size_predicted"]
    np.testing.assert_allclose(again, held_out["size_predicted"], rtol=1e-4)


def test_pictures_and_explanations(network):
    for figure in (network.plot_parity(), network.plot_losses(), network.plot_atoms("CCO")):
        assert isinstance(figure, Figure)
    table = network.explain("OCC")
    assert table["element"].tolist() == ["O", "C", "C"]
    predicted = network.predict("OCC")["size_predicted"].item()
    assert table.attrs["prediction"] == pytest.approx([predicted], rel=1e-4)
    assert table.attrs["baseline"][0] + table["size"].sum() == pytest.approx(predicted, rel=1e-3)
    with pytest.raises(ConfigError, match=r"draw plot_parity\(\)"):
        network.plot_roc()


def test_a_copy_is_as_good(network, tmp_path):
    copy = mb.load(network.save(tmp_path / "kept"))
    assert copy.predict(["CCO"]).equals(network.predict(["CCO"]))
    assert copy.report.is_file()
    with pytest.raises(DataError, match="something of this name"):
        network.save(tmp_path / "kept")


def test_without_a_folder_it_is_temporary_and_said(capsys):
    models = [mb.finetune(FRAME, "odd", head="trees", split="random", encoder=None) for _ in range(2)]  # a cell, twice
    said = capsys.readouterr().err
    for model in models:
        assert f"model: {model.folder}, a temporary folder; model.save('NAME') keeps it" in said
    assert "30 rows: 29 kept, 1 rejected" in said
    assert models[0].metrics["task_type"] == "classification"
    assert isinstance(models[0].plot_roc(), Figure)
    with pytest.raises(ConfigError, match=r"draw plot_roc\(\)"):
        models[0].plot_parity()
    with pytest.raises(ConfigError, match=r"head='network'"):
        models[0].explain("CCO")
    with pytest.raises(DataError, match="no logs"):
        models[0].plot_losses()


def test_columns_of_the_table_are_features(tmp_path):
    model = mb.finetune(FRAME, "size", head="trees", features=["morgan", "odd"], split="random", encoder=None,
                        out=tmp_path / "model", progress=False)  # fmt: skip
    found = model.predict(FRAME)["size_predicted"]
    assert (found.isna() == (FRAME.index == 4)).all()
    FRAME.to_csv(tmp_path / "table.csv", index=False)
    np.testing.assert_allclose(model.predict(tmp_path / "table.csv")["size_predicted"], found, rtol=1e-6)
    with pytest.raises(DataError, match="no column 'odd'"):
        model.predict(FRAME[["smiles"]])
    with pytest.raises(DataError, match="'odd'"):
        model.predict(["CCO"])


def test_pretrain_then_finetune(tmp_path):
    config = mb.EncoderConfig.tiny()
    start = mb.pretrain(
        SMILES, encoder=config, positions="none", training=QUICK, out=tmp_path / "start", progress=False
    )
    assert start.embed(["CCO", "bad"]).shape == (2, config.feat_size)
    for ask in (lambda: start.metrics, lambda: start.rows, start.plot_parity, lambda: start.report):
        with pytest.raises(DataError, match=r"there is no (metrics\.json|report\.html)"):
            ask()
    with pytest.raises(DataError, match=r"mini is no folder of one fine-tuned model"):
        _ = mb.load("mini").metrics
    model = mb.finetune((SMILES, FRAME["size"]), encoder=start.folder, head="network", training=QUICK, split="random",
                        out=tmp_path / "model", progress=False)  # fmt: skip
    assert model.embed("CCO").shape == (1, config.feat_size)


def test_what_is_wrong_is_said_before_anything_is_written(tmp_path):
    out = tmp_path / "model"
    for wrong, error, message in (
        ({"target": "siz"}, DataError, "did you mean target='size'"),
        ({}, DataError, "2 columns can be what is to be predicted: 'size', 'odd'"),
        ({"target": "size", "head": "forest"}, ConfigError, "head='forest'"),
        ({"target": "size", "encoder": "nowhere"}, CheckpointError, "no model folder 'nowhere'"),
        ({"target": "size", "split": "scafold"}, DataError, "no way to divide"),
        ({"target": "size", "features": ["morgan", "temperature"]}, DataError, "no column 'temperature'"),
        ({"target": "size", "head": "network", "fast": True}, ConfigError, "fast=True"),
    ):
        with pytest.raises(error, match=message):
            mb.finetune(FRAME, **wrong, out=out, progress=False)
    with pytest.raises(DataError, match="the first was rejected: RDKit cannot read SMILES 'C1CC'"):
        mb.finetune((["C1CC"], [1.0]), out=out, progress=False)
    assert not out.exists()


def test_reprs_print_sizes():
    dataset = mb.MoleculeDataset.from_smiles(["CCO", "C1CC", "c1ccccc1"])
    assert repr(dataset) == "<MoleculeDataset: 2 molecules, no labels, 1 rows rejected>"
    graphs = mb.MoleculeFeaturizer().many(["CCO", "C"])
    text = repr(mb.RelationBatch.from_graphs(graphs))
    assert text.startswith("<RelationBatch on cpu: atom (2, 3, 9), degree (2, 3), positions (2, 3, 3)")
    assert len(text) < 300
    batch = mb.MoleculeBatch.from_arrays([mb.MoleculeFeaturizer().arrays("CCO")])
    assert "bond_index (2, 2)" in repr(batch)


def test_three_arrays_are_no_split_of_the_workflows(tmp_path):
    dataset = mb.MoleculeDataset.from_smiles(SMILES)
    for function in (finetune, finetune_auto):
        with pytest.raises(DataError, match=r"the split is a tuple\n.*'train', 'validation'"):
            function(dataset, dataset.split("random"), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_to_be_known_of_a_division_is_said(capsys):
    frame = FRAME.assign(size=FRAME["size"].where(FRAME.index != 7))
    rows = {"train": range(20), "validation": range(20, 30)}
    mb.finetune(frame, "size", head="trees", split=rows, encoder=None)
    assert "no test rows: there will be no score of molecules that chose nothing" in capsys.readouterr().err
    mb.finetune(frame, "size", head="trees", split="random", encoder=None)
    assert "1 molecules have no label, and are in no part" in capsys.readouterr().err


def test_labels_over_many_decades_get_advice(capsys):
    frame = FRAME.assign(size=[10.0 ** (k % 6) for k in range(30)])
    with pytest.raises(DataError, match="validation part of the split is empty"):
        mb.finetune(frame, "size", head="trees", split="random", fractions=(1, 0, 0), encoder=None)
    assert capsys.readouterr().err.count("values of 'size' span 5 decades, from 1 to 100000: models of their log") == 1


@pytest.mark.parametrize("function", [mb.finetune, mb.finetune_atoms, mb.pretrain])
def test_a_folder_that_is_taken_is_said_before_anything_is_read(function, tmp_path):
    write_run(tmp_path, {}, finished=True)
    ways = r"already holds a finished run[\s\S]*choose another folder, or pass --overwrite \(overwrite=True\)$"
    with pytest.raises(DataError, match=ways):
        function(tmp_path / "nowhere.csv", out=tmp_path, progress=False)
    with pytest.raises(DataError, match=r"there is no run to resume[\s\S]*--resume \(resume=True\)"):
        function(tmp_path / "nowhere.csv", out=tmp_path / "new", resume=True, progress=False)
    with pytest.raises(DataError, match=r"nowhere\.csv|are not named"):
        function(tmp_path / "nowhere.csv", out=tmp_path, overwrite=True, progress=False)
