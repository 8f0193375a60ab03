"""The benchmarks run, at their smallest: every contender is there, and those that should agree are compared.

Nothing here looks at how long anything takes.
"""

import gzip
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import at_size
import attention
import devices
import featurize
import inputs
import labels
import large_molecules
import loader
import measure
import numpy as np
import pandas as pd
import plain_features
import precision
import pretraining_step
import pytest
import several
import shifts
import torch
from graphormer import DglGraphormer
from rdkit import Chem
from rdkit.Chem import AllChem
from torch import Tensor

import dgl_moleblend as mb
from dgl_moleblend.readers.published import QM9_TARGETS

SHARED = Path(__file__).parents[2] / "shared" / "golden" / "bench_smiles.json"
COMMON = ["--short", "--rounds", "1", "--no-memory"]
RUNS = {
    "pretraining_step": ["--size", "tiny", "--batch", "4"],
    "attention": ["--atoms", "4", "9", "--precision", "32", "bf16"],
    "featurize": ["--molecules", "6"],
    "large_molecules": ["--residues", "1", "3"],
    "loader": ["--molecules", "12", "--batch", "5", "--workers", "0", "1"],
}
ATTENTION_NAMES = {"products", "sdpa", "message passing", "auto"}
CONTENDERS = {
    "pretraining_step": {("tiny", name) for name in pretraining_step.NAMES},
    "attention": {(p, n, name) for p in ("32", "bf16") for n in (4, 9) for name in ATTENTION_NAMES},
    "featurize": {(name,) for name in featurize.NAMES},
    "large_molecules": {(n, m, name) for n in (6, 16) for m in large_molecules.MODES for name in large_molecules.NAMES},
    "loader": {("plain", "0"), ("ours", "0"), ("plain", "1"), ("ours", "1"), ("ready", "0")},
}  # fmt: skip
KEYS = {
    "pretraining_step": ("size", "contender"),
    "attention": ("precision", "atoms", "contender"),
    "featurize": ("contender",),
    "large_molecules": ("atoms", "mode", "contender"),
    "loader": ("contender", "workers"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_benchmark_writes_all_contenders(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / f"{name}.json"
    importlib.import_module(name).main([*COMMON, *RUNS[name], "--json", str(path)])
    result = json.loads(path.read_text())
    rows = next(iter(result["sections"].values()))
    found = {
        tuple(row[key] for key in KEYS[name]) for row in rows if row["contender"] != "flex"
    }  # not on every machine
    assert found == CONTENDERS[name]
    assert all(row["fastest"] <= row["seconds"] <= row["slowest"] for row in rows)
    assert {"cpu", "threads", "torch", "dgl", "device"} <= result["machine"].keys()
    printed = capsys.readouterr().out
    assert all(title in printed for title in result["sections"])


def test_both_precisions_are_trained_alike_and_drawn(tmp_path: Path) -> None:
    path = tmp_path / "precision.json"
    result = precision.main(["--short", "--molecules", "12", "--epochs", "2", "--batch", "4", "--json", str(path)])
    by_epoch, validation = result["sections"].values()
    assert [(row["stage"], row["epoch"]) for row in by_epoch] == [
        (s, e) for s in ("train", "validation") for e in (1, 2)
    ]
    assert [row["loss"] for row in validation] == list(precision.LOSSES)
    for row in [*by_epoch, *validation]:
        assert row["bf16"] != row["float32"]
        assert row["bf16"] == pytest.approx(row["float32"], rel=0.02)
    assert json.loads(path.read_text()) == result
    assert path.with_suffix(".png").stat().st_size > 10_000


@pytest.fixture
def data_sets(tmp_path: Path) -> Path:
    """The two data sets in the form that `at_size` takes, of a few molecules; one of MOSES' is damaged."""
    for path in at_size.FILES.values():
        (tmp_path / path).parent.mkdir()
    (tmp_path / at_size.FILES["moses"]).write_bytes(gzip.compress(b"SMILES\nCCO\nC1CC\nc1ccccc1\nCCN\n"))
    mols = [Chem.AddHs(Chem.MolFromSmiles(smiles)) for smiles in ("C", "OC=O", "C#N", "C[NH3+]")]
    for mol in mols:
        AllChem.EmbedMolecule(mol, randomSeed=1)
        Chem.Kekulize(mol)
    atoms = [atom for mol in mols for atom in mol.GetAtoms()]
    bonds = [bond for mol in mols for bond in mol.GetBonds()]
    np.savez(
        tmp_path / at_size.FILES["qm9"],
        mol_id=np.array([1, 2, 5, 7]),
        n_atoms=np.array([mol.GetNumAtoms() for mol in mols], np.uint8),
        n_bonds=np.array([mol.GetNumBonds() for mol in mols], np.uint8),
        atomic_number=np.array([atom.GetAtomicNum() for atom in atoms], np.uint8),
        formal_charge=np.array([atom.GetFormalCharge() for atom in atoms], np.int8),
        position=np.concatenate([mol.GetConformer().GetPositions() for mol in mols]).astype(np.float32),
        bond=np.array([[b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondTypeAsDouble()] for b in bonds], np.uint8),
        properties=np.arange(48.0).reshape(4, 12),
        property_names=np.array(QM9_TARGETS),
    )
    return tmp_path


def test_whole_data_sets_are_counted(data_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    result = at_size.main(["--short", "--workers", "1", "--loader-workers", "0", "--data", str(data_sets)])
    featurized, loaded = result["sections"].values()
    assert [[row[key] for key in ("set", "rows", "kept", "rejected", "with_conformer")] for row in featurized] == [
        ["moses", 4, 3, 1, 0],
        ["qm9", 4, 4, 0, 4],
    ]
    assert [row["molecules"] for row in loaded] == [3, 4]
    for row in [*featurized, *loaded]:
        assert 50 < row["own_mb"] < row["peak_mb"]
        assert row["molecules_per_s"] > 0
    assert "moses: rejected {'parse': 1}" in capsys.readouterr().out


def test_a_row_that_is_not_accounted_for_ends_the_run(data_sets: Path, tmp_path: Path) -> None:
    path, store = data_sets / at_size.FILES["moses"], tmp_path / "store"
    data = at_size.moses(path, tmp_path, None)
    at_size.featurize("moses", data, store, 0, True)
    made = at_size.MoleculeStore(store)
    at_size.check(made, data)
    with pytest.raises(RuntimeError, match="of 5 rows 1 are lost and 0 doubled"):
        at_size.check(made, data._replace(rows=5))
    with pytest.raises(RuntimeError, match="a molecule is another row's"):
        at_size.check(made, data._replace(smiles=["CCO", "C1CC", "CCN", "c1ccccc1"]))
    made.manifest["counts"]["kept"] += 1
    with pytest.raises(RuntimeError, match="the manifest counts"):
        at_size.check(made, data)
    with pytest.raises(RuntimeError, match="exit code 2"):
        at_size.featurize("moses", data._replace(arguments=["nowhere.csv"]), store, 0, True)


def test_labels_that_are_bounds_beside_values_and_no_rows(tmp_path: Path) -> None:
    (tmp_path / "moleculenet").mkdir()
    rows = [f"{'C' * (k + 1)},{k / 2}" for k in range(30)]
    text = "\n".join(["mol,pIC50", *rows]) + "\n"
    (tmp_path / "moleculenet" / "bace.csv.gz").write_bytes(gzip.compress(text.encode()))
    shared = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "0"]
    labels.main(["bounds", *shared, "--kinds", "trees", "--shares", "1"])
    value, bound, dropped = json.loads((tmp_path / "out" / "bounds.json").read_text())["bounds"]
    assert value["bounds"] == 13, "those of 8.5 to 14.5"
    assert value["hidden"] > bound["hidden"] > dropped["hidden"], "what is known of long chains raises predictions"


def test_values_cut_in_three_are_classes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "moleculenet").mkdir()
    rows = ["smiles,exp", *(f"{'C' * (k + 1)},{k / 2}" for k in range(30))]
    (tmp_path / "moleculenet" / "Lipophilicity.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    shared = ["--data", str(tmp_path), "--out", str(tmp_path), "--seeds", "0"]
    labels.main(["classes", *shared, "--tables", "lipophilicity"])
    found = {row["model"]: row["roc_auc"] for row in json.loads((tmp_path / "classes.json").read_text())["classes"]}
    assert [*found] == ["mean", "forest", "trees", "kernel", "frozen", "the answer"]
    assert found["mean"] == 0.5 < found["the answer"]
    assert "| lipophilicity | the answer |" in capsys.readouterr().out


def test_memory_of_a_process_is_that_of_its_children_too() -> None:
    alone = at_size.memory(os.getpid())
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytes(1) * (1 << 28); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while min(at_size.memory(process.pid)) < 1 << 28:
            assert time.monotonic() < deadline
        assert min(at_size.memory(os.getpid())) > min(alone) + (1 << 27)
        process.communicate(b"\n")


def test_the_parts_of_a_step_are_all_of_it() -> None:
    molecules = inputs.bench_batch(2)
    parts = {}
    for name in pretraining_step.NAMES:
        step = pretraining_step.build(name, mb.EncoderConfig.tiny(), molecules, "cpu", "32")
        parts[name] = set(measure.breakdown(step, rounds=1))
    bare = parts.pop("transformer")
    assert bare == {"forward", "backward"}
    assert all(found == {"forward", "backward", "optimizer"} for found in parts.values())


def test_a_wrong_loss_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    config, molecules = mb.EncoderConfig.tiny(), inputs.bench_batch(2)
    pretraining_step.loss_difference(config, molecules)
    fresh = lambda config, objective_3d: mb.BlendPretraining.from_config(config, objective_3d=objective_3d)  # noqa: E731
    monkeypatch.setattr(pretraining_step, "our_model", fresh)
    with pytest.raises(RuntimeError, match="disagree"):
        pretraining_step.loss_difference(config, molecules)


def test_ours_starts_from_the_plain_form_with_either_objective() -> None:
    config = mb.EncoderConfig.tiny()
    plain = pretraining_step.plain_model(config).state_dict()
    for objective in ("direction", "distance"):
        ours = pretraining_step.our_model(config, objective)
        back = mb.reference.to_release(ours.encoder, ours.encoder.state_dict())
        name = "encoder.molecule_encoder.layers.0.fc1.weight"
        assert torch.equal(back[name], plain[name])


def test_wrong_attention_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        attention, "sdpa", lambda query, key, value, bias: attention.products(query, key, value, 2 * bias)
    )
    with pytest.raises(RuntimeError, match="disagree"):
        attention.difference("sdpa", 5, "cpu", "32")


def test_what_does_not_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        raise NotImplementedError("not on this device\nand more")

    monkeypatch.setattr(attention, "flex", broken)
    assert attention.runs("flex", 4, "cpu", "32") == "NotImplementedError: not on this device"
    assert attention.runs("sdpa", 4, "cpu", "32") is None


def test_wrong_features_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    smiles = inputs.bench_smiles(1)
    featurize.check(smiles)
    monkeypatch.setattr(plain_features, "HOPS", 4)
    with pytest.raises(RuntimeError, match="disagree"):
        featurize.check(smiles)


def test_a_wrong_cut_off_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    config, cut_off = mb.EncoderConfig.tiny(), mb.cut_off
    assert large_molecules.check(config) < 1e-10
    monkeypatch.setattr(mb, "cut_off", lambda graph, spd: cut_off(graph, spd=3))
    with pytest.raises(RuntimeError, match="disagree"):
        large_molecules.check(config)


def test_what_would_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(large_molecules, "available_bytes", lambda: 0.0)
    result = large_molecules.main([*COMMON, "--residues", "1", "--modes", "inference"])
    assert [row["contender"] for row in result["sections"]["One molecule"]] == ["cut-off"]
    assert "left out: dense inference with 6 atoms" in capsys.readouterr().out


def test_a_loader_that_loses_molecules_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loader.write_store(tmp_path, inputs.bench_arrays(5))
    loader.check(tmp_path, 2)
    full = loader.make_loader
    monkeypatch.setattr(loader, "make_loader", lambda *args, **settings: full(*args, **settings, drop_last=True))
    with pytest.raises(RuntimeError, match="other molecules"):
        loader.check(tmp_path, 2)


def test_every_weight_of_the_dgl_model_learns() -> None:
    batch = inputs.bench_batch(4).relations()
    model = DglGraphormer(mb.EncoderConfig.tiny())
    loss = model(batch, mb.draw_blend(batch), mb.draw_noise(batch))
    loss.backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert loss.isfinite()
    assert without == set()


def test_the_molecules_are_those_of_the_quoted_figures() -> None:
    smiles = inputs.bench_smiles(20)
    assert smiles[0] == "FC(F)(F)c1cc(ccc1)NC(=O)CSc2nc3c(c(c2)C)cccc3"
    assert len(set(smiles)) == 20
    if SHARED.exists():
        assert smiles == json.loads(SHARED.read_text())["smiles"][:20]


def test_padding_shares() -> None:
    molecules = inputs.bench_arrays(3)
    sizes = [molecule.num_atoms for molecule in molecules]
    share = inputs.padding_share(molecules)
    assert share["atoms"] == pytest.approx(1 - sum(sizes) / (3 * max(sizes)))
    assert share["pairs"] == pytest.approx(1 - sum(n * n for n in sizes) / (3 * max(sizes) ** 2))


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    timings = measure.alternate({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=2)
    assert "".join(calls) == "cab" + "abc" + "bca"
    assert [len(timing.seconds) for timing in timings.values()] == [2, 2, 2]
    assert measure.Timing([3.0, 1.0, 2.0]).row() == {"seconds": 2.0, "fastest": 1.0, "slowest": 3.0}


def test_memory_is_that_of_a_fresh_process() -> None:
    ballast = torch.ones(1 << 27)  # half a gigabyte here, none of it there
    atoms, logits_mb = 512, 32 * 512 * 512 * 4 / 1e6
    memory = measure.peak_memory(attention.build, "products", atoms, "cpu", "32")
    assert memory.peak - memory.before > 2 * logits_mb
    assert memory.before < measure._resident("VmRSS") / 1e6 - 4e-6 * len(ballast) / 2


def test_a_process_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="exit code 1"):
        measure.peak_memory(featurize.build, "no such way", [])


def test_tables() -> None:
    rows = [{"what": "plain", "s": 1.25, "pairs": 1000}, {"what": "ours", "s": None}]
    columns = {"what": "contender", "s": "s|.1f", "pairs": "pairs|,"}
    assert measure.table(rows, columns).splitlines() == [
        "| contender |   s | pairs |",
        "| --------- | --: | ----: |",
        "| plain     | 1.2 | 1,000 |",
        "| ours      |   - |     - |",
    ]


@pytest.fixture
def keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_short_run_leaves_the_results_alone(
    keep_threads: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    options = measure.parser("A benchmark", rounds=9)
    for argv, written in ((["--short", "--threads", "1"], False), ([], True)):
        args = measure.parse(options, argv)
        assert args.rounds == (9 if written else 3)
        measure.report("x", args, {}, {"Title": [{"a": 1}]}, {"Title": {"a": "a|d"}}, ["a note"])
        assert (tmp_path / "results" / "x.json").exists() == written
    assert json.loads((tmp_path / "results" / "x.json").read_text())["sections"] == {"Title": [{"a": 1}]}
    assert torch.get_num_threads() == 1


def test_shifts_lie_at_carbons_and_at_the_atoms_that_bear_hydrogens(tmp_path):
    mol = Chem.AddHs(Chem.MolFromSmiles("CO"))  # C O H H H H, the last at O
    mol.SetProp("_Name", "7")
    other = Chem.MolFromSmiles("C")
    other.SetProp("_Name", "without shifts")
    with gzip.open(tmp_path / "DFT.sdf.gz", "wt") as file, Chem.SDWriter(file) as writer:
        for one in (other, mol):
            writer.write(one)
    table = "mol_id,atom_type,atom_index,Shift\n7,6,0,50.5\n7,1,2,3.0\n7,1,3,3.2\n7,1,4,3.4\n7,1,5,1.1\n5509,6,0,1.0\n"
    with gzip.open(tmp_path / "DFT8K.csv.gz", "wt") as file:
        file.write(table)
    (row,) = shifts.read_shifts(tmp_path, 0).to_dict("records")
    nan = np.nan
    np.testing.assert_array_equal(row[shifts.CARBON], [50.5, nan, nan, nan, nan, nan])
    np.testing.assert_allclose(row[shifts.HYDROGEN], [3.2, 1.1, nan, nan, nan, nan])


def test_the_runbook_of_a_gpu_runs_on_any_machine(tmp_path):
    script = Path(measure.__file__).with_name("gpu.sh")
    how = {"DEVICE": "cpu", "SHORT": "1", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([script, tmp_path], env=os.environ | how, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads((tmp_path / "devices.json").read_text())["sections"]["Losses"]
    assert len(steps) == 3
    assert all(row["float32_off"] <= 1e-3 for row in steps)
    assert {path.stem for path in tmp_path.glob("*.json")} == {"devices", "step_32", "step_bf16", "attention", "loader"}
    assert (tmp_path / "two_processes" / "model.safetensors").is_file()


def test_losses_that_part_are_an_error(monkeypatch, tmp_path):
    found = iter([[1.0], [1.01], [1.0]])
    monkeypatch.setattr(devices, "losses", lambda *arguments, **more: next(found))
    with pytest.raises(RuntimeError, match=r"differ from the CPU's by 1.0e-02, more than 0.001"):
        devices.main(["--short", "--json", str(tmp_path / "out.json")])


def test_two_molecules_a_row_are_both_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "moleculenet"
    folder.mkdir()
    smiles = [f"{'C' * k}{end}" for k in range(1, 16) for end in ("O", "N", "Cl", "C(=O)O")]
    pd.DataFrame({"smiles": smiles, several.LABEL: [-float(len(text)) for text in smiles]}).to_csv(
        folder / several.FILE, index=False
    )
    out = tmp_path / "several.json"
    several.main(["--seeds", "0", "--rows", "100", "--fast", "--data", str(tmp_path), "--out", str(out)])
    rows = json.loads(out.read_text())["several"]
    error = {(row["reads"], row["model"]): row["rmse"] for row in rows}
    assert error["both", "answer"] < error["first alone", "answer"] / 2
    assert "| answer |" in capsys.readouterr().out
