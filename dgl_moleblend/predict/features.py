"""Features of a data set's molecules: fingerprints, descriptors, an encoder's states, columns; each made once."""

import logging
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

import numpy as np

from dgl_moleblend.chem.feature_table import FeatureTable
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.several import SeveralMolecules
from dgl_moleblend.errors import DataError

log = logging.getLogger(__name__)
STATES = "states"
"""Name of the feature that holds the states of a frozen encoder."""
COLUMNS = "columns"
"""Name of the feature that holds numeric columns of the user's table."""
_OTHER = "@"


def of_molecules(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the names of features of each of several molecules a row: morgan, morgan@2, ..; columns stay one.

    Examples
    --------
    >>> of_molecules(["morgan", "columns"], 2)
    ('morgan', 'columns', 'morgan@2')
    """
    others = [f"{name}{_OTHER}{k}" for k in range(2, count + 1) for name in names if name != COLUMNS]
    return (*names, *others)


class Features:
    """Features of N molecules, computed when they are first asked for and then kept.

    Parameters
    ----------
    dataset : MoleculeDataset
        Its labels hold the user's columns, where such are features.
    workers : int
        Processes that compute fingerprints and descriptors; 0 works in this one.
    progress : bool
        Whether there are progress bars.
    accelerator : str
        Of the encoder.

    Examples
    --------
    >>> from dgl_moleblend.data.dataset import MoleculeDataset
    >>> features = Features(MoleculeDataset.from_smiles(["CCO", "c1ccccc1"]), progress=False)
    >>> features.table(("morgan",)).names
    ('morgan',)
    """

    def __init__(
        self, dataset: MoleculeDataset, *, workers: int = 0, progress: bool = True, accelerator: str = "auto"
    ) -> None:
        self.dataset = dataset
        self.workers, self.progress, self.accelerator = workers, progress, accelerator
        self._made: dict[str, FeatureTable] = {}
        self._first, partners = (
            (dataset.first, dataset.partners) if isinstance(dataset, SeveralMolecules) else (dataset, ())
        )
        how: dict[str, Any] = {"workers": workers, "progress": progress, "accelerator": accelerator}
        self._partners = [Features(partner, **how) for partner in partners]

    def table(
        self,
        names: Sequence[str],
        *,
        encoder: str | PathLike[str] | None = None,
        columns: Sequence[str] = (),
    ) -> FeatureTable:
        """Return some features of all molecules.

        Parameters
        ----------
        names : sequence of str
            Some of `dgl_moleblend.chem.descriptors.KINDS`, `STATES` and `COLUMNS`.
        encoder : path or name, optional
            Of `STATES`.
        columns : sequence of str
            Of `COLUMNS`: names of labels of the data set.

        Raises
        ------
        DataError
            If a column is missing.
        """
        self.describe(names)
        parts = {}
        named: dict[str, Sequence[str]] = {}
        for name in names:
            own, _, number = name.partition(_OTHER)
            if number:
                found = self._partner(number).table((own,), encoder=encoder)
                parts[name] = found[own]
                if own in found.columns:
                    named[name] = found.columns[own]
                continue
            key = f"{name} {encoder}" if name == STATES else f"{name} {columns}" if name == COLUMNS else name
            if key not in self._made:
                self._made[key] = self._make(name, encoder, columns)
            parts[name] = self._made[key][name]
            named |= self._made[key].columns
        return FeatureTable(parts, {name: tuple(values) for name, values in named.items()})

    def _make(self, name: str, encoder: str | PathLike[str] | None, columns: Sequence[str]) -> FeatureTable:
        if name == STATES:
            from dgl_moleblend.predict.embedding import embed

            assert encoder is not None
            values = embed(encoder, self._first, progress=self.progress, accelerator=self.accelerator)
            return FeatureTable({name: values}, {name: tuple(map(str, range(values.shape[1])))})
        assert name == COLUMNS  # the others are described, together
        return FeatureTable({name: self._columns(columns)}, {name: tuple(columns)})

    def describe(self, names: Iterable[str]) -> None:
        """Compute what is not there yet, all at once: each molecule is read, and the workers start, but once.

        Parameters
        ----------
        names : iterable of str
            As of `table`; of these, the `dgl_moleblend.chem.descriptors.KINDS`.
        """
        names = [*names]
        for number, partner in enumerate(self._partners, start=2):
            end = f"{_OTHER}{number}"
            partner.describe(name.removesuffix(end) for name in names if name.endswith(end))
        kinds = dict.fromkeys(name for name in names if name not in (STATES, COLUMNS) and _OTHER not in name)
        missing = tuple(name for name in kinds if name not in self._made)
        if not missing:
            return
        from dgl_moleblend.chem.descriptors import describe

        table = describe(self._first.structures, missing, workers=self.workers, progress=self.progress)
        for name in missing:
            columns = {name: table.columns[name]} if name in table.columns else {}
            self._made[name] = FeatureTable({name: table[name]}, columns)

    def _partner(self, number: str) -> "Features":
        """Return the features of the other molecules of the rows: the second is number 2.

        Raises
        ------
        DataError
            If rows have not so many molecules.
        """
        if int(number) - 2 >= len(self._partners):
            raise DataError(f"the model reads {number} molecules a row, and these are {1 + len(self._partners)}",
                            fix="give the table that has them all, with the columns of the training file")  # fmt: skip
        return self._partners[int(number) - 2]

    def _columns(self, columns: Sequence[str]) -> np.ndarray:
        table = self.dataset.table
        missing = [column for column in columns if column not in table.task_names]
        if missing:
            raise DataError(
                f"the model needs the columns {', '.join(map(repr, missing))}, which these molecules have not",
                fix="give a table that has them, read with --features or, for a data set, as labels",
            )
        chosen = self.dataset.select_tasks(columns)
        for column, bounds in zip(columns, chosen.bounds.T, strict=True):
            if bounds.any():
                count = int((bounds != 0).sum())
                log.warning("%d values of column %r are bounds (>, <); as features they are missing", count, column)
        return np.where(chosen.bounds == 0, chosen.labels, np.nan).astype(np.float32)
