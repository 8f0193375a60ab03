"""Fine-tune a model to measured properties: what it is asked, what it leaves in its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from lightning.pytorch import Callback

from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.config import EncoderConfig, FeaturizerConfig, TrainingConfig, check
from dgl_moleblend.errors import DataError
from dgl_moleblend.folder import write_json
from dgl_moleblend.models.predictor import MoleBlendPredictor
from dgl_moleblend.models.targets import (
    METRICS,
    TASK_TYPES,
    LabelScaling,
    check_labels,
    check_presence,
    find_task_type,
    positive_weights,
    score,
    shared_metrics,
)
from dgl_moleblend.predict.calibration import write_calibration
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report import figures
from dgl_moleblend.report.page import write_report
from dgl_moleblend.report.results import read_curves
from dgl_moleblend.schema import RELATIONS
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import (
    MoleculeData,
    close_run,
    fit,
    library_versions,
    open_run,
    set_seeds,
    write_table,
)
from dgl_moleblend.train.modules import FinetuningModule
from dgl_moleblend.train.plan import describe_data
from dgl_moleblend.train.start import default_readout, describe_start, keep_start, make_encoder

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

SPLITS = ("train", "validation", "test")
KEPT_BYTES = 2**30
"""States of a frozen encoder are kept up to here; beyond, they are computed in every epoch."""
PREDICTION_COLUMNS = ("row", "id", "smiles", "split", "similarity", "fold")
"""Columns of predictions.csv beside labels and predictions."""


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning gave.

    Parameters
    ----------
    folder : Path
        The model, for `predict`.
    metrics : dict
        As in metrics.json: "validation" and "test" scores of the model and, under "mean_predictor", of a model that
        always predicts the training rows' mean.
    predictions : DataFrame
        Validation and test rows: row, id, smiles, split, and for each task its label and its prediction.
    """

    folder: Path
    metrics: dict[str, Any]
    predictions: pd.DataFrame


@holds_its_folder
def finetune(
    dataset: "MoleculeDataset",
    split: Mapping[str, Sequence[int] | np.ndarray],
    out: str | PathLike[str],
    *,
    encoder: EncoderConfig | str | PathLike[str] | None = None,
    readout: str | None = None,
    relations: Sequence[str] = RELATIONS,
    dropout: float = 0.0,
    task_type: str | None = None,
    metric: str | None = None,
    training_config: TrainingConfig | None = None,
    facts: Mapping[str, object] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: bool = True,
    progress: bool = True,
    accelerator: str = "auto",
    callbacks: Sequence[Callback] = (),
) -> FinetuneResult:
    """Fit a model to measured properties.

    Labels of training rows alone decide scaling and weights; validation rows choose the epoch whose weights are kept,
    and when to stop; test rows are looked at once, at the end.

    Parameters
    ----------
    dataset : MoleculeDataset
        With labels; NaN = missing.
    split : mapping of "train", "validation" and "test" to indices into `dataset`
        No index twice. "test" may be empty or absent.
    out : path
        Receives the model (config.json, model.safetensors, calibration.json, training_set.npz), report.html,
        metrics.json, predictions.csv, split.csv, rejects.csv, run.json, logs and pictures.
    encoder : EncoderConfig or path, optional
        Size of a fresh encoder, or the folder of a pretrained one. By default ``EncoderConfig.small()``.
    readout : {"token", "mean", "sum"}, optional
        See `MoleBlendPredictor`. By default "token" for a fresh encoder, that of a predictor, and "mean" for any other
        pretrained encoder, whose objectives never scored the token.
    relations, dropout
        See `MoleBlendPredictor`.
    task_type : {"regression", "classification"}, optional
        By default classification if every label is 0 or 1.
    metric : str, optional
        Validation score that chooses the weights: "rmse" (default), "mae" or "r2", and of several tasks "scaled"
        (default): the mean RMSE in units of each task's training deviation; "roc_auc" (default) or "pr_auc"; or "loss".
        Where no task has it on the validation rows, the loss takes its place; metrics.json says which.
    training_config : TrainingConfig, optional
    facts : mapping, optional
        Further facts to keep with the model, such as how the split was made (`dgl_moleblend.data.splits`); those whose
        names begin with "split", and "duplicates", also stand in metrics.json.
    resume, overwrite : bool
        Go on with the run in `out`, or delete it.
    report : bool
        Whether to write what only a model that is kept needs: report.html, pictures, calibration.json (`predict` makes
        do without), training_set.npz and the similarity to it in predictions.csv.
    progress : bool
        Whether there are progress bars.
    accelerator : str
        As for Lightning's Trainer.
    callbacks : sequence of Callback
        Further Lightning callbacks.

    Returns
    -------
    FinetuneResult

    Raises
    ------
    DataError
        If labels or split cannot be used, or `out` holds another run.
    CheckpointError
        If the encoder does not fit, or a resumed run had other settings.
    """
    out = Path(out)
    encoder = encoder or EncoderConfig.small()
    keep_start(out, encoder)
    config = training_config or TrainingConfig()
    parts, task_type, metric = check_request(dataset, split, task_type, metric, config)
    readout = readout or default_readout(encoder)
    names, labels = dataset.task_names, dataset.labels.astype(np.float64)
    train_labels, validation_labels = labels[parts["train"]], labels[parts["validation"]]
    scaling = LabelScaling.fit(train_labels) if task_type == "regression" else LabelScaling.none(len(names))
    possible = score(np.zeros_like(validation_labels), validation_labels, task_type, names, scaling.scale)
    monitor = metric if possible.get(metric) is not None else "loss"
    weights = positive_weights(train_labels) if config.class_weights else None
    settings = {
        "encoder": describe_start(encoder),
        "predictor": {"readout": readout, "relations": list(relations), "dropout": dropout},
        "training": config.to_dict(),
        "task_type": task_type,
        "metric": metric,
        **describe_data(dataset, parts),
    }
    set_seeds(config.seed)
    predictor = MoleBlendPredictor(
        len(names), make_encoder(encoder), readout=readout, relations=relations, dropout=dropout
    )
    states = len(dataset) + (0 if readout == "token" else int(dataset.num_atoms.sum()))
    fits = 4 * states * predictor.encoder.config.feat_size <= KEPT_BYTES
    keep_states = config.freeze_encoder and fits and dataset.num_conformers.max(initial=0) <= 1
    open_run(out, settings, resume=resume, overwrite=overwrite)
    done = fit(
        FinetuningModule(predictor, config, task_type, names, scaling, weights, keep_states=keep_states),
        MoleculeData(dataset, parts, config),
        out,
        description="finetune",
        monitor=monitor,
        resume=resume,
        progress=progress,
        accelerator=accelerator,
        callbacks=callbacks,
    )
    featurizer = dataset.featurizer or FeaturizerConfig()
    model = PropertyModel(predictor, featurizer, tuple(names), task_type, scaling)
    held_out = np.concatenate([parts["validation"], parts["test"]])
    values = model.predict(dataset.subset(held_out), progress=progress, accelerator=accelerator)
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
    facts = dict(facts or {})
    metrics |= split_facts(facts)
    model.save_pretrained(out, versions=library_versions(), metric=metric, facts=facts)
    write_json(out / "metrics.json", metrics)
    table = tabulate(dataset, parts, predictions)
    if report and (training_set := write_training_set(out, dataset.subset(parts["train"]).smiles)) is not None:
        table["similarity"] = training_set.similarity(table["smiles"].tolist())
    write_table(out / "predictions.csv", table)
    write_table(out / "split.csv", split_table(dataset, parts))
    if len(dataset.rejects):
        write_table(out / "rejects.csv", dataset.rejects)
    if report:
        write_calibration(out)
        _draw(out, table, names, task_type, metrics)
        write_report(out)
    close_run(out)
    return FinetuneResult(out, metrics, table)


def split_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """Return those facts that say how molecules were divided."""
    return {name: value for name, value in facts.items() if name.startswith("split") or name == "duplicates"}


def check_request(
    dataset: "MoleculeDataset",
    split: Mapping[str, Sequence[int] | np.ndarray],
    task_type: str | None,
    metric: str | None,
    config: TrainingConfig,
) -> tuple[dict[str, np.ndarray], str, str]:
    """Check what `finetune` is asked for, before anything is written.

    Returns
    -------
    tuple
        The three parts of the split, the type of task and the metric.

    Raises
    ------
    DataError, ValueError
        See `finetune`.
    """
    parts = _check_split(split, len(dataset))
    names, labels = dataset.task_names, dataset.labels.astype(np.float64)
    if not names:
        raise DataError("the molecules have no labels", fix="name their columns with --tasks")
    if taken := sorted({*names} & {*PREDICTION_COLUMNS}):
        raise DataError(f"a property cannot be called {', '.join(map(repr, taken))}: predictions.csv has a column of "
                        "that name", fix="rename the column of labels")  # fmt: skip
    task_type = task_type or find_task_type(labels)
    check(task_type in TASK_TYPES, "task_type", task_type, "'regression' or 'classification'")
    metric = metric or shared_metrics(task_type, len(names))[0]
    known = list(dict.fromkeys((*METRICS[task_type], *shared_metrics(task_type, len(names)))))
    check(metric in ("loss", *known), "metric", metric, f"one of {', '.join(known)}, loss")
    if config.class_weights and task_type != "classification":
        raise DataError("class weights are for classification, and the labels are numbers", fix="leave them out")
    check_labels(labels, task_type, names)
    check_presence(labels[parts["train"]], labels[parts["validation"]], names)
    return parts, task_type, metric


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
    figures.save(figures.loss_curves(read_curves(out)), out / "curves.png")
    name = "test" if (table["split"] == "test").any() else "validation"
    rows = table[table["split"] == name]
    values = rows[[predicted(task) for task in names]].to_numpy(float)
    labels = rows[list(names)].to_numpy(float)
    if task_type == "classification":
        figures.save(figures.roc(values, labels, names), out / "roc.png")
    else:
        captions = [f"{name}\nRMSE {task['rmse']:.3g}" if task["rmse"] is not None else ""
                    for task in metrics[name]["tasks"].values()]  # fmt: skip
        figures.save(figures.parity(values, labels, names, captions), out / "parity.png")
