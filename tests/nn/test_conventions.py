"""The layer and the encoder among DGL's modules: names, containers, attention weights, resetting, and plain errors."""

import copy

import dgl
import pytest
import torch
from dgl.nn import HeteroGraphConv
from dgl.nn import Sequential as GraphSequential
from molecules import AWKWARD_SMILES, featurized, lively
from torch import Generator, nn
from typecheck import refused

import dgl_moleblend as mb

D, H = 16, 4


@pytest.fixture
def layer() -> mb.MoleBlendLayer:
    return lively(mb.MoleBlendLayer(feat_size=D, ffn_size=24, num_heads=H))


@pytest.fixture
def graph() -> dgl.DGLGraph:
    return dgl.add_self_loop(dgl.rand_graph(12, 40))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(1), dtype=torch.float64)


def test_arguments_have_dgls_names(layer, graph) -> None:
    feat, bias = drawn(12, D), drawn(graph.num_edges(), H)
    assert torch.equal(layer(graph=graph, feat=feat, bias=bias), layer(graph, feat, bias))


def test_without_a_bias_it_is_plain_attention(layer, graph) -> None:
    feat = drawn(12, D)
    zeros = torch.zeros(graph.num_edges(), H, dtype=torch.float64)
    assert torch.equal(layer(graph, feat), layer(graph, feat, zeros))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    padded = drawn(2, 3, D)
    assert torch.equal(layer(mask, padded), layer(mask, padded, padded.new_zeros(2, 3, 3, H)))


def test_it_works_in_dgls_sequential(layer, graph) -> None:
    feat, second = drawn(12, D), copy.deepcopy(layer)
    assert torch.equal(GraphSequential(layer, second)(graph, feat), second(graph, layer(graph, feat)))
    assert torch.equal(GraphSequential(layer, second)([graph, graph], feat), second(graph, layer(graph, feat)))


def test_attention_weights_of_a_graph(layer, graph) -> None:
    feat, bias = drawn(12, D), drawn(graph.num_edges(), H)
    out, weight = layer(graph, feat, bias, get_attention=True)
    assert torch.equal(out, layer(graph, feat, bias))
    assert weight.shape == (graph.num_edges(), H, 1)
    assert torch.allclose(dgl.ops.copy_e_sum(graph, weight), weight.new_ones(12, H, 1))
    query, key, value = layer.attention.query_key_value(feat).view(12, 3, H, D // H).unbind(1)
    sender, receiver = graph.edges()
    logit = (query[receiver] * key[sender]).sum(-1) / (D // H) ** 0.5 + bias
    total = torch.zeros(12, H, dtype=torch.float64).index_add(0, receiver, logit.exp())
    assert torch.allclose(weight[..., 0], logit.exp() / total[receiver], atol=1e-12)
    sent = torch.zeros(12, H, D // H, dtype=torch.float64).index_add(0, receiver, weight * value[sender])
    attended = layer.attention.out(sent.reshape(12, D))
    hidden = layer.attention_norm(feat + attended)
    assert torch.allclose(out, layer.ffn_norm(hidden + layer.ffn(hidden)), atol=1e-12)


@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
def test_attention_weights_are_the_same_padded(layer, smiles: str) -> None:
    batch = featurized([smiles, "CCO"])
    b, n = batch.atom_mask.shape
    feat, bias = drawn(b, n, D), drawn(b, n, n, H)
    out, padded = layer(batch.atom_mask, feat, bias, get_attention=True)
    _, rows = layer(batch.to_graph(), feat[batch.atom_mask], bias[batch.pair_mask], get_attention=True)
    assert torch.equal(out, layer(batch.atom_mask, feat, bias))
    assert padded.shape == (b, n, n, H, 1)
    assert torch.allclose(padded[batch.pair_mask], rows, atol=1e-12)
    assert not padded[~batch.pair_mask].any()


def test_reset_parameters_draws_what_a_fresh_layer_has() -> None:
    used = mb.MoleBlendLayer(feat_size=D, ffn_size=24, num_heads=H)
    for value in used.parameters():
        value.data.fill_(3.0)
    torch.manual_seed(5)
    used.reset_parameters()
    torch.manual_seed(5)
    fresh = mb.MoleBlendLayer(feat_size=D, ffn_size=24, num_heads=H)
    for (name, value), expected in zip(used.named_parameters(), fresh.parameters(), strict=True):
        assert torch.equal(value, expected), name


def test_reset_parameters_draws_what_a_fresh_encoder_has() -> None:
    config = mb.EncoderConfig.tiny()
    used = mb.MoleBlendEncoder.from_config(config)
    for value in used.parameters():
        value.data.fill_(3.0)
    torch.manual_seed(5)
    used.reset_parameters()
    torch.manual_seed(5)
    for (name, value), expected in zip(
        used.named_parameters(), mb.MoleBlendEncoder.from_config(config).parameters(), strict=True
    ):
        assert torch.equal(value, expected), name


def test_blocks_heterographs_and_pairs_of_features_are_refused(layer, graph) -> None:
    feat = drawn(12, D)
    with pytest.raises(mb.SchemaError, match=r"the graph is a block; this layer(.|\n)*dgl.in_subgraph"):
        layer(dgl.to_block(graph), feat)
    hetero = dgl.heterograph({("a", "x", "a"): ([0], [1]), ("a", "y", "a"): ([0], [1])})
    with pytest.raises(mb.SchemaError, match=r"several types of nodes or edges(.|\n)*dgl.to_homogeneous"):
        layer(hetero, feat)
    bipartite = dgl.heterograph({("a", "x", "b"): ([0], [1])})
    with refused(mb.SchemaError, match="several types of nodes or edges"):
        HeteroGraphConv({"x": layer})(bipartite, {"a": feat[:1], "b": feat[:2]})
    with refused(mb.SchemaError, match=r"`feat` must have shape \(nodes, d\) = \(12, 16\), got tuple"):
        layer(graph, (feat, feat))


def test_features_of_another_width_are_refused(layer, graph) -> None:
    with pytest.raises(mb.SchemaError, match=r"`feat` .* \(nodes, d\) = \(12, 16\), got \(12, 5\)\n  fix: .*nn.Linear"):
        layer(graph, drawn(12, 5))
    with pytest.raises(mb.SchemaError, match=r"\(nodes, d\) = \(12, 16\), got \(11, 16\)"):
        layer(graph, drawn(11, D))
    mask = torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(mb.SchemaError, match=r"\(b, n, d\) = \(1, 3, 16\), got \(1, 4, 16\)"):
        layer(mask, drawn(1, 4, D))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_torchscript_is_refused_and_what_is_offered_works(layer) -> None:
    for module in (layer, nn.Sequential(layer), mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())):
        with pytest.raises(TypeError, match=r"torch.jit.script cannot compile(.|\n)*fix:   torch.export, with a mask"):
            torch.jit.script(module)
    mask, feat, bias = torch.ones(1, 3, dtype=torch.bool), drawn(1, 3, D), drawn(1, 3, 3, H)
    exported = torch.export.export(layer, (mask, feat, bias))
    assert torch.allclose(exported.module()(mask, feat, bias), layer(mask, feat, bias))


@pytest.fixture
def encoder() -> mb.MoleBlendEncoder:
    torch.manual_seed(0)
    return lively(mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()))


@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
def test_features_stand_for_the_embedding_in_each_view(encoder, smiles: str) -> None:
    batch = featurized([smiles, "CCO"])
    graph, expected = batch.to_graph(), encoder(batch)
    feat = encoder.atom_embedding(graph.ndata["atom"])
    padded = encoder.atom_embedding(batch.atom)
    for data, given, backend in (
        (graph, feat, "auto"), (graph, feat, "message_passing"), (batch, padded, "auto")
    ):  # fmt: skip
        out = encoder(data, atom_feat=given, backend=backend)
        assert torch.allclose(out.atoms, expected.atoms, atol=1e-10), backend
        assert not torch.allclose(encoder(data, atom_feat=0 * given, backend=backend).token, expected.token)
    with pytest.raises(mb.SchemaError, match=r"`atom_feat` must be floating and .*\(nodes, d\)(.|\n)*atom_embedding"):
        encoder(graph, atom_feat=feat[1:])
    with pytest.raises(mb.SchemaError, match=r"floating(.|\n)*got torch.int64"):
        encoder(graph, atom_feat=feat.long())
    with pytest.raises(mb.SchemaError, match=r"\(b, n, d\)"):
        encoder(batch, atom_feat=feat)


@pytest.mark.usefixtures("layout")
def test_a_pair_counts_as_much_as_its_weight(encoder) -> None:
    graph = featurized(["CC(=O)N", "CCO"]).to_graph()
    weight = torch.ones(graph.num_edges(), dtype=torch.float64)
    assert torch.allclose(encoder(graph, pair_weight=weight).token, encoder(graph).token, atol=1e-10)
    weight[[1, 6]] = 0.0
    out = encoder(graph, pair_weight=weight[:, None], relations=("spd", "bond_path"))
    less = encoder(dgl.remove_edges(graph, [1, 6]), relations=("spd", "bond_path"))
    assert torch.allclose(out.atoms, less.atoms, atol=1e-10)
    with pytest.raises(mb.SchemaError, match=r"one value per edge of a DGLGraph, \(edges,\) = \(25,\), got \(24,\)"):
        encoder(graph, pair_weight=weight[1:])
    with pytest.raises(mb.SchemaError, match="a RelationBatch have none"):
        encoder(featurized(["CCO"]), pair_weight=weight)
