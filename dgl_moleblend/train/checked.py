"""What fine-tuning is asked for, checked before anything is written: labels, their kind, split, score and loss."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dgl_moleblend.config import LOSSES, TrainingConfig, check
from dgl_moleblend.data.splits import Split
from dgl_moleblend.data.weights import check_weights
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import PREDICTIONS_FILE
from dgl_moleblend.models.losses import label_importance
from dgl_moleblend.models.scores import METRICS, score, shared_metrics
from dgl_moleblend.models.targets import (
    TASK_TYPES,
    LabelScaling,
    check_labels,
    check_presence,
    exact_labels,
    find_task_type,
)
from dgl_moleblend.predict.calibration import deviation_column
from dgl_moleblend.predict.tables import bound_columns, predicted
from dgl_moleblend.request import Task

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

log = logging.getLogger(__name__)
FEW = 5
"""Rows of a class below which that is said."""
SPLITS = ("train", "validation", "test")
PREDICTION_COLUMNS = ("row", "id", "smiles", "split", "similarity", "fold", "replicate")
"""Columns of predictions.csv beside labels and predictions."""


def split_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """Return those facts that say how molecules were divided."""
    return {name: value for name, value in facts.items() if name.startswith("split") or name == "duplicates"}


@dataclass(frozen=True)
class Request:
    """What fine-tuning is asked for, checked: labels alone that are asked for, and everything found that was open.

    Parameters
    ----------
    dataset : MoleculeDataset
    parts : dict of "train", "validation", "test" to indices
    facts : dict
        Of the split.
    tasks : tuple of Task
        With their kinds.
    task_type : {"regression", "classification", "multiclass"}
        Of all. Of multiclass the labels are a column for each class, see `ClassColumns`.
    training : TrainingConfig
        With its metric and loss.
    monitor : str
        The metric, or "loss" where no task has it on the validation rows.
    scaling : LabelScaling
        Of the training rows.
    exact : ndarray, shape (N, t)
        Labels of the data set that are no bounds; NaN = missing.
    """

    dataset: "MoleculeDataset"
    parts: dict[str, np.ndarray]
    facts: dict[str, Any]
    tasks: tuple[Task, ...]
    task_type: str
    training: TrainingConfig
    monitor: str
    scaling: LabelScaling
    exact: np.ndarray
    weights: np.ndarray | None = None

    @property
    def weighed(self) -> dict[str, Any]:
        """What metrics.json says of weights: {} where there are none."""
        found: dict[str, Any] = {"task_weights": dict(self.training.task_weights)} if self.training.task_weights else {}
        if self.weights is not None:
            train = self.weights[self.parts["train"]]
            found["weights"] = {"rows": len(train), "least": float(train.min()), "mean": float(train.mean()),
                                "largest": float(train.max()), "zero": int((train == 0).sum())}  # fmt: skip
        return found

    @property
    def importance(self) -> np.ndarray | None:
        """What each training label counts for, shape (training rows, t); None where all are alike."""
        train, given = self.parts["train"], dict(self.training.task_weights)
        tasks = [given.get(name, 1.0) for name in self.dataset.task_names] if given else None
        labels = self.dataset.labels[train]
        return label_importance(labels, None if self.weights is None else self.weights[train], tasks)


def check_request(
    dataset: "MoleculeDataset",
    split: "Split | Mapping[str, Sequence[int] | np.ndarray]",
    tasks: Sequence[Task] | str | None,
    training: TrainingConfig,
    weights: np.ndarray | None = None,
) -> Request:
    """Check what `finetune` is asked for, before anything is written.

    Raises
    ------
    DataError, ConfigError
        See `finetune`.
    """
    split = Split.of(split)
    parts, facts = _check_split(split.parts, len(dataset)), {**split.facts}
    if tasks is not None and not isinstance(tasks, str):
        dataset = dataset.select_tasks([task.name for task in tasks])
    names, labels = dataset.task_names, dataset.labels.astype(np.float64)
    if not names:
        raise DataError("the molecules have no labels", fix="name their columns with --tasks")
    own = {column for name in names for column in (predicted(name), deviation_column(name), *bound_columns(name))}
    if taken := sorted({*names} & {*PREDICTION_COLUMNS, *own}):
        raise DataError(f"a property cannot be called {', '.join(map(repr, taken))}: {PREDICTIONS_FILE} has a column "
                        "of that name", fix="rename the column of labels")  # fmt: skip
    asked = {tasks} if isinstance(tasks, str) else {task.kind for task in tasks or () if task.kind}
    if len(asked) > 1:
        raise DataError("some properties are to be classified and others not, and one model does one of these",
                        fix="give the same kind to all, and train two models")  # fmt: skip
    bounds = dataset.bounds
    known_type = "multiclass" if dataset.class_columns is not None else "regression" if bounds.any() else None
    task_type = next(iter(asked), None) or known_type or find_task_type(labels, names, dataset.classes)
    check(task_type in TASK_TYPES, "task_type", task_type, f"one of {', '.join(map(repr, TASK_TYPES))}")
    if task_type == "regression" and (words := [name for name in names if len(dataset.classes.get(name, ())) > 2]):
        raise DataError(f"the labels of {words[0]!r} are words, and a regression has numbers",
                        fix="ask for multiclass, or leave the kind out")  # fmt: skip
    given = () if tasks is None or isinstance(tasks, str) else tasks
    known = [*given] or [Task(name, classes=tuple(dataset.classes.get(name, ()))) for name in names]
    metric = training.metric or shared_metrics(task_type, len(names))[0]
    metrics = list(dict.fromkeys((*METRICS[task_type], *shared_metrics(task_type, len(names)))))
    check(metric in ("loss", *metrics), "metric", metric, f"one of {', '.join(metrics)}, loss")
    loss = training.loss or LOSSES[task_type][0]
    check(loss in LOSSES[task_type], "loss", loss, f"{' or '.join(LOSSES[task_type])}: this is a {task_type}")
    if training.class_weights and task_type != "classification":
        raise DataError(f"class weights are for classification into two classes, and this is {task_type}",
                        fix="leave them out")  # fmt: skip
    if task_type != "regression" and bounds.any():
        name = names[int(bounds.any(0).argmax())]
        raise DataError(f"{name!r} holds bounds (>, <), and classes have none",
                        fix="ask for a regression, or write the classes as 0 and 1")  # fmt: skip
    if dataset.class_columns is None:
        check_labels(labels, task_type, names)
        if task_type == "multiclass":
            dataset = dataset.with_classes(names[0])
            known = [Task(name, task_type) for name in dataset.task_names]
            names, labels, bounds = dataset.task_names, dataset.labels, dataset.bounds
    exact = exact_labels(labels, bounds)
    weights = None if weights is None else check_weights(dataset, weights)
    if weights is not None and not weights[parts["train"]].any():
        raise DataError("every training row has a weight of 0", fix="give some a weight above 0, or split otherwise")
    counted = dict(training.task_weights)
    check({*counted} <= {*names}, "task_weights", tuple(counted), f"named after properties: {', '.join(names)}")
    check(not counted or any(counted.get(name, 1.0) for name in names), "task_weights", counted, "above 0 for one")
    train, validation = exact[parts["train"]], exact[parts["validation"]]
    check_presence(train, validation, names, " that is no bound" if bounds.any() else "")
    scaling = LabelScaling.fit(train) if task_type == "regression" else LabelScaling.none(len(names))
    possible = score(validation, validation, task_type, names, scaling.scale)
    return Request(
        dataset, parts, facts, tuple(task.replace(kind=task_type) for task in known), task_type,
        training.replace(metric=metric, loss=loss), metric if possible.get(metric) is not None else "loss", scaling,
        exact, weights,
    )  # fmt: skip


def warn_of_rare_classes(
    given: "MoleculeDataset", requests: Iterable[Request], *, learned: Sequence[str] = ("train",)
) -> None:
    """Say which of several classes cannot be learned, or hardly: none or few of its rows are there to learn from.

    Parameters
    ----------
    given : MoleculeDataset
        As it was before it was checked; where it has columns of classes, who made these has said it already.
    requests : iterable of Request
        Of one run, or of several of the same rows: of these, the one with the fewest counts.
    learned : sequence of str
        The parts that models learn from.
    """
    if given.class_columns is not None:
        return
    counts: list[dict[str, np.ndarray]] = []
    columns = None
    for request in requests:
        if (columns := request.dataset.class_columns) is None:
            return
        counts.append({part: np.nansum(request.dataset.labels[rows], 0) for part, rows in request.parts.items()})
    if columns is None:
        return
    among = f"the {' and '.join({'train': 'training'}.get(part, part) for part in learned)} molecules"
    for k, word in enumerate(columns.words):
        seen = min(int(sum(one[part][k] for part in learned)) for one in counts)
        rows = min(int(sum(part[k] for part in one.values())) for one in counts)
        name = f"class {word!r} of {columns.name!r}"
        if not seen:
            log.warning("%s has no row among %s: it is never told", name, among)
        elif rows < FEW:
            log.warning("%s has %d row%s, %d of %s among %s: it is hardly learned, and its scores are rough",
                        name, rows, "s" * (rows > 1), seen, "them" if rows > 1 else "it", among)  # fmt: skip


def _check_split(split: Mapping[str, Sequence[int] | np.ndarray], size: int) -> dict[str, np.ndarray]:
    for name in split:
        check(name in SPLITS, "split", name, f"made of {', '.join(map(repr, SPLITS))}")
    parts = {name: np.asarray(split.get(name, ()), np.int64) for name in SPLITS}
    together = np.concatenate(list(parts.values()))
    if len(together) and not (together.min() >= 0 and together.max() < size):
        raise DataError(f"the split names molecules outside 0 to {size - 1}", fix="use indices into the data set")
    if len(np.unique(together)) < len(together):
        raise DataError("the split names a molecule twice", fix="give every molecule to one part at most")
    for name in ("train", "validation"):
        if not len(parts[name]):
            raise DataError(
                f"the {name} part of the split is empty",
                fix="give more rows, or split otherwise, --split or --fractions (split=, fractions=)",
            )
    return parts


def count_bounds(dataset: "MoleculeDataset", parts: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """Return how many labels there are, how many are bounds, and how many of these each part has; {} if none is."""
    bounds = dataset.bounds != 0
    if not bounds.any():
        return {}
    counts = {"labels": int((~np.isnan(dataset.labels)).sum()), "bounds": int(bounds.sum())}
    return {"bounds": counts | {name: int(bounds[part].sum()) for name, part in parts.items()}}
