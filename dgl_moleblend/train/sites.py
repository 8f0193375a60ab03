"""Fine-tune a model to values of atoms or bonds: what it is asked, what it leaves in its folder."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from dgl_moleblend.config import LOSSES, FeaturizerConfig, PredictorConfig, TrainingConfig, check
from dgl_moleblend.data.sites import SiteValues, bond_order
from dgl_moleblend.data.splits import PARTS, Split, check_parts
from dgl_moleblend.files import (
    METRICS_FILE,
    PARITY_FILE,
    write_json,
)
from dgl_moleblend.models.losses import property_loss
from dgl_moleblend.models.scores import SCALED, score, shared_metrics
from dgl_moleblend.models.site_prior import SitePrior
from dgl_moleblend.models.sites import SitePredictor
from dgl_moleblend.models.spread import OUTPUTS
from dgl_moleblend.models.targets import LabelScaling, check_labels, check_presence
from dgl_moleblend.predict.sites import SiteModel
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report import figures
from dgl_moleblend.report.site_page import write_site_report
from dgl_moleblend.request import Compute, Task
from dgl_moleblend.train.checked import split_facts
from dgl_moleblend.train.finetune import draw_curves
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import MoleculeData, fit, set_seeds
from dgl_moleblend.train.modules import FinetuningModule
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.result import FinetuneResult
from dgl_moleblend.train.run import close_run, library_versions, open_run
from dgl_moleblend.train.start import Source, Start
from dgl_moleblend.train.tables import write_tables

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.pairs.loader import TrainingBatch

PRIOR = "mean_by_kind"
"""In metrics.json: scores of the mean of each kind of atom or bond, among the training molecules."""


class SiteModule(FinetuningModule):
    """Fit a predictor to how far the values of sites are from the means of their kinds; some may be missing.

    Parameters
    ----------
    model : SitePredictor
    config : TrainingConfig
    names : sequence of t str
    scale : sequence of t float
        Of these distances.
    """

    model: Any

    def __init__(
        self, model: SitePredictor, config: TrainingConfig, names: Sequence[str], scale: Sequence[float]
    ) -> None:
        scaling = LabelScaling((0.0,) * len(names), tuple(scale))
        super().__init__(model, config, "regression", names, scaling)  # type: ignore[arg-type]

    def training_step(self, batch: "TrainingBatch", batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch: the mean over its sites that have a value."""
        return self._step(batch, "train")[1]

    def validation_step(self, batch: "TrainingBatch", batch_idx: int) -> None:
        """Log the loss of a batch and keep its predictions."""
        output, _ = self._step(batch, "validation")
        begin = sum(map(len, self.scores.index))
        site = torch.arange(begin, begin + len(output), device=output.device)
        self.scores.update(site, self.scaling.restore(output.double()), batch.labels)

    def _step(self, batch: "TrainingBatch", stage: str) -> tuple[torch.Tensor, torch.Tensor]:
        output = self.model(batch.molecules.relations())
        loss = property_loss(output, batch.labels, "regression", self.scaling, None, self.config.loss)
        count = max(int((~batch.labels.isnan()).sum()), 1)
        self.log(f"{stage}/loss", loss, on_step=stage == "train", on_epoch=True, batch_size=count)
        return output, loss


@holds_its_folder
def finetune_sites(
    dataset: "MoleculeDataset",
    values: SiteValues,
    split: "Split | Mapping[str, Sequence[int] | np.ndarray]",
    out: str | PathLike[str],
    *,
    start: Source | Start | None = None,
    model: PredictorConfig | None = None,
    training: TrainingConfig | None = None,
    compute: Compute | None = None,
    by_kind: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> FinetuneResult:
    """Fit a network to values of atoms or bonds.

    Parameters
    ----------
    dataset : MoleculeDataset
    values : SiteValues
        Of its molecules.
    split, start, training, compute, resume, overwrite
        See `train.finetune.finetune`; one device trains, and validation scores are over sites.
    out : path
        Receives the model (config.json, model.safetensors), report.html, metrics.json, predictions.csv (a row for each
        held-out site), split.csv, rejects.csv, run.json, logs and pictures.
    model : PredictorConfig, optional
        Without a read-out.
    by_kind : bool
        Whether the network learns distances from the mean of the kind of each site, not from that of all.

    Returns
    -------
    FinetuneResult

    Raises
    ------
    DataError
        If values or split cannot be used, or `out` holds another run.
    CheckpointError
        If the start does not fit, or a resumed run had another plan.
    """
    out, start = Path(out), Start.of(start)
    start.keep_from(out)
    compute, model, config = compute or Compute(), model or PredictorConfig(), training or TrainingConfig()
    names, split = values.names, Split.of(split)
    parts = check_parts({name: np.asarray(split.parts.get(name, ()), np.int64) for name in PARTS})
    config = _checked(config, model, compute, len(names))
    assert config.metric is not None
    of_part = {name: values.take(part) for name, part in parts.items()}
    check_labels(values.values, "regression", names)
    check_presence(of_part["train"].values, of_part["validation"].values, names)
    prior = SitePrior.fit(of_part["train"], by_kind=by_kind)
    rest = values.replace_values(values.values - prior.of(values.kinds))
    settings = {"relations": model.relations, "dropout": model.dropout}
    plan = RunPlan.of(
        "finetuning", dataset, [parts], start=start, model=settings, training=config, compute=compute,
        tasks=tuple(Task(name, "regression") for name in names),
        objective={"level": values.level, "values": values.digest(), "by_kind": by_kind},
    )  # fmt: skip
    set_seeds(config.seed)
    predictor = SitePredictor(len(names), start.make_encoder(), level=values.level, **settings)  # type: ignore[arg-type]
    open_run(out, plan, resume=resume, overwrite=overwrite)
    done = fit(
        SiteModule(predictor, config, names, prior.scale),
        MoleculeData(dataset, parts, config, rest, workers=compute.workers),
        out,
        description="finetune",
        monitor=config.metric,
        resume=resume,
        compute=compute,
    )
    site_model = SiteModel(predictor, dataset.featurizer or FeaturizerConfig(), names, prior)
    found: dict[str, SiteValues] = {}
    metrics: dict[str, Any] = {"task_type": "regression", "level": values.level, "metric": config.metric,
                               "chosen_by": config.metric, **done}  # fmt: skip
    constant = SitePrior.fit(of_part["train"], by_kind=False)
    by_kinds = SitePrior.fit(of_part["train"])
    for name in PARTS[1:]:
        part = dataset.subset(parts[name])
        found[name] = site_model.predict(part, progress=compute.progress, accelerator=compute.accelerator)
        answers = {"": found[name].values, PRIOR: by_kinds.of(of_part[name].kinds),
                   "mean_predictor": constant.of(of_part[name].kinds)}  # fmt: skip
        for key, answer in answers.items():
            scores = score(answer, of_part[name].values, "regression", names, prior.scale)
            (metrics.setdefault(key, {}) if key else metrics)[name] = scores
    metrics["kinds"] = _by_kind(found, of_part, by_kinds)
    metrics["rows"] = {name: len(part) for name, part in parts.items()}
    metrics["values"] = {name: int((~np.isnan(part.values)).sum()) for name, part in of_part.items()}
    metrics |= split_facts(split.facts)
    site_model.save_pretrained(out, versions=library_versions(), metric=config.metric, facts=split.facts)
    write_json(out / METRICS_FILE, metrics)
    table = _tabulate(dataset, parts, of_part, found, prior)
    write_tables(out, dataset, table, parts)
    draw_curves(out, metrics)
    shown = table[table["split"] == (PARTS[2] if len(parts[PARTS[2]]) else PARTS[1])]
    answer, truth = (shown[[form(name) for name in names]].to_numpy(float) for form in (predicted, str))
    figures.save(figures.parity(answer, truth, names), out / PARITY_FILE)
    write_site_report(out)
    close_run(out)
    return FinetuneResult(out, metrics, table)


def _checked(config: TrainingConfig, model: PredictorConfig, compute: Compute, count: int) -> TrainingConfig:
    """Return the settings with metric and loss.

    Raises
    ------
    ConfigError
        If one cannot be.
    """
    metric = config.metric or shared_metrics("regression", count)[0]
    allowed = (*((SCALED,) if count > 1 else ("rmse", "mae")), "loss")
    check(metric in allowed, "metric", metric, f"one of {', '.join(allowed)}, of atoms and bonds")
    loss = config.loss or LOSSES["regression"][0]
    known = [name for name in LOSSES["regression"] if name not in OUTPUTS]
    check(loss in known, "loss", loss, f"{' or '.join(known)}: values are numbers")
    check(not config.task_weights, "task_weights", config.task_weights, "left out for values of atoms and bonds")
    check(not config.class_weights, "class_weights", True, "False: values are numbers")
    check(model.readout is None, "readout", model.readout, "left out: atoms and bonds are not read out")
    check(compute.devices == 1, "devices", compute.devices, "1 for values of atoms and bonds")
    return config.replace(metric=metric, loss=loss)


def _by_kind(
    found: Mapping[str, SiteValues], measured: Mapping[str, SiteValues], prior: SitePrior
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return the errors of each kind of site beside those of its mean: by part, name of the value, and kind."""
    result: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for part, answer in found.items():
        truth, mean = measured[part], prior.of(measured[part].kinds)
        result[part] = {name: {} for name in truth.names}
        for k, name in enumerate(truth.names):
            for kind in np.unique(truth.kinds).tolist():
                here = (truth.kinds == kind) & ~np.isnan(truth.values[:, k])
                if here.any():
                    off = answer.values[here, k] - truth.values[here, k]
                    far = mean[here, k] - truth.values[here, k]
                    result[part][name][kind] = {
                        "values": int(here.sum()), "rmse": float(np.sqrt(np.mean(off**2))),
                        "mae": float(np.abs(off).mean()), f"{PRIOR}_rmse": float(np.sqrt(np.mean(far**2))),
                        f"{PRIOR}_mae": float(np.abs(far).mean()),
                    }  # fmt: skip
    return result


def _tabulate(
    dataset: "MoleculeDataset",
    parts: Mapping[str, np.ndarray],
    measured: Mapping[str, SiteValues],
    found: Mapping[str, SiteValues],
    prior: SitePrior,
) -> pd.DataFrame:
    """Values beside predictions, a row for each held-out site; it is numbered as in the lists of `predict`."""
    tables = []
    for name, answer in found.items():
        part, truth = dataset.subset(parts[name]), measured[name]
        molecule = np.repeat(np.arange(len(part)), truth.counts)
        frame = pd.DataFrame({"row": part.rows, "id": part.ids, "smiles": part.smiles, "split": name})
        table = frame.iloc[molecule].reset_index(drop=True)
        if truth.level == "atom":
            number = [np.arange(count) for count in truth.counts.tolist()]
        else:
            number = [bond_order(sample.molecule) for sample in part]
        table[truth.level] = np.concatenate([np.empty(0, np.int64), *number])
        table["kind"] = truth.kinds
        for k, task in enumerate(truth.names):
            told = prior.knows(truth.kinds)[:, k] | ~np.isnan(truth.values[:, k])  # else `predict` has none, either
            table[task], table[predicted(task)] = truth.values[:, k], np.where(told, answer.values[:, k], np.nan)
        tables.append(table.sort_values(["row", truth.level], kind="stable"))
    return pd.concat(tables).sort_values("row", kind="stable", ignore_index=True)
