"""Saving and loading any module: equal bits, no pickle, and a refusal that names what differs."""

import json
import os

import pytest
import torch
from torch import nn

from dgl_moleblend import folder as model_folder
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.files import make_folder

CONFIG = {"encoder": {"feat_size": 4, "num_heads": 2}, "n_tasks": 3, "ratio": (0.2, 0.8)}


class Model(nn.Module):
    def __init__(self, width=4, layers=1):
        super().__init__()
        self.encoder = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))
        self.head = nn.Linear(width, 3)
        self.register_buffer("count", torch.tensor(7))


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    return model_folder.save(tmp_path / "model", Model(), CONFIG, "predictor", extra={"tasks": ["a", "b", "c"]})


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_weights_and_settings_survive_bit_for_bit(folder):
    torch.manual_seed(0)
    original = Model()
    torch.manual_seed(1)
    loaded = Model()
    found = model_folder.read(folder)
    model_folder.load_weights(loaded, found)
    for name, tensor in original.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert found.kind == "predictor"
    assert found.extra == {"tasks": ["a", "b", "c"]}
    assert found.config == CONFIG | {"ratio": [0.2, 0.8]}


def test_only_two_files_are_left_behind(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_same_model_gives_same_bytes(folder, tmp_path):
    torch.manual_seed(0)
    again = model_folder.save(tmp_path / "again", Model(), CONFIG, "predictor", extra={"tasks": ["a", "b", "c"]})
    for name in ("config.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_encoder_of_a_larger_model(folder):
    encoder = Model().encoder
    found = model_folder.read(folder)
    model_folder.load_weights(encoder, found, prefix=found.encoder_prefix)
    torch.manual_seed(0)
    assert torch.equal(encoder[0].weight, Model().encoder[0].weight)


def test_values_are_converted_to_the_dtype_of_the_model(folder):
    model = Model().double()
    model_folder.load_weights(model, folder)
    torch.manual_seed(0)
    assert torch.equal(model.head.weight, Model().head.weight.double())


def test_other_files_stay_when_a_model_is_saved_again(folder):
    (folder / "metrics.json").write_text("{}")
    model_folder.save(folder, Model(), CONFIG, "predictor")
    assert (folder / "metrics.json").read_text() == "{}"
    assert model_folder.read(folder).extra == {}


def test_failed_write_leaves_the_old_file_and_no_rubbish(folder):
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(TypeError):
        model_folder.save(folder, Model(), {"bad": object()}, "predictor")

    def fail(path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        model_folder.write_atomically(folder / "model.safetensors", fail)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model(layers=2), ["missing in the folder: encoder.1.bias, encoder.1.weight"]),
        (Model(layers=0), ["unknown to the model: encoder.0.bias, encoder.0.weight"]),
        (Model(width=8), ["encoder.0.weight (4, 4), the model has (8, 8)", "head.weight (3, 4), the model has (3, 8)"]),
    ],
)
def test_weights_that_do_not_fit_are_named_and_nothing_is_loaded(folder, model, words):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        model_folder.load_weights(model, folder)
    for word in words:
        assert word in str(error.value)
    assert str(folder) in str(error.value)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_settings_that_the_weights_were_not_made_with_are_named(folder):
    edit(folder, config=CONFIG | {"encoder": {"feat_size": 4, "num_heads": 4}})
    with pytest.raises(CheckpointError, match=r"encoder\.num_heads is 4, expected 2"):
        model_folder.read(folder)


def test_settings_that_are_missing_are_named(folder):
    edit(folder, config={"encoder": CONFIG["encoder"], "ratio": [0.2, 0.8]})
    with pytest.raises(CheckpointError, match="n_tasks is absent, expected 3"):
        model_folder.read(folder)


def test_weights_written_by_other_tools_need_no_copy_of_the_settings(folder):
    from safetensors.torch import load_file, save_file

    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    model_folder.load_weights(Model(), folder)


def test_kind(folder):
    with pytest.raises(CheckpointError, match="kind 'predictor', but 'encoder' or 'pretraining' is needed"):
        model_folder.read(folder, kinds=("encoder", "pretraining"))
    with pytest.raises(ValueError, match=r"kind='thing' is not allowed"):
        model_folder.save(folder, Model(), CONFIG, "thing")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 99}, r"schema_version is 99, this package reads 1"),
        ({"weights_version": 1}, r"weights_version is 1, this package reads 3"),
        ({"format": "other"}, r"format is 'other', not 'dgl_moleblend'"),
        ({"config": None}, r"config.json is no model description"),
    ],
)
def test_foreign_descriptions_are_refused(folder, changes, words):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=words):
        model_folder.read(folder)


def test_damaged_files_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged"):
        model_folder.read(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is no model description"):
        model_folder.read(folder)


def test_an_ensemble_where_one_model_is_needed(tmp_path):
    (tmp_path / "ensemble.json").write_text('{"models": ["trees"]}')
    with pytest.raises(CheckpointError, match=r"the mean of several models[\s\S]*none of them is a network: train one"):
        model_folder.read(tmp_path)
    (tmp_path / "ensemble.json").write_text('{"models": ["trees", "net"]}')
    for name, kind in (("trees", "trees"), ("net", "predictor")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"kind": kind}))
    with pytest.raises(CheckpointError, match=rf"give one of them: {tmp_path / 'net'}"):
        model_folder.read(tmp_path)


def test_pickles_are_not_opened(folder):
    (folder / "model.safetensors").rename(folder / "model.pt")
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing[\s\S]*pickles .* are not opened"):
        model_folder.read(folder)


def test_a_name_that_is_no_folder_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"no model folder 'moleblend-base'[\s\S]*never downloaded"):
        model_folder.read("moleblend-base")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file"):
        model_folder.save(tmp_path / "file", Model(), CONFIG, "predictor")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_all_files_have_the_mode_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        model_folder.save(tmp_path, nn.Linear(2, 1), {"encoder": {}}, "encoder")
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "config.json": mode, "model.safetensors": mode,
    }  # fmt: skip


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail(part):
        part.mkdir()
        (part / "a").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make_folder(tmp_path / "below" / "m", fail)
    assert list((tmp_path / "below").iterdir()) == []
    made = make_folder(tmp_path / "below" / "m", lambda part: part.mkdir())
    assert made.is_dir()
    with pytest.raises(DataError, match="there is something of this name"):
        make_folder(made, fail)
