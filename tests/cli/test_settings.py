"""Options from a file and from the environment, the file that each run leaves, and what a command says at its end."""

import os

import pandas as pd
import pytest
from commands import QUICK, SMILES, run, succeed

from dgl_moleblend.cli.finetune import _name_after


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame({"smiles": SMILES, "size": [len(s) / 2 for s in SMILES]})
    frame.to_csv(tmp_path / "assay.csv", index=False)
    return tmp_path / "assay.csv"


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_a_run_leaves_its_options_and_they_make_it_again(table, tmp_path):
    given = ("--head", "network", "--split", "random", "--learning-rate", "0.003", "--readout", "mean")
    succeed("finetune", table, *given, *QUICK, "-o", tmp_path / "m")
    text = (tmp_path / "m" / "run.toml").read_text()
    assert 'tasks = ["size"]' in text  # what was found, too
    assert "learning-rate = 0.003" in text
    assert "output" not in text
    succeed("finetune", table, "--config", tmp_path / "m" / "run.toml", "-o", tmp_path / "again", "--quiet")
    assert weights(tmp_path / "again") == weights(tmp_path / "m")
    other = ("--config", tmp_path / "m" / "run.toml", "--learning-rate", "0.001", "--quiet")  # goes before the file
    succeed("finetune", table, *other, "-o", tmp_path / "other")
    assert "learning-rate = 0.001" in (tmp_path / "other" / "run.toml").read_text()
    assert weights(tmp_path / "other") != weights(tmp_path / "m")


def test_pretraining_leaves_its_options_too(table, tmp_path):
    succeed("pretrain", table, *QUICK, "-o", tmp_path / "p")
    assert (tmp_path / "p" / "run.toml").read_text().splitlines()[2] == "[pretrain]"


def test_the_environment_goes_before_the_file_and_behind_the_line(table, tmp_path, monkeypatch):
    (tmp_path / "o.toml").write_text('[finetune]\nhead = "network"\nepochs = 2\nsize = "tiny"\nsplit = "random"\n')
    monkeypatch.setenv("DGL_MOLEBLEND_FINETUNE_EPOCHS", "1")
    command = ("finetune", table, "--config", tmp_path / "o.toml", "--quiet", "--workers", "0")
    succeed(*command, "-o", tmp_path / "a")
    succeed(*command, "-o", tmp_path / "b", "--epochs", "3")
    assert "epochs = 1\n" in (tmp_path / "a" / "run.toml").read_text()
    assert "epochs = 3\n" in (tmp_path / "b" / "run.toml").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[finetune]\nepoch = 3\n", "finetune has no option 'epoch'; did you mean 'epochs'?"),
        ("[finetun]\nepochs = 3\n", "'finetun' is no table of options; did you mean [finetune]?"),
        ("[pretrain]\nepochs = 3\n", "there are no options of finetune: the file has [pretrain]"),
        ("[finetune]\nepochs = [3]\n", "epochs = [3] is not allowed"),
        ("[finetune]\nfast = 3\n", "fast = 3 is not allowed"),
        ("[finetune]\nepochs = 0\n", "0 is not in the range"),
        ("epochs = \n", "this is not TOML"),
    ],
)
def test_a_wrong_file_is_said_in_words(table, tmp_path, text, words):
    (tmp_path / "o.toml").write_text(text)
    result = run("finetune", table, "--config", tmp_path / "o.toml", "-o", tmp_path / "m")
    assert result.exit_code == 2
    assert words in result.output
    assert not (tmp_path / "m").exists()


def test_a_file_alone_is_enough(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = succeed("finetune", "assay.csv", "--head", "trees", "--quiet", "--workers", "0")
    assert os.path.isfile("assay-model/report.html")
    assert "--tasks size: the one column that can be" in result.stderr
    assert "open assay-model/report.html" in result.stderr
    assert "new molecules: dgl-moleblend predict assay-model new.csv -o predictions.csv" in result.stderr
    assert "always predicting the mean of the training and validation rows has" in result.stderr  # how good it is
    again = run("finetune", "assay.csv", "--head", "trees", "--quiet", "--workers", "0")
    assert again.exit_code == 2
    assert "the folder already holds a finished run" in again.output


@pytest.mark.parametrize(
    ("file", "folder"),
    [("data/assay.csv", "assay-model"), ("a.b.csv.gz", "a-model"), ("x.store/", "x-model"), ("v1.2.csv", "v1.2-model")],
)
def test_a_model_is_named_after_its_file(file, folder):
    assert _name_after(file) == folder


def test_help_has_sections():
    text = succeed("finetune", "--help").output
    for title in ("Reading files:", "Training a network:", "Computing:", "Kinds of models:"):
        assert title in text


def test_what_was_asked_for_is_named(table):
    result = run("finetune", table, "--fast", "--size", "tiny", "-o", "m")
    assert "leave out --size: it is of --head network, not of --fast" in result.output
