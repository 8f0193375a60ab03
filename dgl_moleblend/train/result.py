"""What fine-tuning gave, and reading it back once it is finished, in whichever process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch.distributed

from dgl_moleblend.checksums import check_file
from dgl_moleblend.env.processes import is_first_process
from dgl_moleblend.files import METRICS_FILE, PREDICTIONS_FILE, read_json


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning gave.

    Parameters
    ----------
    folder : Path
        The model, for `predict`.
    metrics : dict
        As in metrics.json: "validation" and "test" scores of the model and, under "mean_predictor", of a model that
        always predicts the mean of the training rows, of a comparison that of training and validation rows.
    predictions : DataFrame
        Validation and test rows: row, id, smiles, split, and for each task its label and its prediction.
    """

    folder: Path
    metrics: dict[str, Any]
    predictions: pd.DataFrame


def read_result(folder: Path) -> FinetuneResult:
    """Read back what a finished run gave."""
    metrics = read_json(check_file(folder / METRICS_FILE))
    table = pd.read_csv(check_file(folder / PREDICTIONS_FILE), dtype={"id": str, "smiles": str}, keep_default_na=False,
                        na_values={})  # fmt: skip
    for name in table.columns.difference(["row", "id", "smiles", "split"]):
        table[name] = pd.to_numeric(table[name].replace("", np.nan))
    return FinetuneResult(folder, metrics, table)


def await_result(out: Path) -> FinetuneResult:
    """Wait until the first of several processes has written the result, and read it."""
    torch.distributed.barrier()
    return read_result(out)


def tell_others() -> None:
    """Let the other processes of a parallel run read the result."""
    if is_first_process() and torch.distributed.is_initialized():
        torch.distributed.barrier()
