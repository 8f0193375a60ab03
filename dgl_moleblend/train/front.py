"""Molecules in any form -> a trained model, ready to be asked: `finetune` and `pretrain` of the top level."""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgl_moleblend import files, shipped
from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import EncoderConfig, FeaturizerConfig, TrainingConfig, check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.duplicates import describe_duplicates, find_duplicates
from dgl_moleblend.data.inputs import open_inputs
from dgl_moleblend.data.labelled import Labelled, check_kept, divide, open_labelled
from dgl_moleblend.data.splits import Split, describe_split
from dgl_moleblend.data.summary import describe_spans
from dgl_moleblend.data.unusual import remarks
from dgl_moleblend.data.weights import check_weights, weights_of
from dgl_moleblend.errors import DataError
from dgl_moleblend.report.loaded import LoadedModel, load
from dgl_moleblend.request import Compute
from dgl_moleblend.schema import FEATURE_KINDS
from dgl_moleblend.train import auto
from dgl_moleblend.train import finetune as network
from dgl_moleblend.train import pretrain as pretraining
from dgl_moleblend.train.comparison import HEADS, Comparison, network_training
from dgl_moleblend.train.run import check_folder

Start = EncoderConfig | str | os.PathLike[str]


def finetune(
    molecules: Any,
    target: Any = None,
    *,
    encoder: Start | None = shipped.DEFAULT,
    out: str | os.PathLike[str] | None = None,
    split: Any = "scaffold",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    head: str = "auto",
    fast: bool = False,
    features: Sequence[str] = (),
    task_type: str | None = None,
    metric: str | None = None,
    training: TrainingConfig | None = None,
    positions: str = "none",
    standardize: Sequence[str] = (),
    smiles_column: str | Sequence[str] | None = None,
    relation_column: str | None = None,
    seed: int = 0,
    workers: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    accelerator: str = "auto",
    logger: str = "csv",
    weights: Any = None,
) -> LoadedModel:
    """Fit a model to measured properties, and judge it on molecules that it has not seen.

    Parameters
    ----------
    molecules
        A DataFrame with a column of SMILES; the path of a file of molecules or of a data set that
        `featurize` wrote; a MoleculeDataset; a list, array or Series of SMILES or RDKit Mols; or the pair
        ``(smiles, values)``.
    target : str, sequence of str, or values; optional
        Columns of labels, or a value (a row of values, of several properties) for each molecule; NaN = missing. By
        default the one column that can be it, of numbers, or else of a few words (said on stderr); of a data set all
        labels.
    encoder : name, path or EncoderConfig, optional
        Weights to start from (`mb.pretrained()`), or the size of fresh ones; None does without.
    out : path, optional
        Folder for the model, its report and tables. By default a new temporary folder, which ``model.folder`` names
        and ``model.save`` keeps: a cell of a notebook that runs twice neither fails nor overwrites anything.
    split : str, mapping, or sequence of 3 sequences
        "scaffold", "random", "molecular_weight", "stratified" or "consecutive"; the name of a column that says train,
        validation or test; the input rows of "train", "validation" and "test"; or ``{"group": column}`` (whole groups
        at random), ``{"time": column}`` (the newest test) or ``{"file": path}`` (a table of rows and parts, such as
        split.csv of another run).
    fractions : sequence of 3 floats
        Shares of training, validation and test.
    head : {"auto", "network", "kernel", "trees"}
        "auto" compares forest, trees, kernel machine and fine-tuned encoder by cross-validation, and keeps their
        weighted mean; the others are one kind alone.
    fast : bool
        "auto" without fine-tuning: seconds instead of minutes.
    features : sequence of str, optional
        What trees and kernel machine read: "morgan", "atom_pair", "path", "rdkit2d", and columns of the table. By
        default the first four.
    task_type, metric
        See `dgl_moleblend.train.finetune.finetune`.
    training : TrainingConfig, optional
        Of the network.
    positions : {"none", "given", "embed"}
        3D coordinates of molecules that are featurized here.
    standardize : sequence of {"fragment", "neutral", "tautomer"}
        What is done to each molecule first, by RDKit's MolStandardize: its largest fragment (without salts), without
        charges, as its canonical tautomer. The model does the same to new molecules; their SMILES stay as given.
    smiles_column : str or sequence of str, optional
        Of a DataFrame or file; by default found by its name. Several columns: a row is a molecule of each (solute and
        solvent), and `split` goes by the first; the model finds them again in what it predicts.
    relation_column : str, optional
        Column that says which values of the one target are bounds (>, <, ..), "" for none; by default found where it is
        named after the target, as "Standard Relation" beside "Standard Value". ">8" among the values is a bound, too.
    seed : int
        Of everything random.
    workers : int
        Processes that featurize; 0 for this one. From a script, needs the usual ``if __name__ == "__main__":``.
    resume, overwrite : bool
        Go on with the run in `out`, or delete it.
    progress : bool
        Whether to show bars, and to say what was decided.
    accelerator : {"auto", "cpu", "gpu", "cuda"}
    logger : {"csv", "tensorboard", "wandb", "mlflow"}
        Where losses and scores of a network go, beside its CSV file.
    weights : str, or array; optional
        What each molecule counts for in training, at least 0: a column of the table, or a number for each row. Scores
        are not weighted.

    Returns
    -------
    LoadedModel
        With ``metrics``, ``report``, ``folder``; ``rows`` accounts for every input row.

    Raises
    ------
    DataError
        If no column can be found, labels or split cannot be used, or `out` holds another run.
    CheckpointError
        If there is no such encoder, or a resumed run had other settings.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> smiles = ["C" * k + end for k in range(1, 11) for end in "NO"]
    >>> model = mb.finetune((smiles, [len(s) for s in smiles]), split="random", head="trees", progress=False)
    >>> model.predict("CCCCO")["y_predicted"].round().tolist()
    [5.0]
    """
    tell, compute = teller(progress), Compute(accelerator, progress=progress, logger=logger)
    check(head in HEADS, "head", head, f"one of {', '.join(map(repr, HEADS))}")
    check(not isinstance(features, str), "features", features, "a list of names")
    check(not (fast and head != "auto"), "fast", fast, "False: it is of head='auto'")
    check(not (features and head == "network"), "features", features, "left out: a network reads the molecule alone")
    if out is not None:  # what is wrong with the folder is said before molecules are read
        check_folder(Path(out), resume=resume, overwrite=overwrite)
    columns = tuple(name for name in features if name not in FEATURE_KINDS)
    kinds = tuple(name for name in FEATURE_KINDS if name in features) or FEATURE_KINDS
    if encoder is not None and not isinstance(encoder, EncoderConfig):
        model_folder.read(encoder)  # what is wrong with it is said before molecules are read
    featurizer = FeaturizerConfig(positions, seed=seed, standardize=standardize)
    beside = (*columns, weights) if isinstance(weights, str) else columns
    data = open_labelled(molecules, target, featurizer, columns=beside,
                         smiles_column=smiles_column, relation_column=relation_column, workers=workers,
                         progress=progress, tell=tell)  # fmt: skip
    check_kept(data.dataset, data.name)
    spans = describe_spans(data.dataset.labels, data.dataset.task_names) if task_type in (None, "regression") else ()
    for text in (*remarks(data.dataset), *spans):
        tell(text)
    counts = None if weights is None else _weights(data, weights)
    parts = divide(data, split, fractions=fractions, seed=seed)
    facts = {**parts.facts, "duplicates": describe(data, parts, tell), "inputs": [data.path or "memory"]}
    out = Path(out) if out is not None else temporary(data.dataset.task_names[0], tell)
    listed = [split["file"]] if isinstance(split, Mapping) and "file" in split else []
    files.keep_inputs(out, [*([data.path] if data.path else []), *listed])
    run(data.dataset, Split(parts.parts, facts), out, encoder=encoder, head=head, fast=fast, features=kinds,
        columns=columns, task_type=task_type, metric=metric, training=training, seed=seed, workers=workers,
        resume=resume, overwrite=overwrite, compute=compute, tell=tell, weights=counts)  # fmt: skip
    return load(out)


def run(
    dataset: MoleculeDataset,
    split: Split,
    out: str | os.PathLike[str],
    *,
    encoder: Start | None,
    head: str,
    fast: bool,
    features: Sequence[str],
    columns: Sequence[str] = (),
    task_type: str | None = None,
    training: TrainingConfig | None = None,
    seed: int = 0,
    metric: str | None = None,
    workers: int = 0,
    compute: Compute | None = None,
    tell: Callable[[str], None] = lambda text: None,
    **shared: Any,
) -> None:
    """Fit the kind of model that is asked for: where `finetune` and the estimators of `sklearn` meet the workflows.

    Parameters
    ----------
    dataset : MoleculeDataset
    split : Split
    out, encoder, head, fast, features, columns, task_type, training, seed, metric, workers, compute, tell
        See `finetune`.
    **shared
        resume, overwrite, report, weights: see `train.finetune.finetune`.
    """
    rows = sum(len(split.parts[name]) for name in ("train", "validation"))
    training = (training or network_training(rows, seed)).replace(**{} if metric is None else {"metric": metric})
    compute = compute or Compute()
    if head == "network":
        network.finetune(dataset, split, out, tasks=task_type, start=encoder, training=training, compute=compute,
                         **shared)  # fmt: skip
        return
    auto.finetune_auto(dataset, split, out, tasks=task_type, start=encoder, training=training,
                       comparison=Comparison.of(head, fast=fast, features=features, columns=columns),
                       compute=compute.replace(workers=workers), tell=tell, **shared)  # fmt: skip


def pretrain(
    molecules: Any,
    *,
    encoder: Start | None = None,
    out: str | os.PathLike[str] | None = None,
    training: TrainingConfig | None = None,
    validation: float = 0.05,
    positions: str = "embed",
    standardize: Sequence[str] = (),
    smiles_column: str | None = None,
    seed: int = 0,
    workers: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    accelerator: str = "auto",
    logger: str = "csv",
) -> LoadedModel:
    """Pretrain a model on molecules without labels, by blend-then-predict.

    Parameters
    ----------
    molecules
        As for `embed`: a list, array or Series of SMILES or Mols, a DataFrame, a path, a MoleculeDataset.
    encoder : name, path or EncoderConfig, optional
        Weights to go on from, or the size of fresh ones; by default ``EncoderConfig.small()``.
    out : path, optional
        Folder for the model; by default a new temporary one, see `finetune`.
    training : TrainingConfig, optional
    validation : float
        Share of the molecules whose loss chooses the weights that are kept.
    positions : {"embed", "none", "given"}
        3D coordinates of molecules that are featurized here; without them there is one relation less to recover.
    standardize, smiles_column, seed, workers, resume, overwrite, progress, accelerator, logger
        See `finetune`.

    Returns
    -------
    LoadedModel
        For ``embed``, and as the `encoder` of `finetune`: ``encoder=model.folder``.

    Raises
    ------
    DataError
        If there are too few molecules, or `out` holds another run.
    CheckpointError
        If there is no such encoder, or a resumed run had other settings.
    """
    tell, compute = teller(progress), Compute(accelerator, progress=progress, logger=logger)
    if out is not None:  # what is wrong with the folder is said before molecules are read
        check_folder(Path(out), resume=resume, overwrite=overwrite)
    featurizer = FeaturizerConfig(positions, seed=seed, standardize=standardize)
    found = open_inputs(molecules, featurizer, smiles_column=smiles_column, workers=workers, progress=progress)
    check_kept(found.dataset, "molecules")
    if found.reasons:
        tell(f"{len(found):,} rows: {len(found.dataset):,} kept, {len(found.reasons):,} rejected")
    out = Path(out) if out is not None else temporary("pretrained", tell)
    pretraining.pretrain(
        found.dataset, out, start=encoder, training=training or TrainingConfig(seed=seed), validation=validation,
        compute=compute, resume=resume, overwrite=overwrite,
    )  # fmt: skip
    return load(out)


def teller(progress: bool) -> Any:
    """Return what says something on stderr, or does not."""
    return (lambda text: print(text, file=sys.stderr)) if progress else (lambda text: None)


def _weights(data: Labelled, weights: Any) -> np.ndarray:
    """Return the weight of each molecule, by the column or the input rows."""
    if isinstance(weights, str):
        return weights_of(data.dataset, weights)
    values, rows = np.asarray(weights, np.float64), len(data.dataset) + len(data.dataset.rejects)
    if values.shape not in ((rows,), (len(data.dataset),)) or len(values) <= data.place.max(initial=-1):
        raise DataError(f"weights have shape {values.shape}, and there are {rows:,} rows", fix="give one for each row")
    return check_weights(data.dataset, values[data.place])


def describe(data: Labelled, split: Split, tell: Any) -> dict[str, int]:
    """Say how many rows there are and how they are divided; return what is known of rows of the same molecule."""
    kept, lost = len(data.dataset), len(data.dataset.rejects)
    tell(f"{kept + lost:,} rows: {kept:,} kept, {lost:,} rejected")
    way = "other fractions=" if split.facts.get("split") == "random" else "split='random'"
    for text in describe_split(split, otherwise=f"{way} may divide otherwise", tested=f"{way} may have such"):
        tell(text)
    found = find_duplicates(data.dataset, split.parts)
    if text := describe_duplicates(found):
        tell(text)
    return found


def temporary(name: str, tell: Any) -> Path:
    """Return a new folder that says what is in it."""
    out = Path(tempfile.mkdtemp(prefix=f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:40]}-model-"))
    tell(f"model: {out}, a temporary folder; model.save('NAME') keeps it, or give out='NAME'")
    return out
