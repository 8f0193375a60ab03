"""FeatureModel: a kernel machine or trees with all that prediction needs, saved in a model folder as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dgl_moleblend import folder as model_folder
from dgl_moleblend.chem.feature_table import FeatureTable
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.models.kernel import KernelModel
from dgl_moleblend.models.targets import to_shares
from dgl_moleblend.models.trees import TreeModel
from dgl_moleblend.predict.features import COLUMNS, STATES, Features

MODELS: Mapping[str, type[KernelModel] | type[TreeModel]] = {"kernel": KernelModel, "trees": TreeModel}
"""Kinds of model folders, and what they hold."""
ENCODER_FOLDER = "encoder"
"""Where in the model folder the encoder lies whose states are a feature."""


@dataclass(frozen=True)
class FeatureModel:
    """A model of features, for `predict`.

    Parameters
    ----------
    model : KernelModel or TreeModel
    featurizer : FeaturizerConfig
        How molecules were turned into numbers for the encoder whose states are a feature, and for networks beside it.
    task_names : tuple of t str
    task_type : {"regression", "classification", "multiclass"}
    encoder : Path, optional
        Folder of the encoder whose states are a feature.
    classes : mapping of task to words
        Of properties whose labels were words: those for class 0 and class 1, whose probability is predicted; of
        multiclass those of all classes, whose columns the tasks are.
    smiles_columns : tuple of str
        Of rows of several molecules: the columns that these come from.
    """

    model: KernelModel | TreeModel
    featurizer: FeaturizerConfig
    task_names: tuple[str, ...]
    task_type: str
    encoder: Path | None = None
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    smiles_columns: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> "FeatureModel":
        """Load the folder that `save_pretrained` wrote.

        Raises
        ------
        CheckpointError
            If the folder holds no such model, or a file is damaged.
        """
        saved = model_folder.read(folder, kinds=tuple(MODELS))
        try:
            model = MODELS[saved.kind].from_state(model_folder.read_arrays(folder), saved.config["model"])
            extra = saved.extra
            known = (FeaturizerConfig.from_dict(extra["featurizer"]), tuple(extra["task_names"]), extra["task_type"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CheckpointError):
                raise CheckpointError(error.what, where=str(folder), fix=error.fix) from error
            raise CheckpointError(f"{model_folder.CONFIG_FILE} is damaged: {error}", where=str(folder),
                                  fix="restore the folder, or train the model again") from error  # fmt: skip
        if (found := model.num_tasks) != len(known[1]):
            raise CheckpointError(
                f"{model_folder.WEIGHTS_FILE} predicts {found} properties,"
                f" {model_folder.CONFIG_FILE} names {len(known[1])}",
                where=str(folder),
                fix="restore the folder, or train the model again",
            )
        encoder = Path(folder, ENCODER_FOLDER) if STATES in model.required_features else None
        return cls(model, *known, encoder, extra.get("classes", {}), tuple(extra.get("smiles_columns", ())))

    def save_pretrained(self, folder: str | PathLike[str]) -> Path:
        """Write the folder, and a copy of the encoder whose states are a feature."""
        from dgl_moleblend.nn.encoder import MoleBlendEncoder

        arrays, settings = self.model.state()
        extra: dict[str, Any] = {
            "featurizer": self.featurizer.to_dict(),
            "task_names": list(self.task_names),
            "task_type": self.task_type,
            **({"classes": {name: list(words) for name, words in self.classes.items()}} if self.classes else {}),
            **({"smiles_columns": list(self.smiles_columns)} if self.smiles_columns else {}),
        }
        kind = "kernel" if isinstance(self.model, KernelModel) else "trees"
        model_folder.save(folder, arrays, {"model": settings}, kind, extra)
        if self.encoder is not None:
            saved = model_folder.read(self.encoder)
            encoder = MoleBlendEncoder.from_pretrained(self.encoder)
            model_folder.save(Path(folder, ENCODER_FOLDER), encoder, {"encoder": encoder.config.to_dict()}, "encoder",
                              saved.extra)  # fmt: skip
        return Path(folder)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns of the user's table that are features."""
        return tuple(self.model.columns.get(COLUMNS, ()))

    @property
    def has_deviation(self) -> bool:
        """Whether the model says how far off it may be for each molecule."""
        return isinstance(self.model, KernelModel) and self.model.exact and self.task_type == "regression"

    def predict_with_deviation(self, source: Features) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and how far off they may be, each (N, t), in the unit of the target.

        Of a model that `has_deviation`; see `KernelModel.deviation`.
        """
        assert isinstance(self.model, KernelModel)
        if not len(source.dataset):
            return np.empty((0, len(self.task_names))), np.empty((0, len(self.task_names)))
        return self.model.predict_with_deviation(self.features(source))

    def features(self, source: Features) -> FeatureTable:
        """Return the features that the model needs, of a data set's molecules."""
        names = self.model.required_features
        return source.table(names, encoder=self.encoder, columns=self.feature_columns)

    def predict(
        self,
        dataset: MoleculeDataset,
        *,
        features: Features | None = None,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> Float[np.ndarray, "n t"]:
        """Return predictions (N, t): in the unit of the target, or probabilities of class 1, or of each class.

        Parameters
        ----------
        dataset : MoleculeDataset
        features : Features, optional
            Of this very data set, which several models share.
        progress : bool
        accelerator : str
        """
        if not len(dataset):
            return np.empty((0, len(self.task_names)))
        source = features or Features(dataset, progress=progress, accelerator=accelerator)
        return self.values(self.features(source))

    def values(self, features: FeatureTable) -> Float[np.ndarray, "n t"]:
        """Return predictions (N, t) for features."""
        if not len(features):
            return np.empty((0, len(self.task_names)))
        found = self.model.predict(features)
        return to_shares(found) if self.task_type == "multiclass" else found
