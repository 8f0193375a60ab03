"""Values of a training go to its CSV file, and where else is asked for."""

import importlib.util
import struct

import pytest
from tables import QUIET, chains, parts

import dgl_moleblend as mb
from dgl_moleblend.errors import ConfigError
from dgl_moleblend.report.results import read_curves
from dgl_moleblend.train.finetune import finetune
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.pretrain import pretrain

CONFIG = mb.TrainingConfig(max_epochs=1, batch_size=8)


def records(content):
    """The records of a file of TensorBoard: 8 bytes of length, 4 of a checksum, the record, 4 of a checksum."""
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield content[12 : 12 + length]
        content = content[16 + length :]


@pytest.mark.parametrize("kind", ["finetune", "pretrain"])
def test_tensorboard_is_told_what_the_csv_file_is(tmp_path, kind):
    from tensorboardX.proto.event_pb2 import Event

    dataset = chains(16)
    settings = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET.replace(logger="tensorboard")}
    if kind == "finetune":
        finetune(dataset, parts(dataset, 4, 4), tmp_path / "m", report=False, **settings)
    else:
        pretrain(dataset, tmp_path / "m", validation=0.2, **settings)
    told = {}
    for file in (tmp_path / "m" / "logs" / "tensorboard").rglob("events.*"):
        for record in records(file.read_bytes()):
            told |= {value.tag: value.simple_value for value in Event.FromString(record).summary.value}
    curves = read_curves(tmp_path / "m").filter(like="validation/")
    assert len(curves.columns) >= 5
    assert {name: told[name] for name in curves} == pytest.approx(curves.ffill().iloc[-1].to_dict(), rel=1e-5)


def test_a_logger_whose_package_is_missing_is_said_at_once_with_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("tensorboard", "wandb", "mlflow"):
        with pytest.raises(ConfigError, match=rf"logger='{name}' needs the package {name}[\s\S]*pip install {name}"):
            QUIET.replace(logger=name)
    with pytest.raises(ConfigError, match="one of csv, tensorboard, wandb, mlflow"):
        QUIET.replace(logger="paper")


def test_a_run_may_be_resumed_with_another_logger():
    plans = [
        RunPlan.of("finetuning", chains(6), start=None, training=CONFIG, compute=QUIET.replace(logger=name)).to_dict()
        for name in ("csv", "tensorboard")
    ]
    assert plans[0] == plans[1]
