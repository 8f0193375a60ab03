"""Embeddings: an encoder's states of molecules or atoms, and files of them."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from dgl_moleblend import checkpoint
from dgl_moleblend.batch import RelationBatch
from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.fitting import ENSEMBLE_FILE
from dgl_moleblend.inference import infer, infer_batches, mean_by_place
from dgl_moleblend.nn.encoder import MoleBlendEncoder
from dgl_moleblend.nn.readout import READOUTS, readout
from dgl_moleblend.prediction import check_featurizer
from dgl_moleblend.predictor import readout_of
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

    batches = infer_batches(encoder, compute, dataset, description="embed", progress=progress, accelerator=accelerator)
    counts = torch.as_tensor(np.asarray(dataset.num_atoms, np.int64))
    first = counts.cumsum(0) - counts
    place = torch.cat([first[m] + k for index, _ in batches for m in index for k in [torch.arange(int(counts[m]))]])
    values = torch.cat([value for _, value in batches])
    return mean_by_place(values, place, int(counts.sum())).astype(np.float32)


def _open(folder: str | PathLike[str], dataset: MoleculeDataset) -> checkpoint.Checkpoint:
    """Read what a folder holds; refuse an ensemble, and molecules featurized otherwise than the model's."""
    if (Path(folder) / ENSEMBLE_FILE).is_file():
        raise CheckpointError(
            "an ensemble has no embeddings of its own", where=str(folder), fix="name the folder of one of its models"
        )
    saved = checkpoint.read(folder)
    if saved.kind == "predictor" and "featurizer" in saved.extra:
        check_featurizer(FeaturizerConfig.from_dict(saved.extra["featurizer"]), dataset)
    return saved


def _encoder(saved: checkpoint.Checkpoint, relations: Sequence[str] | None) -> tuple[MoleBlendEncoder, Sequence[str]]:
    """Load the encoder of any model, and the relations that it is to see."""
    if relations is None:
        relations = saved.config.get("predictor", {}).get("relations", RELATIONS)
    return MoleBlendEncoder.from_pretrained(saved.folder), relations


def tabulate_atoms(dataset: MoleculeDataset, embeddings: Sequence[np.ndarray] | np.ndarray) -> pd.DataFrame:
    """Put atom embeddings beside the molecules' identifiers.

    Parameters
    ----------
    dataset : MoleculeDataset
    embeddings : a arrays (d,)
        As `embed_atoms` gives them.

    Returns
    -------
    DataFrame
        One row an atom: row (of the molecule in the input), id, smiles, atom (0-based, in the order of the molecule),
        embedding. Rejected molecules have no atoms.
    """
    counts = np.asarray(dataset.num_atoms, np.int64)
    molecule = np.repeat(np.arange(len(dataset)), counts)
    frame = pd.DataFrame({"row": dataset.rows, "id": dataset.ids, "smiles": dataset.smiles})
    table = frame.iloc[molecule].reset_index(drop=True)
    table["atom"] = np.arange(len(molecule)) - (counts.cumsum() - counts)[molecule]
    table["embedding"] = list(embeddings)
    return table.sort_values(["row", "atom"], kind="stable", ignore_index=True)


def write_embeddings(table: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write embeddings, whole or not at all: Parquet, with a list of numbers a row, or NPZ, with an array (rows, d).

    Parameters
    ----------
    table : DataFrame
        Of molecules (`align`) or atoms (`tabulate_atoms`), with a column "embedding" of arrays (d,), NaN where there
        is none.
    path : path
        Ends in .parquet or .npz. NPZ holds no pickle: an array a column; a row without an embedding holds NaN, one
        without a line -1.
    """
    has = np.array([isinstance(value, np.ndarray) for value in table["embedding"]], bool)
    if Path(path).suffix == ".parquet":
        frame = table.assign(embedding=table["embedding"].where(has, None))
        checkpoint.write_atomically(Path(path), lambda temporary: frame.to_parquet(temporary, index=False))
        return
    width = len(table["embedding"][has].iloc[0]) if has.any() else 0
    arrays: dict[str, np.ndarray] = {"embedding": np.full((len(table), width), np.nan, np.float32)}
    if has.any():
        arrays["embedding"][has] = np.stack(table["embedding"][has].tolist())
    for name in table.columns.drop("embedding"):
        numbers = pd.api.types.is_numeric_dtype(table[name])
        arrays[name] = table[name].fillna(-1).to_numpy(np.int64) if numbers else table[name].to_numpy(str)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # a file, since a name would be given a suffix
            np.savez(file, **arrays)  # type: ignore[arg-type]

    checkpoint.write_atomically(Path(path), write)
