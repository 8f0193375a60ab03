"""`finetune`: molecules with measured properties -> a model folder, scores and predictions of held-out rows."""

from collections.abc import Mapping
from typing import Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import encoder_choice, open_molecules, resumable, say, training_config


@click.command()
@options.input_files
@options.output
@options.columns
@options.tasks
@options.featurizer
@options.training(epochs=50, batch_size=32, learning_rate=2e-4, patience=15)
@click.option("--task-type", type=click.Choice(["regression", "classification"]),
              help="[default: classification if every label is 0 or 1]")  # fmt: skip
@click.option("--metric", type=click.Choice(["rmse", "mae", "r2", "roc_auc", "pr_auc", "loss"]),
              help="Validation score that chooses the weights. [default: rmse, or roc_auc]")  # fmt: skip
@click.option("--split", type=click.Choice(["scaffold", "random", "molecular_weight", "stratified", "consecutive"]),
              default="scaffold", show_default=True, help="How molecules are divided, by dgllife.")  # fmt: skip
@click.option("--fractions", nargs=3, type=float, default=(0.8, 0.1, 0.1), show_default=True,
              metavar="TRAIN VALIDATION TEST", help="Shares of the molecules.")  # fmt: skip
@click.option("--readout", type=click.Choice(["token", "mean", "sum"]), default="token", show_default=True,
              help="What represents a molecule: its graph token, or the mean or sum over its atoms.")  # fmt: skip
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
              help="Rate in the property head.")  # fmt: skip
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
    split: str,
    fractions: tuple[float, float, float],
    readout: str,
    dropout: float,
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
    Test rows are looked at once, at the end. The output folder is the model for `predict`, with metrics.json,
    predictions.csv of the held-out rows, split.csv and pictures.

    \b
      dgl-moleblend finetune esol.csv --tasks logS -o esol-model
      dgl-moleblend finetune tox21.csv --tasks 'NR-*,SR-*' --encoder pretrained --positions embed -o tox21-model
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from dgl_moleblend.config import FeaturizerConfig

    config = training_config(values)
    start = encoder_choice(ctx, size, encoder)
    featurizer = FeaturizerConfig(positions, seed=config.seed, num_conformers=num_conformers, timeout=timeout)
    dataset = open_molecules(ctx, inputs, featurizer, workers=workers, quiet=quiet, **values)
    parts = dataset.split(split, fractions, config.seed)
    say(f"{split} split: {len(parts[0]):,} molecules train, {len(parts[1]):,} validate, {len(parts[2]):,} test")

    from dgl_moleblend.workflows import finetune

    with resumable():
        result = finetune(
            dataset,
            dict(zip(("train", "validation", "test"), parts, strict=True)),
            output,
            encoder=start,
            readout=readout,
            dropout=dropout,
            task_type=task_type,
            metric=metric,
            training_config=config,
            facts={"split": split, "fractions": list(fractions), "inputs": list(inputs)},
            resume=resume,
            overwrite=overwrite,
            progress=not quiet,
            accelerator=accelerator,
        )
    found = "" if task_type else " (as the labels are)"
    say(f"{result.metrics['task_type']}{found}, weights chosen by validation {result.metrics['chosen_by']}")
    click.echo(to_text(result.metrics))
    say(f"model: {output}")


def to_text(metrics: Mapping[str, Any]) -> str:
    """Write scores as a table: one row a score, beside those of a model that predicts the mean."""
    names = list(metrics["test"]["left_out"])
    lines = [f"{'':8}{'validation':>12}{'test':>12}{'mean predictor, test':>24}"]
    for name in names:
        values = (metrics["validation"][name], metrics["test"][name], metrics["mean_predictor"]["test"][name])
        cells = ["-" if value is None else f"{value:.4f}" for value in values]
        lines.append(f"{name:8}{cells[0]:>12}{cells[1]:>12}{cells[2]:>24}")
        if left_out := metrics["test"]["left_out"][name]:
            lines[-1] += f"   ({left_out} of {len(metrics['test']['tasks'])} tasks have no test {name})"
    return "\n".join(lines)
