"""What decides a run's result, as its folder remembers it: a run that is resumed has the same plan, or is refused."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dgl_moleblend.config import LOSSES, FeaturizerConfig, TrainingConfig
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.folder import check_same
from dgl_moleblend.request import Compute, Task

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.train.start import Start

PLAN_VERSION = 2
"""Grows when plans are written in another way. 1 had no version, and its entries other names."""
GROWING = ("max_epochs", "patience")
"""Settings of a training whose learning rate stays that may be larger when a run is resumed."""
DEFAULT_LOSSES = (None, *(names[0] for names in LOSSES.values()))
_WORDS = {
    "data.molecules": "the molecules are not those of the interrupted run",
    "data.positions": "the positions are not those of the interrupted run",
    "data.smiles": "the SMILES are not those of the interrupted run",
    "data.rows": "the molecules stand in other input rows than those of the interrupted run",
    "data.labels": "the labels are not those of the interrupted run",
    "data.subset": "the molecules are others of the data set than those of the interrupted run",
    "data.weights": "the weights of the molecules are not those of the interrupted run",
    "data.columns": "the columns that are features are not those of the interrupted run",
    "start.weights": "the model to start from holds other weights than when the run began",
    "split.train": "the training rows are not those of the interrupted run",
    "split.validation": "the validation rows are not those of the interrupted run",
    "split.test": "the test rows are not those of the interrupted run",
    "objective.values": "the values of atoms or bonds are not those of the interrupted run",
    "objective.targets": "the targets of the graph token are not those of the interrupted run",
}
Parts = Mapping[str, Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class RunPlan:
    """What decides a run's result.

    Parameters
    ----------
    kind : {"pretraining", "finetuning", "seeds", "folds", "replicates", "trials", "comparison"}
    molecules : int
    data : mapping
        Checksums of content; see `MoleculeDataset.digest`.
    featurizer : FeaturizerConfig, optional
    start : Start, optional
        The encoder: a size, or weights by their hash.
    training : TrainingConfig
        With the seed.
    compute : Compute
        Of which devices and precision count.
    tasks : tuple of Task
    split : mapping of "train", "validation", "test" to checksums
    model : mapping
        What stands on the encoder.
    objective : mapping
        What is asked for in pretraining.
    work : mapping
        What a kind of run has alone: its seeds, candidates, what is searched.
    """

    kind: str
    molecules: int
    data: Mapping[str, str]
    featurizer: FeaturizerConfig | None
    start: "Start | None"
    training: TrainingConfig
    compute: Compute
    tasks: tuple[Task, ...] = ()
    split: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    objective: Mapping[str, Any] = field(default_factory=dict)
    work: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        kind: str,
        dataset: "MoleculeDataset",
        splits: Sequence[Parts] = (),
        columns: Sequence[str] = (),
        weights: np.ndarray | None = None,
        **settings: Any,
    ) -> "RunPlan":
        """Make a plan for a data set.

        Parameters
        ----------
        kind : str
        dataset : MoleculeDataset
        splits : sequence of mappings of "train", "validation" and "test" to indices
            One, or those of folds.
        columns : sequence of str
            Further labels of the table that are features.
        weights : ndarray, shape (molecules,), optional
            What each counts for in training.
        **settings
            The other entries.
        """
        data = dataset.digest()
        if columns:
            data["columns"] = dataset.select_tasks(list(columns)).digest()["labels"]
        if weights is not None:
            data["weights"] = fingerprint(weights)
        split = {
            name: fingerprint(*(np.asarray(split.get(name, ()), np.int64) for split in splits))
            for name in ("train", "validation", "test")
            if splits
        }
        return cls(kind, len(dataset), data, dataset.featurizer, split=split, **settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values as JSON holds them; whatever decides nothing is left out."""
        values = {
            "plan": PLAN_VERSION,
            "kind": self.kind,
            "molecules": self.molecules,
            "data": self.data,
            "featurizer": None if self.featurizer is None else self.featurizer.to_dict(),
            "tasks": {task.name: {k: v for k, v in task.to_dict().items() if k != "name"} for task in self.tasks},
            "split": self.split,
            "start": None if self.start is None else self.start.to_dict(),
            "model": self.model,
            "objective": self.objective,
            "training": self.training.to_dict(),
            "compute": self.compute.decisive(),
            "work": self.work,
        }
        return json.loads(json.dumps(values, default=dict))  # type: ignore[no-any-return]

    def check_resumes(self, stored: Mapping[str, Any], where: str) -> None:
        """Compare with the plan of a run that is to be gone on with.

        Where the learning rate stays, more epochs and more patience are no difference.

        Raises
        ------
        CheckpointError
            If they differ, and the message names each entry with both values; or if the plan was stored by a version
            that described runs in another way.
        """
        if stored.get("plan") != PLAN_VERSION:
            raise CheckpointError(
                "another version of this package began the run, and described it in another way",
                where=where,
                fix="finish it with the version that the file names, or begin anew with --overwrite (overwrite=True)",
            )
        old, new = json.loads(json.dumps(stored)), self.to_dict()
        if self.training.loss in DEFAULT_LOSSES:  # of plans that were stored before there was a choice
            old["training"].setdefault("loss", self.training.loss)
        old["training"].setdefault("task_weights", [])
        for name in self.grows(stored):
            old["training"][name] = new["training"][name]
        fix = "resume with what the run began with, or begin anew with --overwrite (overwrite=True)"
        if self.training.schedule != "constant" and old["training"]["max_epochs"] < new["training"]["max_epochs"]:
            fix += " (more epochs are for runs of --schedule constant: a cosine ends with its epochs)"
        check_same(_fixed(old), _fixed(new), where=where, words=_WORDS, fix=fix)

    def grows(self, stored: Mapping[str, Any]) -> list[str]:
        """Return the settings by which a stored run whose learning rate stays may go on: they are larger here."""
        old, new = stored.get("training", {}), self.training.to_dict()
        if old.get("schedule") != "constant":
            return []
        unlimited = {"patience": 0}
        return [
            name
            for name in GROWING
            if old[name] != new[name]
            and old[name] != unlimited.get(name)
            and (new[name] > old[name] or new[name] == unlimited.get(name))
        ]


def fingerprint(*arrays: np.ndarray) -> str:
    """Checksum of the content of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _fixed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what may change: where the start lies, and how many trials a search has."""
    free = {"start": "from", "work": "trials"}
    return {
        key: {k: v for k, v in (value or {}).items() if k != free[key]} if key in free else value
        for key, value in values.items()
    }
