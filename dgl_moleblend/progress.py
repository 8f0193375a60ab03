"""One progress bar for a whole run, on stderr: results and pipes have stdout to themselves; Lightning is quiet."""

import logging
import sys
import warnings
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm.auto import tqdm


class RunProgress(ProgressBar):
    """Optimiser steps of the whole run while training, with the latest value of the score that matters, and the best.

    Where stderr is no terminal a line is written every few seconds only.

    Parameters
    ----------
    description : str
        What stands before the bar.
    score : str
        Which of the values that the module logs is shown, such as "validation/rmse".
    lower_is_better : bool
    """

    def __init__(self, description: str, score: str, *, lower_is_better: bool) -> None:
        super().__init__()
        self.description = description
        self.score = score
        self._name = score.removeprefix("validation/").removesuffix("_epoch")
        self._better = min if lower_is_better else max
        self._best: float | None = None
        self._bar: tqdm | None = None
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls this on every process but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar, at the step that a resumed run starts from."""
        self._bar = tqdm(
            desc=self.description,
            total=int(trainer.estimated_stepping_batches),
            initial=trainer.global_step,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            file=sys.stderr,
            disable=not self._enabled,
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 10.0,
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self._bar is not None and self._enabled:
            self._bar.update(trainer.global_step - self._bar.n)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch's score."""
        if self._bar is not None and self._enabled and self.score in trainer.callback_metrics:
            now = float(trainer.callback_metrics[self.score])
            self._best = now if self._best is None else self._better(self._best, now)
            text = f"{self._name} {now:.3g}, best {self._best:.3g}"
            self._bar.set_postfix_str(text, refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar; of a run that ended by its patience it says so, as it stands before its end."""
        if self._bar is not None and trainer.should_stop and self._bar.n < (self._bar.total or 0):
            self._bar.bar_format = (
                f"{{desc}}: stopped early after epoch {trainer.current_epoch} [{{elapsed}}{{postfix}}]"
            )
            if self._best is not None:
                self._bar.set_postfix_str(f"best {self._name} {self._best:.3g}", refresh=False)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that a message starts on a line of its own."""
        self._close()


class quiet_lightning(warnings.catch_warnings):  # noqa: N801 - used as a function
    """Silence Lightning's reports on devices and its advice on loaders; its errors and other warnings stay."""

    def __enter__(self) -> None:  # type: ignore[override]
        super().__enter__()
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # MoleculeData sees to it
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", message="Total length of .* across ranks is zero.*")  # no validation rows
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*")
        self._loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.WARNING)

    def __exit__(self, *error: Any) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
        super().__exit__(*error)
