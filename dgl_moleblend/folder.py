"""A model's folder: weights and configuration without pickle; refuses what does not fit."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import nn

from dgl_moleblend._version import __version__
from dgl_moleblend.checksums import check_file, renew
from dgl_moleblend.errors import CheckpointError, ConfigError
from dgl_moleblend.files import CONFIG_FILE, ENSEMBLE_FILE, WEIGHTS_FILE, read_json, write_atomically
from dgl_moleblend.schema import SCHEMA_VERSION
from dgl_moleblend.shipped import find

FORMAT = "dgl_moleblend"
WEIGHTS_VERSION = 3
"""Grows when weights of the same names and shapes change in meaning. 3: the factor before the 3D atom term."""
SITES = "sites"
"""Of values of atoms or bonds."""
NETWORKS = ("encoder", "pretraining", "predictor", SITES)
KINDS = (*NETWORKS, "kernel", "trees")
_SHOWN = 5  # names listed in a message before "and k more"


@dataclass(frozen=True)
class Checkpoint:
    """What `config.json` of a folder says; the weights stay on disk until `load_weights`.

    Parameters
    ----------
    folder : Path
    kind : {"encoder", "pretraining", "predictor", "sites"}
    config : dict
        Settings in sections; every kind has the section "encoder".
    extra : dict
        What the model does not need but its user does: task names, scaling, featurizer.
    versions : dict
        Versions of this package and of the schema that wrote the folder.
    """

    folder: Path
    kind: str
    config: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)

    @property
    def encoder_prefix(self) -> str:
        """What stands before the names of the encoder's weights."""
        return "" if self.kind == "encoder" else "encoder."


def save(
    folder: str | os.PathLike[str],
    module: "nn.Module | Mapping[str, np.ndarray]",
    config: dict[str, Any],
    kind: str,
    extra: dict[str, Any] | None = None,
) -> Path:
    """Write `config.json` and `model.safetensors`.

    Each file appears whole or not at all, the weights first. The weights carry a copy of the configuration, so a
    folder whose second file was never replaced is noticed when it is read.

    Parameters
    ----------
    folder : path
        Made if it does not exist. Other files in it stay.
    module : nn.Module or mapping of str to ndarray
        Its state dict is stored, from whichever device it is on; or arrays of a model that is no network.
    config : dict
        Settings that JSON can hold, enough to build the module again.
    kind : {"encoder", "pretraining", "predictor", "sites", "kernel", "trees"}
    extra : dict, optional
        Further facts that JSON can hold.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        If `kind` is unknown.
    CheckpointError
        If `folder` is a file.

    Examples
    --------
    >>> import tempfile
    >>> from torch import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save(folder, nn.Linear(2, 1), {"encoder": {"feat_size": 2}}, "encoder")
    ...     read(folder).config
    {'encoder': {'feat_size': 2}}
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r} is not allowed", fix=f"kind must be one of {', '.join(map(repr, KINDS))}")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file", fix="name a folder to save the model in")
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "weights_version": WEIGHTS_VERSION,
        "kind": kind,
        "config": config,
        "extra": extra or {},
    }
    text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"
    # metadata of one key only: safetensors writes several in any order, and equal models should be equal files
    metadata = {FORMAT: json.dumps({"kind": kind, "config": config}, sort_keys=True)}
    if isinstance(module, nn.Module):
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
        write_atomically(folder / WEIGHTS_FILE, lambda path: save_file(weights, path, metadata))
    else:
        arrays = {name: np.ascontiguousarray(array) for name, array in module.items()}
        write_atomically(folder / WEIGHTS_FILE, lambda path: save_arrays(arrays, path, metadata))
    write_atomically(folder / CONFIG_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        renew(folder / name)
    return folder


def read_arrays(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of a model that is no network.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    with _weights(Path(folder), "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def one_of(folder: Path, kinds: Iterable[str]) -> str:
    """Say which of several models in a folder can be given in the place of all: the first of these kinds."""
    models, kinds = read_json(folder / ENSEMBLE_FILE).get("models", []), tuple(kinds)
    for name in models:
        config = folder / name / CONFIG_FILE
        if config.is_file() and read_json(config).get("kind") in kinds:
            return f"give one of them: {folder / name}"
    return "none of them is a network: train one (--head network, or without --fast); states are told by `mini` too"


def read(folder: str | os.PathLike[str], kinds: Iterable[str] = NETWORKS) -> Checkpoint:
    """Read and check `config.json` of a folder.

    Parameters
    ----------
    folder : path
        Or a name of weights that ship with the package, see `shipped.pretrained`.
    kinds : iterable of str
        The kinds that the caller can use.

    Raises
    ------
    CheckpointError
        If there is no such folder, a file is missing or damaged, the schema version is another, the kind is not one
        of `kinds`, or the weights were written with another configuration.
    """
    path = find(folder)
    if (path / ENSEMBLE_FILE).is_file() and not (path / CONFIG_FILE).is_file():
        raise CheckpointError(
            "this folder holds the mean of several models, and one is needed",
            where=str(path),
            fix=one_of(path, kinds),
        )
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (path / name).is_file():
            raise CheckpointError(
                f"{name} is missing",
                where=str(path),
                fix=f"a model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}; pickles (.pt, .ckpt) are not opened",
            )
    document = _parse(path / CONFIG_FILE)
    check_file(path / CONFIG_FILE)
    for name, known in (("schema_version", SCHEMA_VERSION), ("weights_version", WEIGHTS_VERSION)):
        if (found := document.get(name, 1)) != known:
            writer = document.get("version", "unknown")
            raise CheckpointError(
                f"{name} is {found}, this package reads {known}",
                where=str(path / CONFIG_FILE),
                fix=f"use the version that wrote it (dgl-moleblend {writer}), or train again",
            )
    kinds = tuple(kinds)
    if document["kind"] not in kinds:
        raise CheckpointError(
            f"this folder holds a model of kind {document['kind']!r}, but {' or '.join(map(repr, kinds))} is needed",
            where=str(path),
            fix=_KIND_FIX.get(document["kind"], "give another folder"),
        )
    checkpoint = Checkpoint(
        folder=path,
        kind=document["kind"],
        config=document["config"],
        extra=document["extra"],
        versions={"dgl_moleblend": document.get("version"), "schema": document["schema_version"]},
    )
    check_file(path / WEIGHTS_FILE)
    with _weights(path) as file:
        written_with = (file.metadata() or {}).get(FORMAT)
    if written_with is not None:
        found = {"kind": checkpoint.kind, "config": checkpoint.config}
        check_same(json.loads(written_with), found, where=f"{CONFIG_FILE} against {WEIGHTS_FILE} in {path}")
    return checkpoint


def load_weights(module: nn.Module, checkpoint: Checkpoint | str | os.PathLike[str], prefix: str = "") -> None:
    """Copy stored weights into `module`; all of them, or none where something does not fit.

    Parameters
    ----------
    module : nn.Module
        Any device and floating dtype; stored values are converted.
    checkpoint : Checkpoint or path
    prefix : str
        Take the weights whose names start so, and leave the others alone: `checkpoint.encoder_prefix` for the encoder
        of any kind of model.

    Raises
    ------
    CheckpointError
        If names or shapes differ; the message lists which.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = read(checkpoint)
    with _weights(checkpoint.folder) as file:
        stored = {k.removeprefix(prefix): file.get_tensor(k) for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    problems = [
        f"{label}: {_some(names)}"
        for label, names in (
            ("missing in the folder", sorted(expected.keys() - found.keys())),
            ("unknown to the model", sorted(found.keys() - expected.keys())),
            ("of another shape",
             [f"{k} {found[k]}, the model has {expected[k]}"
              for k in sorted(expected.keys() & found.keys()) if expected[k] != found[k]]),
        )
        if names
    ]  # fmt: skip
    if problems:
        raise CheckpointError(
            f"the weights do not fit {type(module).__name__}; " + "; ".join(problems),
            where=str(checkpoint.folder / WEIGHTS_FILE),
            fix="build the model with the settings in config.json, as from_pretrained does",
        )
    module.load_state_dict(stored)


def check_same(
    expected: dict[str, Any],
    found: dict[str, Any],
    *,
    where: str,
    words: Mapping[str, str] | None = None,
    fix: str = "use the settings that the model was made with",
) -> None:
    """Compare settings, and name each that differs with both values.

    Parameters
    ----------
    expected, found : dict
        Plain values, nested.
    where : str
        What was compared.
    words : mapping of str to str, optional
        What it means that a setting of this name differs, where name and values tell nobody: those of checksums.
    fix : str

    Raises
    ------
    CheckpointError
        If a value differs or a name stands on one side only.

    Examples
    --------
    >>> check_same({"encoder": {"num_heads": 4}}, {"encoder": {"num_heads": 8}}, where="here")
    Traceback (most recent call last):
    dgl_moleblend.errors.CheckpointError: settings differ: encoder.num_heads is 8, expected 4
      where: here
      fix:   use the settings that the model was made with
    """
    old, new = _flatten(expected), _flatten(found)
    problems = [
        (f"{words[name]}: " if words and name in words else "")
        + f"{name} is {json.dumps(new[name]) if name in new else 'absent'},"
        f" expected {json.dumps(old[name]) if name in old else 'absent'}"
        for name in sorted({*old, *new})
        if name not in old or name not in new or old[name] != new[name]
    ]
    if problems:
        raise CheckpointError(f"settings differ: {_some(problems)}", where=where, fix=fix)


_KIND_FIX = {
    "encoder": "fine-tune the encoder first (`dgl-moleblend finetune --encoder FOLDER`)",
    "pretraining": "fine-tune the pretrained model first (`dgl-moleblend finetune --encoder FOLDER`)",
    "predictor": "give the folder of a pretraining run",
    "sites": "it predicts values of atoms or bonds, by itself: mb.load(folder).predict(..), or `dgl-moleblend predict`",
    "kernel": "give the folder of a network (`dgl-moleblend finetune --head network`); a kernel machine has no encoder",
    "trees": "give the folder of a network (`dgl-moleblend finetune --head network`); trees have no encoder",
}


def _parse(path: Path) -> dict[str, Any]:
    damaged = CheckpointError(
        f"{path.name} is no model description", where=str(path), fix="restore the file, or save the model again"
    )
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged from error
    types = {"format": str, "schema_version": int, "kind": str, "config": dict, "extra": dict}
    if not isinstance(document, dict) or any(not isinstance(document.get(k), t) for k, t in types.items()):
        raise damaged
    if document["format"] != FORMAT:
        raise CheckpointError(
            f"format is {document['format']!r}, not {FORMAT!r}",
            where=str(path),
            fix="give a folder that this package wrote",
        )
    return document


@contextmanager
def _weights(folder: Path, framework: str = "pt") -> Iterator[Any]:
    """Open the weights; they are memory-mapped, so that only what is asked for is read."""
    try:
        with safe_open(folder / WEIGHTS_FILE, framework) as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(
            f"{WEIGHTS_FILE} is damaged: {error}", where=str(folder), fix="restore the file, or save the model again"
        ) from error


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
