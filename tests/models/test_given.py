"""What is given to a predictor goes before what the graph holds; DGL's explainers can take it."""

import dgl
import numpy as np
import pytest
import torch
from dgl.nn import GNNExplainer, SubgraphX
from molecules import featurized

import dgl_moleblend as mb

pytestmark = pytest.mark.usefixtures("layout")
SMILES = ["CC(=O)N", "CCO", "C", "[Na+].[Cl-]"]


@pytest.fixture
def predictor() -> mb.MoleBlendPredictor:
    torch.manual_seed(0)
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    for value in encoder.parameters():
        value.data += 0.1 * torch.randn_like(value)
    return mb.MoleBlendPredictor(3, encoder).eval()


@pytest.fixture
def graph() -> dgl.DGLGraph:
    return featurized(SMILES).to_graph()


def test_what_is_given_goes_before_what_the_graph_holds(predictor, graph) -> None:
    expected = predictor(graph)
    wrong = graph.local_var()
    wrong.ndata["atom"] = torch.zeros_like(graph.ndata["atom"])
    assert not torch.allclose(predictor(wrong), expected)
    atom, path = graph.ndata["atom"], graph.edata["bond_path"]
    for out in (
        predictor(wrong, atom),
        predictor(wrong, atom, path),
        predictor(wrong, node_feats=atom, edge_feats=path),
        predictor(graph=wrong, feat=atom.long()),
    ):
        assert torch.equal(out, expected)
    assert not wrong.ndata["atom"].any(), "the caller's graph stays as it was"
    embedded = predictor.encoder.atom_embedding(atom)
    assert torch.allclose(predictor(wrong, embedded, relations_of(wrong)), expected, atol=1e-6)
    batch = mb.RelationBatch.from_graph(wrong)
    good = mb.RelationBatch.from_graph(graph)
    assert torch.allclose(predictor(batch, good.atom), expected, atol=1e-6)


def relations_of(graph: dgl.DGLGraph) -> torch.Tensor:
    return graph.edata["bond_path"]


def test_names_of_dgllife_are_read(predictor, graph) -> None:
    expected = predictor(graph)
    graph.ndata["h"], graph.edata["e"] = graph.ndata.pop("atom"), graph.edata.pop("bond_path")
    assert torch.equal(predictor(graph), expected)
    assert {"h", "e"} <= {*graph.ndata, *graph.edata}
    assert torch.equal(predictor(graph, graph.ndata.pop("h"), graph.edata.pop("e")), expected)
    with pytest.raises(mb.SchemaError, match=r"ndata\['atom'\] is missing"):
        predictor(graph)


def test_features_that_do_not_fit_are_refused(predictor, graph) -> None:
    with pytest.raises(mb.SchemaError, match="`feat` has 3 rows, expected 10\n  fix:   one row per node"):
        predictor(graph, graph.ndata["atom"][:3])
    with pytest.raises(mb.SchemaError, match=r"`edge_feats` has 2 rows, expected 30\n  fix:   one row per edge"):
        predictor(graph, None, graph.edata["bond_path"][:2])
    with pytest.raises(mb.SchemaError, match=r"got torch.float32 of shape \(10, 9\)(.|\n)*integers graph.ndata"):
        predictor(graph, graph.ndata["atom"].float())
    with pytest.raises(mb.SchemaError, match="`edge_feats` belong to the edges of a DGLGraph"):
        predictor(mb.RelationBatch.from_graph(graph), None, graph.edata["bond_path"])


def test_gnn_explainer_takes_the_predictor(predictor) -> None:
    graph = featurized(["CC(=O)N"]).to_graph()
    feat = predictor.encoder.atom_embedding(graph.ndata["atom"]).detach()
    feat_mask, edge_mask = GNNExplainer(predictor, num_hops=1, num_epochs=5, log=False).explain_graph(graph, feat)
    assert feat_mask.shape == (feat.shape[1],)
    assert edge_mask.shape == (16,)
    assert torch.isfinite(edge_mask).all()
    assert edge_mask.std() > 0


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.4.0", reason="DGL's SubgraphX wants an older NumPy")
def test_subgraphx_takes_the_predictor(predictor) -> None:
    graph = featurized(["CC(=O)N"]).to_graph()
    feat = predictor.encoder.atom_embedding(graph.ndata["atom"]).detach()
    near = mb.cut_off(graph, spd=1)  # SubgraphX prunes by neighbours: on all pairs every atom is one
    explainer = SubgraphX(predictor, num_hops=1, num_rollouts=2, shapley_steps=2, log=False)
    nodes = explainer.explain_graph(near, feat, target_class=0)
    assert 1 <= len(nodes) <= 4


@pytest.mark.parametrize("several", [list, tuple])
def test_graphs_that_are_not_batched_are_refused_by_name(predictor, graph, several) -> None:
    with pytest.raises(mb.SchemaError, match=rf"got {several.__name__}[\s\S]*dgl\.batch"):
        predictor(several([graph, graph]))
