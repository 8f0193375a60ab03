import dgl
import pytest
import torch
from molecules import AWKWARD_SMILES, featurized, lively
from properties import Values, assert_equal, assert_no_side_effect, by_molecule, gradients
from torch import Generator
from typecheck import refused

import dgl_moleblend as mb
from dgl_moleblend.nn.views.choice import GraphView, PackedView, PaddedView

D, H = 16, 4


@pytest.fixture
def layer() -> mb.MoleBlendLayer:
    return lively(mb.MoleBlendLayer(feat_size=D, ffn_size=24, num_heads=H))


def draw(batch: mb.RelationBatch, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
    b, n = batch.atom_mask.shape
    feat = torch.randn(b, n, D, generator=generator, dtype=torch.float64, requires_grad=True)
    return feat, torch.randn(b, n, n, H, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
def test_dense_is_message_passing(layer: mb.MoleBlendLayer, smiles: str, generator: Generator) -> None:
    batch = featurized([smiles, "CCO"])
    feat, bias = draw(batch, generator)
    dense = layer(batch.atom_mask, feat, bias)[batch.atom_mask]
    nodes = layer(batch.to_graph(), feat[batch.atom_mask], bias[batch.pair_mask])
    assert_equal({"nodes": nodes}, {"nodes": dense}, atol=1e-10, what=smiles)
    weight = torch.randn(dense.shape, generator=generator, dtype=torch.float64)
    wanted = (feat, bias, *layer.parameters())
    names = ["feat", "bias", *dict(layer.named_parameters())]
    of_dense, of_nodes = (torch.autograd.grad((out * weight).sum(), wanted) for out in (dense, nodes))
    assert_equal(
        dict(zip(names, of_nodes, strict=True)), dict(zip(names, of_dense, strict=True)), atol=1e-10, what="gradient"
    )


def test_pairs_that_a_graph_lacks_are_pairs_of_minus_infinity(layer: mb.MoleBlendLayer, generator: Generator) -> None:
    batch = featurized(["CC(=O)Oc1ccccc1C(=O)O", "CCO", "[Na+].[Cl-]"])
    feat, bias = draw(batch, generator)
    near = batch.pair_mask & (batch.spd >= 0) & (batch.spd <= 2)
    graph = batch.to_graph()
    graph.remove_edges(torch.nonzero(~near[batch.pair_mask]).flatten())
    nodes = layer(graph, feat[batch.atom_mask], bias[near])
    cut = bias.masked_fill(~(near | ~batch.pair_mask)[..., None], -torch.inf)
    dense = layer(batch.atom_mask, feat, cut)[batch.atom_mask]
    assert_equal({"nodes": nodes}, {"nodes": dense}, atol=1e-10, what="pairs of at most two bonds")


def test_renumbering_atoms_renumbers_the_result(layer: mb.MoleBlendLayer, generator: Generator) -> None:
    batch = featurized(["CC(=O)Oc1ccccc1"])
    feat, bias = draw(batch, generator)
    order = torch.randperm(feat.shape[1], generator=generator)
    moved = layer(batch.atom_mask, feat[:, order], bias[:, order][:, :, order])
    assert torch.allclose(moved, layer(batch.atom_mask, feat, bias)[:, order], atol=1e-12)


def test_padding_changes_nothing(layer: mb.MoleBlendLayer, generator: Generator) -> None:
    batch = featurized(["C", "CC(=O)N", "CCO"])
    feat, bias = draw(batch, generator)
    junk_feat = torch.where(batch.atom_mask[..., None], feat, 100.0)
    junk_bias = torch.where(batch.pair_mask[..., None], bias, -300.0)

    def values(feat: torch.Tensor, bias: torch.Tensor) -> list[Values]:
        return by_molecule({"atoms/feat": layer(batch.atom_mask, feat, bias)}, batch.atom_mask)

    seeds = [Generator().manual_seed(k) for k in range(3)]
    clean = values(feat, bias)
    clean_gradient = gradients(layer, clean, seeds)
    junk = values(junk_feat, junk_bias)
    for k, n in enumerate((1, 4, 3)):
        alone = layer(batch.atom_mask[k : k + 1, :n], feat[k : k + 1, :n], bias[k : k + 1, :n, :n])
        assert_equal({"atoms/feat": alone[0]}, clean[k], atol=1e-12, what=f"molecule {k} alone")
        assert_equal(junk[k], clean[k], atol=1e-12, what=f"molecule {k} beside junk")
    seeds = [Generator().manual_seed(k) for k in range(3)]
    assert_equal(gradients(layer, junk, seeds), clean_gradient, atol=1e-11, what="gradient beside junk")


def test_the_graph_is_left_alone(layer: mb.MoleBlendLayer) -> None:
    graph = featurized(["CCO", "C"]).to_graph()
    pairs = graph.num_edges()
    assert_no_side_effect(
        lambda g: layer(g, torch.ones(4, D, dtype=torch.float64), torch.zeros(pairs, H, dtype=torch.float64)), graph
    )


def test_any_graph_will_do() -> None:
    layer = mb.MoleBlendLayer(feat_size=D, ffn_size=24, num_heads=H)
    graph = dgl.rand_graph(30, 200)
    out = layer(graph, torch.randn(30, D), torch.randn(200, H))
    assert out.shape == (30, D)
    assert torch.isfinite(out).all()


def test_a_node_that_receives_nothing_keeps_its_own_features(layer: mb.MoleBlendLayer, generator: Generator) -> None:
    feat = torch.randn(3, D, generator=generator, dtype=torch.float64)
    graph = dgl.graph(([0], [1]), num_nodes=3)
    out = layer(graph, feat, torch.zeros(1, H, dtype=torch.float64))
    x = layer.attention_norm(feat + layer.attention.out.bias)
    expected = layer.ffn_norm(x + layer.ffn(x))
    assert torch.allclose(out[[0, 2]], expected[[0, 2]], atol=1e-12)


def test_drop_path_drops_whole_molecules(generator: Generator) -> None:
    layer = mb.MoleBlendLayer(feat_size=D, ffn_size=24, num_heads=H, drop_path=0.5).train()
    batch = featurized(["CCO", "CCN", "CC=O"] * 20)
    feat = draw(batch, generator)[0].float()
    torch.manual_seed(0)
    kept = layer._drop(PaddedView(batch.atom_mask), feat) / feat
    assert set(kept.unique().round(decimals=4).tolist()) == {0.0, 2.0}
    assert torch.equal(kept.amin((1, 2)).round(), kept.amax((1, 2)).round())  # one choice per molecule
    assert 10 < (kept[:, 0, 0] > 1).sum() < 50
    rows = feat[batch.atom_mask]
    packed, with_token = PackedView(batch.atom_mask).with_token(rows, feat[0, 0])
    nodes = layer._drop(GraphView(batch.to_graph()), rows) / rows
    tokens, atoms = (layer._drop(packed, with_token) / with_token).tensor_split((60,))
    for dropped in (nodes.view(60, 3, D), torch.cat((tokens[:, None], atoms.view(60, 3, D)), 1)):
        assert torch.equal(dropped.amin((1, 2)).round(), dropped.amax((1, 2)).round())
        assert len(dropped[:, 0, 0].round().unique()) == 2
    assert torch.equal(layer.eval()._drop(packed, with_token), with_token)


def test_a_bias_of_another_shape_is_refused(layer: mb.MoleBlendLayer) -> None:
    batch = featurized(["CCO"])
    feat = torch.ones(1, 3, D, dtype=torch.float64)
    for pairs, features, bias, words in (
        (batch.atom_mask, feat, torch.zeros(1, 3, 3, 2), r"\(b, n, n, h\) = \(1, 3, 3, 4\), got \(1, 3, 3, 2\)"),
        (batch.atom_mask, feat, torch.zeros(9, H), r"\(b, n, n, h\) = \(1, 3, 3, 4\), got \(9, 4\)"),
        (batch.to_graph(), feat[0], torch.zeros(1, 3, 3, H), r"\(edges, h\) = \(9, 4\), got \(1, 3, 3, 4\)"),
    ):
        with pytest.raises(mb.SchemaError, match=r"`bias` must have shape " + words):
            layer(pairs, features, bias)


def test_a_mask_that_is_none_is_refused(layer: mb.MoleBlendLayer) -> None:
    with refused(mb.SchemaError, match=r"`atom_mask` must be bool of shape \(b, n\), got torch.float32"):
        layer(torch.ones(1, 3), torch.ones(1, 3, D), torch.zeros(1, 3, 3, H))
