"""`convert`: a checkpoint as fairseq writes it becomes a folder that from_pretrained loads."""

import argparse

import pytest
import torch
from click.testing import CliRunner

import dgl_moleblend as mb
from dgl_moleblend.cli import main

SIZES = {"num_layers": 3, "feat_size": 32, "ffn_size": 48, "num_heads": 4, "num_kernels": 8}


def release_file(path, model) -> None:
    weights = mb.reference.to_release(model, model.state_dict())
    weights["encoder.layer_norm.weight"] = torch.ones(32)
    torch.save({"args": argparse.Namespace(arch="moleblend"), "model": weights}, path)


def same_weights(model, other) -> bool:
    """To the bit; to the last bit or two where the release has another factor before the 3D term."""
    mine, theirs = model.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.allclose(mine[k], theirs[k], rtol=3e-7 if "kernel_projection" in k else 0, atol=0) for k in mine
    )


def run(*args):
    return CliRunner().invoke(main, ["convert", *map(str, args)])


def test_pretraining_checkpoint_becomes_a_pretraining_model(tmp_path) -> None:
    model = mb.BlendPretraining.from_config(mb.EncoderConfig(**SIZES), objective_3d="direction")
    release_file(tmp_path / "release.pt", model)
    result = run(tmp_path / "release.pt", "-o", tmp_path / "ours")
    assert result.exit_code == 0, result.output
    assert "not used by the method: encoder.layer_norm.weight" in result.stderr
    assert same_weights(mb.BlendPretraining.from_pretrained(tmp_path / "ours"), model)


@pytest.mark.parametrize("relations", [("spd", "bond_path"), ("spd", "bond_path", "distance")])
def test_fine_tuned_checkpoint_becomes_a_predictor(tmp_path, relations) -> None:
    model = mb.MoleBlendPredictor(5, mb.MoleBlendEncoder.from_config(mb.EncoderConfig(**SIZES)))
    weights = mb.reference.to_release(model, model.state_dict())
    if "distance" not in relations:  # a 2D model of the release has no 3D weights at all
        weights = {name: value for name, value in weights.items() if "molecule_3d_bias" not in name}
    torch.save({"model": weights}, tmp_path / "release.pt")
    result = run(tmp_path / "release.pt", "-o", tmp_path / "ours")
    assert result.exit_code == 0, result.output
    ours = mb.MoleBlendPredictor.from_pretrained(tmp_path / "ours")
    assert (ours.n_tasks, ours.relations) == (5, relations)
    assert torch.equal(ours.head.out.weight, model.head.out.weight)


def test_a_pickle_that_would_run_code_is_refused(tmp_path) -> None:
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    torch.save({"model": Hostile()}, tmp_path / "hostile.pt")
    result = run(tmp_path / "hostile.pt", "-o", tmp_path / "ours")
    assert result.exit_code == 2
    assert "cannot be read as weights" in result.stderr
    assert not (tmp_path / "touched").exists()


def test_weights_of_another_model_are_refused(tmp_path) -> None:
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    result = run(tmp_path / "other.pt", "-o", tmp_path / "ours")
    assert result.exit_code == 2
    assert "holds no encoder" in result.stderr
