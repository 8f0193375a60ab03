"""Molecules with something beyond the vocabulary, which a model sees as something else: counted, and said."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dgl_moleblend.data.summary import describe_bounds
from dgl_moleblend.schema import ATOM_SIZES

if TYPE_CHECKING:
    from dgl_moleblend.data.dataset import MoleculeDataset

_ISOTOPE = re.compile(r"\[\d+[A-Za-z]")
_ELEMENT, _CHARGE = 0, 3
"""Columns of the nine atom features."""
WORDS = ("an isotope", "a dummy atom (*)", "a charge beyond 5")


def find_unusual(dataset: "MoleculeDataset") -> np.ndarray:
    """Tell which molecules hold what `WORDS` name: isotopes, deuterium too, are seen as their elements, and so on.

    Parameters
    ----------
    dataset : MoleculeDataset

    Returns
    -------
    ndarray, shape (N, 3), bool

    Examples
    --------
    >>> from dgl_moleblend.data.dataset import MoleculeDataset
    >>> find_unusual(MoleculeDataset.from_smiles(["CCO", "[2H]C", "*CC", "[Ti+6]"])).astype(int).tolist()
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    isotope = [_ISOTOPE.search(text) is not None for text in dataset.structures]
    others = [dataset.has_atom(column, ATOM_SIZES[column] - 1) for column in (_ELEMENT, _CHARGE)]
    return np.column_stack([np.array(isotope, bool), *others])


def warnings(dataset: "MoleculeDataset") -> list[str]:
    """Return for each molecule "", or what of it is beyond the vocabulary.

    >>> from dgl_moleblend.data.dataset import MoleculeDataset
    >>> warnings(MoleculeDataset.from_smiles(["CCO", "*C[2H]"]))
    ['', "beyond the model's vocabulary: an isotope, a dummy atom (*)"]
    """
    return [
        f"beyond the model's vocabulary: {', '.join(word for word, has in zip(WORDS, row, strict=True) if has)}"
        if any(row)
        else ""
        for row in find_unusual(dataset).tolist()
    ]


def describe_unusual(dataset: "MoleculeDataset") -> str:
    """Say how many molecules hold something beyond the vocabulary; "" if none does.

    >>> from dgl_moleblend.data.dataset import MoleculeDataset
    >>> describe_unusual(MoleculeDataset.from_smiles(["CCO", "[2H]C", "[13CH4]"]))
    'molecules beyond the vocabulary, whose isotopes, dummy atoms or charges models do not tell: 2 with an isotope'
    """
    counts = find_unusual(dataset).sum(0).tolist()
    found = ", ".join(f"{count:,} with {word}" for word, count in zip(WORDS, counts, strict=True) if count)
    what = "molecules beyond the vocabulary, whose isotopes, dummy atoms or charges models do not tell"
    return f"{what}: {found}" if found else ""


def remarks(dataset: "MoleculeDataset") -> list[str]:
    """Say what a reader of these molecules has to know: see `describe_unusual` and `describe_bounds`."""
    bounds = describe_bounds(dataset.labels, dataset.bounds, dataset.task_names)
    return [text for text in (describe_unusual(dataset), bounds) if text]


def joined(*columns: Sequence[str]) -> np.ndarray:
    """Put the remarks of several columns in one, shape (N,).

    >>> joined(["", "a", "a"], ["b", "", "b"]).tolist()
    ['b', 'a', 'a; b']
    """
    return np.array(["; ".join(filter(None, row)) for row in zip(*columns, strict=True)], object)
