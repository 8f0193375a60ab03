"""Which fold of a data set each molecule is in: by scaffold or cluster, at random, or like shares of the classes."""

from typing import Any

import numpy as np

from dgl_moleblend.chem.clusters import scaffold_smiles
from dgl_moleblend.config import check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.duplicates import read_mols
from dgl_moleblend.data.grouped import GROUPINGS
from dgl_moleblend.data.splits import PARTS, Split, among_labelled, facts_of, gather, groups_of, without_unlabelled
from dgl_moleblend.errors import DataError

FOLDS = ("scaffold", "random", "scaffold_balanced", "cluster", "stratified")
"""How molecules can be divided into folds."""
_FOLD_VARIANTS = {
    "scaffold": "dgllife ScaffoldSplitter.k_fold_split, scaffold_func={scaffold!r}",
    "random": "scikit-learn KFold, shuffled, seed {seed}",
    "stratified": "scikit-learn StratifiedKFold by {task!r}, seed {seed}",
    "scaffold_balanced": "scikit-learn GroupKFold by scaffold, seed {seed}",
    "cluster": "scikit-learn GroupKFold by cluster of Morgan fingerprints, seed {seed}",
}


def split_into_folds(
    dataset: MoleculeDataset,
    folds: int,
    method: str = "scaffold",
    seed: int = 0,
    *,
    scaffold: str = "smiles",
    keep_duplicates_together: bool = False,
) -> list[Split]:
    """Divide molecules into k folds: split number i tests fold i, validates on the next and trains on the others.

    Every molecule is tested once. dgllife's own random and stratified folds leave out rows where k does not divide
    their number, so these come from scikit-learn.

    Parameters
    ----------
    dataset : MoleculeDataset
    folds : int
        At least 3.
    method : {"scaffold", "random", "scaffold_balanced", "cluster", "stratified"}
        "stratified" goes by the first label: its classes, or ten classes of equal size of a number. The first depends
        on no seed.
    seed : int
    scaffold : {"smiles", "decompose"}
    keep_duplicates_together : bool

    Raises
    ------
    DataError
        If there are too few molecules, or scaffolds, for so many folds.
    """
    check(folds >= 3, "folds", folds, "at least 3: one fold tests, one validates, the others train")
    check(method in FOLDS, "split", method, f"one of {', '.join(FOLDS)} with folds")
    if (found := among_labelled(dataset)) is not None:  # the others are in no part
        splits = split_into_folds(found[0], folds, method, seed, scaffold=scaffold,
                                  keep_duplicates_together=keep_duplicates_together)  # fmt: skip
        return [split.onto(found[1], len(dataset)) for split in splits]
    groups = groups_of(dataset, keep_duplicates_together)
    chosen = dataset.subset([rows[0] for rows in groups])
    if len(chosen) < folds:
        raise DataError(
            f"{len(chosen)} molecules are too few for {folds} folds", fix="ask for fewer, or give more rows"
        )
    buckets = gather(groups, _fold_tests(chosen, folds, method, seed, scaffold))
    if not all(len(bucket) for bucket in buckets):
        groups_are = "clusters" if method == "cluster" else "scaffolds"
        raise DataError(f"there are fewer {groups_are} than the {folds} folds", fix="ask for fewer, or --split random")
    facts = facts_of(dataset, method, _FOLD_VARIANTS[method], seed, scaffold, keep_duplicates_together)
    splits = []
    for k in range(folds):
        held_out = {k: "test", (k + 1) % folds: "validation"}
        parts = {name: buckets[i] for i, name in held_out.items()}
        parts["train"] = np.sort(np.concatenate([b for i, b in enumerate(buckets) if i not in held_out]))
        splits.append(Split({name: parts[name] for name in PARTS}, {**facts, "folds": folds, "fold": k}))
    return splits


def folds_beside_test(dataset: MoleculeDataset, test: np.ndarray, folds: int, **how: Any) -> list[Split]:
    """Divide molecules into k folds beside test rows: split number i validates on fold i and trains on the others.

    Parameters
    ----------
    dataset : MoleculeDataset
    test : ndarray
        Indices of the test rows of every split.
    folds : int
        At least 3.
    **how
        Further arguments of `split_into_folds`.

    Raises
    ------
    DataError
        See `split_into_folds`.
    """
    rest = np.setdiff1d(np.arange(len(dataset)), test)
    splits = []
    for one in split_into_folds(dataset.subset(rest), folds, **how):
        train = np.sort(np.concatenate([one.parts["train"], one.parts["validation"]]))
        parts = {"train": rest[train], "validation": rest[one.parts["test"]], "test": np.asarray(test, np.int64)}
        splits.append(without_unlabelled(dataset, Split(parts, one.facts)))
    return splits


def divide_rows(dataset: MoleculeDataset, folds: int, *, by: str | None = None, seed: int = 0) -> np.ndarray:
    """Return a fold for every molecule, for cross-validation: parts of like size, none empty.

    Parameters
    ----------
    dataset : MoleculeDataset
    folds : int
        Fewer where there are fewer molecules.
    by : {"scaffold", "scaffold_balanced", "cluster"}, optional
        No Bemis-Murcko scaffold (molecules without a ring have none in common), or no cluster, in two folds. At random
        otherwise, and where there are fewer such groups than folds.
    seed : int

    Returns
    -------
    ndarray of int, shape (N,)

    Examples
    --------
    >>> dataset = MoleculeDataset.from_smiles(["c1ccccc1C", "c1ccccc1O", "CCO", "CCN"])
    >>> folds = divide_rows(dataset, 3, by="scaffold")
    >>> bool(folds[0] == folds[1]), len(set(folds.tolist()))
    (True, 3)
    """
    from sklearn.model_selection import GroupKFold

    groups = list(range(len(dataset)))
    if by == "cluster":
        groups = GROUPINGS[by](dataset.divided_by).tolist()
    elif by is not None:
        seen: dict[str, int] = {}
        for k, scaffold in enumerate(scaffold_smiles(dataset.divided_by)):
            if scaffold:
                groups[k] = seen.setdefault(scaffold, k)
    if len(set(groups)) < folds:
        groups = list(range(len(dataset)))
    folds = min(folds, len(dataset))
    found = np.zeros(len(dataset), np.int64)
    if folds < 2:
        return found
    for number, (_, held_out) in enumerate(
        GroupKFold(folds, shuffle=True, random_state=seed).split(groups, groups=groups)
    ):
        found[held_out] = number
    return found


def _fold_tests(dataset: MoleculeDataset, folds: int, method: str, seed: int, scaffold: str) -> list[np.ndarray]:
    """Return k arrays of indices, together every molecule once."""
    from dgllife.utils import ScaffoldSplitter
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

    rows = np.arange(len(dataset))
    if method == "scaffold":
        found = ScaffoldSplitter.k_fold_split(
            rows, mols=read_mols(dataset), k=folds, log_every_n=None, scaffold_func=scaffold
        )
        return [np.asarray(test.indices, np.int64) for _, test in found]
    if method in GROUPINGS:
        groups = GROUPINGS[method](dataset.divided_by)
        if len(set(groups.tolist())) < folds:
            return [rows[:0]] * folds
        return [test for _, test in GroupKFold(folds, shuffle=True, random_state=seed).split(rows, groups=groups)]
    if method == "random":
        return [test for _, test in KFold(folds, shuffle=True, random_state=seed).split(rows)]
    classes = _classes(dataset.labels[:, 0])
    rarest = int(np.unique(classes, return_counts=True)[1].min())
    if rarest < folds:
        raise DataError(
            f"a class of {dataset.task_names[0]!r} (or its blanks) has {rarest} rows, too few for {folds} folds",
            fix="ask for fewer folds, or --split random",
        )
    return [test for _, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, classes)]


def _classes(labels: np.ndarray) -> np.ndarray:
    """Return the class of each label: few values as they are, many in ten classes of equal size; missing is a class."""
    present = ~np.isnan(labels)
    values = np.unique(labels[present])
    classes = np.full(len(labels), -1)
    if len(values) > 10:
        values = np.quantile(labels[present], np.arange(1, 10) / 10)
    classes[present] = np.searchsorted(values, labels[present])
    return classes
