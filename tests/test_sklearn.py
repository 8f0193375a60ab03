"""The estimators: scikit-learn's own checks on molecules that numbers stand for, pipelines, searches, saving."""

import pickle

import numpy as np
import pandas as pd
import pytest
from commands import SMILES
from rdkit import Chem
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

import dgl_moleblend as mb
from dgl_moleblend.errors import CheckpointError, DataError, MoleculeError
from dgl_moleblend.sklearn import MoleBlendClassifier, MoleBlendEmbedding, MoleBlendRegressor

SIZES = np.array([float(len(smiles)) for smiles in SMILES])
RINGS = np.where(["1" in smiles for smiles in SMILES], "ring", "chain")
QUICK = {"head": "kernel", "features": ["morgan"], "random_state": 0}


class _Numbers:
    """Rows of numbers, as the checks give them, are molecules: as many carbons between N and O as each number says."""

    def _entries(self, X):  # noqa: N803
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        return ["".join("C" * int(np.clip(round(3 * v) + 6, 1, 14)) + "NO"[k % 2] for k, v in enumerate(row)) + "C"
                for row in rows]  # fmt: skip

    def fit(self, X, y=None):  # noqa: N803
        validate_data(self, X, dtype=np.float64)
        return super().fit(X, y)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        tags.no_validation = False
        return tags


class NumbersEmbedding(_Numbers, MoleBlendEmbedding):
    pass


class NumbersRegressor(_Numbers, MoleBlendRegressor):
    pass


class NumbersClassifier(_Numbers, MoleBlendClassifier):
    pass


CHAINS = "numbers that lengths of carbon chains stand for, rounded to thirds and cut off, keep too little of a line"
CANNOT_APPLY = {NumbersRegressor: {"check_regressors_train": CHAINS}}
"""Checks that have no sense of molecules, and why. What the tags say is left out by scikit-learn itself: SMILES have no
dtype to preserve. Checks of the shape and values of numbers test `_Numbers`, which translates, not us."""


@parametrize_with_checks(
    [NumbersEmbedding("mini"), NumbersRegressor(encoder=None, **QUICK), NumbersClassifier(encoder=None, **QUICK)],
    expected_failed_checks=lambda estimator: CANNOT_APPLY.get(type(estimator), {}),
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_embedding_is_that_of_the_package_in_every_form():
    expected = mb.embed(list(SMILES), "mini")
    mols = [Chem.MolFromSmiles(smiles) for smiles in SMILES]
    frame = pd.DataFrame({"smiles": SMILES})
    for form in (list(SMILES), np.array(SMILES), np.array(SMILES)[:, None], frame["smiles"], frame, frame[["smiles"]],
                 frame.rename(columns={"smiles": "x"}), mols):  # fmt: skip
        np.testing.assert_allclose(MoleBlendEmbedding().fit_transform(form), expected, rtol=1e-4, atol=1e-5)
    named = MoleBlendEmbedding().set_output(transform="pandas").fit_transform(frame["smiles"])
    assert named.columns[:2].tolist() == ["moleblend0", "moleblend1"]
    assert (MoleBlendEmbedding(readout="mean").fit_transform(SMILES) != expected).any()


def test_pipeline_and_searches():
    pipeline = make_pipeline(MoleBlendEmbedding(), Ridge(alpha=1.0))
    search = GridSearchCV(pipeline, {"moleblendembedding__readout": ["token", "mean"], "ridge__alpha": [1, 10]}, cv=3)
    assert search.fit(np.array(SMILES), SIZES).best_score_ > 0.3
    scores = cross_val_score(MoleBlendRegressor(encoder=None, **QUICK), pd.Series(SMILES), SIZES, cv=3)
    assert scores.mean() > 0
    assert clone(MoleBlendRegressor(head="trees")).get_params()["head"] == "trees"


def test_auto_is_the_default_and_speaks_in_the_unit_of_the_labels():
    model = MoleBlendRegressor(features=["morgan"], random_state=0).fit(SMILES, 1000 + SIZES)
    assert len(model.model_.metrics["candidates"]) == 5  # all but the fine-tuned network
    assert abs(model.predict(SMILES).mean() - 1000 - SIZES.mean()) < 2
    assert model.score(SMILES, 1000 + SIZES) > 0.3


def test_a_network():
    encoder = mb.EncoderConfig.tiny()
    how = {"head": "network", "encoder": encoder, "training": mb.TrainingConfig(max_epochs=1), "random_state": 0}
    model = MoleBlendRegressor(**how).fit(SMILES, np.stack([SIZES, -SIZES], 1))
    assert model.predict(SMILES[:2]).shape == (2, 2)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(SMILES), model.predict(SMILES))


@pytest.mark.parametrize("labels", [RINGS, RINGS == "ring", np.where(SIZES > 8, 2, np.where(SIZES > 4, 1, 0))])
def test_classes_are_those_of_the_labels(labels, tmp_path):
    model = MoleBlendClassifier(encoder=None, **QUICK).fit(SMILES, labels)
    found = model.predict_proba(SMILES)
    assert found.shape == (len(SMILES), len(np.unique(labels)))
    np.testing.assert_allclose(found.sum(1), 1)
    assert model.score(SMILES, labels) > 0.6
    for again in (pickle.loads(pickle.dumps(model)), MoleBlendClassifier.load(model.save(tmp_path / "saved"))):
        np.testing.assert_array_equal(again.predict_proba(SMILES), found)
        assert again.predict(SMILES).tolist() == model.predict(SMILES).tolist()
        assert again.classes_.dtype == model.classes_.dtype
        assert again.get_params() == model.get_params()


def test_saved_without_pickle(tmp_path):
    model = MoleBlendRegressor(encoder=None, **QUICK).fit(SMILES, SIZES)
    folder = model.save(tmp_path / "saved")
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".npz"}
    again = MoleBlendRegressor.load(folder)
    np.testing.assert_array_equal(again.predict(SMILES), model.predict(SMILES))
    np.testing.assert_allclose(mb.load(folder).predict(SMILES)["y0_predicted"], model.predict(SMILES))
    embedding = MoleBlendEmbedding(readout="mean").fit([])
    again = MoleBlendEmbedding.load(embedding.save(tmp_path / "embedding"))
    np.testing.assert_array_equal(again.transform(SMILES), embedding.transform(SMILES))
    for wrong, error, message in (
        (lambda: MoleBlendClassifier.load(folder), CheckpointError, "holds a MoleBlendRegressor"),
        (lambda: MoleBlendRegressor.load(tmp_path), CheckpointError, r"there is no estimator\.json"),
        (lambda: model.save(folder), DataError, "something of this name"),
        (lambda: MoleBlendRegressor().save(tmp_path / "new"), NotFittedError, "not fitted"),
    ):
        with pytest.raises(error, match=message):
            wrong()
    assert not (tmp_path / "new").exists()


def test_molecules_that_cannot_be_read():
    smiles = ["CCO", "C1CC", *SMILES]
    labels = np.arange(len(smiles)) % 2
    for estimator in (MoleBlendEmbedding(), MoleBlendClassifier(encoder=None, **QUICK)):
        with pytest.raises(MoleculeError, match=r"unclosed ring\n  where: row 1 \(the first of 1 such\)"):
            estimator.fit(smiles, labels).transform(smiles)
    vectors = MoleBlendEmbedding(on_error="nan").fit_transform(smiles)
    assert np.flatnonzero(np.isnan(vectors).any(1)).tolist() == [1]
    model = MoleBlendClassifier(encoder=None, on_error="nan", **QUICK)
    with pytest.warns(UserWarning, match="1 of 32 rows are left out"):
        model.fit(smiles, labels)
    assert np.flatnonzero(np.isnan(model.predict_proba(smiles)).any(1)).tolist() == [1]
    with pytest.raises(MoleculeError, match="row 1"):
        model.predict(smiles)
    with pytest.raises(DataError, match="of one class"):
        model.fit(SMILES, np.ones(len(SMILES)))
