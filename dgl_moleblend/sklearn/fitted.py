"""A model that is fitted to labels: what regressor and classifier share."""

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted
from typing_extensions import Self

from dgl_moleblend import shipped
from dgl_moleblend.config import FeaturizerConfig, TrainingConfig, check
from dgl_moleblend.data.splits import Split
from dgl_moleblend.data.weights import check_weights
from dgl_moleblend.errors import DataError
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.loaded import LoadedModel, load
from dgl_moleblend.request import Compute
from dgl_moleblend.schema import FEATURE_KINDS
from dgl_moleblend.sklearn.molecules import TakesMolecules
from dgl_moleblend.sklearn.saving import ESTIMATOR_FILE, read, read_files, write, write_files
from dgl_moleblend.train.comparison import HEADS
from dgl_moleblend.train.front import run

_VALIDATION_SHARE = 0.1
"""Rows that choose the epoch of a network; every other model learns from all."""


class FittedModel(TakesMolecules):
    """A model that is fitted to labels; its files are its state, so that it is saved and pickled as arrays."""

    def __init__(
        self,
        encoder: str | os.PathLike[str] | None = shipped.DEFAULT,
        *,
        head: str = "auto",
        fast: bool = True,
        features: Sequence[str] = FEATURE_KINDS,
        positions: str = "none",
        training: TrainingConfig | None = None,
        on_error: str = "raise",
        progress: bool = False,
        accelerator: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.encoder = encoder
        self.head = head
        self.fast = fast
        self.features = features
        self.positions = positions
        self.training = training
        self.on_error = on_error
        self.progress = progress
        self.accelerator = accelerator
        self.random_state = random_state

    def _fit(self, X: Any, labels: np.ndarray, task_type: str, sample_weight: Any = None) -> Self:  # noqa: N803
        check(self.head in HEADS, "head", self.head, f"one of {', '.join(map(repr, HEADS))}")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        names = {f"y{k}": labels[:, k].tolist() for k in range(labels.shape[1])}
        found = self._open(X, FeaturizerConfig(self.positions, seed=seed), names)
        if found.reasons:
            warnings.warn(f"{len(found.reasons):,} of {len(found):,} rows are left out: the first because"
                          f" {min(found.reasons.items())[1]}", stacklevel=3)  # fmt: skip
        rows = len(found.dataset)
        if rows < 3:
            raise DataError(f"there are too few molecules to learn from: n_samples={rows}", fix="give more")
        weights = None
        if sample_weight is not None:
            weights = check_weights(found.dataset, _check_sample_weight(sample_weight, X)[found.place], "sample_weight")
        order = np.random.default_rng(seed).permutation(rows)
        held_out = max(1, round(_VALIDATION_SHARE * rows))
        parts = {"train": np.sort(order[held_out:]), "validation": np.sort(order[:held_out]), "test": order[:0]}
        temporary = tempfile.TemporaryDirectory(prefix="moleblend-")
        out = Path(temporary.name, "model")
        run(found.dataset, Split(parts, {"split": "random", "split_variant": "scikit-learn's rows"}), out,
            encoder=self.encoder, head=self.head, fast=self.fast and self.head == "auto", features=self.features,
            training=self.training, seed=seed, task_type=task_type, report=False, weights=weights,
            compute=Compute(self.accelerator, progress=self.progress))  # fmt: skip
        self._files = read_files(out)
        self._take(out, temporary)
        return self

    def _take(self, folder: Path, temporary: Any) -> None:
        self.model_: LoadedModel = load(folder)
        self._temporary = temporary  # which lives as long as the model

    def _values(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return predictions, shape (m, t), NaN where there is no molecule."""
        check_is_fitted(self)
        found = self._open(X, self.model_.featurizer)
        if not len(found.dataset):
            return np.full((len(found), len(self.model_.task_names)), np.nan)
        table = self.model_.predict(found.dataset, progress=self.progress, accelerator=self.accelerator)
        return found.spread(table[[predicted(name) for name in self.model_.task_names]].to_numpy(float))

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in ("model_", "_temporary")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_files" in state:
            temporary = tempfile.TemporaryDirectory(prefix="moleblend-")
            folder = Path(temporary.name, "model")
            write_files(folder, self._files)
            self._take(folder, temporary)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write a new folder, without pickle; it is a model folder, too, for ``dgl-moleblend predict``.

        Raises
        ------
        DataError
            If there is something of this name.
        """
        check_is_fitted(self)
        classes = getattr(self, "classes_", None)
        facts = {} if classes is None else {"classes": classes.tolist(), "dtype": classes.dtype.str}
        return write(self, folder, facts, self._files)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        CheckpointError
            If it is the folder of something else, or damaged.
        """
        document = read(cls, folder)
        parameters = document["parameters"]
        if parameters.get("training") is not None:
            parameters["training"] = TrainingConfig.from_dict(parameters["training"])
        estimator = cls(**parameters)
        estimator._files = {name: value for name, value in read_files(Path(folder)).items() if name != ESTIMATOR_FILE}
        estimator._take(Path(folder), None)
        if "classes" in document["facts"]:
            estimator.classes_ = np.array(document["facts"]["classes"], dtype=document["facts"]["dtype"])  # type: ignore[attr-defined]
        return estimator
