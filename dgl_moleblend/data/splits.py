"""Which molecules train, validate and test: by splitter, column, file or folds; which stand in two parts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from dgl_moleblend.config import check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError

if TYPE_CHECKING:
    from rdkit import Chem

PARTS = ("train", "validation", "test")
_WORDS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
          "val": "validation", "test": "test"}  # fmt: skip
_VALIDATION_SHARE = 0.1
"""Of the training rows of a column that names no validation rows."""
FOLDS = ("scaffold", "random", "stratified")
"""How molecules can be divided into folds."""
_VARIANTS = {
    "scaffold": "dgllife ScaffoldSplitter, scaffold_func={scaffold!r}",
    "random": "dgllife RandomSplitter, seed {seed}",
    "molecular_weight": "dgllife MolecularWeightSplitter",
    "stratified": "dgllife SingleTaskStratifiedSplitter by {task!r}, seed {seed}",
    "consecutive": "dgllife ConsecutiveSplitter",
}
_FAR = 0.15
"""A share of the molecules that is further than this from the one asked for is warned of."""
_FOLD_VARIANTS = {
    "scaffold": "dgllife ScaffoldSplitter.k_fold_split, scaffold_func={scaffold!r}",
    "random": "scikit-learn KFold, shuffled, seed {seed}",
    "stratified": "scikit-learn StratifiedKFold by {task!r}, seed {seed}",
}


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

    def __str__(self) -> str:
        train, validation, test = (len(self.parts[name]) for name in PARTS)
        return f"{train:,} molecules train, {validation:,} validate, {test:,} test"


def split_by_method(
    dataset: MoleculeDataset,
    method: str = "scaffold",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    *,
    scaffold: str = "smiles",
    keep_duplicates_together: bool = False,
) -> Split:
    """Divide molecules by one of dgllife's splitters.

    Parameters
    ----------
    dataset : MoleculeDataset
    method, fractions, seed, scaffold
        See `MoleculeDataset.split`; "stratified" goes by the first label.
    keep_duplicates_together : bool
        Divide distinct molecules, and let every row follow its molecule.

    Returns
    -------
    Split
        Its facts have "split_warning", a sentence, where a share is far from what was asked.

    Raises
    ------
    DataError
        If training gets less than half of its share, or it or validation gets no molecule.
    """
    groups = _groups(dataset, keep_duplicates_together)
    chosen = dataset.subset([rows[0] for rows in groups])
    parts = dict(zip(PARTS, _gather(groups, chosen.split(method, fractions, seed, scaffold=scaffold)), strict=True))
    facts = _facts(dataset, method, _VARIANTS[method], seed, scaffold, keep_duplicates_together)
    facts["fractions"] = list(fractions)
    text, is_useless = _compare_shares(parts, fractions)
    if text and method == "scaffold":
        text += _largest_scaffold(chosen)
    if is_useless:
        raise DataError(text, fix="divide otherwise: --split random, --folds 5 --split random, or --split-column NAME")
    if text:
        facts["split_warning"] = text
    return Split(_check_parts(parts, "give more rows, other --fractions, or --split random"), facts)


def _compare_shares(parts: Mapping[str, np.ndarray], fractions: Sequence[float]) -> tuple[str, bool]:
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
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    counts = Counter(MurckoScaffoldSmiles(mol=mol) for mol in _mols(dataset))
    scaffold, count = counts.most_common(1)[0]
    group = f"have the scaffold {scaffold}" if scaffold else "are acyclic, which counts as one scaffold"
    return f"; {count:,} of {len(dataset):,} molecules {group}, and stay together"


def split_by_column(
    dataset: MoleculeDataset,
    inputs: Sequence[str | PathLike[str]],
    column: str,
    **reading: Any,
) -> Split:
    """Divide molecules as a column (or SDF property) of their files says: train, validation (valid, val) or test.

    Where it names no validation rows, a tenth of the training rows, drawn at random, becomes such.

    Parameters
    ----------
    dataset : MoleculeDataset
        Made from `inputs`.
    inputs : sequence of path
    column : str
    **reading
        smiles_column, input_format, encoding, as for `MoleculeReader`.

    Raises
    ------
    DataError
        If there is no such column, a molecule's cell holds something else, or nothing trains or validates.
    """
    from dgl_moleblend.readers.molecules import MoleculeReader

    try:
        cells = {record.row: record for record in MoleculeReader(inputs, id_column=column, **reading)}
    except DataError as error:
        what = error.what.replace("there is no id column", "there is no split column")
        raise DataError(what, where=error.where, fix="name one of them with --split-column") from error
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for index, row in enumerate(dataset.rows.tolist()):
        word = _WORDS.get(cells[row].id.casefold())
        if word is None:
            raise DataError(
                f"{cells[row].id!r} in column {column!r} names no part of the split",
                where=f"{cells[row].source}, line {cells[row].line}",
                fix="write train, validation (or valid, val) or test in every row",
            )
        parts[word].append(index)
    arrays = {name: np.asarray(part, np.int64) for name, part in parts.items()}
    variant = f"column {column!r}"
    if not len(arrays["validation"]) and len(arrays["train"]) > 1:  # as published splits of two parts
        order = np.random.default_rng(0).permutation(arrays["train"])
        count = max(1, round(_VALIDATION_SHARE * len(order)))
        arrays |= {"validation": np.sort(order[:count]), "train": np.sort(order[count:])}
        variant += f"; {count:,} validation rows drawn from train"
    return Split(_check_parts(arrays), {"split": "column", "split_variant": variant, "column": column})


def split_by_file(
    dataset: MoleculeDataset,
    files: Mapping[str, Sequence[str]],
    rest: Mapping[str, Any],
) -> Split:
    """Divide molecules by the file that they came from.

    Parameters
    ----------
    dataset : MoleculeDataset
        Made from the training files and all of `files`.
    files : mapping of "validation" and "test" to file names
        The names that the data set knows. A part that is not named is drawn from the other files.
    rest : mapping
        Arguments of `split_by_method` for that.

    Raises
    ------
    DataError
        If a part gets no molecule.
    """
    part_of = {name: part for part, names in files.items() for name in names}
    origin = np.array([part_of.get(dataset[k].source, "rest") for k in range(len(dataset))], dtype=object)
    lost = [part_of.get(source) for source in dataset.rejects["source"]]
    parts = {part: np.flatnonzero(origin == part) for part in files}
    counts = {
        part: {"names": list(names), "kept": len(parts[part]), "rejected": lost.count(part)}
        for part, names in files.items()
    }
    parts["train"], variant = np.flatnonzero(origin == "rest"), "by file"
    warned: dict[str, Any] = {}
    for part in {"validation", "test"} - files.keys():
        if rest["fractions"][PARTS.index(part)] == 0:
            parts[part] = np.empty(0, np.int64)
            continue
        train, share = rest["fractions"][0], rest["fractions"][PARTS.index(part)]
        check(train > 0, "fractions", tuple(rest["fractions"]), "above 0 for train")
        shares = (train / (train + share), share / (train + share), 0.0)
        drawn = split_by_method(dataset.subset(parts["train"]), **{**rest, "fractions": shares})
        # rounding may put a molecule into the third part
        parts[part] = parts["train"][np.concatenate([drawn.parts["validation"], drawn.parts["test"]])]
        parts["train"] = parts["train"][drawn.parts["train"]]
        warned = {name: text for name, text in drawn.facts.items() if name == "split_warning"}
        variant += f"; {part} drawn by {drawn.facts['split_variant']}"
    facts = {"split": "file", "split_variant": variant, "split_files": counts, **warned}
    return Split(_check_parts({name: parts[name] for name in PARTS}), facts)


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
    method : {"scaffold", "random", "stratified"}
        "stratified" goes by the first label: its classes, or ten classes of equal size of a number.
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
    groups = _groups(dataset, keep_duplicates_together)
    chosen = dataset.subset([rows[0] for rows in groups])
    if len(chosen) < folds:
        raise DataError(
            f"{len(chosen)} molecules are too few for {folds} folds", fix="ask for fewer, or give more rows"
        )
    buckets = _gather(groups, _fold_tests(chosen, folds, method, seed, scaffold))
    if not all(len(bucket) for bucket in buckets):
        raise DataError(f"there are fewer scaffolds than the {folds} folds", fix="ask for fewer, or --split random")
    facts = _facts(dataset, method, _FOLD_VARIANTS[method], seed, scaffold, keep_duplicates_together)
    splits = []
    for k in range(folds):
        held_out = {k: "test", (k + 1) % folds: "validation"}
        parts = {name: buckets[i] for i, name in held_out.items()}
        parts["train"] = np.sort(np.concatenate([b for i, b in enumerate(buckets) if i not in held_out]))
        splits.append(Split({name: parts[name] for name in PARTS}, {**facts, "folds": folds, "fold": k}))
    return splits


def divide_rows(dataset: MoleculeDataset, folds: int, *, by_scaffold: bool, seed: int = 0) -> np.ndarray:
    """Return a fold for every molecule, for cross-validation: parts of like size, none empty.

    Parameters
    ----------
    dataset : MoleculeDataset
    folds : int
        Fewer where there are fewer molecules.
    by_scaffold : bool
        No Bemis-Murcko scaffold in two folds; molecules without a ring have none in common. At random otherwise, and
        where there are fewer scaffolds than folds.
    seed : int

    Returns
    -------
    ndarray of int, shape (N,)

    Examples
    --------
    >>> dataset = MoleculeDataset.from_smiles(["c1ccccc1C", "c1ccccc1O", "CCO", "CCN"])
    >>> folds = divide_rows(dataset, 3, by_scaffold=True)
    >>> bool(folds[0] == folds[1]), len(set(folds.tolist()))
    (True, 3)
    """
    from sklearn.model_selection import GroupKFold

    groups = list(range(len(dataset)))
    if by_scaffold:
        from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

        seen: dict[str, int] = {}
        for k, mol in enumerate(_mols(dataset)):
            if scaffold := MurckoScaffoldSmiles(mol=mol):
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
    from sklearn.model_selection import KFold, StratifiedKFold

    rows = np.arange(len(dataset))
    if method == "scaffold":
        found = ScaffoldSplitter.k_fold_split(
            rows, mols=_mols(dataset), k=folds, log_every_n=None, scaffold_func=scaffold
        )
        return [np.asarray(test.indices, np.int64) for _, test in found]
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


def find_duplicates(dataset: MoleculeDataset, parts: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Count molecules (by canonical SMILES) that several rows hold.

    Returns
    -------
    dict
        "molecules": that several rows of the split hold; "conflicting": those of them whose rows have different
        labels; "across_parts": those met in more than one part; "held_out_rows_seen_in_training": rows of validation
        and test whose molecule is also trained on.

    Examples
    --------
    >>> dataset = MoleculeDataset.from_smiles(["CCO", "OCC", "CC", "C"])
    >>> find_duplicates(dataset, {"train": np.array([0, 2]), "validation": np.array([1]), "test": np.array([3])})
    {'molecules': 1, 'conflicting': 0, 'across_parts': 1, 'held_out_rows_seen_in_training': 1}
    """
    part_of = {int(k): name for name, part in parts.items() for k in part}
    labels = dataset.labels
    found = dict.fromkeys(("molecules", "conflicting", "across_parts", "held_out_rows_seen_in_training"), 0)
    for group in _by_molecule(dataset):
        rows = [k for k in group if k in part_of]
        if len(rows) < 2:
            continue
        names = [part_of[k] for k in rows]
        found["molecules"] += 1
        found["across_parts"] += len(set(names)) > 1
        lowest, highest = np.fmin.reduce(labels[rows]), np.fmax.reduce(labels[rows])
        found["conflicting"] += bool((lowest < highest).any())
        if "train" in names:
            found["held_out_rows_seen_in_training"] += sum(name != "train" for name in names)
    return found


def describe_duplicates(found: Mapping[str, int]) -> str:
    """Say what `find_duplicates` found in a sentence; "" if there is nothing to say."""
    if not found["molecules"]:
        return ""
    return (
        f"{found['molecules']:,} molecules stand in several rows, "
        f"{found['conflicting']:,} of them with different labels; "
        f"{found['held_out_rows_seen_in_training']:,} held-out rows hold a molecule that is also trained on"
    )


def _by_molecule(dataset: MoleculeDataset) -> list[list[int]]:
    """Return the rows of each distinct molecule, in order of first appearance."""
    from rdkit.Chem import MolToSmiles

    groups: dict[str, list[int]] = {}
    for k, mol in enumerate(_mols(dataset)):
        groups.setdefault(MolToSmiles(mol), []).append(k)
    return list(groups.values())


def _groups(dataset: MoleculeDataset, together: bool) -> list[list[int]]:
    return _by_molecule(dataset) if together else [[k] for k in range(len(dataset))]


def _gather(groups: Sequence[Sequence[int]], parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """From indices of groups to the rows in them."""
    return [np.asarray([row for k in part for row in groups[k]], np.int64) for part in parts]


def _mols(dataset: MoleculeDataset) -> "list[Chem.Mol]":
    from dgl_moleblend.chem.sanitize import read_smiles

    return [read_smiles(smiles) for smiles in dataset.smiles]


def _facts(
    dataset: MoleculeDataset, method: str, variant: str, seed: int, scaffold: str, together: bool
) -> dict[str, Any]:
    task = dataset.task_names[0] if dataset.task_names else None
    return {
        "split": method,
        "split_variant": variant.format(scaffold=scaffold, seed=seed, task=task),
        "keep_duplicates_together": together,
    }


def _check_parts(
    parts: dict[str, np.ndarray], fix: str = "give it rows in the column or file that divides them"
) -> dict[str, np.ndarray]:
    sizes = ", ".join(f"{name} {len(part)}" for name, part in parts.items())
    for name in PARTS[:2]:
        if not len(parts[name]):
            raise DataError(f"the {name} part of the split is empty ({sizes})", fix=fix)
    return parts
