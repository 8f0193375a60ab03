"""What a DGL user would build today: dgl.nn's encoders and GraphormerLayer, and linear heads for the objectives."""

import dgl_moleblend as mb  # first: dgl can be imported afterwards

# isort: split
import torch
import torch.nn.functional as F
from dgl.nn import DegreeEncoder, GraphormerLayer, PathEncoder, SpatialEncoder, SpatialEncoder3d
from torch import Tensor, nn

from dgl_moleblend.models import objectives
from dgl_moleblend.schema import ATOM_SIZES, BOND_CLASSES, NUM_BOND_IDS, PATH_HOPS, SPD_CLASSES


class DglGraphormer(nn.Module):
    """Blended Graphormer of DGL's own parts, at the size of an `EncoderConfig`.

    The heads are the cheapest that give predictions of the same shapes: a linear layer of the receiving atom plus one
    of the sending atom, and one of each atom for the noise. MoleBLEND's cost far more, so this model has it easy.

    Parameters
    ----------
    config : EncoderConfig
    """

    def __init__(self, config: mb.EncoderConfig) -> None:
        super().__init__()
        d, h = config.feat_size, config.num_heads
        self.atom_tables = nn.ModuleList(nn.Embedding(size, d) for size in ATOM_SIZES)
        self.degree = DegreeEncoder(max_degree=15, embedding_dim=d, direction="both")
        self.token = nn.Parameter(torch.zeros(d))
        self.token_bias = nn.Parameter(torch.zeros(h))
        self.bond = nn.Embedding(NUM_BOND_IDS + 1, h, padding_idx=NUM_BOND_IDS)
        self.spd = SpatialEncoder(max_dist=config.max_dist, num_heads=h)
        self.path = PathEncoder(max_len=PATH_HOPS, feat_dim=h, num_heads=h)
        self.distance = SpatialEncoder3d(num_kernels=config.num_kernels, num_heads=h, max_node_type=ATOM_SIZES[0])
        self.layers = nn.ModuleList(
            GraphormerLayer(d, config.ffn_size, h, dropout=config.activation_dropout,
                            attn_dropout=config.attention_dropout, activation=nn.GELU())
            for _ in range(config.num_layers)
        )  # fmt: skip
        self.sizes = (SPD_CLASSES, PATH_HOPS * BOND_CLASSES, 3)
        self.receiver, self.sender = nn.Linear(d, sum(self.sizes)), nn.Linear(d, sum(self.sizes))
        self.noise = nn.Linear(d, 3)

    def forward(self, batch: mb.RelationBatch, blend: mb.Blend, noise: Tensor) -> Tensor:
        """Return the loss."""
        seen = batch.with_noise(noise)
        spd, bond_path = batch.spd.long(), batch.bond_path.long()
        bond = self.bond(bond_path.masked_fill(bond_path < 0, NUM_BOND_IDS))
        biases = (self.spd(spd), self.path(spd, bond), self.distance(seen.positions, batch.atom[..., 0].long()))
        shown = sum(torch.where((blend.pair == k)[..., None], bias, 0.0) for k, bias in enumerate(biases))
        bias = F.pad(shown, (0, 0, 1, 0, 1, 0))
        bias[:, 0, :] += self.token_bias
        bias[:, 1:, 0] += self.token_bias

        feat = sum(table(batch.atom[..., k].long()) for k, table in enumerate(self.atom_tables))
        feat = feat + self.degree(batch.degree.long().expand(2, -1, -1))
        feat = torch.cat((self.token.expand(len(feat), 1, -1), feat), 1)
        absent = F.pad(~batch.atom_mask, (1, 0))[:, None, :].expand(-1, feat.shape[1], -1)
        for layer in self.layers:
            feat = layer(feat, bias, absent)
        return self._loss(feat[:, 1:], batch, blend, noise)

    def _loss(self, atoms: Tensor, batch: mb.RelationBatch, blend: mb.Blend, noise: Tensor) -> Tensor:
        pairs = self.receiver(atoms)[:, :, None] + self.sender(atoms)[:, None]
        spd, path, direction = pairs.split(self.sizes, -1)
        path = path.unflatten(-1, (PATH_HOPS, BOND_CLASSES))
        spd_class = objectives.spd_classes(batch.spd, batch.pair_mask)
        path_class = objectives.bond_path_classes(batch.bond_path, batch.pair_mask)
        positions = batch.masked_positions
        displacement = positions[:, None] - positions[:, :, None]
        other = batch.pair_mask & ~torch.eye(len(batch.spd[0]), dtype=torch.bool, device=atoms.device)
        return (
            0.1 * F.cross_entropy(spd.flatten(0, -2).float(), spd_class.flatten())
            + 0.1 * F.cross_entropy(path.flatten(0, -2).float(), path_class.flatten())
            + 0.5 * objectives.direction_loss(direction, displacement, other)
            + 6 * objectives.denoising_loss(self.noise(atoms), noise, batch.atom_mask & (blend.atom == 1))
        )
