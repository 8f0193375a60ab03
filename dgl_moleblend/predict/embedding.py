"""Embeddings: an encoder's states of molecules or atoms."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.files import ENSEMBLE_FILE
from dgl_moleblend.models.predictor import readout_of
from dgl_moleblend.nn.encoder import MoleBlendEncoder
from dgl_moleblend.nn.readout import READOUTS
from dgl_moleblend.nn.readout import readout as read_out
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.predict.inference import infer
from dgl_moleblend.predict.properties import check_featurizer
from dgl_moleblend.schema import RELATIONS


@dataclass(frozen=True)
class EmbeddingModel:
    """The encoder of a saved model, and how it sums up a molecule.

    Parameters
    ----------
    encoder : MoleBlendEncoder
    featurizer : FeaturizerConfig
        How molecules are to be turned into numbers.
    relations : sequence of str
        Which of "spd", "bond_path" and "distance" enter.
    readout : {"token", "mean", "sum"}
        The graph token's final state, or the mean or sum over the atoms'.
    strict : bool
        Whether molecules featurized otherwise are refused: a fine-tuned model's are, a pretrained one takes any.
    """

    encoder: MoleBlendEncoder
    featurizer: FeaturizerConfig
    relations: Sequence[str] = RELATIONS
    readout: str = "token"
    strict: bool = False

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> Self:
        """Load the encoder of any saved model.

        Raises
        ------
        CheckpointError
            If the folder holds no model, or an ensemble.
        """
        saved = read_model(folder)
        return cls(
            MoleBlendEncoder.from_pretrained(saved.folder),
            FeaturizerConfig.from_dict(saved.extra.get("featurizer", {})),
            saved.config.get("predictor", {}).get("relations", RELATIONS),
            readout_of(saved),
            strict=saved.kind == "predictor" and "featurizer" in saved.extra,
        )

    def embed(
        self,
        dataset: MoleculeDataset,
        *,
        readout: str | None = None,
        relations: Sequence[str] | None = None,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> Float[np.ndarray, "n d"]:
        """Compute molecule embeddings; see `embed`."""
        check(readout in (None, *READOUTS), "readout", readout, f"one of {', '.join(map(repr, READOUTS))}")
        self._check(dataset)
        readout, relations = readout or self.readout, self.relations if relations is None else relations

        def compute(batch: RelationBatch) -> Tensor:
            encoded = self.encoder(batch, relations=relations)
            return read_out(encoded.atoms, encoded.token, batch.atom_mask, readout)

        values = infer(self.encoder, compute, dataset, description="embed", progress=progress, accelerator=accelerator)
        return values.astype(np.float32)

    def embed_atoms(
        self,
        dataset: MoleculeDataset,
        *,
        relations: Sequence[str] | None = None,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> Float[np.ndarray, "a d"]:
        """Compute atom embeddings; see `embed_atoms`."""
        self._check(dataset)
        relations = self.relations if relations is None else relations

        def compute(batch: RelationBatch) -> Tensor:
            return self.encoder(batch, relations=relations).atoms[batch.atom_mask]  # (atoms of the batch, d)

        values = infer(self.encoder, compute, dataset, description="embed", rows=dataset.num_atoms, progress=progress,
                       accelerator=accelerator)  # fmt: skip
        return values.astype(np.float32)

    def _check(self, dataset: MoleculeDataset) -> None:
        if self.strict:
            check_featurizer(self.featurizer, dataset)


def embed(
    folder: str | PathLike[str],
    dataset: MoleculeDataset,
    *,
    readout: str | None = None,
    relations: Sequence[str] | None = None,
    progress: bool = True,
    accelerator: str = "auto",
) -> Float[np.ndarray, "n d"]:
    """Compute molecule embeddings.

    Parameters
    ----------
    folder : path
        An encoder, a pretraining model or a fine-tuned model; or a name of weights that ship.
    dataset : MoleculeDataset
    readout : {"token", "mean", "sum"}, optional
        The graph token's final state, or the mean or sum over the atoms'; by default the read-out of the fine-tuned
        model; of a pretrained one the token where pretraining scored it, else the mean.
    relations : sequence of str, optional
        Which of "spd", "bond_path" and "distance" enter; by default those of the fine-tuned model, else all.
    progress : bool
    accelerator : {"auto", "cpu", "gpu", "cuda"}

    Returns
    -------
    ndarray, shape (N, d), float32

    Raises
    ------
    CheckpointError
        If the folder holds no model, or the molecules were featurized with other settings than a fine-tuned model's.
    """
    check(readout in (None, *READOUTS), "readout", readout, f"one of {', '.join(map(repr, READOUTS))}")
    model = EmbeddingModel.from_pretrained(folder)
    return model.embed(dataset, readout=readout, relations=relations, progress=progress, accelerator=accelerator)


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
    model = EmbeddingModel.from_pretrained(folder)
    return model.embed_atoms(dataset, relations=relations, progress=progress, accelerator=accelerator)


def read_model(folder: str | PathLike[str]) -> model_folder.Checkpoint:
    """Read what a folder holds.

    Raises
    ------
    CheckpointError
        If it holds no model, or an ensemble, which has no embeddings of its own.
    """
    if (Path(folder) / ENSEMBLE_FILE).is_file():
        raise CheckpointError(
            "an ensemble has no embeddings of its own", where=str(folder),
            fix=model_folder.one_of(Path(folder), model_folder.NETWORKS),
        )  # fmt: skip
    return model_folder.read(folder)
