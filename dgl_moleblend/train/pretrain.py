"""Pretrain a model by blend-then-predict: what it is given, what it leaves in its folder."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from lightning.pytorch import Callback

from dgl_moleblend.config import BlendConfig, EncoderConfig, TrainingConfig, check
from dgl_moleblend.errors import DataError
from dgl_moleblend.models.pretraining import BlendPretraining
from dgl_moleblend.report import figures
from dgl_moleblend.report.results import read_curves
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import (
    MoleculeData,
    close_run,
    fit,
    is_first_process,
    library_versions,
    open_run,
    set_seeds,
)
from dgl_moleblend.train.modules import PretrainingModule
from dgl_moleblend.train.plan import describe_data
from dgl_moleblend.train.start import describe_start, keep_start, make_encoder

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.molecule_targets import MoleculeTargets


@holds_its_folder
def pretrain(
    dataset: "MoleculeDataset",
    out: str | PathLike[str],
    *,
    encoder: EncoderConfig | str | PathLike[str] | None = None,
    blend_config: BlendConfig | None = None,
    targets: "MoleculeTargets | None" = None,
    training_config: TrainingConfig | None = None,
    validation: float = 0.05,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    accelerator: str = "auto",
    devices: int | str = 1,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Pretrain by blend-then-predict.

    Parameters
    ----------
    dataset : MoleculeDataset
        Labels are not used. Molecules without positions take part with their 2D relations.
    out : path
        Receives config.json and model.safetensors (`BlendPretraining.from_pretrained`, and the `encoder` of
        `finetune`), run.json, logs and a picture of the losses.
    encoder : EncoderConfig or path, optional
        Size of a fresh encoder, or the folder of a model whose encoder to start from. By default
        ``EncoderConfig.small()``.
    blend_config : BlendConfig, optional
    targets : MoleculeTargets, optional
        What the graph token is to tell of every molecule of `dataset`: descriptors, measured labels.
    training_config : TrainingConfig, optional
    validation : float
        Share of the molecules, drawn with the seed, whose loss chooses the weights that are kept; 0 for none, and the
        last weights.
    resume, overwrite : bool
        Go on with the run in `out`, or delete it.
    progress : bool
        Whether there is a progress bar.
    accelerator, devices
        As for Lightning's Trainer.
    callbacks : sequence of Callback
        Further Lightning callbacks.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    DataError
        If there are too few molecules, or `out` holds another run.
    CheckpointError
        If the model to start from does not fit, or a resumed run had other settings.
    """
    out = Path(out)
    encoder = encoder or EncoderConfig.small()
    keep_start(out, encoder)
    blend_config, training_config = blend_config or BlendConfig(), training_config or TrainingConfig()
    check(0 <= validation < 1, "validation", validation, "at least 0 and below 1")
    if targets is not None and len(targets) != len(dataset):
        raise DataError(f"there are targets of {len(targets)} molecules and a data set of {len(dataset)}",
                        fix="make targets of these very molecules, in their order")  # fmt: skip
    order = np.random.default_rng(training_config.seed).permutation(len(dataset))
    held_out = int(np.ceil(validation * len(dataset)))
    if len(dataset) - held_out < 1:
        raise DataError(
            f"{len(dataset)} molecules are too few to train on", fix="give more, or a smaller validation share"
        )
    settings = {
        "encoder": describe_start(encoder),
        "blend": blend_config.to_dict(),
        "training": training_config.to_dict(),
        "validation": validation,
        **describe_data(dataset),
    }
    if targets is not None:
        settings["targets"] = targets.digest()
    set_seeds(training_config.seed)
    model = BlendPretraining(make_encoder(encoder), blend_config, None if targets is None else targets.describe())
    open_run(out, settings, resume=resume, overwrite=overwrite)
    fit(
        PretrainingModule(model, training_config),
        MoleculeData(dataset, {"train": order[held_out:], "validation": order[:held_out]}, training_config, targets),
        out,
        description="pretrain",
        monitor="loss" if held_out else None,
        resume=resume,
        progress=progress,
        accelerator=accelerator,
        devices=devices,
        callbacks=callbacks,
    )
    if is_first_process():
        extra: dict[str, object] = {"versions": library_versions()}
        if dataset.featurizer is not None:
            extra["featurizer"] = dataset.featurizer.to_dict()
        model.save_pretrained(out, extra)
        figures.save(figures.loss_curves(read_curves(out)), out / "curves.png")
        close_run(out)
    return out
