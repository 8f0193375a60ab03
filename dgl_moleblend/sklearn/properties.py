"""Regressor and classifier: molecules -> numbers, or classes and their probabilities."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from typing_extensions import Self

from dgl_moleblend.errors import DataError, MoleculeError
from dgl_moleblend.sklearn.fitted import FittedModel


class MoleBlendRegressor(RegressorMixin, FittedModel):
    """SMILES or Mols -> numbers, in the unit that they were given in.

    Parameters
    ----------
    encoder : name or path, optional
        Pretrained weights (`mb.pretrained()`); None does without.
    head : {"auto", "network", "kernel", "trees"}
        "auto" weighs forest, trees, kernel machine and encoder by cross-validation; the others are one kind alone.
    fast : bool
        "auto" without fine-tuning the encoder: seconds instead of minutes. Unlike `mb.finetune`, this is the default,
        since grids and cross-validation fit often.
    features : sequence of str
        What trees and kernel machine read: some of "morgan", "atom_pair", "path", "rdkit2d".
    positions : {"none", "given", "embed"}
        3D coordinates of the molecules.
    training : TrainingConfig, optional
        Of a network.
    on_error : {"raise", "nan"}
        What becomes of molecules that cannot be read: an error that names the first; or they are left out of fitting
        with a warning, and predictions are NaN.
    progress : bool
    accelerator : {"auto", "cpu", "gpu", "cuda"}
    random_state : int, RandomState or None

    Attributes
    ----------
    model_ : LoadedModel
        With intervals and similarities: ``model_.predict``.

    Examples
    --------
    >>> smiles = ["C" * k + end for k in range(1, 11) for end in "NO"]
    >>> model = MoleBlendRegressor(head="kernel", features=["morgan"], random_state=0)
    >>> model.fit(smiles, [len(s) for s in smiles]).predict(["CCCCO"]).round()
    array([5.])
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit to numbers y, shape (m,) or (m, t); in (m, t), NaN is a missing label; `sample_weight`, (m,), at least 0.

        Raises
        ------
        DataError
            If there are too few molecules, or labels that are no numbers.
        MoleculeError
            If a molecule cannot be read, unless ``on_error="nan"``.
        """
        labels = _check_y(self, X, y)
        self._is_column = labels.ndim == 1
        return self._fit(X, labels.reshape(len(labels), -1), "regression", sample_weight)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return numbers, shape (m,) or (m, t), NaN where there is no molecule.

        Raises
        ------
        MoleculeError
            If a molecule cannot be read, unless ``on_error="nan"``.
        """
        values = self._values(X)
        return values[:, 0] if values.shape[1] == 1 and getattr(self, "_is_column", True) else values

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class MoleBlendClassifier(ClassifierMixin, FittedModel):
    """SMILES or Mols -> classes, and their probabilities; of more than two classes, each against the rest.

    Parameters
    ----------
    encoder, head, fast, features, positions, training, on_error, progress, accelerator, random_state
        See `MoleBlendRegressor`.

    Attributes
    ----------
    classes_ : ndarray of k classes
    model_ : LoadedModel

    Examples
    --------
    >>> smiles = ["C" * k + end for k in range(1, 11) for end in "NO"]
    >>> model = MoleBlendClassifier(head="trees", features=["morgan"], random_state=0)
    >>> model.fit(smiles, ["amine", "alcohol"] * 10).predict(["CCCCCCCCCCCCN"]).tolist()
    ['amine']
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit to classes y, shape (m,); `sample_weight`, shape (m,), at least 0.

        Raises
        ------
        DataError
            If there are too few molecules, or there is one class.
        MoleculeError
            If a molecule cannot be read, unless ``on_error="nan"``.
        """
        labels = _check_y(self, X, y, numeric=False)
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"the labels are of one class, {self.classes_[0]!r}", fix="give rows of another class, too")
        hot = np.eye(len(self.classes_))[index.ravel()]
        return self._fit(X, hot[:, 1:] if len(self.classes_) == 2 else hot, "classification", sample_weight)

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return probabilities of `classes_`, shape (m, k), NaN where there is no molecule.

        Raises
        ------
        MoleculeError
            If a molecule cannot be read, unless ``on_error="nan"``.
        """
        values = self._values(X)
        if len(self.classes_) == 2:
            return np.concatenate([1 - values, values], 1)
        return values / values.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the most probable class of each molecule.

        Raises
        ------
        MoleculeError
            If a molecule cannot be read: no class stands for that (`predict_proba` gives NaN with ``on_error="nan"``).
        """
        values = self.predict_proba(X)
        if len(lost := np.flatnonzero(np.isnan(values).any(1))):
            raise MoleculeError("there is no class of what is no molecule", where=f"row {lost[0]}",
                                fix="leave the row out, or ask predict_proba")  # fmt: skip
        return self.classes_[values.argmax(1)]


def _check_y(estimator: Any, X: Any, y: Any, *, numeric: bool = True) -> np.ndarray:  # noqa: N803
    if y is None:
        raise DataError(f"{type(estimator).__name__} requires y to be passed, but the target y is None",
                        fix="give a value for each molecule")  # fmt: skip
    if not numeric:
        return column_or_1d(y, warn=True)
    missing = "allow-nan" if np.asarray(y).ndim == 2 else True
    return check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite=missing, input_name="y")  # type: ignore[arg-type]
