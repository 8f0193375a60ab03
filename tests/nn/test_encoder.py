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
    assert_blend_of_one_is_that_relation,
    assert_equal,
    assert_no_side_effect,
    assert_padding_invariant,
    assert_permutation_equivariant,
    assert_rigid_motion_invariant,
    assert_same_in_both_views,
    by_molecule,
    of_encoder,
)
from rdkit import Chem
from torch import Generator

import dgl_moleblend as mb

SIZES = {"num_layers": 2, "feat_size": 32, "ffn_size": 32, "num_heads": 4, "num_kernels": 8}  # EncoderConfig.tiny()


@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
@pytest.mark.parametrize("blend", [False, True], ids=["added", "blended"])
def test_permutation_equivariance(encoder: mb.MoleBlendEncoder, smiles: str, blend: bool, generator: Generator) -> None:
    for mol in (molecule_with_positions(smiles, generator), Chem.MolFromSmiles(smiles)):
        assert_permutation_equivariant(of_encoder(encoder), mol, generator=generator, atol=1e-10, blend=blend)


def test_padding_invariance(encoder: mb.MoleBlendEncoder, awkward_inputs: Inputs) -> None:
    assert_padding_invariant(of_encoder(encoder), encoder, awkward_inputs, atol=1e-10)
    assert_padding_invariant(of_encoder(encoder), encoder, Inputs(awkward_inputs.batch), atol=1e-10)


def test_rigid_motion_invariance(encoder: mb.MoleBlendEncoder, awkward_inputs: Inputs, generator: Generator) -> None:
    for inputs in (awkward_inputs, Inputs(awkward_inputs.batch)):
        assert_rigid_motion_invariant(of_encoder(encoder), inputs, generator=generator, atol=1e-10)


@pytest.mark.parametrize("relations", [None, ("spd",), ("bond_path", "distance")])
def test_dense_is_message_passing(encoder: mb.MoleBlendEncoder, awkward_inputs: Inputs, relations: tuple) -> None:
    settings, inputs = {}, awkward_inputs
    if relations is not None:
        settings, inputs = {"relations": relations}, Inputs(awkward_inputs.batch)
    dense, messages = (of_encoder(encoder, backend=b, **settings) for b in ("dense", "message_passing"))
    assert_same_in_both_views(dense, messages, encoder, inputs, atol=1e-10)


def test_a_graph_and_its_batch_give_the_same(encoder: mb.MoleBlendEncoder, awkward: mb.RelationBatch) -> None:
    graph = awkward.to_graph()
    expected = by_molecule(of_encoder(encoder)(Inputs(awkward)), awkward.atom_mask)
    for backend in ("auto", "dense", "message_passing"):
        actual = by_molecule(of_encoder(encoder, backend=backend)(Inputs(graph)), awkward.atom_mask)
        for k, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_equal(one, other, atol=1e-10, what=f"{backend}, molecule {k}")


@pytest.mark.parametrize("backend", ["dense", "message_passing"])
def test_no_side_effect(encoder: mb.MoleBlendEncoder, awkward: mb.RelationBatch, backend: str) -> None:
    assert_no_side_effect(lambda graph: encoder(graph, backend=backend), awkward.to_graph())


def test_blend_of_one_relation(encoder: mb.MoleBlendEncoder, awkward: mb.RelationBatch) -> None:
    assert_blend_of_one_is_that_relation(encoder, awkward, atol=1e-12)


def test_a_blended_bias_is_the_shown_relations_own(encoder: mb.MoleBlendEncoder, awkward_inputs: Inputs) -> None:
    biases = encoder.relation_biases(awkward_inputs.batch)
    assert list(biases) == ["spd", "bond_path", "distance"]
    bias = encoder(awkward_inputs.batch, awkward_inputs.blend).bias
    real = awkward_inputs.batch.pair_mask
    for k, value in enumerate(biases.values()):
        shown = real & (awkward_inputs.blend.pair == k)
        assert shown.sum() > 20
        assert torch.equal(bias[shown], value[shown])
    added = encoder(awkward_inputs.batch).bias
    assert torch.allclose(added[real], sum(biases.values())[real], atol=1e-12)


def release_ids(generator: Generator) -> mb.RelationBatch:
    """Ids from all over their lists, chemistry aside."""
    b, n = 3, 12
    sizes = (119, 5, 12, 12, 10, 6, 6, 2, 2)
    atom = torch.stack([torch.randint(size, (b, n), generator=generator) for size in sizes], -1)
    atom[0, 0] = torch.tensor(sizes) - 1
    spd = torch.randint(-1, 256, (b, n, n), generator=generator)
    spd[0, 0, :2] = torch.tensor([-1, 255])
    return mb.RelationBatch(
        atom=atom,
        degree=torch.randint(15, (b, n), generator=generator),
        positions=3 * torch.randn(b, n, 3, generator=generator, dtype=torch.float64),
        atom_mask=torch.arange(n) < torch.tensor([12, 7, 1])[:, None],
        has_conformer=torch.tensor([True, False, True]),
        spd=spd,
        bond_path=torch.randint(-1, 60, (b, n, n, 5), generator=generator),
    )


@pytest.mark.parametrize("blend", [False, True], ids=["added", "blended"])
def test_encoder_is_its_plain_twin(
    layout: None, generator: Generator, monkeypatch: pytest.MonkeyPatch, blend: bool
) -> None:
    monkeypatch.setattr(plain, "PI", math.pi)
    p = plain.random_weights(plain.release_shapes(**SIZES), generator, torch.float64)
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()).double().eval()
    mb.reference.load_state_dict(encoder, p)
    batch = release_ids(generator)
    inputs = blended(batch, generator) if blend else Inputs(batch)
    actual = of_encoder(encoder)(inputs)
    twin = plain.encode(p, inputs.batch, inputs.blend)
    expected = {"atoms/state": twin["atoms"], "molecules/token": twin["token"], "pairs/bias": twin["bias"]}
    for k in range(3):
        one, other = (by_molecule(values, batch.atom_mask)[k] for values in (actual, expected))
        assert_equal(one, other, atol=1e-11, what=f"molecule {k}")


def test_without_positions_there_is_no_3d(encoder: mb.MoleBlendEncoder, awkward: mb.RelationBatch) -> None:
    flat = dataclasses.replace(
        awkward, positions=torch.zeros_like(awkward.positions), has_conformer=torch.zeros(len(awkward.spd)).bool()
    )
    all_three = of_encoder(encoder)(Inputs(flat))
    two = of_encoder(encoder, relations=("spd", "bond_path"))(Inputs(awkward))
    for k, (one, other) in enumerate(
        zip(by_molecule(all_three, flat.atom_mask), by_molecule(two, flat.atom_mask), strict=True)
    ):
        assert_equal(one, other, atol=1e-12, what=f"molecule {k}")
    assert not encoder.relation_biases(flat)["distance"].any()


def test_an_atom_at_the_origin_is_an_atom(encoder: mb.MoleBlendEncoder) -> None:
    """Neither one atom alone at the origin nor a molecule whose atoms all lie there lacks its 3D term."""
    at_origin = by_hand(1, [], positions=torch.zeros(1, 3, dtype=torch.float64))
    without = by_hand(1, [])
    there, absent = (of_encoder(encoder)(Inputs(double(batch))) for batch in (at_origin, without))
    assert not torch.allclose(there["molecules/token"], absent["molecules/token"], atol=1e-6)
    elsewhere = by_hand(1, [], positions=torch.ones(1, 3, dtype=torch.float64))
    assert_equal(of_encoder(encoder)(Inputs(elsewhere)), there, atol=1e-12, what="elsewhere")


def test_atoms_in_one_place_have_finite_gradients(encoder: mb.MoleBlendEncoder) -> None:
    positions = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    batch = by_hand(3, [(0, 1, 0), (1, 2, 0)], positions=positions)
    encoder(batch).token.sum().backward()
    assert torch.isfinite(positions.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


def test_ids_beyond_the_lists_count_as_their_last(encoder: mb.MoleBlendEncoder) -> None:
    batch = by_hand(2, [(0, 1, 0)], positions=torch.eye(2, 3, dtype=torch.float64))
    last = torch.tensor([118, 4, 11, 11, 9, 5, 5, 1, 1]).expand(1, 2, 9)
    known, beyond = (
        dataclasses.replace(batch, atom=atom, degree=torch.full((1, 2), degree))
        for atom, degree in ((last, 15), (torch.full((1, 2, 9), 200), 16))
    )
    assert_equal(of_encoder(encoder)(Inputs(beyond)), of_encoder(encoder)(Inputs(known)), atol=0, what="beyond")


def test_a_chain_longer_than_the_longest_distance(generator: Generator) -> None:
    encoder = lively(mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny(max_dist=5)))
    bias = encoder.relation_biases(featurized(["C" * 24]))["spd"]
    assert torch.equal(bias[0, 0, 5], bias[0, 0, 23])
    assert not torch.equal(bias[0, 0, 5], bias[0, 0, 4])


def cut(batch: mb.RelationBatch, keep: torch.Tensor):
    graph = batch.to_graph()
    graph.remove_edges(torch.nonzero(~keep[batch.pair_mask]).flatten())
    return graph


def test_a_cut_graph_passes_messages_over_the_pairs_it_has(encoder: mb.MoleBlendEncoder) -> None:
    """The dense twin gives the pairs that are cut a bias of minus infinity."""
    batch = featurized(["CC(=O)Oc1ccccc1C(=O)O", "CCO", "[Na+].[Cl-]", "C"])
    keep = batch.pair_mask & (batch.spd >= 0) & (batch.spd <= 3)
    out = encoder(cut(batch, keep), relations=("spd", "bond_path"))
    with torch.no_grad():
        encoder.spd_bias.embedding.weight[200] = -torch.inf
    marked = dataclasses.replace(batch, spd=torch.where(keep | ~batch.pair_mask, batch.spd, 200))
    twin = encoder(marked, relations=("spd", "bond_path"))
    assert torch.allclose(out.token, twin.token, atol=1e-10)
    assert torch.allclose(out.atoms[batch.atom_mask], twin.atoms[batch.atom_mask], atol=1e-10)
    assert torch.allclose(out.bias[keep], twin.bias[keep], atol=1e-12)
    assert not out.bias[~keep].any()


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_a_fresh_model_sees_atoms_beside_distances(size: str, generator: Generator) -> None:
    """The 3D term drowns neither what an atom is nor, as with the release's factor, is drowned by it."""
    torch.manual_seed(0)
    encoder = mb.MoleBlendEncoder.from_config(getattr(mb.EncoderConfig, size)()).eval()
    batch = featurized(["CC(=O)Oc1ccccc1C(=O)O", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"], generator)
    added: list[torch.Tensor] = []
    encoder.input_norm.register_forward_pre_hook(lambda module, inputs: added.append(inputs[0]))
    encoder(batch, relations=("spd", "bond_path"))
    encoder(batch)
    flat, full = added
    ratio = ((full - flat).std() / flat.std()).item()
    assert 0.1 < ratio < 2, ratio


def test_the_3d_term_of_a_cut_graph_sums_over_the_pairs_it_has(encoder: mb.MoleBlendEncoder, generator) -> None:
    batch = double(featurized(["CC(=O)OC"], generator))
    keep = batch.spd <= 1
    summed = []
    encoder.kernel_projection.register_forward_hook(lambda module, inputs, output: summed.append(inputs[0]))
    encoder(cut(batch, keep), relations=("distance",))
    number = batch.atom[:, :, 0]
    kernels = encoder.distance_bias.kernels(batch.distance, number[:, :, None], number[:, None, :])
    assert torch.allclose(summed[0], (kernels * keep[..., None]).sum(2)[0], atol=1e-12)


def test_a_cut_graph_trains(encoder: mb.MoleBlendEncoder, awkward: mb.RelationBatch, generator: Generator) -> None:
    keep = awkward.pair_mask & (awkward.distance <= 4.0) & (torch.rand(awkward.spd.shape, generator=generator) < 0.8)
    keep |= torch.eye(awkward.spd.shape[1], dtype=torch.bool) & awkward.pair_mask
    graph = cut(awkward, keep)
    out = encoder(graph, mb.draw_blend(graph, generator=generator))
    out.token.sum().backward()
    assert torch.isfinite(out.atoms).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_a_cut_graph_has_no_dense_view(encoder: mb.MoleBlendEncoder) -> None:
    batch = featurized(["CCO"])
    graph = cut(batch, batch.spd <= 1)
    with pytest.raises(mb.SchemaError, match="does not have one edge per ordered pair"):
        encoder(graph, backend="dense")


def test_output_has_no_padding_in_it(encoder: mb.MoleBlendEncoder, awkward: mb.RelationBatch) -> None:
    out = encoder(awkward)
    assert not out.atoms[~awkward.atom_mask].any()
    assert torch.equal(out.nodes, out.atoms[awkward.atom_mask])
    assert out.bias.shape == (*awkward.spd.shape, 4)


def test_dropout_happens_in_training_only(awkward_inputs: Inputs) -> None:
    encoder = lively(mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()))
    first, again = (encoder(awkward_inputs.batch).token for _ in range(2))
    assert torch.equal(first, again)
    encoder.train()
    first, again = (encoder(awkward_inputs.batch).token for _ in range(2))
    assert not torch.equal(first, again)


def test_drop_path_grows_from_0_at_the_first_layer() -> None:
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny(num_layers=5, drop_path=0.2))
    assert [round(layer.drop_path, 3) for layer in encoder.layers] == [0.0, 0.05, 0.1, 0.15, 0.2]
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny(num_layers=1, drop_path=0.2))
    assert encoder.layers[0].drop_path == 0.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"relations": ("spd", "angle")}, r"(?s)relations=\('spd', 'angle'\) is not allowed.*'bond_path'"),
        ({"relations": "spd"}, r"relations='spd' is not allowed"),
        ({"relations": ()}, r"relations=\(\) is not allowed"),
        ({"backend": "fast"}, r"(?s)backend='fast' is not allowed.*'message_passing'"),
    ],
)
def test_settings_that_there_are_not(encoder: mb.MoleBlendEncoder, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encoder(by_hand(2, [(0, 1, 0)]), **settings)


def test_blend_and_relations_exclude_each_other(encoder: mb.MoleBlendEncoder, generator: Generator) -> None:
    batch = featurized(["CCO"])
    with pytest.raises(ValueError, match="leave one of them out"):
        encoder(batch, mb.draw_blend(batch, generator=generator), relations=("spd",))


def test_a_field_that_is_missing_is_named(encoder: mb.MoleBlendEncoder) -> None:
    graph = featurized(["CCO"]).to_graph()
    del graph.edata["spd"]
    with pytest.raises(mb.SchemaError, match=r"(?s)edata\['spd'\] is missing.*MoleculeFeaturizer"):
        encoder(graph)
