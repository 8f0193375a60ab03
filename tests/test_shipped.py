"""Weights that ship: found by name, whole, described, and in what is built."""

import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import dgl_moleblend as mb
from dgl_moleblend import folder as model_folder
from dgl_moleblend.cli import main
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.models.predictor import readout_of
from dgl_moleblend.predict.ensemble import featurizer_of
from dgl_moleblend.shipped import WEIGHTS, locate, names

ROOT = Path(__file__).parents[1]
NAMES = ("mini", "small")


def test_what_ships_is_listed_with_size_licence_and_card():
    assert names() == NAMES
    for one in mb.pretrained():
        encoder = mb.MoleBlendEncoder.from_pretrained(one.name)
        assert one.num_weights == sum(value.numel() for value in encoder.state_dict().values())
        assert one.feat_size == encoder.config.feat_size
        assert one.licence == "Apache-2.0"
        for words in (
            "## Data",
            "## Training",
            "## Licence",
            "pretraining_runs.py",
            "Scores: see benchmarks/README.md",
        ):
            assert words in one.card
        assert len(repr(one)) < 100
    assert sum(one.megabytes for one in mb.pretrained()) < 30


def test_the_list_needs_no_torch():
    code = "import sys, dgl_moleblend as mb; mb.pretrained(); assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_half_on_disk_and_finite_in_memory(name):
    stored = load_file(WEIGHTS / name / model_folder.WEIGHTS_FILE)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    encoder = mb.MoleBlendEncoder.from_pretrained(name).eval()
    assert {value.dtype for value in encoder.state_dict().values()} == {torch.float32}
    assert all(value.isfinite().all() for value in encoder.state_dict().values())
    graph = mb.MoleculeFeaturizer()("CC(=O)Oc1ccccc1C(=O)O")
    with torch.no_grad():
        out = encoder(graph)
    assert out.token.isfinite().all()
    assert out.atoms.isfinite().all()
    assert 0.1 < out.token.std() < 10


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_where_a_folder_is_taken(name):
    saved = model_folder.read(name)
    assert (saved.folder, saved.kind) == (WEIGHTS / name, "encoder")
    assert readout_of(saved) == "token"
    assert featurizer_of(name) == mb.FeaturizerConfig(positions="none")
    predictor = mb.MoleBlendPredictor.from_pretrained(name, n_tasks=3)
    assert (predictor.n_tasks, predictor.readout) == (3, "token")
    assert mb.MoleBlendPredictor.from_pretrained(Path(name), n_tasks=1, readout="mean").readout == "mean"


def test_a_folder_of_that_name_is_taken_first_and_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()).save_pretrained("mini")
    with pytest.warns(UserWarning, match="the folder 'mini' here is taken, not the weights of that name"):
        encoder = mb.MoleBlendEncoder.from_pretrained("mini")
    assert encoder.config == mb.EncoderConfig.tiny()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert locate("small") == WEIGHTS / "small"


def test_an_unknown_name_lists_those_that_ship():
    with pytest.raises(CheckpointError, match=r"no model folder 'maxi'[\s\S]*weights that ship, by name: mini, small"):
        mb.MoleBlendEncoder.from_pretrained("maxi")
    with pytest.raises(CheckpointError, match=r"kind 'encoder'[\s\S]*pass n_tasks="):
        mb.MoleBlendPredictor.from_pretrained("mini")


def test_commands_take_names(tmp_path):
    table = tmp_path / "alcohols.csv"
    table.write_text("smiles,size\n" + "".join(f"{'C' * k}O,{k}\n" for k in range(1, 25)))
    run = CliRunner()
    found = run.invoke(main, ["embed", "mini", str(table), "-o", str(tmp_path / "e.npz"), "--workers", "0"])
    assert found.exit_code == 0, found.output
    vectors = np.load(tmp_path / "e.npz")["embedding"]
    np.testing.assert_allclose(vectors, mb.embed(table, "mini"), rtol=1e-5, atol=1e-5)
    options = ["--epochs", "1", "--split", "random", "--quiet", "--workers", "0", "-o", str(tmp_path / "model")]
    found = run.invoke(main, ["finetune", str(table), "--tasks", "size", "--encoder", "mini", *options])
    assert found.exit_code == 0, found.output
    model = mb.load(tmp_path / "model")
    assert model.task_names == ("size",)
    assert readout_of(model_folder.read(tmp_path / "model")) == "token"


def test_weights_are_not_ignored():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    files = [str(path) for path in WEIGHTS.rglob("*") if path.is_file()]
    assert len(files) == 3 * len(NAMES)
    found = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")


def test_weights_are_in_the_wheel(tmp_path):
    pytest.importorskip("hatchling")  # which pip fetches for itself when it builds
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name in NAMES:
        for file in (model_folder.CONFIG_FILE, model_folder.WEIGHTS_FILE, "CARD.md"):
            assert f"dgl_moleblend/weights/{name}/{file}" in inside


def test_a_file_is_no_model_folder(tmp_path):
    (tmp_path / "m.csv").write_text("smiles\nC\n")
    with pytest.raises(CheckpointError, match="is a file, and a model is a folder"):
        mb.load(tmp_path / "m.csv")
