"""One saved model or several whose weighted mean is predicted, with what is known of their errors."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from dgl_moleblend import folder as model_folder
from dgl_moleblend.chem.similarity import TrainingSet
from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.unusual import joined, warnings
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.files import TRAINING_SET_FILE
from dgl_moleblend.predict.calibrated import calibration_file, find_calibration
from dgl_moleblend.predict.calibration import MEMBERS, Calibration, deviation_column
from dgl_moleblend.predict.classical import MODELS, FeatureModel
from dgl_moleblend.predict.features import Features
from dgl_moleblend.predict.members import check_members, member_folders, member_weights, units_of
from dgl_moleblend.predict.properties import PropertyModel, check_featurizer
from dgl_moleblend.predict.tables import align, predicted

COVERAGE = 0.9
"""Share of molecules whose measured value an interval is to hold."""


@dataclass(frozen=True)
class Ensemble:
    """One model, or several whose mean is predicted, with what their folders know of their errors.

    Parameters
    ----------
    members : tuple of PropertyModel or FeatureModel
        One at least; of the same tasks, task type and featurizer.
    weights : tuple of float, optional
        How much each counts in the mean; by default all the same.
    knows_deviation : FeatureModel, optional
        The member that says how far off a prediction may be, where the calibration asks for it.
    calibration : Calibration, optional
        By which predictions get intervals, or probabilities are rescaled.
    training_set : TrainingSet, optional
        By which molecules unlike it are warned of.
    units : mapping of str to str
        Of the properties whose unit is known.
    """

    members: tuple[PropertyModel | FeatureModel, ...]
    calibration: Calibration | None = None
    training_set: TrainingSet | None = None
    weights: tuple[float, ...] | None = None
    knows_deviation: "FeatureModel | None" = None
    units: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_pretrained(
        cls, folders: str | PathLike[str] | Iterable[str | PathLike[str]], *, calibrated: bool = True
    ) -> "Ensemble":
        """Load folders that fine-tuning wrote, each of one model or with an ensemble.json that names several.

        Parameters
        ----------
        folders : path or paths
        calibrated : bool
            False leaves calibrations out, unread.

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
        members = tuple(_read_member(path) for path in paths)
        for top in tops:
            check_members(top)
        for path, member in zip(paths[1:], members[1:], strict=True):
            model_folder.check_same(
                _what_is_predicted(members[0]),
                _what_is_predicted(member),
                where=f"model {path} of the ensemble against {paths[0]}",
            )
        calibration = find_calibration(tops) if calibrated else None
        if calibration is not None:
            model_folder.check_same(
                {"task_names": sorted(members[0].task_names), "task_type": members[0].task_type},
                {"task_names": sorted(calibration.tasks), "task_type": calibration.task_type},
                where=f"{calibration_file(tops[0])} against the model",
            )
        members = tuple(dataclasses.replace(member, featurizer=members[0].featurizer) for member in members)
        knows = None if calibration is None else _find_deviation(calibration, tops[0], paths, members)
        own = [TrainingSet.read(top) for top in tops]
        known = [set_ for top, set_ in zip(tops, own, strict=True) for set_ in
                 ([set_] if set_ is not None else map(TrainingSet.read, member_folders(top)))]  # fmt: skip
        found = [one for one in known if one is not None]
        weights = np.concatenate([np.asarray(member_weights(top)) / len(tops) for top in tops])
        return cls(members, calibration, TrainingSet.union(found) if len(found) == len(known) else None,
                   tuple(weights.tolist()), knows, units_of(tops[0]))  # fmt: skip

    @property
    def featurizer(self) -> FeaturizerConfig:
        """How molecules are to be turned into numbers, once for all members."""
        return self.members[0].featurizer

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the t properties."""
        return self.members[0].task_names

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Columns of a table that hold what is predicted: of several classes the one that names them."""
        first = self.members[0]
        return tuple(first.classes) if first.task_type == "multiclass" else first.task_names

    @property
    def smiles_columns(self) -> tuple[str, ...]:
        """Columns that the molecules of a row come from, where the models read several."""
        return self.members[0].smiles_columns

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns of the table of molecules that a prediction needs beside the molecules."""
        columns = [c for member in self.members if isinstance(member, FeatureModel) for c in member.feature_columns]
        return tuple(dict.fromkeys(columns))

    @property
    def missing(self) -> list[str]:
        """Say in a sentence each which columns the files of the folders do not allow."""
        texts = []
        if self.calibration is None and self.members[0].task_type == "regression":
            texts.append(
                "no intervals: neither a calibration.json of all that is given nor a predictions.csv of each model"
            )
        if self.training_set is None:
            texts.append(
                f"no column similarity: the model folder holds no {TRAINING_SET_FILE} (made by an older version?)"
            )
        return texts

    def predict(
        self, dataset: MoleculeDataset, *, progress: bool = True, accelerator: str = "auto"
    ) -> Float[np.ndarray, "m n t"]:
        """Return what each of the m members predicts, (m, N, t); see `PropertyModel.predict`."""
        return self.predict_with_deviation(dataset, progress=progress, accelerator=accelerator)[0]

    def predict_with_deviation(
        self, dataset: MoleculeDataset, **shared: Any
    ) -> tuple[Float[np.ndarray, "m n t"], Float[np.ndarray, "n t"] | None]:
        """Return what members predict, (m, N, t), and how far off that may be, (N, t), where it is known."""
        check_featurizer(self.featurizer, dataset, self.smiles_columns)
        features, values, deviation = Features(dataset, **shared), [], None
        asked = self.members if len(dataset) else ()
        features.describe(
            name for one in asked if isinstance(one, FeatureModel) for name in one.model.required_features
        )
        variances: list[np.ndarray] = []
        for member in self.members:
            if isinstance(member, PropertyModel) and member.has_deviation:
                value, own = member.predict_with_deviation(dataset, **shared)
                variances.append(own**2)
            elif member is self.knows_deviation:
                value, deviation = member.predict_with_deviation(features)
            elif isinstance(member, FeatureModel):
                value = member.predict(dataset, features=features, **shared)
            else:
                value = member.predict(dataset, **shared)
            values.append(value)
        wanted = self.calibration is not None and self.calibration.deviation_of == MEMBERS
        if len(variances) == len(values) or wanted:
            apart = [self._spread(one) for one in np.moveaxis(np.stack(values), -1, 0)] if len(values) > 1 else []
            own_variance = np.mean(variances, axis=0) if variances else 0.0
            deviation = np.sqrt(own_variance + (np.stack(apart, -1) ** 2 if apart else 0.0))
        return np.stack(values), deviation

    def mean(self, values: Float[np.ndarray, "m n t"]) -> Float[np.ndarray, "n t"]:
        """Return the mean over the members, weighted where they are."""
        if self.weights is None or len(set(self.weights)) == 1:
            return values.mean(0)
        weights = np.asarray(self.weights)  # np.average takes no N = 0
        return (weights[:, None, None] * values).sum(0) / weights.sum()

    def _spread(self, values: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " n"]:
        """Return what members differ by: the standard deviation, weighted where the mean is."""
        if self.weights is None or len(set(self.weights)) == 1:
            return values.std(0, ddof=1)
        weights = np.asarray(self.weights)[:, None] / sum(self.weights)
        return np.sqrt((weights * (values - (weights * values).sum(0)) ** 2).sum(0))

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
        accelerator : {"auto", "cpu", "gpu", "cuda"}

        Returns
        -------
        DataFrame
            In the order of the input: row, source, line, id, smiles; of several classes NAME_predicted, the most
            probable one, and what follows of NAME=CLASS for each; for each property NAME_predicted, NAME_spread
            (several models: the standard deviation over them, of probabilities before calibration for classes),
            NAME_deviation (regression: how far off the model may be, where widths of intervals go by that, or it was
            trained to tell, as by ``--loss gaussian``), NAME_lower and NAME_upper (regression with a calibration: the
            interval, infinite where there are too few validation rows for the coverage); similarity (Tanimoto, to the
            nearest training molecule), nearest (its SMILES), where the training set is known; warning (of a molecule
            unlike the training set, or with something beyond the vocabulary: an isotope, a dummy atom, a charge beyond
            5); and reason: why a row has no prediction, else "".
        """
        columns = self.predict_columns(dataset, coverage=coverage, progress=progress, accelerator=accelerator)
        return align(dataset, columns)

    def predict_columns(
        self,
        dataset: MoleculeDataset,
        *,
        coverage: float = COVERAGE,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> dict[str, np.ndarray]:
        """Return what `predict_table` says of the molecules, N values a column."""
        check(0 < coverage < 1, "coverage", coverage, "between 0 and 1")
        values, deviation = self.predict_with_deviation(dataset, progress=progress, accelerator=accelerator)
        columns: dict[str, Any] = {}
        told = dict(self.members[0].classes).items() if self.members[0].task_type == "multiclass" else ()
        means = self.mean(values)
        if self.calibration is not None:
            means = self.calibration.rescale(self.task_names, means)
        for k, name in enumerate(self.task_names):
            task = None if self.calibration is None else self.calibration.tasks[name]
            mean = columns[predicted(name)] = means[:, k]
            if len(values) > 1:
                columns[f"{name}_spread"] = self._spread(values[..., k])
            if deviation is not None:
                columns[deviation_column(name)] = deviation[:, k]
            if task is not None and self.members[0].task_type == "regression":
                width = task.half_width(coverage, deviation[:, k] if deviation is not None else None)
                columns |= {f"{name}_lower": mean - width, f"{name}_upper": mean + width}
        for name, words in told:
            columns = {predicted(name): np.asarray(words, object)[means.argmax(1)], **columns}
        if self.training_set is not None:
            similarity, molecule = self.training_set.find(dataset.structures)
            columns |= {"similarity": similarity, **({} if molecule is None else {"nearest": molecule})}
            columns["warning"] = joined(self.training_set.warnings(similarity), warnings(dataset))
        else:
            columns["warning"] = joined(warnings(dataset))
        return columns


def _read_member(folder: Path) -> PropertyModel | FeatureModel:
    """Load a model of any kind.

    Raises
    ------
    CheckpointError
        If the folder holds no model of properties.
    """
    kind = model_folder.read(folder, kinds=model_folder.KINDS).kind
    return FeatureModel.from_pretrained(folder) if kind in MODELS else PropertyModel.from_pretrained(folder)


def _find_deviation(
    calibration: Calibration, folder: Path, paths: Sequence[Path], members: Sequence[PropertyModel | FeatureModel]
) -> FeatureModel | None:
    """Return the member whose deviations the intervals are made from.

    Raises
    ------
    CheckpointError
        If the calibration names one that is not there, or has no deviations.
    """
    if calibration.deviation_of in (None, MEMBERS):
        return None
    for path, member in zip(paths, members, strict=True):
        if path.name == calibration.deviation_of and isinstance(member, FeatureModel) and member.has_deviation:
            return member
    raise CheckpointError(
        f"intervals take their width from a kernel machine {calibration.deviation_of!r}, which is not among the models",
        where=str(calibration_file(folder)),
        fix="restore the folder, or train again",
    )


def _what_is_predicted(model: PropertyModel | FeatureModel) -> dict[str, Any]:
    featurizer = model.featurizer.decisive()
    featurizer.pop("seed", None)  # one embedding is as good as another; all members are shown that of the first
    return {"task_names": list(model.task_names), "task_type": model.task_type, "featurizer": featurizer,
            "classes": dict(model.classes), "smiles_columns": list(model.smiles_columns)}  # fmt: skip


def featurizer_of(folder: str | PathLike[str]) -> FeaturizerConfig:
    """Return how molecules were featurized for a saved model; without positions where its folder does not say."""
    folder = member_folders(folder)[0]
    return FeaturizerConfig.from_dict(model_folder.read(folder).extra.get("featurizer", {}))


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
    accelerator : {"auto", "cpu", "gpu", "cuda"}

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
