"""How much each molecule counts in training: a weight for each, from a column of numbers or as given, checked."""

from typing import Any

import numpy as np

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError


def weights_of(dataset: MoleculeDataset, column: str) -> np.ndarray:
    """Return the weights that a column of the table holds, which was read as labels are.

    Returns
    -------
    ndarray, shape (N,), float64

    Raises
    ------
    DataError
        If there is no such column, a cell is blank, a bound, negative or infinite (the message names its row), or all
        are 0.
    """
    only = dataset.select_tasks([column])
    values = np.where(only.bounds[:, 0] == 0, only.labels[:, 0], -np.inf)
    return check_weights(dataset, values, f"column {column!r}")


def check_weights(dataset: MoleculeDataset, weights: Any, name: str = "weights") -> np.ndarray:
    """Return weights as they are.

    Parameters
    ----------
    dataset : MoleculeDataset
    weights : array, shape (N,)
    name : str
        What an error calls them.

    Raises
    ------
    DataError
        See `weights_of`; or if they are not as many as molecules.
    """
    values = np.asarray(weights, np.float64)
    if values.shape != (len(dataset),):
        raise DataError(f"{name}: {values.shape} weights for {len(dataset):,} molecules", fix="give one for each")
    if (odd := np.flatnonzero(~(np.isfinite(values) & (values >= 0)))).size:
        sample = dataset[int(odd[0])]
        value = values[odd[0]]
        what = "has no weight" if np.isnan(value) else "has a weight that is no finite number of at least 0"
        place = f"{sample.source}, line {sample.line}" if sample.line >= 0 else f"row {sample.row}"
        raise DataError(f"{name}: the molecule {sample.smiles!r} {what}", where=place,
                        fix="write a number of at least 0 for every molecule; 1 is as good as any for all")  # fmt: skip
    if not values.any():
        raise DataError(f"{name}: all are 0", fix="give some molecules a weight above 0")
    return values
