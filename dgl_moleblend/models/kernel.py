"""The kernel machine: a sum of similarities between molecules, and one coefficient for each that it learned from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy  # whose parts are imported where they are used
from typing_extensions import Self

from dgl_moleblend.chem.feature_table import FeatureTable
from dgl_moleblend.errors import CheckpointError, ConfigError
from dgl_moleblend.models.folds import check_training_labels, fit_logistic, make_folds, mean_and_scale, usable_weights
from dgl_moleblend.models.kernel_sum import CONSTANT, KernelSum
from dgl_moleblend.models.ridge import Loss, RidgeFit, fit_exact, fit_nystroem, squared_error

MAX_EXACT = 10_000
"""Training rows up to which all are reference molecules; of more, `NUM_REFERENCE` are: time grows with the cube."""
NUM_REFERENCE = 3_000
SHARES = (0.1, 0.3, 0.5, 0.75, 0.9)
"""Shares of the dense features in the sum of kernels that are tried, from `_START` on to where nothing is gained: 0.1
suits activity, 0.75 and more suit solubility."""
_START = 1
_SAMPLE = 2_000  # rows that the share is chosen on
_BLOCK = 2048


@dataclass(frozen=True)
class KernelModel:
    r"""Kernel ridge regression, the mean of a Gaussian process, of any number of tasks with missing labels.

    A prediction is :math:`\sum_m k(x, x_m) a_m`, with :math:`k` the sum of one kernel a feature: min-max for counts,
    Gaussian for ranked dense columns. Features of counts weigh the same, and so do dense ones; the share of both is
    chosen by cross-validation. For classification the sum is a decision value, of which a logistic curve fitted to
    held-out rows makes a probability. Made by `fit`, or by `from_state`.

    Parameters
    ----------
    task_type : {"regression", "classification"}
    kernel : KernelSum
        Compares with the n reference molecules.
    arrays : dict of str -> ndarray
        "coefficients" (n, t), "present" (n, t) bool: whether a reference molecule has the label; "penalty" (t,),
        of a regression (t,) "mean" and "scale" of the labels and "variance" of the signal, of a classification (t,)
        "slope" and "offset" of the logistic curve.
    exact : bool
        False: the reference molecules are `NUM_REFERENCE` of those that it learned from.
    out_of_fold : ndarray, shape (N, t), optional
        Predictions of training rows by models that had not seen them; NaN where the label is missing. Not stored.
    out_of_fold_deviation : ndarray, shape (N, t), optional
        What `deviation` of those models says of these rows; None of a classification or a large set. Not stored.

    Examples
    --------
    >>> from dgl_moleblend.chem.descriptors import describe
    >>> features = describe(["CCO", "CCCO", "CCCCO", "CCN", "CCCN", "CCCCN"], ["morgan", "atom_pair"])
    >>> model = KernelModel.fit(features, np.array([[1.0], [2], [3], [1], [2], [3]]), "regression")
    >>> model.required_features, model.out_of_fold.shape
    (('morgan', 'atom_pair'), (6, 1))
    >>> new = describe(["CCCCCO", "c1ccccc1"], ["morgan", "atom_pair"])
    >>> bool(model.predict(new)[0, 0] > 2), bool(model.deviation(new)[1, 0] > model.deviation(new)[0, 0])
    (True, True)
    """

    task_type: str
    kernel: KernelSum
    arrays: Mapping[str, np.ndarray]
    exact: bool = True
    out_of_fold: np.ndarray | None = field(default=None, repr=False)
    out_of_fold_deviation: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        features: FeatureTable,
        labels: np.ndarray,
        task_type: str,
        folds: np.ndarray | None = None,
        *,
        names: Sequence[str] | None = None,
        seed: int = 0,
        weights: np.ndarray | None = None,
    ) -> Self:
        """Learn from training rows; weights, and the penalty of each task, are chosen by cross-validation on them.

        Parameters
        ----------
        features : FeatureTable
            Of the N training molecules.
        labels : ndarray, shape (N, t)
            In their own unit, or 0 / 1; NaN = missing.
        task_type : {"regression", "classification"}
        folds : ndarray of int, shape (N,), optional
            The fold of each row; by default 4 random ones.
        names : sequence of str, optional
            The features to use; by default all that the table has.
        seed : int
            Of random folds, and of the reference molecules of a large set.
        weights : ndarray, shape (N,), optional
            What each molecule counts for, at least 0: its noise is the penalty over its weight (of mean 1).

        Raises
        ------
        DataError
            If a feature is missing, or labels or folds do not fit; see `check_training_labels` and `make_folds`.
        """
        names = tuple(features.names if names is None else names)
        features.require(names, {name: features.columns[name] for name in names if name in features.columns})
        rows = len(features)
        labels = check_training_labels(labels, rows, task_type)
        folds = make_folds(rows, folds, seed=seed)
        counts = None if weights is None else usable_weights(weights)
        mean, scale = mean_and_scale(labels, counts)
        scale = np.where(scale > 1e-12 * np.maximum(1, np.abs(mean)), scale, 1.0)
        target = (labels - mean) / scale
        loss = squared_error if task_type == "regression" else _log_loss
        shares = _choose_weights(features, names, target, folds, loss, seed, counts)
        exact = rows <= MAX_EXACT
        reference = np.arange(rows) if exact else _choose_reference(labels, task_type, seed)
        kernel = KernelSum.of(features if exact else features.take(reference), names, shares)
        cross = kernel.between() if exact else kernel(features)
        if exact:
            found = fit_exact(cross, target, folds, loss, counts)
        else:
            found = fit_nystroem(cross, cross[reference], target, folds, loss, counts)
        present, deviation = ~np.isnan(labels[reference]), None
        arrays = {"coefficients": found.coefficients, "penalty": found.penalty, "present": present}
        if counts is not None:
            arrays["counts"] = counts[reference]
        if task_type == "regression":
            arrays |= {"mean": mean, "scale": scale}
            counted = arrays.get("counts", np.ones(len(reference)))
            arrays["variance"] = _variances(cross[reference], found, target[reference], counted, exact=exact)
            out_of_fold = found.out_of_fold * scale + mean
            if found.variance is not None:
                deviation = np.sqrt(arrays["variance"] * found.variance) * scale
        else:
            curves = []
            for held_out, truth in zip(found.out_of_fold.T, labels.T, strict=True):
                seen = ~np.isnan(held_out)
                values = (held_out[seen], truth[seen]) if seen.any() else (np.zeros(1), truth[~np.isnan(truth)][:1])
                curves.append(fit_logistic(*values))
            arrays["slope"], arrays["offset"] = np.array(curves).T.copy()
            out_of_fold = scipy.special.expit(found.out_of_fold * arrays["slope"] + arrays["offset"])
        return cls(task_type, kernel, arrays, exact, out_of_fold, deviation)

    @property
    def num_tasks(self) -> int:
        """Number of properties t."""
        return int(self.arrays["coefficients"].shape[1])

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the columns of the dense features that a prediction needs."""
        return self.kernel.columns

    @property
    def required_features(self) -> tuple[str, ...]:
        """Names of the features that a prediction needs."""
        return tuple(self.kernel.similarities)

    def predict(self, features: FeatureTable) -> np.ndarray:
        """Return values in the unit of the labels, or probabilities of class 1.

        Parameters
        ----------
        features : FeatureTable
            Of N molecules.

        Returns
        -------
        ndarray, shape (N, t), float64

        Raises
        ------
        DataError
            If a feature is missing, or its columns are not those of the training; the message names them.
        """
        value = np.empty((len(features), self.num_tasks))
        for rows, kernel in self._kernels(features):
            value[rows] = self._values(kernel)
        return value

    def deviation(self, features: FeatureTable) -> np.ndarray:
        """Return the standard deviation of a new measurement, as the Gaussian process sees it.

        It grows from the noise's, close to training molecules, to that of all labels, far from them. Of a set larger
        than `MAX_EXACT` it counts the reference molecules only, and so is rather too large.

        Parameters
        ----------
        features : FeatureTable
            Of N molecules.

        Returns
        -------
        ndarray, shape (N, t), float64
            In the unit of the labels.

        Raises
        ------
        ValueError
            If this is a classification, whose probabilities say how sure they are.
        DataError
            See `predict`.
        """
        return self.predict_with_deviation(features)[1]

    def predict_with_deviation(self, features: FeatureTable) -> tuple[np.ndarray, np.ndarray]:
        """Return what `predict` and `deviation` do, comparing with the reference molecules once.

        Raises
        ------
        ConfigError, DataError
            See `deviation`.
        """
        if self.task_type != "regression":
            raise ConfigError("a classification has no deviation", fix="read its probabilities instead")
        value = np.empty((len(features), self.num_tasks))
        deviation = np.empty_like(value)
        for rows, kernel in self._kernels(features):
            value[rows], deviation[rows] = self._values(kernel), self._deviations(kernel)
        return value, deviation

    def _kernels(self, features: FeatureTable) -> Iterator[tuple[slice, np.ndarray]]:
        """Compare molecules with the reference molecules, some rows at a time."""
        features.require(self.required_features, self.kernel.columns)
        for start in range(0, len(features), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(features)))
            yield rows, self.kernel(features.take(np.arange(rows.start, rows.stop)))

    def _values(self, kernel: np.ndarray) -> np.ndarray:
        value = kernel @ self.arrays["coefficients"]
        if self.task_type == "classification":
            return scipy.special.expit(value * self.arrays["slope"] + self.arrays["offset"])
        return value * self.arrays["scale"] + self.arrays["mean"]

    def _deviations(self, kernel: np.ndarray) -> np.ndarray:
        present, penalty = self.arrays["present"], self.arrays["penalty"]
        deviation = np.empty((len(kernel), self.num_tasks))
        for task, factor in enumerate(self._factors):
            near = scipy.linalg.solve_triangular(factor, kernel[:, present[:, task]].T, lower=True, check_finite=False)
            rest = np.maximum(1 + CONSTANT - (near**2).sum(0), 0) + penalty[task]
            deviation[:, task] = np.sqrt(self.arrays["variance"][task] * rest) * self.arrays["scale"][task]
        return deviation

    @cached_property
    def _factors(self) -> list[np.ndarray]:
        """Cholesky factors of the training kernel, one a task; tasks of equal labels and penalty share theirs."""
        kernel = self.kernel.between()
        known: dict[bytes, np.ndarray] = {}
        factors = []
        for rows, penalty in zip(self.arrays["present"].T, self.arrays["penalty"], strict=True):
            key = rows.tobytes() + penalty.tobytes()
            counts = self.arrays.get("counts", np.ones(len(rows)))
            if key not in known:
                matrix = kernel[np.ix_(rows, rows)].astype(np.float64)
                matrix[np.diag_indices(len(matrix))] += penalty / counts[rows]
                known[key] = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True)
            factors.append(known[key])
        return factors

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and settings that JSON can hold, for `from_state`."""
        arrays, settings = self.kernel.state()
        return {**arrays, **self.arrays}, {"task_type": self.task_type, "exact": self.exact, **settings}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Self:
        """Build the model that `state` described; it predicts the same.

        Raises
        ------
        CheckpointError
            If an array is missing or does not fit the others.
        """
        damaged = {"fix": "restore the folder, or train the model again"}
        curve = ("mean", "scale", "variance") if settings["task_type"] == "regression" else ("slope", "offset")
        try:
            optional = ("counts",) if "counts" in arrays else ()
            own = {name: arrays[name] for name in ("coefficients", "present", "penalty", *curve, *optional)}
            kernel = KernelSum.from_state(arrays, settings)
        except KeyError as error:
            raise CheckpointError(f"the kernel machine lacks the array {error.args[0]!r}", **damaged) from None
        shape = own["coefficients"].shape
        if len(shape) != 2 or shape[0] != len(kernel):
            said = f"coefficients have shape {shape}, there are {len(kernel)} reference molecules"
            raise CheckpointError(said, **damaged)
        for name, array in own.items():
            expected = shape if name in ("coefficients", "present") else shape[:1] if name == "counts" else shape[1:]
            if array.shape != expected:
                raise CheckpointError(f"{name!r} has shape {array.shape}, expected {expected}", **damaged)
        own["present"] = own["present"].astype(bool)
        return cls(settings["task_type"], kernel, own, settings["exact"])


def _log_loss(held_out: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the log loss of the probabilities that a logistic curve makes of held-out values; class 1 is positive."""
    labels = (target > 0).astype(float)
    slope, offset = fit_logistic(held_out, labels)
    value = slope * held_out + offset
    return float(np.average(np.logaddexp(0, value) - labels * value, weights=weights))


def _choose_weights(
    features: FeatureTable,
    names: Sequence[str],
    target: np.ndarray,
    folds: np.ndarray,
    loss: Loss,
    seed: int,
    counts: np.ndarray | None,
) -> np.ndarray:
    """Return the features' weights, with the share of the dense ones that cross-validation prefers, for all tasks."""
    dense = np.array([features.is_dense(name) for name in names])
    if dense.all() or not dense.any():
        return np.full(len(names), 1 / len(names))
    rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:_SAMPLE])
    tasks = (~np.isnan(target[rows])).any(0)
    sample = KernelSum.of(features.take(rows), names, np.full(len(names), 1 / len(names)))
    kernels = [similarity.between() for similarity in sample.similarities.values()]

    def weights(share: float) -> np.ndarray:
        return np.where(dense, share / dense.sum(), (1 - share) / (~dense).sum())

    def error(share: float) -> float:
        kernel = sum(weight * kernel for weight, kernel in zip(weights(share), kernels, strict=True)) + CONSTANT
        own = None if counts is None else counts[rows]
        return float(np.mean(fit_exact(kernel, target[np.ix_(rows, tasks)], folds[rows], loss, own).loss))

    best, least = _START, error(SHARES[_START])
    for places in (range(_START + 1, len(SHARES)), range(_START - 1, -1, -1)):
        for place in places if best == _START and np.isfinite(least) else ():
            now = error(SHARES[place])
            if now >= least:
                break
            best, least = place, now
    return weights(SHARES[best])


def _variances(
    kernel: np.ndarray, found: RidgeFit, target: np.ndarray, counts: np.ndarray, *, exact: bool
) -> np.ndarray:
    """Return the likeliest variance of each task's signal, in units of its labels' variance."""
    variances = np.empty(len(found.penalty))
    for task, (penalty, y) in enumerate(zip(found.penalty, target.T, strict=True)):
        rows = np.flatnonzero(~np.isnan(y))
        alpha = found.coefficients[rows, task]
        if not exact:
            matrix = kernel[np.ix_(rows, rows)] + np.diag(penalty / counts[rows])
            alpha = scipy.linalg.solve(matrix, y[rows], assume_a="pos")
        variances[task] = max(float(alpha @ y[rows]) / max(len(rows), 1), 1e-6)
    return variances


def _choose_reference(labels: np.ndarray, task_type: str, seed: int) -> np.ndarray:
    """Return the rows that a large set's molecules are compared with: of a classification up to half of class 1."""
    order = np.random.default_rng(seed).permutation(len(labels))
    if task_type == "classification":
        ones = (labels[order] == 1).any(1)
        order = np.concatenate([order[ones][: NUM_REFERENCE // 2], order[~ones], order[ones][NUM_REFERENCE // 2 :]])
    return np.sort(order[:NUM_REFERENCE])
