"""Where a training run starts: a fresh encoder of some size, or one that was saved."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from typing_extensions import Self

from dgl_moleblend import files
from dgl_moleblend import folder as model_folder
from dgl_moleblend.checksums import known_sha256
from dgl_moleblend.config import EncoderConfig
from dgl_moleblend.models.predictor import readout_of
from dgl_moleblend.nn.encoder import MoleBlendEncoder

Source = EncoderConfig | str | PathLike[str]
"""How a user names a start: the size of a fresh encoder, or a model's folder or name."""


@dataclass(frozen=True)
class Start:
    """Where a training run starts; `Start.of` makes one of what a user gives.

    Parameters
    ----------
    size : EncoderConfig
        Of the encoder.
    source : str, optional
        Folder or name of the saved model that holds it; None for a fresh encoder.
    weights : str, optional
        Hash of the model's weights.
    saved : dict, optional
        The saved model's settings.
    readout : {"token", "mean", "sum"}
        What suits it: "token" for a fresh encoder, for a predictor its own, for any other pretrained model "mean",
        unless it says otherwise.
    """

    size: EncoderConfig
    source: str | None = None
    weights: str | None = None
    saved: dict[str, Any] | None = None
    readout: str = "token"

    @classmethod
    def of(cls, source: "Source | Start | None") -> Self:
        """Return the start that is meant; by default ``EncoderConfig.small()``.

        Raises
        ------
        CheckpointError
            If the folder is missing or damaged.
        """
        if isinstance(source, cls):
            return source
        if source is None or isinstance(source, EncoderConfig):
            return cls(source or EncoderConfig.small())
        assert not isinstance(source, Start)
        saved = model_folder.read(Path(source))
        weights = known_sha256(saved.folder / model_folder.WEIGHTS_FILE)[:16]
        size = EncoderConfig.from_dict(saved.config["encoder"])
        return cls(size, str(source), weights, saved.config, readout_of(saved))

    @property
    def is_fresh(self) -> bool:
        """Whether the encoder has learned nothing yet."""
        return self.source is None

    def make_encoder(self) -> MoleBlendEncoder:
        """Return the encoder.

        Raises
        ------
        CheckpointError
            If the folder is missing or damaged by now.
        """
        if self.source is None:
            return MoleBlendEncoder.from_config(self.size)
        return MoleBlendEncoder.from_pretrained(Path(self.source))

    def to_dict(self) -> dict[str, Any]:
        """Return the start as a plan holds it: a size, or a model by what its files hold, wherever they lie."""
        if self.source is None:
            return self.size.to_dict()
        return {"from": self.source, "weights": self.weights, "config": self.saved}

    def keep_from(self, out: Path) -> None:
        """Refuse a run that would write where the model lies that it starts from.

        Raises
        ------
        DataError
            If it would.
        """
        if self.source is not None:
            files.keep_inputs(out, [self.source])
