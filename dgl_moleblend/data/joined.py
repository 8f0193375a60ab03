"""Several tables of molecules as one, for pretraining on sets that were featurized in different ways."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.errors import DataError


class JoinedTable(MoleculeTable):
    """Tables one after the other, without a copy and without their labels; `rows` count within each table.

    Parameters
    ----------
    tables : sequence of MoleculeTable
        One at least; stores stay memory-mapped.

    Raises
    ------
    DataError
        If there are none.
    """

    def __init__(self, tables: Sequence[MoleculeTable]) -> None:
        if not tables:
            raise DataError("there are no data sets to join", fix="name one at least")
        self.tables = list(tables)
        sources: list[str] = []
        views = []
        for table in tables:
            for one in table._views:
                own = copy.copy(one)
                own.source = one.source + len(sources)
                own.labels, own.bounds = np.empty((one.num_molecules, 0)), None
                views.append(own)
            sources += table.sources
        self._open((), sources, views)

    def __reduce__(self) -> tuple[Any, ...]:
        return JoinedTable, (self.tables,)

    @property
    def featurizer(self) -> FeaturizerConfig | None:
        """Settings of all tables; where they differ, of the first that embeds positions, as can be done for any SMILES.

        None where they differ and none does.
        """
        found = [table.featurizer for table in self.tables]
        if all(other == found[0] for other in found):
            return found[0]
        return next((one for one in found if one is not None and one.positions == "embed"), None)

    @property
    def structures(self) -> list[str]:
        """SMILES of what the molecules became, by the settings of each table."""
        return [text for table in self.tables for text in table.structures]

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """None: there are no labels."""
        return {}

    @property
    def rejects(self) -> pd.DataFrame:
        """Input rows that are in none of the tables, one table after the other."""
        return pd.concat([table.rejects for table in self.tables], ignore_index=True)
