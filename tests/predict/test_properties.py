"""Predictions: each row its own, in the input's order, equal to the model called by hand."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from tables import NAN, chains

import dgl_moleblend as mb
from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.models.targets import LabelScaling
from dgl_moleblend.predict.calibration import Calibration
from dgl_moleblend.predict.embedding import embed
from dgl_moleblend.predict.ensemble import Ensemble, predict
from dgl_moleblend.predict.inference import infer
from dgl_moleblend.predict.intervals import TaskCalibration
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.predict.tables import align

GIVEN = mb.FeaturizerConfig(positions="given")


@pytest.fixture(params=["regression", "classification"])
def model(request):
    torch.manual_seed(0)
    predictor = mb.MoleBlendPredictor(2, mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()))
    for value in predictor.parameters():
        value.data += 0.2 * torch.randn_like(value)
    scaling = LabelScaling((3.0, -1.0), (2.0, 5.0)) if request.param == "regression" else LabelScaling.none(2)
    return PropertyModel(predictor, GIVEN, ("atoms", "nitrogens"), request.param, scaling)


def by_hand(model, molecule, conformer=0):
    model.predictor.eval()
    with torch.no_grad():
        output = model.predictor(mb.MoleculeBatch.from_arrays([molecule], [conformer]).relations())[0].double()
    if model.task_type == "classification":
        return torch.sigmoid(output).numpy()
    return (output * torch.tensor(model.scaling.scale) + torch.tensor(model.scaling.mean)).numpy()


def test_predictions_are_the_models_in_the_order_of_the_rows(model):
    dataset = chains(20)
    expected = np.stack([by_hand(model, sample.molecule) for sample in dataset])
    for batch_size in (1, 7, 64):
        found = model.predict(dataset, batch_size=batch_size, progress=False)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.01


def test_conformers_are_averaged(model):
    dataset = chains(6, conformers=3)
    one = dataset[0].molecule
    single = type(one)(one.atom, one.bond_index, one.bond_id, one.positions[:1])
    samples = [*dataset, type(dataset[0])(single, dataset[0].labels, 6)]
    sources = sorted({sample.source for sample in samples})
    mixed = mb.MoleculeDataset(MoleculeTable([record_batch(samples, 2, sources)], dataset.task_names, sources))
    expected = [np.mean([by_hand(model, s.molecule, k) for k in range(3)], 0) for s in dataset]
    expected.append(by_hand(model, single))
    np.testing.assert_allclose(model.predict(mixed, progress=False), expected, rtol=1e-4, atol=1e-5)


def test_a_saved_model_predicts_the_same_bits(model, tmp_path):
    dataset = chains(8)
    model.save_pretrained(tmp_path, metric="rmse")
    again = PropertyModel.from_pretrained(tmp_path)
    assert (again.featurizer, again.task_names, again.task_type, again.scaling) == (
        GIVEN,
        ("atoms", "nitrogens"),
        model.task_type,
        model.scaling,
    )
    np.testing.assert_array_equal(again.predict(dataset, progress=False), model.predict(dataset, progress=False))


def test_rejected_rows_keep_their_place(model, tmp_path):
    model.save_pretrained(tmp_path)
    dataset = chains(6, rejects=2)
    table = predict(tmp_path, dataset, progress=False)
    tasks = ["atoms_predicted", "nitrogens_predicted"]
    assert list(table.columns) == ["row", "source", "line", "id", "smiles", *tasks, "warning", "reason"]
    assert table["row"].tolist() == list(range(8))
    assert table["reason"].tolist() == ["", "no SMILES", "", "no SMILES", "", "", "", ""]
    assert table.loc[[1, 3], "atoms_predicted"].isna().all()
    assert table["line"].tolist() == list(range(2, 10))
    np.testing.assert_array_equal(table.loc[table["reason"] == "", tasks], model.predict(dataset, progress=False))


def test_a_file_of_rejects_alone_gives_rows_without_predictions(model, tmp_path):
    model.save_pretrained(tmp_path)
    full = chains(2, rejects=1)
    empty = mb.MoleculeDataset(MoleculeTable([record_batch([], 2)], full.task_names, ("",), full.rejects))
    table = predict(tmp_path, empty, progress=False)
    assert table["reason"].tolist() == ["no SMILES"]
    assert table["atoms_predicted"].isna().all()


def test_molecules_featurized_otherwise_are_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match='positions is "none", expected "given"'):
        predict(tmp_path, chains(4, conformers=0), progress=False)
    with pytest.raises(CheckpointError, match='positions is "none", expected "given"'):
        embed(tmp_path, chains(4, conformers=0), progress=False)


def test_a_folder_that_does_not_say_what_it_predicts(model, tmp_path):
    model.predictor.save_pretrained(tmp_path / "bare")
    with pytest.raises(CheckpointError, match=r"featurizer, task_names, task_type, scaling missing"):
        predict(tmp_path / "bare", chains(2), progress=False)
    model.predictor.encoder.save_pretrained(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match="kind 'encoder', but 'predictor' is needed"):
        predict(tmp_path / "encoder", chains(2), progress=False)


def test_an_ensemble_predicts_the_mean_and_its_spread(model, tmp_path):
    second = PropertyModel(perturbed(model.predictor), GIVEN, model.task_names, model.task_type, model.scaling)
    folders = [model.save_pretrained(tmp_path / "a"), second.save_pretrained(tmp_path / "b")]
    dataset = chains(6, rejects=1)
    table = predict(folders, dataset, progress=False).query("reason == ''")
    both = np.stack([one.predict(dataset, progress=False) for one in (model, second)])
    for k, name in enumerate(model.task_names):
        np.testing.assert_allclose(table[f"{name}_predicted"], both[..., k].mean(0))
        np.testing.assert_allclose(table[f"{name}_spread"], abs(both[0] - both[1])[:, k] / np.sqrt(2))
    assert both.std(0).min() > 1e-6


def perturbed(predictor):
    other = copy.deepcopy(predictor)
    for value in other.parameters():
        value.data += 0.1 * torch.randn_like(value)
    return other


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"task_names": ("atoms", "oxygens")}, r'task_names is \["atoms", "oxygens"\]'),
        ({"task_type": "other"}, 'task_type is "other"'),
        ({"featurizer": mb.FeaturizerConfig(positions="embed", num_conformers=3)}, 'positions is "embed"'),
    ],
)
def test_models_that_differ_are_no_ensemble(model, tmp_path, change, text):
    model.save_pretrained(tmp_path / "a")
    dataclasses.replace(model, **change).save_pretrained(tmp_path / "b")
    with pytest.raises(CheckpointError, match=rf"settings differ: [\s\S]*{text}[\s\S]*of the ensemble against"):
        Ensemble.from_pretrained([tmp_path / "a", tmp_path / "b"])


def test_the_seed_of_an_embedding_makes_no_difference(model, tmp_path):
    dataclasses.replace(model, featurizer=GIVEN.replace(seed=1)).save_pretrained(tmp_path / "a")
    model.save_pretrained(tmp_path / "b")
    assert len(Ensemble.from_pretrained([tmp_path / "a", tmp_path / "b"]).members) == 2


@pytest.mark.parametrize(
    "scaling",
    [{"mean": [NAN, 0.0], "scale": [1.0, 1.0]}, {"mean": [0.0, 0.0], "scale": [1.0, 0.0]}, {"mean": [0.0, 0.0]},
     {"mean": [0.0], "scale": [1.0]}, {"mean": "ab", "scale": [1.0, 1.0]}, [1.0, 2.0]],
)  # fmt: skip
def test_a_damaged_scaling_is_named(model, tmp_path, scaling):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["extra"]["scaling"] = scaling
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"the scaling of the properties is damaged[\s\S]*where: .*config\.json"):
        predict(tmp_path, chains(2), progress=False)


@pytest.mark.parametrize("name", ["/etc", "../elsewhere", "a/../../b"])
def test_members_outside_the_folder_are_refused(model, tmp_path, name):
    model.save_pretrained(tmp_path / "elsewhere")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "ensemble.json").write_text(json.dumps({"models": [name]}))
    with pytest.raises(CheckpointError, match=rf"'{name}' is no folder beside it[\s\S]*ensemble\.json"):
        Ensemble.from_pretrained(tmp_path / "m")


EMBEDDED = mb.FeaturizerConfig(positions="embed")


def featurized(config):
    """Molecules that are said to have been featurized so."""
    dataset = chains(3)
    table = MoleculeTable(
        [record_batch([*dataset], 2, ("chains.csv",))], dataset.task_names, ("chains.csv",), None, config
    )
    return mb.MoleculeDataset(table)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_conformers": 3}, "num_conformers is 3, expected 1"),
        ({"seed": 7}, "seed is 7, expected 0"),
        ({"optimize": False}, "optimize is false, expected true"),
        ({"chirality": "tag"}, 'chirality is "tag", expected "cip"'),
        ({"positions": "given"}, 'positions is "given", expected "embed"'),
    ],
)
def test_molecules_that_were_featurized_otherwise_are_refused(model, tmp_path, change, words):
    embedded = dataclasses.replace(model, featurizer=EMBEDDED)
    embedded.save_pretrained(tmp_path)
    dataset = featurized(EMBEDDED.replace(**change))
    for refused in (
        lambda: embedded.predict(dataset, progress=False),
        lambda: predict(tmp_path, dataset, progress=False),
        lambda: embed(tmp_path, dataset, progress=False),
    ):
        with pytest.raises(CheckpointError, match=rf"{words}[\s\S]*featurize it again with the expected settings"):
            refused()
    assert len(predict(tmp_path, featurized(EMBEDDED.replace(timeout=1.0)), progress=False)) == 3


def test_members_of_other_seeds_are_shown_the_conformers_of_the_first(model, tmp_path):
    for seed in (0, 1):
        dataclasses.replace(model, featurizer=EMBEDDED.replace(seed=seed)).save_pretrained(tmp_path / str(seed))
    folders = [tmp_path / "0", tmp_path / "1"]
    assert len(predict(folders, featurized(EMBEDDED), progress=False)) == 3
    with pytest.raises(CheckpointError, match="seed is 1, expected 0"):
        predict(folders, featurized(EMBEDDED.replace(seed=1)), progress=False)


def test_an_ensemble_that_names_a_folder_that_is_not_there(model, tmp_path):
    (tmp_path / "ensemble.json").write_text('{"models": ["seed-0"]}')
    with pytest.raises(CheckpointError, match=r"there is no model folder '.*seed-0'"):
        Ensemble.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"an ensemble has no embeddings of its own"):
        embed(tmp_path, chains(2), progress=False)


def test_a_calibration_of_another_model_is_named(model, tmp_path):
    model.save_pretrained(tmp_path)
    Calibration("regression", {"mass": TaskCalibration(0)}).write(tmp_path / "calibration.json")
    with pytest.raises(CheckpointError, match=r'task_names is \["mass"\][\s\S]*calibration.json against the model'):
        Ensemble.from_pretrained(tmp_path)


def test_a_molecule_of_no_file_has_no_line():
    dataset = mb.MoleculeDataset.from_smiles(["CCO", "C1CC"])
    assert align(dataset, {})["line"].isna().all()
    assert align(chains(2), {})["line"].tolist() == [2, 3]


def test_a_training_set_that_cannot_be_read_leaves_no_file(tmp_path):
    assert write_training_set(tmp_path, ["CCO"]) is not None
    assert (tmp_path / "training_set.npz").is_file()
    assert write_training_set(tmp_path, ["", "C1CC"]) is None
    assert list(tmp_path.iterdir()) == []


def test_no_molecules():
    with pytest.raises(DataError, match="there are no molecules"):
        infer(torch.nn.Identity(), lambda batch: batch.spd, chains(4).subset([]), description="")


def test_probabilities_are_rescaled_and_targets_get_an_interval(model):
    platt = (0.5, 1.0) if model.task_type == "classification" else None
    tasks = {name: TaskCalibration(9, tuple(range(1, 10)), platt) for name in model.task_names}
    dataset = chains(4)
    values = model.predict(dataset, progress=False)[:, 0]
    table = Ensemble((model,), Calibration(model.task_type, tasks)).predict_table(dataset, coverage=0.5, progress=False)
    if platt is None:
        np.testing.assert_allclose(table["atoms_predicted"], values)
        np.testing.assert_allclose(table["atoms_lower"], values - 5)
        np.testing.assert_allclose(table["atoms_upper"], values + 5)
    else:
        np.testing.assert_allclose(table["atoms_predicted"], expit(0.5 * logit(values) + 1))
        assert "atoms_lower" not in table
