"""Embeddings: an encoder's states of molecules or atoms."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.folder import ENSEMBLE_FILE
from dgl_moleblend.models.predictor import readout_of
from dgl_moleblend.nn.encoder import MoleBlendEncoder
from dgl_moleblend.nn.readout import READOUTS, readout
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.predict.inference import infer
from dgl_moleblend.predict.properties import check_featurizer
from dgl_moleblend.schema import RELATIONS


def embed(
    folder: str | PathLike[str],
    dataset: MoleculeDataset,
    *,
    pooling: str | None = None,
    relations: Sequence[str] | None = None,
    progress: bool = True,
    accelerator: str = "auto",
) -> Float[np.ndarray, "n d"]:
    """Compute molecule embeddings.

    Parameters
    ----------
    folder : path
        An encoder, a pretraining model or a fine-tuned model.
    dataset : MoleculeDataset
    pooling : {"token", "mean", "sum"}, optional
        The graph token's final state, or the mean or sum over the atoms'; by default the read-out of the fine-tuned
        model, else the mean: pretraining scores the states of atoms and pairs, never the token's.
    relations : sequence of str, optional
        Which of "spd", "bond_path" and "distance" enter; by default those of the fine-tuned model, else all.
    progress : bool
    accelerator : str
        As for Lightning's Trainer.

    Returns
    -------
    ndarray, shape (N, d), float32

    Raises
    ------
    CheckpointError
        If the folder holds no model, or the molecules were featurized with other settings than a fine-tuned model's.
    """
    check(pooling in (None, *READOUTS), "pooling", pooling, f"one of {', '.join(map(repr, READOUTS))}")
    saved = _open(folder, dataset)
    encoder, relations = _encoder(saved, relations)
    pooling = pooling or readout_of(saved)

    def compute(batch: RelationBatch) -> Tensor:
        encoded = encoder(batch, relations=relations)
        return readout(encoded.atoms, encoded.token, batch.atom_mask, pooling)

    values = infer(encoder, compute, dataset, description="embed", progress=progress, accelerator=accelerator)
    return values.astype(np.float32)


def embed_atoms(
    folder: str | PathLike[str],
    dataset: MoleculeDataset,
    *,
    relations: Sequence[str] | None = None,
    progress: bool = True,
    accelerator: str = "auto",
) -> Float[np.ndarray, "a d"]:
    """Compute atom embeddings: the encoder's final states, averaged over a molecule's conformers.

    Parameters
    ----------
    folder, dataset, relations, progress, accelerator
        See `embed`.

    Returns
    -------
    ndarray, shape (a, d), float32
        The atoms of the first molecule, in its order, then those of the second and so on: ``dataset.num_atoms`` says
        how many each has.

    Raises
    ------
    CheckpointError
        As `embed`.
    """
    encoder, relations = _encoder(_open(folder, dataset), relations)

    def compute(batch: RelationBatch) -> Tensor:
        return encoder(batch, relations=relations).atoms[batch.atom_mask]  # (atoms of the batch, d)

    values = infer(encoder, compute, dataset, description="embed", rows=dataset.num_atoms, progress=progress,
                   accelerator=accelerator)  # fmt: skip
    return values.astype(np.float32)


def read_model(folder: str | PathLike[str]) -> model_folder.Checkpoint:
    """Read what a folder holds.

    Raises
    ------
    CheckpointError
        If it holds no model, or an ensemble, which has no embeddings of its own.
    """
    if (Path(folder) / ENSEMBLE_FILE).is_file():
        raise CheckpointError(
            "an ensemble has no embeddings of its own", where=str(folder), fix="name the folder of one of its models"
        )
    return model_folder.read(folder)


def _open(folder: str | PathLike[str], dataset: MoleculeDataset) -> model_folder.Checkpoint:
    """Read what a folder holds; refuse molecules featurized otherwise than the model's."""
    saved = read_model(folder)
    if saved.kind == "predictor" and "featurizer" in saved.extra:
        check_featurizer(FeaturizerConfig.from_dict(saved.extra["featurizer"]), dataset)
    return saved


def _encoder(saved: model_folder.Checkpoint, relations: Sequence[str] | None) -> tuple[MoleBlendEncoder, Sequence[str]]:
    """Load the encoder of any model, and the relations that it is to see."""
    if relations is None:
        relations = saved.config.get("predictor", {}).get("relations", RELATIONS)
    return MoleBlendEncoder.from_pretrained(saved.folder), relations
