"""`pretrain`: from files or a data set to a model; resuming; what goes wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest
from commands import QUICK, run, succeed
from safetensors.numpy import load_file

import dgl_moleblend as mb
from dgl_moleblend.report.results import read_curves
from dgl_moleblend.train import pretrain


def test_files_become_a_model(pretrained):
    model = mb.BlendPretraining.from_pretrained(pretrained)
    assert model.encoder.config == mb.EncoderConfig.tiny()
    assert (pretrained / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((pretrained / "config.json").read_text())["extra"]["featurizer"]["positions"] == "embed"


def test_a_data_set_and_files_give_the_same_bits(table, pretrained, tmp_path):
    succeed("featurize", table, "--positions", "embed", "--workers", 0, "--quiet", "-o", tmp_path / "s")
    result = succeed("pretrain", tmp_path / "s", *QUICK, "-o", tmp_path / "p")
    assert result.stdout == "", "results are in files; messages go to stderr"
    assert "30 molecules, 30 of them with 3D positions" in result.stderr
    first, again = load_file(pretrained / "model.safetensors"), load_file(tmp_path / "p" / "model.safetensors")
    for name in first:
        np.testing.assert_array_equal(first[name], again[name], err_msg=name)


def test_several_data_sets_are_learned_from_together(table, tmp_path):
    for name, positions in (("flat", "none"), ("solid", "embed")):
        succeed("featurize", table, "--positions", positions, "--workers", 0, "--quiet", "-o", tmp_path / name)
    result = succeed("pretrain", tmp_path / "flat", tmp_path / "solid", *QUICK, "-o", tmp_path / "p")
    assert "60 molecules, 30 of them with 3D positions" in result.stderr
    assert json.loads((tmp_path / "p" / "config.json").read_text())["extra"]["featurizer"]["positions"] == "embed"

    mixed = run("pretrain", tmp_path / "flat", table, *QUICK, "-o", tmp_path / "q")
    assert mixed.exit_code == 2
    assert "give data sets or files" in mixed.stderr
    labelled = run("finetune", tmp_path / "flat", tmp_path / "solid", "-o", tmp_path / "q")
    assert labelled.exit_code == 2
    assert "only `pretrain`, which needs no labels, takes several data sets" in labelled.stderr


def test_settings_reach_the_run(table, tmp_path):
    options = ["--ratio", 0.5, 0.5, 0, "--atom-ratio", 1, 0, "--noise", 0.1, "--objective-3d", "direction",
               "--score", "hidden", "--learning-rate", 0.01, "--warmup", 0, "--clip-norm", 0, "--steps", 2,
               "--validation", 0, "--seed", 5, "--weight-decay", 0.1, "--precision", "bf16-mixed"]  # fmt: skip
    succeed("pretrain", table, *QUICK, *options, "-o", tmp_path / "p")
    settings = json.loads((tmp_path / "p" / "run.json").read_text())["settings"]
    assert (
        settings["objective"].items()
        >= (
            mb.BlendConfig(
                ratio=(0.5, 0.5, 0.0), atom_ratio=(1.0, 0.0), noise_scale=0.1, objective_3d="direction", score="hidden"
            ).to_dict()
            | {"ratio": [0.5, 0.5, 0.0], "atom_ratio": [1.0, 0.0]}
        ).items()
    )
    assert mb.TrainingConfig.from_dict(settings["training"]) == mb.TrainingConfig(
        max_epochs=2, max_steps=2, batch_size=8, learning_rate=0.01, weight_decay=0.1, warmup=0.0, clip_norm=0.0,
        seed=5,
    )  # fmt: skip
    assert settings["objective"]["validation"] == 0
    assert settings["compute"] == {"devices": 1, "precision": "bf16-mixed"}


def test_a_run_is_neither_written_over_nor_resumed_when_finished(table, pretrained):
    again = run("pretrain", table, "--positions", "embed", *QUICK, "-o", pretrained)
    assert again.exit_code == 2
    assert "the folder already holds a finished run" in again.stderr
    resumed = run("pretrain", table, "--positions", "embed", *QUICK, "-o", pretrained, "--resume")
    assert resumed.exit_code == 2
    assert "there is nothing to resume" in resumed.stderr


def test_starting_from_another_model(table, pretrained, tmp_path):
    quick = [option for option in QUICK if option not in ("--size", "tiny")]
    succeed("pretrain", table, *quick, "--encoder", pretrained, "-o", tmp_path / "p")
    assert mb.MoleBlendEncoder.from_pretrained(tmp_path / "p").config == mb.EncoderConfig.tiny()
    result = run("pretrain", table, *QUICK, "--encoder", pretrained, "-o", tmp_path / "q")
    assert result.exit_code == 2
    assert "leave out --size: --encoder has a size of its own" in result.stderr


def test_ctrl_c_says_how_to_go_on(table, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, "pretrain", interrupted)
    result = run("pretrain", table, *QUICK, "-o", tmp_path / "p")
    assert result.exit_code == 130
    assert result.stderr.endswith("interrupted; the same command with --resume goes on\n")


@pytest.mark.parametrize("launcher", [[], ["-m", "torch.distributed.run", "--nproc-per-node", "2"]])
def test_two_processes_train_one_model_on_what_the_first_has_read(table, tmp_path, launcher):
    source = table if launcher else "-"  # standard input, which only one process can read
    command = [sys.executable, *launcher, "-m", "dgl_moleblend", "pretrain", source, "-o", tmp_path / "p", *QUICK]
    done = subprocess.run(
        [*map(str, command), "--devices", "2", "--accelerator", "cpu"], capture_output=True, text=True,
        input=None if launcher else table.read_text(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"model: {tmp_path / 'p'}") == 1
    assert done.stderr.count(" rows: ") == 1
    assert not list((tmp_path / "p").glob(".*"))
    assert all(np.isfinite(value).all() for value in load_file(tmp_path / "p" / "model.safetensors").values())
    steps = read_curves(tmp_path / "p")["step"].max() + 1
    assert steps == 2 * 2  # two epochs; 28 molecules in batches of 8, two at a time


def test_the_graph_token_learns_descriptors_and_labels_of_another_table(table, tmp_path):
    other = tmp_path / "measured.csv"
    other.write_text(
        "smiles,logS,active\nOCC,-1.5,1\nC(C)O,-1.7,1\nC1CC,3,0\nN#N,2,0\n"
    )  # CCO twice, one bad, one elsewhere
    options = ["--labels", other, "--tasks", "logS, active", "--descriptors", *QUICK]
    result = succeed("pretrain", table, *options, "-o", tmp_path / "p")
    assert "labels: logS, active; 2 of 4 rows are molecules to pretrain on, 1 cannot be read" in result.stderr
    columns = json.loads((tmp_path / "p" / "config.json").read_text())["config"]["molecule"]
    assert columns["names"][-2:] == ["logS", "active"]
    assert set(columns["groups"]) == {"descriptors", "labels"}
    curves = read_curves(tmp_path / "p")
    assert curves[["train/descriptors", "train/labels"]].dropna(how="all").notna().any().all()
    again = run("pretrain", table, *QUICK, "-o", tmp_path / "p", "--resume")
    assert again.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere.store"], "there is no such file"),
        (["{table}", "--ratio", "0.5", "0.5", "0.5"], "ratio=(0.5, 0.5, 0.5) is not allowed"),
        (["{table}", "--ratio", "1", "0"], "--ratio"),
        (["{table}", "--epochs", "0"], "--epochs"),
        (["{table}", "--learning-rate", "0"], "--learning-rate"),
        (["{table}", "--size", "huge"], "'huge' is not one of"),
        (["{table}", "--resume"], "there is no run to resume"),
        (["{table}", "--tasks", "size"], "give it with --labels FILE"),
        (["{table}", "--labels", "{table}", "--tasks", "sizes"], "did you mean 'size'?"),
        (["{table}", "--validation", "1"], "--validation"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(table, tmp_path, arguments, text):
    arguments = [a.format(table=table) for a in arguments]
    result = run("pretrain", *arguments, "-o", tmp_path / "p", "--workers", "0", "--quiet")
    assert result.exit_code == 2, result.output
    assert text in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "p").exists()


def test_shares_are_given_once_and_missing_ones_are_said(table, tmp_path, caplog):
    for number in (1, 2, 3, 4):
        succeed(
            "featurize",
            table,
            "--shard-size",
            11,
            "--shard",
            f"{number}/4",
            "-o",
            tmp_path / str(number),
            "--quiet",
            "--workers",
            0,
        )
    one, two, three, none = (tmp_path / str(number) for number in (1, 2, 3, 4))
    result = run("pretrain", one, one, three, *QUICK, "-o", tmp_path / "model")
    assert result.exit_code == 2
    assert f"share 1/4 of {table} is there twice\n  where: {one} and {one}" in result.stderr
    lacks = f"share 2/4 of {table} is missing"  # and not 4/4, which has no rows
    succeed("pretrain", one, three, *QUICK, "-o", tmp_path / "model")
    assert lacks in caplog.text
    caplog.clear()
    assert f"shares 2/4, 3/4 of {table} are missing" in succeed("pretrain", one, *QUICK, "-o", tmp_path / "m").stderr
    succeed("pretrain", one, two, three, none, *QUICK, "--overwrite", "-o", tmp_path / "m")
    for folder in (one, three):  # written before shares were known by number
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["arguments"]["share"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    succeed("pretrain", one, three, *QUICK, "--overwrite", "-o", tmp_path / "m")
    assert "missing" not in caplog.text
