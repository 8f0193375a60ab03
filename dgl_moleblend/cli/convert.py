"""`dgl-moleblend convert`: a checkpoint of the authors' release -> a model folder of ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import say

if TYPE_CHECKING:
    from torch import nn


@click.command(cls=Command)
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.output
def command(checkpoint: Path, output: str) -> None:
    """Convert CHECKPOINT, a .pt or .safetensors file of the authors' release, to a model folder.

    The size is read off the weights. A pretraining checkpoint becomes a pretraining model (with the release's
    objectives), a fine-tuned one a predictor. A .pt file is read without running any code in it.

    \b
      dgl-moleblend convert checkpoint_best.pt -o pretrained
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from dgl_moleblend.files import keep_inputs
    from dgl_moleblend.models import reference

    keep_inputs(output, [checkpoint])

    weights = read_weights(checkpoint)
    model = build(weights)
    report = reference.load_state_dict(model, weights)
    model.save_pretrained(output)  # type: ignore[operator]
    say(f"{type(model).__name__} of {len(weights) - len(report.unused)} tensors written to {output}")
    for label, names in (("not used by the method", report.unused), ("not in the checkpoint, fresh", report.fresh)):
        if names:
            say(f"{label}: {', '.join(names)}")


def build(weights: dict[str, Any]) -> "nn.Module":
    """Return a model of the kind and size of the release's weights."""
    import dgl_moleblend as mb

    config = mb.reference.infer_config(weights)
    properties = weights.get("encoder.proj_out.out_proj.weight")
    if properties is not None:
        has_3d = any("molecule_3d_bias" in name for name in weights)
        relations = ("spd", "bond_path", "distance") if has_3d else ("spd", "bond_path")
        encoder = mb.MoleBlendEncoder.from_config(config)
        return mb.MoleBlendPredictor(len(properties), encoder, relations=relations)
    if any("blend_spd_pred_head" in name for name in weights):
        return mb.BlendPretraining.from_config(config, objective_3d="direction")
    return mb.MoleBlendEncoder.from_config(config)


def read_weights(path: Path) -> dict[str, Any]:
    """Read tensors by name from a .safetensors file, or from a .pt file as fairseq writes it."""
    import argparse
    import contextlib
    import pickle

    import torch
    from safetensors.torch import load_file

    from dgl_moleblend.errors import CheckpointError

    # torch before 2.5 has no list of further safe types: there a file with fairseq's options is refused
    safe_globals = getattr(torch.serialization, "safe_globals", contextlib.nullcontext)
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        with safe_globals([argparse.Namespace]):  # fairseq stores its options beside the weights
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"the file cannot be read as weights: {str(error).splitlines()[0]}",
            where=str(path),
            fix="give the release's checkpoint; a file that holds other objects than tensors is not opened",
        ) from error
    weights = content.get("model", content) if isinstance(content, dict) else {}
    return {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}
