"""MoleBlendPredictor against numbers of the authors' code: 2D, 2D + 3D, and no positions; three read-outs."""

from pathlib import Path

import plain
import pytest
import torch
from golden_files import FOLDERS, SIZES, close, golden, golden_index, record_states, relation_batch, weights
from torch import Tensor
from torch.nn import functional as F

import dgl_moleblend as mb

SETUPS = {  # name -> weights, relations, whether there are positions
    "2d/": ("2d/", ("spd", "bond_path"), False),
    "3d/": ("3d/", ("spd", "bond_path", "distance"), True),
    "3d_zero_positions/": ("3d/", ("spd", "bond_path", "distance"), False),
}
READOUTS = {"sum": "sum", "mean": "mean", "token": "cls"}


class Run:
    """A predictor with the weights of one set-up."""

    def __init__(self, folder: Path, setup: str) -> None:
        self.golden = golden(folder, "finetune_small")
        self.index = golden_index(folder, "finetune_small")
        self.setup = setup
        self.weights, self.relations, positions = SETUPS[setup]
        self.batch = relation_batch(self.golden, self.golden["in/pos"] if positions else None)
        self.conversion = mb.reference.load_state_dict(self.predictor("sum"), weights(self.golden, self.weights))

    def predictor(self, readout: str) -> mb.MoleBlendPredictor:
        config = mb.EncoderConfig(**SIZES, attention_dropout=0.0, activation_dropout=0.0, drop_path=0.0)
        encoder = mb.MoleBlendEncoder.from_config(config)
        model = mb.MoleBlendPredictor(n_tasks=12, encoder=encoder, readout=readout, relations=self.relations).eval()
        mb.reference.load_state_dict(model, weights(self.golden, self.weights))
        return model

    def loss(self, logits: Tensor) -> Tensor:
        there = self.golden["in/label_weights"] > 0
        return F.binary_cross_entropy_with_logits(logits[there], self.golden["in/labels"][there])

    def mask(self, shape: torch.Size) -> Tensor:
        atom_mask = self.batch.atom_mask
        if len(shape) == 4:
            return self.batch.pair_mask
        return F.pad(atom_mask, (1, 0), value=True) if shape[1] > atom_mask.shape[1] else atom_mask


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.parent.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module", params=SETUPS, ids=lambda setup: setup.rstrip("/"))
def run(request: pytest.FixtureRequest, folder: Path) -> Run:
    return Run(folder, request.param)


def test_states_and_biases(run: Run) -> None:
    model = run.predictor("sum")
    seen = record_states(model.encoder)
    out = model.encoder(run.batch, relations=run.relations)
    seen["mid/blended_bias"] = out.bias  # nothing is blended here: the sum
    biases = model.encoder.relation_biases(run.batch)
    seen |= {"mid/bias_spd": biases["spd"], "mid/bias_edge": biases["bond_path"], "mid/bias_3d": biases["distance"]}
    seen["out/proj_out"] = model.head(torch.cat((out.token[:, None], out.atoms), 1))

    expected = {name.removeprefix(run.setup): value for name, value in run.golden.items()}
    names = [name for name in seen if name in expected]
    assert len(names) == {"2d/": 11, "3d/": 12, "3d_zero_positions/": 4}[run.setup]
    for name in names:
        mask = run.mask(expected[name].shape)
        close(seen[name][mask], expected[name][mask], name, 1e-5)


@pytest.mark.parametrize("readout", READOUTS)
def test_predictions_and_loss(run: Run, readout: str) -> None:
    per_token = run.golden[f"{run.setup}out/proj_out"]
    sizes = run.batch.atom_mask.sum(1, keepdim=True)
    total = (per_token[:, 1:] * run.batch.atom_mask[..., None]).sum(1)
    expected = {"token": per_token[:, 0], "sum": total, "mean": total / sizes}[readout]
    logits = run.predictor(readout)(run.batch)
    close(logits, expected, f"{readout} of the head's output", 1e-5)
    if run.setup == "3d_zero_positions/":
        return
    # the release divides by the padded length for the mean, we by the number of atoms
    as_released = logits * sizes / run.batch.atom_mask.shape[1] if readout == "mean" else logits
    close(as_released, run.golden[f"{run.setup}out/logits_{READOUTS[readout]}"], f"{readout} logits", 1e-5)
    close(run.loss(as_released), run.golden[f"{run.setup}loss/{READOUTS[readout]}"], f"{readout} loss", 1e-5)


def test_gradient_of_every_parameter(run: Run) -> None:
    expected = weights(run.golden, run.setup, "grad")
    if run.setup == "3d_zero_positions/":  # the file holds none, and the plain form stands in for the release
        expected = plain_gradients(run)
    model = run.predictor("sum")
    run.loss(model(run.batch)).backward()
    ours = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    actual = mb.reference.to_release(model, ours, gradients=True)
    untouched = set(actual) - set(expected)
    assert not any(actual[name].any() for name in untouched)
    assert untouched == {name for name in untouched if "3d_bias" in name and run.setup == "3d_zero_positions/"}
    for name, value in expected.items():
        if name.endswith("k_proj.bias"):
            assert (actual[name] - value).abs().max() <= 1e-6, name
        else:
            close(actual[name], value, f"gradient of {name}", 1e-4)


def plain_gradients(run: Run) -> dict[str, Tensor]:
    p = {name: value.clone().requires_grad_() for name, value in weights(run.golden, run.weights).items()}
    atoms = plain.property_logits(p, plain.encode(p, run.batch, None, run.relations)["atoms"])
    run.loss((atoms * run.batch.atom_mask[..., None]).sum(1)).backward()
    return {name: value.grad for name, value in p.items() if value.grad is not None and value.grad.any()}


def test_every_name_of_the_release_has_a_place_or_is_known_to_be_unused(run: Run) -> None:
    assert set(run.conversion.unused) == set(run.index[run.weights.rstrip("/")]["parameters_without_gradient"])
    assert all("distance" in name or "kernel" in name for name in run.conversion.fresh), run.conversion.fresh
    assert bool(run.conversion.fresh) == (run.weights == "2d/")


def test_plain_form_is_the_release_too(run: Run) -> None:
    p = weights(run.golden, run.weights)
    out = plain.encode(p, run.batch, None, run.relations)
    out["out/proj_out"] = plain.property_logits(p, torch.cat((out["token"][:, None], out["atoms"]), 1))
    expected = {name.removeprefix(run.setup): value for name, value in run.golden.items()}
    names = [name for name in out if name in expected and name != "mid/attn_bias"]
    assert len(names) >= 3
    for name in names:
        mask = run.mask(expected[name].shape)
        close(out[name][mask], expected[name][mask], name, 1e-5)
