"""`finetune`: molecules with measured properties -> a model folder, scores and predictions of held-out rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import (
    READING,
    encoder_choice,
    open_molecules,
    refuse,
    resumable,
    say,
    training_config,
    unless_given,
)

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.splits import Split

DIVIDING = ("split", "scaffold", "fractions", "keep_duplicates_together")
FROZEN = {"learning_rate": 3e-3, "max_epochs": 200}
"""Defaults for a head on frozen states, which `benchmarks/README.md` has found on validation rows."""
SHIPPED = "mini"
"""What `--head auto` starts from where no encoder is named."""
NETWORK_ONLY = ("size", "max_epochs", "max_steps", "batch_size", "learning_rate", "weight_decay", "warmup", "clip_norm",
                "patience", "precision", "num_workers", "seeds", "folds", "trials", "readout", "dropout",
                "class_weights", "freeze_encoder", "layer_decay")  # fmt: skip
"""Options of a network alone."""
TUNED = ("learning_rate", "weight_decay", "dropout", "readout", "layer_decay")


@click.command()
@options.input_files
@options.output
@options.columns
@options.tasks
@click.option("--task-type", type=click.Choice(["regression", "classification"]),
              help="[default: classification if every label is 0 or 1]")  # fmt: skip
@options.featurizer
@click.option("--split", type=click.Choice(["scaffold", "random", "molecular_weight", "stratified", "consecutive"]),
              default="scaffold", show_default=True, help="How molecules are divided, by dgllife.")  # fmt: skip
@click.option("--scaffold", type=click.Choice(["smiles", "decompose"]), default="smiles", show_default=True,
              help="Which of dgllife's scaffolds: RDKit's MurckoScaffoldSmiles or MurckoDecompose.")  # fmt: skip
@click.option("--fractions", nargs=3, type=float, default=(0.8, 0.1, 0.1), show_default=True,
              metavar="TRAIN VALIDATION TEST", help="Shares of the molecules.")  # fmt: skip
@click.option("--keep-duplicates-together", is_flag=True, help="Never divide rows that hold the same molecule.")
@click.option(
    "--split-column", metavar="NAME", help="Divide as this column says: train, validation (valid, val), test."
)
@click.option("--validation-file", multiple=True, metavar="FILE",
              help="Validate on this file; FILE... are the others. May be repeated.")  # fmt: skip
@click.option("--test-file", multiple=True, metavar="FILE", help="Test on this file. May be repeated.")
@click.option("--folds", type=click.IntRange(3), metavar="K",
              help="K models, each tested on another part of the molecules.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=1, metavar="N",
              help="N models from seeds S, S+1, .. (--seed S), on the same split.")  # fmt: skip
@click.option("--trials", type=click.IntRange(1), metavar="N",
              help="First search in N trials for the learning rate, weight decay, dropout, read-out (and layer decay of"
              " a pretrained encoder) of the best validation score. With --resume and a larger N a finished search goes"
              " on, and the model is fitted anew.")  # fmt: skip
@options.training(epochs=50, batch_size=32, learning_rate=2e-4, patience=15)
@click.option("--metric", type=click.Choice(["rmse", "mae", "r2", "scaled", "roc_auc", "pr_auc", "loss"]),
              help="Validation score that chooses the weights; scaled: the mean RMSE of several properties, in units of"
              " each one's deviation. [default: rmse, or scaled, or roc_auc]")  # fmt: skip
@click.option("--readout", type=click.Choice(["token", "mean", "sum"]),
              help="What represents a molecule: its graph token, or the mean or sum over its atoms. [default: token;"
              " mean with --encoder, whose pretraining never scored the token]")  # fmt: skip
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
              help="Rate in the property head.")  # fmt: skip
@click.option("--class-weights", is_flag=True, help="Give both classes of each task the same weight in training.")
@click.option("--head", type=click.Choice(["auto", "network", "kernel", "trees"]),
              help="auto: forest, trees, kernel machine, states of the encoder and fine-tuned encoder are compared by"
              " cross-validation, and their weighted mean is the model. Or one kind alone. [default: auto; network if"
              " an option is given that only a network has, such as --epochs or --seeds]")  # fmt: skip
@click.option("--fast", is_flag=True, help="--head auto without fine-tuning: seconds instead of minutes.")
@click.option("--features", multiple=True, metavar="NAME,...",
              help="What trees and kernel machine read: morgan, atom_pair, path, rdkit2d, and numeric columns of the"
              " table, such as temperature. [default: the first four]")  # fmt: skip
@click.option("--freeze", "freeze_encoder", is_flag=True,
              help="Train the property head alone (with --encoder), in seconds. It wants more than a whole model does:"
              " --learning-rate 3e-3 --epochs 200, unless given.")  # fmt: skip
@click.option("--layer-decay", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
              help="Each layer learns so many times as fast as the one above it, such as 0.8.")  # fmt: skip
@options.accelerator
@options.workers
@options.quiet
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str,
    positions: str,
    num_conformers: int,
    timeout: float,
    size: str,
    encoder: str | None,
    task_type: str | None,
    metric: str | None,
    readout: str | None,
    dropout: float,
    seeds: int,
    folds: int | None,
    trials: int | None,
    class_weights: bool,
    freeze_encoder: bool,
    layer_decay: float,
    head: str | None,
    fast: bool,
    features: tuple[str, ...],
    accelerator: str,
    resume: bool,
    overwrite: bool,
    workers: int,
    quiet: bool,
    **values: Any,
) -> None:
    """Fit a model to measured properties.

    FILE is CSV, TSV, SMI, SDF or Parquet with columns (or SDF properties) of labels, or one data set that `featurize`
    wrote. Blank labels are missing labels; rows whose molecule cannot be read are left out and listed in rejects.csv.
    Test rows are looked at once, at the end. The output folder is the model for `predict`, with report.html,
    metrics.json, predictions.csv of the held-out rows, split.csv and pictures. With --seeds or --folds it holds a model
    folder for each, the files about all of them beside these, and `predict` takes their mean.

    \b
      dgl-moleblend finetune esol.csv --tasks logS -o esol-model
      dgl-moleblend finetune esol.csv --tasks logS --folds 5 --split random -o esol-folds
      dgl-moleblend finetune tox21.csv --tasks 'NR-*,SR-*' --encoder pretrained --positions embed -o tox21-model
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from dgl_moleblend import folder as model_folder
    from dgl_moleblend.config import FeaturizerConfig
    from dgl_moleblend.errors import DataError

    dividing = {name: values.pop(name) for name in (*DIVIDING, "split_column", "validation_file", "test_file")}
    _check_together(ctx, inputs, dividing, folds=folds, seeds=seeds, trials=trials, encoder=encoder)
    head = _choose_head(ctx, head, fast)
    kinds, feature_columns = _features(ctx, features, head)
    if freeze_encoder:
        values |= unless_given(ctx, FROZEN)
    config = training_config(values)
    config = config.replace(class_weights=class_weights, freeze_encoder=freeze_encoder, layer_decay=layer_decay)
    start = encoder_choice(ctx, size, encoder)
    if head != "network" and encoder is None:
        start = SHIPPED
    featurizer = FeaturizerConfig(positions, seed=config.seed, num_conformers=num_conformers, timeout=timeout)
    files = {part: name for part in ("validation", "test") if (name := dividing[f"{part}_file"])}
    every_input = (*inputs, *(name for names in files.values() for name in names))
    model_folder.keep_inputs(output, every_input if encoder is None else (*every_input, encoder))
    if encoder is not None:
        model_folder.read(encoder)  # what is wrong with it is said before molecules are read and folders made
    tasks = {name.strip() for text in values["task_columns"] for name in text.split(",")}
    if both := tasks.intersection(feature_columns):
        raise click.UsageError(f"{', '.join(sorted(both))}: name it in --tasks or in --features, not in both")
    if feature_columns:
        values["task_columns"] = (*values["task_columns"], *feature_columns)
    dataset = open_molecules(ctx, every_input, featurizer, workers=workers, quiet=quiet, **values)
    if feature_columns:
        dataset = dataset.select_tasks([name for name in dataset.task_names if name not in feature_columns])
    if not len(dataset):
        why = f"; the first was rejected: {dataset.rejects['reason'].iloc[0]}" if len(dataset.rejects) else ""
        raise DataError(f"no molecule was kept{why}", where=", ".join(every_input), fix="correct the rows of the file")
    reading = {name: values[name] for name in READING if name != "id_column"}
    splits = _divide(dataset, inputs, dividing, files, reading, folds=folds, seed=config.seed)
    facts = [{**split.facts, "duplicates": _report(dataset, split), "inputs": list(every_input)} for split in splits]

    from dgl_moleblend.train.ensemble import finetune_folds, finetune_seeds
    from dgl_moleblend.train.finetune import finetune
    from dgl_moleblend.train.tuning import tune

    again: dict[str, Any] = {"resume": resume, "overwrite": overwrite}
    if head != "network":
        from dgl_moleblend.train.auto import CANDIDATES, finetune_auto

        wanted = {"auto": CANDIDATES, "kernel": ("mean", "kernel"), "trees": ("mean", "trees")}[head]
        with resumable():
            result = finetune_auto(
                dataset, splits[0].parts, output, encoder=start, features=kinds, columns=feature_columns,
                candidates=[name for name in wanted if not (fast and name == "network")], task_type=task_type,
                metric=metric, facts=facts[0], workers=workers, progress=not quiet, accelerator=accelerator,
                seed=config.seed, tell=say, **again,
            )  # fmt: skip
        say(f"{result.metrics['task_type']}" + ("" if task_type else " (as the labels are)"))
        click.echo(candidates_to_text(result.metrics))
        say(f"model: {output}; open {Path(output) / 'report.html'}")
        return
    fixed: dict[str, Any] = {"encoder": start, "task_type": task_type, "metric": metric, "progress": not quiet,
             "accelerator": accelerator}  # fmt: skip
    predictor = {"readout": readout, "dropout": dropout}
    with resumable():
        if trials:
            earlier = (Path(output) / "run.json").exists()
            found = tune(dataset, splits[0].parts, output, trials=trials, training_config=config, **fixed, **again)
            predictor, config = found.predictor, found.training_config
            best = {name: getattr(config, name, predictor.get(name)) for name in TUNED if name in found.trials}
            say("best settings: " + ", ".join(f"{k} {_short(v)}" for k, v in best.items()) + "; all are in trials.csv")
            facts[0]["trials"] = trials
            again["resume"] = resume and (Path(output) / "run.json").exists()
            if resume and earlier and not again["resume"]:
                say("the model of fewer trials is deleted; it is fitted anew")
        chosen: dict[str, Any] = {**fixed, **predictor, **again, "training_config": config}
        if folds:
            result = finetune_folds(dataset, [split.parts for split in splits], output, facts=facts, **chosen)
        elif seeds > 1:
            result = finetune_seeds(dataset, splits[0].parts, output, seeds=seeds, facts=facts[0], **chosen)
        else:
            result = finetune(dataset, splits[0].parts, output, facts=facts[0], **chosen)
    guessed = "" if task_type else " (as the labels are)"
    chosen_by = result.metrics.get("chosen_by", result.metrics["metric"])
    say(f"{result.metrics['task_type']}{guessed}, weights chosen by validation {chosen_by}")
    click.echo(runs_to_text(result.metrics) if "runs" in result.metrics else to_text(result.metrics))
    say(f"model: {output}")


def _choose_head(ctx: click.Context, head: str | None, fast: bool) -> str:
    """Return the kind of model: the one asked for, else by the other options."""
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
        raise click.UsageError(f"leave out {given[0]}: it is of --head network, not of --head {head}")
    return head


def _features(ctx: click.Context, features: tuple[str, ...], head: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return kinds of features, and columns of the table."""
    if features and head == "network":
        raise click.UsageError("leave out --features: a network reads the molecule alone; --head auto takes them")
    from dgl_moleblend.schema import FEATURE_KINDS

    names = [name.strip() for text in features for name in text.split(",") if name.strip()]
    kinds = tuple(name for name in FEATURE_KINDS if name in names)
    columns = tuple(dict.fromkeys(name for name in names if name not in FEATURE_KINDS))
    return kinds or FEATURE_KINDS, columns


def _check_together(
    ctx: click.Context,
    inputs: tuple[str, ...],
    dividing: Mapping[str, Any],
    *,
    folds: int | None,
    seeds: int,
    trials: int | None,
    encoder: str | None,
) -> None:
    """Refuse options that contradict each other, before anything is read."""
    column, files = dividing["split_column"], dividing["validation_file"] + dividing["test_file"]
    ways = {"--split-column": column, "--validation-file or --test-file": files, "--folds": folds}
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"leave out {given[1]}: {given[0]} says already how molecules are divided")
    if column:
        refuse(ctx, DIVIDING, "--split-column says how molecules are divided")
    if dividing["validation_file"] and dividing["test_file"]:
        refuse(ctx, DIVIDING, "the files say how molecules are divided")
    if (column or files) and any(name == "-" or Path(name).is_dir() for name in (*inputs, *files)):
        raise click.UsageError(f"{given[0]} needs files of molecules, not a data set or standard input")
    if dividing["split"] != "scaffold":
        refuse(ctx, ("scaffold",), f"the split is {dividing['split']}")
    if folds:
        refuse(ctx, ("seeds", "trials"), "--folds makes several models of one setting")
        refuse(ctx, ("fractions",), "one fold tests, one validates, the others train")
        if dividing["split"] in ("molecular_weight", "consecutive"):
            raise click.UsageError("--folds are by --split scaffold, random or stratified")
    if encoder is None:
        refuse(ctx, ("freeze_encoder",), "a fresh encoder knows nothing; give a pretrained one with --encoder")
    if ctx.params["freeze_encoder"]:
        refuse(ctx, ("layer_decay", "trials"), "--freeze trains the head alone")
    if trials:
        refuse(ctx, TUNED, "--trials searches for it")


def _divide(
    dataset: "MoleculeDataset",
    inputs: tuple[str, ...],
    dividing: Mapping[str, Any],
    files: Mapping[str, tuple[str, ...]],
    reading: Mapping[str, Any],
    *,
    folds: int | None,
    seed: int,
) -> "list[Split]":
    """Return the split, or those of all folds."""
    from dgl_moleblend.data.folds import split_into_folds
    from dgl_moleblend.data.given_splits import split_by_column, split_by_file
    from dgl_moleblend.data.splits import split_by_method
    from dgl_moleblend.readers.files import expand_inputs

    how = {"method": dividing["split"], "seed": seed, "scaffold": dividing["scaffold"],
           "keep_duplicates_together": dividing["keep_duplicates_together"]}  # fmt: skip
    if folds:
        return split_into_folds(dataset, folds, **how)
    if dividing["split_column"]:
        return [split_by_column(dataset, inputs, dividing["split_column"], **reading)]
    how["fractions"] = dividing["fractions"]
    if files:
        found = {part: expand_inputs(names) for part, names in files.items()}
        if both := set(expand_inputs(inputs)) & {name for names in found.values() for name in names}:
            raise click.UsageError(f"{min(both)} is a training file, too: name it once")
        return [split_by_file(dataset, found, how)]
    return [split_by_method(dataset, **how)]


def _report(dataset: "MoleculeDataset", split: "Split") -> dict[str, int]:
    """Say how molecules are divided; count those that are in two parts."""
    from dgl_moleblend.data.duplicates import describe_duplicates, find_duplicates

    fold = f", fold {split.facts['fold']}" if "fold" in split.facts else ""
    say(f"{split.facts['split']} split ({split.facts['split_variant']}){fold}: {split}")
    if "split_warning" in split.facts:
        say(f"WARNING: {split.facts['split_warning']}; --split random or --folds divide otherwise")
    for part, counts in split.facts.get("split_files", {}).items():
        say(f"{part} file: {counts['kept']:,} rows kept, {counts['rejected']:,} rejected")
    if not len(split.parts["test"]):
        say("no test rows: there will be no score of molecules that chose nothing")
    found = find_duplicates(dataset, split.parts)
    if text := describe_duplicates(found):
        drawn = "keep_duplicates_together" in split.facts
        say(text + (" (--keep-duplicates-together prevents it)" if drawn and found["across_parts"] else ""))
    return found


def candidates_to_text(metrics: Mapping[str, Any]) -> str:
    """Write the scores of all that were compared, and of their weighted mean, as a table."""
    names = _shown(metrics["test"])
    header = [f"cv {name}" for name in names] + [f"test {name}" for name in names]
    lines = [f"{'':16}" + "".join(f"{text:>14}" for text in header) + f"{'weight':>9}{'s':>7}"]
    rows = {**metrics["candidates"], "weighted mean": {**metrics, "weight": 1.0, "seconds": None}}
    for label, row in rows.items():
        cells = [_cell(row[part][name]) for part in ("cross_validation", "test") for name in names]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        weight = f"{row['weight']:.2f}" if row["weight"] else "-"
        lines.append(f"{label:16}" + "".join(f"{cell:>14}" for cell in cells) + f"{weight:>9}{seconds:>7}")
    lines += [f"left out: {name} ({why})" for name, why in metrics["skipped"].items()]
    return "\n".join(lines)


def to_text(metrics: Mapping[str, Any]) -> str:
    """Write scores as a table: one row a score, beside those of a model that predicts the mean."""
    names = _shown(metrics["test"])
    columns = (metrics["validation"], metrics["test"], metrics["mean_predictor"]["test"])
    tasks = _each_task(metrics["test"])
    width = max(8, *(len(f"rmse {task}") + 1 for task in tasks)) if tasks else 8
    lines = [f"{'':{width}}{'validation':>12}{'test':>12}{'mean predictor, test':>24}"]
    for name in names:
        cells = [_cell(column[name]) for column in columns]
        lines.append(f"{name:{width}}{cells[0]:>12}{cells[1]:>12}{cells[2]:>24}")
        if left_out := metrics["test"]["left_out"].get(name):
            lines[-1] += f"   ({left_out} of {len(metrics['test']['tasks'])} tasks have no test {name})"
    for task in tasks:
        cells = [_cell(column["tasks"][task]["rmse"]) for column in columns]
        lines.append(f"{f'rmse {task}':{width}}{cells[0]:>12}{cells[1]:>12}{cells[2]:>24}")
    return "\n".join([*lines, *_explain_scaled(names)])


def _shown(scores: Mapping[str, Any]) -> list[str]:
    """Return the scores whose mean over tasks means something."""
    from dgl_moleblend.models.targets import SCALED, shared_metrics

    return list(shared_metrics("regression", 2) if SCALED in scores else scores["left_out"])


def _each_task(scores: Mapping[str, Any]) -> list[str]:
    """Return the tasks whose errors are written in their own units, since one number for all has none."""
    return list(scores["tasks"]) if "scaled" in scores else []


def _explain_scaled(names: list[str]) -> list[str]:
    return ["scaled: mean RMSE, each in units of its property's deviation among the training rows"] * (
        "scaled" in names
    )


def runs_to_text(metrics: Mapping[str, Any]) -> str:
    """Write scores of several runs: mean and deviation, then all of them together, beside the mean predictor."""
    together = "out_of_fold" if "out_of_fold" in metrics else "test"
    title = "all test rows" if together == "out_of_fold" else "test, of the mean"
    lines = [f"{len(metrics['runs'])} runs{'validation':>20}{'test':>20}{title:>20}{'mean predictor':>20}"]
    names = _shown(metrics[together])
    for name in names:
        cells = [
            f"{_cell(metrics['mean'][part][name])} +- {_cell(metrics['deviation'][part][name])}"
            for part in ("validation", "test")
        ]
        cells += [_cell(metrics[together][name]), _cell(metrics["mean_predictor"][together][name])]
        lines.append(f"{name:8}{cells[0]:>18}" + "".join(f"{cell:>20}" for cell in cells[1:]))
    for task in _each_task(metrics[together]):
        scores = [one["tasks"][task]["rmse"] for one in (metrics[together], metrics["mean_predictor"][together])]
        lines.append(f"{f'rmse {task}':46}" + "".join(f"{_cell(value):>20}" for value in scores))
    return "\n".join([*lines, *_explain_scaled(names)])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
