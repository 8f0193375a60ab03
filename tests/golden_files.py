"""Reads the golden files: numbers of the authors' released code, whole or as trimmed in ``tests/golden``."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import dgl_moleblend as mb
from dgl_moleblend.nn.views.packed import PackedTokens
from dgl_moleblend.nn.views.padded import PaddedView

HERE = Path(__file__).parent / "golden"
FULL = Path(__file__).parents[2] / "shared" / "golden"
"""The untrimmed files, where the checkout has them next to it; tests run on both then."""
FOLDERS = [HERE, *([FULL] if (FULL / "pretrain_small.npz").exists() else [])]
SIZES = {"num_layers": 3, "feat_size": 64, "ffn_size": 64, "num_heads": 8, "num_kernels": 16}
"""Of the golden models; the released `EncoderConfig` but for these, with every dropout rate 0."""
LAYER_STATES = {"attention_norm": "mid/layer{}_after_attention", "ffn_norm": "mid/hidden_layer{}"}
"""Which part of `MoleBlendLayer` gives which array."""
STATES = ["mid/encoder_input", *(name.format(k) for k in range(3) for name in LAYER_STATES.values())]


@cache
def golden(folder: Path, name: str) -> dict[str, Tensor]:
    """All arrays of a file that tests use, in our layout; see ``golden/README.md`` for the names."""
    with np.load(folder / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    arrays = our_layout(arrays) if folder == FULL else untrim(arrays)
    return {key: torch.from_numpy(value.astype(np.int64 if value.dtype.kind == "i" else np.float32))
            for key, value in arrays.items()}  # fmt: skip


@cache
def golden_index(folder: Path, name: str) -> dict:
    """The JSON file beside the arrays."""
    return json.loads((folder / f"{name}.json").read_text())


def relation_batch(inputs: dict[str, Tensor], positions: Tensor | None = None) -> mb.RelationBatch:
    """Build a batch from the release's collated input, whose paths break ties in its own way.

    Parameters
    ----------
    inputs : dict
        ``in/x``, ``in/spatial_pos``, ``in/edge_input``, ``in/in_degree``: ids shifted by 1 or more, 0 in the padding.
    positions : Tensor, shape (b, n, 3), optional
        Without them no molecule has a conformer.
    """
    x, spd = inputs["in/x"], inputs["in/spatial_pos"]
    atom_mask = x[:, :, 0] > 0
    hop = inputs["in/edge_input"] - 3 - 512 * torch.arange(3)  # type, stereo, conjugated
    is_bond = inputs["in/edge_input"][..., 0] > 0
    return mb.RelationBatch(
        atom=torch.where(atom_mask[..., None], x - 2 - 512 * torch.arange(9), 0),
        degree=(inputs["in/in_degree"] - 1).clamp(min=0),
        positions=torch.zeros(*x.shape[:2], 3) if positions is None else positions,
        atom_mask=atom_mask,
        has_conformer=torch.full((len(x),), positions is not None),
        spd=torch.where((spd > 0) & (spd < 511), spd - 1, -1),
        bond_path=torch.where(is_bond, 12 * hop[..., 0] + 2 * hop[..., 1] + hop[..., 2], -1),
    )


def weights(arrays: dict[str, Tensor], prefix: str = "", kind: str = "param") -> dict[str, Tensor]:
    """The release's state dict, or its gradients (``kind="grad"``)."""
    start = f"{prefix}{kind}/"
    return {key.removeprefix(start): value for key, value in arrays.items() if key.startswith(start)}


def record_states(encoder: mb.MoleBlendEncoder) -> dict[str, Tensor]:
    """Return a dictionary that the encoder's next call fills with `STATES`, each (b, n + 1, d), token first."""
    seen: dict[str, Tensor] = {}
    view: Any = None

    def before(layer: nn.Module, arguments: tuple) -> None:
        nonlocal view
        view, feat, _ = arguments
        seen.setdefault("mid/encoder_input", _padded(view, feat))

    def after(name: str) -> Callable[..., None]:
        return lambda module, arguments, output: seen.update({name: _padded(view, output)})

    for k, layer in enumerate(encoder.layers):
        layer.register_forward_pre_hook(before)
        for part, name in LAYER_STATES.items():
            getattr(layer, part).register_forward_hook(after(name.format(k)))
    return seen


def _padded(view: PaddedView | PackedTokens, rows: Tensor) -> Tensor:
    """(b, m, d), 0 in the padding of a view without it."""
    if isinstance(view, PaddedView):
        return rows
    return rows.new_zeros(*view.shape, rows.shape[1]).index_put((view.molecule, view.place), rows)


def close(actual: Tensor, expected: Tensor, name: str, tolerance: float) -> None:
    """The tolerance is relative to the largest magnitude of the expected values."""
    largest, error = expected.abs().max().item(), (actual - expected).abs().max().item()
    assert largest > 0, f"{name} is all 0, which shows nothing"
    assert error <= tolerance * largest, f"{name} differs by {error:.1e}; its largest magnitude is {largest:.1e}"


def our_layout(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays as the release wrote them -> heads last, biases of atom pairs only, nothing that no test reads."""
    out = {}
    for key, value in arrays.items():
        *run, group, name = key.split("/")
        if group in ("mid", "out", "target", "in") and name not in USED:
            continue
        if name == "attn_bias" and group == "mid":
            value, key = value[:, :, 1:, 1:], "/".join([*run, group, "blended_bias"])
        elif name == "attn_bias":
            continue
        if name in ("attn_bias", "bias_spd", "bias_edge", "bias_3d"):
            value = np.ascontiguousarray(np.moveaxis(value, 1, -1))
        out[key] = value
    return out


USED = {
    *("x", "spatial_pos", "edge_input", "in_degree", "pos", "pos_clean", "noise", "blend_mask", "feature_mask"),
    *("labels", "label_weights", "bias_spd", "bias_edge", "bias_3d", "attn_bias", "gbf", "encoder_input"),
    *("spd_class", "edge_class", "spd_logits", "edge_logits", "delta_logits", "denoise"),
    *("proj_out", "logits_sum", "logits_mean", "logits_cls"),
    *(f"layer{k}_after_attention" for k in range(3)),
    *(f"hidden_layer{k}" for k in range(3)),
}


def untrim(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Undo ``golden/trim.py``: put the stored rows and pairs back in place, 0 elsewhere."""
    out = {}
    for key, value in arrays.items():
        if key.startswith(("shape/", "rows/", "scale/")):
            continue
        if f"scale/{key}" in arrays:
            value = value.astype(np.float32) * arrays[f"scale/{key}"]
        if f"shape/{key}" in arrays:
            full = np.zeros(arrays[f"shape/{key}"], value.dtype)
            full.reshape(-1, *value.shape[1:])[arrays[f"rows/{key}"]] = value
            value = full
        out[key] = value
    return out


def unpacked(rows: Tensor, atom_mask: Tensor) -> Tensor:
    """Rows of tokens, then of all real atoms, as layers see them -> (b, n + 1, d), 0 in the padding."""
    b, n = atom_mask.shape
    out = rows.new_zeros(b, n + 1, rows.shape[-1])
    out[:, 0] = rows[:b]
    out[:, 1:][atom_mask] = rows[b:]
    return out
