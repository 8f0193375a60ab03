"""One training run in one folder: its settings, logs and checkpoints, how it is resumed, and which weights it keeps."""

import json
import pickle
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader

from dgl_moleblend.config import TrainingConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.molecule_targets import MoleculeTargets
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.folder import (
    CHECKPOINTS,
    CONFIG_FILE,
    LOGS,
    RESULTS,
    RUN_FILE,
    read_json,
    write_atomically,
    write_json,
)
from dgl_moleblend.models.targets import LOWER_IS_BETTER
from dgl_moleblend.pairs.loader import TrainingBatch, make_loader
from dgl_moleblend.progress import RunProgress, quiet_lightning
from dgl_moleblend.train.lock import hold
from dgl_moleblend.train.modules import TrainingModule
from dgl_moleblend.train.plan import check_plan

SAVE_EVERY = timedelta(minutes=10)
"""A run that is interrupted within an epoch loses at most so much."""
_FIX_CHECKPOINT = "delete it, and --resume begins the run from its start; or begin anew with --overwrite"
_PACKAGES = ("dgl-moleblend", "torch", "dgl", "dgllife", "rdkit", "lightning", "numpy", "pandas")


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
    targets : MoleculeTargets, optional
        Of the data set's molecules, in the place of its labels.
    """

    def __init__(
        self,
        dataset: MoleculeDataset,
        split: Mapping[str, np.ndarray],
        config: TrainingConfig,
        targets: MoleculeTargets | None = None,
    ) -> None:
        super().__init__()
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
        settings |= {"num_workers": self.config.num_workers, "pin_memory": on_gpu}
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


def open_run(
    out: Path, settings: dict[str, Any], *, resume: bool = False, overwrite: bool = False, extend: bool = False
) -> None:
    """Make the folder of a run and write down its settings, or check that a run that is resumed has the same.

    Parameters
    ----------
    out : Path
    settings : dict
        Whatever decides the result; values that JSON can hold.
    resume, overwrite : bool
        What to do with a run that is there: go on with it, or delete it. Files that are not a run's stay.
    extend : bool
        A run that is finished may be resumed, too.

    Raises
    ------
    DataError
        If there is a run and it is neither resumed nor overwritten, or one to be resumed is missing or finished.
    CheckpointError
        If a run is resumed with other settings, which the message names, or run.json is damaged.
    """
    if not is_first_process():
        return
    if out.exists() and not out.is_dir():
        raise DataError("this is a file", where=str(out), fix="name a folder for the results")
    file = out / RUN_FILE
    settings = json.loads(json.dumps(settings))
    if out.is_dir() or not resume:
        out.mkdir(parents=True, exist_ok=True)
        hold(out)
    if file.exists() and overwrite and not resume:
        delete_run(out)
    if file.exists():
        run = read_run(out)
        if not resume:
            raise DataError(
                "the folder already holds a " + ("finished run" if run["finished"] else "run that did not finish"),
                where=str(out),
                fix="choose another folder, or pass --overwrite" + ("" if run["finished"] else " or --resume"),
            )
        if run["finished"] and not extend:
            raise DataError("the run is finished; there is nothing to resume", where=str(out),
                            fix="start another run from its weights")  # fmt: skip
        check_plan(run["settings"], settings, str(file))
    elif resume:
        raise DataError("there is no run to resume", where=str(out), fix="leave out --resume to start one")
    elif (out / CONFIG_FILE).exists() and not overwrite:
        raise DataError("the folder already holds a model", where=str(out), fix="choose another folder, or --overwrite")
    _write_run(out, settings, finished=False)


def delete_run(out: Path) -> None:
    """Delete the files that a run left in a folder; others stay."""
    for folder in (CHECKPOINTS, LOGS):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in reversed(RESULTS):  # run.json last: without it, what is left would be nobody's
        (out / name).unlink(missing_ok=True)


def close_run(out: Path) -> None:
    """Write down that the run is finished, and delete its checkpoints: the model's weights are saved by now."""
    settings = read_run(out)["settings"]
    _write_run(out, settings, finished=True)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def is_finished(out: Path) -> bool | None:
    """Whether the run in a folder is finished; None where there is no run."""
    return bool(read_run(out)["finished"]) if (out / RUN_FILE).exists() else None


def read_run(out: Path) -> dict[str, Any]:
    """Read run.json.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    return read_json(out / RUN_FILE, ("settings", "finished"))


def _write_run(out: Path, settings: dict[str, Any], *, finished: bool) -> None:
    write_json(out / RUN_FILE, {"settings": settings, "versions": library_versions(), "finished": finished})


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file, whole or not at all."""
    write_atomically(path, lambda temporary: table.to_csv(temporary, index=False))


def library_versions() -> dict[str, str]:
    """Versions of Python and of those packages that results depend on and that are there: training needs no RDKit."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def is_first_process() -> bool:
    """Whether this process writes the files of a run; of those of a parallel run, one does."""
    return not getattr(rank_zero_only, "rank", 0)


def fit(
    module: TrainingModule,
    data: LightningDataModule,
    out: Path,
    *,
    description: str,
    monitor: str | None,
    resume: bool = False,
    progress: bool = True,
    accelerator: str = "auto",
    devices: int | str = 1,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Train, and leave the module with its best weights (by `monitor`) or, without one, with its last.

    `out` receives ``logs/`` (a CSV file for each start of the run) and ``checkpoints/`` (``last.ckpt`` to resume from,
    ``best.ckpt``).

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
    progress : bool
        Whether there is a progress bar.
    accelerator, devices
        As for Lightning's Trainer.
    callbacks : sequence of Callback
        Further callbacks.

    Returns
    -------
    dict
        "epochs" and "steps" done, and "best": the best score, or None without `monitor`.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, with the checkpoints in place.
    """
    config = module.config
    mode = "min" if monitor in LOWER_IS_BETTER else "max"
    saved = ModelCheckpoint(
        dirpath=out / CHECKPOINTS,
        filename="best",
        monitor=f"validation/{monitor}" if monitor else None,
        mode=mode,
        save_last=True,
        enable_version_counter=False,
    )
    within_epochs = ModelCheckpoint(
        dirpath=out / CHECKPOINTS, filename="last", train_time_interval=SAVE_EVERY, enable_version_counter=False
    )
    callbacks = [saved, within_epochs, LearningRateMonitor("step"), *callbacks]
    if monitor and config.patience:
        callbacks.append(EarlyStopping(f"validation/{monitor}", mode=mode, patience=config.patience))
    if progress:
        callbacks.append(RunProgress(description))
    if config.averaging:
        callbacks.append(MovingAverage(config.averaging))
    last = out / CHECKPOINTS / "last.ckpt"
    with quiet_lightning():
        trainer = Trainer(
            default_root_dir=out,
            accelerator=accelerator,
            devices=devices,
            precision=config.precision,  # type: ignore[arg-type]
            max_epochs=config.max_epochs,
            max_steps=config.max_steps,
            # an epoch that the steps do not fill ends with them: it is validated and saved, as any is
            limit_train_batches=config.max_steps if config.max_steps > 0 else None,
            gradient_clip_val=config.clip_norm or None,
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            logger=CSVLogger(out, LOGS),
            callbacks=callbacks,
            enable_progress_bar=progress,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the loader shares molecules out by their sizes
        )
        module.train()
        start = last if resume and last.exists() else None
        if start is not None:
            read_checkpoint(start)  # what is wrong with it is said in words
        try:
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
    best = None
    if saved.best_model_score is not None and config.keep == "best":
        kept = read_checkpoint(Path(saved.best_model_path))
        module.load_state_dict(kept["state_dict"])
        best = float(saved.best_model_score)
    return {"epochs": trainer.current_epoch, "steps": trainer.global_step, "best": best}


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
