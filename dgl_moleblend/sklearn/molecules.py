"""What the estimators share: molecules in a column, and what becomes of those that cannot be read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.inputs import Inputs, entries, open_inputs
from dgl_moleblend.errors import MoleculeError


class TakesMolecules(BaseEstimator):
    """What the estimators share: molecules in a column, and what becomes of those that cannot be read."""

    def _entries(self, X: Any) -> list[Any]:  # noqa: N803 - scikit-learn's name
        """Return a list of molecules: of a list, array or Series, or of a DataFrame or array of one column."""
        if isinstance(X, pd.DataFrame) and X.shape[1] == 1:
            return list(X.iloc[:, 0])
        if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == 1:
            return list(X[:, 0])
        return list(entries(X, None)[0])

    def _open(self, X: Any, featurizer: FeaturizerConfig, labels: dict[str, Sequence[Any]] | None = None) -> Inputs:  # noqa: N803
        parameters = self.get_params(deep=False)
        on_error, progress = parameters["on_error"], parameters["progress"]
        check(on_error in ("raise", "nan"), "on_error", on_error, "'raise' or 'nan'")
        found = open_inputs(self._entries(X), featurizer, labels=labels, progress=progress)
        if found.reasons and on_error == "raise":
            row, reason = next(iter(sorted(found.reasons.items())))
            raise MoleculeError(reason, where=f"row {row} (the first of {len(found.reasons):,} such)",
                                fix="correct or leave out the row, or set on_error='nan'")  # fmt: skip
        return found

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags
