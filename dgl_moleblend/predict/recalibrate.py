"""A model that is there, calibrated on rows of a file of their own: measured molecules that it did not learn from."""

import dataclasses
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.checksums import check_file
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import OWN_CALIBRATION_FILE, PREDICTIONS_FILE
from dgl_moleblend.predict.calibrated import held_out
from dgl_moleblend.predict.calibration import MEMBERS, Calibration, calibrate, deviation_column
from dgl_moleblend.predict.classical import FeatureModel
from dgl_moleblend.predict.ensemble import Ensemble
from dgl_moleblend.predict.members import member_folders
from dgl_moleblend.predict.tables import predicted


def calibrate_on(
    folder: str | PathLike[str],
    dataset: MoleculeDataset,
    source: str,
    *,
    overwrite: bool = False,
    progress: bool = True,
    accelerator: str = "auto",
) -> Calibration:
    """Calibrate intervals, or probabilities, of a model on measured molecules; its own calibration stays beside it.

    Molecules of the training set, or such that cannot be told from one by their fingerprint, are left out.

    Parameters
    ----------
    folder : path
        That `finetune` wrote. It gets calibration_file.json, by which `predict` goes from then on; without the file it
        goes by validation rows again.
    dataset : MoleculeDataset
        With the model's labels, and the columns that it reads.
    source : str
        What the rows are called: the file's name.
    overwrite : bool
        Whether a calibration on a file that is there is replaced.

    Raises
    ------
    DataError
        If there is such a calibration already, no row is left, or the model has nothing to calibrate.
    CheckpointError
        If the folder holds no model of properties, or molecules are featurized otherwise.
    """
    path = Path(folder, OWN_CALIBRATION_FILE)
    if path.exists() and not overwrite:
        raise DataError("the model is calibrated on a file already", where=str(path),
                        fix="--overwrite replaces that; or delete it, and validation rows count again")  # fmt: skip
    ensemble = Ensemble.from_pretrained(folder)
    truth = _labels(ensemble, dataset, source)
    known = np.zeros(len(dataset), bool)
    if ensemble.training_set is not None and len(dataset):
        known = ensemble.training_set.similarity(dataset.structures) >= 1
    asked = np.flatnonzero(~known & ~np.isnan(truth).all(1))
    if not len(asked):
        raise DataError(f"no row has a label and a molecule that is not in the training set ({known.sum():,} are)",
                        where=source, fix="give measured molecules that the model did not learn from")  # fmt: skip
    table, deviation_of = _predict(ensemble, folder, dataset.subset(asked), truth[asked], progress=progress,
                                   accelerator=accelerator)  # fmt: skip
    every = pd.concat([table, *_test_rows(folder)], ignore_index=True)
    found = calibrate(every, list(ensemble.task_names), ensemble.members[0].task_type, deviation_of)
    found = dataclasses.replace(found, source={"file": source, "left_out": int(known.sum())})
    found.write(path)
    return found


def _labels(ensemble: Ensemble, dataset: MoleculeDataset, source: str) -> np.ndarray:
    """Return what was measured as the model tells it, (N, t): NaN where nothing, or a bound, is known.

    Raises
    ------
    DataError
        If a class is none of the model's.
    """
    first = ensemble.members[0]
    labels = dataset.select_tasks(ensemble.label_columns)
    truth = np.where(labels.bounds == 0, labels.labels, np.nan)
    if first.task_type == "multiclass":
        ((name, words),) = first.classes.items()
        own = dataset.with_classes(name)
        (unknown, *_) = [*sorted({*own.classes[name]} - {*words}), None]
        if unknown is not None:
            raise DataError(f"{name!r} has a class {unknown!r}, which the model does not know: {', '.join(words)}",
                            where=source, fix="write the labels as in the training file")  # fmt: skip
        place = [own.classes[name].index(word) if word in own.classes[name] else -1 for word in words]
        none = np.where(np.isnan(truth), np.nan, 0.0)  # of a class that the file has no molecule of
        return np.concatenate([own.labels, none], 1)[:, place]
    told = {name: words for name, words in dataset.classes.items() if name in ensemble.task_names}
    if told and told != {**first.classes}:
        raise DataError(f"the classes are {told}, those of the model {dict(first.classes)}", where=source,
                        fix="write the labels as in the training file, of both classes")  # fmt: skip
    return truth


def _predict(
    ensemble: Ensemble, folder: str | PathLike[str], dataset: MoleculeDataset, labels: np.ndarray, **how: Any
) -> tuple[pd.DataFrame, str | None]:
    """Return labels and predictions before any calibration, as `calibrate` takes them, and what knows deviations."""
    knows, members = ensemble.knows_deviation, ensemble.members
    deviation_of = MEMBERS if len(members) > 1 or members[0].has_deviation else None
    for path, member in zip(member_folders(folder), members, strict=True):
        if isinstance(member, FeatureModel) and member.has_deviation and knows in (None, member):
            knows, deviation_of = member, path.name
    plain = Calibration(members[0].task_type, {}, deviation_of)
    raw = dataclasses.replace(ensemble, calibration=plain, knows_deviation=knows)
    values, deviation = raw.predict_with_deviation(dataset, **how)
    mean = ensemble.mean(values)
    table = pd.DataFrame({"row": dataset.rows, "smiles": dataset.smiles, "split": "validation"})
    for k, name in enumerate(ensemble.task_names):
        table[name], table[predicted(name)] = labels[:, k], mean[:, k]
        if deviation is not None:
            table[deviation_column(name)] = deviation[:, k]
    return table, None if deviation is None else deviation_of


def _test_rows(folder: str | PathLike[str]) -> Iterator[pd.DataFrame]:
    """Yield what the model predicted for its test rows, by which is said how often intervals held; of folds none."""
    tops = [Path(folder)] if Path(folder, PREDICTIONS_FILE).is_file() else member_folders(folder)
    paths = [path / PREDICTIONS_FILE for path in tops]
    if all(path.is_file() for path in paths):
        tables = [pd.read_csv(check_file(path)) for path in paths]
        if len({tuple(table["row"][table["split"] == "test"]) for table in tables}) == 1:
            table = held_out(tables)
            yield table[table["split"] == "test"]
