"""Molecules with values of their atoms or bonds -> a trained model: `finetune_atoms` of the top level."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgl_moleblend import files, shipped
from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import EncoderConfig, FeaturizerConfig, TrainingConfig
from dgl_moleblend.data.labelled import divide
from dgl_moleblend.data.site_inputs import open_sites
from dgl_moleblend.data.sites import SiteValues
from dgl_moleblend.data.splits import Split
from dgl_moleblend.report.loaded import LoadedModel, load
from dgl_moleblend.request import Compute
from dgl_moleblend.train.front import Start, describe, teller, temporary
from dgl_moleblend.train.run import check_folder
from dgl_moleblend.train.sites import finetune_sites

TRAINING = TrainingConfig(max_epochs=50, batch_size=32, learning_rate=1e-3, patience=15)
"""Found on validation molecules, see benchmarks/README.md."""


def finetune_atoms(
    molecules: Any,
    target: Any = None,
    *,
    level: str = "atom",
    encoder: Start = shipped.DEFAULT,
    out: str | os.PathLike[str] | None = None,
    split: Any = "scaffold",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    training: TrainingConfig | None = None,
    positions: str = "none",
    smiles_column: str | None = None,
    seed: int = 0,
    workers: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    accelerator: str = "auto",
    logger: str = "csv",
) -> LoadedModel:
    """Fit a network to values of atoms (chemical shifts, charges) or of bonds, and judge it on other molecules.

    The network learns how far a value is from the mean of its kind, the element of an atom, elements and type of a
    bond; scores stand beside those of these means (``metrics["mean_by_kind"]``).

    Parameters
    ----------
    molecules
        A DataFrame with a column of SMILES; the path of a file of molecules; a list, array or Series of SMILES or RDKit
        Mols; or the pair ``(molecules, values)``.
    target : str, sequence of str, path, or values
        Columns that hold a list for each molecule (``[1.2, null, 3.4]``, or numbers with blanks or commas between
        them); of SDF also RDKit's property lists, ``atom.dprop.NAME``; the name of an NPZ file with an array for each
        molecule, named by its identifier; or a list for each molecule. A list has a value for each atom as it is
        written, in that order, or for each that is kept: hydrogens are no atoms of the model, and their values are
        counted and left out. Bonds are in RDKit's order of the molecule as written. NaN and null are missing.
    level : {"atom", "bond"}
    encoder : name, path or EncoderConfig
        Weights to start from (`mb.pretrained()`), or the size of fresh ones.
    out : path, optional
        Folder for the model; by default a new temporary one, see `finetune`.
    split, fractions, positions, smiles_column, seed, workers, resume, overwrite, progress, accelerator, logger
        See `finetune`. Molecules are divided, not atoms.
    training : TrainingConfig, optional

    Returns
    -------
    LoadedModel
        Whose ``predict`` gives a list for each molecule: column NAME_predicted.

    Raises
    ------
    DataError
        If there is no such column or no value, the split cannot be used, or `out` holds another run. A row whose list
        does not fit its molecule is rejected, with the reason.
    CheckpointError
        If there is no such encoder, or a resumed run had other settings.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> smiles = ["C" * k + "O" for k in range(1, 11)]
    >>> charges = [[0.0] * k + [-0.5] for k in range(1, 11)]
    >>> model = mb.finetune_atoms((smiles, charges), split="random", training=mb.TrainingConfig(max_epochs=2),
    ...                           encoder=mb.EncoderConfig.tiny(), progress=False)
    >>> [len(values) for values in model.predict(["CCO", "CCCCO"])["y_predicted"]]
    [3, 5]
    """
    tell, compute = teller(progress), Compute(accelerator, progress=progress, logger=logger)
    if not isinstance(encoder, EncoderConfig):
        model_folder.read(encoder)  # what is wrong with it is said before molecules are read
    if out is not None:  # what is wrong with the folder is said before molecules are read
        check_folder(Path(out), resume=resume, overwrite=overwrite)
    featurizer = FeaturizerConfig(positions, seed=seed)
    data = open_sites(molecules, target, level, featurizer, smiles_column=smiles_column, workers=workers,
                      progress=progress, tell=tell)  # fmt: skip
    labelled, values = data.labelled, data.values
    parts = divide(labelled, split, fractions=fractions, seed=seed)
    facts = {**parts.facts, "duplicates": describe(labelled, parts, tell), "inputs": [labelled.path or "memory"]}
    tell(describe_values(values))
    out = Path(out) if out is not None else temporary(values.names[0], tell)
    if labelled.path:
        files.keep_inputs(out, [labelled.path])
    finetune_sites(
        labelled.dataset, values, Split(parts.parts, facts), out, start=encoder,
        training=training or TRAINING.replace(seed=seed), compute=compute, resume=resume, overwrite=overwrite,
    )  # fmt: skip
    return load(out)


def describe_values(values: SiteValues) -> str:
    """Say how many values there are, and what they are taken for where they look like classes."""
    known = values.values[~np.isnan(values.values)]
    text = f"{len(known):,} values of {len(values.values):,} {values.level}s in {len(values):,} molecules"
    if np.isin(known, (0, 1)).all():
        text += "; all are 0 or 1, and are learned as numbers"
    return text
