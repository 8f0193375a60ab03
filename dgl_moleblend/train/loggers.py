"""Where the values of a run go: its CSV file, and TensorBoard, Weights & Biases or MLflow beside it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from dgl_moleblend.files import LOGS

PROJECT = "dgl-moleblend"
"""Of Weights & Biases, and experiment of MLflow, that runs are listed under."""
_MLFLOW = os.environ.get("MLFLOW_TRACKING_URI")  # as the user set it: MLflow itself sets it to where a first run went


def make_loggers(name: str, out: Path, settings: Mapping[str, Any]) -> list[Logger]:
    """Return a run's loggers.

    Parameters
    ----------
    name : {"csv", "tensorboard", "wandb", "mlflow"}
        `Compute` has seen to its package. The CSV file is always there. What needs a place on disk gets one in
        ``logs/``; servers and modes are set as each library has it: ``WANDB_MODE``, ``MLFLOW_TRACKING_URI``.
    out : Path
        The run's folder; its name is the run's.
    settings : mapping
        Of the training, for those that show them.
    """
    csv, run = CSVLogger(out, LOGS), out.resolve().name
    if name == "csv":
        return [csv]
    further: Logger
    if name == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        further = TensorBoardLogger(out / LOGS, "tensorboard")
    elif name == "wandb":
        from lightning.pytorch.loggers import WandbLogger

        further = WandbLogger(name=run, project=PROJECT, save_dir=out / LOGS)
    else:
        from lightning.pytorch.loggers import MLFlowLogger

        (out / LOGS).mkdir(parents=True, exist_ok=True)
        place = _MLFLOW or f"sqlite:///{(out / LOGS).resolve() / 'mlflow.db'}"
        further = MLFlowLogger(PROJECT, run_name=run, tracking_uri=place)
    further.log_hyperparams(dict(settings))
    return [csv, further]


def close(loggers: list[Logger]) -> None:
    """End what would go on: Weights & Biases would write the next run of this process into this one."""
    from lightning.pytorch.loggers import WandbLogger

    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
