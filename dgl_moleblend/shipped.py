"""Weights that lie in the package: listed, and found by name, with no network (and without importing torch)."""

import json
import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dgl_moleblend.errors import CheckpointError

WEIGHTS = Path(__file__).with_name("weights")
DEFAULT = "mini"
"""What fine-tuning and embedding start from where nothing is named."""


@dataclass(frozen=True)
class Shipped:
    """An encoder that comes with the package.

    Parameters
    ----------
    name : str
        What stands for its folder, wherever a model folder is taken.
    folder : Path
        Where it lies.
    num_weights : int
    feat_size : int
        Width d: how many numbers `embed` gives for a molecule.
    licence : str
    """

    name: str
    folder: Path
    num_weights: int
    feat_size: int
    licence: str

    @property
    def megabytes(self) -> float:
        """Size of its files, in 10^6 bytes."""
        return sum(path.stat().st_size for path in self.folder.iterdir()) / 1e6

    @property
    def card(self) -> str:
        """What it was trained on, how, and what it is for, as Markdown."""
        return (self.folder / "CARD.md").read_text(encoding="utf-8")

    def __repr__(self) -> str:
        return (
            f"<{self.name}: {self.num_weights / 1e6:.2g} million weights, width {self.feat_size},"
            f" {self.megabytes:.1f} MB, {self.licence}>"
        )


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Return the names of the weights that ship, the smallest first."""
    return tuple(one.name for one in pretrained())


def pretrained() -> list[Shipped]:
    """List the weights that ship, the smallest first.

    Returns
    -------
    list of Shipped
        Each with name, folder, num_weights, feat_size, megabytes, licence and card.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> mb.pretrained()
    [<mini: 0.87 million weights, width 128, ... MB, Apache-2.0>, <small: 6.4 million weights, ...>]
    >>> print(mb.pretrained()[0].card)
    # mini
    ...
    """
    found = []
    for path in WEIGHTS.glob("*/config.json"):
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        width, extra = document["config"]["encoder"]["feat_size"], document["extra"]
        found.append(Shipped(path.parent.name, path.parent, extra["weights"], width, extra["licence"]))
    return sorted(found, key=lambda one: one.num_weights)


def locate(folder: str | os.PathLike[str]) -> Path:
    """Return the folder of a model: the one given, or that of the weights of this name.

    A folder that exists is taken before weights of its name, with a warning.

    Examples
    --------
    >>> locate("runs/esol-model").as_posix(), locate("mini").name, locate("mini").is_dir()
    ('runs/esol-model', 'mini', True)
    """
    path, name = Path(folder), os.fspath(folder)
    if name not in names():
        return path
    if os.path.isdir(path):
        warnings.warn(
            f"the folder {name!r} here is taken, not the weights of that name that ship with the package;"
            f" rename it to have those",
            stacklevel=3,
        )
        return path
    return WEIGHTS / name


def find(folder: str | os.PathLike[str]) -> Path:
    """Return the folder of a model as `locate` does, and see that it is there.

    Raises
    ------
    CheckpointError
        If there is no such folder.
    """
    path = locate(folder)
    if not os.path.isdir(path):
        raise CheckpointError(
            f"{str(folder)!r} is a file, and a model is a folder"
            if os.path.isfile(path)
            else f"there is no model folder {str(folder)!r}",
            fix="give the folder that save_pretrained, `dgl-moleblend pretrain` or `dgl-moleblend finetune` wrote, or"
            f" weights that ship, by name: {', '.join(names())}; others are never downloaded by name",
        )
    return path
