"""What is asked for beside molecules and settings: the properties to be learned, and what to compute on."""

import importlib.util
from dataclasses import dataclass
from typing import Any

from dgl_moleblend.config import Config, check
from dgl_moleblend.errors import ConfigError

KINDS = ("regression", "classification", "multiclass")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

LOGGERS = {"csv": (), "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}
"""Where values of a training may go, and packages of which one is needed."""


@dataclass(frozen=True)
class Task(Config):
    """One property: a column of labels.

    Parameters
    ----------
    name : str
        Of the labels.
    kind : {"regression", "classification", "multiclass"}, optional
        By default classification where every label is 0 or 1, multiclass where they are three words or more.
    unit : str
        Of the labels, for readers: "kcal/mol".
    classes : tuple of str
        What 0 and 1 stand for, for readers: ("inactive", "active"); of multiclass what each class is called.

    Examples
    --------
    >>> Task("expt", "regression", unit="kcal/mol")
    Task(name='expt', kind='regression', unit='kcal/mol', classes=())
    """

    name: str
    kind: str | None = None
    unit: str = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self.kind in (None, *KINDS), "kind", self.kind, f"one of {', '.join(map(repr, KINDS))}")
        check(len(self.classes) != 1, "classes", self.classes, "two names, of 0 and of 1, or more, of each class")


@dataclass(frozen=True)
class Compute(Config):
    """On what a run computes. Only `devices` and `precision` change numbers; the others may differ when it is resumed.

    Parameters
    ----------
    accelerator : {"auto", "cpu", "gpu", "cuda"}
        "auto" takes a CUDA device where there is one.
    devices : int or "auto"
        Devices that train together; each takes ``batch_size`` molecules a step, and draws its own dropout. So a run
        on two is not that on one with batches twice as large, bit by bit.
    precision : {"32-true", "bf16-mixed", "16-mixed"}
        As Lightning names it; softmax stays in float32.
    workers : int
        Processes that load batches, or compute features.
    progress : bool
        Whether what takes more than a second shows a bar.
    logger : {"csv", "tensorboard", "wandb", "mlflow"}
        Where the values of a training go, beside its CSV file.
    callbacks : tuple of Lightning callbacks
        Beside our own.

    Raises
    ------
    ConfigError
        If a value is not allowed, or the package of a logger is not installed.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    precision: str = "32-true"
    workers: int = 0
    progress: bool = True
    logger: str = "csv"
    callbacks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        check(self.accelerator in ACCELERATORS, "accelerator", self.accelerator,
              f"one of {', '.join(map(repr, ACCELERATORS))}")  # fmt: skip
        check(self.devices == "auto" or (isinstance(self.devices, int) and self.devices >= 1), "devices", self.devices,
              "at least 1, or 'auto'")  # fmt: skip
        check(self.precision in PRECISIONS, "precision", self.precision, "'32-true', 'bf16-mixed' or '16-mixed'")
        check(self.workers >= 0, "workers", self.workers, "at least 0")
        check(self.logger in LOGGERS, "logger", self.logger, f"one of {', '.join(LOGGERS)}")
        packages = LOGGERS[self.logger]
        if packages and not any(map(importlib.util.find_spec, packages)):
            raise ConfigError(f"logger={self.logger!r} needs the package {packages[0]}, which is not installed",
                              fix=f"pip install {packages[0]}")  # fmt: skip

    def decisive(self) -> dict[str, Any]:
        """Return what decides a run's numbers."""
        return {"devices": self.devices, "precision": self.precision}
