"""Where a training run starts: a fresh encoder of some size, or one that was saved."""

from os import PathLike
from pathlib import Path
from typing import Any

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import EncoderConfig
from dgl_moleblend.data.store import sha256
from dgl_moleblend.models.predictor import readout_of
from dgl_moleblend.nn.encoder import MoleBlendEncoder


def make_encoder(start: EncoderConfig | str | PathLike[str]) -> MoleBlendEncoder:
    """Return a fresh encoder of the size of a config, or that of a model folder.

    Raises
    ------
    CheckpointError
        If the folder is missing or damaged.
    """
    if isinstance(start, EncoderConfig):
        return MoleBlendEncoder.from_config(start)
    return MoleBlendEncoder.from_pretrained(Path(start))


def describe_start(start: EncoderConfig | str | PathLike[str] | None) -> dict[str, Any] | None:
    """Return the start as a run's plan holds it: a size, or a model by what its files hold, wherever they lie.

    Raises
    ------
    CheckpointError
        If the folder is missing or damaged.
    """
    if start is None:
        return None
    if isinstance(start, EncoderConfig):
        return start.to_dict()
    saved = model_folder.read(Path(start))
    weights = sha256(saved.folder / model_folder.WEIGHTS_FILE)[:16]
    return {"started_from": str(start), "weights": weights, "config": saved.config}


def keep_start(out: Path, start: EncoderConfig | str | PathLike[str] | None) -> None:
    """Refuse a run that would write where the model lies that it starts from.

    Raises
    ------
    DataError
        If it would.
    """
    if start is not None and not isinstance(start, EncoderConfig):
        model_folder.keep_inputs(out, [start])


def default_readout(start: EncoderConfig | str | PathLike[str]) -> str:
    """Return the read-out that suits a start.

    "token" for a fresh encoder, for a predictor its own, for any other pretrained model "mean".

    Raises
    ------
    CheckpointError
        If the folder is missing or damaged.
    """
    if isinstance(start, EncoderConfig):
        return "token"
    return readout_of(model_folder.read(Path(start)))
