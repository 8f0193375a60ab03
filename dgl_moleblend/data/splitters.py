"""dgllife's splitters, called over molecules: which rows train, validate and test."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np


def split_by_dgllife(
    method: str,
    smiles: Sequence[str],
    labels: np.ndarray,
    fractions: Sequence[float],
    *,
    seed: int,
    task: int,
    scaffold: str,
) -> list[np.ndarray]:
    """Divide molecules in three.

    Parameters
    ----------
    method : {"scaffold", "random", "molecular_weight", "stratified", "consecutive"}
    smiles : sequence of N str
    labels : ndarray, shape (N, t)
        "stratified" goes by the one of `task`.
    fractions : sequence of 3 floats
    seed, task, scaffold
        See `MoleculeDataset.split`.

    Returns
    -------
    list of 3 ndarrays
        Row numbers.
    """
    from dgllife.utils import splitters

    # dgllife wants something that has a length and, if it is to look at molecules, their SMILES
    rows: Any = _StandIn(smiles) if method in ("scaffold", "molecular_weight") else range(len(smiles))
    shares: dict[str, Any] = dict(zip(("frac_train", "frac_val", "frac_test"), fractions, strict=True))
    if method == "scaffold":
        found = splitters.ScaffoldSplitter.train_val_test_split(
            rows, mols=rows.mols(), log_every_n=None, scaffold_func=scaffold, **shares
        )
    elif method == "molecular_weight":
        found = splitters.MolecularWeightSplitter.train_val_test_split(
            rows, mols=rows.mols(), log_every_n=None, **shares
        )
    elif method == "stratified":
        found = splitters.SingleTaskStratifiedSplitter.train_val_test_split(
            rows, labels, task, random_state=seed, **shares
        )
    elif method == "random":
        found = splitters.RandomSplitter.train_val_test_split(rows, random_state=seed, **shares)
    else:
        found = splitters.ConsecutiveSplitter.train_val_test_split(rows, **shares)
    return [np.asarray(part.indices, np.int64) for part in found]


class _StandIn(SimpleNamespace):
    def __init__(self, smiles: Sequence[str]) -> None:
        super().__init__(smiles=smiles)

    def __len__(self) -> int:
        return len(self.smiles)

    def mols(self) -> list[Any]:
        from dgl_moleblend.chem.sanitize import read_smiles

        return [read_smiles(smiles) for smiles in self.smiles]
