"""Which rows of a data set hold one and the same molecule, and on which sides of a split they stand."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.several import SeveralMolecules

if TYPE_CHECKING:
    from rdkit import Chem


def find_duplicates(dataset: MoleculeDataset, parts: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Count molecules (by canonical SMILES) that several rows hold.

    Returns
    -------
    dict
        "molecules": that several rows of the split hold; "conflicting": those of them whose rows have different
        labels (bounds apart); "across_parts": those met in more than one part; "held_out_rows_seen_in_training": rows
        of validation and test whose molecule is also trained on.

    Examples
    --------
    >>> dataset = MoleculeDataset.from_smiles(["CCO", "OCC", "CC", "C"])
    >>> find_duplicates(dataset, {"train": np.array([0, 2]), "validation": np.array([1]), "test": np.array([3])})
    {'molecules': 1, 'conflicting': 0, 'across_parts': 1, 'held_out_rows_seen_in_training': 1}
    """
    part_of = {int(k): name for name, part in parts.items() for k in part}
    labels = np.where(dataset.bounds == 0, dataset.labels, np.nan)
    found = dict.fromkeys(("molecules", "conflicting", "across_parts", "held_out_rows_seen_in_training"), 0)
    for group in by_molecule(dataset):
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


def by_molecule(dataset: MoleculeDataset) -> list[list[int]]:
    """Return the rows of each distinct molecule, in order of first appearance."""
    return list(rows_by_identity(dataset).values())


def rows_by_identity(dataset: MoleculeDataset) -> dict[str, list[int]]:
    """Return the rows of each distinct molecule (of several a row: of the same ones in order), by `identity`."""
    parts = (dataset.first, *dataset.partners) if isinstance(dataset, SeveralMolecules) else (dataset,)
    groups: dict[str, list[int]] = {}
    for k, mols in enumerate(zip(*map(read_mols, parts), strict=True)):
        groups.setdefault(" ".join(map(identity, mols)), []).append(k)
    return groups


def identity(mol: "Chem.Mol") -> str:
    """Return the text by which a molecule is known, however it was written."""
    from rdkit.Chem import MolToSmiles

    return str(MolToSmiles(mol))


def read_mols(dataset: MoleculeDataset) -> "list[Chem.Mol]":
    """Return the RDKit molecules of a data set (the first of each row), in the form that its settings ask for."""
    from dgl_moleblend.chem.sanitize import read_smiles

    return [read_smiles(smiles) for smiles in dataset.divided_by]
