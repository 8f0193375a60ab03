"""`finetune --atom-targets`, `--bond-targets`: what it does otherwise than with labels of molecules, and its scores."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dgl_moleblend import shipped
from dgl_moleblend.cli import options
from dgl_moleblend.cli.dividing import check_together, divide
from dgl_moleblend.cli.inputs import check_embedding, encoder_choice, refuse, resumable, say, unless_given
from dgl_moleblend.cli.scores import aligned, cell
from dgl_moleblend.cli.settings import kept
from dgl_moleblend.env.processes import number_of_processes

if TYPE_CHECKING:
    from dgl_moleblend.config import TrainingConfig
    from dgl_moleblend.predict.jobs import SitePrediction

_OF_MOLECULES = ("task_columns", "missing_labels", "task_type", "seeds", "folds", "replicates", "trials", "readout",
                 "class_weights", "weight_column", "task_weights", "head", "fast", "features", "devices",
                 "standardize", "smiles_columns", "calibration_files", "relation_column")  # fmt: skip
"""Options that labels of molecules alone have."""

sites = options.grouped(
    "sites",
    dict,
    click.option("--atom-targets", multiple=True, metavar="NAME,...",
                 help="Learn values of atoms: columns (or SDF properties, also atom.dprop.NAME) with a list for each"
                 " molecule, such as [1.2, null, 3.4], a value for each atom as it is written; or FILE.npz with an"
                 " array for each identifier. Values of hydrogens are not used."),
    click.option("--bond-targets", multiple=True, metavar="NAME,...",
                 help="Learn values of bonds: the same, in RDKit's order of the bonds of the molecule as written."),
    title="Atoms and bonds",
)  # fmt: skip
"""Columns of values of atoms or bonds, in the place of labels of molecules."""


def fit_sites(ctx: click.Context, inputs: tuple[str, ...], output: str, given: Mapping[str, Any]) -> None:
    """Fit a network to values of atoms or bonds.

    Raises
    ------
    click.UsageError
        If options do not go together.
    """
    level = "atom" if given["sites"]["atom_targets"] else "bond"
    option = f"--{level}-targets"
    if level == "atom" and given["sites"]["bond_targets"]:
        raise click.UsageError("leave out --bond-targets: a model tells of atoms or of bonds")
    refuse(ctx, _OF_MOLECULES, f"it is of labels of molecules, not of {option}")
    if number_of_processes() > 1:
        raise click.UsageError(f"{option} trains in one process")
    division, encoder, reading = given["dividing"], given["start"]["encoder"], given["reading"]
    check_together(ctx, inputs, division)
    check_embedding(ctx, given["featurizing"]["positions"])

    from dgl_moleblend import folder as model_folder
    from dgl_moleblend.config import FeaturizerConfig
    from dgl_moleblend.data.site_inputs import open_site_files
    from dgl_moleblend.files import REPORT_FILE, keep_inputs
    from dgl_moleblend.train.atoms import TRAINING, describe_values
    from dgl_moleblend.train.run import check_folder
    from dgl_moleblend.train.sites import finetune_sites

    training: TrainingConfig = given["training"].replace(**given["fitting"])
    training = training.replace(**unless_given(ctx, {"learning_rate": TRAINING.learning_rate}))
    if encoder is None and ctx.get_parameter_source("size") is ParameterSource.DEFAULT:
        encoder = shipped.DEFAULT
    if encoder is None:
        refuse(ctx, ("freeze_encoder",), "a fresh encoder knows nothing; give a pretrained one with --encoder")
    start = encoder_choice(ctx, given["start"]["size"], encoder)
    texts = given["sites"][f"{level}_targets"]
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    every_input = (*inputs, *division["validation_file"], *division["test_file"])
    read = [*every_input, *(name for name in names if name.endswith(".npz")), *([encoder] if encoder else [])]
    keep_inputs(output, read)
    check_folder(Path(output), **given["again"])
    if encoder is not None:
        model_folder.read(encoder)
    featurizer = FeaturizerConfig(seed=training.seed, **given["featurizing"])
    data = open_site_files(every_input, names, level, featurizer, option=option, reading=reading,
                           workers=given["workers"], progress=given["compute"].progress, tell=say)  # fmt: skip
    dataset = data.labelled.dataset
    say(f"{len(dataset) + len(dataset.rejects):,} rows: {len(dataset):,} kept, {len(dataset.rejects):,} rejected")
    say(describe_values(data.values))
    split = divide(dataset, inputs, division, reading, training.seed)[0]
    model = given["predictor"]
    with kept(ctx, Path(output), inputs, {}), resumable():
        result = finetune_sites(dataset, data.values, split, output, start=start, model=model, training=training,
                                compute=given["compute"], **given["again"])  # fmt: skip
    say(f"values of {level}s, weights chosen by validation {result.metrics['chosen_by']}")
    click.echo(to_text(result.metrics))
    say(f"open {Path(output) / REPORT_FILE}")
    say(f"new molecules: {shlex.join(['dgl-moleblend', 'predict', output, 'new.csv', '-o', 'predictions.csv'])}")


def open_site_job(ctx: click.Context, models: Sequence[str], form: str | None, accelerator: str) -> "SitePrediction":
    """Return the job of `predict` with a model of atoms or bonds.

    Raises
    ------
    click.UsageError
        If there are several models, or options of predictions of molecules are given.
    """
    from dgl_moleblend.predict.jobs import SitePrediction

    if len(models) > 1:
        raise click.UsageError(f"{models[0]} and {models[1]}: give one model, if it is of atoms or bonds")
    refuse(ctx, ("coverage", "top", "by", "lowest"), "the model predicts a list of values, of atoms or bonds")
    if form == "html":
        raise click.UsageError("a page shows values of molecules: write .csv, .parquet, .json or .jsonl")
    return SitePrediction(models[0], accelerator)


def to_text(metrics: Mapping[str, Any]) -> str:
    """Write the scores of each value as a table, beside those of the mean of each kind of atom or bond."""
    kinds = "mean by element" if metrics["level"] == "atom" else "mean by kind"
    tasks = metrics["test"]["tasks"]
    columns = (metrics["validation"], metrics["test"], metrics["mean_by_kind"]["test"])
    table = [["", "validation", "test", f"{kinds}, test"]]
    table += [
        [f"{task} {name}", *(cell(column["tasks"][task][name]) for column in columns)]
        for task in tasks
        for name in ("rmse", "mae", "r2")
    ]
    return "\n".join(aligned(table))
