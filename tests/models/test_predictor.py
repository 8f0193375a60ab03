import dataclasses
from collections.abc import Callable

import dgl
import pytest
import torch
from molecules import AWKWARD_SMILES, Inputs, by_hand, double, featurized, lively, molecule_with_positions
from properties import (
    assert_no_side_effect,
    assert_padding_invariant,
    assert_permutation_equivariant,
    assert_rigid_motion_invariant,
    of_predictor,
)
from rdkit import Chem
from torch import Generator

import dgl_moleblend as mb


def fresh(**settings: object) -> mb.MoleBlendPredictor:
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    return lively(mb.MoleBlendPredictor(n_tasks=3, encoder=encoder, **settings))


@pytest.fixture(params=["token", "mean", "sum"])
def any_predictor(request: pytest.FixtureRequest, layout: None) -> mb.MoleBlendPredictor:
    return fresh(readout=request.param)


@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
def test_permutation_invariance(any_predictor: mb.MoleBlendPredictor, smiles: str, generator: Generator) -> None:
    for mol in (molecule_with_positions(smiles, generator), Chem.MolFromSmiles(smiles)):
        assert_permutation_equivariant(of_predictor(any_predictor), mol, generator=generator, atol=1e-9, blend=False)


def test_padding_invariance(any_predictor: mb.MoleBlendPredictor, awkward: mb.RelationBatch) -> None:
    assert_padding_invariant(of_predictor(any_predictor), any_predictor, Inputs(awkward), atol=1e-9)


def test_rigid_motion_invariance(
    any_predictor: mb.MoleBlendPredictor, awkward: mb.RelationBatch, generator: Generator
) -> None:
    assert_rigid_motion_invariant(of_predictor(any_predictor), Inputs(awkward), generator=generator, atol=1e-9)


def test_graphs_batches_and_messages_agree(any_predictor: mb.MoleBlendPredictor, awkward: mb.RelationBatch) -> None:
    expected = any_predictor(awkward)
    graph = awkward.to_graph()
    assert torch.allclose(any_predictor(graph), expected, atol=1e-10)
    one_by_one = torch.cat([any_predictor(g) for g in dgl.unbatch(graph)])
    assert torch.allclose(one_by_one, expected, atol=1e-10)
    # two bonds apart at most: such a graph can only pass messages, and says something else
    graph.remove_edges(torch.nonzero(graph.edata["spd"] > 2).flatten())
    cut = any_predictor(graph)
    assert cut.shape == expected.shape
    assert torch.isfinite(cut).all()
    assert not torch.allclose(cut, expected, atol=1e-6)


def test_no_side_effect(any_predictor: mb.MoleBlendPredictor, awkward: mb.RelationBatch) -> None:
    graph = awkward.to_graph()
    assert_no_side_effect(any_predictor, graph)
    atom = graph.ndata.pop("atom")
    assert_no_side_effect(lambda g: any_predictor(g, atom), graph)


def test_called_as_dgllife_calls_its_predictors(predictor: mb.MoleBlendPredictor, awkward: mb.RelationBatch) -> None:
    expected = predictor(awkward)
    graph = awkward.to_graph()
    assert torch.equal(predictor(graph, graph.ndata["atom"], graph.edata["bond_path"]), expected)
    node_feats, edge_feats = graph.ndata.pop("atom"), graph.edata.pop("bond_path")
    assert torch.equal(predictor(graph, node_feats, edge_feats), expected)
    with pytest.raises(mb.SchemaError, match=r"ndata\['atom'\] is missing"):
        predictor(graph)
    with pytest.raises(mb.SchemaError, match=r"edata\['bond_path'\] is missing"):
        predictor(graph, node_feats)


def test_readouts_pool_what_the_head_says_of_every_atom(awkward: mb.RelationBatch) -> None:
    model = fresh()
    out = model.encoder(awkward)
    per_atom = model.head(out.atoms)
    assert torch.equal(model(awkward), model.head(out.token))
    for k, n in enumerate(awkward.atom_mask.sum(1).tolist()):
        model.readout = "sum"
        assert torch.allclose(model(awkward)[k], per_atom[k, :n].sum(0), atol=1e-9)
        model.readout = "mean"
        assert torch.allclose(model(awkward)[k], per_atom[k, :n].mean(0), atol=1e-9)


def test_a_2d_model_does_not_read_positions(awkward: mb.RelationBatch) -> None:
    model = fresh(relations=("spd", "bond_path"))
    moved = dataclasses.replace(awkward, positions=3 * awkward.positions)
    without = dataclasses.replace(awkward, has_conformer=torch.zeros_like(awkward.has_conformer))
    assert torch.equal(model(awkward), model(moved))
    assert torch.equal(model(awkward), model(without))
    assert not torch.allclose(fresh()(awkward), fresh()(moved), atol=1e-6)


def test_a_molecule_without_positions_beside_others(predictor: mb.MoleBlendPredictor, generator: Generator) -> None:
    """Each molecule has or lacks 3D by itself."""
    smiles = ["CCO", "CC(=O)N"]
    both = double(featurized(smiles, generator))
    half = dataclasses.replace(both, has_conformer=torch.tensor([True, False]))
    flat = double(featurized(smiles))
    assert torch.allclose(predictor(half)[0], predictor(both)[0], atol=1e-12)
    assert torch.allclose(predictor(half)[1], predictor(flat)[1], atol=1e-12)


def test_saved_and_loaded_it_predicts_the_same_bits(awkward: mb.RelationBatch, tmp_path) -> None:
    batch = dataclasses.replace(awkward, positions=awkward.positions.float())
    model = fresh(readout="mean", relations=("spd", "distance"), dropout=0.2).float()
    model.save_pretrained(tmp_path / "model")
    again = mb.MoleBlendPredictor.from_pretrained(tmp_path / "model").eval()
    assert torch.equal(again(batch), model(batch))
    assert (again.n_tasks, again.readout, again.relations) == (3, "mean", ("spd", "distance"))


def test_a_fresh_head_on_a_saved_encoder(awkward: mb.RelationBatch, tmp_path) -> None:
    pretrained = mb.BlendPretraining.from_config(mb.EncoderConfig.tiny())
    pretrained.save_pretrained(tmp_path / "pretrained")
    model = mb.MoleBlendPredictor.from_pretrained(tmp_path / "pretrained", n_tasks=5, readout="sum")
    for name, value in pretrained.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value), name
    assert (model.n_tasks, model.readout) == (5, "sum")
    assert mb.MoleBlendPredictor.from_pretrained(tmp_path / "pretrained", n_tasks=5).readout == "mean"
    with pytest.raises(mb.CheckpointError, match=r"(?s)no predictor.*'pretraining'.*n_tasks="):
        mb.MoleBlendPredictor.from_pretrained(tmp_path / "pretrained")
    model.save_pretrained(tmp_path / "predictor")
    with pytest.raises(mb.CheckpointError, match="n_tasks"):
        mb.MoleBlendPredictor.from_pretrained(tmp_path / "predictor", n_tasks=7)


def test_it_learns_eight_labels_by_heart(generator: Generator) -> None:
    torch.manual_seed(0)
    batch = featurized(["CCO", "CC(=O)N", "c1ccncc1", "CC#N", "C1CCC=CC1", "CC(C)(C)F", "[Na+].[Cl-]", "C"])
    labels = torch.randn(8, 1, generator=generator)
    config = mb.EncoderConfig.tiny(attention_dropout=0.0, activation_dropout=0.0, drop_path=0.0)
    model = mb.MoleBlendPredictor(n_tasks=1, encoder=mb.MoleBlendEncoder.from_config(config))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = (model(batch) - labels).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


def test_every_weight_that_a_prediction_reads_is_trained(awkward: mb.RelationBatch) -> None:
    model = fresh(readout="sum")
    model(awkward).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_tasks": 0}, r"(?s)n_tasks=0 is not allowed.*at least 1"),
        ({"readout": "max"}, r"(?s)readout='max' is not allowed.*'token', 'mean', 'sum'"),
        ({"relations": ("spd", "angle")}, r"(?s)relations=\('spd', 'angle'\) is not allowed.*'bond_path'"),
    ],
)
def test_settings_that_there_are_not(settings: dict, words: str) -> None:
    """Refused when the model is built, not when it first predicts."""
    with pytest.raises(ValueError, match=words):
        mb.MoleBlendPredictor(
            **{"n_tasks": 1, "encoder": mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())} | settings
        )


def test_prediction_of_a_hand_made_batch() -> None:
    batch = by_hand(2, [(0, 1, 24)], elements=[6, 7])
    assert fresh()(batch).shape == (1, 3)


def test_forces_are_the_slope_of_an_energy_and_can_be_learned(
    predictor: mb.MoleBlendPredictor, awkward: mb.RelationBatch, generator: Generator
) -> None:
    """Gradients with respect to positions are right, and so are the gradients of a loss on them."""
    weight = predictor.encoder.layers[0].attention.query_key_value.weight

    def energy(positions: torch.Tensor) -> torch.Tensor:
        return predictor(dataclasses.replace(awkward, positions=positions))[:, 0].sum()

    def force_loss() -> torch.Tensor:
        positions = awkward.positions.clone().requires_grad_()
        return torch.autograd.grad(energy(positions), positions, create_graph=True)[0].square().sum()

    def slope(function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, way: torch.Tensor) -> float:
        return float((function(at + 1e-5 * way) - function(at - 1e-5 * way)) / 2e-5)

    way = torch.randn(awkward.positions.shape, generator=generator, dtype=torch.float64) * awkward.atom_mask[:, :, None]
    positions = awkward.positions.clone().requires_grad_()
    for to_differentiate in (False, True):
        force = torch.autograd.grad(energy(positions), positions, create_graph=to_differentiate)[0]
        with torch.no_grad():
            assert (force * way).sum().item() == pytest.approx(slope(energy, positions, way), rel=1e-5)

    direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    found = torch.autograd.grad(force_loss(), weight)[0]
    kept = weight.detach().clone()

    def at(value: torch.Tensor) -> torch.Tensor:
        weight.data.copy_(value)
        return force_loss().detach()

    assert (found * direction).sum().item() == pytest.approx(slope(at, kept, direction), rel=1e-5)
