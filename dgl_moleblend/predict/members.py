"""The models whose mean is predicted: which they are, how much each counts, and whether they are still the same."""

import json
import os.path
from os import PathLike
from pathlib import Path

from dgl_moleblend import folder as model_folder
from dgl_moleblend.checksums import check_file, known_sha256
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.files import ENSEMBLE_FILE


def member_folders(folder: str | PathLike[str]) -> list[Path]:
    """Return the folders of the models whose mean is predicted: those that ensemble.json names, or the folder itself.

    Raises
    ------
    CheckpointError
        If ensemble.json is damaged, or names no model or one that does not lie in the folder.
    """
    path = Path(folder, ENSEMBLE_FILE)
    if not os.path.isfile(path):
        return [Path(folder)]
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["models"]
        check_file(path)
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise ValueError('"models" is no list of folder names')
        if outside := [name for name in names if Path(name).is_absolute() or {"..", "\\"} & {*name, *Path(name).parts}]:
            raise ValueError(f"{outside[0]!r} is no folder beside it")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{ENSEMBLE_FILE} names no models that can be opened: {error}",
            where=str(path),
            fix='it holds {"models": [folders beside it, ...]}',
        ) from error
    return [Path(folder, name) for name in names]


def member_weights(folder: str | PathLike[str]) -> list[float]:
    """Return how much each of `member_folders` counts in the mean; together 1.

    Raises
    ------
    CheckpointError
        If ensemble.json holds weights that do not fit.
    """
    members = member_folders(folder)
    path = Path(folder, ENSEMBLE_FILE)
    found = json.loads(path.read_text(encoding="utf-8")).get("weights") if path.is_file() else None
    if found is None:
        return [1 / len(members)] * len(members)
    numbers = isinstance(found, list) and all(isinstance(weight, int | float) and weight >= 0 for weight in found)
    if not numbers or len(found) != len(members) or abs(sum(found) - 1) > 1e-6:
        raise CheckpointError(
            f"the weights in {ENSEMBLE_FILE} do not fit its {len(members)} models",
            where=str(path),
            fix="they are as many numbers, none negative, that add up to 1; restore the file, or train again",
        )
    return found


def units_of(folder: str | PathLike[str]) -> dict[str, str]:
    """Return the unit of each property whose unit was given when the model was made.

    Raises
    ------
    CheckpointError
        If the folder holds no model.
    """
    path = Path(folder, ENSEMBLE_FILE)
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    extra = document["extra"] if "extra" in document else model_folder.read(member_folders(folder)[0]).extra
    return extra.get("units", {})


def check_members(folder: str | PathLike[str]) -> None:
    """Check that models are those that were judged together, where ensemble.json has their checksums.

    Raises
    ------
    CheckpointError
        If the weights of one are others; the message names its folder.
    """
    path = Path(folder, ENSEMBLE_FILE)
    digests = json.loads(path.read_text(encoding="utf-8")).get("sha256") if path.is_file() else None
    for member, digest in zip(member_folders(folder), digests or (), strict=False):
        weights = member / model_folder.WEIGHTS_FILE
        if weights.is_file() and known_sha256(weights) != digest:
            raise CheckpointError(
                f"{model_folder.WEIGHTS_FILE} is not what {ENSEMBLE_FILE} was written with",
                where=str(member),
                fix="restore the folder, or train again: the models were weighed and calibrated together",
            )


def is_model(path: str | PathLike[str]) -> bool:
    """Whether a path is the folder of a saved model or of an ensemble."""
    return Path(path, model_folder.WEIGHTS_FILE).is_file() or Path(path, ENSEMBLE_FILE).is_file()


def predicts_sites(folder: str | PathLike[str]) -> bool:
    """Whether a folder holds a model of atoms or bonds, and not of molecules.

    Raises
    ------
    CheckpointError
        If its config.json is damaged.
    """
    if not Path(folder, model_folder.CONFIG_FILE).is_file():
        return False
    return model_folder.read(folder, kinds=model_folder.KINDS).kind == model_folder.SITES
