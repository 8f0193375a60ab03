"""How `finetune` divides molecules: its options, which of them go together, and what is said about the parts."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import refuse, say

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.splits import Split

BY_SEED = ("random", "stratified", "scaffold_balanced", "cluster")
"""Splits that are others with another seed."""
DIVIDING = ("split", "scaffold", "fractions", "keep_duplicates_together")

dividing = options.grouped(
    "dividing",
    dict,
    click.option("--split", type=click.Choice(["scaffold", "random", "scaffold_balanced", "cluster", "molecular_weight",
                                               "stratified", "consecutive"]), default="scaffold", show_default=True,
                 help="How molecules are divided, by dgllife; scaffold_balanced: whole scaffolds drawn at random;"
                 " cluster: whole clusters of molecules that are alike (sphere exclusion), drawn at random."),
    click.option("--scaffold", type=click.Choice(["smiles", "decompose"]), default="smiles", show_default=True,
                 help="Which of dgllife's scaffolds: RDKit's MurckoScaffoldSmiles or MurckoDecompose."),
    click.option("--fractions", nargs=3, type=float, default=(0.8, 0.1, 0.1), show_default=True,
                 metavar="TRAIN VALIDATION TEST", help="Shares of the molecules."),
    click.option("--keep-duplicates-together", is_flag=True,
                 help="Never divide rows that hold the same molecule."),
    click.option("--split-column", metavar="NAME",
                 help="Divide as this column says: train, validation (valid, val), test."),
    click.option("--group-column", metavar="NAME",
                 help="Divide the groups that this column names (series, laboratories) at random; none is parted."),
    click.option("--time-column", metavar="NAME",
                 help="The oldest train, the newest test, as the numbers or dates of this column say."),
    click.option("--split-file", type=click.Path(), metavar="FILE",
                 help="Divide as this table says, of columns row (or id) and split: split.csv or predictions.csv of"
                 " another run, or one of your own."),
    click.option("--validation-file", multiple=True, metavar="FILE",
                 help="Validate on this file; FILE... are the others. May be repeated."),
    click.option("--test-file", multiple=True, metavar="FILE", help="Test on this file. May be repeated."),
    click.option("--folds", type=click.IntRange(3), metavar="K",
                 help="K models, each tested on another part of the molecules; with --test-file each validated on"
                 " another part, and all tested on the file."),
    click.option("--replicates", type=click.IntRange(2), metavar="N",
                 help="N models of N splits, by the seeds S, S+1, .. (--seed S): how much scores differ between splits."
                 " Of --split random, stratified, scaffold_balanced or cluster, and of --group-column."),
    title="Dividing the molecules",
)  # fmt: skip


def check_together(ctx: click.Context, inputs: tuple[str, ...], dividing: Mapping[str, Any]) -> None:
    """Refuse options that contradict each other, before anything is read.

    Raises
    ------
    click.UsageError
        That names one to leave out.
    """
    folds, column = dividing["folds"], dividing["split_column"]
    group, time = dividing["group_column"], dividing["time_column"]
    files = dividing["validation_file"] + dividing["test_file"]
    ways = {
        "--split-column": column,
        "--group-column": group,
        "--time-column": time,
        "--split-file": dividing["split_file"],
        "--validation-file or --test-file": files,
        "--folds": folds,
    }
    if folds and not dividing["validation_file"]:  # the folds are of the other files
        ways.pop("--validation-file or --test-file")
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"leave out {given[1]}: {given[0]} says already how molecules are divided")
    if column:
        refuse(ctx, DIVIDING, "--split-column says how molecules are divided")
    if dividing["split_file"]:
        refuse(ctx, DIVIDING, "--split-file says how molecules are divided")
    for name in ("--group-column", "--time-column"):
        if ways[name]:
            refuse(ctx, ("split", "scaffold", "keep_duplicates_together"), f"{name} says how molecules are divided")
    if dividing["validation_file"] and dividing["test_file"]:
        refuse(ctx, DIVIDING, "the files say how molecules are divided")
    if (column or group or time or files) and any(name == "-" or Path(name).is_dir() for name in (*inputs, *files)):
        raise click.UsageError(f"{'--test-file' if folds else given[0]} needs files of molecules, not a data set or"
                               " standard input")  # fmt: skip
    if dividing["split"] != "scaffold":
        refuse(ctx, ("scaffold",), f"the split is {dividing['split']}")
    if dividing["replicates"]:
        refuse(ctx, ("seeds", "trials"), "--replicates makes several models of one setting")
        if given and given != ["--group-column"]:
            raise click.UsageError(f"leave out --replicates: {given[0]} says in one way how molecules are divided")
        if not group and dividing["split"] not in BY_SEED:
            raise click.UsageError(f"--split {dividing['split']} divides in one way, whatever the seed: --replicates"
                                   f" are of --split {', '.join(BY_SEED)} or of --group-column")  # fmt: skip
    if folds:
        refuse(ctx, ("seeds", "trials"), "--folds makes several models of one setting")
        refuse(ctx, ("fractions",), "one fold tests, one validates, the others train")
        if dividing["split"] in ("molecular_weight", "consecutive"):
            raise click.UsageError("--folds are by --split scaffold, random, scaffold_balanced, cluster or stratified")


def divide(
    dataset: "MoleculeDataset",
    inputs: tuple[str, ...],
    dividing: Mapping[str, Any],
    reading: Mapping[str, Any],
    seed: int,
) -> "list[Split]":
    """Return the split, or those of all folds or replicates; say how molecules are divided.

    Raises
    ------
    click.UsageError
        If a file is there twice.
    """
    from dgl_moleblend.data.splits import Split

    every_input = [*inputs, *dividing["validation_file"], *dividing["test_file"]]
    found = [_splits(dataset, inputs, dividing, reading, seed + k) for k in range(dividing["replicates"] or 1)]
    splits = [split for splits in found for split in splits]
    if dividing["replicates"]:
        splits = [Split(split.parts, {**split.facts, "replicate": k}) for k, split in enumerate(splits)]
    return [
        Split(split.parts, {**split.facts, "duplicates": _report(dataset, split), "inputs": every_input})
        for split in splits
    ]


def _splits(
    dataset: "MoleculeDataset",
    inputs: tuple[str, ...],
    dividing: Mapping[str, Any],
    reading: Mapping[str, Any],
    seed: int,
) -> "list[Split]":
    from dgl_moleblend.data.folds import folds_beside_test, split_into_folds
    from dgl_moleblend.data.given_splits import (
        read_words,
        rows_of_files,
        split_by_column,
        split_by_file,
        split_by_group,
        split_by_time,
    )
    from dgl_moleblend.data.split_files import split_by_list
    from dgl_moleblend.data.splits import Split, split_by_method
    from dgl_moleblend.readers.inputs import expand_inputs

    how = {"method": dividing["split"], "seed": seed, "scaffold": dividing["scaffold"],
           "keep_duplicates_together": dividing["keep_duplicates_together"]}  # fmt: skip
    files = {part: names for part in ("validation", "test") if (names := dividing[f"{part}_file"])}
    named = {part: expand_inputs(names) for part, names in files.items()}
    if both := set(expand_inputs(inputs) if files else ()) & {name for names in named.values() for name in names}:
        raise click.UsageError(f"{min(both)} is a training file, too: name it once")
    if (folds := dividing["folds"]) and files:
        parts, counts = rows_of_files(dataset, named)
        return [Split(split.parts, {**split.facts, "split_files": counts})
                for split in folds_beside_test(dataset, parts["test"], folds, **how)]  # fmt: skip
    if folds:
        return split_into_folds(dataset, folds, **how)
    columns = {name: value for name, value in reading.items() if name != "id_column"}
    if name := dividing["split_file"]:
        return [split_by_list(dataset, name)]
    if name := dividing["group_column"]:
        words = read_words(inputs, name, "--group-column", **columns)
        return [split_by_group(dataset, words, name, dividing["fractions"], seed)]
    if name := dividing["time_column"]:
        words = read_words(inputs, name, "--time-column", **columns)
        return [split_by_time(dataset, words, name, dividing["fractions"])]
    if dividing["split_column"]:
        return [split_by_column(dataset, inputs, dividing["split_column"], **columns)]
    how["fractions"] = dividing["fractions"]
    if files:
        return [split_by_file(dataset, named, how)]
    return [split_by_method(dataset, **how)]


def _report(dataset: "MoleculeDataset", split: "Split") -> dict[str, int]:
    """Say how molecules are divided; count those that are in two parts."""
    from dgl_moleblend.data.duplicates import describe_duplicates, find_duplicates
    from dgl_moleblend.data.splits import describe_split

    at_random = split.facts.get("split") == "random"
    for text in describe_split(
        split,
        otherwise=f"{'' if at_random else '--split random or '}--folds divide otherwise",
        tested=f"--folds 5{'' if at_random else ', --split random'} or --test-file have such",
    ):
        say(text)
    found = find_duplicates(dataset, split.parts)
    if text := describe_duplicates(found):
        drawn = "keep_duplicates_together" in split.facts
        say(text + (" (--keep-duplicates-together prevents it)" if drawn and found["across_parts"] else ""))
    return found
