"""Every script of examples/ on small real input; a script of dgllife's kind with our featurizer and model."""

import argparse
import ast
import importlib
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import dgl
import numpy as np
import pandas as pd
import pytest
import torch
from dgl.dataloading import GraphDataLoader
from dgllife.data import MoleculeCSVDataset
from dgllife.model import GCNPredictor, MPNNPredictor
from dgllife.utils import (
    CanonicalAtomFeaturizer,
    CanonicalBondFeaturizer,
    EarlyStopping,
    Meter,
    RandomSplitter,
    smiles_to_bigraph,
)
from molecules import lively
from rdkit import Chem, RDConfig
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader

import dgl_moleblend as mb
from dgl_moleblend.predict.ensemble import featurizer_of, predict
from dgl_moleblend.readers.published import HARTREE, QM9_TARGETS

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = ("blending.py", "csv_classification.py", "csv_regression.py", "custom_gnn.py", "embeddings_sklearn.py",
           "pretrain_sdf.py", "qm9.py")  # fmt: skip
CMET_SDF = Path(RDConfig.RDContribDir, "FreeWilson", "data", "cmet_ligands.sdf")  # 24 ligands in 3D
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script with arguments, in this process; returns its names."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run_script(name: str, *arguments: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    return run_script


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a file of examples/."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def freesolv(module: Callable[[str], ModuleType], tmp_path: Path) -> Path:
    """A CSV file of 200 molecules of FreeSolv, the fifth row not readable."""
    table = module("sample_data").freesolv().sample(200, random_state=0, ignore_index=True)
    table.loc[4, "smiles"] = "C1CC"
    table.to_csv(tmp_path / "freesolv.csv", index=False)
    return tmp_path / "freesolv.csv"


def rmse(prediction: np.ndarray, label: np.ndarray) -> float:
    return float(np.sqrt(np.mean((prediction - label) ** 2)))


def test_sample_data(module: Callable[[str], ModuleType]) -> None:
    data = module("sample_data")
    freesolv, solubility = data.freesolv(), data.solubility()
    assert freesolv.shape == (642, 2)
    assert freesolv["expt"].min() == -25.47
    assert len(solubility) == 1282
    assert (solubility["very_soluble"].isna() == (solubility["soluble"] == 0)).all()
    assert solubility["very_soluble"].sum() == 246
    assert data.EGFR_SDF.exists()


def test_csv_regression(run: Run, freesolv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    run("csv_regression.py", "--csv", freesolv, "--tasks", "expt", "--split", "random", "--size", "tiny",
        "--epochs", 12, "--lr", 3e-3, "--out", out)  # fmt: skip
    printed = capsys.readouterr().out
    assert "199 molecules, 1 rejected" in printed
    assert pd.read_csv(out / "rejects.csv").values.tolist() == [[4, "C1CC"]]
    assert len(re.findall(r"^epoch \d+, validation rmse \d", printed, re.MULTILINE)) == 12
    assert printed.count("test rmse") == 1
    scores = json.loads((out / "eval.json").read_text())
    assert f"test rmse {scores['test']:.4f}" in printed

    # the folder predicts what the script scored, for the right rows
    table = pd.read_csv(freesolv)
    predicted = predict(out / "model", mb.MoleculeDataset.from_file(freesolv), progress=False)["expt_predicted"]
    assert predicted.isna().to_numpy().nonzero()[0].tolist() == [4]
    rows = np.delete(np.arange(200), 4)
    parts = RandomSplitter.train_val_test_split(rows, random_state=0)
    train, val, test = (rows[part.indices] for part in parts)
    assert rmse(predicted[val], table["expt"][val]) == pytest.approx(scores["validation"], abs=1e-3)
    assert rmse(predicted[test], table["expt"][test]) == pytest.approx(scores["test"], abs=1e-3)
    assert scores["test"] < 0.7 * rmse(table["expt"][train].mean(), table["expt"][test])


def test_csv_classification(
    run: Run, module: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = module("sample_data").solubility().sample(400, random_state=0, ignore_index=True)
    table.to_csv(tmp_path / "solubility.csv", index=False)
    out = tmp_path / "out"
    run("csv_classification.py", "--csv", tmp_path / "solubility.csv", "--split", "random", "--size", "tiny",
        "--epochs", 8, "--lr", 3e-3, "--split-ratio", 0.6, 0.2, 0.2, "--out", out)  # fmt: skip
    printed = capsys.readouterr().out
    assert "400 molecules, 0 rejected" in printed
    scores = json.loads((out / "eval.json").read_text())
    assert f"test roc_auc_score {scores['test']:.4f}" in printed
    assert scores["validation"] > 0.7
    assert scores["test"] > 0.7

    # probabilities of the saved folder rank the test molecules as the script did, missing labels left out
    predicted = predict(out / "model", mb.MoleculeDataset.from_file(tmp_path / "solubility.csv"), progress=False)
    test = RandomSplitter.train_val_test_split(table, 0.6, 0.2, 0.2, random_state=0)[2].indices
    by_task = []
    for name in ("soluble", "very_soluble"):
        label, value = table[name][test], predicted[f"{name}_predicted"][test]
        assert value.between(0, 1).all()
        by_task.append(roc_auc_score(label[label.notna()], value[label.notna()]))
    assert np.mean(by_task) == pytest.approx(scores["test"], abs=1e-6)


def test_csv_scripts_split_by_scaffold_and_stop_early(
    run: Run, freesolv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("csv_regression.py", "--csv", freesolv, "--size", "tiny", "--epochs", 9, "--patience", 1, "--lr", 1e-9,
        "--metric", "mae", "--tasks", "expt", "--out", tmp_path / "out")  # fmt: skip
    printed = capsys.readouterr().out
    assert "EarlyStopping counter: 1 out of 1" in printed
    assert printed.count("epoch ") < 9
    assert np.isfinite(json.loads((tmp_path / "out" / "eval.json").read_text())["test"])


def test_custom_gnn(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("custom_gnn.py", "--molecules", 300, "--epochs", 10)
    test, of_mean = map(float, re.search(r"test RMSE (\S+) kcal/mol, of the training mean (\S+)",
                                         capsys.readouterr().out).groups())  # fmt: skip
    assert test < 0.6 * of_mean


def test_custom_gnn_sees_bonds_pairs_and_nothing_of_its_neighbours_in_a_batch(
    module: Callable[[str], ModuleType],
) -> None:
    torch.manual_seed(0)
    model = module("custom_gnn").BondsThenPairs().eval()
    graphs = mb.MoleculeFeaturizer().many(["CC(=O)Oc1ccccc1C(=O)O", "C", "C1CCC=CC1"])
    alone = torch.cat([model(graph) for graph in graphs])
    together = model(dgl.batch(graphs))
    torch.testing.assert_close(together, alone)
    assert "feat" not in graphs[0].ndata
    together.sum().backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_pretrain_sdf_makes_what_csv_regression_starts_from(
    run: Run,
    module: Callable[[str], ModuleType],
    freesolv: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flat = Chem.MolFromSmiles("CCO")  # no structure: cannot be used
    sdf = tmp_path / "ligands.sdf"
    sdf.write_text(CMET_SDF.read_text() + Chem.MolToMolBlock(flat) + "$$$$\n")
    out = tmp_path / "pretrained"
    run(
        "pretrain_sdf.py", "--sdf", sdf, "--size", "tiny", "--epochs", 12, "--batch-size", 4, "--lr", 2e-3, "--out", out
    )
    printed = capsys.readouterr().out
    assert "24 molecules of " in printed
    assert len(re.findall("^rejected: ", printed, re.MULTILINE)) == 1
    losses = {name: (float(first), float(last)) for name, first, last in
              re.findall(r"^  (\w+) +(\d+\.\d+) +(\d+\.\d+)  ", printed, re.MULTILINE)}  # fmt: skip
    assert set(losses) == {"loss", "spd", "bond_path", "positions", "denoising"}
    for name in ("spd", "bond_path", "positions"):
        first, last = losses[name]
        assert last < 0.97 * first, name

    saved = mb.BlendPretraining.from_pretrained(out)
    args = argparse.Namespace(pretrained=out)
    model = module("csv_utils").load_model(args, n_tasks=1)
    for (name, ours), (_, theirs) in zip(
        model.encoder.state_dict().items(), saved.encoder.state_dict().items(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    run("csv_regression.py", "--csv", freesolv, "--tasks", "expt", "--pretrained", out, "--epochs", 1,
        "--out", tmp_path / "out")  # fmt: skip
    scores = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert np.isfinite([scores["validation"], scores["test"]]).all()


def test_blending(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("blending.py", "--steps", 200)
    printed = capsys.readouterr().out
    n = names["n"]
    counts = [int(count) for count in re.findall(r"shown for (\d+) pairs", printed)]
    assert counts == [int((names["blend"].pair == k).sum()) for k in range(3)]
    assert sum(counts) == n * n
    assert torch.equal(names["blended"], names["expected"])
    assert (names["biases"]["spd"] - names["biases"]["distance"]).abs().min() > 0
    assert f"spd_logits: (1, {n}, {n}, 11)" in printed
    assert f"bond_path_logits: (1, {n}, {n}, 5, 24)" in printed
    assert f"position_prediction: (1, {n}, {n})" in printed
    before, after = names["before"], names["after"]
    assert max(before["hidden spd found"], before["hidden bonds found"]) < 0.5
    assert min(after["hidden spd found"], after["hidden bonds found"]) > 0.9
    assert after["error of hidden distances, angstrom"] < 0.5 < before["error of hidden distances, angstrom"]


def test_embeddings_sklearn(run: Run, freesolv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("embeddings_sklearn.py", "--csv", freesolv, "--epochs", 2, "--out", tmp_path / "out")
    assert "199 molecules, 1 left out" in capsys.readouterr().out
    assert names["rmse"]["ridge regression"] < 0.85 * names["rmse"]["the mean"]
    table = pd.read_csv(freesolv).drop(index=4)
    with np.load(tmp_path / "out" / "embeddings.npz", allow_pickle=False) as saved:
        assert saved["smiles"].tolist() == table["smiles"].tolist()
        assert saved["target"].tolist() == table["expt"].tolist()
        assert saved["embedding"].shape == (199, 32)


def test_qm9(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real ligands written as gdb9.sdf and gdb9.sdf.csv, with labels that follow from their atoms."""
    mols = [mol for mol in Chem.SDMolSupplier(str(CMET_SDF), removeHs=False) if mol is not None]
    rows = []
    with Chem.SDWriter(str(tmp_path / "gdb9.sdf")) as writer:
        for k, mol in enumerate(mols):
            mol.SetProp("_Name", f"gdb_{k + 1}")
            writer.write(mol)
            rows.append({"mol_id": f"gdb_{k + 1}"} | {name: mol.GetNumAtoms() * (j + 1) / 100
                                                      for j, name in enumerate(QM9_TARGETS)})  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "gdb9.sdf.csv", index=False)
    out = tmp_path / "out"
    run("qm9.py", tmp_path, "--molecules", 20, "--size", "tiny", "--epochs", 1, "--out", out)
    printed = capsys.readouterr().out
    assert f"{len(mols)} molecules, 0 rejected" in printed
    assert "random split: 16 molecules train, 2 validate, 2 test" in printed
    lines = [line.split(maxsplit=3) for line in printed.splitlines() if line.split()[0] in QM9_TARGETS]
    assert [line[0] for line in lines] == [*QM9_TARGETS]
    assert {line[0]: line[3] for line in lines if line[0] in ("mu", "gap", "cv")} == {
        "mu": "debye", "gap": "meV", "cv": "cal/(mol K)"}  # fmt: skip

    # the table says what the saved predictions are off by, in the unit that it names
    predictions = pd.read_csv(out / "predictions.csv")
    test = predictions[predictions["split"] == "test"]
    original = table.set_index("mol_id").loc[test["id"]]
    np.testing.assert_allclose(test["gap"], original["gap"] * HARTREE * 1000, rtol=1e-5)
    for name, mae, constant, _ in lines:
        expected = (test[name] - test[f"{name}_predicted"]).abs().mean()
        assert float(mae.replace(",", "")) == pytest.approx(expected, rel=1e-5, abs=1e-3)
        assert float(constant.replace(",", "")) >= 0
    assert featurizer_of(out).positions == "given"


def test_qm9_says_where_the_data_are(
    module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = module("qm9")
    monkeypatch.setattr(script, "SAMPLE", tmp_path / "nothing")
    for arguments, expected in (([], "give the folder of gdb9.sdf"), ([str(tmp_path)], "none of these files is here")):
        with pytest.raises(SystemExit) as stopped:
            script.main(arguments)
        assert stopped.value.code == 2
        printed = capsys.readouterr().err
        assert expected in printed
        assert script.SOURCE in printed


def test_csv_regression_is_a_script_with_processes_of_its_own(freesolv: Path, tmp_path: Path) -> None:
    table = pd.read_csv(freesolv)[:60]
    table.to_csv(tmp_path / "few.csv", index=False)
    out = tmp_path / "out"
    command = [sys.executable, EXAMPLES / "csv_regression.py", "--csv", tmp_path / "few.csv", "--tasks", "expt",
               "--size", "tiny", "--epochs", 1, "--jobs", 2, "--workers", 1, "--out", out]  # fmt: skip
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "59 molecules, 1 rejected" in done.stdout
    assert np.isfinite(json.loads((out / "eval.json").read_text())["test"])
    graphs, labels = dgl.load_graphs(str(out / "graphs.bin"))
    assert labels["valid_ids"].tolist() == table.index.drop(4).tolist()
    for graph, expected in zip(graphs, mb.MoleculeFeaturizer().many(table["smiles"].drop(4)), strict=True):
        assert_same_graph(graph, expected)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_the_script_shows(script: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(script, "--help")
    assert stopped.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert ast.get_docstring(ast.parse((EXAMPLES / script).read_text())).splitlines()[0] in printed
    assert "--seed" in printed


def test_every_file_is_in_the_readme() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert path.name in readme, path.name


# A training script of dgllife's kind. What it calls is dgllife's, torch's or DGL's; what it is given by name in `args`
# is a featurizer or a model.


def collate_molgraphs(data: list[tuple]) -> tuple:
    smiles, graphs, labels, masks = map(list, zip(*data, strict=True))
    bg = dgl.batch(graphs)
    bg.set_n_initializer(dgl.init.zero_initializer)
    bg.set_e_initializer(dgl.init.zero_initializer)
    return smiles, bg, torch.stack(labels, dim=0), torch.stack(masks, dim=0)


def call_model(args: dict[str, Any], model: nn.Module, bg: dgl.DGLGraph) -> torch.Tensor:
    bg = bg.to(args["device"])
    node_feats = bg.ndata.pop(args["atom_data_field"]).to(args["device"])
    if args["bond_data_field"] is None:
        return model(bg, node_feats)
    edge_feats = bg.edata.pop(args["bond_data_field"]).to(args["device"])
    return model(bg, node_feats, edge_feats)


def run_a_train_epoch(args, model, data_loader, loss_criterion, optimizer):
    model.train()
    for smiles, bg, labels, masks in data_loader:
        assert len(smiles) == bg.batch_size
        prediction = call_model(args, model, bg)
        loss = (loss_criterion(prediction, labels) * (masks != 0).float()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def run_an_eval_epoch(args, model, data_loader):
    model.eval()
    eval_meter = Meter()
    with torch.no_grad():
        for _, bg, labels, masks in data_loader:
            eval_meter.update(call_model(args, model, bg), labels, masks)
    return np.mean(eval_meter.compute_metric("rmse"))


def train_as_dgllife_does(args: dict[str, Any], table: pd.DataFrame, folder: Path) -> tuple[float, float]:
    """Return the RMSE on test molecules of the model and of the training mean."""
    dataset = MoleculeCSVDataset(
        df=table,
        smiles_to_graph=args["smiles_to_graph"],
        node_featurizer=args["node_featurizer"],
        edge_featurizer=args["edge_featurizer"],
        smiles_column="smiles",
        cache_file_path=str(folder / "graph.bin"),
        task_names=["expt"],
    )
    assert len(dataset) == len(table) - 1
    train_set, val_set, test_set = RandomSplitter.train_val_test_split(dataset, random_state=0)
    torch.manual_seed(0)
    train_loader = DataLoader(train_set, batch_size=16, shuffle=True, collate_fn=collate_molgraphs)
    val_loader = DataLoader(val_set, batch_size=16, collate_fn=collate_molgraphs)
    test_loader = DataLoader(test_set, batch_size=16, collate_fn=collate_molgraphs)
    model = args["load_model"]().to(args["device"])
    loss_criterion = nn.SmoothL1Loss(reduction="none")
    optimizer = torch.optim.Adam(model.parameters(), lr=args["lr"])
    stopper = EarlyStopping(mode="lower", filename=str(folder / "model.pth"))
    for _ in range(args["num_epochs"]):
        run_a_train_epoch(args, model, train_loader, loss_criterion, optimizer)
        stopper.step(run_an_eval_epoch(args, model, val_loader), model)
    stopper.load_checkpoint(model)
    labels = dataset.labels
    of_mean = rmse(labels[train_set.indices].mean().item(), labels[test_set.indices].numpy())
    return run_an_eval_epoch(args, model, test_loader), of_mean


def gcn() -> nn.Module:
    return GCNPredictor(in_feats=CanonicalAtomFeaturizer().feat_size(), n_tasks=1)


def mpnn() -> nn.Module:
    atoms, bonds = CanonicalAtomFeaturizer().feat_size(), CanonicalBondFeaturizer().feat_size()
    return MPNNPredictor(node_in_feats=atoms, edge_in_feats=bonds, node_out_feats=16, edge_hidden_feats=16,
                         num_step_message_passing=2, num_step_set2set=2, num_layer_set2set=1)  # fmt: skip


def moleblend() -> nn.Module:
    return mb.MoleBlendPredictor(n_tasks=1, encoder=mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()))


COMMON = {"edge_featurizer": None, "bond_data_field": None, "device": torch.device("cpu"), "lr": 3e-3}
DGLLIFE = {**COMMON, "smiles_to_graph": smiles_to_bigraph, "node_featurizer": CanonicalAtomFeaturizer(),
           "atom_data_field": "h", "load_model": gcn}  # fmt: skip
OURS = {**COMMON, "smiles_to_graph": mb.MoleculeFeaturizer(on_error="none"), "node_featurizer": None,
        "atom_data_field": "atom", "load_model": moleblend}  # fmt: skip
CHOICES = {
    "GCN": {**DGLLIFE, "smiles_to_graph": partial(smiles_to_bigraph, add_self_loop=True)},
    "MPNN": {**DGLLIFE, "edge_featurizer": CanonicalBondFeaturizer(), "bond_data_field": "e", "load_model": mpnn},
    "MoleBLEND": OURS,
}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_dgllife_script_changes_but_featurizer_and_model(choice: str, freesolv: Path, tmp_path: Path) -> None:
    score, of_mean = train_as_dgllife_does({**CHOICES[choice], "num_epochs": 12}, pd.read_csv(freesolv), tmp_path)
    assert score < 0.8 * of_mean


def test_it_does_not_matter_which_features_a_dgllife_script_pops(freesolv: Path, tmp_path: Path) -> None:
    table = pd.read_csv(freesolv)[:60]
    calls = {
        "with atoms": OURS,
        "with atoms and bonds": {**OURS, "bond_data_field": "bond_path"},
        "with dgllife's names": {
            **OURS, "smiles_to_graph": mb.MoleculeFeaturizer(on_error="none", atom_data_field="h"),
            "atom_data_field": "h"},
    }  # fmt: skip
    scores = {}
    for name, args in calls.items():
        scores[name], _ = train_as_dgllife_does({**args, "num_epochs": 1}, table, tmp_path)
    assert len(set(scores.values())) == 1, scores
    theirs = {**OURS, "node_featurizer": CanonicalAtomFeaturizer(), "atom_data_field": "h", "num_epochs": 1}
    with pytest.raises(mb.SchemaError, match=r"`atom_feat` must be floating.* got torch.float32 of shape \(\d+, 74\)"):
        train_as_dgllife_does(theirs, table, tmp_path)


@pytest.mark.parametrize("field", ["atom", "bond_path"])
def test_features_that_were_popped_and_given_are_those_that_count(field: str) -> None:
    model = lively(moleblend())
    graphs = mb.MoleculeFeaturizer().many(["CC(=O)Oc1ccccc1C(=O)O", "CCCO", "[Na+].[Cl-]"])

    def call(change: int) -> torch.Tensor:
        bg = dgl.batch(graphs)
        node_feats, edge_feats = bg.ndata.pop("atom"), bg.edata.pop("bond_path")
        if field == "atom":
            prediction = model(bg, node_feats + change, edge_feats)
        else:
            prediction = model(bg, node_feats, torch.where(edge_feats >= 0, edge_feats + 12 * change, -1))
        assert "atom" not in bg.ndata
        assert "bond_path" not in bg.edata
        return prediction

    expected = model(dgl.batch(graphs))
    torch.testing.assert_close(call(0), expected)
    assert (call(1) - expected).abs()[:2].min() > 1e-5


def assert_same_graph(ours: dgl.DGLGraph, theirs: dgl.DGLGraph) -> None:
    assert all(torch.equal(a, b) for a, b in zip(ours.edges(), theirs.edges(), strict=True))
    assert torch.equal(ours.batch_num_nodes(), theirs.batch_num_nodes())
    for frame, other in ((ours.ndata, theirs.ndata), (ours.edata, theirs.edata)):
        assert set(frame) == set(other)
        for name in frame:
            assert torch.allclose(frame[name], other[name], equal_nan=True), name


def test_a_spawned_loader_sees_the_graphs_that_this_process_sees(tmp_path: Path) -> None:
    table = pd.DataFrame({"smiles": ["CCO", "C1CC", "c1ccccc1O", "CC(=O)[O-].[Na+]", "C"], "y": [1.0, 2, 3, 4, 5]})
    featurizer = mb.MoleculeFeaturizer(positions="embed", seed=1, on_error="none")
    dataset = MoleculeCSVDataset(
        table, featurizer, smiles_column="smiles", cache_file_path=str(tmp_path / "graphs.bin")
    )
    cached = MoleculeCSVDataset(
        table, featurizer, smiles_column="smiles", cache_file_path=str(tmp_path / "graphs.bin"), load=True
    )
    assert dataset.valid_ids == cached.valid_ids == [0, 2, 3, 4]
    spawned = GraphDataLoader(cached, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    for (smiles, graph, *labels), (smiles_here, graph_here, *labels_here) in zip(
        spawned, GraphDataLoader(dataset, batch_size=2), strict=True
    ):
        assert smiles == smiles_here
        assert_same_graph(graph, graph_here)
        assert all(torch.equal(a, b) for a, b in zip(labels, labels_here, strict=True))
