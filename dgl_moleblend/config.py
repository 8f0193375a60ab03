"""Settings as frozen dataclasses that check themselves and go to and from JSON."""

import dataclasses
import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import Self

from dgl_moleblend.errors import ConfigError

LOSSES = {"regression": ("mse", "mae", "huber", "gaussian", "quantile"), "classification": ("cross_entropy", "focal"),
          "multiclass": ("cross_entropy",)}  # fmt: skip
"""What a network may be fitted by, the default first."""


def check(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise a ConfigError that names the option, its value and the values allowed."""
    if not condition:
        raise ConfigError(f"{name}={value!r} is not allowed", fix=f"{name} must be {allowed}")


def check_ratio(name: str, ratio: tuple[float, ...], length: int) -> None:
    """Check that a ratio holds `length` non-negative numbers that add up to 1."""
    check(
        len(ratio) == length and all(r >= 0 for r in ratio) and math.isclose(sum(ratio), 1.0, abs_tol=1e-6),
        name,
        ratio,
        f"{length} non-negative numbers that add up to 1",
    )


@dataclass(frozen=True)
class Config:
    """Base of all settings: conversion to and from plain dictionaries and JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; tuples stay tuples until JSON makes lists of them."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """JSON text with sorted keys, for files and hashes."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from plain values.

        Raises
        ------
        ConfigError
            If a key is unknown (the nearest known one is named) or a value is not allowed.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
                raise ConfigError(f"{cls.__name__} has no setting {key!r}", fix=f"did you mean {near[0]!r}?")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build from JSON text; see `from_dict`."""
        return cls.from_dict(json.loads(text))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class FeaturizerConfig(Config):
    """How a molecule becomes numbers.

    Parameters
    ----------
    positions : {"none", "given", "embed"}
        No 3D; the record's own conformer; or ETKDGv3 with `seed`, then MMFF where it can.
    seed : int
        Seed of the embedding.
    num_conformers : int
        Conformers embedded per molecule ("embed" only).
    optimize : bool
        Whether MMFF94s relaxes embedded conformers.
    timeout : float
        Seconds that the embedding of one molecule may take.
    chirality : {"cip", "tag"}
        What tells a tetrahedral centre's sense: its CIP label (R or r clockwise), which the writing of a molecule
        cannot change, or RDKit's tag, which goes by the order of neighbours; the authors' release, and whatever was
        stored before there was this setting, has the tag.
    standardize : sequence of {"fragment", "neutral", "tautomer"}
        What is done to a molecule first (`dgl_moleblend.chem.standardize`): its largest fragment, without charges, as
        its canonical tautomer; by default nothing.
    """

    positions: str = "none"
    seed: int = 0
    num_conformers: int = 1
    optimize: bool = True
    timeout: float = 60.0
    chirality: str = "cip"
    standardize: Sequence[str] = ()
    CHIRALITY: ClassVar[tuple[str, ...]] = ("cip", "tag")
    POSITIONS: ClassVar[tuple[str, ...]] = ("none", "given", "embed")
    STEPS: ClassVar[tuple[str, ...]] = ("fragment", "neutral", "tautomer")

    def __post_init__(self) -> None:
        steps = {self.standardize} if isinstance(self.standardize, str) else {*self.standardize}
        check(steps <= {*self.STEPS}, "standardize", self.standardize,
              f"some of {', '.join(map(repr, self.STEPS))}")  # fmt: skip
        object.__setattr__(self, "standardize", tuple(step for step in self.STEPS if step in steps))
        check(self.positions in self.POSITIONS, "positions", self.positions, "one of 'none', 'given', 'embed'")
        check(self.num_conformers >= 1, "num_conformers", self.num_conformers, "at least 1")
        check(0 <= self.seed < 2**31, "seed", self.seed, "from 0 to 2147483647")
        check(self.timeout > 0, "timeout", self.timeout, "a positive number of seconds")
        check(self.chirality in self.CHIRALITY, "chirality", self.chirality, "'cip' or 'tag'")

    def decisive(self) -> dict[str, Any]:
        """Return those settings that decide what a molecule becomes; of embedded conformers, also how these are made.

        Examples
        --------
        >>> FeaturizerConfig().decisive()
        {'positions': 'none', 'chirality': 'cip', 'standardize': []}
        >>> FeaturizerConfig("embed").decisive()
        {'positions': 'embed', 'chirality': 'cip', 'standardize': [], 'seed': 0, 'num_conformers': 1, 'optimize': True}
        """
        embedding = ("seed", "num_conformers", "optimize") if self.positions == "embed" else ()
        found = {"positions": self.positions, "chirality": self.chirality, "standardize": list(self.standardize)}
        return found | {name: getattr(self, name) for name in embedding}

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `standardize` only where it has steps, so that older stored settings are equal."""
        values = super().to_dict()
        steps = values.pop("standardize")
        return values | ({"standardize": list(steps)} if steps else {})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from stored values; those stored before there was a choice of `chirality` mean "tag"."""
        return super().from_dict({"chirality": "tag", **values})


@dataclass(frozen=True)
class EncoderConfig(Config):
    """Size and regularisation of the encoder; the defaults are the paper's base size.

    Parameters
    ----------
    num_layers, feat_size, ffn_size, num_heads : int
        Transformer layers, width d, width of the feed-forward block, attention heads h (h divides d).
    num_kernels : int
        Gaussian kernels k of the distance relation.
    max_dist : int
        Largest shortest-path distance with an embedding row of its own; longer ones share its row.
    dropout, attention_dropout, activation_dropout, drop_path : float
        Rates in [0, 1). Where `drop_path` is positive it grows linearly from 0 at the first layer, and takes the
        place of the residual dropout.
    """

    num_layers: int = 12
    feat_size: int = 768
    ffn_size: int = 768
    num_heads: int = 32
    num_kernels: int = 128
    max_dist: int = 255
    dropout: float = 0.0
    attention_dropout: float = 0.1
    activation_dropout: float = 0.1
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        for name in ("num_layers", "feat_size", "ffn_size", "num_heads", "num_kernels", "max_dist"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        check(self.feat_size % self.num_heads == 0, "num_heads", self.num_heads, f"a divisor of {self.feat_size}")
        for name in ("dropout", "attention_dropout", "activation_dropout", "drop_path"):
            check(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")

    @classmethod
    def base(cls, **changes: Any) -> Self:
        """Return the size of the paper: 12 layers, width 768, 32 heads, 128 kernels (48 million weights)."""
        return cls(**changes)

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """Return a size that trains on a laptop: 6 layers, width 256, 16 heads, 64 kernels."""
        sizes = {"num_layers": 6, "feat_size": 256, "ffn_size": 256, "num_heads": 16, "num_kernels": 64}
        return cls(**(sizes | changes))

    @classmethod
    def tiny(cls, **changes: Any) -> Self:
        """Return a size for tests: 2 layers, width 32, 4 heads, 8 kernels."""
        sizes = {"num_layers": 2, "feat_size": 32, "ffn_size": 32, "num_heads": 4, "num_kernels": 8}
        return cls(**(sizes | changes))


@dataclass(frozen=True)
class PredictorConfig(Config):
    """What stands on an encoder to predict properties.

    Parameters
    ----------
    readout : {"token", "mean", "sum"}, optional
        What represents a molecule: its graph token, or mean or sum over its atoms. By default "token" for a fresh
        encoder, that of a predictor, and "mean" for any other pretrained encoder whose objectives never scored the
        token.
    relations : tuple of str
        Those that the encoder is shown.
    dropout : float
        Rate in the property head, in [0, 1).
    """

    readout: str | None = None
    relations: tuple[str, ...] = ("spd", "bond_path", "distance")
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")


@dataclass(frozen=True)
class BlendConfig(Config):
    """What is shown and what is asked for in pretraining (METHOD.md sections 6 and 7).

    Parameters
    ----------
    ratio : tuple of 3 floats
        Probability that a pair shows its spd, bond path or distance.
    atom_ratio : tuple of 2 floats
        Probability that an atom shows its 2D or 3D term.
    noise_scale : float
        Standard deviation of the coordinate noise, angstrom.
    objective_3d : {"distance", "direction"}
        Recover distances (rotation cannot change them), or displacement directions as released.
    score : {"all", "hidden"}
        Score the pair objectives on all pairs, as released, or only on pairs whose relation was hidden.
    spd_weight, bond_path_weight, positions_weight, denoising_weight : float
        Weights of the four objectives in the loss.
    molecule_weight : float
        Weight of each group of targets of the graph token, where there are such.
    whole : float
        Share of the molecules of a batch of which nothing is hidden, as it will be in fine-tuning.
    """

    ratio: tuple[float, ...] = (0.2, 0.2, 0.6)
    atom_ratio: tuple[float, ...] = (0.4, 0.6)
    noise_scale: float = 0.2
    objective_3d: str = "distance"
    score: str = "all"
    spd_weight: float = 0.1
    bond_path_weight: float = 0.1
    positions_weight: float = 0.5
    denoising_weight: float = 6.0
    molecule_weight: float = 1.0
    whole: float = 0.0

    def __post_init__(self) -> None:
        check_ratio("ratio", self.ratio, 3)
        check_ratio("atom_ratio", self.atom_ratio, 2)
        check(self.noise_scale >= 0, "noise_scale", self.noise_scale, "at least 0")
        check(self.objective_3d in ("distance", "direction"), "objective_3d", self.objective_3d,
              "'distance' or 'direction'")  # fmt: skip
        check(self.score in ("all", "hidden"), "score", self.score, "'all' or 'hidden'")
        for name in ("spd_weight", "bond_path_weight", "positions_weight", "denoising_weight", "molecule_weight"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        check(0 <= self.whole <= 1, "whole", self.whole, "in [0, 1]")


@dataclass(frozen=True)
class TrainingConfig(Config):
    """How a model is trained; the training module hands most of it to Lightning.

    Parameters
    ----------
    max_epochs : int
        Passes over the training data.
    max_steps : int
        Optimiser steps, -1 for no limit; whichever of the two ends first.
    batch_size : int
        Molecules per optimiser step and device.
    learning_rate, weight_decay : float
        Peak learning rate and decoupled weight decay of Adam (0.9, 0.999, 1e-8).
    schedule : {"cosine", "constant"}
        What the learning rate does after the warm-up: it falls as a cosine to 0 at the last step, or stays. A run
        whose rate stays can be resumed with more epochs or more patience, also after it is finished.
    warmup : float
        Share of the steps over which the learning rate grows linearly, of those of the first epoch where the rate then
        stays.
    clip_norm : float
        Gradients are scaled down to this norm; 0 for never.
    patience : int
        Epochs without a better validation score before fine-tuning stops; 0 for never.
    layer_decay : float
        Fine-tuning: each encoder layer learns so many times as fast as the one above it; embeddings slowest.
    freeze_encoder : bool
        Fine-tuning: only the property head learns.
    head_first : float
        Fine-tuning: share of the steps in which the head learns alone; then the encoder joins, slowly at first.
    averaging : float
        Share of the steps that a moving average of the weights reaches back; the average is what is judged and kept.
        0 for the weights as they are.
    metric : str, optional
        Fine-tuning: validation score that chooses the weights: "rmse" (default), "mae", "r2", "spearman" or "pearson",
        and of several tasks "scaled" (default): the mean RMSE in units of each task's training deviation; "roc_auc"
        (default), "pr_auc", "mcc", "f1", "balanced_accuracy" or "accuracy"; or "loss", which also takes the place of
        one that no task has on the validation rows; metrics.json says which.
    keep : {"best", "last"}
        Fine-tuning: the weights of the best validation score, or of the last step, which validation rows then did not
        choose.
    loss : str, optional
        Fine-tuning: what is made small, of standardised targets "mse" (default), "mae" or "huber"; of classes
        "cross_entropy" (default) or "focal". With "gaussian" (negative log likelihood) the network predicts a variance
        beside the mean, with "quantile" (pinball) the 5 % and 95 % quantiles beside the median: what it holds possible.
    class_weights : bool
        Fine-tuning: the rarer class of each task weighs as much as the other, counted on the training rows.
    task_weights : tuple of (str, float)
        Fine-tuning: names of properties, and what the loss of each counts for; 1 of those that are not named.
    seed : int
        Seed of weights, shuffling, blending and noise.
    """

    max_epochs: int = 30
    max_steps: int = -1
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.1
    clip_norm: float = 5.0
    patience: int = 0
    layer_decay: float = 1.0
    freeze_encoder: bool = False
    head_first: float = 0.0
    averaging: float = 0.0
    metric: str | None = None
    keep: str = "best"
    loss: str | None = None
    class_weights: bool = False
    task_weights: tuple[tuple[str, float], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.max_epochs >= 1, "max_epochs", self.max_epochs, "at least 1")
        check(self.max_steps == -1 or self.max_steps >= 1, "max_steps", self.max_steps, "at least 1, or -1")
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        check(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        check(self.schedule in ("cosine", "constant"), "schedule", self.schedule, "'cosine' or 'constant'")
        check(0 <= self.warmup <= 1, "warmup", self.warmup, "in [0, 1]")
        check(self.clip_norm >= 0, "clip_norm", self.clip_norm, "at least 0")
        check(self.patience >= 0, "patience", self.patience, "at least 0")
        check(0 < self.layer_decay <= 1, "layer_decay", self.layer_decay, "above 0 and at most 1")
        check(0 <= self.head_first < 1, "head_first", self.head_first, "in [0, 1)")
        check(0 <= self.averaging < 1, "averaging", self.averaging, "in [0, 1)")
        for name in ("head_first", "averaging"):
            check(self.schedule == "cosine" or not getattr(self, name), name, getattr(self, name),
                  "0 with schedule='constant': a share of all steps, whose number is open then")  # fmt: skip
        check(self.keep in ("best", "last"), "keep", self.keep, "'best' or 'last'")
        losses = list(dict.fromkeys(name for names in LOSSES.values() for name in names))
        check(self.loss in (None, *losses), "loss", self.loss, f"one of {', '.join(losses)}")
        object.__setattr__(self, "task_weights", tuple((str(name), float(one)) for name, one in self.task_weights))
        check(all(0 <= one < float("inf") for _, one in self.task_weights), "task_weights", self.task_weights,
              "numbers of at least 0")  # fmt: skip
        check(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 4294967295")
