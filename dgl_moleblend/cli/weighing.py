"""What molecules and properties count for in training: the options of `finetune`, and what they become."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import say

if TYPE_CHECKING:
    import numpy as np

    from dgl_moleblend.data.dataset import MoleculeDataset


def read_task_weights(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Read NAME=WEIGHT of each text.

    Raises
    ------
    click.UsageError
        If one is something else.

    Examples
    --------
    >>> read_task_weights(["NR-AR=2", "log=P=0.5"])
    (('NR-AR', 2.0), ('log=P', 0.5))
    """
    found = []
    for text in texts:
        name, sign, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not (sign and name and 0 <= weight < float("inf")):
            raise click.UsageError(f"--task-weight {text!r} is not NAME=WEIGHT, with a weight of at least 0")
        found.append((name, weight))
    return tuple(found)


weighing = options.grouped(
    "weighing",
    dict,
    click.option("--weight-column", metavar="NAME",
                 help="Column of numbers of at least 0: how much each molecule counts in training, for every kind of"
                 " model. No cell may be blank; scores are not weighted."),
    click.option("--task-weight", "task_weights", multiple=True, metavar="NAME=WEIGHT",
                 help="How much the loss of a property counts, of a network of several; 1 unless given. May be"
                 " repeated."),
    title="Reading files",
)  # fmt: skip


def take_weights(
    dataset: "MoleculeDataset", weighing: Mapping[str, Any]
) -> "tuple[MoleculeDataset, dict[str, np.ndarray]]":
    """Return the molecules without the column of weights among their labels, and the argument that the weights are."""
    if (column := weighing["weight_column"]) is None:
        return dataset, {}
    from dgl_moleblend.data.weights import weights_of

    weights = weights_of(dataset, column)
    say(f"column {column!r} weighs molecules in training, from {weights.min():g} to {weights.max():g}; scores are not"
        " weighted")  # fmt: skip
    return dataset.select_tasks([name for name in dataset.task_names if name != column]), {"weights": weights}
