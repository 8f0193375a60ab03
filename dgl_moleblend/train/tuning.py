"""Hyper-parameter search that can be resumed: hyperopt's TPE over settings, scored on validation rows."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgl_moleblend.config import EncoderConfig, TrainingConfig, check
from dgl_moleblend.errors import CheckpointError, DataError, MoleBlendError
from dgl_moleblend.folder import read_json, write_json
from dgl_moleblend.models.targets import LOWER_IS_BETTER
from dgl_moleblend.nn.readout import READOUTS
from dgl_moleblend.schema import RELATIONS
from dgl_moleblend.train.ensemble import remove_runs
from dgl_moleblend.train.finetune import check_request, finetune
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.loop import close_run, delete_run, is_finished, open_run, write_table
from dgl_moleblend.train.plan import describe_data
from dgl_moleblend.train.start import describe_start, keep_start

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

TRIALS = "trials"
TRIAL_FILE = "trial.json"
OF_PREDICTOR = ("readout", "dropout")
"""Settings of the predictor; the others are those of a TrainingConfig."""


@dataclass(frozen=True)
class TuningResult:
    """What a search found.

    Parameters
    ----------
    predictor : dict
        Best "readout" and "dropout", arguments of `finetune`.
    training_config : TrainingConfig
        With the best settings.
    trials : DataFrame
        A row a trial: number, status, metric, score, settings, error.
    """

    predictor: dict[str, Any]
    training_config: TrainingConfig
    trials: pd.DataFrame


def search_space(*, pretrained: bool) -> dict[str, Any]:
    """Return what is tried: learning rate, weight decay, dropout, read-out; layer decay of a pretrained encoder."""
    from hyperopt import hp

    space = {
        "learning_rate": hp.loguniform("learning_rate", np.log(2e-5), np.log(2e-3)),
        "weight_decay": hp.choice("weight_decay", [0.0, 1e-4, 1e-3, 1e-2]),
        "dropout": hp.choice("dropout", [0.0, 0.1, 0.2, 0.4]),
        "readout": hp.choice("readout", list(READOUTS)),
    }
    if pretrained:
        space["layer_decay"] = hp.choice("layer_decay", [1.0, 0.9, 0.8, 0.65])
    return space


@holds_its_folder
def tune(
    dataset: "MoleculeDataset",
    split: Mapping[str, Sequence[int] | np.ndarray],
    out: str | PathLike[str],
    *,
    trials: int,
    encoder: EncoderConfig | str | PathLike[str] | None = None,
    training_config: TrainingConfig | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> TuningResult:
    """Search for settings by their validation score; test rows are never looked at.

    hyperopt proposes the same trials for the same seed and scores. A search that is resumed shows it the scores of
    finished trials and computes the others; with more trials than were asked for before, it goes on from there.

    Parameters
    ----------
    dataset, encoder, training_config
        See `dgl_moleblend.train.finetune.finetune`; the training config's seed is the search's, too.
    split : mapping
        Its "train" and "validation" are used.
    out : path
        Receives ``trials/000``, .. (model folders, without report, that have trial.json: settings and score) and
        trials.csv.
    trials : int
        At least 1, and as many as a resumed search has finished.
    resume, overwrite : bool
        Go on with the search in `out`, or delete it. A search that has finished so many trials is read. When one that
        goes on with more has finished these, the model (or models) of its earlier best settings in `out` is deleted.
    **settings
        Further arguments of `finetune`, the same for all trials.

    Raises
    ------
    DataError
        If `out` holds another search or, resumed, one of more trials; or every trial failed.
    CheckpointError
        If a resumed search had other settings, or hyperopt, of another version, proposes others.
    """
    from hyperopt import STATUS_FAIL, STATUS_OK, fmin, space_eval, tpe

    check(trials >= 1, "trials", trials, "at least 1")
    out, folder = Path(out), Path(out) / TRIALS
    keep_start(out, encoder)
    config = training_config or TrainingConfig()
    parts = {name: np.asarray(split[name], np.int64) for name in ("train", "validation")}
    check_request(dataset, parts, settings.get("task_type"), settings.get("metric"), config)
    if not (resume or overwrite) and is_finished(out) is not None:
        raise DataError("the folder already holds a run", where=str(out), fix="choose another folder, or --overwrite")
    space = search_space(pretrained=not (encoder is None or isinstance(encoder, EncoderConfig)))
    if overwrite and not resume:
        shutil.rmtree(folder, ignore_errors=True)
    done = len([*folder.glob(f"*/{TRIAL_FILE}")])
    if resume and done > trials:
        raise DataError(
            f"{trials} trials are asked for, and the search has finished {done}",
            where=str(folder),
            fix=f"resume with --trials {done} or more, or search anew with --overwrite",
        )
    if not (resume and is_finished(folder) and done == trials):
        plan = {
            "trials": trials,
            "tuned": list(space),
            "encoder": describe_start(encoder or EncoderConfig.small()),
            "training": config.to_dict(),
            **{name: settings.get(name) for name in ("task_type", "metric")},
            "relations": list(settings.get("relations", RELATIONS)),
            **describe_data(dataset, parts),
        }
        open_run(folder, plan, resume=resume, extend=True)
    rows: list[dict[str, Any]] = []

    def objective(chosen: dict[str, Any]) -> dict[str, Any]:
        trial = folder / f"{len(rows):03d}"
        found = _read_trial(trial)
        if found is not None and found["settings"] != json.loads(json.dumps(chosen)):
            raise CheckpointError(
                "the finished trial has other settings than the search proposes now",
                where=str(trial / TRIAL_FILE),
                fix="use the version of hyperopt that began the search, or begin anew with --overwrite",
            )
        if found is None:
            finished = is_finished(trial)
            if finished:  # interrupted before its score was written down
                shutil.rmtree(trial)
            found = {"settings": chosen, "metric": None, "score": None, "error": None}
            predictor, changed = _apply(chosen, config)
            try:
                result = finetune(dataset, parts, trial, encoder=encoder, training_config=changed, report=False,
                                  resume=finished is False, **settings | predictor)  # fmt: skip
                found |= {"metric": result.metrics["chosen_by"], "score": result.metrics["best"]}
            except DataError:  # of the data, not of the settings
                raise
            except MoleBlendError as error:  # such as weights that diverge
                found["error"] = error.what
            trial.mkdir(parents=True, exist_ok=True)
            write_json(trial / TRIAL_FILE, found)
        rows.append({"trial": len(rows), **{k: found[k] for k in ("metric", "score")}, **found["settings"],
                     "error": found["error"] or ""})  # fmt: skip
        write_table(out / "trials.csv", pd.DataFrame(rows))
        if found["score"] is None:
            return {"status": STATUS_FAIL, "loss": None}
        return {"status": STATUS_OK, "loss": found["score"] * (1 if found["metric"] in LOWER_IS_BETTER else -1)}

    found = fmin(
        objective,
        space,
        algo=tpe.suggest,
        max_evals=trials,
        rstate=np.random.default_rng(config.seed),
        show_progressbar=False,
        verbose=False,
    )
    if all(row["score"] is None for row in rows):
        raise DataError(f"every trial failed, the last: {rows[-1]['error']}", where=str(folder), fix="see trials.csv")
    predictor, best = _apply(space_eval(space, found), config)
    if not is_finished(folder):
        if resume and is_finished(out) is not None:  # of the best of fewer trials
            remove_runs(out)
            delete_run(out)
        close_run(folder)
    return TuningResult(predictor, best, pd.DataFrame(rows))


def _apply(chosen: Mapping[str, Any], config: TrainingConfig) -> tuple[dict[str, Any], TrainingConfig]:
    """Return the arguments of the predictor and the training config that a trial's settings make."""
    predictor = {name: chosen[name] for name in OF_PREDICTOR}
    return predictor, config.replace(**{k: v for k, v in chosen.items() if k not in OF_PREDICTOR})


def _read_trial(folder: Path) -> dict[str, Any] | None:
    """Return a finished trial: its settings and score."""
    file = folder / TRIAL_FILE
    return read_json(file, ("settings", "metric", "score", "error")) if file.exists() else None
