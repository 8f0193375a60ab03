"""Which molecules train, validate and test, by a method of `MoleculeDataset.split`; what every split is made with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dgl_moleblend.chem.clusters import scaffold_smiles
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.duplicates import by_molecule
from dgl_moleblend.errors import DataError

PARTS = ("train", "validation", "test")
_VARIANTS = {
    "scaffold": "dgllife ScaffoldSplitter, scaffold_func={scaffold!r}",
    "random": "dgllife RandomSplitter, seed {seed}",
    "molecular_weight": "dgllife MolecularWeightSplitter",
    "stratified": "dgllife SingleTaskStratifiedSplitter by {task!r}, seed {seed}",
    "consecutive": "dgllife ConsecutiveSplitter",
    "scaffold_balanced": "whole scaffolds, seed {seed}",
    "cluster": "whole clusters of Morgan fingerprints by sphere exclusion, seed {seed}",
}
_FAR = 0.15
"""A share of the molecules that is further than this from the one asked for is warned of."""


@dataclass(frozen=True, eq=False)
class Split:
    """A division of molecules.

    Parameters
    ----------
    parts : dict of "train", "validation", "test" to ndarray
        Indices into the data set, no index twice.
    facts : dict
        How it was made, as JSON can hold it: "split" (its kind), "split_variant" (what made it), and what belongs to
        the kind.
    """

    parts: dict[str, np.ndarray]
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, split: "Split | Mapping[str, Any]") -> "Split":
        """Return the split that is meant: itself, or one of parts by their names.

        Raises
        ------
        DataError
            If it is neither, such as the three arrays that `MoleculeDataset.split` gives.
        """
        if isinstance(split, cls):
            return split
        if not isinstance(split, Mapping):
            how = "name its parts: dict(zip(('train', 'validation', 'test'), dataset.split()))"
            raise DataError(f"the split is a {type(split).__name__}", fix=how)
        return cls(dict(split))

    def onto(self, rows: np.ndarray, size: int) -> "Split":
        """Return the same division of some rows of a data set of `size`, in its own numbers; the others have no label.

        Parameters
        ----------
        rows : ndarray
            Where each molecule that is divided stands in the data set.
        size : int
        """
        return Split({name: rows[part] for name, part in self.parts.items()},
                     {**self.facts, "unlabelled": size - len(rows)})  # fmt: skip

    def __str__(self) -> str:
        train, validation, test = (len(self.parts[name]) for name in PARTS)
        return f"{train:,} molecules train, {validation:,} validate, {test:,} test"


def describe_split(split: Split, *, otherwise: str, tested: str) -> list[str]:
    """Say in sentences how molecules are divided, and what is to be known of it.

    Parameters
    ----------
    split : Split
        With "split" and "split_variant" in its facts.
    otherwise, tested : str
        What the caller's user can do where shares are far from what was asked, and where there are no test rows.
    """
    facts = split.facts
    numbered = next((f", {word} {facts[word]}" for word in ("fold", "replicate") if word in facts), "")
    found = [f"{facts['split']} split ({facts['split_variant']}){numbered}: {split}"]
    if "split_warning" in facts:
        found.append(f"WARNING: {facts['split_warning']}; {otherwise}")
    if unlabelled := facts.get("unlabelled"):
        found.append(f"{unlabelled:,} molecules have no label, and are in no part")
    if left_out := facts.get("split_left_out"):
        found.append(f"{left_out:,} molecules are left out by the list, and are in no part")
    if lost := facts.get("split_rejected"):
        found.append(f"{lost:,} rows of the list are no molecules here (rejects.csv says why)")
    for part, counts in facts.get("split_files", {}).items():
        found.append(f"{part} file: {counts['kept']:,} rows kept, {counts['rejected']:,} rejected")
    if not len(split.parts["test"]):
        ways = f"; {tested}" if "fold" not in facts else ""
        found.append(f"no test rows: there will be no score of molecules that chose nothing{ways}")
    return found


def split_by_method(
    dataset: MoleculeDataset,
    method: str = "scaffold",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    *,
    scaffold: str = "smiles",
    keep_duplicates_together: bool = False,
) -> Split:
    """Divide molecules by a method of `MoleculeDataset.split`.

    Parameters
    ----------
    dataset : MoleculeDataset
    method, fractions, seed, scaffold
        See `MoleculeDataset.split`; "stratified" goes by the first label.
    keep_duplicates_together : bool
        Divide distinct molecules, and let every row follow its molecule.

    Molecules without a label are in no part.

    Returns
    -------
    Split
        Its facts have "unlabelled", the number of molecules without a label, where there are such, and "split_warning",
        a sentence, where a share is far from what was asked.

    Raises
    ------
    DataError
        If training gets less than half of its share, or it or validation gets no molecule.
    """
    if (found := among_labelled(dataset)) is not None:
        split = split_by_method(found[0], method, fractions, seed, scaffold=scaffold,
                                keep_duplicates_together=keep_duplicates_together)  # fmt: skip
        return split.onto(found[1], len(dataset))
    groups = groups_of(dataset, keep_duplicates_together)
    chosen = dataset.subset([rows[0] for rows in groups])
    parts = dict(zip(PARTS, gather(groups, chosen.split(method, fractions, seed, scaffold=scaffold)), strict=True))
    facts = facts_of(dataset, method, _VARIANTS[method], seed, scaffold, keep_duplicates_together)
    facts["fractions"] = list(fractions)
    text, is_useless = far_from(parts, fractions)
    if text and method == "scaffold":
        text += _largest_scaffold(chosen)
    if is_useless and method != "random":
        how = "divide at random or as a column says: --split random, --folds 5 --split random, --split-column NAME"
        ways = [*_about_rejects(dataset), f"{how} (in Python split='random', split=NAME)"]
        raise DataError(text, fix=", or ".join(ways))
    if text:
        facts["split_warning"] = text
    return Split(check_parts(parts, _other_ways(dataset, method)), facts)


def _other_ways(dataset: MoleculeDataset, method: str) -> str:
    """Say what can be done where a method leaves a part empty."""
    ways = [*_about_rejects(dataset), "give more rows", "other --fractions (in Python fractions=)"]
    if method != "random":
        ways.append("--split random (split='random')")
    return f"{', '.join(ways[:-1])}, or {ways[-1]}"


def _about_rejects(dataset: MoleculeDataset) -> list[str]:
    """Say that rows can be corrected, where enough were rejected that it matters."""
    rejects = dataset.rejects
    if 10 * len(rejects) <= len(dataset):
        return []
    rows = f"the {len(rejects):,} rows that were rejected" if len(rejects) > 1 else "the row that was rejected"
    first = rejects.iloc[0]
    where = f"line {first['line']}" if first["line"] > 0 else f"row {first['row']}"
    return [f"correct {rows} ({where}: {first['reason']}; `dgl-moleblend featurize` lists all in rejects.csv)"]


def among_labelled(dataset: MoleculeDataset) -> tuple[MoleculeDataset, np.ndarray] | None:
    """Return the molecules that have a label, and where they stand; None if there is nothing to leave out."""
    rows = np.flatnonzero(~np.isnan(dataset.labels).all(axis=1)) if dataset.task_names else np.arange(len(dataset))
    return (dataset.subset(rows), rows) if 0 < len(rows) < len(dataset) else None


def without_unlabelled(dataset: MoleculeDataset, split: Split) -> Split:
    """Return a division whose parts hold no molecule without a label."""
    found = among_labelled(dataset)
    if found is None:
        return split
    parts = {name: part[np.isin(part, found[1])] for name, part in split.parts.items()}
    return Split(check_parts(parts), {**split.facts, "unlabelled": len(dataset) - len(found[1])})


def far_from(parts: Mapping[str, np.ndarray], fractions: Sequence[float]) -> tuple[str, bool]:
    """Say in a sentence which shares are far from what was asked, "" if none is; and whether that is of no use."""
    total = sum(map(len, parts.values()))
    far, is_useless = [], False
    for name, asked in zip(PARTS, fractions, strict=True):
        share = len(parts[name]) / max(total, 1)
        if abs(share - asked) > _FAR or (asked * total >= 2 and not len(parts[name])):
            far.append(f"{name} {share:.0%} ({len(parts[name]):,} molecules) where {asked:.0%} were asked for")
        is_useless |= name == "train" and share < asked / 2
    return ("the split is far from the shares asked for: " + ", ".join(far) if far else ""), is_useless and bool(far)


def _largest_scaffold(dataset: MoleculeDataset) -> str:
    """Name the largest group that a scaffold split cannot divide."""
    counts = Counter(scaffold_smiles(dataset.divided_by))
    scaffold, count = counts.most_common(1)[0]
    group = f"have the scaffold {scaffold}" if scaffold else "are acyclic, which counts as one scaffold"
    return f"; {count:,} of {len(dataset):,} molecules {group}, and stay together"


def groups_of(dataset: MoleculeDataset, together: bool) -> list[list[int]]:
    """Return the rows that stay together: those of a molecule, or each alone."""
    return by_molecule(dataset) if together else [[k] for k in range(len(dataset))]


def gather(groups: Sequence[Sequence[int]], parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """From indices of groups to the rows in them."""
    return [np.asarray([row for k in part for row in groups[k]], np.int64) for part in parts]


def facts_of(
    dataset: MoleculeDataset, method: str, variant: str, seed: int, scaffold: str, together: bool
) -> dict[str, Any]:
    """Say how a split was made."""
    task = dataset.task_names[0] if dataset.task_names else None
    return {
        "split": method,
        "split_variant": variant.format(scaffold=scaffold, seed=seed, task=task),
        "keep_duplicates_together": together,
    }


def check_parts(
    parts: dict[str, np.ndarray], fix: str = "give it rows in the column or file that divides them"
) -> dict[str, np.ndarray]:
    """Return the parts as they are.

    Raises
    ------
    DataError
        If nothing trains or validates.
    """
    sizes = ", ".join(f"{name} {len(part)}" for name, part in parts.items())
    for name in PARTS[:2]:
        if not len(parts[name]):
            raise DataError(f"the {name} part of the split is empty ({sizes})", fix=fix)
    return parts
