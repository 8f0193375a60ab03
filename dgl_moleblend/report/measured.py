"""Measured molecules in whatever form a caller has them -> a calibration of a saved model, and its report anew."""

from pathlib import Path
from typing import Any

import pandas as pd

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.labelled import open_labelled
from dgl_moleblend.files import METRICS_FILE
from dgl_moleblend.predict.calibration import Calibration
from dgl_moleblend.predict.ensemble import Ensemble
from dgl_moleblend.predict.recalibrate import calibrate_on, check_overwrite
from dgl_moleblend.report.page import write_report


def calibrate(
    folder: Path,
    measured: Any,
    *,
    smiles_column: str | None = None,
    overwrite: bool = False,
    workers: int = 0,
    progress: bool = True,
    accelerator: str = "auto",
) -> Calibration:
    """Calibrate a model on measured molecules that it did not learn from, see `calibrate_on`.

    Parameters
    ----------
    folder : Path
        That `finetune` wrote; it gets calibration_file.json and a new report.html.
    measured
        A table, file or data set with the columns of labels that the model was trained on; or ``(molecules, values)``.
    smiles_column, workers, progress, accelerator
        See `predict`; a model of several molecules a row knows its columns.
    overwrite : bool
        Whether an earlier calibration on measured molecules is replaced.

    Raises
    ------
    DataError
        If there is an earlier one, or the labels are not such as the model's.
    """
    check_overwrite(folder, overwrite=overwrite)
    ensemble = Ensemble.from_pretrained(folder, calibrated=False)
    target: Any = list(ensemble.label_columns)
    if isinstance(measured, tuple) and len(measured) == 2:
        molecules, values = measured
        one_column = len(target) == 1 and not isinstance(values, pd.DataFrame)
        measured, target = molecules, pd.Series(values, name=target[0]) if one_column else values
    data = open_labelled(measured, target, ensemble.featurizer, columns=ensemble.feature_columns,
                         smiles_column=ensemble.smiles_columns or smiles_column, workers=workers,
                         progress=progress)  # fmt: skip
    source = "molecules" if data.path is None else Path(data.path).name
    return calibrate_and_report(folder, data.dataset, source, overwrite=overwrite, progress=progress,
                                accelerator=accelerator)  # fmt: skip


def calibrate_and_report(folder: Path, dataset: MoleculeDataset, source: str, **how: Any) -> Calibration:
    """Calibrate a model on a data set, see `calibrate_on`, and write its report anew where it has one."""
    found = calibrate_on(folder, dataset, source, **how)
    if (folder / METRICS_FILE).is_file():
        write_report(folder)
    return found
