"""A weight of 2 is a row twice, one of 0 a row that is not there: of the kernel machine, of trees, of the loss."""

import numpy as np
import pytest
import torch
from commands import SMILES

from dgl_moleblend.chem.descriptors import describe
from dgl_moleblend.models.kernel import KernelModel
from dgl_moleblend.models.losses import label_importance, property_loss
from dgl_moleblend.models.ridge import fit_exact, fit_nystroem
from dgl_moleblend.models.targets import LabelScaling
from dgl_moleblend.models.trees import TreeModel

NAN = np.nan


def kernel_of(x):
    return np.exp(-((x[:, None] - x) ** 2)) + 1.0


@pytest.fixture
def problem():
    generator = np.random.default_rng(0)
    x = np.sort(generator.normal(size=24))
    return x, np.sin(2 * x)[:, None] + 0.1 * generator.normal(size=(24, 1)), np.arange(24) % 3


def test_a_row_of_weight_two_is_that_row_twice(problem):
    x, y, folds = problem
    weights = np.where(np.arange(24) % 4 == 0, 2.0, 1.0)
    fit = fit_exact(kernel_of(x), y, folds, weights=weights)
    twice = np.repeat(np.arange(24), weights.astype(int))
    same = fit_exact(kernel_of(x)[np.ix_(twice, twice)], y[twice], folds[twice])
    assert fit.penalty == same.penalty
    np.testing.assert_allclose(fit.loss, same.loss)
    new = np.exp(-((np.linspace(-2, 2, 9)[:, None] - x) ** 2)) + 1.0
    np.testing.assert_allclose(new @ fit.coefficients, new[:, twice] @ same.coefficients, rtol=1e-6)
    np.testing.assert_allclose(fit.out_of_fold[twice], same.out_of_fold, rtol=1e-6)
    once = weights[twice] == 1  # of two rows, each tells the other's noise
    np.testing.assert_allclose(fit.variance[twice][once], same.variance[once], rtol=1e-6)
    rest = twice[folds[twice] != 1]
    cross = np.exp(-((x[folds == 1][:, None] - x[rest]) ** 2)) + 1.0
    inner = np.linalg.solve(kernel_of(x[rest]) + fit.penalty * np.eye(len(rest)), cross.T)
    expected = 2.0 - np.einsum("ij,ji->i", cross, inner) + fit.penalty
    np.testing.assert_allclose(fit.variance[folds == 1, 0], expected, rtol=1e-5, err_msg="of a row of weight 1")


def test_few_reference_molecules_are_weighted_likewise(problem):
    x, y, folds = problem
    weights = np.where(np.arange(24) % 4 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(24), weights.astype(int))
    kernel = kernel_of(x)
    found = fit_nystroem(kernel[:, ::3], kernel[::3, ::3], y, folds, weights=weights)
    same = fit_nystroem(kernel[twice][:, ::3], kernel[::3, ::3], y[twice], folds[twice])
    if found.penalty[0] == same.penalty[0]:
        np.testing.assert_allclose(kernel[:, ::3] @ found.coefficients, kernel[:, ::3] @ same.coefficients, atol=1e-4)
    alike = fit_nystroem(kernel[:, ::3], kernel[::3, ::3], y, folds, weights=np.ones(24))
    np.testing.assert_array_equal(
        alike.coefficients, fit_nystroem(kernel[:, ::3], kernel[::3, ::3], y, folds).coefficients
    )


@pytest.mark.parametrize("make", [KernelModel.fit, TreeModel.fit])
def test_wrong_labels_of_no_weight_do_no_harm(make):
    features = describe(SMILES)
    truth = np.array([float(len(text)) for text in SMILES])[:, None]
    labels, weights = truth.copy(), np.ones(len(SMILES))
    labels[::3], weights[::3] = 500.0, 0.0
    model = make(features, labels, "regression", weights=weights)
    with_them = make(features, labels, "regression")
    assert np.abs(model.predict(features) - truth).mean() < 5 < np.abs(with_them.predict(features) - truth).mean() / 3
    assert np.isfinite(model.out_of_fold).all(), "rows of no weight are predicted, too"
    again = type(model).from_state(*model.state())
    np.testing.assert_array_equal(again.predict(features), model.predict(features))
    if isinstance(model, KernelModel):
        np.testing.assert_allclose(again.deviation(features), model.deviation(features))


def test_the_loss_counts_labels_by_their_weights():
    output = torch.tensor([[0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[1.0, 2.0], [3.0, NAN]])
    importance = label_importance(labels.numpy(), np.array([1.0, 3.0]), [1.0, 2.0])
    # (1 * 1, 1 * 2, 3 * 1) / 2, the mean of those there are
    np.testing.assert_allclose(importance, [[0.5, 1.0], [1.5, 3.0]])
    loss = property_loss(output, labels, "regression", LabelScaling.none(2), importance=torch.tensor(importance))
    loss.backward()
    assert loss.item() == pytest.approx((0.5 * 1 + 1.0 * 4 + 1.5 * 9) / 3)
    assert output.grad[1, 1] == 0
    assert label_importance(labels.numpy(), None, None) is None
