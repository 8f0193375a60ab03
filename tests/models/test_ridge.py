"""Ridge regression from one inverse: the same as fitting each fold and each task by itself."""

import numpy as np
import pytest
from scipy import linalg

from dgl_moleblend.models import ridge
from dgl_moleblend.models.ridge import fit_exact, fit_nystroem

N = 60


@pytest.fixture
def problem():
    random = np.random.default_rng(0)
    x = random.normal(size=(N, 3))
    kernel = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 4) + 1
    target = np.stack([np.sin(x[:, 0]), x[:, 1] + 0.5 * random.normal(size=N), x[:, 2] ** 2 - 1], 1)
    target[:10, 1] = np.nan  # few are missing: read from the inverse that tasks share
    target[::5, 2] = np.nan
    target[20:, 2] = np.nan  # most are missing: solved by itself
    return kernel, target, random.integers(0, 4, N)


def one_by_one(kernel, target, folds, penalty):
    """Solve every fold and task for itself."""
    coefficients, held_out = np.zeros_like(target), np.full_like(target, np.nan)
    for task, y in enumerate(target.T):
        rows = np.flatnonzero(~np.isnan(y))

        def solve(a, y=y, penalty=penalty[task]):
            return linalg.solve(kernel[np.ix_(a, a)] + penalty * np.eye(len(a)), y[a])

        coefficients[rows, task] = solve(rows)
        for fold in np.unique(folds[rows]):
            inside, outside = rows[folds[rows] == fold], rows[folds[rows] != fold]
            held_out[inside, task] = kernel[np.ix_(inside, outside)] @ solve(outside)
    return coefficients, held_out


def test_folds_and_tasks_are_those_of_separate_fits(problem):
    fit = fit_exact(*problem)
    coefficients, held_out = one_by_one(*problem, fit.penalty)
    np.testing.assert_allclose(fit.coefficients, coefficients, atol=1e-7)
    np.testing.assert_allclose(fit.out_of_fold, held_out, atol=1e-7)


def test_the_penalty_is_the_best_of_the_list(problem):
    kernel, target, folds = problem
    fit = fit_exact(*problem)
    for task in range(3):
        errors = []
        for penalty in ridge.PENALTIES:
            held_out = one_by_one(kernel, target[:, [task]], folds, [penalty])[1][:, 0]
            errors.append(np.nanmean((held_out - target[:, task]) ** 2))
        assert fit.penalty[task] == ridge.PENALTIES[np.argmin(errors)]
        assert fit.loss[task] == pytest.approx(min(errors))


def test_bands_of_the_inverse_join(problem, monkeypatch):
    monkeypatch.setattr(ridge, "_BAND", 7)
    inverse = ridge._inverse(problem[0], 0.1)
    np.testing.assert_allclose(inverse @ (problem[0] + 0.1 * np.eye(N)), np.eye(N), atol=1e-9)


def test_nystroem_with_all_molecules_is_exact(problem, monkeypatch):
    monkeypatch.setattr(ridge, "_JITTER", 1e-9)
    kernel, target, folds = problem
    exact, approximate = fit_exact(*problem), fit_nystroem(kernel, kernel, target, folds)
    np.testing.assert_allclose(approximate.out_of_fold, exact.out_of_fold, atol=1e-2)
    np.testing.assert_allclose(kernel @ approximate.coefficients, kernel @ exact.coefficients, atol=1e-2)


def test_nystroem_with_some_molecules_is_near(problem):
    kernel, target, folds = problem
    fit = fit_nystroem(kernel[:, ::2], kernel[::2, ::2], target, folds)
    assert fit.coefficients.shape == (N // 2, 3)
    error = np.nanmean((fit.out_of_fold - target) ** 2, axis=0)
    assert (error < 1.5 * fit_exact(*problem).loss + 0.1).all()


def test_one_fold_and_one_row_leave_nothing_out(problem):
    kernel, target, _ = problem
    fit = fit_exact(kernel, target[:, :1], np.zeros(N, int))
    assert np.isnan(fit.out_of_fold).all()
    assert np.isinf(fit.loss).all()
    assert np.abs(kernel @ fit.coefficients - target[:, :1]).mean() < 0.2
    one = fit_exact(np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1, int))
    assert one.coefficients.tolist() == [[0.0]]
