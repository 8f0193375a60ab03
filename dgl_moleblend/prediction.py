"""Saved models over a data set: predictions and embeddings, one output row for every input row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

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
from dgl_moleblend.data.similarity import TRAINING_SET_FILE, TrainingSet
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.fitting import ENSEMBLE_FILE, quiet_lightning
from dgl_moleblend.loader import TrainingBatch, make_inference_loader
from dgl_moleblend.nn.encoder import MoleBlendEncoder
from dgl_moleblend.nn.readout import READOUTS, readout
from dgl_moleblend.predictor import MoleBlendPredictor
from dgl_moleblend.progress import RunProgress
from dgl_moleblend.schema import RELATIONS
from dgl_moleblend.targets import LabelScaling, to_prediction
from dgl_moleblend.uncertainty import CALIBRATION_FILE, Calibration, find_calibration, member_folders
from dgl_moleblend.uncertainty import predicted as predicted  # its column is met wherever predictions are

BATCH_SIZE = 64
COVERAGE = 0.9
"""Share of molecules whose measured value an interval is to hold."""


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
    batches = _batches(
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
    return _mean_by_place(values, index, len(dataset))


def _mean_by_place(values: Tensor, place: Tensor, size: int) -> np.ndarray:
    """Average the values that belong to each of `size` places; all have one at least."""
    total = values.new_zeros(size, *values.shape[1:]).index_add_(0, place, values)
    times = torch.bincount(place, minlength=size).reshape(-1, *[1] * (values.ndim - 1))
    return (total / times).numpy()


def _batches(
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


@dataclass(frozen=True)
class Ensemble:
    """One model, or several whose mean is predicted, with what their folders know of their errors.

    Parameters
    ----------
    members : tuple of PropertyModel
        One at least; of the same tasks, task type and featurizer.
    calibration : Calibration, optional
        By which predictions get intervals, or probabilities are rescaled.
    training_set : TrainingSet, optional
        By which molecules unlike it are warned of.
    """

    members: tuple[PropertyModel, ...]
    calibration: Calibration | None = None
    training_set: TrainingSet | None = None

    @classmethod
    def from_pretrained(cls, folders: str | PathLike[str] | Iterable[str | PathLike[str]]) -> "Ensemble":
        """Load folders that fine-tuning wrote, each of one model or with an ensemble.json that names several.

        Raises
        ------
        CheckpointError
            If a folder holds no such model, a file is damaged, or the models predict other things than the first or
            from molecules featurized otherwise; the message names what differs.
        """
        tops = [Path(folders)] if isinstance(folders, str | PathLike) else [Path(folder) for folder in folders]
        paths = [path for top in tops for path in member_folders(top)]
        if not paths:
            raise CheckpointError("no model folder is given", fix="name one that `dgl-moleblend finetune` wrote")
        members = tuple(PropertyModel.from_pretrained(path) for path in paths)
        for path, member in zip(paths[1:], members[1:], strict=True):
            checkpoint.check_same(
                _what_is_predicted(members[0]),
                _what_is_predicted(member),
                where=f"model {path} of the ensemble against {paths[0]}",
            )
        calibration = find_calibration(tops)
        if calibration is not None:
            checkpoint.check_same(
                {"task_names": sorted(members[0].task_names), "task_type": members[0].task_type},
                {"task_names": sorted(calibration.tasks), "task_type": calibration.task_type},
                where=f"{tops[0] / CALIBRATION_FILE} against the model",
            )
        known = [found for path in paths if (found := TrainingSet.read(path)) is not None]
        return cls(members, calibration, TrainingSet.union(known) if len(known) == len(paths) else None)

    @property
    def featurizer(self) -> FeaturizerConfig:
        """How molecules are to be turned into numbers, once for all members."""
        return self.members[0].featurizer

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the t properties."""
        return self.members[0].task_names

    @property
    def missing(self) -> list[str]:
        """Say in a sentence each which columns the files of the folders do not allow."""
        texts = []
        if self.calibration is None and self.members[0].task_type == "regression":
            texts.append("no intervals: the model folder holds neither calibration.json nor predictions.csv")
        if self.training_set is None:
            texts.append(
                f"no column similarity: the model folder holds no {TRAINING_SET_FILE} (made by an older version?)"
            )
        return texts

    def predict(
        self, dataset: MoleculeDataset, *, progress: bool = True, accelerator: str = "auto"
    ) -> Float[np.ndarray, "m n t"]:
        """Return what each of the m members predicts, (m, N, t); see `PropertyModel.predict`."""
        return np.stack([m.predict(dataset, progress=progress, accelerator=accelerator) for m in self.members])

    def predict_table(
        self,
        dataset: MoleculeDataset,
        *,
        coverage: float = COVERAGE,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> pd.DataFrame:
        """Return predictions, one row for every input row.

        Parameters
        ----------
        dataset : MoleculeDataset
        coverage : float
            Share of molecules like the validation rows whose measured value lies in the interval, at least.
        progress : bool
        accelerator : str
            As for Lightning's Trainer.

        Returns
        -------
        DataFrame
            In the order of the input: row, source, line, id, smiles; for each property NAME_predicted, NAME_spread
            (several models: the standard deviation over them, of probabilities before calibration for classes), and
            NAME_lower and NAME_upper (regression with a calibration: the interval, infinite where there are too few
            validation rows for the coverage); similarity (Tanimoto, to the nearest training molecule) and warning
            (of a molecule unlike the training set), where the training set is known; and reason: why a row has no
            prediction, else "".
        """
        check(0 < coverage < 1, "coverage", coverage, "between 0 and 1")
        values = self.predict(dataset, progress=progress, accelerator=accelerator)
        columns: dict[str, Any] = {}
        for k, name in enumerate(self.task_names):
            task = None if self.calibration is None else self.calibration.tasks[name]
            mean = values[..., k].mean(0)
            columns[predicted(name)] = mean if task is None else task.rescale(mean)
            if len(values) > 1:
                columns[f"{name}_spread"] = values[..., k].std(0, ddof=1)
            if task is not None and self.members[0].task_type == "regression":
                width = task.half_width(coverage)
                columns |= {f"{name}_lower": mean - width, f"{name}_upper": mean + width}
        if self.training_set is not None:
            similarity = self.training_set.similarity(dataset.smiles)
            columns |= {"similarity": similarity, "warning": self.training_set.warnings(similarity)}
        table = align(dataset, columns)
        if "warning" in table:
            table["warning"] = table["warning"].astype(object).fillna("")  # all NaN where there are rejects alone
        return table


def _what_is_predicted(model: PropertyModel) -> dict[str, Any]:
    featurizer = model.featurizer.to_dict()
    kept = ("positions", "num_conformers", "optimize") if model.featurizer.positions == "embed" else ("positions",)
    return {
        "task_names": list(model.task_names),
        "task_type": model.task_type,
        "featurizer": {name: featurizer[name] for name in kept},
    }


def is_model(path: str | PathLike[str]) -> bool:
    """Whether a path is the folder of a saved model or of an ensemble."""
    return Path(path, checkpoint.WEIGHTS_FILE).is_file() or Path(path, ENSEMBLE_FILE).is_file()


def write_training_set(folder: str | PathLike[str], smiles: Sequence[str]) -> TrainingSet | None:
    """Write training_set.npz, by which `predict` knows molecules unlike the training set.

    Parameters
    ----------
    folder : path
        Of the model.
    smiles : sequence of str
        Of the training rows; those that RDKit cannot read are left out.

    Returns
    -------
    TrainingSet or None
        What was written; None, and no file, where RDKit can read none of them.
    """
    path = Path(folder, TRAINING_SET_FILE)
    path.unlink(missing_ok=True)  # it is about the run that was here before
    found = TrainingSet.from_smiles(smiles)
    if not len(found.fingerprints):
        return None
    checkpoint.write_atomically(path, found.write)
    return found


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
    folder = member_folders(folder)[0]
    return FeaturizerConfig.from_dict(checkpoint.read(folder).extra.get("featurizer", {}))


def predict(
    folder: str | PathLike[str] | Iterable[str | PathLike[str]],
    dataset: MoleculeDataset,
    *,
    coverage: float = COVERAGE,
    progress: bool = True,
    accelerator: str = "auto",
) -> pd.DataFrame:
    """Predict properties.

    Parameters
    ----------
    folder : path or paths
        That `finetune` wrote; the mean of several is predicted.
    dataset : MoleculeDataset
        Featurized with the model's settings, ``featurizer_of(folder)``.
    coverage : float
        Of the intervals of a regression.
    progress : bool
    accelerator : str
        As for Lightning's Trainer.

    Returns
    -------
    DataFrame
        See `Ensemble.predict_table`.

    Raises
    ------
    CheckpointError
        If the folder holds no such model, or the molecules were featurized with other settings.
    """
    ensemble = Ensemble.from_pretrained(folder)
    return ensemble.predict_table(dataset, coverage=coverage, progress=progress, accelerator=accelerator)


def align(dataset: MoleculeDataset, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> pd.DataFrame:
    """Put values of the molecules beside the rejects, in the order of the input rows.

    Parameters
    ----------
    dataset : MoleculeDataset
    columns : mapping of str to N values

    Returns
    -------
    DataFrame
        row, source, line (missing where the molecule is of no file), id, smiles, the columns (NaN for rejects), reason
        ("" for molecules).
    """
    names = ["row", "source", "line", "id", "smiles"]
    kept = pd.DataFrame([(s.row, s.source, s.line, s.id, s.smiles) for s in dataset], columns=names)
    for name, values in columns.items():
        kept[name] = values
    kept["reason"] = ""
    rejects = dataset.rejects.drop(columns="stage")
    tables = [table for table in (kept, rejects) if len(table)] or [kept]
    table = pd.concat(tables, ignore_index=True).reindex(columns=list(kept.columns))
    table["line"] = table["line"].astype("Int64").where(table["line"] >= 0)
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
    encoder, relations = _encoder(folder, dataset, relations)

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
    encoder, relations = _encoder(folder, dataset, relations)

    def compute(batch: RelationBatch) -> Tensor:
        return encoder(batch, relations=relations).atoms[batch.atom_mask]  # (atoms of the batch, d)

    batches = _batches(encoder, compute, dataset, description="embed", progress=progress, accelerator=accelerator)
    counts = torch.as_tensor(np.asarray(dataset.num_atoms, np.int64))
    first = counts.cumsum(0) - counts
    place = torch.cat([first[m] + k for index, _ in batches for m in index for k in [torch.arange(int(counts[m]))]])
    values = torch.cat([value for _, value in batches])
    return _mean_by_place(values, place, int(counts.sum())).astype(np.float32)


def _encoder(
    folder: str | PathLike[str], dataset: MoleculeDataset, relations: Sequence[str] | None
) -> tuple[MoleBlendEncoder, Sequence[str]]:
    """Load the encoder of any model, and the relations that it is to see."""
    if (Path(folder) / ENSEMBLE_FILE).is_file():
        raise CheckpointError(
            "an ensemble has no embeddings of its own", where=str(folder), fix="name the folder of one of its models"
        )
    saved = checkpoint.read(folder)
    if saved.kind == "predictor" and "featurizer" in saved.extra:
        check_featurizer(FeaturizerConfig.from_dict(saved.extra["featurizer"]), dataset)
    if relations is None:
        relations = saved.config.get("predictor", {}).get("relations", RELATIONS)
    return MoleBlendEncoder.from_pretrained(Path(folder)), relations


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


def write_table(table: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write predictions, whole or not at all: Parquet where the name ends in .parquet, else CSV."""
    parquet = Path(path).suffix == ".parquet"
    checkpoint.write_atomically(
        Path(path),
        lambda temporary: table.to_parquet(temporary, index=False) if parquet else write_csv(table, temporary),
    )


def write_csv(table: pd.DataFrame, target: Path | TextIO) -> None:
    """Write CSV with the seven digits that float32 holds."""
    table.to_csv(target, index=False, float_format="%.7g")


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
