"""The plain form of the method: the formulae of METHOD.md one after another, simple and slow, no algebraic short cut.

This is the twin that fast code is compared with, in tests and in benchmarks. Weights carry the names and shapes that
the authors' release gives them, so their checkpoints load as they are; results carry the names that
``tests/golden/README.md`` lists. Functions take the weights ``p`` as a dictionary and are pure but for dropout, which
draws from torch's global generator. Float32 or float64 follows from the weights.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 512  # the release keeps a block of 512 rows per feature, and as many degrees and distances
UNREACHABLE = 511
PI = 3.14159  # so the release writes it
NUM_CLASSES = {"spd": 11, "edge": 5 * 24}
Weights = dict[str, Tensor]
Results = dict[str, Tensor]


class Rates(NamedTuple):
    """Dropout rates; all 0 unless told."""

    attention: float = 0.0
    activation: float = 0.0
    residual: float = 0.0
    drop_path: float = 0.0
    denoising: float = 0.0


NO_DROPOUT = Rates()


# Rows of the release's tables ---------------------------------------------------------------------------------------


def atom_rows(atom: Tensor) -> Tensor:
    """Ids of nine features (b, n, 9) -> rows of the one atom table."""
    return atom.long() + 2 + ROWS * torch.arange(9, device=atom.device)


def bond_rows(bond_path: Tensor) -> Tensor:
    """Bond ids (b, n, n, 5) -> rows of the one bond table (b, n, n, 5, 3); no bond is row 0."""
    bond = bond_path.long()
    features = torch.stack((bond // 12, bond % 12 // 2, bond % 2), -1)
    return torch.where(bond[..., None] >= 0, features + 3 + ROWS * torch.arange(3, device=bond.device), 0)


def spd_rows(spd: Tensor) -> Tensor:
    """Distances in bonds -> rows; -1 (no path) has the last one."""
    return torch.where(spd >= 0, spd.long() + 1, UNREACHABLE)


# Relation biases ----------------------------------------------------------------------------------------------------


def spd_bias(p: Weights, batch: Any) -> Tensor:
    """(b, n, n, h)."""
    return F.embedding(spd_rows(batch.spd), p["molecule_attn_bias.spatial_pos_encoder.weight"])


def bond_path_bias(p: Weights, batch: Any) -> Tensor:
    """(b, n, n, h)."""
    table = p["molecule_attn_bias.edge_encoder.weight"]
    h = table.shape[1]
    hop_features = F.embedding(bond_rows(batch.bond_path), table, padding_idx=0).mean(-2)  # (b, n, n, 5, h)
    hop_weight = p["molecule_attn_bias.edge_dis_encoder.weight"].reshape(-1, h, h)[: batch.bond_path.shape[-1]]
    length = torch.where(batch.spd >= 0, batch.spd, ROWS).clamp(1, 5)
    return torch.einsum("bijpg,pgh->bijh", hop_features, hop_weight) / length[..., None]


def gaussian_kernels(p: Weights, batch: Any, distance: Tensor) -> Tensor:
    """(b, n, n, K)."""
    query = batch.atom[:, :, None, 0].long() + 3
    key = batch.atom[:, None, :, 0].long() + 3 + ROWS
    scale, shift = p["molecule_3d_bias.gbf.mul.weight"][:, 0], p["molecule_3d_bias.gbf.bias.weight"][:, 0]
    x = (scale[query] + scale[key]) * distance + shift[query] + shift[key]
    center = p["molecule_3d_bias.gbf.means.weight"][0]
    width = p["molecule_3d_bias.gbf.stds.weight"][0].abs() + 0.01
    return torch.exp(-0.5 * ((x[..., None] - center) / width) ** 2) / (math.sqrt(2 * PI) * width)


def distance_bias(p: Weights, kernels: Tensor) -> Tensor:
    """(b, n, n, h)."""
    return linear(p, "molecule_3d_bias.gbf_proj.layer2", F.gelu(linear(p, "molecule_3d_bias.gbf_proj.layer1", kernels)))


# Encoder ------------------------------------------------------------------------------------------------------------


def encode(
    p: Weights,
    batch: Any,
    blend: Any = None,
    relations: tuple[str, ...] = ("spd", "bond_path", "distance"),
    rates: Rates = NO_DROPOUT,
) -> Results:
    """Embeddings, biases and every layer, by the names of the golden files; atoms and pairs are b first."""
    p = {name.removeprefix("encoder.").removeprefix("molecule_encoder."): value for name, value in p.items()}
    dtype = p["emb_layer_norm.weight"].dtype
    b, n = batch.atom_mask.shape
    out: Results = {}

    out["mid/bias_spd"] = spd_bias(p, batch)
    out["mid/bias_edge"] = bond_path_bias(p, batch)
    biases = {"spd": out["mid/bias_spd"], "bond_path": out["mid/bias_edge"]}
    degree = batch.degree.long() + 1
    out["mid/degree_feature"] = F.embedding(degree, p["atom_feature.in_degree_encoder.weight"]) + F.embedding(
        degree, p["atom_feature.out_degree_encoder.weight"]
    )
    degree_shown = {"spd", "bond_path"} & set(relations)
    terms = [out["mid/degree_feature"] if degree_shown else biases["spd"].new_zeros(())]
    if "distance" in relations:
        out["delta"] = batch.positions[:, None, :, :].to(dtype) - batch.positions[:, :, None, :].to(dtype)
        distance = out["delta"].norm(dim=-1)
        out["mid/gbf"] = gaussian_kernels(p, batch, distance)
        known = batch.has_conformer[:, None, None, None]
        out["mid/bias_3d"] = biases["distance"] = distance_bias(p, out["mid/gbf"]) * known
        summed = (out["mid/gbf"] * batch.atom_mask[:, None, :, None]).sum(2)
        if "molecule_3d_bias.edge_proj.weight" in p:
            summed = linear(p, "molecule_3d_bias.edge_proj", summed)
        out["mid/merged_edge_features"] = summed
        terms.append(0.01 * summed * known[:, 0])

    if blend is None:
        relation_bias = sum(biases[name] for name in relations)
        atom_term = sum(terms)
    else:
        relation_bias = sum(
            torch.where((blend.pair == k)[..., None], biases[name], 0)
            for k, name in enumerate(("spd", "bond_path", "distance"))
            if name in relations
        )
        atom_term = sum(torch.where((blend.atom == k)[..., None], term, 0) for k, term in enumerate(terms))

    h = relation_bias.shape[-1]
    bias = relation_bias.new_zeros(b, n + 1, n + 1, h, dtype=dtype)
    bias[:, 1:, 1:] = relation_bias
    token_bias = p["molecule_attn_bias.graph_token_virtual_distance.weight"][0]
    bias[:, 0, :] += token_bias
    bias[:, 1:, 0] += token_bias
    padding = F.pad(~batch.atom_mask, (1, 0))
    bias = bias.masked_fill(padding[:, None, :, None], -math.inf)
    out["mid/attn_bias"] = bias

    atoms = F.embedding(atom_rows(batch.atom), p["atom_feature.atom_encoder.weight"]).sum(-2) + atom_term
    token = p["atom_feature.graph_token.weight"].expand(b, 1, -1)
    x = layer_norm(p, "emb_layer_norm", torch.cat((token, atoms), 1))
    out["mid/encoder_input"] = x

    num_layers = 1 + max(int(name.split(".")[1]) for name in p if name.startswith("layers."))
    for k in range(num_layers):
        name = f"layers.{k}"
        drop = rates.drop_path * k / max(num_layers - 1, 1)
        y = attend(p, f"{name}.self_attn", x, bias, rates.attention)
        x = layer_norm(p, f"{name}.self_attn_layer_norm", x + drop_residual(y, rates, drop))
        out[f"mid/layer{k}_after_attention"] = x
        y = linear(p, f"{name}.fc2", F.dropout(F.gelu(linear(p, f"{name}.fc1", x)), rates.activation))
        x = layer_norm(p, f"{name}.final_layer_norm", x + drop_residual(y, rates, drop))
        out[f"mid/hidden_layer{k}"] = x
    out["token"], out["atoms"], out["bias"] = x[:, 0], x[:, 1:], relation_bias
    return out


def attend(p: Weights, name: str, x: Tensor, bias: Tensor, dropout: float) -> Tensor:
    """Multi-head attention of (b, s, d) with a bias (b, s, s, h)."""
    b, s, d = x.shape
    h = bias.shape[-1]
    q, k, v = (linear(p, f"{name}.{side}_proj", x).view(b, s, h, d // h) for side in "qkv")
    logits = torch.einsum("bihc,bjhc->bijh", q, k) / math.sqrt(d // h) + bias
    weight = F.dropout(logits.softmax(2), dropout)
    return linear(p, f"{name}.out_proj", torch.einsum("bijh,bjhc->bihc", weight, v).reshape(b, s, d))


def drop_residual(y: Tensor, rates: Rates, drop_path: float) -> Tensor:
    """Drop-path, per molecule, where there is a rate; else ordinary dropout."""
    if rates.drop_path == 0:
        return F.dropout(y, rates.residual)
    keep = torch.rand(len(y), 1, 1, device=y.device) >= drop_path
    return y * keep / (1 - drop_path)


# Heads --------------------------------------------------------------------------------------------------------------


def pair_features(p: Weights, name: str, atoms: Tensor) -> Tensor:
    """All products of row and column features: (b, n, n, 1024), row index slow."""
    row, column = (
        F.layer_norm(
            F.gelu(linear(p, f"{name}.transform_n2_head.{side}_head", atoms)),
            (32,),
            p[f"{name}.transform_n2_head.{side}_LayerNorm.weight"],
            p[f"{name}.transform_n2_head.{side}_LayerNorm.bias"],
            eps=1e-12,
        )
        for side in ("row", "column")
    )
    return torch.einsum("bix,bjy->bijxy", row, column).flatten(-2)


def denoise(p: Weights, atoms: Tensor, bias: Tensor, delta: Tensor, dropout: float) -> Tensor:
    """Predicted noise (b, n, 3); `bias` (b, n, n, h) is -inf at padded keys, `delta` r_j - r_i of noisy positions."""
    b, n, d = atoms.shape
    h = bias.shape[-1]
    q, k, v = (linear(p, f"atom_proc.{side}_proj", atoms).view(b, n, h, d // h) for side in "qkv")
    logits = torch.einsum("bihc,bjhc->bijh", q * (d // h) ** -0.5, k) + bias
    weight = F.dropout(logits.softmax(2), dropout)
    unit = delta / (delta.norm(dim=-1, keepdim=True) + 1e-5)
    vectors = torch.einsum("bijh,bijx,bjhc->bixhc", weight, unit, v).reshape(b, n, 3, d)
    return torch.cat([linear(p, f"atom_proc.force_proj{x + 1}", vectors[:, :, x]) for x in range(3)], -1)


def property_logits(p: Weights, states: Tensor) -> Tensor:
    """Apply the fine-tuning head to any states (.., d)."""
    p = {name.removeprefix("encoder."): value for name, value in p.items()}
    return linear(p, "proj_out.out_proj", F.gelu(linear(p, "proj_out.dense", states)))


# Objectives ---------------------------------------------------------------------------------------------------------


def spd_classes(batch: Any) -> Tensor:
    """(b, n, n): distance 1 -> 0 .. 10 -> 9, more -> 10; -100 where nothing is asked."""
    asked = (batch.spd > 0) & batch.pair_mask
    return torch.where(asked, batch.spd.long().clamp(max=11) - 1, -100)


def bond_path_classes(batch: Any) -> Tensor:
    """(b, n, n, 5): 6 * type + 2 * stereo + conjugated, of the first 4 types and 3 stereo words; -100 elsewhere."""
    bond = batch.bond_path.long()
    kind, stereo, conjugated = bond // 12, bond % 12 // 2, bond % 2
    asked = (bond >= 0) & (kind < 4) & (stereo < 3) & batch.pair_mask[..., None]
    return torch.where(asked, 6 * kind + 2 * stereo + conjugated, -100)


def pretrain(p: Weights, batch: Any, blend: Any, noise: Tensor, rates: Rates = NO_DROPOUT) -> Results:
    """All four objectives as released (METHOD.md section 7), with everything on the way to them."""
    dtype = noise.dtype
    noisy = batch.with_noise(noise)
    out = encode(p, noisy, blend, rates=rates)
    p = {name.removeprefix("encoder.molecule_encoder."): value for name, value in p.items()}
    b, n = batch.atom_mask.shape
    atoms = out["atoms"]

    features = pair_features(p, "blend_spd_pred_head", atoms)
    out["out/spd_logits"] = linear(p, "blend_spd_pred_head.linear", features)
    features = pair_features(p, "blend_edge_pred_head", atoms)
    out["out/edge_logits"] = linear(p, "blend_edge_pred_head.linear_map_feature", features).view(b, n, n, 5, 24)
    hidden = linear(p, "blend_3d_pred_head.linear", pair_features(p, "blend_3d_pred_head", atoms))
    out["out/delta_logits"] = torch.cat([linear(p, f"blend_3d_pred_head.force_proj{x}", hidden) for x in (1, 2, 3)], -1)
    out["out/denoise"] = denoise(p, atoms, out["mid/attn_bias"][:, 1:, 1:], out["delta"], rates.denoising)

    out["target/spd_class"], out["target/edge_class"] = spd_classes(batch), bond_path_classes(batch)
    out["loss/spd"] = F.cross_entropy(out["out/spd_logits"].flatten(0, -2), out["target/spd_class"].flatten())
    out["loss/edge"] = F.cross_entropy(out["out/edge_logits"].flatten(0, -2), out["target/edge_class"].flatten())

    clean = batch.positions.to(dtype)
    clean = clean[:, None, :, :] - clean[:, :, None, :]
    other = ~torch.eye(n, dtype=torch.bool, device=batch.spd.device)
    counted = batch.pair_mask & batch.has_conformer[:, None, None] & other
    wrong = (1 - F.cosine_similarity(out["out/delta_logits"], clean, dim=-1)) * counted
    pairs = counted.sum((1, 2))
    out["loss/delta_3d"] = (wrong.sum((1, 2)) / pairs.clamp(min=1)).sum() / (pairs > 0).sum()

    shown = batch.atom_mask & batch.has_conformer[:, None] & (blend.atom == 1)
    wrong = (1 - F.cosine_similarity(out["out/denoise"], noise, dim=-1)) * shown
    out["loss/denoise"] = wrong.sum() / shown.sum()
    out["loss/weighted_total"] = (
        0.5 * out["loss/delta_3d"] + 0.1 * out["loss/spd"] + 0.1 * out["loss/edge"] + 6 * out["loss/denoise"]
    )
    return out


# Weights ------------------------------------------------------------------------------------------------------------


def linear(p: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def layer_norm(p: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], eps=1e-5)


def release_shapes(
    *,
    num_layers: int,
    feat_size: int,
    ffn_size: int,
    num_heads: int,
    num_kernels: int,
    distance: bool = True,
    pretraining: bool = True,
    n_tasks: int = 1,
    **_: object,
) -> dict[str, tuple[int, ...]]:
    """Every name of the release's state dict with its shape, in its order; other settings are ignored."""
    d, h, k = feat_size, num_heads, num_kernels
    shapes: dict[str, tuple[int, ...]] = {}

    def add_linear(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)

    def add_norm(name: str, size: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (size,), (size,)

    core = "encoder.molecule_encoder"
    if pretraining:
        shapes["encoder.lm_output_learned_bias"] = (1,)
    shapes[f"{core}.atom_feature.atom_encoder.weight"] = (9 * ROWS + 1, d)
    shapes[f"{core}.atom_feature.in_degree_encoder.weight"] = (ROWS, d)
    shapes[f"{core}.atom_feature.out_degree_encoder.weight"] = (ROWS, d)
    shapes[f"{core}.atom_feature.graph_token.weight"] = (1, d)
    shapes[f"{core}.molecule_attn_bias.edge_encoder.weight"] = (3 * ROWS + 1, h)
    shapes[f"{core}.molecule_attn_bias.edge_dis_encoder.weight"] = (128 * h * h, 1)
    shapes[f"{core}.molecule_attn_bias.spatial_pos_encoder.weight"] = (ROWS, h)
    shapes[f"{core}.molecule_attn_bias.graph_token_virtual_distance.weight"] = (1, h)
    if distance:
        shapes[f"{core}.molecule_3d_bias.gbf.means.weight"] = (1, k)
        shapes[f"{core}.molecule_3d_bias.gbf.stds.weight"] = (1, k)
        shapes[f"{core}.molecule_3d_bias.gbf.mul.weight"] = (3 * ROWS, 1)
        shapes[f"{core}.molecule_3d_bias.gbf.bias.weight"] = (3 * ROWS, 1)
        add_linear(f"{core}.molecule_3d_bias.gbf_proj.layer1", k, k)
        add_linear(f"{core}.molecule_3d_bias.gbf_proj.layer2", h, k)
        if k != d:
            add_linear(f"{core}.molecule_3d_bias.edge_proj", d, k)
    if pretraining:
        for side in "qkv":
            add_linear(f"{core}.atom_proc.{side}_proj", d, d)
        for x in (1, 2, 3):
            add_linear(f"{core}.atom_proc.force_proj{x}", 1, d)
    add_norm(f"{core}.emb_layer_norm", d)
    for layer in range(num_layers):
        name = f"{core}.layers.{layer}"
        for side in ("k", "v", "q", "out"):
            add_linear(f"{name}.self_attn.{side}_proj", d, d)
        add_norm(f"{name}.self_attn_layer_norm", d)
        add_linear(f"{name}.fc1", ffn_size, d)
        add_linear(f"{name}.fc2", d, ffn_size)
        add_norm(f"{name}.final_layer_norm", d)
    if pretraining:
        for head, projection, rows in (
            ("blend_spd_pred_head", "linear", NUM_CLASSES["spd"]),
            ("blend_edge_pred_head", "linear_map_feature", NUM_CLASSES["edge"]),
            ("blend_3d_pred_head", "linear", 256),
        ):
            for side in ("column", "row"):
                add_linear(f"{core}.{head}.transform_n2_head.{side}_head", 32, d)
                add_norm(f"{core}.{head}.transform_n2_head.{side}_LayerNorm", 32)
            add_linear(f"{core}.{head}.{projection}", rows, 1024)
        for x in (1, 2, 3):
            add_linear(f"{core}.blend_3d_pred_head.force_proj{x}", 1, 256)
    add_linear("encoder.lm_head_transform_weight", d, d)
    add_norm("encoder.layer_norm", d)
    if pretraining:
        shapes["encoder.embed_out.weight"] = (n_tasks, d)
    else:
        add_linear("encoder.proj_out.dense", d, d)
        add_linear("encoder.proj_out.out_proj", n_tasks, d)
    return shapes


def random_weights(
    shapes: dict[str, tuple[int, ...]], generator: torch.Generator, dtype: torch.dtype, scale: float = 0.1
) -> Weights:
    """Draw weights, by default with nothing near zero, so that a fault anywhere shows."""
    weights = {}
    for name, shape in shapes.items():
        value = scale * torch.randn(shape, generator=generator, dtype=dtype)
        if "norm" in name.lower() and name.endswith("weight"):
            value = value + 1
        elif name.endswith(("gbf.means.weight", "gbf.stds.weight")):
            value = 3 * torch.rand(shape, generator=generator, dtype=dtype)
        elif name.endswith("gbf.mul.weight"):
            value = value + 0.5
        weights[name] = value
    return weights


class PlainMoleBlend(nn.Module):
    """The plain form as a module, for optimisers and timing: parameters by the release's names.

    Parameters
    ----------
    seed : int
        Of the weights.
    rates : Rates
        Dropout, used in training mode.
    weight_scale : float
        Standard deviation of most weights.
    **sizes
        Of `release_shapes`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        rates: Rates = NO_DROPOUT,
        dtype: torch.dtype = torch.float32,
        weight_scale: float = 0.1,
        **sizes: Any,
    ) -> None:
        super().__init__()
        self.rates = rates
        generator = torch.Generator().manual_seed(seed)
        for name, value in random_weights(release_shapes(**sizes), generator, dtype, weight_scale).items():
            *path, leaf = name.split(".")
            owner: nn.Module = self
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner._modules[part]  # type: ignore[assignment]
            owner.register_parameter(leaf, nn.Parameter(value))

    def forward(self, batch: Any, blend: Any, noise: Tensor) -> Results:
        """See `pretrain`."""
        return pretrain(dict(self.named_parameters()), batch, blend, noise, self.rates if self.training else NO_DROPOUT)
