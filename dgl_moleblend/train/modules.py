"""Lightning modules around BlendPretraining and MoleBlendPredictor: optimiser, schedule, seeds, metrics, resume."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from dgl_moleblend.config import TrainingConfig
from dgl_moleblend.errors import MoleBlendError
from dgl_moleblend.models.losses import property_loss
from dgl_moleblend.models.scores import score
from dgl_moleblend.models.targets import LabelScaling, to_prediction
from dgl_moleblend.nn.blend import draw_blend, draw_noise

if TYPE_CHECKING:
    from dgl_moleblend.models.predictor import MoleBlendPredictor
    from dgl_moleblend.models.pretraining import BlendPretraining
    from dgl_moleblend.pairs.loader import TrainingBatch

_TRAIN, _VALIDATION = 0, 1


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """Return the share of the peak learning rate at a step: linear growth, then a cosine to 0.

    Examples
    --------
    >>> [round(warmup_cosine(step, 2, 6), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def derive_seed(*numbers: int) -> int:
    """Return a seed that depends on every number, and whose streams are independent.

    Examples
    --------
    >>> derive_seed(0, 1) == derive_seed(0, 1), derive_seed(0, 1) == derive_seed(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class TrainingModule(LightningModule):
    """What both kinds of training share: optimiser, schedule, and randomness that a resumed run repeats.

    Every training step starts from a seed made of (seed, rank, epoch, batch): each process and epoch draws its own
    dropout, blend and noise, and a run that was interrupted draws what it would have drawn.
    """

    parallel = "ddp"
    """How several devices work together, as Lightning names it."""

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.config = config

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam (0.9, 0.999, 1e-8) with decoupled weight decay; the learning rate moves at every step."""
        optimizer = torch.optim.AdamW(
            self.parameter_groups(),
            lr=self.config.learning_rate,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=self.config.weight_decay,
            fused=True if self._may_fuse() else None,
        )
        total = int(self.trainer.estimated_stepping_batches)
        schedules = [self._schedule(group.get("waits", 0.0), total) for group in optimizer.param_groups]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, schedules)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _may_fuse(self) -> bool:
        """Whether one kernel can update all weights, in a quarter of the time.

        Lightning clips no gradients beside it in mixed precision, and torch has it for CPUs from 2.4 on.
        """
        has_kernel = torch.__version__ >= "2.4" or self.device.type == "cuda"  # compares numbers, not letters
        return self.trainer.precision == "32-true" and has_kernel

    def _schedule(self, waits: float, total: int) -> Callable[[int], float]:
        """Return the learning rate's course for weights that learn nothing in a first share of the steps."""
        if self.config.schedule == "constant":
            first = max(round(self.config.warmup * float(self.trainer.num_training_batches)), 1)  # of the first epoch
            return lambda step: min((step + 1) / first, 1.0)
        start = round(waits * total)
        warmup = round(self.config.warmup * (total - start))
        return lambda step: 0.0 if step < start else warmup_cosine(step - start, warmup, total - start)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what learns, in groups of one learning rate each; "waits" is the share of steps before one begins."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def on_train_batch_start(self, batch: "TrainingBatch", batch_idx: int) -> None:
        """Seed this step."""
        torch.manual_seed(self._seed(_TRAIN, self.current_epoch, batch_idx))

    def _seed(self, stage: int, epoch: int, batch_idx: int) -> int:
        return derive_seed(self.config.seed, self.global_rank, stage, epoch, batch_idx)


class PretrainingModule(TrainingModule):
    """Blend-then-predict, one optimiser step a batch.

    Validation shows every epoch the same blend and noise, so that its losses can be compared.

    Parameters
    ----------
    model : BlendPretraining
        Its `blend_config` says what is drawn.
    config : TrainingConfig
    """

    def __init__(self, model: "BlendPretraining", config: TrainingConfig) -> None:
        super().__init__(config)
        self.model = model

    def training_step(self, batch: "TrainingBatch", batch_idx: int) -> Tensor:
        """Return the loss of a batch and log the four objectives."""
        return self._step(batch, "train", self._seed(_TRAIN, self.current_epoch, batch_idx))

    def validation_step(self, batch: "TrainingBatch", batch_idx: int) -> None:
        """Log the loss of a batch and its four objectives."""
        self._step(batch, "validation", self._seed(_VALIDATION, 0, batch_idx))

    def _step(self, batch: "TrainingBatch", stage: str, seed: int) -> Tensor:
        relations = batch.molecules.relations()
        generator = Generator(self.device).manual_seed(seed)
        config = self.model.blend_config
        blend = draw_blend(relations, config.ratio, config.atom_ratio, generator, config.whole)
        noise = draw_noise(relations, config.noise_scale, generator)
        targets = batch.labels if self.model.molecule_columns else None
        output = self.model(relations, blend=blend, noise=noise, targets=targets)
        training = stage == "train"
        settings: dict[str, Any] = {"batch_size": relations.num_molecules, "on_epoch": True, "sync_dist": True}
        self.log(f"{stage}/loss", output.loss, on_step=training, **settings)
        self.log_dict({f"{stage}/{k}": v for k, v in output.losses.items()}, on_step=False, **settings)
        return output.loss  # type: ignore[no-any-return]


class PropertyScores(Metric):
    """Collects predictions and labels of an epoch, from every process, and scores them at its end."""

    full_state_update = False
    index: list[Tensor]
    prediction: list[Tensor]
    labels: list[Tensor]

    def __init__(self, task_type: str, names: Sequence[str], scale: Sequence[float] | None = None) -> None:
        super().__init__()
        self.scale = scale
        self.task_type = task_type
        self.names = list(names)
        self.add_state("index", default=[], dist_reduce_fx="cat")
        self.add_state("prediction", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, prediction: Tensor, labels: Tensor) -> None:
        """Add a batch: (b,) rows, (b, t) predictions in the unit of the target or probabilities, (b, t) labels."""
        self.index.append(index)
        self.prediction.append(prediction.double())
        self.labels.append(labels.double())

    def compute(self) -> dict[str, Any]:
        """Score everything added; see `dgl_moleblend.models.scores.score`."""
        index, prediction, labels = (dim_zero_cat(x).cpu().numpy() for x in (self.index, self.prediction, self.labels))
        _, once = np.unique(index, return_index=True)  # processes repeat batches, so that each has as many
        return score(prediction[once], labels[once], self.task_type, self.names, self.scale)


class FinetuningModule(TrainingModule):
    """Fit a predictor to labels, some of which may be missing, and score it on validation rows.

    Parameters
    ----------
    model : MoleBlendPredictor
    config : TrainingConfig
    task_type : {"regression", "classification"}
    names : sequence of t str
        Names of the targets.
    scaling : LabelScaling
        Of the training rows alone.
    pos_weight : sequence of t floats, optional
        Weight of class 1 of each task, from the training rows alone.
    keep_states : bool
        Keep the states that the read-out needs of a frozen encoder from the first epoch on: later ones train the head
        alone. For molecules of one conformer, or none.
    importance : ndarray, shape (training rows, t), optional
        What each training label counts for; see `losses.label_importance`. Validation is not weighted.
    """

    parallel = "ddp_find_unused_parameters_true"  # of relations that no molecule has, say

    def __init__(
        self,
        model: "MoleBlendPredictor",
        config: TrainingConfig,
        task_type: str,
        names: Sequence[str],
        scaling: LabelScaling,
        pos_weight: Sequence[float] | None = None,
        keep_states: bool = False,
        importance: np.ndarray | None = None,
    ) -> None:
        super().__init__(config)
        self.model = model
        self._states: dict[str, dict[int, tuple[Tensor, Tensor]]] | None = None
        if keep_states:
            self._states = {"train": {}, "validation": {}}
        self.task_type = task_type
        self.scaling = scaling
        self.pos_weight = pos_weight
        self._importance = None if importance is None else torch.as_tensor(importance, dtype=torch.float32)
        self.scores = PropertyScores(task_type, names, scaling.scale)
        if config.freeze_encoder:
            model.encoder.requires_grad_(False)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return head, layers from the last to the first, and embeddings with biases, ever slower by `layer_decay`."""
        decay, waits = self.config.layer_decay, self.config.head_first
        if decay == 1 and waits == 0:
            return super().parameter_groups()
        encoder = self.model.encoder
        layers = [list(layer.parameters()) for layer in reversed(encoder.layers)]
        above = {id(p) for layer in layers for p in layer}
        groups = [list(self.model.head.parameters()), *layers, [p for p in encoder.parameters() if id(p) not in above]]
        return [
            {"params": learning, "lr": self.config.learning_rate * decay**depth, "waits": waits * (depth > 0)}
            for depth, group in enumerate(groups)
            if (learning := [p for p in group if p.requires_grad])
        ]

    def on_train_epoch_start(self) -> None:
        """Take dropout out of an encoder that is frozen: its states are what they will be at prediction."""
        if self.config.freeze_encoder:
            self.model.encoder.eval()

    def _predict(self, batch: "TrainingBatch", stage: str) -> Tensor:
        if self._states is None:
            return self.model.outputs(batch.molecules.relations())
        known, index = self._states[stage], batch.index.tolist()
        if any(k not in known for k in index):
            encoded = self.model.encoder(batch.molecules.relations(), relations=self.model.relations)
            count = encoded.view.atom_mask.sum(1) * (self.model.readout != "token")
            for k, token, atoms, n in zip(index, encoded.token, encoded.atoms, count.tolist(), strict=True):
                known[k] = token.detach(), atoms[:n].detach().clone()
        tokens = torch.stack([known[k][0] for k in index])
        states = [known[k][1] for k in index]
        mask = pad_sequence([rows.new_ones(len(rows), dtype=torch.bool) for rows in states], batch_first=True)
        return self.model.read_out(pad_sequence(states, batch_first=True), tokens, mask)

    def training_step(self, batch: "TrainingBatch", batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        output = self._predict(batch, "train")
        importance = None if self._importance is None else self._importance[batch.index.cpu()].to(output)
        loss = self._loss(output, batch, importance)
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=len(output), sync_dist=True)
        return loss

    def validation_step(self, batch: "TrainingBatch", batch_idx: int) -> None:
        """Log the loss of a batch and keep its predictions."""
        output = self._predict(batch, "validation")
        self.log("validation/loss", self._loss(output, batch), batch_size=len(output), sync_dist=True)
        central = output if self.model.spread is None else output[..., 0]
        exact = batch.labels.masked_fill(batch.bounds != 0, torch.nan)
        self.scores.update(batch.index, to_prediction(central, self.task_type, self.scaling), exact)

    def _loss(self, output: Tensor, batch: "TrainingBatch", importance: Tensor | None = None) -> Tensor:
        return property_loss(output, batch.labels, self.task_type, self.scaling, self.pos_weight, self.config.loss,
                             batch.bounds, importance)  # fmt: skip

    def on_validation_epoch_end(self) -> None:
        """Score the epoch.

        Raises
        ------
        MoleBlendError
            If the weights have diverged.
        """
        if not all(p.isfinite().all() for p in self.scores.prediction):
            raise MoleBlendError(
                f"predictions are no longer finite after epoch {self.current_epoch + 1}",
                fix="lower the learning rate or the clip norm, or use precision '32-true'",
            )
        values = self.scores.compute()
        self.scores.reset()
        for name, value in values.items():
            if isinstance(value, float):
                self.log(f"validation/{name}", value, sync_dist=True)
