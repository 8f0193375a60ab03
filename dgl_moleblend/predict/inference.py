"""A model applied to every molecule of a data set, conformers averaged."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from dgl_moleblend.config import check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.sites import places_of
from dgl_moleblend.errors import DataError
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.pairs.loader import make_inference_loader

BATCH_SIZE = 64
ACCELERATORS = ("auto", "cpu", "gpu", "cuda")


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
        Whether what takes more than a second shows a bar.
    accelerator : {"auto", "cpu", "gpu", "cuda"}
        "auto" takes a CUDA device where there is one.

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
    device = choose_device(accelerator)
    on_gpu = device.type == "cuda"
    loader = make_inference_loader(dataset, batch_size, num_workers=num_workers, pin_memory=on_gpu)
    indices, found = [], []
    with _evaluating(model, device), torch.inference_mode():
        bar = tqdm(loader, desc=description, unit="batch", delay=1.0, disable=not progress, file=sys.stderr,
                   dynamic_ncols=True, mininterval=0.5 if sys.stderr.isatty() else 10.0)  # fmt: skip
        for batch in bar:
            molecules = batch.molecules.to(device, non_blocking=on_gpu)
            indices.append(batch.index)
            found.append(compute(molecules.relations()).double().cpu())
    counts = np.ones(len(dataset), np.int64) if rows is None else np.asarray(rows, np.int64)
    values = torch.cat(found)
    place = torch.from_numpy(places_of(counts, torch.cat(indices).numpy()))
    times = torch.bincount(place, minlength=int(counts.sum())).reshape(-1, *[1] * (values.ndim - 1))
    total = values.new_zeros(len(times), *values.shape[1:]).index_add_(0, place, values)
    return (total / times).numpy()


def choose_device(accelerator: str) -> torch.device:
    """Return where to compute.

    Raises
    ------
    ConfigError
        If there is no such accelerator.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    check(accelerator in ACCELERATORS, "accelerator", accelerator, f"one of {', '.join(map(repr, ACCELERATORS))}")
    has_gpu = torch.cuda.is_available()
    check(has_gpu or accelerator in ("auto", "cpu"), "accelerator", accelerator,
          "'auto' or 'cpu': torch finds no CUDA device here")  # fmt: skip
    return torch.device("cpu" if accelerator == "cpu" or not has_gpu else "cuda")


@contextmanager
def _evaluating(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put a model in evaluation mode on a device, and afterwards as and where it was."""
    training = [module for module in model.modules() if module.training]
    home = next((value.device for value in model.parameters()), device)
    model.eval()
    if home != device:
        model.to(device)
    try:
        yield
    finally:
        if home != device:
            model.to(home)
        for module in training:
            module.training = True
