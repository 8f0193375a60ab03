"""Trees learn many tasks, come back whole from their arrays, and say what is wrong."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dgl_moleblend.chem.descriptors import describe
from dgl_moleblend.errors import CheckpointError, ConfigError, DataError
from dgl_moleblend.models import trees as trees_module
from dgl_moleblend.models.trees import Recipe, TreeModel

SMILES = [
    f"{tail}{'C' * n}{head}" for n in range(1, 12) for tail in ("", "CC(C)") for head in ("O", "N", "c1ccccc1", "F")
]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(
        trees_module,
        "RECIPES",
        {"forest": Recipe("RandomForestRegressor", 30, 15, 1 / 3), "trees": Recipe("ExtraTreesRegressor", 30, 15, 0.2)},
    )


@pytest.fixture(scope="module")
def features():
    return describe(SMILES)


@pytest.fixture(scope="module")
def labels():
    length = np.array([[len(smiles), "c1" in smiles, smiles.count("C")] for smiles in SMILES], float)
    length[::7, 1] = np.nan
    return length


@pytest.mark.parametrize("kind", ["forest", "trees"])
def test_they_learn_values_with_missing_labels(features, labels, kind):
    model = TreeModel.fit(features, labels, "regression", kind=kind)
    assert model.groups == ((1,), (0, 2))
    assert np.nanmean((model.predict(features) - labels) ** 2) < 0.1 * np.nanvar(labels)
    assert (np.isnan(model.out_of_fold) == np.isnan(labels)).all()
    assert np.nanmean((model.out_of_fold - labels) ** 2) < 0.5 * np.nanvar(labels)
    assert model.required_features == (("morgan",) if kind == "forest" else ("morgan", "rdkit2d"))


def test_they_learn_probabilities(features, labels):
    model = TreeModel.fit(features, labels[:, 1:2], "classification")
    probability = model.predict(features)
    assert ((probability >= 0) & (probability <= 1)).all()
    present = ~np.isnan(labels[:, 1])
    assert ((probability[present, 0] > 0.5) == labels[present, 1]).all()


def test_held_out_rows_are_not_seen(features, labels):
    noise = np.random.default_rng(0).normal(size=(len(SMILES), 1))
    model = TreeModel.fit(features, noise, "regression")
    assert abs(np.corrcoef(model.out_of_fold[:, 0], noise[:, 0])[0, 1]) < 0.5
    folds = np.where(np.arange(len(SMILES)) < 44, 0, 1)
    first = TreeModel.fit(features, labels[:, :1], "regression", folds).out_of_fold
    changed = labels[:, :1] + np.where(folds == 0, 50, 0)[:, None]
    np.testing.assert_array_equal(TreeModel.fit(features, changed, "regression", folds).out_of_fold[:44], first[:44])


def test_other_rows_and_threads_change_nothing(features, labels):
    model = TreeModel.fit(features.take(np.arange(40)), labels[:40, :1], "regression", seed=3)
    alone = np.concatenate([model.predict(features.take([k])) for k in range(len(SMILES))])
    np.testing.assert_array_equal(alone, model.predict(features))
    again = TreeModel.fit(features.take(np.arange(40)), labels[:40, :1], "regression", seed=3, jobs=2)
    np.testing.assert_array_equal(again.predict(features), model.predict(features))
    np.testing.assert_array_equal(again.out_of_fold, model.out_of_fold)


@pytest.mark.parametrize("kind", ["forest", "trees"])
def test_they_come_back_from_safetensors_and_json(features, labels, kind, tmp_path):
    model = TreeModel.fit(features, labels, "regression", kind=kind)
    arrays, settings = model.state()
    save_file(arrays, tmp_path / "model.safetensors")
    again = TreeModel.from_state(load_file(tmp_path / "model.safetensors"), json.loads(json.dumps(settings)))
    new = describe(["CCCCCCCCCO", "OCC=CC#N", "[Na+].[Cl-]"])
    np.testing.assert_array_equal(again.predict(new), model.predict(new))


def test_arrays_that_do_not_fit_are_refused(features, labels):
    arrays, settings = TreeModel.fit(features, labels, "regression").state()
    with pytest.raises(CheckpointError, match=r"the trees lack the array '1\.right'"):
        TreeModel.from_state({k: v for k, v in arrays.items() if k != "1.right"}, settings)
    endless = arrays["0.right"].copy()
    endless[np.flatnonzero(endless)[-1]] = 10**6
    for name, damaged in (
        ("0.right", endless),
        ("0.right", -arrays["0.right"]),
        ("0.value", arrays["0.value"][1:]),
        ("0.column", arrays["0.column"] + 5000),
        ("0.threshold", arrays["0.threshold"][1:]),
        ("0.roots", arrays["0.roots"] + 1),
    ):
        with pytest.raises(CheckpointError, match=r"the stored trees of tasks 1 do not fit each other: .* nodes"):
            TreeModel.from_state({**arrays, name: damaged}, settings)


def test_fewer_trees_grow_for_many_labels(features, labels, monkeypatch):
    monkeypatch.setattr(trees_module, "_FULL", len(SMILES) // 2)
    monkeypatch.setattr(trees_module, "_FEWEST", 5)
    assert len(TreeModel.fit(features, labels[:, :1], "regression").forests[0].roots) == 15
    monkeypatch.setattr(trees_module, "_FULL", 1)
    assert len(TreeModel.fit(features, labels[:, :1], "regression").forests[0].roots) == 7


@pytest.mark.parametrize("rows", [1, 5])
def test_a_handful_of_molecules_is_enough(features, labels, rows):
    model = TreeModel.fit(features.take(np.arange(rows)), labels[:rows, :1], "regression")
    assert np.isfinite(model.predict(features)).all()
    assert np.isnan(model.out_of_fold).all() == (rows == 1)


def test_constant_labels_and_molecules_without_counts_have_answers(features):
    constant = TreeModel.fit(features, np.ones((len(SMILES), 1)), "classification")
    assert (constant.predict(features) == 1).all()
    empty = features.take(np.arange(8))
    forest = TreeModel.fit(empty, np.arange(8.0)[:, None], "regression", kind="forest")
    assert len(forest.counted) > 0


def test_what_is_missing_is_named(features, labels):
    with pytest.raises(ConfigError, match="kind='bush' is not allowed"):
        TreeModel.fit(features, labels, "regression", kind="bush")
    with pytest.raises(DataError, match="features are missing: 'morgan'; there are 'path'"):
        TreeModel.fit(describe(["C", "CC"], ["path"]), np.zeros((2, 1)), "regression")
    model = TreeModel.fit(features, labels, "regression")
    with pytest.raises(DataError, match="features are missing: 'rdkit2d'"):
        model.predict(describe(["C"], ["morgan"]))
