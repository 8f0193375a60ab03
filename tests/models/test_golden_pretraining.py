"""BlendPretraining against numbers that the authors' code produced: biases, states, logits, losses, gradients."""

from pathlib import Path

import plain
import pytest
import torch
from golden_files import (
    FOLDERS,
    SIZES,
    STATES,
    close,
    golden,
    golden_index,
    record_states,
    relation_batch,
    weights,
)
from torch import Tensor

import dgl_moleblend as mb
from dgl_moleblend.nn.views import choice


class Run:
    """One forward and backward pass on a golden batch, with everything on the way recorded."""

    def __init__(self, folder: Path) -> None:
        self.golden = golden(folder, "pretrain_small")
        self.index = golden_index(folder, "pretrain_small")
        self.batch = relation_batch(self.golden, self.golden["in/pos_clean"])
        b, n = self.batch.atom_mask.shape
        blend = mb.Blend(self.golden["in/blend_mask"].expand(b, n, n), self.golden["in/feature_mask"])
        config = mb.EncoderConfig(**SIZES, attention_dropout=0.0, activation_dropout=0.0, drop_path=0.0)
        self.model = mb.BlendPretraining.from_config(config, objective_3d="direction", score="all").train()
        self.conversion = mb.reference.load_state_dict(self.model, weights(self.golden))

        encoder = self.model.encoder
        self.seen = record_states(encoder)
        encoder.register_forward_hook(lambda *call: self.seen.update({"mid/blended_bias": call[2].bias}))
        noise = self.golden["in/noise"]
        self.biases = encoder.relation_biases(self.batch.with_noise(noise))
        self.output = self.model(self.batch, blend=blend, noise=noise)
        self.output.loss.backward()

    def check(self, actual: Tensor, name: str, *, tolerance: float = 1e-5) -> None:
        """Compare real atoms or pairs; the tolerance is relative to the largest magnitude."""
        atom_mask = self.batch.atom_mask
        masks = {
            (*atom_mask.shape, atom_mask.shape[1]): self.batch.pair_mask,
            (len(atom_mask), atom_mask.shape[1] + 1): torch.nn.functional.pad(atom_mask, (1, 0), value=True),
            tuple(atom_mask.shape): atom_mask,
        }
        expected = self.golden[name]
        assert actual.shape == expected.shape, name
        mask = next((m for shape, m in masks.items() if tuple(expected.shape[: len(shape)]) == shape), None)
        if name == "out/edge_logits":
            mask = mask & expected.flatten(3).any(-1)  # the trimmed file leaves out large molecules
            assert mask.sum() > 400
        close(actual if mask is None else actual[mask], expected if mask is None else expected[mask], name, tolerance)


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.parent.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module", params=[True, False], ids=["rows", "padded"])
def run(request: pytest.FixtureRequest, folder: Path) -> Run:
    """Computed without padding, as on CPU, or with it, as elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "leaves_out_padding", lambda device: request.param)
        return Run(folder)


def test_batch_by_hand_holds_what_the_smiles_say(run: Run) -> None:
    fragments = [smiles.count(".") + 1 for smiles in run.index["smiles"]]
    apart = ((run.batch.spd < 0) & run.batch.pair_mask).flatten(1).any(1)
    assert [n > 1 for n in fragments] == apart.tolist()
    assert run.batch.atom_mask.sum(1).tolist() == [15, 1, 8, 13, 14, 18, 29, 8]


@pytest.mark.parametrize(
    ("ours", "theirs"), [("spd", "mid/bias_spd"), ("bond_path", "mid/bias_edge"), ("distance", "mid/bias_3d")]
)
def test_relation_bias(run: Run, ours: str, theirs: str) -> None:
    run.check(run.biases[ours], theirs)


def test_gaussian_kernels(run: Run) -> None:
    number = run.batch.atom[:, :, 0]
    distance = run.batch.with_noise(run.golden["in/noise"]).distance
    kernels = run.model.encoder.distance_bias.kernels(distance, number[:, :, None], number[:, None, :])
    run.check(kernels, "mid/gbf")


def test_blended_bias(run: Run) -> None:
    run.check(run.seen["mid/blended_bias"], "mid/blended_bias")


@pytest.mark.parametrize("name", STATES)
def test_state(run: Run, name: str) -> None:
    run.check(run.seen[name], name)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("spd_logits", "out/spd_logits"),
        ("bond_path_logits", "out/edge_logits"),
        ("position_prediction", "out/delta_logits"),
        ("denoising", "out/denoise"),
    ],
)
def test_prediction(run: Run, ours: str, theirs: str) -> None:
    run.check(getattr(run.output, ours), theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("spd", "spd"), ("bond_path", "edge"), ("positions", "delta_3d"), ("denoising", "denoise")]
)
def test_loss(run: Run, ours: str, theirs: str) -> None:
    close(run.output.losses[ours], run.golden[f"loss/{theirs}"], ours, 1e-5)


def test_weighted_loss(run: Run) -> None:
    close(run.output.loss, run.golden["loss/weighted_total"], "loss", 1e-5)


def test_class_targets(run: Run) -> None:
    from dgl_moleblend.models import objectives

    spd = objectives.spd_classes(run.batch.spd, run.batch.pair_mask)
    assert torch.equal(spd, run.golden["target/spd_class"])
    bond_path = objectives.bond_path_classes(run.batch.bond_path, run.batch.pair_mask)
    assert torch.equal(bond_path, run.golden["target/edge_class"])


def test_gradient_of_every_parameter(run: Run) -> None:
    ours = {name: value.grad for name, value in run.model.named_parameters() if value.grad is not None}
    actual = mb.reference.to_release(run.model, ours, gradients=True)
    expected = weights(run.golden, kind="grad")
    assert set(actual) == set(expected)
    for name, value in expected.items():
        if name.endswith("edge_encoder.weight"):
            assert not value[0].any()  # the padding row is not trained
        if name.endswith("k_proj.bias"):  # exactly 0 in exact arithmetic
            assert (actual[name] - value).abs().max() <= 1e-6, name
        else:
            assert actual[name].shape == value.shape, name
            close(actual[name], value, f"gradient of {name}", 1e-4)


def test_every_name_of_the_release_has_a_place_or_is_known_to_be_unused(run: Run) -> None:
    assert set(run.conversion.unused) == set(run.index["parameters_without_gradient"])
    assert run.conversion.fresh == ()
    assert all(value.grad is not None for value in run.model.parameters())


def test_plain_form_is_the_release_too(run: Run) -> None:
    """The twin of other tests and of benchmarks stands on the same numbers."""
    p = {name: value.clone().requires_grad_() for name, value in weights(run.golden).items()}
    b, n = run.batch.atom_mask.shape
    blend = mb.Blend(run.golden["in/blend_mask"].expand(b, n, n), run.golden["in/feature_mask"])
    out = plain.pretrain(p, run.batch, blend, run.golden["in/noise"])
    out["mid/blended_bias"] = out.pop("mid/attn_bias")[:, 1:, 1:]
    names = [name for name in out if name in run.golden]
    assert len(names) == 23, names
    for name in names:
        run.check(out[name].detach(), name)
    out["loss/weighted_total"].backward()
    expected = weights(run.golden, kind="grad")
    assert {name for name, value in p.items() if value.grad is not None} == set(expected)
    for name, value in expected.items():
        if not name.endswith("k_proj.bias"):
            close(p[name].grad, value, f"gradient of {name}", 1e-4)
