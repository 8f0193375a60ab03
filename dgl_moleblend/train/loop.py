"""Training: batches, logs and checkpoints, how a run is resumed, and which weights it keeps."""

import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, WeightAveraging
from torch.utils.data import DataLoader

from dgl_moleblend.config import TrainingConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.molecule_targets import MoleculeTargets
from dgl_moleblend.data.sites import SiteValues
from dgl_moleblend.env.processes import is_first_process
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.files import CHECKPOINTS
from dgl_moleblend.models.scores import LOWER_IS_BETTER
from dgl_moleblend.pairs.loader import TrainingBatch, make_loader
from dgl_moleblend.progress import RunProgress, quiet_lightning
from dgl_moleblend.request import Compute
from dgl_moleblend.train.loggers import close, make_loggers
from dgl_moleblend.train.modules import TrainingModule
from dgl_moleblend.train.run import LAST

SAVE_EVERY = timedelta(minutes=10)
"""A run that is interrupted within an epoch loses at most so much."""
_FIX_CHECKPOINT = (
    "delete it, and --resume (resume=True) begins the run from its start; or begin anew with --overwrite"
    " (overwrite=True)"
)
ATOMS_EACH = 64
"""A batch has room for so many atoms in each of its molecules; of larger ones it holds fewer."""


class MoleculeData(LightningDataModule):
    """The loaders of a run: training rows shuffled and bucketed by size, validation rows in a fixed order.

    Memory is bounded: a batch holds ``batch_size`` molecules, or fewer where these have more than 64 atoms each, so
    that it never has more than ``batch_size * 64**2`` pairs (a single molecule with more is a batch of its own). Each
    batch is an optimiser step of the mean loss over its molecules; a large molecule thus weighs more than a small one.

    Parameters
    ----------
    dataset : MoleculeDataset
    split : mapping of "train" and "validation" to indices into it
        Validation may be empty.
    config : TrainingConfig
    targets : MoleculeTargets or SiteValues, optional
        Of the data set's molecules, in the place of its labels.
    workers : int
        Processes that load batches.
    """

    def __init__(
        self,
        dataset: MoleculeDataset,
        split: Mapping[str, np.ndarray],
        config: TrainingConfig,
        targets: MoleculeTargets | SiteValues | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.workers = workers
        self._targets = {
            name: None if targets is None else targets.take(split[name]) for name in ("train", "validation")
        }
        self.train, self.validation = (dataset.subset(split[name]) for name in ("train", "validation"))
        self.config = config
        self._train_loader: ResumableLoader | None = None
        self._begin = 0

    def state_dict(self) -> dict[str, int]:
        """How far the epoch is; Lightning keeps it in a run's checkpoints."""
        return {"handed_out": self._train_loader.handed_out if self._train_loader is not None else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begin where a run was interrupted."""
        self._begin = state_dict["handed_out"]

    def train_dataloader(self) -> "ResumableLoader":
        """Return the loader of the training rows."""
        loader = self._loader(self.train, shuffle=True, seed=self.config.seed, targets=self._targets["train"])
        self._train_loader = ResumableLoader(loader, self._begin)
        return self._train_loader

    def val_dataloader(self) -> Iterable[TrainingBatch]:
        """Return the loader of the validation rows."""
        if not len(self.validation):
            return []
        return self._loader(self.validation, bucket=True, targets=self._targets["validation"])

    def transfer_batch_to_device(
        self, batch: TrainingBatch, device: torch.device, dataloader_idx: int
    ) -> TrainingBatch:
        """Copy the compact arrays; relations are made from them on the device."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def _loader(self, dataset: MoleculeDataset, **settings: Any) -> DataLoader[TrainingBatch]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        settings |= {"num_workers": self.workers, "pin_memory": on_gpu}
        settings["max_pairs"] = self.config.batch_size * ATOMS_EACH**2
        return make_loader(dataset, self.config.batch_size, **settings)


class MovingAverage(WeightAveraging):
    """Average the weights over the steps, the latest counting most.

    Parameters
    ----------
    reach : float
        Share of all steps that the average reaches back.
    """

    def __init__(self, reach: float) -> None:
        super().__init__(avg_fn=self._average, use_buffers=False)
        self.reach = reach
        self._share = 1.0

    def _average(self, average: torch.Tensor, current: torch.Tensor, count: Any) -> torch.Tensor:
        return average.lerp(current, max(self._share, 1.0 / (float(count) + 1)))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out how many steps there will be."""
        self._share = 1.0 / max(self.reach * int(trainer.estimated_stepping_batches), 1.0)


class Patience(EarlyStopping):
    """Stops after some epochs without a better score; a resumed run has the patience that it asks for now."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    @staticmethod
    def is_over(state: dict[str, Any], patience: int) -> bool:
        """Whether a checkpoint was written when its run had waited that long."""
        waits = [one["wait_count"] for one in state["callbacks"].values() if "wait_count" in one]
        return bool(patience) and any(waited >= patience for waited in waits)


class ResumableLoader:
    """A loader that can begin in the middle of an epoch, and knows how far it is.

    Parameters
    ----------
    loader : DataLoader
        Whose sampler has a plan of batches.
    begin : int
        Batches of the first pass that are left out.

    Attributes
    ----------
    handed_out : int
        Batches of this epoch that were handed out or left out.
    """

    def __init__(self, loader: DataLoader[TrainingBatch], begin: int = 0) -> None:
        self.loader = loader
        self.handed_out = 0
        self._begin = begin % max(len(loader), 1)  # a state saved at the end of an epoch begins the next

    @property
    def sampler(self) -> Any:
        """The sampler, whose epoch Lightning sets."""
        return self.loader.sampler

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TrainingBatch]:
        self.sampler.begin = self.handed_out = self._begin
        self._begin = 0
        for batch in self.loader:
            self.handed_out += 1
            yield batch


def fit(
    module: TrainingModule,
    data: LightningDataModule,
    out: Path,
    *,
    description: str,
    monitor: str | None,
    resume: bool = False,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Train, and leave the module with its best weights (by `monitor`) or, without one, with its last.

    `out` receives ``logs/`` (a CSV file for each start of the run, and what `compute.logger` leaves there) and
    ``checkpoints/`` (``last.ckpt`` to resume from, ``best.ckpt``).

    Parameters
    ----------
    module : TrainingModule
    data : LightningDataModule
    out : Path
    description : str
        Stands before the progress bar.
    monitor : str or None
        Score of the validation rows that chooses the best weights and stops early, such as "rmse" or "loss".
    resume : bool
        Go on from ``checkpoints/last.ckpt``, or from the start where the run had not come to write one.
    compute : Compute, optional

    Returns
    -------
    dict
        "epochs" and "steps" done, and "best": the best score, or None without `monitor`.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, with the checkpoints in place.
    """
    config, compute = module.config, compute or Compute()
    mode = "min" if monitor in LOWER_IS_BETTER else "max"
    saved = ModelCheckpoint(
        dirpath=out / CHECKPOINTS,
        filename="best",
        monitor=f"validation/{monitor}" if monitor else None,
        mode=mode,
        save_last=monitor is None,
        enable_version_counter=False,
    )
    # where a score chooses, Lightning writes the last epoch only if it is the best: it has a callback of its own
    every_epoch = [ModelCheckpoint(out / CHECKPOINTS, "last", enable_version_counter=False)] if monitor else []
    within_epochs = ModelCheckpoint(
        dirpath=out / CHECKPOINTS, filename="last", train_time_interval=SAVE_EVERY, enable_version_counter=False
    )
    callbacks: list[Callback] = [saved, *every_epoch, within_epochs, LearningRateMonitor("step"), *compute.callbacks]
    if monitor and config.patience:
        callbacks.append(Patience(f"validation/{monitor}", mode=mode, patience=config.patience))
    if compute.progress:
        shown = f"validation/{monitor}" if monitor else "train/loss"
        callbacks.append(RunProgress(description, shown, lower_is_better=mode == "min" or not monitor))
    if config.averaging:
        callbacks.append(MovingAverage(config.averaging))
    last = out / CHECKPOINTS / LAST
    start = last if resume and last.exists() else None
    state = None if start is None else read_checkpoint(start)  # what is wrong with it is said in words
    if state is not None and monitor and Patience.is_over(state, config.patience):
        warnings.warn(f"the run had ended by its patience of {config.patience} epochs, as it would with more epochs; "
                      "ask for more patience for it to go on", stacklevel=2)  # fmt: skip
        return _take_up(module, out, state)
    with quiet_lightning():
        loggers = make_loggers(compute.logger, out, config.to_dict())
        trainer = Trainer(
            default_root_dir=out,
            accelerator="gpu" if compute.accelerator == "cuda" else compute.accelerator,
            devices=compute.devices,
            strategy="auto" if compute.devices == 1 else module.parallel,
            precision=compute.precision,  # type: ignore[arg-type]
            max_epochs=config.max_epochs,
            max_steps=config.max_steps,
            # an epoch that the steps do not fill ends with them: it is validated and saved, as any is
            limit_train_batches=config.max_steps if config.max_steps > 0 else None,
            gradient_clip_val=config.clip_norm or None,
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            logger=loggers,
            callbacks=callbacks,
            enable_progress_bar=compute.progress,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the loader shares molecules out by their sizes
        )
        module.train()
        try:
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
        finally:
            close(loggers)
    best = None
    if saved.best_model_score is not None and config.keep == "best" and is_first_process():  # the others write nothing
        kept = read_checkpoint(out / CHECKPOINTS / "best.ckpt")
        module.load_state_dict(kept["state_dict"])
        best = float(saved.best_model_score)
    return {"epochs": trainer.current_epoch, "steps": trainer.global_step, "best": best}


def _take_up(module: TrainingModule, out: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Return what a run gave that has nothing left to train, and its weights to the module."""
    scores = [one["best_model_score"] for name, one in state["callbacks"].items() if "best_model_score" in one]
    best = next((float(score) for score in scores if score is not None), None)
    kept = read_checkpoint(out / CHECKPOINTS / "best.ckpt") if module.config.keep == "best" else state
    module.load_state_dict(kept["state_dict"])
    done = {"epochs": state["epoch"] + 1, "steps": state["global_step"]}
    return {**done, "best": best if module.config.keep == "best" else None}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, which holds tensors and plain values alone.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"state_dict", "loops", "optimizer_states"} - found.keys()
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, AttributeError, ValueError, KeyError) as error:
        why = str(error).splitlines()[0] if str(error) else "it is empty"
        raise CheckpointError(f"the checkpoint cannot be read: {why}", where=str(path), fix=_FIX_CHECKPOINT) from error
    if missing:
        raise CheckpointError(
            f"the checkpoint lacks {', '.join(sorted(missing))}", where=str(path), fix=_FIX_CHECKPOINT
        )
    return found  # type: ignore[no-any-return]


def set_seeds(seed: int) -> None:
    """Seed Python, NumPy, torch and the workers that load batches."""
    with quiet_lightning():
        seed_everything(seed, workers=True, verbose=False)
