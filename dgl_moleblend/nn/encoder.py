"""MoleBlendEncoder: atom embedding, relation biases, and a stack of layers that share them."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import EncoderConfig, check
from dgl_moleblend.errors import ConfigError, SchemaError
from dgl_moleblend.nn.blend import Blend
from dgl_moleblend.nn.dropout import Dropout
from dgl_moleblend.nn.gaussian import kernel_step
from dgl_moleblend.nn.layer import MoleBlendLayer
from dgl_moleblend.nn.recompute import recomputed
from dgl_moleblend.nn.relation_bias import BondPathBias, DistanceBias, SpdBias
from dgl_moleblend.nn.views.choice import Relations, View, open_view
from dgl_moleblend.nn.views.graph import GraphView
from dgl_moleblend.pairs.batch import RelationBatch
from dgl_moleblend.schema import ATOM_SIZES, ATOM_TERMS, NUM_DEGREES, RELATIONS, DGLGraph


class EncoderOutput(NamedTuple):
    """What the encoder returns: padded, whichever view computed it.

    Attributes
    ----------
    atoms : Tensor, shape (b, n, d)
        Final atom states, 0 in the padding.
    token : Tensor, shape (b, d)
        Final states of the graph tokens.
    pair_bias : Tensor, shape (b, n, n, h) or (edges, h)
        The relation bias that all layers shared, in the view that computed it.
    view : PaddedView, PackedView or GraphView
        That view.
    """

    atoms: Float[Tensor, "b n d"]
    token: Float[Tensor, "b d"]
    pair_bias: Tensor
    view: View

    @property
    def bias(self) -> Float[Tensor, "b n n h"]:
        """The relation bias, padded; 0 for pairs that a graph lacks. Made only when asked for: it is O(n^2)."""
        return self.view.pad_pairs(self.pair_bias)

    @property
    def nodes(self) -> Float[Tensor, "nodes d"]:
        """Final atom states without the padding, in the order of a batched graph's nodes."""
        return self.atoms[self.view.atom_mask]


class AtomEmbedding(nn.Module):
    """Sum of nine embedding rows, one per atom feature (METHOD.md section 4).

    Parameters
    ----------
    feat_size : int
        Width d.
    """

    last_id: Tensor
    first_row: Tensor

    def __init__(self, feat_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sum(ATOM_SIZES), feat_size)
        last = torch.tensor(ATOM_SIZES) - 1
        self.register_buffer("last_id", last, persistent=False)
        self.register_buffer("first_row", torch.cumsum(last + 1, 0) - last - 1, persistent=False)

    def forward(self, atom: Integer[Tensor, "*nodes 9"]) -> Float[Tensor, "*nodes d"]:
        """Embed atoms; an id beyond its list counts as the last one, "anything else".

        Parameters
        ----------
        atom : Tensor, shape (..., 9), integer

        Returns
        -------
        Tensor, shape (..., d)
        """
        rows = torch.minimum(atom.long(), self.last_id) + self.first_row
        return F.embedding_bag(rows.flatten(0, -2), self.embedding.weight, mode="sum").view(*atom.shape[:-1], -1)


class MoleBlendEncoder(nn.Module):
    """Graph transformer over the 2D and 3D relations of all pairs of atoms (METHOD.md sections 3 to 6).

    Parameters
    ----------
    num_layers, feat_size, ffn_size, num_heads, num_kernels, max_dist : int
    dropout, attention_dropout, activation_dropout, drop_path : float
        See `EncoderConfig`.

    References
    ----------
    Yu et al., "Multimodal Molecular Pretraining via Modality Blending", ICLR 2024.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()).eval()
    >>> graph = mb.MoleculeFeaturizer()("CC(=O)O")
    >>> encoder(graph).token.shape
    torch.Size([1, 32])
    """

    def __init__(
        self,
        num_layers: int = 12,
        feat_size: int = 768,
        ffn_size: int = 768,
        num_heads: int = 32,
        num_kernels: int = 128,
        max_dist: int = 255,
        dropout: float = 0.0,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.1,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.config = EncoderConfig(
            num_layers=num_layers,
            feat_size=feat_size,
            ffn_size=ffn_size,
            num_heads=num_heads,
            num_kernels=num_kernels,
            max_dist=max_dist,
            dropout=dropout,
            attention_dropout=attention_dropout,
            activation_dropout=activation_dropout,
            drop_path=drop_path,
        )
        self.atom_embedding = AtomEmbedding(feat_size)
        self.degree_embedding = nn.Embedding(NUM_DEGREES, feat_size)
        self.kernel_projection = nn.Linear(num_kernels, feat_size)
        self.token = nn.Parameter(torch.empty(feat_size))
        self.token_bias = nn.Parameter(torch.empty(num_heads))
        self.spd_bias = SpdBias(num_heads, max_dist)
        self.bond_path_bias = BondPathBias(num_heads)
        self.distance_bias = DistanceBias(num_heads, num_kernels)
        self.input_norm = nn.LayerNorm(feat_size)
        self.input_dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            MoleBlendLayer(
                feat_size,
                ffn_size,
                num_heads,
                dropout=0.0 if drop_path > 0 else dropout,  # drop-path takes its place, in the first layer too
                attention_dropout=attention_dropout,
                activation_dropout=activation_dropout,
                drop_path=drop_path * index / max(num_layers - 1, 1),
            )
            for index in range(num_layers)
        )
        nn.init.normal_(self.token, std=0.02)
        nn.init.normal_(self.token_bias, std=0.02)
        self.apply(init_weights)

    @classmethod
    def from_config(cls, config: EncoderConfig) -> Self:
        """Build with the settings of a config."""
        return cls(**config.to_dict())

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load the encoder of any saved model: an encoder, a pretraining model or a predictor.

        Parameters
        ----------
        folder : path
            Or a name of weights that ship (`mb.pretrained()`).

        Raises
        ------
        CheckpointError
            If the folder is missing or damaged, or does not fit; the message names what differs.
        """
        saved = model_folder.read(folder)
        encoder = cls.from_config(EncoderConfig.from_dict(saved.config["encoder"]))
        model_folder.load_weights(encoder, saved, saved.encoder_prefix)
        return encoder

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write config.json and model.safetensors, each whole or not at all."""
        return model_folder.save(folder, self, {"encoder": self.config.to_dict()}, "encoder")

    def forward(
        self,
        data: RelationBatch | DGLGraph,
        blend: Blend | None = None,
        *,
        relations: Sequence[str] = RELATIONS,
        backend: str = "auto",
        atom_feat: Tensor | None = None,
        pair_weight: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode molecules.

        Parameters
        ----------
        data : RelationBatch or DGLGraph
            Molecules that satisfy the schema. A graph may lack pairs; messages then go over those it has.
        blend : Blend, optional
            What each pair and atom shows. Without it the biases of all `relations` add up, and so do the atom terms:
            the 2D term enters with "spd" or "bond_path", the 3D term with "distance".
        relations : sequence of str
            Which of "spd", "bond_path" and "distance" enter when nothing is blended. A molecule without positions has
            no distance relation and no 3D term, and nothing is put in their place.
        backend : {"auto", "dense", "message_passing"}
            How attention is computed; the results are equal. "auto": dense unless a graph lacks pairs.
        atom_feat : Tensor, shape (nodes, d) or (b, n, d), optional
            Stands for ``atom_embedding(atom)``, for explainers that mask features and for gradients.
        pair_weight : Tensor, shape (edges,) or (edges, 1), optional
            Not negative; what each edge of a graph counts for in attention, 1 being as usual and 0 no edge. Messages
            are then passed over the graph's edges, whatever the backend.

        Returns
        -------
        EncoderOutput
            atoms (b, n, d), token (b, d), bias (b, n, n, h).

        Raises
        ------
        SchemaError
            If the data lack a field, or the blend, `atom_feat` or `pair_weight` have another shape.
        ValueError
            If a relation or backend is unknown, or both `blend` and `relations` are given.
        """
        _check_relations(relations, blend)
        view, fields = open_view(data, "message_passing" if pair_weight is not None else backend)
        if blend is not None:
            blend = _blend_on(view, data, blend)
        terms, bias = self._relations(view, fields, blend, relations)
        if pair_weight is not None:
            bias = bias + _log_weight(data, pair_weight)
        feat = terms + (self.atom_embedding(fields.atom) if atom_feat is None else self._given(view, data, atom_feat))

        layers_view, feat = view.with_token(feat, self.token)
        feat = self.input_dropout(self.input_norm(feat))
        logit_bias = view.logit_bias(bias, self.token_bias)
        for layer in self.layers:
            feat = layer(layers_view, feat, logit_bias)
        atoms, token = view.split_token(feat)
        return EncoderOutput(atoms, token, bias, view)

    def reset_parameters(self) -> None:
        """Draw all weights anew: after the same seed, those of a fresh encoder."""
        self.load_state_dict(type(self).from_config(self.config).state_dict())

    def _given(self, view: View, data: RelationBatch | DGLGraph, atom_feat: Tensor) -> Tensor:
        """Bring features of atoms, by the nodes of a graph or padded, into the view's layout."""
        nodes = (data.num_nodes(),) if isinstance(data, DGLGraph) else tuple(data.atom_mask.shape)
        expected = (*nodes, self.config.feat_size)
        if tuple(atom_feat.shape) != expected or not atom_feat.is_floating_point():
            raise SchemaError(
                f"`atom_feat` must be floating and of shape {'(nodes, d)' if len(nodes) == 1 else '(b, n, d)'} ="
                f" {expected}, got {atom_feat.dtype} of shape {tuple(atom_feat.shape)}",
                fix="it stands for encoder.atom_embedding(ids), where ids are the integers graph.ndata['atom']",
            )
        if isinstance(data, DGLGraph) and not isinstance(view, GraphView):
            atom_feat = GraphView(data).pad_nodes(atom_feat)
        return atom_feat if isinstance(view, GraphView) else view.take_nodes(atom_feat)

    def relation_biases(self, data: RelationBatch | DGLGraph) -> dict[str, Tensor]:
        """Return each relation's bias before blending.

        Parameters
        ----------
        data : RelationBatch or DGLGraph

        Returns
        -------
        dict of str to Tensor
            spd, bond_path and distance -> (b, n, n, h); for a graph that lacks pairs (edges, h).
        """
        view, fields = open_view(data)
        biases = {name: self._relations(view, fields, None, (name,))[1] for name in RELATIONS}
        return biases if isinstance(view, GraphView) else {name: view.pad_pairs(b) for name, b in biases.items()}

    def _relations(
        self, view: View, fields: Relations, blend: Blend | None, relations: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the atom terms (*nodes, d) and of the pair biases (*pairs, h) that are shown.

        Only what is shown is computed, where the view can pick it out.
        """
        every_pair = torch.ones_like(fields.has_distance)
        shows = dict.fromkeys(RELATIONS, every_pair)
        atom_shows = dict.fromkeys(ATOM_TERMS, torch.ones_like(fields.has_conformer))
        if blend is not None:
            shows = {name: blend.shows_pair(index) for index, name in enumerate(RELATIONS)}
            atom_shows = {name: blend.shows_atom(index) for index, name in enumerate(ATOM_TERMS)}
        terms, biases = [], []
        if "spd" in relations:
            chosen = view.select(shows["spd"])
            biases.append(chosen.put(self.spd_bias(chosen.take(fields.spd))))
        if "bond_path" in relations:
            chosen = view.select(shows["bond_path"])
            bias = self.bond_path_bias(chosen.take(fields.bond_path), chosen.take(fields.spd))
            biases.append(chosen.put(bias))
        if "spd" in relations or "bond_path" in relations:
            degree = self.degree_embedding(fields.degree.long().clamp(max=NUM_DEGREES - 1))
            terms.append(degree * atom_shows["2d"].unsqueeze(-1))
        if "distance" in relations:
            shown, atoms = shows["distance"] & fields.has_distance, atom_shows["3d"] & fields.has_conformer
            term, bias = recomputed(self._distance, view, fields, shown, atoms)  # k kernels a pair
            terms.append(term)
            biases.append(bias)
        return functools.reduce(torch.add, terms), functools.reduce(torch.add, biases)

    def _distance(self, view: View, fields: Relations, pairs: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
        """Return the 3D term of `atoms` and the distance bias of `pairs`, 0 elsewhere; both read the same kernels."""
        needed = view.select(pairs | (view.receivers(atoms) & fields.has_distance))
        number = fields.atom[..., 0].clamp(max=ATOM_SIZES[0] - 1)
        kernels = self.distance_bias.kernels(
            needed.take(fields.distance), needed.take(view.receivers(number)), needed.take(view.senders(number))
        )
        # times the step, a pair's kernels add up to 1; as they are, they drown the atom embedding
        term = kernel_step(kernels.shape[-1]) * self.kernel_projection(view.sum_senders(kernels, needed))
        shown = view.select(needed.take(pairs))
        bias = needed.put(shown.put(self.distance_bias.project(shown.take(kernels))))
        return term * atoms.unsqueeze(-1), bias


def init_weights(module: nn.Module) -> None:
    """Draw linear and embedding weights from N(0, 0.02), as BERT does; biases are 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def check_relations(relations: Sequence[str]) -> None:
    """Check that these are some of the `RELATIONS`, one at least.

    Raises
    ------
    ConfigError
        If they are not.
    """
    known = not isinstance(relations, str) and len(relations) > 0 and set(relations) <= set(RELATIONS)
    check(known, "relations", relations, f"some of {RELATIONS}")


def _check_relations(relations: Sequence[str], blend: Blend | None) -> None:
    check_relations(relations)
    if blend is not None and set(relations) != set(RELATIONS):
        raise ConfigError(
            f"relations={relations!r} says what enters when nothing is blended, and `blend` is given",
            fix="leave one of them out; draw_blend(ratio=...) chooses what a blend shows",
        )


def _log_weight(data: RelationBatch | DGLGraph, pair_weight: Tensor) -> Float[Tensor, "edges 1"]:
    """Return what multiplies the weight of a pair before the softmax, as a term of its logits."""
    edges = data.num_edges() if isinstance(data, DGLGraph) else None
    if edges is None or tuple(pair_weight.shape) not in ((edges,), (edges, 1)):
        raise SchemaError(
            f"`pair_weight` must have one value per edge of a DGLGraph, (edges,) = ({edges},), got"
            f" {tuple(pair_weight.shape)}",
            fix="give the graph itself, and a weight per edge; relations of a RelationBatch have none",
        )
    return pair_weight.view(-1, 1).clamp_min(torch.finfo(pair_weight.dtype).tiny).log()


def _blend_on(view: View, data: RelationBatch | DGLGraph, blend: Blend) -> Blend:
    """Bring a blend, padded or by the edges of a graph, into the view's layout."""
    if isinstance(data, DGLGraph) and blend.pair.ndim == 1:
        edges = view if isinstance(view, GraphView) else GraphView(data)
        blend.check(edges.pair_shape, edges.molecule.shape)
        if edges is view:
            return blend
        blend = Blend(edges.pad_pairs(blend.pair), edges.pad_nodes(blend.atom))
    b, n = view.atom_mask.shape
    blend.check((b, n, n), (b, n))
    return Blend(view.take_pairs(blend.pair), view.take_nodes(blend.atom))
