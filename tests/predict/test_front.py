"""load, predict and embed: one row for every input, in its order, whatever the inputs are."""

import importlib
import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.errors import CheckpointError, ConfigError, DataError, MoleculeError
from dgl_moleblend.models.targets import LabelScaling
from dgl_moleblend.predict.inference import infer
from dgl_moleblend.predict.properties import PropertyModel

SMILES = ["CCO", "c1ccccc1", "CC(=O)O", "[Na+].[Cl-]", "C"]
MIXED = ["CCO", "C1CC", "c1ccccc1", None, float("nan"), " ", pd.NA, "CC(=O)O", 7, "C"]
GOOD = [0, 2, 7, 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    for value in encoder.parameters():
        value.data += 0.2 * torch.randn_like(value)
    predictor = mb.MoleBlendPredictor(2, encoder)
    model = PropertyModel(
        predictor, mb.FeaturizerConfig(), ("logS", "size"), "regression", LabelScaling((-3.0, 10.0), (2.0, 5.0))
    )
    model.save_pretrained(folder)
    write_training_set(folder, SMILES)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return mb.load(folder)


@pytest.fixture(scope="module")
def alone(model):
    """Each molecule on its own: nobody to be mixed up with."""
    return {smiles: model.predict(smiles)["logS_predicted"].item() for smiles in SMILES}


def test_one_row_per_input(model, alone):
    table = model.predict(MIXED)
    assert table.index.tolist() == list(range(len(MIXED)))
    assert [*table.columns] == [
        "smiles",
        "logS_predicted",
        "size_predicted",
        "similarity",
        "nearest",
        "warning",
        "reason",
    ]
    assert np.flatnonzero(table["logS_predicted"].notna()).tolist() == GOOD
    assert np.flatnonzero(table["reason"] == "").tolist() == GOOD
    for row in GOOD:
        assert table["smiles"][row] == MIXED[row]
        assert table["logS_predicted"][row] == pytest.approx(alone[MIXED[row]], rel=1e-4)
    reasons = table["reason"]
    assert "unclosed ring" in reasons[1]
    assert [reasons[k] for k in (3, 5)] == ["there is no molecule: None", "the SMILES is blank"]
    assert reasons[4] == "there is no molecule: nan"
    assert reasons[6] == "there is no molecule: <NA>"
    assert reasons[8] == "'7' is neither a SMILES nor an RDKit Mol"
    assert (table["warning"] == "").all()

    vectors = model.embed(MIXED)
    assert (vectors.shape, vectors.dtype) == ((len(MIXED), 32), np.float32)
    assert np.flatnonzero(~np.isnan(vectors).any(1)).tolist() == GOOD
    for row in GOOD:
        np.testing.assert_allclose(vectors[row], model.embed(MIXED[row])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        tuple,
        iter,
        np.array,
        lambda values: np.array(values, object),
        pd.Series,
        lambda values: pd.Series(values, dtype="string"),
        pd.Index,
        lambda values: [Chem.MolFromSmiles(value) for value in values],
        lambda values: [Chem.AddHs(Chem.MolFromSmiles(values[0])), *values[1:]],
        lambda values: pd.DataFrame({"id": range(len(values)), "Canonical_SMILES": values}),
        mb.MoleculeDataset.from_smiles,
    ],
)
def test_every_form_gives_the_same(model, alone, form):
    found = model.predict(form(SMILES))
    np.testing.assert_allclose(found["logS_predicted"], [alone[smiles] for smiles in SMILES], rtol=1e-4)
    np.testing.assert_allclose(model.embed(form(SMILES)), model.embed(SMILES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [pd.Series, lambda values, index: pd.DataFrame({"smiles": values}, index=index)])
def test_the_index_is_kept(model, alone, form):
    index = pd.Index([7, 7, "x"])
    table = model.predict(form(["CCO", "bad", "C"], index=index))
    assert table.index.equals(index)
    assert table["logS_predicted"].iloc[2] == pytest.approx(alone["C"], rel=1e-4)
    assert np.isnan(table["logS_predicted"].iloc[1])


def test_a_part_of_a_series_is_not_shifted(model, alone):
    series = pd.Series(SMILES)[::-2]
    np.testing.assert_allclose(model.predict(series)["logS_predicted"], [alone[s] for s in SMILES[::-2]], rtol=1e-4)


@pytest.mark.parametrize("empty", [[], (), np.array([], str), pd.Series([], dtype=str), pd.DataFrame({"smiles": []})])
def test_nothing_gives_nothing(model, empty):
    assert model.embed(empty).shape == (0, 32)
    table = model.predict(empty)
    assert len(table) == 0
    assert {"logS_predicted", "reason"} <= {*table.columns}


def test_nothing_that_can_be_read(model):
    assert np.isnan(model.embed(["bad", None])).all()
    table = model.predict(["bad", None])
    assert table["logS_predicted"].isna().all()
    assert (table["reason"] != "").all()


def test_files_and_stores(model, alone, tmp_path):
    path = tmp_path / "molecules.csv"
    path.write_text("name,smiles\nethanol,CCO\nbad,C1CC\nmethane,C\n")
    store = tmp_path / "molecules.store"
    mb.MoleculeDataset.from_file(path, store=store)
    expected = [alone["CCO"], np.nan, alone["C"]]
    for molecules in (path, str(path), store, str(store)):
        table = model.predict(molecules)
        np.testing.assert_allclose(table["logS_predicted"], expected, rtol=1e-4)
        assert table["id"].tolist() == ["ethanol", "bad", "methane"]
        assert table["line"].tolist() == [2, 3, 4]
        assert np.isnan(model.embed(molecules)).any(1).tolist() == [False, True, False]
    path.write_text("name,smiles,other\nethanol,C,CCO\n")
    assert model.predict(path, smiles_column="other")["smiles"].tolist() == ["CCO"]


def test_a_file_beside_is_no_smiles(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CCO").mkdir()  # a folder that holds no data set
    assert model.predict("CCO")["reason"].tolist() == [""]
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        model.predict("nowhere.csv")


def test_a_smiles_longer_than_a_file_name_may_be(model):
    peptide = "NCC(=O)" * 40 + "O"
    assert np.isfinite(model.embed(peptide)).all()
    assert model.predict(peptide)["smiles"].tolist() == [peptide]
    with pytest.raises(CheckpointError, match="there is no model folder"):
        mb.load(peptide)


def test_the_rows_of_a_dataset_are_its_molecules(model, alone):
    dataset = mb.MoleculeDataset.from_smiles(["CCO", "bad", "c1ccccc1", "C"]).subset([2, 0])
    found = model.predict(dataset)
    np.testing.assert_allclose(found["logS_predicted"], [alone["C"], alone["CCO"]], rtol=1e-4)
    assert model.embed(dataset).shape == (2, 32)


def test_conformers_of_mols_are_read(tmp_path):
    mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()).save_pretrained(tmp_path)
    mol = Chem.MolFromMolBlock(Chem.MolToMolBlock(Chem.MolFromSmiles("CCO |(0,0,0;1.5,0,0;2,1.4,0.5)|")))
    flat, given = mb.embed([mol], tmp_path), mb.embed([mol], tmp_path, positions="given")
    assert np.isfinite(given).all()
    assert not np.allclose(flat, given)
    assert np.isnan(mb.embed(["CCO"], tmp_path, positions="given")).all()


def test_worker_processes_give_the_same(model):
    smiles = ["C" * (1 + k % 7) + "O" for k in range(600)]
    smiles[300] = "bad"
    np.testing.assert_array_equal(model.embed(smiles, workers=2), model.embed(smiles))


def test_functions_take_what_load_takes(folder, model, alone):
    expected = model.predict(SMILES)
    for saved in (folder, str(folder), model, [folder]):
        pd.testing.assert_frame_equal(mb.predict(saved, SMILES), expected)
    for saved in (folder, str(folder), model):
        np.testing.assert_array_equal(mb.embed(SMILES, saved), model.embed(SMILES))
    assert mb.load(model) is model
    assert model.predict(SMILES, accelerator="cpu", progress=False).equals(expected)


@pytest.mark.parametrize("molecules", [["CCO"], [Chem.MolFromSmiles("CCO"), None], pd.DataFrame({"smiles": ["CCO"]})])
def test_arguments_in_the_order_of_embed_are_told_the_right_one(folder, model, molecules):
    for saved in (folder, str(folder), model):
        with pytest.raises(ConfigError, match=r"predict\(model, molecules\)"):
            mb.predict(molecules, saved)


def test_predict_is_a_room_and_a_function():
    code = """if True:
        import dgl_moleblend as mb
        assert callable(mb.predict)
        import dgl_moleblend.predict.tables as tables
        from dgl_moleblend.predict import embedding
        assert callable(mb.predict) and mb.predict.tables is tables and mb.predict.embedding is embedding
    """
    subprocess.run([sys.executable, "-c", code], check=True)
    assert importlib.import_module("dgl_moleblend.predict") is mb.predict
    assert [*inspect.signature(mb.predict).parameters][:2] == ["model", "molecules"]


def test_reprs_are_short(model, folder):
    assert repr(model) == f"<{folder}: regression of logS, size>"
    assert repr(mb.load([folder, folder])) == f"<{folder}, {folder}: regression of logS, size, mean of 2 models>"
    assert repr(mb.load("mini")) == "<mini: encoder, 0.87 million weights, width 128>"
    assert (mb.load("mini").task_names, model.task_names) == ((), ("logS", "size"))


def test_several_models(folder):
    both = mb.load([folder, folder])
    assert (both.predict(["CCO", "bad"])["logS_spread"].fillna(-1) == [0, -1]).all()
    with pytest.raises(ConfigError, match="several have no embeddings of their own"):
        both.embed("CCO")


def test_a_pretrained_model_predicts_nothing():
    with pytest.raises(CheckpointError, match=r"kind 'encoder', but 'predictor' is needed[\s\S]*fine-tune"):
        mb.load("mini").predict("CCO")
    with pytest.raises(CheckpointError, match=r"no model folder 'nowhere'[\s\S]*mini, small"):
        mb.load("nowhere")


def test_a_predictor_that_does_not_say_what_it_predicts(tmp_path):
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    mb.MoleBlendPredictor(1, encoder).save_pretrained(tmp_path)
    assert mb.load(tmp_path).embed("CCO").shape == (1, 32)
    with pytest.raises(CheckpointError, match="does not say what is predicted"):
        mb.load(tmp_path).predict("CCO")


@pytest.mark.parametrize(
    ("molecules", "message"),
    [
        (None, "molecules='None' of type NoneType"),
        (5, "give a SMILES or RDKit Mol"),
        ({"CCO": 1}, "of type dict"),
        ({"CCO"}, "of type set"),
        (b"CCO", "of type bytes"),
        (np.array([["CCO"]]), r"shape \(1, 1\)"),
        (pd.DataFrame({"a": ["CCO"], "b": ["C"]}), r"no column looks like SMILES; the columns are: 'a', 'b'"),
    ],
)
def test_what_is_no_molecules(model, molecules, message):
    with pytest.raises(DataError, match=message):
        model.predict(molecules)


def test_columns_of_frames(model):
    frame = pd.DataFrame({"a": ["CCO"], "smiles": ["C"]})
    assert model.predict(frame)["smiles"].tolist() == ["C"]
    assert model.predict(frame, smiles_column="A")["smiles"].tolist() == ["CCO"]
    with pytest.raises(DataError, match=r"there is no column 'c'; the columns are: 'a', 'smiles'"):
        model.predict(frame, smiles_column="c")
    with pytest.raises(DataError, match="2 columns are named 'a'"):
        model.predict(pd.DataFrame([["C", "C"]], columns=["a", "a"]), smiles_column="a")
    with pytest.raises(DataError, match="smiles_column='a' is given, and no DataFrame"):
        model.predict(["CCO"], smiles_column="a")


def test_other_arguments(model):
    with pytest.raises(ConfigError, match=r"embed\(molecules, model\)"):
        mb.embed("mini", ["CCO"])
    with pytest.raises(ConfigError, match=r"model=5 is not allowed"):
        mb.load(5)
    with pytest.raises(ConfigError, match=r"readout='max' is not allowed"):
        model.embed([], readout="max")
    with pytest.raises(ConfigError, match=r"accelerator='tpu' is not allowed[\s\S]*'auto', 'cpu', 'gpu', 'cuda'"):
        model.predict("CCO", accelerator="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="torch finds no CUDA device"):
            model.predict("CCO", accelerator="gpu")


def test_molecules_of_other_settings_are_refused(model):
    dataset = mb.MoleculeDataset.from_smiles(["CCO"], featurizer=mb.FeaturizerConfig("embed"))
    for ask in (model.predict, model.embed):
        with pytest.raises(CheckpointError, match="positions"):
            ask(dataset)


def test_the_model_is_left_as_it_was():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout()).train()
    model[0].eval()
    seen = []

    def compute(batch):
        seen.append([module.training for module in model])
        return batch.atom_mask.sum(1)

    infer(model, compute, mb.MoleculeDataset.from_smiles(["CCO"]), description="", progress=False)
    assert seen == [[False, False]]
    assert [module.training for module in (model, *model)] == [True, False, True]


def test_mols_that_cannot_be_read(model):
    broken = Chem.MolFromSmiles("CN(C)(C)(C)C", sanitize=False)
    table = model.predict([broken, Chem.MolFromSmiles("C"), Chem.Mol()])
    assert "valence" in table["reason"][0]
    assert table["reason"].tolist()[1:] == ["", "the molecule has no atoms"]
    assert table["smiles"].tolist() == ["", "C", ""]
    with pytest.raises(MoleculeError, match="valence"):
        mb.MoleculeFeaturizer()(broken)


def test_what_is_beyond_the_vocabulary_is_warned_of(model, capsys):
    table = model.predict(["CCO", "[2H]C", "*CCO", "[Ti+6]", "bad"])
    beyond = "beyond the model's vocabulary: "
    said = ["", f"{beyond}an isotope", f"{beyond}a dummy atom (*)", f"{beyond}a charge beyond 5", ""]
    for warning, words in zip(table["warning"], said, strict=True):
        assert warning.endswith(words)
        assert (beyond in warning) == bool(words)
    smiles = ["C" * k for k in range(1, 12)]
    mb.finetune(([*smiles, "*C"], range(12)), split="random", head="trees")
    assert "models do not tell: 1 with a dummy atom (*)" in capsys.readouterr().err
