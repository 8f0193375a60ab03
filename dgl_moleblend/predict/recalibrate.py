"""A model that is there, calibrated on rows of a file of their own: measured molecules that it did not learn from."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.checksums import check_file
from dgl_moleblend.chem.sanitize import read_smiles
from dgl_moleblend.chem.standardize import standard_smiles
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.duplicates import identity, rows_by_identity
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

    Molecules of the training set, or such that cannot be told from one by their fingerprint, are left out; of a
    molecule that stands in several rows the first label counts. How often intervals hold is counted on test rows that
    are not in the file.

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
    check_overwrite(folder, overwrite=overwrite)
    ensemble = Ensemble.from_pretrained(folder, calibrated=False)
    first = ensemble.members[0]
    check_measured(dataset, ensemble.label_columns, first.task_type, first.classes, source)
    known = np.zeros(len(dataset), bool)
    if ensemble.training_set is not None:
        known = ensemble.training_set.similarity(dataset.structures) >= 1
    measured = _labels(ensemble, dataset)
    truth = _once(measured, dataset)
    asked = np.flatnonzero(~known & ~np.isnan(truth).all(1))
    if not len(asked):
        raise DataError("every molecule that has a label is in the training set", where=source,
                        fix="give measured molecules that the model did not learn from")  # fmt: skip
    table, deviation_of = _predict(ensemble, folder, dataset.subset(asked), truth[asked], progress=progress,
                                   accelerator=accelerator)  # fmt: skip
    every = pd.concat([table, *_test_rows(folder, ensemble, dataset.subset(asked))], ignore_index=True)
    found = calibrate(every, list(ensemble.task_names), first.task_type, deviation_of)
    repeated = int((np.isnan(truth) & ~np.isnan(measured))[~known].any(1).sum())
    found = dataclasses.replace(found, source={"file": source, "left_out": int(known.sum()), "repeated": repeated})
    found.write(Path(folder, OWN_CALIBRATION_FILE))
    return found


def check_overwrite(folder: str | PathLike[str], *, overwrite: bool) -> None:
    """See that no calibration on a file is replaced that is not meant to be.

    Raises
    ------
    DataError
        If there is one.
    """
    path = Path(folder, OWN_CALIBRATION_FILE)
    if path.exists() and not overwrite:
        raise DataError("the model is calibrated on a file already", where=str(path),
                        fix="--overwrite (overwrite=True) replaces that; or delete it, and validation rows count"
                        " again")  # fmt: skip


def check_measured(
    dataset: MoleculeDataset,
    names: Sequence[str],
    task_type: str | None,
    classes: Mapping[str, Sequence[str]],
    source: str,
) -> None:
    """Check that a model can be calibrated by the labels of molecules.

    Parameters
    ----------
    dataset : MoleculeDataset
    names : sequence of str
        The model's columns of labels.
    task_type : {"regression", "classification", "multiclass"}, optional
        None where it is not yet known, before training.
    classes : mapping of column to sequence of str
        What its classes are called, where they have names.
    source : str
        What the rows are called.

    Raises
    ------
    DataError
        If there is no molecule, or none with a label; or a label is none of the model's.
    """
    if not len(dataset):
        why = f": {dataset.rejects['reason'].iloc[0]}" if len(dataset.rejects) else ""
        raise DataError(f"no row is a molecule{why}", where=source, fix="give measured molecules")
    exact = _exact(dataset, names)
    if np.isnan(exact).all():
        bounds = int((dataset.select_tasks(names).bounds != 0).sum())
        why = f", but {bounds:,} are bounds, by which nothing is calibrated" if bounds else ""
        raise DataError(f"no row has a value of {', '.join(names)}{why}", where=source, fix="give measured molecules")
    for k, name in enumerate(names):
        found = exact[:, k][~np.isnan(exact[:, k])]
        words, own = [*classes.get(name, ())], [*dataset.classes.get(name, ())]
        fault = _fault(found, own, words, task_type)
        if fault:
            raise DataError(f"{name!r} {fault}", where=source, fix="write the labels as in the training file")


def _fault(values: np.ndarray, own: Sequence[str], words: Sequence[str], task_type: str | None) -> str | None:
    """Say what is wrong with labels of a column, or with the words for them, for a model that has such words."""
    if len(words) > 2 or task_type == "multiclass":
        unknown = sorted({*(own or (f"{value:g}" for value in np.unique(values)))} - {*words})
        return f"has a class {unknown[0]!r}, which the model does not know: {', '.join(words)}" if unknown else None
    if own and own != words:
        told = f"classes {' and '.join(words)}" if words else "numbers"
        return f"holds {' and '.join(own)}, and the model tells {told}"
    others = values[~np.isin(values, (0, 1))]
    if (words or task_type == "classification") and len(others):
        return f"holds {others[0]:g}, and the model tells classes: {' and '.join(words) or '0 and 1'}"
    return None


def _exact(dataset: MoleculeDataset, names: Sequence[str]) -> np.ndarray:
    """Return labels of these columns, NaN where nothing, or a bound, is known."""
    labels = dataset.select_tasks(names)
    return np.where(labels.bounds == 0, labels.labels, np.nan)


def _labels(ensemble: Ensemble, dataset: MoleculeDataset) -> np.ndarray:
    """Return what was measured as the model tells it, (N, t): NaN where nothing, or a bound, is known."""
    first = ensemble.members[0]
    truth = _exact(dataset, ensemble.label_columns)
    if first.task_type != "multiclass":
        return truth
    ((name, words),) = first.classes.items()
    own = dataset.with_classes(name)
    place = [own.classes[name].index(word) if word in own.classes[name] else -1 for word in words]
    none = np.where(np.isnan(truth), np.nan, 0.0)  # of a class that the file has no molecule of
    return np.concatenate([own.labels, none], 1)[:, place]


def _once(labels: np.ndarray, dataset: MoleculeDataset) -> np.ndarray:
    """Leave out labels of a molecule that had one in a row before: they say nothing of another molecule."""
    found = labels.copy()
    for rows in rows_by_identity(dataset).values():
        again = np.cumsum(~np.isnan(labels[rows]), axis=0) > 1
        found[rows] = np.where(again, np.nan, labels[rows])
    return found


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


def _test_rows(folder: str | PathLike[str], ensemble: Ensemble, dataset: MoleculeDataset) -> Iterator[pd.DataFrame]:
    """Yield what the model predicted for its other test rows, by which is said how often intervals held.

    Of folds none.
    """
    tops = [Path(folder)] if Path(folder, PREDICTIONS_FILE).is_file() else member_folders(folder)
    paths = [path / PREDICTIONS_FILE for path in tops]
    if all(path.is_file() for path in paths):
        tables = [pd.read_csv(check_file(path)) for path in paths]
        if len({tuple(table["row"][table["split"] == "test"]) for table in tables}) == 1:
            table = held_out(tables)
            test = table[table["split"] == "test"]
            several = bool(ensemble.smiles_columns)  # whose SMILES stand in one text, as they are written
            steps = () if several else ensemble.featurizer.standardize
            asked = {*_written_alike(dataset.smiles if several else dataset.structures)}
            written = _written_alike([standard_smiles(smiles, steps) for smiles in test["smiles"]])
            yield test[[text not in asked for text in written]]


def _written_alike(smiles: Sequence[str]) -> list[str]:
    return [identity(read_smiles(text)) for text in smiles]
