"""The kernel machine: it learns, keeps its distance from test rows, comes back from arrays, and says what is wrong."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dgl_moleblend.chem.descriptors import describe
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.models import kernel as kernel_module
from dgl_moleblend.models.folds import make_folds
from dgl_moleblend.models.kernel import SHARES, KernelModel

SMILES = [
    f"{tail}{'C' * n}{head}" for n in range(1, 12) for tail in ("", "CC(C)") for head in ("O", "N", "c1ccccc1", "F")
]


@pytest.fixture(scope="module")
def features():
    return describe(SMILES)


@pytest.fixture(scope="module")
def labels():
    """A length, and whether there is a ring; both with a missing label here and there."""
    length = np.array([[len(smiles), smiles.count("C") / 2] for smiles in SMILES], float)
    length[::7, 1] = np.nan
    return length


@pytest.fixture(scope="module")
def classes(labels):
    return np.stack([np.array(["c1" in smiles for smiles in SMILES], float), np.where(labels[:, 1] > 4, 1.0, 0.0)], 1)


def test_it_learns_values_of_molecules_that_it_has_not_seen(features, labels):
    train, test = np.arange(len(SMILES)) % 3 != 1, np.arange(len(SMILES)) % 3 == 1
    model = KernelModel.fit(features.take(train), labels[train], "regression")
    error = model.predict(features.take(test)) - labels[test]
    assert (np.sqrt(np.nanmean(error**2, axis=0)) < 1.5).all()
    held_out = model.out_of_fold
    assert (np.isnan(held_out) == np.isnan(labels[train])).all()
    assert np.nanmean((held_out - labels[train]) ** 2) < np.nanvar(labels) / 4
    weights = dict(zip(model.required_features, model.kernel.weights, strict=True))
    assert weights["rdkit2d"] in SHARES
    assert weights["morgan"] == weights["path"] == pytest.approx((1 - weights["rdkit2d"]) / 3)


def test_it_learns_probabilities(features, classes):
    model = KernelModel.fit(features, classes, "classification")
    probability = model.predict(features)
    assert ((probability > 0) & (probability < 1)).all()
    assert ((probability > 0.5) == classes).mean() > 0.95
    assert ((model.out_of_fold > 0.5) == classes).mean() > 0.9
    assert abs(model.out_of_fold.mean(0) - classes.mean(0)).max() < 0.05
    with pytest.raises(ValueError, match="a classification has no deviation\n  fix:"):
        model.deviation(features)


def test_held_out_rows_get_the_deviation_that_the_other_folds_give(features, labels):
    folds = make_folds(len(SMILES))
    model = KernelModel.fit(features, labels, "regression", folds, names=["morgan", "path"])
    kernel = model.kernel.between().astype(float)
    for task in range(labels.shape[1]):
        for fold in np.unique(folds):
            known = ~np.isnan(labels[:, task])
            inside, others = known & (folds == fold), known & (folds != fold)
            penalty = model.arrays["penalty"][task]
            matrix = kernel[np.ix_(others, others)] + penalty * np.eye(others.sum())
            cross = kernel[np.ix_(inside, others)]
            rest = kernel[inside, inside] + penalty - (cross @ np.linalg.inv(matrix) * cross).sum(1)
            expected = np.sqrt(model.arrays["variance"][task] * rest) * model.arrays["scale"][task]
            np.testing.assert_allclose(model.out_of_fold_deviation[inside, task], expected, rtol=1e-4)
    assert (np.isnan(model.out_of_fold_deviation) == np.isnan(labels)).all()


def test_values_and_deviations_together_are_those_asked_for_apart(features, labels, monkeypatch):
    model = KernelModel.fit(features, labels, "regression", names=["morgan", "path"])
    monkeypatch.setattr(kernel_module, "_BLOCK", 7)
    value, deviation = model.predict_with_deviation(features)
    np.testing.assert_array_equal(value, model.predict(features))
    np.testing.assert_array_equal(deviation, model.deviation(features))
    assert [part.shape for part in model.predict_with_deviation(features.take(np.arange(0)))] == [(0, 2), (0, 2)]


def test_other_rows_change_nothing(features, labels):
    """Ranks and widths are those of the training rows, and a prediction does not look at its neighbours."""
    model = KernelModel.fit(features.take(np.arange(30)), labels[:30], "regression")
    together = model.predict(features)
    alone = np.concatenate([model.predict(features.take([k])) for k in range(len(SMILES))])
    np.testing.assert_allclose(alone, together, rtol=1e-5)


def test_labels_of_a_fold_do_not_reach_its_own_predictions(features, labels):
    folds, changed = make_folds(len(SMILES)), labels.copy()
    counts = ["morgan", "path"]  # no share to choose
    one = KernelModel.fit(features, labels, "regression", folds, names=counts)
    changed[folds == 0] += 1e-3 * np.random.default_rng(0).normal(size=changed[folds == 0].shape)
    two = KernelModel.fit(features, changed, "regression", folds, names=counts)
    inside = folds == 0
    assert np.nanmax(abs(one.out_of_fold - two.out_of_fold)[inside]) < 1e-4
    assert np.nanmax(abs(one.out_of_fold - two.out_of_fold)[~inside]) > 1e-4


def test_the_deviation_grows_away_from_training_molecules(features, labels):
    model = KernelModel.fit(features, labels, "regression")
    near = model.deviation(features)
    far = model.deviation(describe(["[Na+].[Cl-]", "O=S(=O)(O)C1=NNN=C1P(Br)I"]))
    assert far.shape == (2, 2)
    assert (far > 5 * np.median(near, axis=0)).all()
    assert (far > near.max(0)).all()  # those without a label included


def test_the_deviation_is_that_of_a_gaussian_process(features, labels):
    model = KernelModel.fit(features, labels, "regression")
    rows = np.flatnonzero(~np.isnan(labels[:, 1]))
    kernel = model.kernel.between().astype(float)
    penalty, new = model.arrays["penalty"][1], kernel[:, rows]
    inverse = np.linalg.inv(kernel[np.ix_(rows, rows)] + penalty * np.eye(len(rows)))
    expected = np.sqrt(np.diag(kernel) + penalty - np.einsum("ij,jk,ik->i", new, inverse, new))
    expected *= np.sqrt(model.arrays["variance"][1]) * model.arrays["scale"][1]
    np.testing.assert_allclose(model.deviation(features)[:, 1], expected, rtol=1e-3)


@pytest.mark.parametrize("task_type", ["regression", "classification"])
def test_it_comes_back_from_safetensors_and_json(features, labels, classes, task_type, tmp_path):
    model = KernelModel.fit(features, labels if task_type == "regression" else classes, task_type)
    arrays, settings = model.state()
    save_file(arrays, tmp_path / "model.safetensors")
    again = KernelModel.from_state(load_file(tmp_path / "model.safetensors"), json.loads(json.dumps(settings)))
    new = describe(["CCCCCCCCCO", "OCC=CC#N", "[Na+].[Cl-]"])
    np.testing.assert_array_equal(again.predict(new), model.predict(new))
    if task_type == "regression":
        np.testing.assert_allclose(again.deviation(new), model.deviation(new), rtol=1e-9)
    assert again.required_features == model.required_features


def test_arrays_that_do_not_fit_are_refused(features, labels):
    arrays, settings = KernelModel.fit(features, labels, "regression").state()
    for name in ("coefficients", "morgan.ids", "weights", "rdkit2d.rows"):
        with pytest.raises(CheckpointError, match=f"the kernel machine lacks the array '{name}'"):
            KernelModel.from_state({k: v for k, v in arrays.items() if k != name}, settings)
    with pytest.raises(CheckpointError, match=r"coefficients have shape \(3, 2\), there are 88 reference molecules"):
        KernelModel.from_state({**arrays, "coefficients": arrays["coefficients"][:3]}, settings)
    with pytest.raises(CheckpointError, match=r"'scale' has shape \(1,\), expected \(2,\)"):
        KernelModel.from_state({**arrays, "scale": arrays["scale"][:1]}, settings)
    with pytest.raises(CheckpointError, match="the features of a kernel machine do not fit each other"):
        KernelModel.from_state({**arrays, "weights": arrays["weights"][:1]}, settings)


def test_features_that_are_missing_are_named(features, labels):
    model = KernelModel.fit(features, labels, "regression", names=["morgan", "rdkit2d"])
    assert model.required_features == ("morgan", "rdkit2d")
    with pytest.raises(DataError, match="features are missing: 'rdkit2d'; there are 'morgan'"):
        model.predict(describe(["C"], ["morgan"]))
    with pytest.raises(DataError, match="features are missing: 'states'"):
        KernelModel.fit(features, labels, "regression", names=["states"])


def test_a_column_of_the_users_own_is_learned_from():
    """Two molecules at many temperatures: only the column tells rows apart."""
    random = np.random.default_rng(0)
    smiles, celsius = ["CCO", "c1ccccc1"] * 40, random.uniform(0, 100, (80, 1))
    table = describe(smiles, ["morgan"]).with_dense("column", celsius, ["temperature"])
    labels = celsius / 50 + np.array([[0.0], [3.0]] * 40)
    model = KernelModel.fit(table.take(np.arange(60)), labels[:60], "regression")
    assert abs(model.predict(table.take(np.arange(60, 80))) - labels[60:]).max() < 0.3


def test_a_large_set_is_compared_with_some_of_its_molecules(features, labels, classes, monkeypatch):
    monkeypatch.setattr(kernel_module, "MAX_EXACT", 20)
    monkeypatch.setattr(kernel_module, "NUM_REFERENCE", 40)
    model = KernelModel.fit(features, labels, "regression")
    assert (model.exact, len(model.kernel)) == (False, 40)
    assert np.nanmean((model.predict(features) - labels) ** 2) < np.nanvar(labels) / 4
    assert np.isfinite(model.deviation(features)).all()
    again = KernelModel.from_state(*model.state())
    np.testing.assert_array_equal(again.predict(features), model.predict(features))
    rare = classes[:, :1] * (np.arange(len(SMILES)) < 30)[:, None]  # few ones, and all are kept
    chosen = KernelModel.fit(features, rare, "classification")
    assert set(np.flatnonzero(rare)) <= set(kernel_module._choose_reference(rare, "classification", 0))
    assert ((chosen.predict(features) > 0.5) == rare).mean() > 0.9


def test_a_constant_label_and_a_class_that_is_alone_have_answers(features):
    constant = KernelModel.fit(features, np.full((len(SMILES), 1), 3.5), "regression")
    np.testing.assert_allclose(constant.predict(features), 3.5)
    one_class = KernelModel.fit(features, np.ones((len(SMILES), 1)), "classification")
    np.testing.assert_allclose(one_class.predict(features), 89 / 90)


def test_a_class_that_some_folds_lack_is_learned(features, classes):
    folds = np.where(classes[:, 0] > 0, 0, np.arange(len(SMILES)) % 3)  # all ones in fold 0
    model = KernelModel.fit(features, classes, "classification", folds)
    assert np.isfinite(model.predict(features)).all()


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_handful_of_molecules_is_enough(features, labels, rows):
    few = features.take(np.arange(rows))
    regression = KernelModel.fit(few, labels[:rows, :1], "regression")
    assert np.isfinite(regression.predict(features)).all()
    assert np.isfinite(regression.deviation(features)).all()
    classification = KernelModel.fit(few, np.arange(rows)[:, None] % 2.0, "classification")
    assert ((classification.predict(features) > 0) & (classification.predict(features) < 1)).all()
    assert len(regression.predict(features.take([]))) == 0
