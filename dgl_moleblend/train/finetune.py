"""Fine-tune a model to measured properties: what it is asked, what it leaves in its folder."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.config import FeaturizerConfig, PredictorConfig, TrainingConfig, check
from dgl_moleblend.data.several import columns_of
from dgl_moleblend.data.splits import Split
from dgl_moleblend.env.processes import is_first_process
from dgl_moleblend.files import (
    CURVES_FILE,
    METRICS_FILE,
    PARITY_FILE,
    ROC_FILE,
    write_json,
)
from dgl_moleblend.models.losses import positive_weights
from dgl_moleblend.models.predictor import MoleBlendPredictor
from dgl_moleblend.models.scores import score, score_constants
from dgl_moleblend.models.spread import OUTPUTS
from dgl_moleblend.predict.calibrated import write_calibration
from dgl_moleblend.predict.calibration import deviation_column, score_uncertainty
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.predict.tables import bound_columns, predicted
from dgl_moleblend.report import figures
from dgl_moleblend.report.page import write_report
from dgl_moleblend.report.results import kept_epoch, main_curves, read_curves
from dgl_moleblend.request import Compute, Task
from dgl_moleblend.train.checked import check_request, count_bounds, split_facts, warn_of_rare_classes
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import MoleculeData, fit, set_seeds
from dgl_moleblend.train.modules import FinetuningModule
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.result import FinetuneResult, await_result, tell_others
from dgl_moleblend.train.run import close_run, library_versions, open_run
from dgl_moleblend.train.start import Source, Start
from dgl_moleblend.train.tables import tabulate, write_tables

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

KEPT_BYTES = 2**30
"""States of a frozen encoder are kept up to here; beyond, they are computed in every epoch."""


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
    weights: np.ndarray | None = None,
    description: str = "finetune",
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
    tasks : sequence of Task, or {"regression", "classification", "multiclass"}, optional
        The labels to learn, or the kind of all of them. By default every label of the data set, as classification if
        each is 0 or 1; as multiclass, of which there is one, if it is three words or more.
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
    weights : ndarray, shape (molecules,), optional
        What each molecule counts for in the training loss, finite and at least 0; scores are not weighted.
    description : str
        Stands before the progress bar: which of several this is.

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
    request = check_request(dataset, split, tasks, training or TrainingConfig(), weights)
    warn_of_rare_classes(dataset, [request])
    dataset, parts, config = request.dataset, request.parts, request.training
    task_type, metric = request.task_type, config.metric
    assert metric is not None
    model = model.replace(readout=model.readout or start.readout)
    names, labels = dataset.task_names, request.exact
    train_labels, scaling, monitor = labels[parts["train"]], request.scaling, request.monitor
    class_weights = positive_weights(train_labels) if config.class_weights else None
    plan = RunPlan.of("finetuning", dataset, [parts], start=start, model=model.to_dict(), training=config,
                      compute=compute, tasks=request.tasks, weights=request.weights)  # fmt: skip
    set_seeds(config.seed)
    columns = columns_of(dataset)
    predictor = MoleBlendPredictor(len(names), start.make_encoder(), **model.to_dict(), molecules=max(len(columns), 1),
                                   spread=config.loss if config.loss in OUTPUTS else None)  # fmt: skip
    states = len(dataset) + (0 if model.readout == "token" else int(dataset.num_atoms.sum()))
    fits = 4 * states * predictor.encoder.config.feat_size <= KEPT_BYTES
    keep_states = config.freeze_encoder and fits and not columns and dataset.num_conformers.max(initial=0) <= 1
    open_run(out, plan, resume=resume, overwrite=overwrite)
    done = fit(
        FinetuningModule(
            predictor,
            config,
            task_type,
            names,
            scaling,
            class_weights,
            keep_states=keep_states,
            importance=request.importance,
        ),
        MoleculeData(dataset, parts, config, workers=compute.workers),
        out,
        description=description,
        monitor=monitor,
        resume=resume,
        compute=compute,
    )
    if not is_first_process():
        return await_result(out)
    property_model = PropertyModel(
        predictor,
        dataset.featurizer or FeaturizerConfig(),
        tuple(names),
        task_type,
        scaling,
        dataset.classes,
        columns,
    )
    held_out = np.concatenate([parts["validation"], parts["test"]])
    how: dict[str, Any] = {"progress": compute.progress, "accelerator": compute.accelerator}
    deviation = None
    if property_model.has_deviation:
        values, deviation = property_model.predict_with_deviation(dataset.subset(held_out), **how)
    else:
        values = property_model.predict(dataset.subset(held_out), **how)
    predictions = dict(zip(("validation", "test"), np.split(values, [len(parts["validation"])]), strict=True))
    constant = np.nanmean(train_labels, 0)
    metrics: dict[str, Any] = {"task_type": task_type, "metric": metric, "chosen_by": monitor, **done}
    for name, values in predictions.items():
        metrics[name] = score(values, labels[parts[name]], task_type, names, scaling.scale)
    metrics["mean_predictor"] = {
        name: score_constants(np.tile(constant, (len(values), 1)), labels[parts[name]], task_type, names, scaling.scale)
        for name, values in predictions.items()
    }
    metrics["label_scale"] = list(scaling.scale)
    metrics["rows"] = {name: len(part) for name, part in parts.items()}
    if class_weights is not None:
        metrics["class_weights"] = dict(zip(names, class_weights, strict=True))
    metrics |= request.weighed
    metrics |= {**split_facts(request.facts), **count_bounds(dataset, parts)}
    units = {task.name: task.unit for task in request.tasks if task.unit}
    property_model.save_pretrained(out, versions=library_versions(), metric=metric, facts=request.facts, units=units)
    table = tabulate(dataset, parts, predictions)
    if deviation is not None:
        place = {int(row): k for k, row in enumerate(dataset.rows[held_out])}
        known = deviation[[place[int(row)] for row in table["row"]]]
        table[[deviation_column(name) for name in names]] = known
        metrics |= score_uncertainty(table, names)
    write_json(out / METRICS_FILE, metrics)
    if report and (training_set := write_training_set(out, dataset.subset(parts["train"]).structures)) is not None:
        table["similarity"] = training_set.similarity(table["smiles"].tolist())
    write_tables(out, dataset, table, parts)
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


def draw_curves(out: Path, metrics: Mapping[str, Any]) -> None:
    """Draw the learning curves of a run that wrote its logs."""
    curves = read_curves(out)
    drawn = figures.loss_curves(main_curves(curves, metrics["metric"]), kept_epoch(curves, metrics))
    figures.save(drawn, out / CURVES_FILE)


def _draw(out: Path, table: pd.DataFrame, names: Sequence[str], task_type: str, metrics: Mapping[str, Any]) -> None:
    """Draw learning curves, and the test rows (or the validation rows where there are none)."""
    draw_curves(out, metrics)
    name = "test" if (table["split"] == "test").any() else "validation"
    rows = table[table["split"] == name]
    values = rows[[predicted(task) for task in names]].to_numpy(float)
    labels = rows[list(names)].to_numpy(float)
    if task_type != "regression":
        figures.save(figures.roc(values, labels, names), out / ROC_FILE)
    else:
        captions = [f"{name}\nRMSE {task['rmse']:.3g}" if task["rmse"] is not None else ""
                    for task in metrics[name]["tasks"].values()]  # fmt: skip
        empty = np.full(len(rows), np.nan)
        bounds = np.stack([np.stack([rows.get(c, empty) for c in bound_columns(task)], 1) for task in names], 1)
        figures.save(figures.parity(values, labels, names, captions, bounds=bounds.astype(float)), out / PARITY_FILE)
