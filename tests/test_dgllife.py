"""dgllife's conventions: its graph constructors with our featurizers, and its scripts with two lines changed.

The scripts are not in dgllife's wheel: `script` keeps the lines that touch featurizer and model as they stand there.
"""

import json

import dgl
import pandas as pd
import pytest
import torch
from dgllife.data import MoleculeCSVDataset, UnlabeledSMILES
from dgllife.utils import (
    EarlyStopping,
    Meter,
    MolToBigraph,
    RandomSplitter,
    SMILESToBigraph,
    mol_to_bigraph,
    mol_to_complete_graph,
    smiles_to_bigraph,
)
from molecules import AWKWARD_SMILES, molecule_with_positions
from rdkit import Chem
from torch import Generator
from torch.optim import Adam
from torch.utils.data import DataLoader

import dgl_moleblend as mb
from dgl_moleblend.dgllife import (
    HYPERPARAMETERS,
    MoleBlendAtomFeaturizer,
    MoleBlendBondFeaturizer,
    MoleBlendPairFeaturizer,
    get_configure,
    init_featurizer,
    init_hyper_space,
    load_model,
)

TINY = {"model": "MoleBLEND", "num_layers": 2, "feat_size": 16, "num_heads": 4, "num_kernels": 8, "batch_size": 8}
SMILES = ["CCO", "CC(=O)N", "c1ccccc1O", "CCN", "CCCC", "C=CC", "CC#N", "OCCO", "CCCl", "CC(C)O", "C1CC1", "CCS"]


@pytest.fixture
def predictor() -> mb.MoleBlendPredictor:
    torch.manual_seed(0)
    model = load_model(TINY | {"n_tasks": 2})
    for value in model.encoder.parameters():
        value.data += 0.1 * torch.randn_like(value)
    return model.eval()


@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize("self_loop", [False, True])
def test_graphs_of_bonds_are_predicted_as_graphs_of_pairs(predictor, self_loop: bool) -> None:
    to_graph = SMILESToBigraph(
        add_self_loop=self_loop,
        node_featurizer=MoleBlendAtomFeaturizer(),
        edge_featurizer=MoleBlendBondFeaturizer(self_loop=self_loop),
    )
    smiles = [text for text in AWKWARD_SMILES if text != "C" or self_loop]  # dgllife makes no edges of one atom
    bg = dgl.batch([to_graph(text) for text in smiles])
    expected = predictor(dgl.batch([mb.MoleculeFeaturizer()(text) for text in smiles]))
    assert torch.allclose(predictor(bg), expected, atol=1e-5)
    feat = predictor.encoder.atom_embedding(bg.ndata["h"])
    assert torch.allclose(predictor(bg, feat), expected, atol=1e-5)
    assert torch.allclose(predictor(bg, bg.ndata.pop("h"), bg.edata.pop("e")), expected, atol=1e-5)


@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize("smiles", AWKWARD_SMILES)
@pytest.mark.parametrize("self_loop", [False, True])
def test_complete_graphs_of_dgllife(predictor, smiles: str, self_loop: bool) -> None:
    if smiles == "C" and not self_loop:
        return  # a graph without edges
    mol = molecule_with_positions(smiles, Generator().manual_seed(0))
    for positions, molecule in (("none", smiles), ("given", mol)):
        atoms, pairs = MoleBlendAtomFeaturizer("h", positions), MoleBlendPairFeaturizer("e", self_loop, positions)
        graph = mol_to_complete_graph(mol, self_loop, atoms, pairs, canonical_atom_order=False)
        expected = mb.MoleculeFeaturizer(positions=positions)(molecule)
        if not self_loop:
            expected = dgl.remove_self_loop(expected)
        assert torch.allclose(predictor(graph), predictor(expected), atol=1e-5)
    assert (atoms.feat_size(), pairs.feat_size("e")) == (9, 5)


def test_chirality_is_told_as_the_featurizer_does() -> None:
    mol = Chem.MolFromSmiles("N[C@@H](C)C(=O)O")
    told = {
        chirality: mol_to_bigraph(
            mol, node_featurizer=MoleBlendAtomFeaturizer(chirality=chirality), canonical_atom_order=False
        ).ndata["h"]
        for chirality in ("cip", "tag")
    }
    for chirality, ids in told.items():
        assert torch.equal(ids, mb.MoleculeFeaturizer(chirality=chirality)(mol).ndata["atom"])
    with pytest.raises(mb.ConfigError, match="chirality='R' is not allowed"):
        MoleBlendAtomFeaturizer(chirality="R")


@pytest.mark.usefixtures("layout")
def test_positions_of_a_graph_of_bonds_are_used(predictor) -> None:
    mol = molecule_with_positions("CC(=O)N", Generator().manual_seed(0))
    atoms = MoleBlendAtomFeaturizer(positions="given")
    graph = mol_to_bigraph(mol, node_featurizer=atoms, edge_featurizer=MoleBlendBondFeaturizer())
    expected = predictor(mb.MoleculeFeaturizer(positions="given")(mol))
    assert torch.allclose(predictor(graph), expected, atol=1e-5)
    del graph.ndata["positions"]
    assert not torch.allclose(predictor(graph), expected, atol=1e-3)
    with pytest.raises(mb.MoleculeError, match="the molecule has no positions"):
        atoms(Chem.MolFromSmiles("CCO"))


def test_sizes_and_names_of_fields() -> None:
    assert (MoleBlendAtomFeaturizer().feat_size("h"), MoleBlendBondFeaturizer("bond").feat_size("bond")) == (9, 1)
    with pytest.raises(mb.ConfigError, match=r"feat_name='x' is not allowed(.|\n)*'h' or None"):
        MoleBlendAtomFeaturizer().feat_size("x")
    with pytest.raises(mb.ConfigError, match="positions='embed' is not allowed"):
        MoleBlendAtomFeaturizer(positions="embed")
    graph = mb.MoleculeFeaturizer(atom_data_field="h", bond_data_field="e")("CCO")
    assert graph is not None
    assert (sorted(graph.ndata), sorted(graph.edata)) == (["degree", "h", "positions"], ["distance", "e", "spd"])
    [same] = mb.MoleculeFeaturizer(atom_data_field="h", bond_data_field="e").many(["CCO"])
    assert torch.equal(same.edata["e"], graph.edata["e"])


def test_graphs_of_bonds_that_lack_something_are_refused(predictor) -> None:
    atoms, bonds = MoleBlendAtomFeaturizer(), MoleBlendBondFeaturizer()
    with pytest.raises(mb.SchemaError, match=r"integer ids of its atoms, .* got nothing\n.*MoleBlendAtomFeaturizer"):
        predictor(smiles_to_bigraph("CCO", edge_featurizer=bonds))
    with pytest.raises(mb.SchemaError, match=r"edata\['spd'\] is missing(.|\n)*MoleBlendBondFeaturizer"):
        predictor(smiles_to_bigraph("CCO", node_featurizer=atoms))
    graph = smiles_to_bigraph("CCO", node_featurizer=atoms, edge_featurizer=bonds)
    with pytest.raises(mb.SchemaError, match="1 edges go from a lower to a higher atom, 2 the other way"):
        predictor(dgl.remove_edges(graph, [0]))
    graph.edata["e"][0] = 99
    with pytest.raises(mb.SchemaError, match=r"bond id from 0 to 59(.|\n)*MoleBlendBondFeaturizer"):
        predictor(graph)


def predict(args, model, bg):
    """As in dgllife's `utils.py`, csv_data_configuration and moleculenet."""
    bg = bg.to(args["device"])
    if args["edge_featurizer"] is None:
        node_feats = bg.ndata.pop("h").to(args["device"])
        return model(bg, node_feats)
    node_feats = bg.ndata.pop("h").to(args["device"])
    edge_feats = bg.edata.pop("e").to(args["device"])
    return model(bg, node_feats, edge_feats)


def collate(data):
    smiles, graphs, labels, masks = map(list, zip(*data, strict=True))
    bg = dgl.batch(graphs)
    bg.set_n_initializer(dgl.init.zero_initializer)
    bg.set_e_initializer(dgl.init.zero_initializer)
    return smiles, bg, torch.stack(labels), torch.stack(masks)


def script(args, exp_config, dataset):
    """What dgllife's `regression_train.py` does between its imports and its files."""
    exp_config.update({"model": args["model"], "n_tasks": dataset.n_tasks})
    exp_config["in_node_feats"] = args["node_featurizer"].feat_size()
    exp_config["in_edge_feats"] = args["edge_featurizer"].feat_size()
    train_set, val_set, _ = RandomSplitter.train_val_test_split(dataset, 0.6, 0.4, 0.0, random_state=0)
    loader = DataLoader(train_set, batch_size=exp_config["batch_size"], shuffle=True, collate_fn=collate)
    model = load_model(exp_config).to(args["device"])
    optimizer = Adam(model.parameters(), lr=exp_config["lr"], weight_decay=exp_config["weight_decay"])
    stopper = EarlyStopping(exp_config["patience"], filename=f"{args['result_path']}/model.pth", metric="rmse")
    for _ in range(2):
        model.train()
        for _, bg, labels, masks in loader:
            loss = (torch.nn.SmoothL1Loss(reduction="none")(predict(args, model, bg), labels) * (masks != 0)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        meter = Meter()
        with torch.no_grad():
            for _, bg, labels, masks in DataLoader(val_set, batch_size=8, collate_fn=collate):
                meter.update(predict(args, model.eval(), bg), labels, masks)
        stopper.step(meter.compute_metric("rmse", "mean"), model)
    with open(f"{args['result_path']}/configure.json", "w") as file:
        json.dump(exp_config, file, indent=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_script_of_dgllife_trains_and_infers(tmp_path, workers: int) -> None:
    args = init_featurizer({"model": "MoleBLEND", "device": torch.device("cpu"), "result_path": str(tmp_path)})
    frame = pd.DataFrame({"smiles": SMILES, "y": range(len(SMILES))})
    to_graph = SMILESToBigraph(True, args["node_featurizer"], args["edge_featurizer"])
    dataset = MoleculeCSVDataset(frame, to_graph, smiles_column="smiles", n_jobs=workers,
                                 cache_file_path=str(tmp_path / "graph.bin"), log_every=1000)  # fmt: skip
    script(args, get_configure("MoleBLEND") | TINY, dataset)

    loaded = json.loads((tmp_path / "configure.json").read_text())
    assert (loaded["in_node_feats"], loaded["in_edge_feats"]) == (9, 1)
    model = load_model(loaded).eval()
    model.load_state_dict(torch.load(tmp_path / "model.pth", map_location="cpu")["model_state_dict"])
    unlabeled = UnlabeledSMILES(SMILES[:3], mol_to_graph=MolToBigraph(True, *map(args.get, FEATURIZERS)))
    bg = dgl.batch([graph for _, graph in unlabeled])
    pairs = dgl.batch([mb.MoleculeFeaturizer()(text) for text in SMILES[:3]])
    assert torch.allclose(predict(args, model, bg), model(pairs), atol=1e-5)


FEATURIZERS = ("node_featurizer", "edge_featurizer")


def test_add_self_loop_in_a_script_is_refused_by_name(tmp_path, predictor) -> None:
    """A habit of dgllife's users: self-loops on graphs that have all pairs already."""
    to_graph = mb.MoleculeFeaturizer(atom_data_field="h", bond_data_field="e")
    frame = pd.DataFrame({"smiles": SMILES[:4], "y": range(4)})
    dataset = MoleculeCSVDataset(frame, lambda s, **_: dgl.add_self_loop(to_graph(s)), smiles_column="smiles",
                                 cache_file_path=str(tmp_path / "graph.bin"), load=False)  # fmt: skip
    _, bg, _, _ = collate([dataset[k] for k in range(4)])
    with pytest.raises(mb.SchemaError, match=r"fix:   leave out dgl.add_self_loop \(or AddSelfLoop\)"):
        predict({"device": "cpu", "edge_featurizer": "any"}, predictor, bg)


def test_hyperparameters_come_from_a_file_of_the_user(tmp_path) -> None:
    assert get_configure("MoleBLEND", "canonical", "ESOL") == HYPERPARAMETERS
    (tmp_path / "MoleBLEND.json").write_text('{"num_layers": 2}')
    assert get_configure("MoleBLEND", folder=str(tmp_path)) == HYPERPARAMETERS | {"num_layers": 2}
    space = init_hyper_space("MoleBLEND")
    assert set(space) <= set(HYPERPARAMETERS)
    sample = __import__("hyperopt").pyll.stochastic.sample(space)
    assert load_model(sample | {"n_tasks": 3}).n_tasks == 3


def test_a_saved_encoder_is_taken(tmp_path) -> None:
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    encoder.save_pretrained(tmp_path)
    model = load_model({"encoder": str(tmp_path), "n_tasks": 2, "readout": "token", "feat_size": 999})
    assert torch.equal(model.encoder.token, encoder.token)
    assert model.readout == "token"


@pytest.mark.parametrize("function", [get_configure, init_hyper_space, lambda m: load_model({"model": m}),
                                      lambda m: init_featurizer({"model": m})])  # fmt: skip
def test_another_model_is_refused(function) -> None:
    with pytest.raises(
        mb.ConfigError, match=r"model='GCN' is not allowed(.|\n)*'MoleBLEND'; another model's functions"
    ):
        function("GCN")
