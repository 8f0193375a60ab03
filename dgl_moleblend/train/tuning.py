"""Search for settings by optuna, scored on validation rows, and kept in the run's folder, so that it can be resumed."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dgl_moleblend.config import PredictorConfig, TrainingConfig, check
from dgl_moleblend.data.splits import Split
from dgl_moleblend.errors import CheckpointError, DataError, MoleBlendError
from dgl_moleblend.files import TRIALS, TRIALS_FILE
from dgl_moleblend.models.scores import LOWER_IS_BETTER
from dgl_moleblend.nn.readout import READOUTS
from dgl_moleblend.predict.sinks import write_table
from dgl_moleblend.request import Compute
from dgl_moleblend.train.checked import Request, check_request
from dgl_moleblend.train.ensemble import remove_runs
from dgl_moleblend.train.finetune import finetune
from dgl_moleblend.train.lock import holds_its_folder
from dgl_moleblend.train.modules import derive_seed
from dgl_moleblend.train.plan import Parts, RunPlan
from dgl_moleblend.train.run import check_folder, close_run, delete_run, is_finished, open_run, read_run
from dgl_moleblend.train.start import Start

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

    from dgl_moleblend.data.dataset import MoleculeDataset

STUDY_FILE = "study.db"
"""optuna's own storage, which its tools (optuna-dashboard) read."""
OF_PREDICTOR = ("readout", "dropout")
"""Settings of the predictor; the others are those of a TrainingConfig."""


@dataclass(frozen=True)
class TuningResult:
    """What a search found.

    Parameters
    ----------
    model : PredictorConfig
    training : TrainingConfig
        Both with the best settings.
    trials : DataFrame
        A row a trial: number, metric, score, settings, error.
    """

    model: PredictorConfig
    training: TrainingConfig
    trials: pd.DataFrame


def search_space(*, pretrained: bool) -> "dict[str, BaseDistribution]":
    """Return what is tried: learning rate, weight decay, dropout, read-out; layer decay of a pretrained encoder."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    space: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(2e-5, 2e-3, log=True),
        "weight_decay": CategoricalDistribution([0.0, 1e-4, 1e-3, 1e-2]),
        "dropout": CategoricalDistribution([0.0, 0.1, 0.2, 0.4]),
        "readout": CategoricalDistribution(list(READOUTS)),
    }
    if pretrained:
        space["layer_decay"] = CategoricalDistribution([1.0, 0.9, 0.8, 0.65])
    return space


@holds_its_folder
def tune(
    dataset: "MoleculeDataset",
    split: "Split | Parts",
    out: str | PathLike[str],
    *,
    trials: int,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> TuningResult:
    """Search for settings by their validation score; test rows are never looked at.

    What is tried next follows from the seed, the number of the trial and the scores of those before it: a search that
    is resumed proposes what it would have. With more trials than were asked for before, it goes on from there.

    Parameters
    ----------
    dataset : MoleculeDataset
    split : Split or mapping
        Its "train" and "validation" are used.
    out : path
        Receives ``trials/study.db`` (optuna's storage), ``trials/000``, .. (model folders, without report) and
        trials.csv.
    trials : int
        At least 1, and as many as a resumed search has finished.
    resume, overwrite : bool
        Go on with the search in `out`, or delete it. A search that has finished so many trials is read. When one that
        goes on with more has finished these, the model (or models) of its earlier best settings in `out` is deleted.
    **settings
        Further arguments of `finetune`, the same for all trials; the training's seed is the search's, too.

    Raises
    ------
    DataError
        If `out` holds another search or, resumed, one of more trials; or every trial failed.
    CheckpointError
        If a resumed search had another plan, or its storage is damaged.
    """
    check(trials >= 1, "trials", trials, "at least 1")
    out, folder = Path(out), Path(out) / TRIALS
    start, model = Start.of(settings.pop("start", None)), settings.pop("model", None) or PredictorConfig()
    start.keep_from(out)
    parts = {name: Split.of(split).parts[name] for name in ("train", "validation")}
    request = check_request(dataset, parts, settings.pop("tasks", None), settings.pop("training", None) or
                            TrainingConfig(), settings.get("weights"))  # fmt: skip
    if not (resume or overwrite) and is_finished(out) is not None:
        check_folder(out)
    space = search_space(pretrained=not start.is_fresh)
    if overwrite and not resume:
        shutil.rmtree(folder, ignore_errors=True)
    plan = RunPlan.of(
        "trials", request.dataset, [parts], start=start, training=request.training, tasks=request.tasks,
        compute=settings.get("compute") or Compute(), model={"relations": list(model.relations)},
        work={"trials": trials, "tuned": list(space)}, weights=request.weights,
    )  # fmt: skip
    if is_finished(folder) is None or not resume:
        open_run(folder, plan, resume=resume)
    search = _Search(folder, request, {**settings, "start": start}, model, space)
    with _readable(folder / STUDY_FILE):
        study = search.open_study()
        done = sum(trial.state.is_finished() for trial in study.trials)
    if done > trials:
        raise DataError(
            f"{trials} trials are asked for, and the search has finished {done}",
            where=str(folder),
            fix=f"resume with --trials {done} or more, or search anew with --overwrite",
        )
    if resume and is_finished(folder) and done == trials:
        plan.check_resumes(read_run(folder)["settings"], str(folder))
    elif resume:
        open_run(folder, plan, resume=True, extend=True)
    for number in range(done, trials):
        search.do(study, number)
        write_table(search.tabulate(study), out / TRIALS_FILE)
    table = search.tabulate(study)
    write_table(table, out / TRIALS_FILE)
    if table["score"].isna().all():
        raise DataError(f"every trial failed, the last: {table['error'].iloc[-1]}", where=str(folder),
                        fix=f"see {TRIALS_FILE}")  # fmt: skip
    if not is_finished(folder):
        if resume and is_finished(out) is not None:  # of the best of fewer trials
            remove_runs(out)
            delete_run(out)
        close_run(folder)
    return TuningResult(*search.apply(study.best_params), table)


@dataclass(frozen=True)
class _Search:
    """What the trials of a search share."""

    folder: Path
    request: Request
    settings: dict[str, Any]
    model: PredictorConfig
    space: "dict[str, BaseDistribution]"

    def open_study(self) -> "Study":
        """Open the study, or begin it."""
        import optuna
        from optuna.study import StudyDirection

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        direction = StudyDirection.MINIMIZE if self.request.monitor in LOWER_IS_BETTER else StudyDirection.MAXIMIZE
        storage = f"sqlite:///{(self.folder / STUDY_FILE).resolve()}"
        return optuna.create_study(study_name="settings", storage=storage, direction=direction, load_if_exists=True)

    def do(self, study: "Study", number: int) -> None:
        """Try what the search proposes, or go on with a trial that was interrupted."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        study.sampler = TPESampler(seed=derive_seed(self.request.training.seed, number) % 2**32)
        known = {trial.number: trial.params for trial in study.get_trials(states=[TrialState.RUNNING])}
        chosen = known[number] if known.get(number, {}).keys() == self.space.keys() else None
        if chosen is None:
            trial = study.ask(self.space)
            number, chosen = trial.number, trial.params
        folder = self.folder / f"{number:03d}"
        finished = is_finished(folder)
        if finished:  # interrupted before its score was written down
            shutil.rmtree(folder)
        model, training = self.apply(chosen)
        settings = {**self.settings, "tasks": self.request.tasks, "model": model, "training": training}
        try:
            result = finetune(self.request.dataset, self.request.parts, folder, report=False,
                              resume=finished is False, **settings)  # fmt: skip
        except DataError:  # of the data, not of the settings
            raise
        except MoleBlendError as error:  # such as weights that diverge
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(f"{error}\n", encoding="utf-8")
            study.tell(number, state=TrialState.FAIL)
        else:
            study.tell(number, result.metrics["best"])

    def apply(self, chosen: Mapping[str, Any]) -> tuple[PredictorConfig, TrainingConfig]:
        """Return the settings that a trial makes of those of the search."""
        model = self.model.replace(**{name: chosen[name] for name in OF_PREDICTOR})
        return model, self.request.training.replace(**{k: v for k, v in chosen.items() if k not in OF_PREDICTOR})

    def tabulate(self, study: "Study") -> pd.DataFrame:
        """Return a row for each trial that is done."""
        metric, rows = self.request.monitor, []
        for trial in study.trials:
            if trial.state.is_finished():
                file = self.folder / f"{trial.number:03d}" / "error.txt"
                error = (
                    file.read_text(encoding="utf-8").splitlines()[0] if trial.value is None and file.exists() else ""
                )
                chosen = {name: trial.params[name] for name in self.space if name in trial.params}
                rows.append({"trial": trial.number, "metric": metric, "score": trial.value, **chosen, "error": error})
        return pd.DataFrame(rows).astype({"score": float}) if rows else pd.DataFrame()


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Say in words what is wrong with a search's storage."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise CheckpointError(f"the search cannot be read: {why}", where=str(file),
                              fix="restore the file, or search anew with --overwrite") from error  # fmt: skip
