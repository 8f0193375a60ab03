import dataclasses
import math

import plain
import pytest
import torch
from molecules import (
    AWKWARD_SMILES,
    Inputs,
    blended,
    by_hand,
    double,
    featurized,
    lively,
    molecule_with_positions,
)
from properties import (
    assert_equal,
    assert_no_side_effect,
    assert_padding_invariant,
    assert_permutation_equivariant,
    assert_rigid_motion_invariant,
    of_pretraining,
    of_pretraining_vectors,
    rotations,
)
from rdkit import Chem
from torch import Generator
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import dgl_moleblend as mb
from dgl_moleblend.nn.views import choice
from dgl_moleblend.pairs.batch import MoleculeBatch

SIZES = {"num_layers": 2, "feat_size": 32, "ffn_size": 32, "num_heads": 4, "num_kernels": 8}  # EncoderConfig.tiny()


@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
def test_permutation_equivariance(pretraining: mb.BlendPretraining, smiles: str, generator: Generator) -> None:
    for mol in (molecule_with_positions(smiles, generator), Chem.MolFromSmiles(smiles)):
        for view in (of_pretraining(pretraining), of_pretraining_vectors(pretraining)):
            assert_permutation_equivariant(view, mol, generator=generator, atol=1e-9, blend=True)


def test_padding_invariance(pretraining: mb.BlendPretraining, awkward_inputs: Inputs) -> None:
    assert_padding_invariant(of_pretraining(pretraining), pretraining, awkward_inputs, atol=1e-9)
    assert_padding_invariant(of_pretraining_vectors(pretraining), pretraining, awkward_inputs, atol=1e-9)


def test_rigid_motion_invariance(
    pretraining: mb.BlendPretraining, awkward_inputs: Inputs, generator: Generator
) -> None:
    assert_rigid_motion_invariant(of_pretraining(pretraining), awkward_inputs, generator=generator, atol=1e-9)


def test_only_the_distance_objective_does_not_see_how_a_molecule_is_turned(
    pretraining: mb.BlendPretraining, awkward_inputs: Inputs, generator: Generator
) -> None:
    batch, blend, _ = awkward_inputs
    turn = rotations(len(batch.spd), generator)
    turned = dataclasses.replace(batch, positions=batch.positions @ turn)
    here, there = (pretraining(b, blend=blend).losses["positions"] for b in (batch, turned))
    if pretraining.blend_config.objective_3d == "distance":
        assert torch.allclose(here, there, atol=1e-10)
    else:
        assert not torch.allclose(here, there, atol=1e-6)


def test_no_side_effect(pretraining: mb.BlendPretraining, awkward_inputs: Inputs) -> None:
    batch, blend, noise = awkward_inputs
    assert_no_side_effect(lambda graph: pretraining(graph, blend=blend, noise=noise), batch.to_graph())


def test_a_graph_and_its_batch_give_the_same(pretraining: mb.BlendPretraining, awkward_inputs: Inputs) -> None:
    batch, blend, noise = awkward_inputs
    of_batch, of_graph = (pretraining(data, blend=blend, noise=noise) for data in (batch, batch.to_graph()))
    assert torch.allclose(of_batch.loss, of_graph.loss, atol=1e-10)


def test_model_is_its_plain_twin(
    layout: None, awkward_inputs: Inputs, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions, losses and gradients on the awkward molecules, one without a conformer, in float64."""
    monkeypatch.setattr(plain, "PI", math.pi)
    twin = plain.PlainMoleBlend(seed=5, dtype=torch.float64, **SIZES)
    model = mb.BlendPretraining.from_config(mb.EncoderConfig.tiny(), objective_3d="direction").double().eval()
    mb.reference.load_state_dict(model, twin.state_dict())
    batch, blend, noise = awkward_inputs
    actual, expected = model(batch, blend=blend, noise=noise), twin(batch, blend, noise)
    real = batch.pair_mask
    for name, theirs, mask in (
        ("spd_logits", "out/spd_logits", real),
        ("bond_path_logits", "out/edge_logits", real),
        ("position_prediction", "out/delta_logits", real),
        ("denoising", "out/denoise", batch.atom_mask),
    ):
        one, other = getattr(actual, name)[mask], expected[theirs][mask]
        assert_equal({name: one}, {name: other}, atol=1e-9 * other.abs().max().item(), what="prediction")
    losses = {"spd": "spd", "bond_path": "edge", "positions": "delta_3d", "denoising": "denoise"}
    for name, theirs in losses.items():
        assert torch.allclose(actual.losses[name], expected[f"loss/{theirs}"], rtol=1e-10), name
    actual.loss.backward()
    expected["loss/weighted_total"].backward()
    ours = {name: value.grad for name, value in model.named_parameters()}
    released = mb.reference.to_release(model, ours, gradients=True)
    theirs = {name: value.grad for name, value in twin.named_parameters() if value.grad is not None}
    assert released.keys() == theirs.keys()
    for name, value in theirs.items():
        assert_equal({name: released[name]}, {name: value}, atol=1e-9 * max(1, value.abs().max().item()), what="grad")


LONELY = {
    "single atoms": ["C", "N", "[Na+]"],
    "one ion beside another": ["[Na+].[Cl-]"],
    "paths of at most two bonds": ["CC", "CCO"],
    "only bonds without a class": ["N->[Zn]"],
}


@pytest.mark.parametrize("conformers", [True, False], ids=["with positions", "without positions"])
@pytest.mark.parametrize("smiles", LONELY.values(), ids=LONELY)
def test_batches_with_nothing_to_score_train(
    pretraining: mb.BlendPretraining, smiles: list[str], conformers: bool, generator: Generator
) -> None:
    batch = double(featurized(smiles, generator if conformers else None))
    inputs = blended(batch, generator)
    blend = inputs.blend
    if conformers:
        blend = mb.Blend(blend.pair, torch.ones_like(blend.atom))
    output = pretraining(batch, blend=blend, noise=inputs.noise)
    output.loss.backward()
    for name, value in output.losses.items():
        assert torch.isfinite(value), name
    for name, parameter in pretraining.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    bonded = bool((batch.spd > 0).any())
    other = batch.pair_mask & ~torch.eye(batch.spd.shape[1], dtype=torch.bool)
    assert (output.losses["spd"] > 0) == bonded
    assert (output.losses["bond_path"] > 0) == (bonded and "Zn" not in smiles[0])
    assert (output.losses["positions"] > 0) == (conformers and bool(other.any()))
    assert (output.losses["denoising"] > 0) == conformers


def test_loss_is_the_weighted_sum(awkward_inputs: Inputs) -> None:
    batch, blend, noise = awkward_inputs
    config = mb.EncoderConfig.tiny()
    for changes, weights in (
        ({}, {"spd": 0.1, "bond_path": 0.1, "positions": 0.5, "denoising": 6.0}),
        ({"spd_weight": 2.0, "denoising_weight": 0.0}, {"spd": 2.0, "bond_path": 0.1, "positions": 0.5}),
    ):
        model = lively(mb.BlendPretraining.from_config(config, **changes))
        output = model(batch, blend=blend, noise=noise)
        assert set(output.losses) == {"spd", "bond_path", "positions", "denoising"}
        expected = sum(weight * output.losses[name] for name, weight in weights.items())
        assert torch.allclose(output.loss, expected, rtol=1e-12)


def test_only_hidden_pairs_are_scored_where_asked(awkward_inputs: Inputs) -> None:
    """The objectives over hidden pairs are those over all pairs where nothing is shown, pair by pair."""
    batch, blend, noise = awkward_inputs
    model = lively(mb.BlendPretraining.from_config(mb.EncoderConfig.tiny(), score="hidden"))
    output = model(batch, blend=blend, noise=noise)
    for relation, name, logits, target in (
        (0, "spd", output.spd_logits, plain.spd_classes(batch)),
        (1, "bond_path", output.bond_path_logits, plain.bond_path_classes(batch)),
    ):
        hidden = blend.pair != relation
        target = target.masked_fill(~hidden.view(*hidden.shape, *[1] * (target.ndim - 3)), -100)
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, -2), target.flatten())
        assert torch.allclose(output.losses[name], expected, rtol=1e-10)
    shown = {k: mb.Blend(torch.full_like(blend.pair, k), blend.atom) for k in range(3)}
    for k, name in enumerate(("spd", "bond_path", "positions")):
        losses = model(batch, blend=shown[k], noise=noise).losses
        assert losses[name].item() == 0
        assert all(losses[other] > 0 for other in ("spd", "bond_path", "positions") if other != name)


def test_positions_are_scored_against_the_clean_ones(pretraining: mb.BlendPretraining, awkward_inputs: Inputs) -> None:
    """An encoder that is shown nothing of 3D predicts, and is scored, the same whatever the noise."""
    batch, blend, noise = awkward_inputs
    flat = mb.Blend(torch.zeros_like(blend.pair), torch.zeros_like(blend.atom))
    clean, noisy = (pretraining(batch, blend=flat, noise=n).losses["positions"] for n in (None, 5 * noise))
    assert torch.allclose(clean, noisy, atol=1e-12)
    solid = mb.Blend(torch.full_like(blend.pair, 2), torch.ones_like(blend.atom))
    seen = [pretraining(batch, blend=solid, noise=n).spd_logits for n in (None, 5 * noise)]
    assert not torch.allclose(*seen, atol=1e-3)


def test_only_atoms_that_show_their_3d_term_are_denoised(
    pretraining: mb.BlendPretraining, awkward_inputs: Inputs
) -> None:
    batch, blend, noise = awkward_inputs
    output = pretraining(batch, blend=blend, noise=noise)
    counted = (blend.atom == 1) & batch.atom_mask & batch.has_conformer[:, None]
    cosine = torch.nn.functional.cosine_similarity(output.denoising[counted], noise[counted], dim=-1)
    assert torch.allclose(output.losses["denoising"], (1 - cosine).mean(), rtol=1e-10)
    hidden = mb.Blend(blend.pair, torch.zeros_like(blend.atom))
    assert pretraining(batch, blend=hidden, noise=noise).losses["denoising"].item() == 0


def test_without_noise_nothing_is_denoised(pretraining: mb.BlendPretraining, awkward_inputs: Inputs) -> None:
    output = pretraining(awkward_inputs.batch, blend=awkward_inputs.blend)
    assert output.losses["denoising"].item() == 0
    output.loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in pretraining.parameters())


def test_not_even_nan_where_there_are_no_positions_changes_anything(
    pretraining: mb.BlendPretraining, awkward_inputs: Inputs
) -> None:
    batch, blend, noise = awkward_inputs
    absent = ~(batch.atom_mask & batch.has_conformer[:, None])[..., None]
    results = []
    for fill in (0.0, float("nan")):
        filled = dataclasses.replace(batch, positions=batch.positions.masked_fill(absent, fill))
        output = pretraining(filled, blend=blend, noise=noise)
        gradients = torch.autograd.grad(output.loss, list(pretraining.parameters()))
        results.append({str(k): value for k, value in enumerate((output.loss, *gradients))})
    assert_equal(results[1], results[0], atol=1e-12, what="NaN for no positions")


def test_saved_and_loaded_it_gives_the_same_bits(
    pretraining: mb.BlendPretraining, awkward_inputs: Inputs, tmp_path
) -> None:
    model = pretraining.float()
    batch = dataclasses.replace(awkward_inputs.batch, positions=awkward_inputs.batch.positions.float())
    noise = awkward_inputs.noise.float()
    model.save_pretrained(tmp_path / "model")
    again = mb.BlendPretraining.from_pretrained(tmp_path / "model").eval()
    for name, value in model(batch, blend=awkward_inputs.blend, noise=noise)._asdict().items():
        other = getattr(again(batch, blend=awkward_inputs.blend, noise=noise), name)
        same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
        assert same, name
    encoder = mb.MoleBlendEncoder.from_pretrained(tmp_path / "model").eval()
    assert torch.equal(encoder(batch).token, model.encoder(batch).token)


def test_it_learns_eight_molecules_by_heart(generator: Generator) -> None:
    """Loss on one blend and one noise; the encoder sees what it must predict of every pair only in part."""
    torch.manual_seed(0)
    smiles = ["CCO", "CC(=O)N", "c1ccncc1", "CC#N", "C1CCC=CC1", "CC(C)(C)F", "OCC=O", "CSC"]
    batch = featurized(smiles, generator)
    inputs = blended(batch, generator)
    config = mb.EncoderConfig.tiny(attention_dropout=0.0, activation_dropout=0.0, drop_path=0.0)
    model = mb.BlendPretraining.from_config(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = last = None
    for _ in range(150):
        optimizer.zero_grad()
        last = model(batch, blend=inputs.blend, noise=inputs.noise)
        first = first or last
        last.loss.backward()
        optimizer.step()
    assert last.loss < 0.3 * first.loss
    for name in ("spd", "bond_path", "positions"):
        assert last.losses[name] < 0.5 * first.losses[name], name


def test_hand_made_batch_without_the_data_layer() -> None:
    positions = torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.0, 1.4, 0.0]])
    batch = by_hand(3, [(0, 1, 0), (1, 2, 0)], positions=positions, elements=[6, 6, 8])
    output = mb.BlendPretraining.from_config(mb.EncoderConfig.tiny())(batch)
    assert output.spd_logits.shape == (1, 3, 3, 11)
    assert output.bond_path_logits.shape == (1, 3, 3, 5, 24)
    assert output.position_prediction.shape == (1, 3, 3)
    assert output.denoising.shape == (1, 3, 3)


def test_a_graph_that_lacks_pairs_is_refused() -> None:
    graph = by_hand(3, [(0, 1, 0), (1, 2, 0)]).to_graph()
    graph.remove_edges([2])
    with pytest.raises(mb.SchemaError, match="does not have one edge per ordered pair"):
        mb.BlendPretraining.from_config(mb.EncoderConfig.tiny())(graph)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective_3d": "angle"}, r"(?s)objective_3d='angle' is not allowed.*'distance' or 'direction'"),
        ({"score": "some"}, r"(?s)score='some' is not allowed.*'all' or 'hidden'"),
        ({"spd_weight": -1.0}, r"(?s)spd_weight=-1\.0 is not allowed.*at least 0"),
    ],
)
def test_settings_that_there_are_not(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mb.BlendPretraining.from_config(mb.EncoderConfig.tiny(), **changes)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_padded_step_never_asks_a_tensor_for_its_value(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that asks waits for its accelerator. Fake tensors have no values: whoever asks for one fails."""
    featurizer = mb.MoleculeFeaturizer()
    molecules = MoleculeBatch.from_arrays([featurizer.arrays(smiles) for smiles in AWKWARD_SMILES])
    monkeypatch.setattr(choice, "leaves_out_padding", lambda device: False)
    with FakeTensorMode() as mode:
        on_device = molecules._map(mode.from_tensor)
        model = mb.BlendPretraining.from_config(mb.EncoderConfig.tiny())
        batch = on_device.relations()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(batch, blend=mb.draw_blend(batch), noise=mb.draw_noise(batch)).loss
        loss.backward()
        torch.optim.Adam(model.parameters(), fused=True).step()
        with pytest.raises(DataDependentOutputException):
            loss.item()


def molecule_model() -> mb.BlendPretraining:
    columns = {"names": ["logp", "active", "pKi"], "groups": ["descriptors", "labels", "labels"],
               "kinds": ["value", "class", "value"]}  # fmt: skip
    torch.manual_seed(0)
    return mb.BlendPretraining(mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()), None, columns).eval()


def test_the_token_is_scored_by_targets_that_are_present(awkward_inputs: Inputs) -> None:
    model = molecule_model()
    batch = dataclasses.replace(awkward_inputs.batch, positions=awkward_inputs.batch.positions.float())
    targets = torch.full((batch.num_molecules, 3), torch.nan)
    assert model(batch, targets=targets).losses["labels"] == model(batch).losses["labels"] == 0
    targets[0, 0], targets[1, 1], targets[0, 2] = 1.5, 1.0, -1.0
    output = model(batch, targets=targets)
    assert torch.allclose(output.losses["descriptors"], (output.molecule[0, 0] - 1.5) ** 2)
    by_hand = (-torch.nn.functional.logsigmoid(output.molecule[1, 1]) + (output.molecule[0, 2] + 1) ** 2) / 2
    assert torch.allclose(output.losses["labels"], by_hand)
    others = sum(
        getattr(model.blend_config, f"{name}_weight") * value
        for name, value in output.losses.items()
        if name not in ("descriptors", "labels")
    )
    assert torch.allclose(output.loss, others + output.losses["descriptors"] + output.losses["labels"])
    assert model.encoder.token.grad is None
    output.losses["descriptors"].backward()
    assert model.encoder.token.grad.abs().sum() > 0


def test_a_model_with_molecule_targets_is_saved_and_read_by_its_token(tmp_path, awkward_inputs: Inputs) -> None:
    model = molecule_model()
    model.save_pretrained(tmp_path / "model")
    again = mb.BlendPretraining.from_pretrained(tmp_path / "model").eval()
    batch = dataclasses.replace(awkward_inputs.batch, positions=awkward_inputs.batch.positions.float())
    assert torch.equal(again(batch).molecule, model(batch).molecule)
    assert mb.MoleBlendPredictor.from_pretrained(tmp_path / "model", n_tasks=1).readout == "token"


def test_a_group_cannot_have_the_name_of_a_relations_objective() -> None:
    columns = {"names": ["x"], "groups": ["spd"], "kinds": ["value"]}
    with pytest.raises(mb.ConfigError, match="other names than spd"):
        mb.BlendPretraining(mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()), None, columns)


def test_whole_molecules_are_encoded_as_without_a_blend(awkward_inputs: Inputs, generator: Generator) -> None:
    torch.manual_seed(0)
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()).double().eval()
    batch = awkward_inputs.batch
    blend = mb.draw_blend(batch, generator=generator, whole=1.0)
    assert torch.allclose(encoder(batch, blend).atoms, encoder(batch).atoms, atol=1e-12)
    some = mb.draw_blend(batch, generator=generator, whole=0.5)
    shown = (some.pair == -1).flatten(1)
    assert torch.equal(shown.all(1), shown.any(1))  # of a molecule all pairs or none
