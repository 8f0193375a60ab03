"""What a graph token is to tell in pretraining, made for a data set: descriptors, and measured labels of any table."""

import math
from collections.abc import Callable, Sequence
from os import PathLike, fspath

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.molecule_targets import MoleculeTargets
from dgl_moleblend.errors import DataError, MoleculeError


def targets_from_descriptors(dataset: MoleculeDataset, *, workers: int = 0, progress: bool = False) -> MoleculeTargets:
    """Return RDKit's descriptors of every molecule, made gaussian by their ranks.

    Parameters
    ----------
    dataset : MoleculeDataset
    workers : int
        Processes; 0 works in this one.
    progress : bool
        Whether there is a bar.
    """
    from dgl_moleblend.chem.descriptors import describe

    table = describe(dataset.structures, ("rdkit2d",), workers=workers, progress=progress)
    return MoleculeTargets.from_descriptors("descriptors", table.columns["rdkit2d"], table["rdkit2d"])


def targets_from_table(
    dataset: MoleculeDataset,
    path: str | PathLike[str],
    columns: Sequence[str] = (),
    *,
    tell: Callable[[str], None] = lambda text: None,
) -> MoleculeTargets:
    """Return measured labels of those molecules of a data set that also stand in a table, however they are written.

    Parameters
    ----------
    dataset : MoleculeDataset
    path : path
        Any file of molecules with labels.
    columns : sequence of str
        Of labels, as for `MoleculeReader`; by default all columns of numbers.
    tell : callable
        Is told how many rows found their molecule.

    Raises
    ------
    DataError
        If there are no such columns, or no molecule of the data set has a label there.
    """
    from dgl_moleblend.chem.compact import standardized
    from dgl_moleblend.data.duplicates import identity, rows_by_identity
    from dgl_moleblend.data.molecules import read_mol
    from dgl_moleblend.readers.molecules import MoleculeReader

    places = rows_by_identity(dataset)
    steps = dataset.featurizer.standardize if dataset.featurizer else ()
    reader = MoleculeReader(path, task_columns=[*columns] or ["all"])
    found: list[tuple[int, int, float]] = []
    rows = unreadable = matched = bounded = 0
    for record in reader:
        rows += 1
        try:
            known = [] if record.error else places.get(identity(standardized(read_mol(record), steps)), [])
            unreadable += record.error is not None
        except MoleculeError:
            known, unreadable = [], unreadable + 1
        matched += bool(known)
        bounds = record.bounds or (0,) * len(record.labels)
        bounded += any(bounds)
        found += [(k, column, value) for k in known
                  for column, (value, bound) in enumerate(zip(record.labels, bounds, strict=True))
                  if not math.isnan(value) and not bound]  # fmt: skip
    if not found:
        raise DataError("no molecule to pretrain on has a label there", where=fspath(path),
                        fix="give a table of these molecules, and see that its columns hold numbers")  # fmt: skip
    tell(f"labels: {', '.join(reader.task_names)}; {matched:,} of {rows:,} rows are molecules to pretrain on"
         + (f", {unreadable:,} cannot be read" if unreadable else "")
         + (f", {bounded:,} hold bounds (>, <), which are left out" if bounded else ""))  # fmt: skip
    molecule, column, value = zip(*found, strict=True)
    return MoleculeTargets.from_labels("labels", reader.task_names, molecule, column, value, size=len(dataset))
