"""The calibration of a model folder: read, or made from what its models predicted for rows they did not learn from."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from dgl_moleblend import folder as model_folder
from dgl_moleblend.checksums import check_file
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.files import CALIBRATION_FILE, OWN_CALIBRATION_FILE, PREDICTIONS_FILE
from dgl_moleblend.predict.calibration import MEMBERS, Calibration, calibrate, count_in_folds, deviation_column
from dgl_moleblend.predict.members import member_folders
from dgl_moleblend.predict.tables import predicted

_PREDICTED = predicted("")


def held_out(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return what models predicted for rows that they did not learn from: the mean where several held out a row.

    With several seeds on one split, that is the ensemble itself. With folds, each row is held out by one model: its
    residuals, pooled over the folds, stand for those of the mean (which are seldom larger), without the guarantee.

    Parameters
    ----------
    tables : sequence of DataFrame
        predictions.csv of each model.

    Returns
    -------
    DataFrame
        The only table, or the mean of several; with NAME_deviation, how far off a prediction may be, where a model
        says so of itself, or several differ.
    """
    if len(tables) == 1:
        return tables[0]
    together = pd.concat(tables, ignore_index=True)
    values = together.select_dtypes("number").columns.difference(["row", "id"])
    groups = together.groupby(["split", "row", "smiles"], dropna=False)
    found = groups[list(values)].mean()
    for value in [name for name in values if name.endswith(_PREDICTED)]:
        name = deviation_column(value.removesuffix(_PREDICTED))
        own = together.assign(**{name: together[name] ** 2 if name in together else np.nan})
        squares = own.groupby(["split", "row", "smiles"], dropna=False)[name].mean()
        variance = groups[value].var(ddof=1)  # NaN of one model
        found[name] = np.sqrt(squares.fillna(0) + variance.fillna(0)).where(squares.notna() | variance.notna())
    return found.reset_index()


def calibration_file(folder: Path) -> Path:
    """Return the file that a folder is calibrated by, whether it is there or not."""
    own = folder / OWN_CALIBRATION_FILE
    return own if own.is_file() else folder / CALIBRATION_FILE


def find_calibration(folders: Sequence[Path]) -> Calibration | None:
    """Return the calibration of a model or ensemble.

    Parameters
    ----------
    folders : sequence of Path
        Each of a model, or with an ensemble.json; predictions are the mean over all of them.

    Returns
    -------
    Calibration or None
        That of the only folder's calibration_file.json, or calibration.json; else computed from predictions.csv of all
        models; else None.

    Raises
    ------
    CheckpointError
        If a file is damaged.
    """
    if len(folders) == 1 and (path := calibration_file(folders[0])).is_file():
        return Calibration.read(path)
    models = [model for folder in folders for model in member_folders(folder)]
    if not all((model / PREDICTIONS_FILE).is_file() for model in models):
        return None
    tables = [pd.read_csv(check_file(model / PREDICTIONS_FILE)) for model in models]
    table = held_out(tables)
    extra = model_folder.read(models[0], kinds=("predictor",)).extra
    missing = [name for name in extra["task_names"] if not {name, predicted(name)} <= {*table.columns}]
    if missing:
        raise CheckpointError(
            f"{PREDICTIONS_FILE} holds no numbers for {', '.join(map(repr, missing))}",
            where=str(models[0]),
            fix="restore the file; or delete it, and predictions come without intervals",
        )
    found = calibrate(table, extra["task_names"], extra["task_type"], MEMBERS)
    both = (
        table.groupby(["row", "smiles"], dropna=False)["split"].nunique() > 1
    )  # validation row of one fold, test row of another
    return count_in_folds(found, tables) if found.task_type == "regression" and both.any() else found


def write_calibration(folder: str | PathLike[str]) -> Path:
    """Write calibration.json from the files of a model folder, or of the folder of an ensemble.

    Parameters
    ----------
    folder : path
        That `finetune` wrote: config.json with predictions.csv, or ensemble.json with such folders.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CheckpointError
        If a model has no predictions.csv.
    """
    path = Path(folder, CALIBRATION_FILE)
    for old in (path, Path(folder, OWN_CALIBRATION_FILE)):
        old.unlink(missing_ok=True)  # it is about the run that was here before
    found = find_calibration([Path(folder)])
    if found is None:
        raise CheckpointError(
            f"{PREDICTIONS_FILE} of the validation rows is missing",
            where=str(folder),
            fix="make the model with `dgl-moleblend finetune`",
        )
    found.write(path)
    return path
