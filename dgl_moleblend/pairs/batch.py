"""Molecules or DGLGraphs -> padded tensors: MoleculeBatch, O(n) a molecule, and RelationBatch, O(n^2)."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from typing_extensions import Self

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.errors import SchemaError
from dgl_moleblend.pairs.checks import check_pairs
from dgl_moleblend.pairs.relations import bond_matrix, pairwise_distance, shortest_bond_path, shortest_path_distance
from dgl_moleblend.schema import ATOM_SIZES, NO_BOND, NO_PATH, PATH_HOPS, DGLGraph


class TensorStruct:
    """A dataclass of tensors that moves between devices as one, and is printed by its sizes."""

    def __repr__(self) -> str:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        shown = {k: tuple(v.shape) if isinstance(v, Tensor) else v for k, v in values.items()}
        devices = {str(value.device) for value in values.values() if isinstance(value, Tensor)}
        sizes = ", ".join(f"{name} {value}" for name, value in shown.items())
        return f"<{type(self).__name__} on {', '.join(sorted(devices)) or 'no device'}: {sizes}>"

    def _map(self, function) -> Self:  # type: ignore[no-untyped-def]
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return type(self)(**{k: self._apply(function, v) for k, v in fields.items()})

    @staticmethod
    def _apply(function, value):  # type: ignore[no-untyped-def]
        if isinstance(value, TensorStruct):
            return value._map(function)
        return function(value) if isinstance(value, Tensor) else value

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Copy to a device; tensors already there are shared."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Copy to page-locked memory, from which CUDA copies in the background."""
        return self._map(Tensor.pin_memory)


@dataclass(frozen=True, eq=False, repr=False)
class MoleculeBatch(TensorStruct):
    """Padded compact arrays of b molecules of at most n atoms and m bonds in all: what a loader sends to a device.

    Parameters
    ----------
    atom : Tensor, shape (b, n, 9), uint8
    positions : Tensor, shape (b, n, 3), float32, angstrom
        0 where absent.
    atom_mask : Tensor, shape (b, n), bool
        True: a real atom.
    has_conformer : Tensor, shape (b,), bool
    bond_index : Tensor, shape (m, 2), int32
        Begin and end atom of every bond, numbered within its molecule.
    bond_molecule : Tensor, shape (m,), int32
        The molecule of every bond.
    bond_id : Tensor, shape (m,), uint8
    max_degree : int
        Most bonds of an atom; known here so that `relations` need not ask the device.
    """

    atom: Integer[Tensor, "b n 9"]
    positions: Float[Tensor, "b n 3"]
    atom_mask: Bool[Tensor, "b n"]
    has_conformer: Bool[Tensor, " b"]
    bond_index: Integer[Tensor, "m 2"]
    bond_molecule: Integer[Tensor, " m"]
    bond_id: Integer[Tensor, " m"]
    max_degree: int

    @classmethod
    def from_arrays(cls, molecules: Sequence[MoleculeArrays], conformers: Sequence[int] | None = None) -> Self:
        """Pad molecules to the largest of them.

        Parameters
        ----------
        molecules : sequence of MoleculeArrays
            At least one.
        conformers : sequence of int, optional
            Which conformer of each molecule to take (modulo their number); by default the first.
        """
        if not molecules:
            raise SchemaError("a batch needs at least one molecule", fix="leave out empty batches")
        b, n = len(molecules), max(m.num_atoms for m in molecules)
        atom = np.zeros((b, n, len(ATOM_SIZES)), np.uint8)
        positions = np.zeros((b, n, 3), np.float32)
        atom_mask = np.zeros((b, n), bool)
        has_conformer = np.zeros(b, bool)
        for k, molecule in enumerate(molecules):
            atom[k, : molecule.num_atoms] = molecule.atom
            atom_mask[k, : molecule.num_atoms] = True
            conformer = molecule.conformer(conformers[k] if conformers is not None else 0)
            if conformer is not None:
                positions[k, : molecule.num_atoms] = conformer
                has_conformer[k] = True
        bond_index = np.concatenate([m.bond_index for m in molecules]).astype(np.int32)
        bond_molecule = np.repeat(np.arange(b, dtype=np.int32), [len(m.bond_id) for m in molecules])
        degree = np.bincount((bond_index + n * bond_molecule[:, None]).ravel(), minlength=1)
        return cls(
            atom=torch.from_numpy(atom),
            positions=torch.from_numpy(positions),
            atom_mask=torch.from_numpy(atom_mask),
            has_conformer=torch.from_numpy(has_conformer),
            bond_index=torch.from_numpy(bond_index),
            bond_molecule=torch.from_numpy(bond_molecule),
            bond_id=torch.from_numpy(np.concatenate([m.bond_id for m in molecules]).astype(np.uint8)),
            max_degree=int(degree.max()),
        )

    def relations(self) -> "RelationBatch":
        """Make the relations of the whole batch, on the device that it is on."""
        b, n = self.atom_mask.shape
        bonds = bond_matrix(self.bond_index, self.bond_molecule, self.bond_id, b, n)
        bonded = bonds > 0
        spd = shortest_path_distance(bonded)
        spd = spd.masked_fill(~(self.atom_mask[:, :, None] & self.atom_mask[:, None, :]), NO_PATH)
        return RelationBatch(
            atom=self.atom,
            degree=bonded.sum(-1).to(torch.uint8),
            positions=self.positions,
            atom_mask=self.atom_mask,
            has_conformer=self.has_conformer,
            spd=spd,
            bond_path=shortest_bond_path(spd, bonds, self.max_degree),
        )


@dataclass(frozen=True, eq=False, repr=False)
class RelationBatch(TensorStruct):
    """The relations of b molecules padded to n atoms: the dense view.

    Parameters
    ----------
    atom : Tensor, shape (b, n, 9), integer
        Ids of the nine atom features; padding is 0.
    degree : Tensor, shape (b, n), integer
        Number of neighbours in the graph of bonds.
    positions : Tensor, shape (b, n, 3), angstrom
        0 where absent.
    atom_mask : Tensor, shape (b, n), bool
        True: a real atom.
    has_conformer : Tensor, shape (b,), bool
        True: the molecule has positions.
    spd : Tensor, shape (b, n, n), integer
        Shortest-path distance in bonds, -1 = no path (and padding).
    bond_path : Tensor, shape (b, n, n, 5), integer
        Bond ids on the shortest path from receiver i to sender j, -1 = no bond.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> batch = mb.RelationBatch.from_graphs([mb.MoleculeFeaturizer()(s) for s in ("CCO", "C")])
    >>> batch.spd[0]
    tensor([[0, 1, 2],
            [1, 0, 1],
            [2, 1, 0]], dtype=torch.int16)
    >>> batch.atom_mask[1]
    tensor([ True, False, False])
    """

    atom: Integer[Tensor, "b n 9"]
    degree: Integer[Tensor, "b n"]
    positions: Float[Tensor, "b n 3"]
    atom_mask: Bool[Tensor, "b n"]
    has_conformer: Bool[Tensor, " b"]
    spd: Integer[Tensor, "b n n"]
    bond_path: Integer[Tensor, "b n n hops"]

    def __post_init__(self) -> None:
        b, n = self.atom_mask.shape
        expected = {
            "atom": (b, n, len(ATOM_SIZES)),
            "degree": (b, n),
            "positions": (b, n, 3),
            "has_conformer": (b,),
            "spd": (b, n, n),
            "bond_path": (b, n, n, PATH_HOPS),
        }
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise SchemaError(
                    f"`{name}` must have shape {shape}, got {tuple(getattr(self, name).shape)}",
                    fix="see the shapes in RelationBatch's documentation; atom_mask gives (b, n)",
                )

    @property
    def num_molecules(self) -> int:
        """Number of molecules b."""
        return len(self.atom_mask)

    @cached_property
    def pair_mask(self) -> Bool[Tensor, "b n n"]:
        """Both atoms are real."""
        return self.atom_mask[:, :, None] & self.atom_mask[:, None, :]

    @cached_property
    def masked_positions(self) -> Float[Tensor, "b n 3"]:
        """Positions, angstrom; 0 in the padding and where the molecule has none, whatever `positions` holds there."""
        real = self.atom_mask & self.has_conformer[:, None]
        return torch.where(real.unsqueeze(-1), self.positions, 0.0)

    @cached_property
    def distance(self) -> Float[Tensor, "b n n"]:
        """Euclidean distance, angstrom; 0 where the molecule has no positions, and in the padding."""
        return pairwise_distance(self.masked_positions) * self.pair_mask

    def with_noise(self, noise: Float[Tensor, "b n 3"]) -> Self:
        """Return a batch whose positions are displaced by `noise` (angstrom), where there are positions."""
        return dataclasses.replace(self, positions=self.masked_positions + noise)

    @classmethod
    def from_graphs(cls, graphs: Sequence[DGLGraph]) -> Self:
        """Pad DGLGraphs that satisfy the schema to the largest of them; a batched graph counts as its molecules.

        Raises
        ------
        SchemaError
            If a field is missing or a graph lacks pairs (a cut-off graph goes through message passing instead).
        """
        import dgl

        if not graphs:
            raise SchemaError("a batch needs at least one graph", fix="leave out empty batches")
        return cls.from_graph(dgl.batch(list(graphs)))

    @classmethod
    def from_graph(cls, graph: DGLGraph) -> Self:
        """Pad the molecules of a batched DGLGraph; see `from_graphs`."""
        check_pairs(graph)
        sizes = graph.batch_num_nodes()
        if not torch.equal(graph.batch_num_edges(), sizes * sizes):
            raise SchemaError(
                "the graph does not have one edge per ordered pair of atoms, so it has no dense view",
                fix="give the graph itself to the encoder, layer or predictor: they pass messages over its edges",
            )
        b, n = len(sizes), int(sizes.max())
        atom_mask = torch.arange(n, device=sizes.device) < sizes[:, None]
        first = torch.cumsum(sizes, 0) - sizes
        sender, receiver = (end.long() for end in graph.edges())
        molecule = torch.repeat_interleave(torch.arange(b, device=sizes.device), sizes)[receiver]
        place = (molecule, receiver - first[molecule], sender - first[molecule])

        def pad_nodes(value: Tensor) -> Tensor:
            out = value.new_zeros(b, n, *value.shape[1:])
            out[atom_mask] = value
            return out

        def pad_pairs(value: Tensor, fill: int) -> Tensor:
            out = value.new_full((b, n, n, *value.shape[1:]), fill)
            out[place] = value
            return out

        positions = graph.ndata["positions"]
        absent = positions.isnan().any(-1)
        without = torch.zeros(b, n, dtype=torch.bool, device=sizes.device)
        without[atom_mask] = absent
        return cls(
            atom=pad_nodes(graph.ndata["atom"]),
            degree=pad_nodes(graph.ndata["degree"]),
            positions=pad_nodes(positions.masked_fill(absent[:, None], 0.0)),
            atom_mask=atom_mask,
            has_conformer=~without.any(-1),
            spd=pad_pairs(graph.edata["spd"], NO_PATH),
            bond_path=pad_pairs(graph.edata["bond_path"], NO_BOND),
        )

    def to_graph(self) -> DGLGraph:
        """Return the graph view: a batched DGLGraph with one edge per ordered pair, edge i * n + j from j to i."""
        import dgl

        sizes = self.atom_mask.sum(-1)
        node = torch.full(self.atom_mask.shape, -1, device=sizes.device)
        node[self.atom_mask] = torch.arange(int(sizes.sum()), device=sizes.device)
        pair_mask = self.pair_mask
        receiver = node[:, :, None].expand_as(pair_mask)[pair_mask]
        sender = node[:, None, :].expand_as(pair_mask)[pair_mask]
        graph = dgl.graph((sender, receiver), num_nodes=int(sizes.sum()))
        graph.set_batch_num_nodes(sizes)
        graph.set_batch_num_edges(sizes * sizes)
        nan = float("nan")
        positions = self.positions.masked_fill(~self.has_conformer[:, None, None], nan)
        distance = self.distance.masked_fill(~self.has_conformer[:, None, None], nan)
        graph.ndata["atom"] = self.atom[self.atom_mask].to(torch.uint8)
        graph.ndata["degree"] = self.degree[self.atom_mask].to(torch.uint8)
        graph.ndata["positions"] = positions[self.atom_mask]
        graph.edata["spd"] = self.spd[pair_mask].to(torch.int16)
        graph.edata["bond_path"] = self.bond_path[pair_mask].to(torch.int8)
        graph.edata["distance"] = distance[pair_mask]
        return graph
