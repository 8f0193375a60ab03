"""A model applied to every molecule of a data set, conformers averaged."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from dgl_moleblend.batch import RelationBatch
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.fitting import quiet_lightning
from dgl_moleblend.loader import TrainingBatch, make_inference_loader
from dgl_moleblend.progress import RunProgress

BATCH_SIZE = 64


class _Inference(LightningModule):
    """Applies a function to every batch."""

    def __init__(self, model: nn.Module, compute: Callable[[RelationBatch], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.compute = compute

    def transfer_batch_to_device(
        self, batch: TrainingBatch, device: torch.device, dataloader_idx: int
    ) -> TrainingBatch:
        return batch.to(device, non_blocking=device.type == "cuda")

    def predict_step(self, batch: TrainingBatch, batch_idx: int) -> tuple[Tensor, Tensor]:
        return batch.index.cpu(), self.compute(batch.molecules.relations()).double().cpu()


def infer(
    model: nn.Module,
    compute: Callable[[RelationBatch], Tensor],
    dataset: MoleculeDataset,
    *,
    description: str,
    batch_size: int = BATCH_SIZE,
    num_workers: int = 0,
    progress: bool = True,
    accelerator: str = "auto",
) -> Float[np.ndarray, "n ..."]:
    """Apply a model to every molecule; a molecule with several conformers gets the mean over them.

    Parameters
    ----------
    model : nn.Module
        Put in evaluation mode for the while, on the device of the accelerator.
    compute : function
        From a RelationBatch of b molecules to a Tensor (b, ...).
    dataset : MoleculeDataset
    description : str
        Stands before the progress bar.
    batch_size, num_workers : int
    progress : bool
    accelerator : str
        As for Lightning's Trainer.

    Returns
    -------
    ndarray, shape (N, ...), float64
    """
    batches = infer_batches(
        model,
        compute,
        dataset,
        description=description,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
        accelerator=accelerator,
    )
    index = torch.cat([index for index, _ in batches])
    values = torch.cat([value for _, value in batches])
    return mean_by_place(values, index, len(dataset))


def mean_by_place(values: Tensor, place: Tensor, size: int) -> np.ndarray:
    """Average the values that belong to each of `size` places; all have one at least."""
    total = values.new_zeros(size, *values.shape[1:]).index_add_(0, place, values)
    times = torch.bincount(place, minlength=size).reshape(-1, *[1] * (values.ndim - 1))
    return (total / times).numpy()


def infer_batches(
    model: nn.Module,
    compute: Callable[[RelationBatch], Tensor],
    dataset: MoleculeDataset,
    *,
    description: str,
    batch_size: int = BATCH_SIZE,
    num_workers: int = 0,
    progress: bool = True,
    accelerator: str = "auto",
) -> list[tuple[Tensor, Tensor]]:
    """Return for every batch the indices of its molecules (b,), and what `compute` made of them; see `infer`."""
    if not len(dataset):
        raise DataError("there are no molecules", fix="see the list of rejects for the reasons")
    with quiet_lightning():
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=progress,
            callbacks=[RunProgress(description)] if progress else [],
        )
        loader = make_inference_loader(
            dataset, batch_size, num_workers=num_workers, pin_memory=trainer.strategy.root_device.type == "cuda"
        )
        batches: Any = trainer.predict(_Inference(model, compute), loader)
    return batches or []
