"""The transformer: molecules -> embeddings."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from typing_extensions import Self

from dgl_moleblend import shipped
from dgl_moleblend.report.loaded import load
from dgl_moleblend.sklearn.molecules import TakesMolecules
from dgl_moleblend.sklearn.saving import read, write


class MoleBlendEmbedding(TransformerMixin, TakesMolecules):
    """SMILES or Mols -> embeddings of a pretrained (or fine-tuned) encoder.

    Parameters
    ----------
    model : name or path
        Weights that ship (`mb.pretrained()`), or a model folder.
    readout, relations, positions
        See `dgl_moleblend.embed`.
    on_error : {"raise", "nan"}
        What becomes of molecules that cannot be read: an error that names the first, or rows of NaN.
    progress : bool
    accelerator : {"auto", "cpu", "gpu", "cuda"}

    Attributes
    ----------
    n_features_out_ : int
        Width of an embedding.

    Examples
    --------
    >>> MoleBlendEmbedding("mini").fit_transform(["CCO", "c1ccccc1"]).shape
    (2, 128)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = shipped.DEFAULT,
        *,
        readout: str | None = None,
        relations: Sequence[str] | None = None,
        positions: str | None = None,
        on_error: str = "raise",
        progress: bool = False,
        accelerator: str = "auto",
    ) -> None:
        self.model = model
        self.readout = readout
        self.relations = relations
        self.positions = positions
        self.on_error = on_error
        self.progress = progress
        self.accelerator = accelerator

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Load the model; nothing is learned from the molecules.

        Raises
        ------
        CheckpointError
            If there is no such model.
        """
        self.model_ = load(self.model)
        self.n_features_out_ = int(self.model_.embed([]).shape[1])
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return embeddings, shape (m, d), float32.

        Raises
        ------
        MoleculeError
            If a molecule cannot be read, unless ``on_error="nan"``.
        """
        check_is_fitted(self)
        featurizer = self.model_.featurizer
        found = self._open(X, featurizer if self.positions is None else featurizer.replace(positions=self.positions))
        if not len(found.dataset):
            return np.full((len(found), self.n_features_out_), np.nan, np.float32)
        how: dict[str, Any] = {"relations": self.relations, "progress": self.progress, "accelerator": self.accelerator}
        return found.spread(self.model_.embed(found.dataset, readout=self.readout, **how))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names of the d columns, for tables of pandas."""
        check_is_fitted(self)
        return np.array([f"moleblend{k}" for k in range(self.n_features_out_)], object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # molecules have none; embeddings are float32
        tags.requires_fit = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "model_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "n_features_out_" in state:
            self.model_ = load(self.model)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the parameters into a new folder, without pickle; the model stays where it lies, or ships.

        Raises
        ------
        DataError
            If there is something of this name.
        """
        check_is_fitted(self)
        return write(self, folder, {}, {})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        CheckpointError
            If it is the folder of something else, or the model is not there.
        """
        return cls(**read(cls, folder)["parameters"]).fit([])
