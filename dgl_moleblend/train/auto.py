"""The best answer for a data set: several kinds of models, judged on rows not seen, and their weighted mean."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.config import EncoderConfig, FeaturizerConfig, TrainingConfig, check
from dgl_moleblend.data.store import sha256
from dgl_moleblend.errors import DataError
from dgl_moleblend.folder import ENSEMBLE_FILE, WEIGHTS_FILE, write_json
from dgl_moleblend.models.blend_weights import blend, blend_weights
from dgl_moleblend.models.kernel import KernelModel
from dgl_moleblend.models.targets import LabelScaling, score
from dgl_moleblend.models.trees import TreeModel
from dgl_moleblend.predict.calibration import CALIBRATION_FILE, calibrate, deviation_column
from dgl_moleblend.predict.classical import FeatureModel
from dgl_moleblend.predict.features import COLUMNS, STATES, Features
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.page import write_report
from dgl_moleblend.schema import FEATURE_KINDS
from dgl_moleblend.train.ensemble import remove_runs
from dgl_moleblend.train.finetune import (
    FinetuneResult,
    check_request,
    finetune,
    split_facts,
    split_table,
    tabulate,
)
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import close_run, is_finished, open_run, write_table
from dgl_moleblend.train.plan import describe_data
from dgl_moleblend.train.start import describe_start, keep_start

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

CANDIDATES = ("mean", "forest", "trees", "kernel", "frozen", "network")
"""What is compared: the mean of the labels, a random forest on Morgan counts, extra trees and a kernel machine on all
features, a kernel machine on the states of the frozen encoder, and the fine-tuned encoder."""
CHEAP = ("mean", "forest", "trees", "kernel", "frozen")
FOLDS = 4
NETWORK_FOLDS = 3
NETWORK = {"learning_rate": 3e-4, "batch_size": 32, "averaging": 0.1, "head_first": 0.1, "keep": "last"}
"""How the encoder is fine-tuned, found on validation rows (benchmarks/README.md); epochs go by the number of rows."""


def epochs_for(rows: int) -> int:
    """Return the epochs of fine-tuning on so many rows: 50 for a thousand, fewer for more.

    Examples
    --------
    >>> [epochs_for(rows) for rows in (100, 1_000, 4_000, 100_000)]
    [60, 50, 25, 8]
    """
    return int(np.clip(round(50 * (1000 / max(rows, 1)) ** 0.5), 8, 60))


@dataclass
class Candidate:
    """What one kind of model gave.

    Parameters
    ----------
    out_of_fold : ndarray, shape (rows that are not test rows, t)
        Predictions by models that had not seen the row; NaN where there is none.
    test : ndarray, shape (test rows, t)
    seconds : float
    folders : tuple of str
        Of the models, whose mean it is, in the run's folder; () for the mean predictor.
    deviation : two arrays like `out_of_fold` and `test`, optional
        How far off the model holds these to be.
    """

    out_of_fold: Float[np.ndarray, "n t"]
    test: Float[np.ndarray, "m t"]
    seconds: float
    folders: tuple[str, ...] = ()
    deviation: tuple[Float[np.ndarray, "n t"], Float[np.ndarray, "m t"]] | None = None


@holds_its_folder
def finetune_auto(
    dataset: "MoleculeDataset",
    split: Mapping[str, Sequence[int] | np.ndarray],
    out: str | PathLike[str],
    *,
    encoder: EncoderConfig | str | PathLike[str] | None = None,
    candidates: Sequence[str] = CANDIDATES,
    features: Sequence[str] = FEATURE_KINDS,
    columns: Sequence[str] = (),
    task_type: str | None = None,
    metric: str | None = None,
    training_config: TrainingConfig | None = None,
    seed: int = 0,
    facts: Mapping[str, object] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int = 0,
    progress: bool = True,
    accelerator: str = "auto",
    report: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> FinetuneResult:
    """Compare kinds of models by cross-validation on training and validation rows, and keep their weighted mean.

    Test rows are looked at once, at the end. Folds are made as the split was: by scaffold for a scaffold split.

    Parameters
    ----------
    dataset : MoleculeDataset
        With labels; NaN = missing. Its table may hold further labels, which are `columns`.
    split : mapping of "train", "validation" and "test" to indices into `dataset`
        All models learn from training and validation rows.
    out : path
        Receives a model folder for every model that has a weight, ensemble.json with the weights, metrics.json with
        all candidates' scores, predictions.csv, calibration.json, training_set.npz, split.csv and report.html.
    encoder : EncoderConfig, path or name, optional
        What "frozen" and "network" start from; None leaves both out.
    candidates : sequence of str
        Some of `CANDIDATES`.
    features : sequence of str
        Some of ``schema.FEATURE_KINDS``, for trees and kernel machine.
    columns : sequence of str
        Further labels of the data set's table that are features.
    task_type, metric, facts, resume, overwrite, progress, accelerator
        See `finetune`.
    report : bool
        Whether to write report.html.
    training_config : TrainingConfig, optional
        Of the network, and the seed of all; by default `NETWORK` with `epochs_for` the rows and `seed`.
    workers : int
        Processes that compute features.
    tell : callable, optional
        Is given a line as each candidate is done.

    Returns
    -------
    FinetuneResult
        ``metrics["candidates"]``: for each "cross_validation" and "test" scores, "weight", "seconds"; "skipped": why
        others are not there. "validation" holds the scores of held-out predictions of the validation rows.

    Raises
    ------
    DataError
        If labels or split cannot be used, no candidate can be fitted, or `out` holds another run.
    """
    out = Path(out)
    keep_start(out, encoder)
    known = set(CANDIDATES)
    check(not isinstance(candidates, str) and 0 < len(set(candidates)) == len(candidates) and {*candidates} <= known,
          "candidates", candidates, f"some of {', '.join(CANDIDATES)}, each once")  # fmt: skip
    rows = len(split.get("train", ())) + len(split.get("validation", ()))
    config = training_config or TrainingConfig(max_epochs=epochs_for(rows), seed=seed, **NETWORK)  # type: ignore[arg-type]
    parts, task_type, metric = check_request(dataset, split, task_type, metric, config)
    settings = {
        "head": "auto", "candidates": list(candidates), "features": list(features), "columns": list(columns),
        "encoder": describe_start(encoder) if {"frozen", "network"} & {*candidates} else None,
        "training": config.to_dict(), "task_type": task_type, "metric": metric, "by_scaffold": by_scaffold(facts),
        **describe_data(dataset, parts, columns=columns),
    }  # fmt: skip
    if overwrite and not resume:
        remove_runs(out)
    open_run(out, settings, resume=resume, overwrite=overwrite)
    work = _Comparison(dataset, parts, out, task_type, metric, config, encoder, tuple(features), tuple(columns),
                       Features(dataset, workers=workers, progress=progress, accelerator=accelerator),
                       dict(facts or {}), progress, accelerator)  # fmt: skip
    found: dict[str, Candidate] = {}
    skipped: dict[str, str] = {}
    for name in candidates:
        if encoder is None and name in ("frozen", "network"):
            skipped[name] = "there is no encoder to start from"
            continue
        if name == "frozen" and isinstance(encoder, EncoderConfig):
            skipped[name] = "a fresh encoder knows nothing"
            continue
        try:
            found[name] = getattr(work, name)()
        except DataError as error:  # a fold without labels of a task, say, that others can do without
            skipped[name] = error.what
        tell(f"{name}: {skipped[name]}" if name in skipped else f"{name}: {found[name].seconds:.0f} s")
    if not found:
        raise DataError("no model could be fitted: " + "; ".join(f"{k}: {v}" for k, v in skipped.items()),
                        fix="give more rows with labels")  # fmt: skip
    return _finish(work, found, skipped, report)


@dataclass
class _Comparison:
    """What the candidates share."""

    dataset: "MoleculeDataset"
    parts: dict[str, np.ndarray]
    out: Path
    task_type: str
    metric: str
    config: TrainingConfig
    encoder: EncoderConfig | str | PathLike[str] | None
    feature_names: tuple[str, ...]
    columns: tuple[str, ...]
    features: Features
    facts: dict[str, object]
    progress: bool
    accelerator: str

    def __post_init__(self) -> None:
        self.labels = self.dataset.labels.astype(np.float64)
        self.rows = np.concatenate([self.parts["train"], self.parts["validation"]])
        self.folds = self.make_folds(FOLDS)

    def make_folds(self, count: int) -> np.ndarray:
        """Return the fold of each of `rows`: whole scaffolds where the split was by scaffold, else at random."""
        from dgl_moleblend.data.folds import divide_rows

        known = self.dataset.subset(self.rows)
        return divide_rows(known, count, by_scaffold=by_scaffold(self.facts), seed=self.config.seed)

    def mean(self) -> Candidate:
        """Predict the mean of the other folds' labels."""
        began = time.perf_counter()
        y = self.labels[self.rows]
        out_of_fold = np.full_like(y, np.nan)
        for k in np.unique(self.folds):
            others = y[self.folds != k]
            present = ~np.isnan(others)
            mean = np.where(present, others, 0).sum(0) / np.maximum(present.sum(0), 1)
            out_of_fold[self.folds == k] = np.where(present.any(0), mean, np.nan)
        test = np.tile(np.nanmean(y, 0), (len(self.parts["test"]), 1))
        return Candidate(out_of_fold, test, time.perf_counter() - began)

    def forest(self) -> Candidate:
        """Fit a random forest on Morgan counts, the usual baseline."""
        return self._fit("forest", TreeModel, ("morgan",), kind="forest", jobs=-1)

    def trees(self) -> Candidate:
        """Fit extra trees on Morgan counts and all dense features."""
        dense = tuple(name for name in self._names if name == "rdkit2d" or name == COLUMNS)
        return self._fit("trees", TreeModel, ("morgan", *dense), kind="trees", jobs=-1)

    def kernel(self) -> Candidate:
        """Fit the kernel machine on all features."""
        return self._fit("kernel", KernelModel, self._names)

    def frozen(self) -> Candidate:
        """Fit a kernel machine on the states of the encoder as it is."""
        return self._fit("frozen", KernelModel, (STATES,))

    def network(self) -> Candidate:
        """Fine-tune the encoder once for each of a few folds, each judged on the fold that it did not see."""
        began = time.perf_counter()
        folds = self.make_folds(NETWORK_FOLDS)
        names, test = [], self.parts["test"]
        out_of_fold = np.full((len(self.rows), self.labels.shape[1]), np.nan)
        values = []
        for k in np.unique(folds).tolist():
            name = f"network-{k}"
            inner = {"train": self.rows[folds != k], "validation": self.rows[folds == k], "test": test}
            if is_finished(self.out / name) is not True:
                finetune(
                    self.dataset, inner, self.out / name, encoder=self.encoder, task_type=self.task_type,
                    metric=self.metric, training_config=self.config.replace(seed=self.config.seed + k),
                    facts=self.facts, resume=is_finished(self.out / name) is False, report=False,
                    progress=self.progress, accelerator=self.accelerator,
                )  # fmt: skip
            model = PropertyModel.from_pretrained(self.out / name)
            asked = np.concatenate([inner["validation"], test])
            predicted = model.predict(self.dataset.subset(asked), progress=self.progress, accelerator=self.accelerator)
            out_of_fold[folds == k] = predicted[: len(inner["validation"])]
            values.append(predicted[len(inner["validation"]) :])
            names.append(name)
        return Candidate(out_of_fold, np.mean(values, 0), time.perf_counter() - began, tuple(names))

    @property
    def _names(self) -> tuple[str, ...]:
        return (*self.feature_names, *([COLUMNS] if self.columns else ()))

    def _fit(self, name: str, model_class: Any, names: tuple[str, ...], **settings: Any) -> Candidate:
        began = time.perf_counter()
        encoder = self.encoder if STATES in names else None
        assert not isinstance(encoder, EncoderConfig)
        table = self.features.table(names, encoder=encoder, columns=self.columns)
        model = model_class.fit(table.take(self.rows), self.labels[self.rows], self.task_type, self.folds,
                         seed=self.config.seed, **settings)  # fmt: skip
        featurizer = self.dataset.featurizer or FeaturizerConfig()
        saved = FeatureModel(
            model, featurizer, self.dataset.task_names, self.task_type, None if encoder is None else Path(encoder)
        )
        saved.save_pretrained(self.out / name)
        test = self.parts["test"]
        values = model.predict(table.take(test)) if len(test) else np.empty((0, self.labels.shape[1]))
        assert model.out_of_fold is not None
        deviation = None
        if name == "kernel" and saved.has_deviation and len(test):
            deviation = model.out_of_fold_deviation, model.deviation(table.take(test))
        return Candidate(model.out_of_fold, values, time.perf_counter() - began, (name,), deviation)


def _finish(
    work: _Comparison, found: Mapping[str, Candidate], skipped: Mapping[str, str], report: bool
) -> FinetuneResult:
    """Weigh the candidates, keep those that count, score, and write all files."""
    out, names, labels = work.out, list(work.dataset.task_names), work.labels[work.rows]
    judged = [name for name in found if found[name].folders] or list(found)
    stack = np.stack([found[name].out_of_fold for name in judged])
    shared = blend_weights(stack, labels, work.task_type)
    weight = dict.fromkeys(found, 0.0) | dict(zip(judged, shared[:, 0].tolist(), strict=True))
    held_out = blend(stack, shared)
    test = blend(np.stack([found[name].test for name in judged]), shared)

    scaling = LabelScaling.fit(labels) if work.task_type == "regression" else LabelScaling.none(len(names))

    def scored(values: np.ndarray, index: np.ndarray) -> dict[str, Any]:
        return score(values, work.labels[index], work.task_type, names, scaling.scale)

    validation = len(work.parts["train"]) + np.arange(len(work.parts["validation"]))
    metrics: dict[str, Any] = {
        "task_type": work.task_type, "metric": work.metric, "chosen_by": "cross-validation", "head": "auto",
        "validation": scored(held_out[validation], work.parts["validation"]),
        "test": scored(test, work.parts["test"]),
        "cross_validation": scored(held_out, work.rows),
        "rows": {name: len(part) for name, part in work.parts.items()},
        "candidates": {
            name: {"weight": weight[name], "seconds": one.seconds, "models": list(one.folders),
                   "cross_validation": _short(scored(one.out_of_fold, work.rows)),
                   "test": _short(scored(one.test, work.parts["test"]))}
            for name, one in found.items()
        },
        "skipped": dict(skipped),
    }  # fmt: skip
    constant = np.nanmean(work.labels[work.parts["train"]], 0)
    metrics["mean_predictor"] = {
        part: scored(np.tile(constant, (len(index), 1)), index) for part, index in work.parts.items() if part != "train"
    }
    metrics |= split_facts(work.facts)
    members = {
        folder: weight[name] / len(one.folders) for name, one in found.items() for folder in one.folders
        if weight[name] > 0
    }  # fmt: skip
    for one in found.values():
        for folder in one.folders:
            if folder not in members:
                shutil.rmtree(out / folder, ignore_errors=True)
    featurizer = work.dataset.featurizer or FeaturizerConfig()
    extra = {"task_names": names, "task_type": work.task_type, "featurizer": featurizer.to_dict(),
             "scaling": {"mean": list(scaling.mean), "scale": list(scaling.scale)}, "facts": work.facts}  # fmt: skip
    write_json(out / "metrics.json", metrics)
    table = tabulate(work.dataset, work.parts, {"validation": held_out[validation], "test": test})
    training_set = write_training_set(out, work.dataset.subset(work.rows).smiles)
    if training_set is not None:
        table["similarity"] = training_set.similarity(table["smiles"].tolist())
        known = (table["split"] == "validation").to_numpy()
        table.loc[known, "similarity"] = np.nan  # they are in the training set: nothing is known of being unlike it
    write_table(out / "predictions.csv", table)
    write_table(out / "split.csv", split_table(work.dataset, work.parts))
    if len(work.dataset.rejects):
        write_table(out / "rejects.csv", work.dataset.rejects)
    every = tabulate(work.dataset, {"validation": work.rows, "test": work.parts["test"]},
                     {"validation": held_out, "test": test})  # fmt: skip
    deviation_of = None
    if weight.get("kernel") and (deviation := found["kernel"].deviation) is not None:
        possible = tabulate(work.dataset, {"validation": work.rows, "test": work.parts["test"]},
                            dict(zip(("validation", "test"), deviation, strict=True)))  # fmt: skip
        every[[deviation_column(name) for name in names]] = possible[[predicted(name) for name in names]]
        deviation_of = "kernel"
    calibrate(every, names, work.task_type, deviation_of).write(out / CALIBRATION_FILE)
    digests = [sha256(out / folder / WEIGHTS_FILE) for folder in members]
    write_json(out / ENSEMBLE_FILE, {"models": list(members), "weights": list(members.values()), "sha256": digests,
                                     "task_type": work.task_type, "extra": extra})  # fmt: skip
    if report:
        write_report(out)
    close_run(out)
    return FinetuneResult(out, metrics, table)


def by_scaffold(facts: Mapping[str, object] | None) -> bool:
    """Whether molecules were divided by scaffold, as folds then are."""
    return (facts or {}).get("split") == "scaffold"


def _short(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if name not in ("tasks", "left_out")}
