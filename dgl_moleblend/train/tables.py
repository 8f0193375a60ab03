"""Tables that a run leaves: labels beside predictions, and which part each row is in."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dgl_moleblend.files import PREDICTIONS_FILE, REJECTS_FILE, SPLIT_FILE
from dgl_moleblend.models.targets import exact_labels
from dgl_moleblend.predict.sinks import write_table
from dgl_moleblend.predict.tables import bound_columns, predicted

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset


def write_tables(
    out: Path, dataset: "MoleculeDataset", predictions: pd.DataFrame, parts: Mapping[str, np.ndarray]
) -> None:
    """Write predictions.csv, split.csv and, where there are any, rejects.csv."""
    write_table(predictions, out / PREDICTIONS_FILE)
    write_table(split_table(dataset, parts), out / SPLIT_FILE)
    if len(dataset.rejects):
        write_table(dataset.rejects, out / REJECTS_FILE)


def tabulate(
    dataset: "MoleculeDataset", parts: Mapping[str, np.ndarray], predictions: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Labels beside predictions, by input row; bounds in columns of their own, and which of several classes it is."""
    tables = []
    for name, values in predictions.items():
        part = dataset.subset(parts[name])
        columns = {"row": part.rows, "id": part.ids, "smiles": part.smiles, "split": name}
        labels, bounds = part.labels, part.bounds
        for k, task in enumerate(dataset.task_names):
            columns |= {task: exact_labels(labels, bounds)[:, k], predicted(task): values[:, k]}
            if dataset.bounds[:, k].any():
                for column, side in zip(bound_columns(task), (1, -1), strict=True):
                    columns[column] = np.where(bounds[:, k] == side, labels[:, k], np.nan)
        if (several := dataset.class_columns) is not None:
            words = np.array([*several.words, None], object)
            truth = np.where(np.isnan(labels).any(1), -1, np.nan_to_num(labels).argmax(1))
            columns |= {several.name: words[truth], predicted(several.name): words[values.argmax(1)]}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)


def split_table(dataset: "MoleculeDataset", parts: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return input rows and their part: split.csv."""
    tables = [pd.DataFrame({"row": dataset.rows[part], "split": name}) for name, part in parts.items()]
    return pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)
