"""Weights of the authors' release -> ours, and back: names, rows of over-long tables, split and fused projections."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dgl_moleblend.config import EncoderConfig
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.nn.gaussian import kernel_step
from dgl_moleblend.schema import ATOM_SIZES, BOND_SIZES, NUM_DEGREES, PATH_HOPS

BODY = "encoder.molecule_encoder."
UNUSED = (
    "encoder.lm_output_learned_bias",
    "encoder.lm_head_transform_weight.weight",
    "encoder.lm_head_transform_weight.bias",
    "encoder.layer_norm.weight",
    "encoder.layer_norm.bias",
    "encoder.embed_out.weight",
)
"""Weights of the release that enter none of its losses or predictions."""

_TABLE = 512  # the release gives every atom and bond feature 512 rows of one table
_UNREACHABLE = 511
_TERM_3D_SCALE = 0.01  # the release multiplies its 3D atom term by this constant, we by the step between kernels


class Rule(NamedTuple):
    """How one of our tensors is made of the release's, and taken apart again; `scale` times theirs is ours."""

    ours: str
    theirs: tuple[str, ...]
    join: Callable[[Sequence[Tensor]], Tensor]
    split: Callable[[Tensor], Sequence[Tensor]]
    scale: float = 1.0


class Conversion(NamedTuple):
    """What `load_state_dict` did.

    Attributes
    ----------
    unused : tuple of str
        Names of the release that the model has no place for.
    fresh : tuple of str
        Names of ours that the release's weights do not hold; they keep their values.
    """

    unused: tuple[str, ...]
    fresh: tuple[str, ...]


def load_state_dict(model: nn.Module, state_dict: Mapping[str, Tensor]) -> Conversion:
    """Copy weights of the authors' release into a model.

    Parameters
    ----------
    model : MoleBlendEncoder, BlendPretraining or MoleBlendPredictor
        Of the same size. Pretraining weights fit all three; a property head is taken where both have one. The
        last layer of the release's 3D head fits `objective_3d="direction"`; with "distance" ours is fresh.
    state_dict : mapping of str to Tensor
        By the release's names. Load the release's file with ``torch.load(path, weights_only=True)``.

    Returns
    -------
    Conversion

    Raises
    ------
    CheckpointError
        If a name is of no known part of the release, a part is incomplete, or a shape does not fit.
    """
    own = model.state_dict()
    rules = _rules(own)
    known = {name for rule in _all_rules(own) for name in rule.theirs}
    strange = sorted(set(state_dict) - known - set(UNUSED))
    if strange:
        raise CheckpointError(
            f"{len(strange)} names are not the release's, or of layers that the model lacks: {', '.join(strange[:5])}",
            fix="pass the state dict of the authors' model, and give the model as many layers",
        )
    state_dict = _with_projection(state_dict)
    absent = _absent_parts(rules, state_dict)
    converted: dict[str, Tensor] = {}
    used: set[str] = set()
    for rule in rules:
        if _part(rule.ours) in absent:
            continue
        value = rule.join([state_dict[name] for name in rule.theirs])
        if value.shape != own[rule.ours].shape:
            raise CheckpointError(
                f"{rule.theirs[0]} gives {rule.ours} the shape {tuple(value.shape)},"
                f" the model has {tuple(own[rule.ours].shape)}",
                fix="build the model at the size of these weights (EncoderConfig.base() for the published ones)",
            )
        converted[rule.ours] = rule.scale * value
        used.update(rule.theirs)
    model.load_state_dict(converted, strict=False)
    return Conversion(tuple(sorted(set(state_dict) - used)), tuple(sorted(own.keys() - converted.keys())))


def infer_config(state_dict: Mapping[str, Tensor]) -> EncoderConfig:
    """Read the size of the encoder off the shapes of the release's weights; dropout rates are the paper's.

    Raises
    ------
    CheckpointError
        If the weights of an encoder are not among them.
    """
    layers = 0
    while f"{BODY}layers.{layers}.fc1.weight" in state_dict:
        layers += 1
    token_bias = f"{BODY}molecule_attn_bias.graph_token_virtual_distance.weight"
    if not layers or token_bias not in state_dict:
        raise CheckpointError("the state dict holds no encoder", fix=f"its names should begin with {BODY!r}")
    ffn_size, feat_size = state_dict[f"{BODY}layers.0.fc1.weight"].shape
    centers = state_dict.get(f"{BODY}molecule_3d_bias.gbf.means.weight")
    return EncoderConfig(
        num_layers=layers,
        feat_size=feat_size,
        ffn_size=ffn_size,
        num_heads=state_dict[token_bias].numel(),
        num_kernels=EncoderConfig().num_kernels if centers is None else centers.numel(),
    )


def to_release(model: nn.Module, tensors: Mapping[str, Tensor], *, gradients: bool = False) -> dict[str, Tensor]:
    """Lay out weights or gradients as the release does.

    Parameters
    ----------
    model : nn.Module
        The model that they belong to.
    tensors : mapping of str to Tensor
        By our names; any part of them.
    gradients : bool
        The release sums two degree tables: both have the gradient of ours; as weights, ours go to the first, and the
        second is 0.

    Returns
    -------
    dict of str to Tensor
        By the release's names. Table rows that no molecule can use are 0.
    """
    out: dict[str, Tensor] = {}
    for rule in _rules(model.state_dict()):
        if rule.ours not in tensors:
            continue
        scale = rule.scale if gradients else 1 / rule.scale
        for name, value in zip(rule.theirs, rule.split(scale * tensors[rule.ours]), strict=True):
            out[name] = out[name] + value if name in out else value
            if "out_degree" in name and not gradients:
                out[name] = torch.zeros_like(value)
    return out


def _part(ours: str) -> str:
    """Return the part of the model that is there as a whole or not at all: the encoder, its 3D part, or one head."""
    if "_head." in ours or ours.startswith("head."):
        return ours.split(".")[0]
    return "3d" if "distance_bias." in ours or "kernel_projection." in ours else "encoder"


def _absent_parts(rules: Sequence[Rule], state_dict: Mapping[str, Tensor]) -> set[str]:
    """Return the parts that the state dict does not hold; raise if it holds but some of a part, or no encoder."""
    parts: dict[str, list[str]] = {}
    for rule in rules:
        parts.setdefault(_part(rule.ours), []).extend(rule.theirs)
    absent = set()
    for part, names in parts.items():
        missing = [name for name in dict.fromkeys(names) if name not in state_dict]
        if part == "encoder" and set(missing) == set(names):
            raise CheckpointError("the state dict holds no encoder", fix=f"its names should begin with {BODY!r}")
        if part != "encoder" and set(missing) == set(names):
            absent.add(part)
        elif missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise CheckpointError(
                f"{', '.join(missing[:3])}{more} is missing from the state dict",
                fix="pass the whole file, and build the model with as many layers",
            )
    return absent


def _with_projection(state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Where width and kernels are alike, the release adds the summed kernels as they are: the identity of ours."""
    size = state_dict.get(f"{BODY}molecule_3d_bias.gbf.means.weight", torch.empty(0)).numel()
    width = state_dict.get(f"{BODY}emb_layer_norm.weight", torch.empty(0)).numel()
    name = f"{BODY}molecule_3d_bias.edge_proj"
    if size == 0 or size != width or f"{name}.weight" in state_dict:
        return state_dict
    return {**state_dict, f"{name}.weight": torch.eye(size), f"{name}.bias": torch.zeros(size)}


def _rules(own: Mapping[str, Tensor]) -> list[Rule]:
    """Return the rules whose tensor the model has; the last layer of the distance objective is not the release's."""
    return [
        rule
        for rule in _all_rules(own)
        if rule.ours in own and not (rule.ours.startswith("position_head.out") and len(own[rule.ours]) == 1)
    ]


def _all_rules(own: Mapping[str, Tensor]) -> list[Rule]:
    body = "" if "token" in own else "encoder."  # our name of the encoder's part
    heads = own[f"{body}token_bias"].shape[0]
    term_3d = _TERM_3D_SCALE / kernel_step(own[f"{body}distance_bias.gaussian.center"].shape[0])
    longest = own[f"{body}spd_bias.embedding.weight"].shape[0] - 2
    layers = 1 + max(int(name.removeprefix(body).split(".")[1]) for name in own if name.startswith(f"{body}layers."))

    atom_rows = torch.cat([2 + _TABLE * k + torch.arange(size) for k, size in enumerate(ATOM_SIZES)])
    bond_rows = torch.cat([3 + _TABLE * k + torch.arange(size) for k, size in enumerate(BOND_SIZES)])
    spd_rows = torch.cat((1 + torch.arange(longest + 1), torch.tensor([_UNREACHABLE])))
    number_rows = 3 + torch.arange(ATOM_SIZES[0])

    rules = [
        _rows("atom_embedding.embedding.weight", "atom_feature.atom_encoder.weight", atom_rows, 9 * _TABLE + 1),
        Rule(
            "degree_embedding.weight",
            ("atom_feature.in_degree_encoder.weight", "atom_feature.out_degree_encoder.weight"),
            lambda t: (t[0] + t[1])[1 : 1 + NUM_DEGREES],
            lambda t: [_spread(t, 1 + torch.arange(NUM_DEGREES), _TABLE)] * 2,
        ),
        _reshaped("token", "atom_feature.graph_token.weight", (-1,), (1, -1)),
        _reshaped("token_bias", "molecule_attn_bias.graph_token_virtual_distance.weight", (-1,), (1, -1)),
        _rows("spd_bias.embedding.weight", "molecule_attn_bias.spatial_pos_encoder.weight", spd_rows, _TABLE),
        _rows("bond_path_bias.embedding.weight", "molecule_attn_bias.edge_encoder.weight", bond_rows, 3 * _TABLE + 1),
        _row("bond_path_bias.no_bond", "molecule_attn_bias.edge_encoder.weight", 0, 3 * _TABLE + 1),
        Rule(
            "bond_path_bias.hop_weight",
            ("molecule_attn_bias.edge_dis_encoder.weight",),
            lambda t: t[0].reshape(-1, heads, heads)[:PATH_HOPS],
            lambda t: [torch.cat((t.reshape(-1, 1), t.new_zeros((128 - PATH_HOPS) * heads**2, 1)))],
        ),
        _reshaped("distance_bias.gaussian.center", "molecule_3d_bias.gbf.means.weight", (-1,), (1, -1)),
        _reshaped("distance_bias.gaussian.width", "molecule_3d_bias.gbf.stds.weight", (-1,), (1, -1)),
        *_linear("distance_bias.hidden", "molecule_3d_bias.gbf_proj.layer1"),
        *_linear("distance_bias.out", "molecule_3d_bias.gbf_proj.layer2"),
        *(rule._replace(scale=term_3d) for rule in _linear("kernel_projection", "molecule_3d_bias.edge_proj")),
        *_linear("input_norm", "emb_layer_norm"),
    ]
    for ours, theirs in (("gamma", "mul"), ("beta", "bias")):
        for side, first in (("query", 0), ("key", _TABLE)):
            name = f"molecule_3d_bias.gbf.{theirs}.weight"
            rules.append(_column(f"distance_bias.{ours}_{side}", name, number_rows + first, 3 * _TABLE))
    for k in range(layers):
        ours, theirs = f"layers.{k}.", f"layers.{k}."
        rules += [
            *_fused(f"{ours}attention.query_key_value", f"{theirs}self_attn"),
            *_linear(f"{ours}attention.out", f"{theirs}self_attn.out_proj"),
            *_linear(f"{ours}attention_norm", f"{theirs}self_attn_layer_norm"),
            *_linear(f"{ours}ffn.0", f"{theirs}fc1"),
            *_linear(f"{ours}ffn.3", f"{theirs}fc2"),
            *_linear(f"{ours}ffn_norm", f"{theirs}final_layer_norm"),
        ]
    rules = [rule._replace(ours=body + rule.ours) for rule in rules]

    for ours, theirs in (("spd", "spd"), ("bond_path", "edge"), ("position", "3d")):
        for part, name in (
            ("row", "row_head"),
            ("row_norm", "row_LayerNorm"),
            ("column", "column_head"),
            ("column_norm", "column_LayerNorm"),
        ):
            rules += _linear(f"{ours}_head.pairs.{part}", f"blend_{theirs}_pred_head.transform_n2_head.{name}")
    rules += [
        *_linear("spd_head.out", "blend_spd_pred_head.linear"),
        *_linear("bond_path_head.out", "blend_edge_pred_head.linear_map_feature"),
        *_linear("position_head.hidden", "blend_3d_pred_head.linear"),
        *_stacked("position_head.out", "blend_3d_pred_head.force_proj"),
        *_fused("denoising_head.query_key_value", "atom_proc"),
        *_stacked("denoising_head.out", "atom_proc.force_proj"),
    ]
    rules = [rule._replace(theirs=tuple(BODY + name for name in rule.theirs)) for rule in rules]
    return [
        *rules,
        *_linear("head.hidden", "encoder.proj_out.dense"),
        *_linear("head.out", "encoder.proj_out.out_proj"),
    ]


def _spread(values: Tensor, rows: Tensor, size: int) -> Tensor:
    out = values.new_zeros(size, *values.shape[1:])
    out[rows.to(values.device)] = values
    return out


def _rows(ours: str, theirs: str, rows: Tensor, size: int) -> Rule:
    return Rule(ours, (theirs,), lambda t: t[0][rows.to(t[0].device)], lambda t: [_spread(t, rows, size)])


def _row(ours: str, theirs: str, row: int, size: int) -> Rule:
    return Rule(ours, (theirs,), lambda t: t[0][row], lambda t: [_spread(t[None], torch.tensor([row]), size)])


def _column(ours: str, theirs: str, rows: Tensor, size: int) -> Rule:
    return Rule(ours, (theirs,), lambda t: t[0][rows.to(t[0].device), 0], lambda t: [_spread(t[:, None], rows, size)])


def _reshaped(ours: str, theirs: str, shape: tuple[int, ...], their_shape: tuple[int, ...]) -> Rule:
    return Rule(ours, (theirs,), lambda t: t[0].reshape(shape), lambda t: [t.reshape(their_shape)])


def _linear(ours: str, theirs: str) -> list[Rule]:
    return [Rule(f"{ours}.{part}", (f"{theirs}.{part}",), lambda t: t[0], lambda t: [t]) for part in ("weight", "bias")]


def _fused(ours: str, theirs: str) -> list[Rule]:
    """Three projections of the release are one of ours."""
    return [
        Rule(
            f"{ours}.{part}",
            tuple(f"{theirs}.{name}_proj.{part}" for name in "qkv"),
            lambda t: torch.cat(list(t)),
            lambda t: t.chunk(3),
        )
        for part in ("weight", "bias")
    ]


def _stacked(ours: str, theirs: str) -> list[Rule]:
    """Three projections to one number each are three rows of ours."""
    return [
        Rule(
            f"{ours}.{part}",
            tuple(f"{theirs}{k}.{part}" for k in (1, 2, 3)),
            lambda t: torch.cat(list(t)),
            lambda t: t.chunk(3),
        )
        for part in ("weight", "bias")
    ]
