"""The graph contract: every node and edge field with its shape, dtype and unit, and the codes for absent values."""

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from dgl_moleblend.errors import SchemaError

if TYPE_CHECKING:
    from dgl import DGLGraph
else:

    class _KnowsGraphs(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, getattr(sys.modules.get("dgl"), "DGLGraph", ()))

    class DGLGraph(metaclass=_KnowsGraphs):
        """DGL's graph, for annotations and `isinstance`: where DGL was never imported, nothing is one.

        Importing DGL takes half a second, which a command that meets no graph does not have to spend.
        """


SCHEMA_VERSION = 1

ATOM_SIZES = (119, 5, 12, 12, 10, 6, 6, 2, 2)
"""Number of ids of each of the nine atom features, the last of a list being "anything else" (METHOD.md section 1)."""
BOND_SIZES = (5, 6, 2)
"""Number of ids of bond type, stereo and conjugation."""
NUM_BOND_IDS = 60
"""A bond id is ``12 * type + 2 * stereo + conjugated``, 0 to 59."""
NUM_DEGREES = 16
"""Graph degrees 0 to 14, and "15 or more"."""
PATH_HOPS = 5
"""Bonds kept along a shortest path, counted from the receiving atom."""
SPD_CLASSES = 11
"""Classes in which spd is recovered: 1 to 10 bonds, and "11 or more"."""
BOND_CLASSES = 24
"""Classes in which a bond is recovered: 4 types, 3 stereo words, conjugated or not."""
NO_PATH = -1
"""`spd` of two atoms in different fragments."""
NO_BOND = -1
"""`bond_path` beyond the end of a path."""
RELATIONS = ("spd", "bond_path", "distance")
"""The three relations of a pair, always in this order."""
ATOM_TERMS = ("2d", "3d")
"""The two atom terms that blending chooses from, always in this order."""


def bond_parts(bond_id: Any) -> tuple[Any, Any, Any]:
    """Return the ids of type, stereo and conjugation that a bond id is made of.

    Parameters
    ----------
    bond_id : int, ndarray or Tensor
        From 0 on.

    Examples
    --------
    >>> bond_parts(17)
    (1, 2, 1)
    """
    _, stereo, conjugated = BOND_SIZES
    return bond_id // (stereo * conjugated), bond_id // conjugated % stereo, bond_id % conjugated


class Field(NamedTuple):
    """One field of a graph: trailing shape (after nodes or edges), dtype, unit and meaning."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    meaning: str


NODE_FIELDS = {
    "atom": Field((len(ATOM_SIZES),), torch.uint8, "ids of the nine atom features"),
    "degree": Field((), torch.uint8, "number of neighbours in the graph of bonds"),
    "positions": Field((3,), torch.float32, "angstrom; NaN where the molecule has no conformer"),
}
EDGE_FIELDS = {
    "spd": Field((), torch.int16, "shortest-path distance in bonds; -1 = no path"),
    "bond_path": Field((PATH_HOPS,), torch.int8, "bond ids from the receiver's end; -1 = no bond"),
    "distance": Field((), torch.float32, "angstrom; NaN where the molecule has no conformer"),
}


def check_graph(graph: Any, *, where: str = "graph") -> None:
    """Check that a DGLGraph satisfies the schema.

    Parameters
    ----------
    graph : DGLGraph
        One molecule or a batch of them; it need not be complete.
    where : str
        Named in the error.

    Raises
    ------
    SchemaError
        If the graph has several types of nodes or edges, or is a block; if a field is missing, or has another shape or
        a dtype of another kind.
    """
    if graph.is_block or not graph.is_homogeneous:
        raise SchemaError(
            f"the graph {'is a block' if graph.is_block else 'has several types of nodes or edges'}; its nodes must be"
            " atoms, and its edges their pairs",
            where=where,
            fix="make graphs with dgl_moleblend.MoleculeFeaturizer; dgl.to_homogeneous and dgl.block_to_graph keep no"
            " molecules",
        )
    for frame, fields, owner in ((graph.ndata, NODE_FIELDS, "ndata"), (graph.edata, EDGE_FIELDS, "edata")):
        for name, field in fields.items():
            if name not in frame:
                raise SchemaError(
                    f"{owner}[{name!r}] is missing; there are {sorted(frame)}",
                    where=where,
                    fix="make graphs with dgl_moleblend.MoleculeFeaturizer, or add the field: " + field.meaning,
                )
            value = frame[name]
            if tuple(value.shape[1:]) != field.shape or value.is_floating_point() != field.dtype.is_floating_point:
                raise SchemaError(
                    f"{owner}[{name!r}] must be {field.dtype} of shape (..., {', '.join(map(str, field.shape))}),"
                    f" got {value.dtype} of shape {tuple(value.shape)}",
                    where=where,
                    fix=field.meaning,
                )


FEATURE_KINDS = ("morgan", "atom_pair", "path", "rdkit2d")
"""Features of a whole molecule: counts of Morgan environments of radius 2 with chirality, of atom pairs, and of paths
of up to 5 bonds with their branches; RDKit's descriptors."""
