"""Forests on counts and descriptors, for many tasks with missing labels; scikit-learn grows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from typing_extensions import Self

from dgl_moleblend.chem.feature_table import FeatureTable, fold
from dgl_moleblend.config import check
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.models.folds import check_training_labels, make_folds
from dgl_moleblend.models.forest import Forest
from dgl_moleblend.models.similarities import RankScaler

MORGAN = "morgan"
"""The counts that trees read; of the second of several molecules a row "morgan@2"."""
WIDTH = 2048
"""Columns that counts of environments are added up in."""
_USED = 8  # a column that fewer training molecules have is left out, where there are ten times as many
_FULL = 6_000  # labels up to which all trees are grown; for more, fewer: at least `_LEAST` of them and `_FEWEST`
_LEAST = 0.25
_FEWEST = 25


class Recipe(NamedTuple):
    """How a kind of trees is grown: how many, how many for each fold, and what share of the columns a split sees."""

    grower: str
    trees: int
    trees_in_fold: int
    share: float


RECIPES = {
    "forest": Recipe("RandomForestRegressor", 300, 60, 1 / 3),
    "trees": Recipe("ExtraTreesRegressor", 200, 60, 0.2),
}
"""The well-known baseline, a random forest on Morgan counts; and extra trees on log(1 + Morgan counts) and all dense
features by their ranks. A score of held-out rows needs fewer trees than an answer: 60 are within 0.5 % of 200."""


@dataclass(frozen=True)
class TreeModel:
    """Trees for any number of tasks with missing labels: tasks whose labels are complete together share theirs.

    A class is learned as the number 0 or 1, so that a leaf's mean is its probability; splits are Gini's all the same.
    Made by `fit`, or by `from_state`.

    Parameters
    ----------
    kind : {"forest", "trees"}
        See `RECIPES`.
    task_type : {"regression", "classification"}
    counted : ndarray of int
        The columns of the folded Morgan counts that are used, those of `counts` side by side.
    scalers : dict of str -> RankScaler
        One for each dense feature; none for "forest".
    columns : dict of str -> tuple of str
        Names of the columns of dense features.
    forests : tuple of Forest
    groups : tuple of tuples of int
        The tasks that each forest answers.
    out_of_fold : ndarray, shape (N, t), optional
        Predictions of training rows by trees that had not seen them; NaN where the label is missing. Not stored.
    counts : tuple of str
        Names of the Morgan counts: one for each molecule of a row.

    Examples
    --------
    >>> from dgl_moleblend.chem.descriptors import describe
    >>> features = describe(["CCO", "CCCO", "CCCCO", "CCN", "CCCN", "CCCCN"])
    >>> model = TreeModel.fit(features, np.array([[1.0], [2], [3], [1], [2], [3]]), "regression", kind="trees")
    >>> model.required_features, model.predict(features).round(1).ravel().tolist()
    (('morgan', 'rdkit2d'), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    """

    kind: str
    task_type: str
    counted: np.ndarray
    scalers: Mapping[str, RankScaler]
    columns: Mapping[str, tuple[str, ...]]
    forests: tuple[Forest, ...]
    groups: tuple[tuple[int, ...], ...]
    out_of_fold: np.ndarray | None = field(default=None, repr=False)
    counts: tuple[str, ...] = (MORGAN,)

    @classmethod
    def fit(
        cls,
        features: FeatureTable,
        labels: np.ndarray,
        task_type: str,
        folds: np.ndarray | None = None,
        *,
        kind: str = "trees",
        seed: int = 0,
        jobs: int = 1,
        weights: np.ndarray | None = None,
    ) -> Self:
        """Grow trees on training rows, and fewer on all but one fold each, for `out_of_fold`.

        Parameters
        ----------
        features : FeatureTable
            Of the N training molecules, "morgan" among them.
        labels : ndarray, shape (N, t)
            In their own unit, or 0 / 1; NaN = missing.
        task_type : {"regression", "classification"}
        folds : ndarray of int, shape (N,), optional
            The fold of each row; by default 4 random ones.
        kind : {"forest", "trees"}
        seed : int
            Of the trees, and of random folds.
        jobs : int
            Threads.
        weights : ndarray, shape (N,), optional
            What each molecule counts for, at least 0.

        Raises
        ------
        ConfigError
            If `kind` is unknown.
        DataError
            If "morgan" is missing, or labels or folds do not fit; see `check_training_labels` and `make_folds`.
        """
        check(kind in RECIPES, "kind", kind, " or ".join(map(repr, RECIPES)))
        dense = [name for name in features.names if features.is_dense(name)] if kind == "trees" else []
        columns = {name: features.columns[name] for name in dense}
        features.require([MORGAN], {})
        counts = tuple(name for name in features.names if name.partition("@")[0] == MORGAN)
        labels = check_training_labels(labels, len(features), task_type)
        folds = make_folds(len(features), folds, seed=seed)
        recipe = RECIPES[kind]
        scalers = {name: RankScaler(features[name]) for name in dense}  # type: ignore[arg-type]
        used = (_counts(features, counts) > 0).sum(0)
        counted = np.flatnonzero(used >= (_USED if len(features) >= 10 * _USED else 1))
        x = _matrix(features, counts, counted, scalers, logarithm=kind == "trees")
        present = ~np.isnan(labels)
        patterns, pattern = np.unique(present, axis=1, return_inverse=True)
        groups = tuple(tuple(np.flatnonzero(np.ravel(pattern) == k).tolist()) for k in range(patterns.shape[1]))
        share = min(1.0, _FULL / (present.sum() / max(len(g) for g in groups)))
        grow = _Grower(recipe, share, seed, jobs)
        out_of_fold, forests = np.full_like(labels, np.nan), []
        for tasks, rows in zip(groups, patterns.T, strict=True):
            y = labels[:, tasks]
            forests.append(grow(x[rows], y[rows], recipe.trees, None if weights is None else weights[rows]))
            for number in np.unique(folds[rows]):
                inside, outside = rows & (folds == number), rows & (folds != number)
                if outside.any():
                    own = None if weights is None else weights[outside]
                    held_out = grow(x[outside], y[outside], recipe.trees_in_fold, own).predict(x[inside])
                    out_of_fold[np.ix_(inside, tasks)] = held_out
        return cls(kind, task_type, counted, scalers, columns, tuple(forests), groups, out_of_fold, counts)

    @property
    def num_tasks(self) -> int:
        """Number of properties t."""
        return sum(map(len, self.groups))

    @property
    def required_features(self) -> tuple[str, ...]:
        """Names of the features that a prediction needs."""
        return (*self.counts, *self.scalers)

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
        features.require(self.required_features, self.columns)
        x = _matrix(features, self.counts, self.counted, self.scalers, logarithm=self.kind == "trees")
        answer = np.empty((len(x), sum(map(len, self.groups))))
        for tasks, forest in zip(self.groups, self.forests, strict=True):
            answer[:, tasks] = forest.predict(x)
        return answer

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and settings that JSON can hold, for `from_state`."""
        arrays = {"counted": self.counted}
        for number, forest in enumerate(self.forests):
            arrays |= {f"{number}.{key}": value for key, value in forest._asdict().items()}
        for name, scaler in self.scalers.items():
            arrays |= {f"{name}.{key}": value for key, value in scaler.state().items()}
        settings = {
            "kind": self.kind,
            "task_type": self.task_type,
            "groups": [list(group) for group in self.groups],
            **({} if self.counts == (MORGAN,) else {"counts": list(self.counts)}),
            "columns": {name: list(columns) for name, columns in self.columns.items()},
        }
        return arrays, settings

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Self:
        """Build the model that `state` described; it predicts the same.

        Raises
        ------
        CheckpointError
            If an array is missing or does not fit the others.
        """
        groups = tuple(tuple(group) for group in settings["groups"])
        try:
            scalers = {
                name: RankScaler.from_state(
                    {key: arrays[f"{name}.{key}"] for key in ("kept", "knots", "scores", "knots_indptr")}, name
                )
                for name in settings["columns"]
            }
            forests = tuple(
                Forest(**{key: arrays[f"{number}.{key}"] for key in Forest._fields}) for number in range(len(groups))
            )
            counted = arrays["counted"]
        except KeyError as error:
            raise CheckpointError(
                f"the trees lack the array {error.args[0]!r}", fix="restore the folder, or train the model again"
            ) from None
        width = max(1, len(counted) + sum(len(scaler.kept) for scaler in scalers.values()))
        for group, forest in zip(groups, forests, strict=True):
            forest.check(width, f"tasks {', '.join(map(str, group))}")
        columns = {name: tuple(names) for name, names in settings["columns"].items()}
        return cls(settings["kind"], settings["task_type"], counted, scalers, columns, forests, groups,
                   counts=tuple(settings.get("counts", (MORGAN,))))  # fmt: skip


class _Grower(NamedTuple):
    """Grows forests of one recipe."""

    recipe: Recipe
    share: float  # of the recipe's trees, if that is not too few
    seed: int
    jobs: int

    def __call__(self, x: np.ndarray, y: np.ndarray, trees: int, weights: np.ndarray | None = None) -> Forest:
        from sklearn import ensemble

        if weights is not None and weights.any():  # a row of weight 0 would have a leaf of its own
            x, y, weights = x[weights > 0], y[weights > 0], weights[weights > 0]
        grown = getattr(ensemble, self.recipe.grower)(
            n_estimators=max(min(_FEWEST, trees), int(trees * max(self.share, _LEAST))),
            max_features=self.recipe.share,
            n_jobs=self.jobs,
            random_state=self.seed,
        ).fit(x, y if y.shape[1] > 1 else y[:, 0], None if weights is None or not weights.any() else weights)
        return Forest.from_trees([tree.tree_ for tree in grown.estimators_])


def _counts(features: FeatureTable, names: Sequence[str]) -> np.ndarray:
    """Return folded counts of all molecules of a row, side by side."""
    for name in names:
        if not sparse.issparse(features[name]):
            raise DataError(f"feature {name!r} is dense, counts are needed",
                            fix="make it with describe(..., ['morgan'])")  # fmt: skip
    return np.concatenate([fold(features[name], WIDTH) for name in names], 1)  # type: ignore[arg-type]


def _matrix(
    features: FeatureTable,
    names: Sequence[str],
    counted: np.ndarray,
    scalers: Mapping[str, RankScaler],
    *,
    logarithm: bool,
) -> np.ndarray:
    """Return what trees look at, shape (N, columns), float32."""
    counts = _counts(features, names)[:, counted]
    dense = [scaler(features[name]) for name, scaler in scalers.items()]  # type: ignore[arg-type]
    x = np.concatenate([np.log1p(counts) if logarithm else counts, *dense], 1)
    return x if x.shape[1] else np.zeros((len(x), 1), np.float32)
