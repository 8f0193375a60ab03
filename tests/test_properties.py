"""Each property assertion fails on a module that lacks the property, and says what differs."""

import dataclasses

import pytest
import torch
from molecules import Inputs, by_hand, featurized, molecule_with_positions
from properties import (
    Values,
    View,
    assert_blend_of_one_is_that_relation,
    assert_draws_are_independent,
    assert_equal,
    assert_no_side_effect,
    assert_padding_invariant,
    assert_permutation_equivariant,
    assert_rigid_motion_invariant,
    assert_same_in_both_views,
    assert_seed_repeats,
    of_encoder,
)
from torch import Generator, nn

import dgl_moleblend as mb


def adding(encoder: nn.Module, term) -> View:
    """The encoder's states plus whatever `term` makes of the batch."""

    def view(inputs: Inputs) -> Values:
        out = of_encoder(encoder)(inputs)
        return out | {"atoms/state": out["atoms/state"] + term(inputs.batch, out["atoms/state"])}

    return view


def test_equal_names_what_differs() -> None:
    ones = {"a": torch.ones(2), "b": torch.ones(2)}
    assert_equal(ones, ones, atol=0, what="same")
    with pytest.raises(AssertionError, match=r"here: b differs by 5\.00e-01, more than 1e-03"):
        assert_equal(ones, ones | {"b": torch.tensor([1.0, 1.5])}, atol=1e-3, what="here")
    with pytest.raises(AssertionError, match="b differs by nan"):
        assert_equal(ones | {"b": torch.tensor([1.0, float("nan")])}, ones, atol=1e-3, what="here")
    with pytest.raises(AssertionError, match="against"):
        assert_equal(ones, {"a": torch.ones(2)}, atol=1e-3, what="here")
    with pytest.raises(AssertionError, match="against"):
        assert_equal(ones, ones | {"b": torch.ones(2, 1)}, atol=1e-3, what="here")


@pytest.mark.parametrize("blend", [False, True])
def test_permutation(encoder: mb.MoleBlendEncoder, generator: Generator, blend: bool) -> None:
    mol = molecule_with_positions("CC(=O)Oc1ccccc1", generator)

    def atom_number(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        return 1e-6 * torch.arange(state.shape[1])[:, None]

    with pytest.raises(AssertionError, match="atoms/state differs"):
        assert_permutation_equivariant(adding(encoder, atom_number), mol, generator=generator, atol=1e-10, blend=blend)


def test_permutation_meets_ties_broken_by_number(encoder: mb.MoleBlendEncoder, generator: Generator) -> None:
    """A path that depends on which tied neighbour comes first is found out on cyclohexene."""

    def by_number(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        rank = torch.arange(state.shape[1]) * (batch.spd == 1)  # (b, n, n)
        last = batch.bond_path[0, torch.arange(state.shape[1]), rank.argmax(-1), 0]
        return 1e-6 * last.T

    mol = molecule_with_positions("C1CCC=CC1", generator)
    view = adding(encoder, by_number)

    def renumber_often() -> None:
        for _ in range(5):
            assert_permutation_equivariant(view, mol, generator=generator, atol=1e-10, blend=False)

    with pytest.raises(AssertionError, match="atoms/state differs"):
        renumber_often()


@pytest.fixture
def pair_of_sizes(generator: Generator) -> Inputs:
    batch = featurized(["CO", "CC(=O)N"], generator)
    return Inputs(dataclasses.replace(batch, positions=batch.positions.double()))


def test_padding(encoder: mb.MoleBlendEncoder, pair_of_sizes: Inputs) -> None:
    def all_real(inputs: Inputs) -> Values:
        everything = torch.ones_like(inputs.batch.atom_mask)
        return of_encoder(encoder)(Inputs(dataclasses.replace(inputs.batch, atom_mask=everything)))

    def padded_length(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        return 1e-6 * state.shape[1] * torch.ones(())

    def junk(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        return 1e-9 * (batch.spd * ~batch.pair_mask).clamp(min=0).sum()

    def gradient_only(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        leak = encoder.token.sum() * (batch.positions * ~batch.atom_mask[..., None]).sum()
        return leak - leak.detach()

    for view, words in (
        (all_real, "molecule 0 alone: atoms/state"),
        (adding(encoder, padded_length), "molecule 0 alone: atoms/state"),
        (adding(encoder, junk), "junk in 0 more padded places, molecule 0: atoms/state"),
        (adding(encoder, gradient_only), "gradients with junk in 0 more padded places: token"),
    ):
        with pytest.raises(AssertionError, match=words):
            assert_padding_invariant(view, encoder, pair_of_sizes, atol=1e-12)


def test_rigid_motion(encoder: mb.MoleBlendEncoder, pair_of_sizes: Inputs, generator: Generator) -> None:
    def coordinate(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        return 1e-6 * batch.positions[..., :1]

    def direction(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        return 1e-6 * (batch.positions[:, 1:2, :1] - batch.positions[:, :1, :1])

    def at_the_origin(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        return 1e-6 * ((batch.positions == 0).all(-1) & batch.atom_mask)[..., None]

    for term, words in (
        (coordinate, "turned and moved: atoms/state"),
        (direction, "turned and moved: atoms/state"),
        (at_the_origin, "first atom at the origin: atoms/state"),
    ):
        with pytest.raises(AssertionError, match=words):
            assert_rigid_motion_invariant(adding(encoder, term), pair_of_sizes, generator=generator, atol=1e-10)


def test_same_in_both_views(encoder: mb.MoleBlendEncoder, pair_of_sizes: Inputs) -> None:
    dense = of_encoder(encoder)

    def other_way_round(inputs: Inputs) -> Values:
        graph = inputs.batch.to_graph()
        graph.edata["bond_path"] = inputs.batch.bond_path.transpose(1, 2)[inputs.batch.pair_mask]
        return of_encoder(encoder, backend="message_passing")(Inputs(graph))

    def detached(batch: mb.RelationBatch, state: torch.Tensor) -> torch.Tensor:
        return 0.5 * (state.detach() - state)

    for messages, words in (
        (other_way_round, "message passing, molecule 1: atoms/state"),
        (adding(encoder, detached), "gradients of message passing"),
    ):
        with pytest.raises(AssertionError, match=words):
            assert_same_in_both_views(dense, messages, encoder, pair_of_sizes, atol=1e-10)


def test_blend_of_one_relation(encoder: mb.MoleBlendEncoder, pair_of_sizes: Inputs) -> None:
    class AddsSpd(nn.Module):
        def forward(self, batch, blend=None, **settings):
            out = encoder(batch, blend, **settings)
            if blend is None:
                return out
            return out._replace(pair_bias=out.pair_bias + 1e-6 * encoder.spd_bias(out.view.take_pairs(batch.spd)))

    assert_blend_of_one_is_that_relation(encoder, pair_of_sizes.batch, atol=1e-12)
    with pytest.raises(AssertionError, match="a blend of spd alone: pairs/bias"):
        assert_blend_of_one_is_that_relation(AddsSpd(), pair_of_sizes.batch, atol=1e-12)


def test_draws() -> None:
    def fair(generator: Generator) -> mb.Blend:
        return mb.Blend(torch.randint(3, (4, 10, 10), generator=generator),
                        torch.randint(2, (4, 10), generator=generator))  # fmt: skip

    def shared(generator: Generator) -> mb.Blend:
        pair, atom = fair(generator)
        return mb.Blend(pair[:1].expand_as(pair), atom)

    def symmetric(generator: Generator) -> mb.Blend:
        pair, atom = fair(generator)
        return mb.Blend(pair.triu() + pair.triu(1).transpose(1, 2), atom)

    def constant(generator: Generator) -> mb.Blend:
        return fair(Generator().manual_seed(3))

    def careless(generator: Generator) -> mb.Blend:
        return mb.Blend(torch.randint(3, (4, 10, 10)), fair(generator).atom)

    assert_draws_are_independent(fair)
    assert_seed_repeats(fair)
    with pytest.raises(AssertionError, match="molecules 0 and 1 share their pair mask"):
        assert_draws_are_independent(shared)
    with pytest.raises(AssertionError, match=r"the mask of \(i, j\) is that of \(j, i\)"):
        assert_draws_are_independent(symmetric)
    with pytest.raises(AssertionError, match="two seeds give one draw"):
        assert_seed_repeats(constant)
    with pytest.raises(AssertionError, match="the global generator was used"):
        assert_seed_repeats(careless)


def test_side_effects() -> None:
    def leaves_a_field(graph) -> None:
        graph.ndata["q"] = torch.ones(graph.num_nodes())

    def writes_in_place(graph) -> None:
        graph.edata["spd"][0] += 1

    def adds_edges(graph) -> None:
        graph.add_edges([0], [1])

    for call, words in (
        (leaves_a_field, r"ndata: \['q'\] appeared"),
        (writes_in_place, r"edata\['spd'\] was changed"),
        (adds_edges, "edata"),
    ):
        graph = by_hand(3, [(0, 1, 0), (1, 2, 12)]).to_graph()
        assert_no_side_effect(lambda g: None, graph)
        with pytest.raises(AssertionError, match=words):
            assert_no_side_effect(call, graph)
