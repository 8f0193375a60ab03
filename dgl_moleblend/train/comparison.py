"""What a comparison of models is asked for: kinds, their features, and how the network among them is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import Self

from dgl_moleblend.config import Config, TrainingConfig, check
from dgl_moleblend.schema import FEATURE_KINDS

CANDIDATES = ("mean", "forest", "trees", "kernel", "frozen", "network")
"""What is compared: the mean of the labels, a random forest on Morgan counts, extra trees and a kernel machine on all
features, a kernel machine on the states of the frozen encoder, and the fine-tuned encoder."""
HEADS = {"auto": CANDIDATES, "kernel": ("mean", "kernel"), "trees": ("mean", "trees"), "network": ()}
"""Kinds of models that can be asked for, and what is compared for each."""
NETWORK = {"learning_rate": 3e-4, "batch_size": 32, "averaging": 0.1, "head_first": 0.1, "keep": "last"}
"""How the encoder is fine-tuned, found on validation rows (benchmarks/README.md); epochs go by the number of rows."""


def epochs_for(rows: int) -> int:
    """Return the epochs of fine-tuning on so many rows: 50 for a thousand, fewer for more.

    Examples
    --------
    >>> [epochs_for(rows) for rows in (100, 1_000, 4_000, 100_000)]
    [60, 50, 25, 8]
    """
    return int(np.clip(round(50 * (1000 / max(rows, 1)) ** 0.5), 8, 60))


def network_training(rows: int, seed: int = 0) -> TrainingConfig:
    """Return how the encoder is fine-tuned on so many rows."""
    return TrainingConfig(max_epochs=epochs_for(rows), seed=seed, **NETWORK)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Comparison(Config):
    """What is compared, on which features.

    Parameters
    ----------
    candidates : tuple of str
        Some of `CANDIDATES`.
    features : tuple of str
        Some of ``schema.FEATURE_KINDS``, for trees and kernel machine.
    columns : tuple of str
        Further labels of the data set's table that are features.
    """

    candidates: tuple[str, ...] = CANDIDATES
    features: tuple[str, ...] = FEATURE_KINDS
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, head: str, *, fast: bool, features: Sequence[str], columns: Sequence[str] = ()) -> Self:
        """Return what is compared for one of `HEADS`; with `fast` nothing is fine-tuned."""
        candidates = tuple(name for name in HEADS[head] if not (fast and name == "network"))
        return cls(candidates, tuple(features), tuple(columns))

    def __post_init__(self) -> None:
        names = self.candidates
        check(not isinstance(names, str) and 0 < len({*names}) == len(names) and {*names} <= {*CANDIDATES},
              "candidates", names, f"some of {', '.join(CANDIDATES)}, each once")  # fmt: skip
