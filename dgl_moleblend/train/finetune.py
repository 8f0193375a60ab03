"""Fine-tune a model to measured properties: what it is asked, what it leaves in its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.config import LOSSES, FeaturizerConfig, PredictorConfig, TrainingConfig, check
from dgl_moleblend.data.splits import Split
from dgl_moleblend.env.processes import is_first_process
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import (
    CURVES_FILE,
    METRICS_FILE,
    PARITY_FILE,
    PREDICTIONS_FILE,
    REJECTS_FILE,
    ROC_FILE,
    SPLIT_FILE,
    write_json,
)
from dgl_moleblend.models.losses import positive_weights
from dgl_moleblend.models.predictor import MoleBlendPredictor
from dgl_moleblend.models.scores import METRICS, score, shared_metrics
from dgl_moleblend.models.targets import TASK_TYPES, LabelScaling, check_labels, check_presence, find_task_type
from dgl_moleblend.predict.calibration import deviation_column, write_calibration
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.predict.sinks import write_table
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report import figures
from dgl_moleblend.report.page import write_report
from dgl_moleblend.report.results import kept_epoch, main_curves, read_curves
from dgl_moleblend.request import Compute, Task
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import MoleculeData, fit, set_seeds
from dgl_moleblend.train.modules import FinetuningModule
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.result import FinetuneResult, await_result, tell_others
from dgl_moleblend.train.run import close_run, library_versions, open_run
from dgl_moleblend.train.start import Source, Start

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

SPLITS = ("train", "validation", "test")
KEPT_BYTES = 2**30
"""States of a frozen encoder are kept up to here; beyond, they are computed in every epoch."""
PREDICTION_COLUMNS = ("row", "id", "smiles", "split", "similarity", "fold", "replicate")
"""Columns of predictions.csv beside labels and predictions."""


@holds_its_folder
def finetune(
    dataset: "MoleculeDataset",
    split: "Split | Mapping[str, Sequence[int] | np.ndarray]",
    out: str | PathLike[str],
    *,
    tasks: Sequence[Task] | str | None = None,
    start: Source | Start | None = None,
    model: PredictorConfig | None = None,
    training: TrainingConfig | None = None,
    compute: Compute | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: bool = True,
) -> FinetuneResult:
    """Fit a network to measured properties.

    With several devices each takes ``batch_size`` molecules a step; the first process predicts and writes, alone.
    Labels of training rows alone decide scaling and weights; validation rows choose the epoch whose weights are kept,
    and when to stop; test rows are looked at once, at the end.

    Parameters
    ----------
    dataset : MoleculeDataset
        With labels; NaN = missing.
    split : Split, or mapping of "train", "validation" and "test" to indices into `dataset`
        No index twice. "test" may be empty or absent. The facts of a Split are kept with the model, and stand in
        metrics.json if they say how molecules were divided.
    out : path
        Receives the model (config.json, model.safetensors, calibration.json, training_set.npz), report.html,
        metrics.json, predictions.csv, split.csv, rejects.csv, run.json, logs and pictures.
    tasks : sequence of Task, or {"regression", "classification"}, optional
        The labels to learn, or the kind of all of them. By default every label of the data set, as classification if
        each is 0 or 1.
    start : EncoderConfig, path or name, optional
        Size of a fresh encoder, or a model whose encoder to start from. By default ``EncoderConfig.small()``.
    model : PredictorConfig, optional
    training : TrainingConfig, optional
    compute : Compute, optional
    resume, overwrite : bool
        Go on with the run in `out`, or delete it. A finished run whose learning rate stays
        (``TrainingConfig(schedule="constant")``) goes on with more epochs or patience.
    report : bool
        Whether to write what only a model that is kept needs: report.html, pictures, calibration.json (`predict` makes
        do without), training_set.npz and the similarity to it in predictions.csv.

    Returns
    -------
    FinetuneResult

    Raises
    ------
    DataError
        If labels or split cannot be used, or `out` holds another run.
    CheckpointError
        If the start does not fit, or a resumed run had another plan.
    """
    out, start = Path(out), Start.of(start)
    start.keep_from(out)
    compute, model = compute or Compute(), model or PredictorConfig()
    request = check_request(dataset, split, tasks, training or TrainingConfig())
    dataset, parts, config = request.dataset, request.parts, request.training
    task_type, metric = request.task_type, config.metric
    assert metric is not None
    model = model.replace(readout=model.readout or start.readout)
    names, labels = dataset.task_names, dataset.labels.astype(np.float64)
    train_labels, scaling, monitor = labels[parts["train"]], request.scaling, request.monitor
    weights = positive_weights(train_labels) if config.class_weights else None
    plan = RunPlan.of("finetuning", dataset, [parts], start=start, model=model.to_dict(), training=config,
                      compute=compute, tasks=request.tasks)  # fmt: skip
    set_seeds(config.seed)
    predictor = MoleBlendPredictor(len(names), start.make_encoder(), **model.to_dict())
    states = len(dataset) + (0 if model.readout == "token" else int(dataset.num_atoms.sum()))
    fits = 4 * states * predictor.encoder.config.feat_size <= KEPT_BYTES
    keep_states = config.freeze_encoder and fits and dataset.num_conformers.max(initial=0) <= 1
    open_run(out, plan, resume=resume, overwrite=overwrite)
    done = fit(
        FinetuningModule(predictor, config, task_type, names, scaling, weights, keep_states=keep_states),
        MoleculeData(dataset, parts, config, workers=compute.workers),
        out,
        description="finetune",
        monitor=monitor,
        resume=resume,
        compute=compute,
    )
    if not is_first_process():
        return await_result(out)
    property_model = PropertyModel(
        predictor, dataset.featurizer or FeaturizerConfig(), tuple(names), task_type, scaling, dataset.classes
    )
    held_out = np.concatenate([parts["validation"], parts["test"]])
    values = property_model.predict(
        dataset.subset(held_out), progress=compute.progress, accelerator=compute.accelerator
    )
    predictions = dict(zip(("validation", "test"), np.split(values, [len(parts["validation"])]), strict=True))
    constant = np.nanmean(train_labels, 0)
    metrics: dict[str, Any] = {"task_type": task_type, "metric": metric, "chosen_by": monitor, **done}
    for name, values in predictions.items():
        metrics[name] = score(values, labels[parts[name]], task_type, names, scaling.scale)
    metrics["mean_predictor"] = {
        name: score(np.tile(constant, (len(values), 1)), labels[parts[name]], task_type, names, scaling.scale)
        for name, values in predictions.items()
    }
    metrics["label_scale"] = list(scaling.scale)
    metrics["rows"] = {name: len(part) for name, part in parts.items()}
    if weights is not None:
        metrics["class_weights"] = dict(zip(names, weights, strict=True))
    metrics |= split_facts(request.facts)
    units = {task.name: task.unit for task in request.tasks if task.unit}
    property_model.save_pretrained(out, versions=library_versions(), metric=metric, facts=request.facts, units=units)
    write_json(out / METRICS_FILE, metrics)
    table = tabulate(dataset, parts, predictions)
    if report and (training_set := write_training_set(out, dataset.subset(parts["train"]).structures)) is not None:
        table["similarity"] = training_set.similarity(table["smiles"].tolist())
    write_table(table, out / PREDICTIONS_FILE)
    write_table(split_table(dataset, parts), out / SPLIT_FILE)
    if len(dataset.rejects):
        write_table(dataset.rejects, out / REJECTS_FILE)
    if report:
        write_calibration(out)
        _draw(out, table, names, task_type, metrics)
        write_report(out)
    close_run(out)
    tell_others()
    return FinetuneResult(out, metrics, table)


def check_one_device(compute: Compute | None) -> None:
    """Refuse several devices where several models are fitted, one after the other.

    Raises
    ------
    ConfigError
        If there are.
    """
    devices = 1 if compute is None else compute.devices
    check(devices == 1, "devices", devices, "1 where several models are fitted; finetune with one network takes more")


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
    task_type : {"regression", "classification"}
        Of all.
    training : TrainingConfig
        With its metric and loss.
    monitor : str
        The metric, or "loss" where no task has it on the validation rows.
    scaling : LabelScaling
        Of the training rows.
    """

    dataset: "MoleculeDataset"
    parts: dict[str, np.ndarray]
    facts: dict[str, Any]
    tasks: tuple[Task, ...]
    task_type: str
    training: TrainingConfig
    monitor: str
    scaling: LabelScaling


def check_request(
    dataset: "MoleculeDataset",
    split: "Split | Mapping[str, Sequence[int] | np.ndarray]",
    tasks: Sequence[Task] | str | None,
    training: TrainingConfig,
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
    own = {column(name) for name in names for column in (predicted, deviation_column)}
    if taken := sorted({*names} & {*PREDICTION_COLUMNS, *own}):
        raise DataError(f"a property cannot be called {', '.join(map(repr, taken))}: {PREDICTIONS_FILE} has a column "
                        "of that name", fix="rename the column of labels")  # fmt: skip
    asked = {tasks} if isinstance(tasks, str) else {task.kind for task in tasks or () if task.kind}
    if len(asked) > 1:
        raise DataError("some properties are to be classified and others not, and one model does one of these",
                        fix="give the same kind to all, and train two models")  # fmt: skip
    task_type = next(iter(asked), None) or find_task_type(labels)
    check(task_type in TASK_TYPES, "task_type", task_type, "'regression' or 'classification'")
    known = (
        tasks
        if tasks is not None and not isinstance(tasks, str)
        else [Task(name, classes=tuple(dataset.classes.get(name, ()))) for name in names]
    )
    metric = training.metric or shared_metrics(task_type, len(names))[0]
    metrics = list(dict.fromkeys((*METRICS[task_type], *shared_metrics(task_type, len(names)))))
    check(metric in ("loss", *metrics), "metric", metric, f"one of {', '.join(metrics)}, loss")
    loss = training.loss or LOSSES[task_type][0]
    check(loss in LOSSES[task_type], "loss", loss, f"{' or '.join(LOSSES[task_type])}: this is a {task_type}")
    if training.class_weights and task_type != "classification":
        raise DataError("class weights are for classification, and the labels are numbers", fix="leave them out")
    check_labels(labels, task_type, names)
    train, validation = labels[parts["train"]], labels[parts["validation"]]
    check_presence(train, validation, names)
    scaling = LabelScaling.fit(train) if task_type == "regression" else LabelScaling.none(len(names))
    possible = score(validation, validation, task_type, names, scaling.scale)
    return Request(
        dataset, parts, facts, tuple(task.replace(kind=task_type) for task in known), task_type,
        training.replace(metric=metric, loss=loss), metric if possible.get(metric) is not None else "loss", scaling,
    )  # fmt: skip


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
            raise DataError(f"the {name} part of the split is empty", fix="give more rows, or split otherwise")
    return parts


def tabulate(
    dataset: "MoleculeDataset", parts: Mapping[str, np.ndarray], predictions: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Labels beside predictions, by input row."""
    tables = []
    for name, values in predictions.items():
        part = dataset.subset(parts[name])
        columns = {"row": part.rows, "id": part.ids, "smiles": part.smiles, "split": name}
        for k, task in enumerate(dataset.task_names):
            columns |= {task: part.labels[:, k], predicted(task): values[:, k]}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)


def split_table(dataset: "MoleculeDataset", parts: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return input rows and their part: split.csv."""
    tables = [pd.DataFrame({"row": dataset.rows[part], "split": name}) for name, part in parts.items()]
    return pd.concat(tables, ignore_index=True).sort_values("row", ignore_index=True)


def _draw(out: Path, table: pd.DataFrame, names: Sequence[str], task_type: str, metrics: Mapping[str, Any]) -> None:
    """Draw learning curves, and the test rows (or the validation rows where there are none)."""
    curves = read_curves(out)
    drawn = figures.loss_curves(main_curves(curves, metrics["metric"]), kept_epoch(curves, metrics))
    figures.save(drawn, out / CURVES_FILE)
    name = "test" if (table["split"] == "test").any() else "validation"
    rows = table[table["split"] == name]
    values = rows[[predicted(task) for task in names]].to_numpy(float)
    labels = rows[list(names)].to_numpy(float)
    if task_type == "classification":
        figures.save(figures.roc(values, labels, names), out / ROC_FILE)
    else:
        captions = [f"{name}\nRMSE {task['rmse']:.3g}" if task["rmse"] is not None else ""
                    for task in metrics[name]["tasks"].values()]  # fmt: skip
        figures.save(figures.parity(values, labels, names, captions), out / PARITY_FILE)
