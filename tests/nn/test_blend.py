import dataclasses
import math

import pytest
import torch
from molecules import by_hand, featurized
from properties import assert_draws_are_independent, assert_seed_repeats
from torch import Generator

import dgl_moleblend as mb


@pytest.fixture
def large(generator: Generator) -> mb.RelationBatch:
    """Eight chains of 40 atoms with positions: 12,800 pairs."""
    return featurized(["C" * 40] * 8, generator)


def within_sigmas(values: torch.Tensor, choice: int, probability: float, sigmas: float = 4.5) -> bool:
    count = values.numel()
    deviation = math.sqrt(count * probability * (1 - probability))
    return abs((values == choice).sum().item() - count * probability) <= sigmas * deviation


@pytest.mark.parametrize(("ratio", "atom_ratio"), [((0.2, 0.2, 0.6), (0.4, 0.6)), ((0.5, 0.4, 0.1), (0.9, 0.1))])
def test_shares_are_as_asked(large: mb.RelationBatch, generator: Generator, ratio: tuple, atom_ratio: tuple) -> None:
    blend = mb.draw_blend(large, ratio=ratio, atom_ratio=atom_ratio, generator=generator)
    assert blend.pair.shape == large.spd.shape
    assert blend.atom.shape == large.atom_mask.shape
    for choice in range(3):
        assert within_sigmas(blend.pair, choice, ratio[choice])
        for part in (blend.pair[0], blend.pair[:, 0], blend.pair[:, :, 39]):  # no molecule, row or column is favoured
            assert within_sigmas(part, choice, ratio[choice])
    for choice in range(2):
        assert within_sigmas(blend.atom, choice, atom_ratio[choice])


def test_default_shares_are_the_papers(large: mb.RelationBatch, generator: Generator) -> None:
    blend = mb.draw_blend(large, generator=generator)
    assert all(within_sigmas(blend.pair, choice, share) for choice, share in enumerate((0.2, 0.2, 0.6)))
    assert within_sigmas(blend.atom, 1, 0.6)


def test_pair_and_atom_choices_are_independent(large: mb.RelationBatch, generator: Generator) -> None:
    blend = mb.draw_blend(large, generator=generator)
    of_3d_atoms = blend.pair[blend.atom == 1]  # rows of receiving atoms
    assert within_sigmas(of_3d_atoms, 2, 0.6)
    assert within_sigmas(blend.pair[blend.pair.transpose(1, 2) == 2], 2, 0.6)


def test_molecules_differ_and_a_seed_repeats_them(large: mb.RelationBatch) -> None:
    assert_draws_are_independent(lambda generator: mb.draw_blend(large, generator=generator))
    assert_seed_repeats(lambda generator: mb.draw_blend(large, generator=generator))
    assert_seed_repeats(lambda generator: [mb.draw_noise(large, generator=generator)])


def test_without_positions_nothing_of_3d_is_shown(large: mb.RelationBatch, generator: Generator) -> None:
    has_conformer = torch.arange(8) % 2 == 0
    batch = dataclasses.replace(large, has_conformer=has_conformer)
    blend = mb.draw_blend(batch, ratio=(0.3, 0.1, 0.6), generator=generator)
    flat, solid = blend.pair[~has_conformer], blend.pair[has_conformer]
    assert not (flat == 2).any()
    assert not blend.atom[~has_conformer].any()
    assert within_sigmas(flat, 0, 0.75)  # spd and bond path keep their proportion
    assert within_sigmas(solid, 2, 0.6)
    assert within_sigmas(blend.atom[has_conformer], 1, 0.6)


@pytest.mark.parametrize("ratio", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_a_certain_choice_is_certain(large: mb.RelationBatch, generator: Generator, ratio: tuple) -> None:
    blend = mb.draw_blend(large, ratio=ratio, atom_ratio=(0, 1), generator=generator)
    assert (blend.pair == ratio.index(1)).all()
    assert (blend.atom == 1).all()


def test_only_distances_asked_for_but_no_positions(generator: Generator) -> None:
    batch = featurized(["CCO"])
    blend = mb.draw_blend(batch, ratio=(0, 0, 1), atom_ratio=(0, 1), generator=generator)
    assert set(blend.pair.unique().tolist()) <= {0, 1}
    assert not blend.atom.any()


def test_a_graph_draws_for_its_own_edges(large: mb.RelationBatch, generator: Generator) -> None:
    graph = large.to_graph()
    graph.remove_edges(torch.arange(0, graph.num_edges(), 3))
    blend = mb.draw_blend(graph, generator=generator)
    assert blend.pair.shape == (graph.num_edges(),)
    assert blend.atom.shape == (graph.num_nodes(),)
    assert within_sigmas(blend.pair, 2, 0.6)


@pytest.mark.parametrize("ratio", [(0.2, 0.2, 0.5), (0.5, 0.5), (1.2, -0.2, 0.0), (float("nan"), 0.5, 0.5)])
def test_ratio_that_is_none(ratio: tuple, generator: Generator) -> None:
    batch = by_hand(2, [(0, 1, 0)])
    with pytest.raises(ValueError, match=r"(?s)^ratio=\(.*not allowed.*3 non-negative numbers that add up to 1"):
        mb.draw_blend(batch, ratio=ratio, generator=generator)
    with pytest.raises(ValueError, match=r"(?s)^atom_ratio=\(0\.5, 0\.6\).*2 non-negative numbers"):
        mb.draw_blend(batch, atom_ratio=(0.5, 0.6), generator=generator)


def test_a_blend_of_another_shape_is_refused(encoder: mb.MoleBlendEncoder) -> None:
    batch = by_hand(3, [(0, 1, 0), (1, 2, 0)])
    pair, atom = torch.zeros(1, 3, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long)
    encoder(batch, mb.Blend(pair, atom))
    with pytest.raises(mb.SchemaError, match=r"(?s)`blend.pair` must have shape \(1, 3, 3\), got \(3, 3\).*draw_blend"):
        encoder(batch, mb.Blend(pair[0], atom))
    with pytest.raises(mb.SchemaError, match=r"`blend.atom` must have shape \(1, 3\), got \(1, 4\)"):
        encoder(batch, mb.Blend(pair, torch.zeros(1, 4, dtype=torch.long)))


def test_noise_is_normal_and_only_where_there_are_positions(large: mb.RelationBatch, generator: Generator) -> None:
    atom_mask = large.atom_mask.clone()
    atom_mask[0, 30:] = False
    has_conformer = torch.arange(8) != 1
    batch = dataclasses.replace(large, atom_mask=atom_mask, has_conformer=has_conformer)
    noise = mb.draw_noise(batch, scale=0.3, generator=generator)
    real = atom_mask & has_conformer[:, None]
    assert not noise[~real].any()
    drawn = noise[real]
    assert abs(drawn.mean().item()) < 5 * 0.3 / math.sqrt(drawn.numel())
    assert abs(drawn.std().item() - 0.3) < 5 * 0.3 / math.sqrt(2 * drawn.numel())
    displaced = batch.with_noise(noise + 1.0).masked_positions
    assert torch.allclose(displaced[real], batch.positions[real] + drawn + 1.0)
    assert not displaced[~real].any()  # absent positions are 0, whatever noise says
