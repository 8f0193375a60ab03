"""FlatView: nodes and pairs as rows without padding; the base of the packed and the graph view."""

from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dgl_moleblend.nn.selection import Selected


class FlatView:
    """Nodes and pairs as rows without padding; the base of `PackedView` and `GraphView`.

    Parameters
    ----------
    size : tuple of int
        (b, n) of the padded layout.
    molecule, place : Tensor, shape (nodes,)
        Molecule of every node, and its number within it.
    sender, receiver : Tensor, shape (p,)
        Nodes of every pair.
    """

    select: ClassVar[Any] = Selected

    def __init__(
        self, size: tuple[int, int], molecule: Tensor, place: Tensor, sender: Tensor, receiver: Tensor
    ) -> None:
        self.size = size
        self.molecule = molecule
        self.place = place
        self.sender = sender
        self.receiver = receiver

    @property
    def num_molecules(self) -> int:
        """Number of molecules b."""
        return self.size[0]

    @property
    def pair_shape(self) -> tuple[int, ...]:
        """Leading shape of pair fields, (p,)."""
        return tuple(self.receiver.shape)

    @cached_property
    def node_rows(self) -> Tensor:
        """Rows of the nodes in the flattened padded layout, (nodes,)."""
        return self.molecule * self.size[1] + self.place

    @cached_property
    def pair_rows(self) -> Tensor:
        """Rows of the pairs in the flattened padded layout, (p,)."""
        return self.node_rows[self.receiver] * self.size[1] + self.place[self.sender]

    @cached_property
    def atom_mask(self) -> Bool[Tensor, "b n"]:
        """True: a real atom, in the padded layout."""
        return self.pad_nodes(torch.ones_like(self.molecule, dtype=torch.bool))

    def receivers(self, nodes: Tensor) -> Tensor:
        """Node values of the receiving atom of each pair: (nodes, ...) -> (p, ...)."""
        return nodes.index_select(0, self.receiver)

    def senders(self, nodes: Tensor) -> Tensor:
        """Node values of the sending atom of each pair: (nodes, ...) -> (p, ...)."""
        return nodes.index_select(0, self.sender)

    def sum_senders(self, values: Float[Tensor, "q k"], chosen: Selected) -> Float[Tensor, "nodes k"]:
        """Sum the values of chosen pairs over the sending atoms."""
        out = values.new_zeros(len(self.molecule), values.shape[1])
        return out.index_add(0, self.receiver[chosen.index], values)

    def spread(self, molecules: Float[Tensor, " b"]) -> Float[Tensor, "nodes 1"]:
        """One value per molecule, to be broadcast against node features."""
        return molecules[self.molecule].unsqueeze(-1)

    def pad_nodes(self, nodes: Tensor) -> Tensor:
        """Node values in the padded layout, 0 in the padding: (nodes, ...) -> (b, n, ...)."""
        b, n = self.size
        return nodes.new_zeros(b * n, *nodes.shape[1:]).index_copy(0, self.node_rows, nodes).unflatten(0, (b, n))

    def pad_pairs(self, pairs: Tensor) -> Tensor:
        """Pair values in the padded layout, 0 where there is no pair: (p, ...) -> (b, n, n, ...)."""
        b, n = self.size
        out = pairs.new_zeros(b * n * n, *pairs.shape[1:])
        return out.index_copy(0, self.pair_rows, pairs).unflatten(0, (b, n, n))

    def take_nodes(self, padded: Tensor) -> Tensor:
        """Node values of this view from the padded layout: (b, n, ...) -> (nodes, ...)."""
        return padded.flatten(0, 1).index_select(0, self.node_rows)

    def take_pairs(self, padded: Tensor) -> Tensor:
        """Pair values of this view from the padded layout: (b, n, n, ...) -> (p, ...)."""
        return padded.flatten(0, 2).index_select(0, self.pair_rows)
