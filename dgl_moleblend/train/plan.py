"""What decides a run's result, as its folder remembers it: a run that is resumed has the same plan, or is refused."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dgl_moleblend.folder import check_same

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

_FREE = ("num_workers", "trials", "started_from")  # settings that may change when a run is resumed
_WORDS = {
    "data.molecules": "the molecules are not those of the interrupted run",
    "data.positions": "the positions are not those of the interrupted run",
    "data.smiles": "the SMILES are not those of the interrupted run",
    "data.rows": "the molecules stand in other input rows than those of the interrupted run",
    "data.labels": "the labels are not those of the interrupted run",
    "data.subset": "the molecules are others of the data set than those of the interrupted run",
    "data.columns": "the columns that are features are not those of the interrupted run",
    "encoder.weights": "the model to start from holds other weights than when the run began",
    "split.train": "the training rows are not those of the interrupted run",
    "split.validation": "the validation rows are not those of the interrupted run",
    "split.test": "the test rows are not those of the interrupted run",
    "targets": "the targets of the graph token are not those of the interrupted run",
}


def describe_data(
    dataset: "MoleculeDataset", *splits: Mapping[str, Sequence[int] | np.ndarray], columns: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a plan says of the data: checksums of content, the featurizer's settings, the division.

    Parameters
    ----------
    dataset : MoleculeDataset
    *splits : mappings of "train", "validation" and "test" to indices
        One, or those of folds.
    columns : sequence of str
        Further labels of the table that are features.
    """
    featurizer = dataset.featurizer
    found: dict[str, Any] = {
        "molecules": len(dataset),
        "data": dataset.digest(),
        "task_names": list(dataset.task_names),
        "featurizer": None if featurizer is None else featurizer.to_dict(),
    }
    if columns:
        found["data"]["columns"] = dataset.select_tasks(list(columns)).digest()["labels"]
    if splits:
        found["split"] = {
            name: fingerprint(*(np.asarray(split.get(name, ()), np.int64) for split in splits))
            for name in ("train", "validation", "test")
        }
    return found


def check_plan(expected: Mapping[str, Any], found: Mapping[str, Any], where: str) -> None:
    """Compare the plan of a run with that of one that is to go on with it.

    Raises
    ------
    CheckpointError
        If they differ; the message names each entry with both values.
    """
    check_same(
        _without_free(expected),
        _without_free(found),
        where=where,
        words=_WORDS,
        fix="resume with what the run began with, or begin anew with --overwrite",
    )


def fingerprint(*arrays: np.ndarray) -> str:
    """Checksum of the content of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _without_free(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_free(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
        if key not in _FREE
    }
