"""Blending: each pair shows one relation, each atom one of its two terms; what is shown is drawn here."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from dgl_moleblend.config import check_ratio
from dgl_moleblend.errors import SchemaError
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.schema import DGLGraph

EVERYTHING = -1
"""In a blend: nothing is hidden."""


class Blend(NamedTuple):
    """What each pair and each atom shows.

    Parameters
    ----------
    pair : Tensor, shape (b, n, n) or (edges,), integer
        0 = spd, 1 = bond path, 2 = distance, -1 = all of them.
    atom : Tensor, shape (b, n) or (nodes,), integer
        0 = 2D term, 1 = 3D term, -1 = both.
    """

    pair: Tensor
    atom: Tensor

    def shows_pair(self, relation: int) -> Tensor:
        """Whether each pair shows a relation."""
        return (self.pair == relation) | (self.pair == EVERYTHING)

    def shows_atom(self, term: int) -> Tensor:
        """Whether each atom shows a term."""
        return (self.atom == term) | (self.atom == EVERYTHING)

    def check(self, pair_shape: Sequence[int], atom_shape: Sequence[int]) -> None:
        """Raise a SchemaError unless the shapes are those of the relations that are blended."""
        for name, value, shape in (("pair", self.pair, pair_shape), ("atom", self.atom, atom_shape)):
            if tuple(value.shape) != tuple(shape):
                raise SchemaError(
                    f"`blend.{name}` must have shape {tuple(shape)}, got {tuple(value.shape)}",
                    fix="draw one choice for every pair of every molecule, with draw_blend(batch, ...)",
                )


def draw_blend(
    data: RelationBatch | DGLGraph,
    ratio: Sequence[float] = (0.2, 0.2, 0.6),
    atom_ratio: Sequence[float] = (0.4, 0.6),
    generator: Generator | None = None,
    whole: float = 0.0,
) -> Blend:
    """Draw independently, for every pair and atom of every molecule, what it shows (METHOD.md section 6).

    A molecule without positions has nothing to show in 3D: its pairs draw from spd and bond path alone, in their
    proportion, and its atoms show the 2D term. Unlike the release, which shares one (n, n) draw among all molecules of
    a batch.

    Parameters
    ----------
    data : RelationBatch or DGLGraph
    ratio : 3 floats that add up to 1
        Probabilities of spd, bond path, distance.
    atom_ratio : 2 floats that add up to 1
        Probabilities of the 2D and the 3D term.
    generator : Generator, optional
        Source of randomness; the draw is made on its device.
    whole : float
        Share of the molecules that show everything.

    Returns
    -------
    Blend
        pair (b, n, n) and atom (b, n), int8; for a graph (edges,) and (nodes,).

    Raises
    ------
    ValueError
        If a ratio does not add up to 1.

    References
    ----------
    Yu et al., "Multimodal Molecular Pretraining via Modality Blending", ICLR 2024, section "Multimodal Molecule
    Blending".
    """
    check_ratio("ratio", tuple(ratio), 3)
    check_ratio("atom_ratio", tuple(atom_ratio), 2)
    if isinstance(data, RelationBatch):
        atom_shape: Sequence[int] = data.atom_mask.shape
        pair_shape: Sequence[int] = data.spd.shape
        pair_has_3d, atom_has_3d = data.has_conformer[:, None, None], data.has_conformer[:, None]
    else:
        atom_shape, pair_shape = (data.num_nodes(),), (data.num_edges(),)
        pair_has_3d = ~data.edata["distance"].isnan()
        atom_has_3d = ~data.ndata["positions"].isnan().any(-1)
    device = atom_has_3d.device
    drawn = _uniform(pair_shape, generator, device)
    flat = (ratio[0] + ratio[1]) or 1.0
    blended = (drawn >= ratio[0]).to(torch.int8) + (drawn >= ratio[0] + ratio[1]).to(torch.int8)
    pair = torch.where(pair_has_3d, blended, (drawn >= ratio[0] / flat).to(torch.int8))
    atom = ((_uniform(atom_shape, generator, device) >= atom_ratio[0]) & atom_has_3d).to(torch.int8)
    if whole > 0:
        if not isinstance(data, RelationBatch):
            raise SchemaError("`whole` molecules are drawn for a batch", fix="use RelationBatch.from_graph(graph)")
        shown = _uniform((len(data.atom_mask),), generator, device) < whole
        pair, atom = pair.masked_fill(shown[:, None, None], EVERYTHING), atom.masked_fill(shown[:, None], EVERYTHING)
    return Blend(pair, atom)


def draw_noise(batch: RelationBatch, scale: float = 0.2, generator: Generator | None = None) -> Float[Tensor, "b n 3"]:
    """Draw coordinate noise, angstrom: normal with deviation `scale` for real atoms with positions, else 0."""
    device = generator.device if generator is not None else batch.positions.device
    noise = torch.randn(batch.positions.shape, generator=generator, device=device, dtype=batch.positions.dtype)
    real = (batch.atom_mask & batch.has_conformer[:, None])[:, :, None]
    return scale * noise.to(batch.positions.device) * real


def _uniform(shape: Sequence[int], generator: Generator | None, device: torch.device) -> Tensor:
    drawn_on = generator.device if generator is not None else device
    return torch.rand(tuple(shape), generator=generator, device=drawn_on).to(device)
