"""A saved model over a data set: predictions and embeddings, one output row for every input row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from dgl_moleblend import checkpoint
from dgl_moleblend.batch import RelationBatch
from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.fitting import quiet_lightning
from dgl_moleblend.loader import TrainingBatch, make_inference_loader
from dgl_moleblend.nn.encoder import MoleBlendEncoder
from dgl_moleblend.nn.readout import READOUTS, readout
from dgl_moleblend.predictor import MoleBlendPredictor
from dgl_moleblend.progress import RunProgress
from dgl_moleblend.schema import RELATIONS
from dgl_moleblend.targets import LabelScaling, to_prediction

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
        batches: list[Any] = trainer.predict(_Inference(model, compute), loader) or []
    index = torch.cat([index for index, _ in batches])
    values = torch.cat([value for _, value in batches])
    total = values.new_zeros(len(dataset), *values.shape[1:]).index_add_(0, index, values)
    times = torch.bincount(index, minlength=len(dataset)).reshape(-1, *[1] * (values.ndim - 1))
    return (total / times).numpy()


@dataclass(frozen=True)
class PropertyModel:
    """A fine-tuned model with all that prediction needs.

    Parameters
    ----------
    predictor : MoleBlendPredictor
    featurizer : FeaturizerConfig
        How molecules were, and are to be, turned into numbers.
    task_names : tuple of t str
    task_type : {"regression", "classification"}
    scaling : LabelScaling
    """

    predictor: MoleBlendPredictor
    featurizer: FeaturizerConfig
    task_names: tuple[str, ...]
    task_type: str
    scaling: LabelScaling

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> "PropertyModel":
        """Load the folder that fine-tuning wrote.

        Raises
        ------
        CheckpointError
            If the folder holds no such model.
        """
        saved = checkpoint.read(folder, kinds=("predictor",))
        predictor = MoleBlendPredictor.from_pretrained(Path(folder))
        extra = saved.extra
        missing = [key for key in ("featurizer", "task_names", "task_type", "scaling") if key not in extra]
        if missing:
            raise CheckpointError(
                f"the folder does not say what is predicted: {', '.join(missing)} missing",
                where=str(Path(folder) / checkpoint.CONFIG_FILE),
                fix="make the model with `dgl-moleblend finetune`, or load it with MoleBlendPredictor.from_pretrained",
            )
        return cls(
            predictor,
            FeaturizerConfig.from_dict(extra["featurizer"]),
            tuple(extra["task_names"]),
            extra["task_type"],
            LabelScaling(**{name: tuple(values) for name, values in extra["scaling"].items()}),
        )

    def save_pretrained(self, folder: str | PathLike[str], **facts: object) -> Path:
        """Write the folder; `facts` that JSON can hold are kept beside the rest."""
        extra = {
            "featurizer": self.featurizer.to_dict(),
            "task_names": list(self.task_names),
            "task_type": self.task_type,
            "scaling": {"mean": list(self.scaling.mean), "scale": list(self.scaling.scale)},
            **facts,
        }
        return self.predictor.save_pretrained(Path(folder), extra)

    def predict(
        self,
        dataset: MoleculeDataset,
        *,
        batch_size: int = BATCH_SIZE,
        num_workers: int = 0,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> Float[np.ndarray, "n t"]:
        """Return predictions (N, t): in the unit of the target, or probabilities of class 1.

        Raises
        ------
        CheckpointError
            If the molecules were featurized with other settings than the model's.
        """
        check_featurizer(self.featurizer, dataset)
        if not len(dataset):
            return np.empty((0, len(self.task_names)))
        return infer(
            self.predictor,
            lambda relations: to_prediction(self.predictor(relations), self.task_type, self.scaling),
            dataset,
            description="predict",
            batch_size=batch_size,
            num_workers=num_workers,
            progress=progress,
            accelerator=accelerator,
        )

    def predict_table(
        self, dataset: MoleculeDataset, *, progress: bool = True, accelerator: str = "auto"
    ) -> pd.DataFrame:
        """Return predictions, one row for every input row.

        Returns
        -------
        DataFrame
            In the order of the input: row, source, line, id, smiles, one column "NAME_predicted" for each property, and
            reason: why a row has no prediction, else "".
        """
        values = self.predict(dataset, progress=progress, accelerator=accelerator)
        return align(dataset, {predicted(name): values[:, k] for k, name in enumerate(self.task_names)})


def check_featurizer(expected: FeaturizerConfig, dataset: MoleculeDataset) -> None:
    """Raise a CheckpointError if a data set was featurized with other settings, as far as these are known."""
    if dataset.featurizer is not None:
        checkpoint.check_same(
            {"positions": expected.positions},
            {"positions": dataset.featurizer.positions},
            where="featurizer of the molecules against the model's",
        )


def featurizer_of(folder: str | PathLike[str]) -> FeaturizerConfig:
    """Return how molecules were featurized for a saved model; without positions where its folder does not say."""
    return FeaturizerConfig.from_dict(checkpoint.read(folder).extra.get("featurizer", {}))


def predict(
    folder: str | PathLike[str], dataset: MoleculeDataset, *, progress: bool = True, accelerator: str = "auto"
) -> pd.DataFrame:
    """Predict properties.

    Parameters
    ----------
    folder : path
        That `finetune` wrote.
    dataset : MoleculeDataset
        Featurized with the model's settings, ``featurizer_of(folder)``.
    progress : bool
    accelerator : str
        As for Lightning's Trainer.

    Returns
    -------
    DataFrame
        See `PropertyModel.predict_table`.

    Raises
    ------
    CheckpointError
        If the folder holds no such model, or the molecules were featurized with other settings.
    """
    return PropertyModel.from_pretrained(folder).predict_table(dataset, progress=progress, accelerator=accelerator)


def predicted(name: str) -> str:
    """Return the name of the column that holds predictions of a property."""
    return f"{name}_predicted"


def align(dataset: MoleculeDataset, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> pd.DataFrame:
    """Put values of the molecules beside the rejects, in the order of the input rows.

    Parameters
    ----------
    dataset : MoleculeDataset
    columns : mapping of str to N values

    Returns
    -------
    DataFrame
        row, source, line, id, smiles, the columns (NaN for rejects), reason ("" for molecules).
    """
    names = ["row", "source", "line", "id", "smiles"]
    kept = pd.DataFrame([(s.row, s.source, s.line, s.id, s.smiles) for s in dataset], columns=names)
    for name, values in columns.items():
        kept[name] = values
    kept["reason"] = ""
    rejects = dataset.rejects.drop(columns="stage")
    tables = [table for table in (kept, rejects) if len(table)] or [kept]
    table = pd.concat(tables, ignore_index=True).reindex(columns=list(kept.columns))
    return table.sort_values("row", kind="stable", ignore_index=True)


def embed(
    folder: str | PathLike[str],
    dataset: MoleculeDataset,
    *,
    pooling: str = "token",
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
    pooling : {"token", "mean", "sum"}
        The graph token's final state, or the mean or sum over the atoms'.
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
    check(pooling in READOUTS, "pooling", pooling, f"one of {', '.join(map(repr, READOUTS))}")
    saved = checkpoint.read(folder)
    if saved.kind == "predictor" and "featurizer" in saved.extra:
        check_featurizer(FeaturizerConfig.from_dict(saved.extra["featurizer"]), dataset)
    if relations is None:
        relations = saved.config.get("predictor", {}).get("relations", RELATIONS)
    encoder = MoleBlendEncoder.from_pretrained(Path(folder))

    def compute(batch: RelationBatch) -> Tensor:
        encoded = encoder(batch, relations=relations)
        return readout(encoded.atoms, encoded.token, batch.atom_mask, pooling)

    values = infer(encoder, compute, dataset, description="embed", progress=progress, accelerator=accelerator)
    return values.astype(np.float32)


def write_embeddings(table: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write what `align` made of embeddings: Parquet, with a list of numbers a row, or NPZ, with an array (rows, d).

    Parameters
    ----------
    table : DataFrame
        With a column "embedding" of arrays (d,), NaN where there is none.
    path : path
        Ends in .parquet or .npz. In NPZ a row without an embedding holds NaN.
    """
    has = table["reason"] == ""
    if Path(path).suffix == ".parquet":
        table.assign(embedding=table["embedding"].where(has, None)).to_parquet(path, index=False)
        return
    width = len(table["embedding"][has].iloc[0]) if has.any() else 0
    values = np.full((len(table), width), np.nan, np.float32)
    if has.any():
        values[has] = np.stack(table["embedding"][has].tolist())
    others = {name: table[name].to_numpy() for name in ("row", "line")}
    others |= {name: table[name].to_numpy(str) for name in ("source", "id", "smiles", "reason")}
    np.savez(path, embedding=values, **others)  # type: ignore[arg-type]
