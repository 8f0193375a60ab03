"""Pretrain a model by blend-then-predict: what it is given, what it leaves in its folder."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgl_moleblend.config import BlendConfig, TrainingConfig, check
from dgl_moleblend.env.processes import is_first_process
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import CURVES_FILE
from dgl_moleblend.models.pretraining import BlendPretraining
from dgl_moleblend.report import figures
from dgl_moleblend.report.results import read_curves
from dgl_moleblend.request import Compute
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import MoleculeData, fit, set_seeds
from dgl_moleblend.train.modules import PretrainingModule
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.run import close_run, library_versions, open_run
from dgl_moleblend.train.start import Source, Start

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.molecule_targets import MoleculeTargets


@holds_its_folder
def pretrain(
    dataset: "MoleculeDataset",
    out: str | PathLike[str],
    *,
    start: Source | Start | None = None,
    blend: BlendConfig | None = None,
    targets: "MoleculeTargets | None" = None,
    validation: float = 0.05,
    training: TrainingConfig | None = None,
    compute: Compute | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Pretrain by blend-then-predict.

    Parameters
    ----------
    dataset : MoleculeDataset
        Labels are not used. Molecules without positions take part with their 2D relations.
    out : path
        Receives config.json and model.safetensors (`BlendPretraining.from_pretrained`, and the `start` of `finetune`),
        run.json, logs and a picture of the losses.
    start : EncoderConfig, path or name, optional
        Size of a fresh encoder, or a model whose encoder to start from. By default ``EncoderConfig.small()``.
    blend : BlendConfig, optional
    targets : MoleculeTargets, optional
        What the graph token is to tell of every molecule of `dataset`: descriptors, measured labels.
    validation : float
        Share of the molecules, drawn with the seed, whose loss chooses the weights that are kept; 0 for none, and the
        last weights.
    training : TrainingConfig, optional
    compute : Compute, optional
    resume, overwrite : bool
        Go on with the run in `out`, or delete it. A finished run whose learning rate stays
        (``TrainingConfig(schedule="constant")``) goes on with more epochs.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    DataError
        If there are too few molecules, or `out` holds another run.
    CheckpointError
        If the model to start from does not fit, or a resumed run had another plan.
    """
    out, start = Path(out), Start.of(start)
    start.keep_from(out)
    blend, training, compute = blend or BlendConfig(), training or TrainingConfig(), compute or Compute()
    check(0 <= validation < 1, "validation", validation, "at least 0 and below 1")
    check(training.loss is None, "loss", training.loss, "left out: it is of fine-tuning")
    if targets is not None and len(targets) != len(dataset):
        raise DataError(f"there are targets of {len(targets)} molecules and a data set of {len(dataset)}",
                        fix="make targets of these very molecules, in their order")  # fmt: skip
    order = np.random.default_rng(training.seed).permutation(len(dataset))
    held_out = int(np.ceil(validation * len(dataset)))
    if len(dataset) - held_out < 1:
        raise DataError(
            f"{len(dataset)} molecules are too few to train on", fix="give more, or a smaller validation share"
        )
    objective = {**blend.to_dict(), "validation": validation, "targets": None if targets is None else targets.digest()}
    plan = RunPlan.of("pretraining", dataset, start=start, objective=objective, training=training, compute=compute)
    set_seeds(training.seed)
    model = BlendPretraining(start.make_encoder(), blend, None if targets is None else targets.describe())
    open_run(out, plan, resume=resume, overwrite=overwrite)
    parts = {"train": order[held_out:], "validation": order[:held_out]}
    fit(
        PretrainingModule(model, training),
        MoleculeData(dataset, parts, training, targets, workers=compute.workers),
        out,
        description="pretrain",
        monitor="loss" if held_out else None,
        resume=resume,
        compute=compute,
    )
    if is_first_process():
        extra: dict[str, object] = {"versions": library_versions()}
        if dataset.featurizer is not None:
            extra["featurizer"] = dataset.featurizer.to_dict()
        model.save_pretrained(out, extra)
        figures.save(figures.loss_curves(read_curves(out)), out / CURVES_FILE)
        close_run(out)
    return out
