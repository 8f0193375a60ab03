"""What a model is given by DGL's and dgllife's conventions, brought into what the encoder reads."""

import dataclasses

import torch
from torch import Tensor

from dgl_moleblend.errors import SchemaError
from dgl_moleblend.pairs.batch import MoleculeBatch, RelationBatch
from dgl_moleblend.schema import ATOM_SIZES, NUM_BOND_IDS, DGLGraph

DGLLIFE_NAMES = {"atom": "h", "bond_path": "e"}
"""Names under which dgllife's featurizers and scripts keep what the schema calls otherwise."""


def given(
    graph: RelationBatch | DGLGraph, feat: Tensor | None = None, edge_feats: Tensor | None = None
) -> tuple[RelationBatch | DGLGraph, Tensor | None]:
    """Put features that were given in the place of a graph's own.

    Parameters
    ----------
    graph : RelationBatch or DGLGraph
        All pairs; or a graph of bonds, in both directions, as dgllife makes. It is not changed.
    feat : Tensor, shape (nodes, 9) and integer, or (nodes, d) and floating, optional
    edge_feats : Tensor, shape (edges, 5), (edges, 1) or (edges,), integer, optional
        Bond paths of a graph of pairs; bond ids of a graph of bonds, -1 on self-loops.

    Returns
    -------
    RelationBatch or DGLGraph
    Tensor or None
        Floating features of atoms, which stand for the embedding of their ids.

    Raises
    ------
    SchemaError
        If the features do not fit, or there is nothing that tells the bonds of a graph.
    """
    ids = feat if feat is not None and not feat.is_floating_point() else None
    embedded = feat if ids is None else None
    if isinstance(graph, RelationBatch):
        if edge_feats is not None:
            raise SchemaError(
                "`edge_feats` belong to the edges of a DGLGraph, and a RelationBatch has none",
                fix="put them in the batch: dataclasses.replace(batch, bond_path=...)",
            )
        return graph if ids is None else dataclasses.replace(graph, atom=ids), embedded
    if not isinstance(graph, DGLGraph):
        raise SchemaError(
            f"a DGLGraph or a RelationBatch is needed, got {type(graph).__name__}",
            fix="make one of several graphs with dgl.batch",
        )
    if graph.is_block or not graph.is_homogeneous:
        return graph, embedded  # refused where it enters
    graph = graph.local_var()
    for name, frame in (("atom", graph.ndata), ("bond_path", graph.edata)):
        if name not in frame and DGLLIFE_NAMES[name] in frame:
            frame[name] = frame.pop(DGLLIFE_NAMES[name])
    if ids is not None:
        graph.ndata["atom"] = _rows(ids, graph.num_nodes(), "feat", "one row per node")
    if edge_feats is not None:
        graph.edata["bond_path"] = _rows(edge_feats, graph.num_edges(), "edge_feats", "one row per edge")
    if "spd" in graph.edata:
        return _completed(graph), embedded
    if "bond_path" not in graph.edata:
        raise SchemaError(
            f"edata['spd'] is missing, and bond ids from which it could be made; there are {sorted(graph.edata)}",
            where="graph",
            fix="make graphs with dgl_moleblend.MoleculeFeaturizer, or dgllife's graphs of bonds with"
            " edge_featurizer=MoleBlendBondFeaturizer()",
        )
    if not _holds_bonds(graph):
        return graph, embedded
    batch = from_bonds(graph)
    if embedded is not None:
        rows = _rows(embedded, graph.num_nodes(), "feat", "one row per node")
        embedded = rows.new_zeros(*batch.atom_mask.shape, rows.shape[1]).masked_scatter(
            batch.atom_mask[:, :, None], rows
        )
    return batch, embedded


def _rows(value: Tensor, count: int, name: str, fix: str) -> Tensor:
    if len(value) != count:
        raise SchemaError(f"`{name}` has {len(value)} rows, expected {count}", fix=fix)
    return value


def _completed(graph: DGLGraph) -> DGLGraph:
    """Add what follows from the rest, where a graph of pairs lacks it, as those of `mol_to_complete_graph` do."""
    if "degree" not in graph.ndata and graph.edata["spd"].ndim == 1:
        receiver = graph.edges()[1].long()[graph.edata["spd"] == 1]
        graph.ndata["degree"] = torch.bincount(receiver, minlength=graph.num_nodes())
    if "positions" not in graph.ndata:
        graph.ndata["positions"] = torch.full((graph.num_nodes(), 3), torch.nan, device=graph.device)
    return graph


def _holds_bonds(graph: DGLGraph) -> bool:
    """Tell a graph of bonds by its one bond id an edge: a graph of pairs has paths."""
    return "bond_path" in graph.edata and graph.edata["bond_path"].shape[1:] in ((), (1,))


def from_bonds(graph: DGLGraph) -> RelationBatch:
    """Make the relations of all pairs from a graph of bonds.

    Parameters
    ----------
    graph : DGLGraph
        One molecule or a batch; each bond in both directions, self-loops are left out. ndata["atom"] (nodes, 9) and,
        if there are any, ndata["positions"] (nodes, 3), angstrom; edata["bond_path"] (edges, 1), the bond ids, -1 on
        self-loops.

    Raises
    ------
    SchemaError
        If a field is missing or has another shape, an id is unknown, or a bond has one direction only.
    """
    atom, bond = graph.ndata.get("atom"), graph.edata["bond_path"].flatten()
    if atom is None or atom.shape[1:] != (len(ATOM_SIZES),) or atom.is_floating_point():
        found = "nothing" if atom is None else f"{atom.dtype} of shape {tuple(atom.shape)}"
        raise SchemaError(
            f"a graph of bonds needs integer ids of its atoms, (nodes, {len(ATOM_SIZES)}), got {found}",
            fix="make them with node_featurizer=MoleBlendAtomFeaturizer()",
        )
    sender, receiver = (end.long() for end in graph.edges())
    forward, backward = sender < receiver, sender > receiver
    known = (bond >= 0) & (bond < NUM_BOND_IDS)
    if bond.is_floating_point() or bool((~known & (forward | backward)).any()):
        raise SchemaError(
            f"a graph of bonds needs an integer bond id from 0 to {NUM_BOND_IDS - 1} on every edge between two atoms",
            fix="make them with edge_featurizer=MoleBlendBondFeaturizer() (self_loop=True with self-loops)",
        )
    if int(forward.sum()) != int(backward.sum()):
        raise SchemaError(
            f"{int(forward.sum())} edges go from a lower to a higher atom, {int(backward.sum())} the other way",
            fix="give every bond both directions, as dgllife's mol_to_bigraph does",
        )
    sizes = graph.batch_num_nodes().to(sender.device)
    b, n = len(sizes), int(sizes.max())
    molecule = torch.repeat_interleave(torch.arange(b, device=sizes.device), sizes)
    place = torch.arange(len(molecule), device=sizes.device) - (torch.cumsum(sizes, 0) - sizes)[molecule]
    atom_mask = torch.arange(n, device=sizes.device) < sizes[:, None]

    def pad(value: Tensor) -> Tensor:
        return value.new_zeros(b, n, *value.shape[1:]).index_put((molecule, place), value)

    has_conformer = torch.zeros(b, dtype=torch.bool, device=sizes.device)
    positions = torch.zeros(b, n, 3, device=sizes.device)
    if "positions" in graph.ndata:
        absent = graph.ndata["positions"].isnan().any(-1)
        has_conformer = ~pad(absent).any(-1)
        positions = pad(graph.ndata["positions"].masked_fill(absent[:, None], 0.0))
    bond_index = torch.stack((place[sender[forward]], place[receiver[forward]]), -1)
    return MoleculeBatch(
        atom=pad(atom),
        positions=positions,
        atom_mask=atom_mask,
        has_conformer=has_conformer,
        bond_index=bond_index.int(),
        bond_molecule=molecule[sender[forward]].int(),
        bond_id=bond[forward].to(torch.uint8),
        max_degree=int(torch.bincount(receiver[forward | backward], minlength=1).max()),
    ).relations()
