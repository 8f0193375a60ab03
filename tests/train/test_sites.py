"""mb.finetune_atoms: learning by heart, scores beside the mean by element, resuming, and what a loaded model tells."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import SMILES
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.data.site_inputs import open_sites
from dgl_moleblend.errors import CheckpointError, ConfigError, DataError
from dgl_moleblend.train.sites import finetune_sites

TINY = mb.EncoderConfig.tiny()
QUICK = mb.TrainingConfig(max_epochs=2, batch_size=8, learning_rate=1e-3)


def neighbours(smiles):
    """For each atom the number of its heavy neighbours, in tens, and its atomic number; oxygen has no value."""
    atoms = Chem.MolFromSmiles(smiles).GetAtoms()
    return [None if a.GetAtomicNum() == 8 else 10.0 * a.GetDegree() + a.GetAtomicNum() for a in atoms]


FRAME = pd.DataFrame({"smiles": SMILES, "q": [neighbours(s) for s in SMILES]})
BROKEN = FRAME.copy()
BROKEN.loc[3, "smiles"] = "C1CC"
BROKEN.at[5, "q"] = [1.0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "q-model"
    return mb.finetune_atoms(BROKEN, "q", encoder=TINY, training=QUICK, split="random", out=out, progress=False)


@pytest.mark.parametrize("level", ["atom", "bond"])
def test_a_few_molecules_are_learned_by_heart(level, tmp_path):
    few = [s for s in SMILES if len(s) > 5][:8]
    values = [neighbours(s) for s in few]
    if level == "bond":
        mols = [Chem.MolFromSmiles(s) for s in few]
        values = [
            [float(b.GetBeginAtom().GetDegree() + b.GetEndAtom().GetDegree()) for b in m.GetBonds()] for m in mols
        ]
    data = open_sites((few, values), None, level, mb.FeaturizerConfig())
    training = mb.TrainingConfig(max_epochs=150, batch_size=8, learning_rate=5e-3, clip_norm=0)
    every = np.arange(8)
    found = finetune_sites(data.labelled.dataset, data.values, {"train": every, "validation": every}, tmp_path / "m",
                           start=TINY.replace(drop_path=0.0, attention_dropout=0.0, activation_dropout=0.0),
                           training=training, compute=mb.Compute("cpu", progress=False))  # fmt: skip
    mean = found.metrics["mean_by_kind"]["validation"]["rmse"]
    assert mean > 0.2
    assert found.metrics["validation"]["rmse"] < 0.05 * mean


def test_scores_stand_beside_the_mean_by_element_and_every_row_is_accounted_for(model):
    metrics = model.metrics
    assert sum(metrics["rows"].values()) == len(FRAME) - 3
    held_out = model.predictions
    test = held_out[(held_out["split"] == "test") & held_out["q"].notna()]
    np.testing.assert_allclose(metrics["test"]["rmse"], np.sqrt(np.mean((test["q_predicted"] - test["q"]) ** 2)))
    assert metrics["values"]["test"] == len(test)
    training = FRAME.loc[model.rows.query("split == 'train'")["row"]]
    known = [(a.GetSymbol(), v) for s, q in training[["smiles", "q"]].values
             for a, v in zip(Chem.MolFromSmiles(s).GetAtoms(), q, strict=True) if v is not None]  # fmt: skip
    every = pd.DataFrame(known, columns=["kind", "value"])
    means = every.groupby("kind")["value"].mean()
    expected = test["kind"].map(means).fillna(every["value"].mean()) - test["q"]
    np.testing.assert_allclose(metrics["mean_by_kind"]["test"]["mae"], expected.abs().mean())
    carbon = metrics["kinds"]["test"]["q"]["C"]
    np.testing.assert_allclose(carbon["mean_by_kind_mae"], expected[test["kind"] == "C"].abs().mean())
    rows = model.rows
    assert rows["row"].tolist() == list(range(len(FRAME)))
    assert rows.set_index("row")["split"][[3, 5]].tolist() == ["rejected"] * 2
    assert "'q' has 1 value, and the molecule 6 atoms as it is written" in rows.set_index("row")["reason"][5]
    assert rows.set_index("row")["split"][SMILES.index("O")] == "left out"  # water has no value


def test_a_model_tells_of_each_atom_of_molecules_in_any_form(model, tmp_path):
    assert repr(model).endswith("q-model: q of atoms>")
    assert model.task_names == ("q",)
    table = model.predict(pd.Series(["CCO", "C1CC", "[H]C([H])O"], index=[7, 8, 9]))
    assert [None if v is None else len(v) for v in table["q_predicted"]] == [3, None, 2]
    assert table.index.tolist() == [7, 8, 9]
    assert "unclosed ring" in table.loc[8, "reason"]
    turned = Chem.RenumberAtoms(Chem.MolFromSmiles("CCO"), [2, 1, 0])
    by_mol = mb.predict(model.folder, [turned])
    assert by_mol["smiles"].item() == "[OH:1][CH2:2][CH3:3]"
    assert table.loc[7, "q_predicted"][2] is None  # no oxygen had a value
    numbers = np.array(table.loc[7, "q_predicted"], float)
    assert np.isnan(numbers).tolist() == [False, False, True]
    np.testing.assert_allclose(np.array(by_mol["q_predicted"].item(), float), numbers[::-1], rtol=1e-5)
    assert mb.embed(["CCO"], model).shape == (1, 32)
    held_out = model.predictions
    row = held_out[held_out["row"] == held_out["row"].iloc[0]]
    again = np.array(model.predict(row["smiles"].iloc[0])["q_predicted"].item(), float)
    np.testing.assert_allclose(again, row["q_predicted"], rtol=1e-4)
    with pytest.raises(ConfigError, match="values of atoms and bonds have no intervals"):
        model.predict("CCO", coverage=0.5)
    copy = mb.load(model.save(tmp_path / "kept"))
    assert copy.predict("CCO")["q_predicted"].item() == model.predict("CCO")["q_predicted"].item()
    assert model.plot_losses() is not None
    assert [len(one.get_offsets()) for one in model.plot_parity().axes[0].collections] == [held_out_values(model)]
    (tmp_path / "m.csv").write_text("smiles,batch\nCCO,7\nC1CC,8\n")
    streamed = next(model.stream(tmp_path / "m.csv", progress=False))
    assert streamed["batch"].tolist() == ["7", "8"]
    np.testing.assert_allclose(np.array(streamed["q_predicted"][0], float), numbers, rtol=1e-5)
    for ask in (lambda: model.explain("CCO"), lambda: model.write_page(["C"], tmp_path / "p.html")):
        with pytest.raises(ConfigError, match="a model of molecules"):
            ask()


def held_out_values(model):
    """How many test atoms have a value."""
    return model.predictions.query("split == 'test'")["q"].notna().sum()


def test_a_run_goes_on_with_the_same_values_alone(tmp_path):
    constant = QUICK.replace(schedule="constant", max_epochs=1)
    how = {"encoder": TINY, "split": "random", "out": tmp_path / "m", "progress": False}
    mb.finetune_atoms(FRAME, "q", training=constant, **how)
    other = FRAME.copy()
    other.at[0, "q"] = [1.0, 2.0, 3.0]
    longer = constant.replace(max_epochs=2)
    with pytest.raises(CheckpointError, match="values of atoms or bonds are not those of the interrupted run"):
        mb.finetune_atoms(other, "q", training=longer, resume=True, **how)
    assert mb.finetune_atoms(FRAME, "q", training=longer, resume=True, **how).metrics["epochs"] == 2
    with pytest.raises(DataError, match="already holds a finished run"):
        mb.finetune_atoms(FRAME, "q", training=longer, **how)


def test_zeros_and_ones_are_learned_as_numbers_and_said(capsys, tmp_path):
    frame = FRAME.assign(site=[[float(v == "C") for v in s if v.isalpha()] for s in SMILES])
    frame = frame[[len(q) == len(v) for q, v in zip(frame["q"], frame["site"], strict=True)]]
    mb.finetune_atoms(frame, "site", encoder=TINY, training=QUICK, split="random", out=tmp_path / "m")
    assert "all are 0 or 1, and are learned as numbers" in capsys.readouterr().err


def test_what_cannot_be_is_said_before_anything_is_written(tmp_path):
    how = {"encoder": TINY, "split": "random", "out": tmp_path / "m", "progress": False}
    for changed, words in (
        ({"metric": "roc_auc"}, "one of rmse, mae, loss"),
        ({"loss": "focal"}, "values are numbers"),
        ({"loss": "gaussian"}, "values are numbers"),
        ({"task_weights": (("q", 2.0),)}, "left out for values of atoms"),
        ({"class_weights": True}, "values are numbers"),
    ):
        with pytest.raises(ConfigError, match=words):
            mb.finetune_atoms(FRAME, "q", training=QUICK.replace(**changed), **how)
    with pytest.raises(DataError, match="every label of 'y' among the training rows is 1"):
        mb.finetune_atoms((SMILES, [[1.0] * len(neighbours(s)) for s in SMILES]), training=QUICK, **how)
    assert not (tmp_path / "m").exists() or not (tmp_path / "m" / "run.json").exists()


def test_damage_is_named(model, tmp_path):
    folder = model.save(tmp_path / "copy")
    document = json.loads((folder / "config.json").read_text())
    del document["extra"]["prior"]
    (folder / "run.json").unlink()  # which knows the checksum
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="does not say what is predicted: prior missing"):
        mb.load(folder)
