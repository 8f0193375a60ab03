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

from dgl_moleblend.checksums import sha256
from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.config import FeaturizerConfig, TrainingConfig
from dgl_moleblend.data.several import columns_of
from dgl_moleblend.data.splits import Split
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import (
    CALIBRATION_FILE,
    ENSEMBLE_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
    write_json,
)
from dgl_moleblend.models.blend_weights import blend, blend_weights
from dgl_moleblend.models.censored import fit_with_bounds
from dgl_moleblend.models.kernel import KernelModel
from dgl_moleblend.models.scores import score, score_constants
from dgl_moleblend.models.targets import LabelScaling, to_shares
from dgl_moleblend.models.trees import TreeModel
from dgl_moleblend.predict.calibration import calibrate, deviation_column, score_uncertainty
from dgl_moleblend.predict.classical import FeatureModel
from dgl_moleblend.predict.features import COLUMNS, STATES, Features, of_molecules
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.page import write_report
from dgl_moleblend.request import Compute, Task
from dgl_moleblend.train.checked import Request, check_request, count_bounds, split_facts, warn_of_rare_classes
from dgl_moleblend.train.comparison import Comparison, network_training
from dgl_moleblend.train.ensemble import remove_runs
from dgl_moleblend.train.finetune import check_one_device, finetune
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.result import FinetuneResult
from dgl_moleblend.train.run import close_run, is_finished, open_run
from dgl_moleblend.train.start import Source, Start
from dgl_moleblend.train.tables import tabulate, write_tables

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

FOLDS = 4
NETWORK_FOLDS = 3


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
    split: "Split | Mapping[str, Sequence[int] | np.ndarray]",
    out: str | PathLike[str],
    *,
    tasks: Sequence[Task] | str | None = None,
    start: Source | Start | None = None,
    comparison: "Comparison | None" = None,
    training: TrainingConfig | None = None,
    compute: Compute | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: bool = True,
    weights: np.ndarray | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> FinetuneResult:
    """Compare kinds of models by cross-validation on training and validation rows, and keep their weighted mean.

    Test rows are looked at once, at the end. Folds are made as the split was: by scaffold or cluster where it was so.

    Parameters
    ----------
    dataset : MoleculeDataset
        With labels; NaN = missing. Its table may hold further labels, which are `columns`.
    split : Split, or mapping of "train", "validation" and "test" to indices into `dataset`
        All models learn from training and validation rows.
    out : path
        Receives a model folder for every model that has a weight, ensemble.json with the weights, metrics.json with
        all candidates' scores, predictions.csv, calibration.json, training_set.npz, split.csv and report.html.
    tasks
        See `finetune`.
    start : EncoderConfig, path or name, optional
        What "frozen" and "network" start from; None leaves both out.
    comparison : Comparison, optional
        What is compared, on which features.
    training : TrainingConfig, optional
        Of the network, with the seed of all; by default `network_training` of the number of rows.
    compute : Compute, optional
        Its workers compute features.
    resume, overwrite
        See `finetune`.
    report : bool
        Whether to write report.html.
    weights : ndarray, shape (molecules,), optional
        What each molecule counts for when a model is fitted; scores, and what models weigh in the mean, are not
        weighted.
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
    out, comparison, compute = Path(out), comparison or Comparison(), compute or Compute()
    check_one_device(compute)
    start = None if start is None else Start.of(start)
    if start is not None:
        start.keep_from(out)
    parts = Split.of(split).parts
    rows = len(parts.get("train", ())) + len(parts.get("validation", ()))
    request = check_request(dataset, split, tasks, training or network_training(rows), weights)
    warn_of_rare_classes(dataset, [request], learned=("train", "validation"))
    together = stays_together(request.facts)
    by = {} if together in (None, "scaffold") else {"by": together}  # plans from before there were others have no entry
    uses_start = {"frozen", "network"} & {*comparison.candidates}
    plan = RunPlan.of(
        "comparison", request.dataset, [request.parts], comparison.columns, start=start if uses_start else None,
        training=request.training, compute=compute, tasks=request.tasks,
        work={**comparison.to_dict(), "by_scaffold": together == "scaffold", **by}, weights=request.weights,
    )  # fmt: skip
    if overwrite and not resume:
        remove_runs(out)
    open_run(out, plan, resume=resume, overwrite=overwrite)
    features = Features(request.dataset, workers=compute.workers, progress=compute.progress,
                        accelerator=compute.accelerator)  # fmt: skip
    work = _Comparison(request, out, start, comparison, compute, features)
    if {"trees", "kernel"} & {*comparison.candidates}:  # the forest needs fewer; at once, they take half the time
        features.describe(of_molecules(comparison.features, len(columns_of(request.dataset))))
    found: dict[str, Candidate] = {}
    skipped: dict[str, str] = {}
    for name in comparison.candidates:
        if start is None and name in ("frozen", "network"):
            skipped[name] = "there is no encoder to start from"
            continue
        if name == "frozen" and start is not None and start.is_fresh:
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

    request: Request
    out: Path
    start: Start | None
    comparison: Comparison
    compute: Compute
    features: Features

    def __post_init__(self) -> None:
        self.dataset, self.parts, self.config = self.request.dataset, self.request.parts, self.request.training
        self.task_type = self.request.task_type
        self.labels = self.request.exact
        self.rows = np.concatenate([self.parts["train"], self.parts["validation"]])
        self.folds = self.make_folds(FOLDS)

    def make_folds(self, count: int) -> np.ndarray:
        """Return the fold of each of `rows`: whole scaffolds or clusters where the split was so, else at random."""
        from dgl_moleblend.data.folds import divide_rows

        known = self.dataset.subset(self.rows)
        return divide_rows(known, count, by=stays_together(self.request.facts), seed=self.config.seed)

    def mean(self) -> Candidate:
        """Predict the mean of all labels, of rows in cross-validation, too: a mean of other folds would rank them."""
        began = time.perf_counter()
        constant = np.nanmean(self.labels[self.rows], 0)
        held_out, test = (np.tile(constant, (len(index), 1)) for index in (self.rows, self.parts["test"]))
        return Candidate(held_out, test, time.perf_counter() - began)

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
        numbers = np.unique(folds).tolist()
        for at, k in enumerate(numbers, start=1):
            name = f"network-{k}"
            inner = {"train": self.rows[folds != k], "validation": self.rows[folds == k], "test": test}
            if is_finished(self.out / name) is not True:
                finetune(
                    self.dataset, Split(inner, self.request.facts), self.out / name, tasks=self.request.tasks,
                    start=self.start, training=self.config.replace(seed=self.config.seed + k),
                    compute=self.compute.replace(workers=0), resume=is_finished(self.out / name) is False, report=False,
                    weights=self.request.weights, description=f"network, fold {at}/{len(numbers)}",
                )  # fmt: skip
            model = PropertyModel.from_pretrained(self.out / name)
            asked = np.concatenate([inner["validation"], test])
            predicted = model.predict(self.dataset.subset(asked), progress=self.compute.progress,
                                      accelerator=self.compute.accelerator)  # fmt: skip
            out_of_fold[folds == k] = predicted[: len(inner["validation"])]
            values.append(predicted[len(inner["validation"]) :])
            names.append(name)
        return Candidate(out_of_fold, np.mean(values, 0), time.perf_counter() - began, tuple(names))

    @property
    def _names(self) -> tuple[str, ...]:
        return (*self.comparison.features, *([COLUMNS] if self.comparison.columns else ()))

    def _fit(self, name: str, model_class: Any, names: tuple[str, ...], **settings: Any) -> Candidate:
        began = time.perf_counter()
        encoder = self.start.source if self.start is not None and STATES in names else None
        names = of_molecules(names, len(columns_of(self.dataset)))
        table = self.features.table(names, encoder=encoder, columns=self.comparison.columns)
        known, weights = table.take(self.rows), self.request.weights
        weights = None if weights is None else weights[self.rows]

        kind = "regression" if self.task_type == "regression" else "classification"  # each class against the rest

        def fit(labels: np.ndarray) -> Any:
            return model_class.fit(known, labels, kind, self.folds, seed=self.config.seed,
                                   weights=weights, **settings)  # fmt: skip

        given = self.dataset.subset(self.rows)
        model = fit_with_bounds(fit, given.labels.astype(np.float64), given.bounds)
        featurizer = self.dataset.featurizer or FeaturizerConfig()
        encoder_folder = None if encoder is None else Path(encoder)
        saved = FeatureModel(model, featurizer, self.dataset.task_names, self.task_type, encoder_folder,
                             self.dataset.classes, columns_of(self.dataset))  # fmt: skip
        saved.save_pretrained(self.out / name)
        test, deviation = table.take(self.parts["test"]), None
        assert model.out_of_fold is not None
        if name == "kernel" and saved.has_deviation:
            values, spread = model.predict_with_deviation(test)
            deviation = model.out_of_fold_deviation, spread
        else:
            values = saved.values(test)
        out_of_fold = to_shares(model.out_of_fold) if self.task_type == "multiclass" else model.out_of_fold
        return Candidate(out_of_fold, values, time.perf_counter() - began, (name,), deviation)


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

    def scored(values: np.ndarray, index: np.ndarray, judge: Callable[..., dict[str, Any]] = score) -> dict[str, Any]:
        return judge(values, work.labels[index], work.task_type, names, scaling.scale)

    validation = len(work.parts["train"]) + np.arange(len(work.parts["validation"]))
    metrics: dict[str, Any] = {
        "task_type": work.task_type, "metric": work.config.metric, "chosen_by": "cross-validation", "head": "auto",
        "validation": scored(held_out[validation], work.parts["validation"]),
        "test": scored(test, work.parts["test"]),
        "cross_validation": scored(held_out, work.rows),
        "rows": {name: len(part) for name, part in work.parts.items()},
        "candidates": {
            name: {"weight": weight[name], "seconds": one.seconds, "models": list(one.folders),
                   "cross_validation": _short(scored(one.out_of_fold, work.rows, judge)),
                   "test": _short(scored(one.test, work.parts["test"], judge))}
            for name, one in found.items() for judge in [score if one.folders else score_constants]
        },
        "skipped": dict(skipped),
    }  # fmt: skip
    constant = np.nanmean(labels, 0)
    metrics["mean_predictor"] = {
        part: scored(np.tile(constant, (len(index), 1)), index, score_constants)
        for part, index in work.parts.items()
        if part != "train"
    }
    metrics |= {**split_facts(work.request.facts), **count_bounds(work.dataset, work.parts), **work.request.weighed}
    members = {
        folder: weight[name] / len(one.folders) for name, one in found.items() for folder in one.folders
        if weight[name] > 0
    }  # fmt: skip
    for one in found.values():
        for folder in one.folders:
            if folder not in members:
                shutil.rmtree(out / folder, ignore_errors=True)
    featurizer = work.dataset.featurizer or FeaturizerConfig()
    facts = work.request.facts
    extra = {"task_names": names, "task_type": work.task_type, "featurizer": featurizer.to_dict(),
             **({"classes": dict(work.dataset.classes)} if work.dataset.classes else {}),
             **({"smiles_columns": list(columns)} if (columns := columns_of(work.dataset)) else {}),
             "scaling": {"mean": list(scaling.mean), "scale": list(scaling.scale)}, "facts": facts,
             "units": {task.name: task.unit for task in work.request.tasks if task.unit}}  # fmt: skip
    table = tabulate(work.dataset, work.parts, {"validation": held_out[validation], "test": test})
    training_set = write_training_set(out, work.dataset.subset(work.rows).structures)
    if training_set is not None:
        table["similarity"] = training_set.similarity(table["smiles"].tolist())
        known = (table["split"] == "validation").to_numpy()
        table.loc[known, "similarity"] = np.nan  # they are in the training set: nothing is known of being unlike it
    every = tabulate(work.dataset, {"validation": work.rows, "test": work.parts["test"]},
                     {"validation": held_out, "test": test})  # fmt: skip
    deviation_of = None
    if weight.get("kernel") and (deviation := found["kernel"].deviation) is not None:
        possible = tabulate(work.dataset, {"validation": work.rows, "test": work.parts["test"]},
                            dict(zip(("validation", "test"), deviation, strict=True)))  # fmt: skip
        every[[deviation_column(name) for name in names]] = possible[[predicted(name) for name in names]]
        deviation_of = "kernel"
        metrics |= score_uncertainty(every, names)
    write_json(out / METRICS_FILE, metrics)
    calibration = calibrate(every, names, work.task_type, deviation_of)
    if calibration.deviation_of is not None:  # the widths of intervals go by it
        table = table.merge(every[["row", *map(deviation_column, names)]], on="row", how="left", validate="1:1")
    write_tables(out, work.dataset, table, work.parts)
    calibration.write(out / CALIBRATION_FILE)
    digests = [sha256(out / folder / WEIGHTS_FILE) for folder in members]
    write_json(out / ENSEMBLE_FILE, {"models": list(members), "weights": list(members.values()), "sha256": digests,
                                     "task_type": work.task_type, "extra": extra})  # fmt: skip
    if report:
        write_report(out)
    close_run(out)
    return FinetuneResult(out, metrics, table)


def stays_together(facts: Mapping[str, object]) -> str | None:
    """Return what a split did not divide, as folds then do not: "scaffold", "scaffold_balanced" or "cluster"."""
    kind = facts.get("split")
    return str(kind) if kind in ("scaffold", "scaffold_balanced", "cluster") else None


def _short(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if name not in ("tasks", "left_out")}
