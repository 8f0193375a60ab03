"""`finetune`: molecules with measured properties -> a model folder, scores and predictions of held-out rows."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dgl_moleblend import shipped
from dgl_moleblend.cli import calibrate, options
from dgl_moleblend.cli.dividing import check_together, divide, dividing
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import (
    check_embedding,
    encoder_choice,
    find_tasks,
    open_molecules,
    prepared_once,
    refuse,
    resumable,
    say,
    unless_given,
)
from dgl_moleblend.cli.scores import candidates_to_text, runs_to_text, to_text
from dgl_moleblend.cli.settings import kept
from dgl_moleblend.cli.several import add_molecules, read_columns, several_columns
from dgl_moleblend.cli.sites import fit_sites, sites
from dgl_moleblend.cli.weighing import read_task_weights, take_weights, weighing
from dgl_moleblend.config import LOSSES
from dgl_moleblend.env.processes import is_first_process, number_of_processes
from dgl_moleblend.files import REPORT_FILE
from dgl_moleblend.report.words import METRIC_NAMES

if TYPE_CHECKING:
    from dgl_moleblend.config import PredictorConfig, TrainingConfig
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.splits import Split
    from dgl_moleblend.train.comparison import Comparison
    from dgl_moleblend.train.finetune import FinetuneResult

FROZEN = {"learning_rate": 3e-3, "max_epochs": 200}
"""Defaults for a head on frozen states, which `benchmarks/README.md` has found on validation rows."""
NETWORK_ONLY = ("size", "max_epochs", "max_steps", "batch_size", "learning_rate", "weight_decay", "schedule", "warmup",
                "clip_norm", "patience", "precision", "num_workers", "seeds", "folds", "replicates", "trials",
                "readout", "dropout", "loss", "class_weights", "task_weights", "freeze_encoder",
                "layer_decay", "devices")  # fmt: skip
"""Options of a network alone."""
TUNED = ("learning_rate", "weight_decay", "dropout", "readout", "layer_decay")


def _predictor(**settings: Any) -> "PredictorConfig":
    from dgl_moleblend.config import PredictorConfig

    return PredictorConfig(**settings)


fitting = options.grouped(
    "fitting",
    dict,
    click.option("--metric", type=click.Choice([*METRIC_NAMES, "loss"]),
                 help="Validation score that chooses the weights; scaled: the mean RMSE of several properties, in units"
                 " of each one's deviation. [default: rmse, or scaled, or roc_auc]"),
    click.option("--loss", type=click.Choice(list(dict.fromkeys(name for names in LOSSES.values() for name in names))),
                 help="What is made small: mse, mae or huber of standardised labels; gaussian (mean and variance) or"
                 " quantile (5, 50, 95 %), which also tell how far off each may be; cross_entropy or focal of classes."
                 " [default: mse, cross_entropy]"),
    click.option("--class-weights", is_flag=True, help="Give both classes of each task the same weight in training."),
    click.option("--freeze", "freeze_encoder", is_flag=True,
                 help="Train the property head alone (with --encoder), in seconds. It wants more than a whole model"
                 " does: --learning-rate 3e-3 --epochs 200, unless given."),
    click.option("--layer-decay", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
                 help="Each layer learns so many times as fast as the one above it, such as 0.8."),
    title="Training a network",
)  # fmt: skip
"""Settings of a TrainingConfig that pretraining has not."""
predictor = options.grouped(
    "predictor",
    _predictor,
    click.option("--readout", type=click.Choice(["token", "mean", "sum"]),
                 help="What represents a molecule: its graph token, or the mean or sum over its atoms. [default: token;"
                 " mean with --encoder, whose pretraining never scored the token]"),
    click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
                 help="Rate in the property head."),
    title="Training a network",
)  # fmt: skip
several = options.grouped(
    "several",
    dict,
    click.option("--seeds", type=click.IntRange(1), default=1, metavar="N",
                 help="N models from seeds S, S+1, .. (--seed S), on the same split."),
    click.option("--trials", type=click.IntRange(1), metavar="N",
                 help="First search in N trials for the learning rate, weight decay, dropout, read-out (and layer decay"
                 " of a pretrained encoder) of the best validation score. With --resume and a larger N a finished"
                 " search goes on, and the model is fitted anew."),
    title="Several models",
)  # fmt: skip
answer = options.grouped(
    "answer",
    dict,
    click.option("--head", type=click.Choice(["auto", "network", "kernel", "trees"]),
                 help="auto: forest, trees, kernel machine, states of the encoder and fine-tuned encoder are compared"
                 " by cross-validation, and their weighted mean is the model. Or one kind alone. [default: auto;"
                 " network if an option is given that only a network has, such as --epochs or --seeds]"),
    click.option("--fast", is_flag=True, help="--head auto without fine-tuning: seconds instead of minutes."),
    click.option("--features", multiple=True, metavar="NAME,...",
                 help="What trees and kernel machine read: morgan, atom_pair, path, rdkit2d, and numeric columns of the"
                 " table, such as temperature. [default: the first four]"),
    title="Kinds of models",
)  # fmt: skip
"""Which kinds of model there are to be."""


@click.command(cls=Command)
@options.input_files
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="PATH",
    help="Folder of the model. [default: named after the first file, assay-model for assay.csv]",
)
@options.reading
@several_columns
@options.labels
@weighing
@click.option("--task-type", type=click.Choice(["regression", "classification", "multiclass"]),
              help="[default: classification if every label is 0 or 1, multiclass if they are three words or more; of a"
              " few whole numbers it is asked for]")  # fmt: skip
@sites
@options.featurizing
@dividing
@click.option("--calibration-file", "calibration_files", multiple=True, metavar="FILE",
              help="Make intervals, or rescale probabilities, by the rows of this file instead of the validation rows;"
              " as `calibrate` does for a model that is there. May be repeated.")  # fmt: skip
@several
@options.start
@options.training(epochs=50, batch_size=32, learning_rate=2e-4, patience=15)
@fitting
@predictor
@answer
@options.compute
@options.workers
@options.again
@click.pass_context
def command(ctx: click.Context, inputs: tuple[str, ...], output: str | None, **given: Any) -> None:
    """Fit a model to measured properties.

    FILE is CSV, SMI, SDF, Excel, Parquet.. with columns (or SDF properties) of labels, or one data set that `featurize`
    wrote. Blank labels are missing labels; rows whose molecule cannot be read are left out and listed in rejects.csv.
    Test rows are looked at once, at the end. The output folder is the model for `predict`, with report.html,
    metrics.json, predictions.csv of the held-out rows, split.csv and pictures. With --seeds, --folds or --replicates it
    holds a model folder for each, the files about all of them beside these, and `predict` takes their mean.

    \b
      dgl-moleblend finetune assay.csv
      dgl-moleblend finetune esol.csv --tasks logS -o esol-model
      dgl-moleblend finetune esol.csv --tasks logS --folds 5 --split random -o esol-folds
      dgl-moleblend finetune tox21.csv --tasks 'NR-*,SR-*' --encoder pretrained --positions embed -o tox21-model
      dgl-moleblend finetune shifts.sdf --atom-targets shift -o shift-model
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    output = output or _name_after(inputs[0])
    encoder, division = given["start"]["encoder"], given["dividing"]
    if encoder is not None:
        shipped.find(encoder)  # said before torch is imported
    if any(given["sites"].values()):
        fit_sites(ctx, inputs, output, given)
        return

    from dgl_moleblend import folder as model_folder
    from dgl_moleblend.config import FeaturizerConfig
    from dgl_moleblend.data.labelled import check_kept
    from dgl_moleblend.data.summary import describe_spans
    from dgl_moleblend.files import keep_inputs
    from dgl_moleblend.train.comparison import Comparison
    from dgl_moleblend.train.run import check_folder

    check_together(ctx, inputs, division)
    check_embedding(ctx, given["featurizing"]["positions"], inputs)
    _check_network(ctx, encoder)
    head = _choose_head(ctx, given["answer"])
    molecules = read_columns(ctx, given["smiles_columns"], (*inputs, *given["calibration_files"]), given["reading"])
    kinds, columns = _features(given["answer"]["features"], head)
    weights, by_task = given["weighing"]["weight_column"], read_task_weights(given["weighing"]["task_weights"])
    training: TrainingConfig = given["training"].replace(**given["fitting"], task_weights=by_task)
    if training.freeze_encoder:
        training = training.replace(**unless_given(ctx, FROZEN))
    if head in ("trees", "kernel") or given["answer"]["fast"]:
        refuse(ctx, ("logger",), "only the training of a network is logged")
    start = encoder_choice(ctx, **given["start"])
    if head != "network" and encoder is None:
        start = shipped.DEFAULT
    every_input = (*inputs, *division["validation_file"], *division["test_file"])
    calibration_files: tuple[str, ...] = given["calibration_files"]
    listed = (division["split_file"],) * bool(division["split_file"])
    beside = (*listed, *calibration_files, *([] if encoder is None else [encoder]))
    keep_inputs(output, (*every_input, *beside))
    # what is wrong with the folders is said before molecules are read
    if not given["several"]["trials"]:  # a search may be there without its model
        check_folder(Path(output), **given["again"])
    if encoder is not None:
        model_folder.read(encoder)
    labels, task_type = given["labels"], given["task_type"]
    tasks = {name.strip() for text in labels["task_columns"] for name in text.split(",")}
    if both := tasks.intersection(columns):
        raise click.UsageError(f"{', '.join(sorted(both))}: name it in --tasks or in --features, not in both")
    if weights in {*tasks, *columns}:
        raise click.UsageError(f"{weights}: --weight-column names it, so leave it out of --tasks and --features")
    columns_beside = columns if weights is None else (*columns, weights)
    derived: dict[str, Any] = {}
    if not tasks:
        labels["task_columns"] = find_tasks(
            inputs, given["reading"], _not_predicted(given, (*columns_beside, *molecules))
        )
        derived |= {"tasks": labels["task_columns"]} if labels["task_columns"] else {}
    if labels["task_columns"]:  # else all of a data set are meant
        labels["task_columns"] = (*labels["task_columns"], *columns_beside)
    featurizer = FeaturizerConfig(seed=training.seed, **given["featurizing"])
    several = given["compute"].devices != 1 or number_of_processes() > 1
    store = ctx.with_resource(prepared_once(Path(output))) if several else None
    dataset = open_molecules(ctx, every_input, featurizer, workers=given["workers"], store=store,
                             quiet=not given["compute"].progress, **given["reading"], **labels)  # fmt: skip
    dataset = add_molecules(dataset, every_input, molecules, given["reading"], workers=given["workers"],
                            quiet=not given["compute"].progress)  # fmt: skip
    dataset, weighted = take_weights(dataset, given["weighing"])
    if columns:
        dataset = dataset.select_tasks([name for name in dataset.task_names if name not in columns])
    check_kept(dataset, ", ".join(every_input))
    for text in describe_spans(dataset.labels, dataset.task_names) if task_type in (None, "regression") else ():
        say(text)
    splits = divide(dataset, inputs, division, given["reading"], training.seed)
    measured = None
    if calibration_files:  # before hours of training, since it may be refused
        labels["task_columns"] = (*dataset.task_names, *columns)
        measured = open_molecules(ctx, calibration_files, featurizer, workers=given["workers"],
                                  quiet=not given["compute"].progress, **given["reading"], **labels)  # fmt: skip
        measured = add_molecules(measured, calibration_files, molecules, given["reading"], workers=given["workers"],
                                 quiet=not given["compute"].progress)  # fmt: skip
        calibrate.check(measured, dataset, given["task_type"], calibration_files)
    shared: dict[str, Any] = {"tasks": task_type, "start": start, **weighted, **given["again"]}
    if head == "network":
        with kept(ctx, Path(output), inputs, derived):
            result = _fit_network(dataset, splits, output, given["several"], training=training,
                                  model=given["predictor"], compute=given["compute"], **shared)  # fmt: skip
        chosen_by = result.metrics.get("chosen_by", result.metrics["metric"])
        how, table = f", weights chosen by validation {chosen_by}", to_text
        if "runs" in result.metrics:
            table = runs_to_text
    else:
        compared = Comparison.of(head, fast=given["answer"]["fast"], features=kinds, columns=columns)
        with kept(ctx, Path(output), inputs, derived):
            result = _compare(dataset, splits[0], output, compared, training=training,
                              compute=given["compute"].replace(workers=given["workers"]), **shared)  # fmt: skip
        how, table = "", candidates_to_text
    say(f"{result.metrics['task_type']}" + ("" if task_type else " (as the labels are)") + how)
    if is_first_process():
        click.echo(table(result.metrics))
        if measured is not None:
            calibrate.apply_to_new(output, measured, calibration_files, accelerator=given["compute"].accelerator,
                                   progress=given["compute"].progress)  # fmt: skip
        _conclude(Path(output))


def _not_predicted(given: Mapping[str, Any], others: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that options name as something else than what is to be predicted."""
    named = [given["dividing"][f"{way}_column"] for way in ("split", "group", "time")]
    return (*others, *(name for name in (*named, given["labels"]["relation_column"]) if name))


def _name_after(file: str) -> str:
    """Return the folder for the model of a file: assay-model for data/assay.csv.gz."""
    if file == "-":
        raise click.UsageError("name a folder with -o: standard input has no name to call it after")
    name = Path(file.rstrip("/")).name
    while Path(name).suffix[1:].isalpha() and Path(name).stem:
        name = Path(name).stem
    return f"{name}-model"


def _conclude(out: Path) -> None:
    """Say in words how good the model is, where the report is, and how new molecules are predicted."""
    from dgl_moleblend.report.findings import findings
    from dgl_moleblend.report.results import read_results

    for sentence in findings(read_results(out)):
        say(sentence)
    say(f"open {out / REPORT_FILE}")
    say(f"new molecules: {shlex.join(['dgl-moleblend', 'predict', str(out), 'new.csv', '-o', 'predictions.csv'])}")


def _compare(
    dataset: "MoleculeDataset",
    split: "Split",
    output: str,
    compared: "Comparison",
    *,
    training: "TrainingConfig",
    **shared: Any,
) -> "FinetuneResult":
    """Compare kinds of models."""
    from dgl_moleblend.train.auto import finetune_auto
    from dgl_moleblend.train.comparison import network_training

    rows = len(split.parts["train"]) + len(split.parts["validation"])
    network = network_training(rows, training.seed).replace(metric=training.metric)
    with resumable():
        return finetune_auto(dataset, split, output, comparison=compared, training=network, tell=say, **shared)


def _fit_network(
    dataset: "MoleculeDataset",
    splits: "list[Split]",
    output: str,
    several: Mapping[str, Any],
    *,
    resume: bool,
    overwrite: bool,
    **settings: Any,
) -> "FinetuneResult":
    """Fit a network, or several; first search for its settings where that is asked for."""
    from dgl_moleblend.data.splits import Split
    from dgl_moleblend.train.ensemble import finetune_folds, finetune_replicates, finetune_seeds
    from dgl_moleblend.train.finetune import finetune
    from dgl_moleblend.train.run import is_finished
    from dgl_moleblend.train.tuning import tune

    trials = several["trials"]
    with resumable():
        if trials:
            earlier = is_finished(Path(output)) is not None
            found = tune(dataset, splits[0], output, trials=trials, resume=resume, overwrite=overwrite, **settings)
            settings |= {"model": found.model, "training": found.training}
            best = {name: getattr(found.training, name, getattr(found.model, name, None)) for name in TUNED
                    if name in found.trials}  # fmt: skip
            say("best settings: " + ", ".join(f"{k} {_short(v)}" for k, v in best.items()) + "; all are in trials.csv")
            splits = [Split(split.parts, {**split.facts, "trials": trials}) for split in splits]
            goes_on = resume and is_finished(Path(output)) is not None
            if resume and earlier and not goes_on:
                say("the model of fewer trials is deleted; it is fitted anew")
            resume = goes_on
        again: dict[str, Any] = {"resume": resume, "overwrite": overwrite}
        if "replicate" in splits[0].facts:
            return finetune_replicates(dataset, splits, output, **again, **settings)
        if len(splits) > 1:
            return finetune_folds(dataset, splits, output, **again, **settings)
        if several["seeds"] > 1:
            return finetune_seeds(dataset, splits[0], output, seeds=several["seeds"], **again, **settings)
        return finetune(dataset, splits[0], output, **again, **settings)


def _check_network(ctx: click.Context, encoder: str | None) -> None:
    """Refuse options of a network that contradict each other."""
    if encoder is None:
        refuse(ctx, ("freeze_encoder",), "a fresh encoder knows nothing; give a pretrained one with --encoder")
    if ctx.params["freeze_encoder"]:
        refuse(ctx, ("layer_decay", "trials"), "--freeze trains the head alone")
    if ctx.params["devices"] > 1:
        refuse(ctx, ("seeds", "folds", "replicates", "trials"), "several --devices train one model")
    if ctx.params["trials"]:
        refuse(ctx, TUNED, "--trials searches for it")


def _choose_head(ctx: click.Context, answer: Mapping[str, Any]) -> str:
    """Return the kind of model: the one asked for, else by the other options."""
    head, fast = answer["head"], answer["fast"]
    given = [p.opts[0] for p in ctx.command.params if p.name in NETWORK_ONLY
             and ctx.get_parameter_source(p.name) is not ParameterSource.DEFAULT]  # fmt: skip
    if head in (None, "auto") and fast:
        head = "auto"
    elif fast:
        raise click.UsageError(f"leave out --fast: it is of --head auto, not of --head {head}")
    if head is None:
        if given:
            say(f"a network alone, because of {', '.join(given)}; --head auto compares it with others")
        return "network" if given else "auto"
    if head != "network" and given:
        asked = "--fast" if fast else f"--head {head}"
        raise click.UsageError(f"leave out {given[0]}: it is of --head network, not of {asked}")
    return str(head)


def _features(features: tuple[str, ...], head: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return kinds of features, and columns of the table."""
    if features and head == "network":
        raise click.UsageError("leave out --features: a network reads the molecule alone; --head auto takes them")
    from dgl_moleblend.schema import FEATURE_KINDS

    names = [name.strip() for text in features for name in text.split(",") if name.strip()]
    kinds = tuple(name for name in FEATURE_KINDS if name in names)
    columns = tuple(dict.fromkeys(name for name in names if name not in FEATURE_KINDS))
    return kinds or FEATURE_KINDS, columns


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
