"""BlendPretraining: encoder, relation heads and objectives; one call gives the loss of a batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Self

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import BlendConfig, EncoderConfig, check
from dgl_moleblend.models import objectives
from dgl_moleblend.models.heads import (
    BondPathHead,
    DenoisingHead,
    DirectionHead,
    DistanceHead,
    PropertyHead,
    SpdHead,
)
from dgl_moleblend.nn.blend import Blend
from dgl_moleblend.nn.encoder import MoleBlendEncoder, init_weights
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.schema import DGLGraph

_OBJECTIVES = ("spd", "bond_path", "positions", "denoising")


class PretrainingOutput(NamedTuple):
    """Losses and predictions for a batch.

    Attributes
    ----------
    loss : Tensor, scalar
        Weighted sum.
    losses : dict of str to Tensor
        spd, bond_path, positions, denoising, and every group of molecule targets, before weighting; 0 where a batch has
        nothing to score.
    spd_logits : Tensor, shape (b, n, n, 11)
    bond_path_logits : Tensor, shape (b, n, n, 5, 24)
    position_prediction : Tensor, shape (b, n, n) or (b, n, n, 3)
        Distances in angstrom, or displacement directions.
    denoising : Tensor, shape (b, n, 3)
    molecule : Tensor, shape (b, t), or None
        What the graph token tells of the molecule, where there are such targets.
    """

    loss: Tensor
    losses: dict[str, Tensor]
    spd_logits: Tensor
    bond_path_logits: Tensor
    position_prediction: Tensor
    denoising: Tensor
    molecule: Tensor | None = None


class BlendPretraining(nn.Module):
    """Blend, then predict: recover what the blend hid (METHOD.md sections 6 and 7).

    Parameters
    ----------
    encoder : MoleBlendEncoder
    blend_config : BlendConfig
        Objectives and their weights.
    molecule_columns : mapping, optional
        "names", "groups" and "kinds" of t further targets that the graph token is to tell, as
        `MoleculeTargets.describe` gives them. Unlike the paper, whose objectives never score the token.

    References
    ----------
    Yu et al., "Multimodal Molecular Pretraining via Modality Blending", ICLR 2024.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> batch = mb.RelationBatch.from_graphs([mb.MoleculeFeaturizer(positions="embed")("CCO")])
    >>> model = mb.BlendPretraining.from_config(mb.EncoderConfig.tiny())
    >>> output = model(batch, blend=mb.draw_blend(batch), noise=mb.draw_noise(batch))
    >>> sorted(output.losses)
    ['bond_path', 'denoising', 'positions', 'spd']
    """

    is_class: Tensor

    def __init__(
        self,
        encoder: MoleBlendEncoder,
        blend_config: BlendConfig | None = None,
        molecule_columns: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.blend_config = blend_config or BlendConfig()
        self.encoder = encoder
        size = encoder.config.feat_size
        self.spd_head = SpdHead(size)
        self.bond_path_head = BondPathHead(size)
        self.position_head = (DirectionHead if self.blend_config.objective_3d == "direction" else DistanceHead)(size)
        self.denoising_head = DenoisingHead(size, encoder.config.num_heads, encoder.config.attention_dropout)
        for head in (self.spd_head, self.bond_path_head, self.position_head, self.denoising_head):
            head.apply(init_weights)
        self.molecule_columns = {name: tuple(values) for name, values in (molecule_columns or {}).items()}
        if self.molecule_columns:
            is_class = [kind == "class" for kind in self.molecule_columns["kinds"]]
            self.register_buffer("is_class", torch.tensor(is_class), persistent=False)
            groups = self.molecule_columns["groups"]
            self.molecule_groups = tuple(dict.fromkeys(groups))
            check(not {*self.molecule_groups} & {*_OBJECTIVES}, "groups", self.molecule_groups,
                  f"other names than {', '.join(_OBJECTIVES)}")  # fmt: skip
            for number, group in enumerate(self.molecule_groups):  # whose columns need not lie together
                columns = torch.tensor([k for k, name in enumerate(groups) if name == group])
                self.register_buffer(f"molecule_group_{number}", columns, persistent=False)
            self.molecule_head = PropertyHead(size, len(is_class))
            self.molecule_head.apply(init_weights)

    @classmethod
    def from_config(cls, config: EncoderConfig, blend_config: BlendConfig | None = None, **changes: object) -> Self:
        """Build with the settings of configs; `changes` are settings of BlendConfig, such as objective_3d=.."""
        return cls(MoleBlendEncoder.from_config(config), (blend_config or BlendConfig()).replace(**changes))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load encoder and heads; see `MoleBlendEncoder.from_pretrained`."""
        saved = model_folder.read(folder, kinds=("pretraining",))
        encoder = MoleBlendEncoder.from_config(EncoderConfig.from_dict(saved.config["encoder"]))
        model = cls(encoder, BlendConfig.from_dict(saved.config["blend"]), saved.config.get("molecule"))
        model_folder.load_weights(model, saved)
        return model

    def save_pretrained(self, folder: str | Path, extra: dict[str, object] | None = None) -> Path:
        """Write config.json and model.safetensors; `extra` is kept beside the settings (featurizer, versions, ..)."""
        config: dict[str, object] = {"encoder": self.encoder.config.to_dict(), "blend": self.blend_config.to_dict()}
        if self.molecule_columns:
            config["molecule"] = {name: list(values) for name, values in self.molecule_columns.items()}
        return model_folder.save(folder, self, config, "pretraining", extra)

    def forward(
        self,
        data: RelationBatch | DGLGraph,
        blend: Blend | None = None,
        noise: Float[Tensor, "b n 3"] | None = None,
        targets: Float[Tensor, "b t"] | None = None,
    ) -> PretrainingOutput:
        """Hide by `blend`, disturb by `noise`, predict, and score.

        Parameters
        ----------
        data : RelationBatch or DGLGraph
            A graph must have all pairs. Molecules without positions take part with their 2D objectives.
        blend : Blend, optional
            What each pair and atom shows; draw it with `draw_blend`. Without it everything is shown.
        noise : Tensor, shape (b, n, 3), angstrom, optional
            Added to the positions that the encoder sees; draw it with `draw_noise`. Without it nothing is denoised.
        targets : Tensor, shape (b, t), optional
            Of the graph token; NaN = missing.

        Returns
        -------
        PretrainingOutput
        """
        batch = RelationBatch.from_graph(data) if isinstance(data, DGLGraph) else data
        seen = batch if noise is None else batch.with_noise(noise)
        encoded = self.encoder(seen, blend)
        atoms = encoded.atoms
        spd_logits = self.spd_head(atoms)
        bond_path_logits = self.bond_path_head(atoms)
        position_prediction = self.position_head(atoms)
        denoising = self.denoising_head(atoms, encoded.bias, seen.masked_positions, batch.atom_mask)

        losses = {
            "spd": objectives.classification_loss(
                spd_logits, objectives.spd_classes(batch.spd, self._scored(batch, blend, 0))
            ),
            "bond_path": objectives.classification_loss(
                bond_path_logits, objectives.bond_path_classes(batch.bond_path, self._scored(batch, blend, 1))
            ),
            "positions": self._position_loss(position_prediction, batch, self._scored(batch, blend, 2)),
            "denoising": self._denoising_loss(denoising, batch, blend, noise),
        }
        weights = self.blend_config
        loss = (
            weights.spd_weight * losses["spd"]
            + weights.bond_path_weight * losses["bond_path"]
            + weights.positions_weight * losses["positions"]
            + weights.denoising_weight * losses["denoising"]
        )
        molecule = None
        if self.molecule_columns:
            molecule = self.molecule_head(encoded.token)
            wanted = torch.full_like(molecule, torch.nan) if targets is None else targets
            for number, group in enumerate(self.molecule_groups):
                columns = self.get_buffer(f"molecule_group_{number}")
                found = objectives.molecule_loss(molecule[:, columns], wanted[:, columns], self.is_class[columns])
                losses[group] = found
                loss = loss + weights.molecule_weight * found
        return PretrainingOutput(loss, losses, spd_logits, bond_path_logits, position_prediction, denoising, molecule)

    def _scored(self, batch: RelationBatch, blend: Blend | None, relation: int) -> Tensor:
        """Pairs whose `relation` is scored."""
        if blend is None or self.blend_config.score == "all":
            return batch.pair_mask
        return batch.pair_mask & ~blend.shows_pair(relation)

    def _position_loss(self, prediction: Tensor, batch: RelationBatch, scored: Tensor) -> Tensor:
        other = ~torch.eye(scored.shape[-1], dtype=torch.bool, device=scored.device)
        mask = scored & other & batch.has_conformer[:, None, None]
        if self.blend_config.objective_3d == "distance":
            return objectives.distance_loss(prediction, batch.distance, mask)
        positions = batch.masked_positions
        return objectives.direction_loss(prediction, positions[:, None] - positions[:, :, None], mask)

    def _denoising_loss(
        self, prediction: Tensor, batch: RelationBatch, blend: Blend | None, noise: Tensor | None
    ) -> Tensor:
        if noise is None:
            return prediction.sum() * 0.0  # nothing to denoise, and every weight still has a gradient
        mask = batch.atom_mask & batch.has_conformer[:, None]
        if blend is not None:
            mask = mask & blend.shows_atom(1)
        return objectives.denoising_loss(prediction, torch.where(mask.unsqueeze(-1), noise, 0.0), mask)
