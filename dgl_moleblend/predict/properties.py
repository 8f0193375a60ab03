"""A fine-tuned network with all that prediction needs: properties of every molecule of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.several import columns_of
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.models.predictor import MoleBlendPredictor
from dgl_moleblend.models.spread import deviation_of
from dgl_moleblend.models.targets import LabelScaling, to_prediction
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.predict.inference import BATCH_SIZE, infer


@dataclass(frozen=True)
class PropertyModel:
    """A fine-tuned model with all that prediction needs.

    Parameters
    ----------
    predictor : MoleBlendPredictor
    featurizer : FeaturizerConfig
        How molecules were, and are to be, turned into numbers.
    task_names : tuple of t str
    task_type : {"regression", "classification", "multiclass"}
    scaling : LabelScaling
    classes : mapping of task to words
        Of properties whose labels were words: those for class 0 and class 1, whose probability is predicted; of
        multiclass those of all classes, whose columns the tasks are.
    smiles_columns : tuple of str
        Of rows of several molecules: the columns that these come from.
    """

    predictor: MoleBlendPredictor
    featurizer: FeaturizerConfig
    task_names: tuple[str, ...]
    task_type: str
    scaling: LabelScaling
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    smiles_columns: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> "PropertyModel":
        """Load the folder that fine-tuning wrote.

        Raises
        ------
        CheckpointError
            If the folder holds no such model.
        """
        saved = model_folder.read(folder, kinds=("predictor",))
        predictor = MoleBlendPredictor.from_pretrained(Path(folder))
        extra = saved.extra
        missing = [key for key in ("featurizer", "task_names", "task_type", "scaling") if key not in extra]
        if missing:
            raise CheckpointError(
                f"the folder does not say what is predicted: {', '.join(missing)} missing",
                where=str(Path(folder) / model_folder.CONFIG_FILE),
                fix="make the model with `dgl-moleblend finetune`, or load it with MoleBlendPredictor.from_pretrained",
            )
        return cls(
            predictor,
            FeaturizerConfig.from_dict(extra["featurizer"]),
            tuple(extra["task_names"]),
            extra["task_type"],
            LabelScaling.from_stored(
                extra["scaling"], len(extra["task_names"]), str(Path(folder) / model_folder.CONFIG_FILE)
            ),
            extra.get("classes", {}),
            tuple(extra.get("smiles_columns", ())),
        )

    def save_pretrained(self, folder: str | PathLike[str], **facts: object) -> Path:
        """Write the folder; `facts` that JSON can hold are kept beside the rest."""
        extra = {
            "featurizer": self.featurizer.to_dict(),
            "task_names": list(self.task_names),
            "task_type": self.task_type,
            "scaling": {"mean": list(self.scaling.mean), "scale": list(self.scaling.scale)},
            **({"classes": {name: list(words) for name, words in self.classes.items()}} if self.classes else {}),
            **({"smiles_columns": list(self.smiles_columns)} if self.smiles_columns else {}),
            **facts,
        }
        return self.predictor.save_pretrained(Path(folder), extra)

    def predict(
        self,
        dataset: MoleculeDataset,
        *,
        batch_size: int = BATCH_SIZE,
        num_workers: int = 0,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> Float[np.ndarray, "n t"]:
        """Return predictions (N, t): in the unit of the target, or probabilities of class 1, or of each class.

        Raises
        ------
        CheckpointError
            If the molecules were featurized with other settings than the model's.
        """
        check_featurizer(self.featurizer, dataset, self.smiles_columns)
        if not len(dataset):
            return np.empty((0, len(self.task_names)))
        return infer(
            self.predictor,
            lambda relations: to_prediction(self.predictor(relations), self.task_type, self.scaling),
            dataset,
            description="predict",
            batch_size=batch_size,
            num_workers=num_workers,
            progress=progress,
            accelerator=accelerator,
        )

    @property
    def has_deviation(self) -> bool:
        """Whether the network says how far off it may be for each molecule."""
        return self.predictor.spread is not None and self.task_type == "regression"

    def predict_with_deviation(
        self, dataset: MoleculeDataset, **how: Any
    ) -> tuple[Float[np.ndarray, "n t"], Float[np.ndarray, "n t"]]:
        """Return predictions and how far off they may be, each (N, t), in the unit of the target; see `predict`.

        Of a model that `has_deviation`. Over conformers, the mean of values and of variances.
        """
        check_featurizer(self.featurizer, dataset, self.smiles_columns)
        kind = self.predictor.spread
        assert kind is not None
        if not len(dataset):
            return np.empty((0, len(self.task_names))), np.empty((0, len(self.task_names)))
        scale = self.scaling.scale

        def compute(relations: RelationBatch) -> Tensor:
            outputs = self.predictor.outputs(relations).double()
            deviation = deviation_of(outputs, kind) * outputs.new_tensor(scale)
            return torch.stack([self.scaling.restore(outputs[..., 0]), deviation**2], 1)

        found = infer(self.predictor, compute, dataset, description="predict", **how)
        return found[:, 0], np.sqrt(found[:, 1])


def check_featurizer(expected: FeaturizerConfig, dataset: MoleculeDataset, columns: Sequence[str] = ()) -> None:
    """Raise a CheckpointError if a data set was featurized with other settings, as far as these are known.

    Or if its rows have another number of molecules than the model reads from some columns.
    """
    found = max(len(columns_of(dataset)), 1)
    if found != max(len(columns), 1):
        reads = f"a molecule from each of the columns {', '.join(columns)}" if columns else "one molecule a row"
        raise CheckpointError(f"the model reads {reads}, and these rows have {found}", where="molecules",
                              fix="give the table that has these columns" if columns else
                              "name the one column with --smiles-column (smiles_column=)")  # fmt: skip
    if dataset.featurizer is not None:
        model_folder.check_same(
            expected.decisive(),
            dataset.featurizer.decisive(),
            where="featurizer of the molecules against the model's",
            fix="give the file of molecules, which is featurized as the model needs it; or featurize it again with the "
            "expected settings",
        )
