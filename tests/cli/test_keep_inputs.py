"""No command destroys what it reads: refused before anything is touched, by every name the input has."""

import shutil

import pytest
from commands import QUICK, run

from dgl_moleblend.errors import DataError
from dgl_moleblend.files import keep_inputs


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def workplace(tmp_path, table, model, monkeypatch):
    """A copy of a table and a model, in the working folder."""
    shutil.copy(table, tmp_path / "in.csv")
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "link.csv").symlink_to("in.csv")
    (tmp_path / "both").mkdir()
    shutil.copytree(model, tmp_path / "both" / "seed-0")
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    shutil.copy(table, tmp_path / "in.rejects.csv")
    shutil.copy(table, tmp_path / "in.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


QUICKLY = [option for option in QUICK if option not in ("--size", "tiny")]
COMMANDS = {
    "predict in place": ["predict", "model", "in.csv", "-o", "in.csv"],
    "predict by a longer name": ["predict", "model", "in.csv", "-o", "both/../in.csv"],
    "predict by a link": ["predict", "model", "link.csv", "-o", "in.csv"],
    "predict a glob": ["predict", "model", "i*.csv", "-o", "in.csv"],
    "predict over the model's own": ["predict", "model", "in.csv", "-o", "model/predictions.csv"],
    "embed in place": ["embed", "model", "in.parquet", "-o", "in.parquet"],
    "embed's picture": ["embed", "model", "in.png", "--input-format", "csv", "-o", "out.npz", "--picture", "in.png"],
    "featurize in place": ["featurize", "in.csv", "--format", "dgl", "--overwrite", "-o", "in.csv"],
    "featurize's rejects": ["featurize", "in.rejects.csv", "--format", "dgl", "--overwrite", "-o", "in.bin"],
    "convert in place": ["convert", "model/model.safetensors", "-o", "model"],
    "inspect's figure": ["inspect", "in.png", "--figure", "in.png"],
    "finetune over its start": ["finetune", "in.csv", "--tasks", "size", "--encoder", "model", "--overwrite", *QUICKLY,
                                "-o", "model"],
    "finetune around its start": ["finetune", "in.csv", "--tasks", "size", "--encoder", "both/seed-0", "--overwrite",
                                  *QUICKLY, "-o", "both"],
    "finetune over its table": ["finetune", "model/predictions.csv", "--tasks", "size", "--overwrite", *QUICK,
                                "-o", "model"],
    "pretrain over its start": ["pretrain", "in.csv", "--encoder", "model", "--overwrite", *QUICKLY, "-o", "model"],
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_is_refused_and_nothing_changes(workplace, name):
    before = content(workplace)
    result = run(*COMMANDS[name])
    assert result.exit_code == 2, (result.output, result.exception)
    assert "which the command reads" in result.stderr or "is what the command reads" in result.stderr
    assert "give the output another name" in result.stderr
    assert content(workplace) == before


def test_outputs_beside_inputs_are_fine(workplace):
    keep_inputs("model/mine.csv", ["model", "in.csv", "-", "nowhere.csv"])
    keep_inputs(".", ["in.csv", "model"])
    keep_inputs("model/finetuned", ["model"])
    (workplace / "out.csv").hardlink_to(workplace / "in.csv")
    with pytest.raises(DataError, match="is what the command reads"):
        keep_inputs("out.csv", ["in.csv"])
