"""A model applied to every molecule of a data set, conformers averaged."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.pairs.loader import TrainingBatch, make_inference_loader
from dgl_moleblend.progress import RunProgress, quiet_lightning

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
    rows: Sequence[int] | np.ndarray | None = None,
    batch_size: int = BATCH_SIZE,
    num_workers: int = 0,
    progress: bool = True,
    accelerator: str = "auto",
) -> Float[np.ndarray, "n ..."]:
    """Apply a model to every molecule; where a molecule has several conformers, the mean over them is taken.

    Parameters
    ----------
    model : nn.Module
        Put in evaluation mode for the while, on the device of the accelerator.
    compute : function
        From a RelationBatch to a Tensor whose first dimension holds the rows of its molecules, one after the other.
    dataset : MoleculeDataset
    description : str
        Stands before the progress bar.
    rows : N int, optional
        How many rows each molecule has: ``dataset.num_atoms`` for one an atom. By default one a molecule.
    batch_size, num_workers : int
    progress : bool
    accelerator : str
        As for Lightning's Trainer.

    Returns
    -------
    ndarray, shape (all rows, ...), float64
        The rows of the first molecule, then those of the second and so on.

    Raises
    ------
    DataError
        If there are no molecules.
    """
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
    counts = torch.as_tensor(np.ones(len(dataset), np.int64) if rows is None else np.asarray(rows, np.int64))
    molecule = torch.cat([index for index, _ in batches])
    values = torch.cat([value for _, value in batches])
    place = _places(counts, molecule)
    times = torch.bincount(place, minlength=int(counts.sum())).reshape(-1, *[1] * (values.ndim - 1))
    total = values.new_zeros(len(times), *values.shape[1:]).index_add_(0, place, values)
    return (total / times).numpy()


def _places(counts: Tensor, molecule: Tensor) -> Tensor:
    """Return where the rows of these molecules stand among the rows of all.

    >>> _places(torch.tensor([2, 1, 3]), torch.tensor([2, 0]))
    tensor([3, 4, 5, 0, 1])
    """
    first, size = counts.cumsum(0) - counts, counts[molecule]
    before = size.cumsum(0) - size
    return torch.arange(int(size.sum())) + (first[molecule] - before).repeat_interleave(size)
