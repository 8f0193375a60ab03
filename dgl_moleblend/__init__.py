"""MoleBLEND for DGL: molecules as graphs of relations, learned by blend-then-predict.

Importing this package makes ``import dgl`` and ``import dgllife`` work on any torch from 2.2 on (see `env.compat`). The
names below are imported when they are first used, so that ``import dgl_moleblend`` and the command line start at once.
"""

import importlib

from dgl_moleblend._version import __version__
from dgl_moleblend.env import compat

compat.install()

TYPE_CHECKING = False  # not typing's own, which takes ten times as long to import as all of this
if TYPE_CHECKING:
    from typing import Any

    from dgl_moleblend import predict
    from dgl_moleblend.config import BlendConfig, EncoderConfig, FeaturizerConfig, PredictorConfig, TrainingConfig
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.dgllife import MoleBlendAtomFeaturizer, MoleBlendBondFeaturizer, MoleBlendPairFeaturizer
    from dgl_moleblend.errors import CheckpointError, ConfigError, DataError, MoleBlendError, MoleculeError, SchemaError
    from dgl_moleblend.models import reference
    from dgl_moleblend.models.predictor import MoleBlendPredictor
    from dgl_moleblend.models.pretraining import BlendPretraining
    from dgl_moleblend.nn.blend import Blend, draw_blend, draw_noise
    from dgl_moleblend.nn.encoder import MoleBlendEncoder
    from dgl_moleblend.nn.layer import MoleBlendLayer
    from dgl_moleblend.pairs.batch import MoleculeBatch, RelationBatch
    from dgl_moleblend.pairs.cut_off import cut_off
    from dgl_moleblend.pairs.graph import MoleculeFeaturizer
    from dgl_moleblend.predict.front import embed
    from dgl_moleblend.report.loaded import LoadedModel, load
    from dgl_moleblend.request import Compute, Task
    from dgl_moleblend.shipped import pretrained
    from dgl_moleblend.train.atoms import finetune_atoms
    from dgl_moleblend.train.front import finetune, pretrain

_HOMES = {
    "Blend": "nn.blend",
    "BlendConfig": "config",
    "BlendPretraining": "models.pretraining",
    "CheckpointError": "errors",
    "Compute": "request",
    "ConfigError": "errors",
    "DataError": "errors",
    "EncoderConfig": "config",
    "FeaturizerConfig": "config",
    "LoadedModel": "report.loaded",
    "MoleBlendAtomFeaturizer": "dgllife",
    "MoleBlendBondFeaturizer": "dgllife",
    "MoleBlendEncoder": "nn.encoder",
    "MoleBlendError": "errors",
    "MoleBlendLayer": "nn.layer",
    "MoleBlendPairFeaturizer": "dgllife",
    "MoleBlendPredictor": "models.predictor",
    "MoleculeBatch": "pairs.batch",
    "MoleculeDataset": "data.dataset",
    "MoleculeError": "errors",
    "MoleculeFeaturizer": "pairs.graph",
    "PredictorConfig": "config",
    "RelationBatch": "pairs.batch",
    "SchemaError": "errors",
    "Task": "request",
    "TrainingConfig": "config",
    "cut_off": "pairs.cut_off",
    "draw_blend": "nn.blend",
    "draw_noise": "nn.blend",
    "embed": "predict.front",
    "finetune": "train.front",
    "finetune_atoms": "train.atoms",
    "load": "report.loaded",
    "pretrain": "train.front",
    "pretrained": "shipped",
}
_MODULES = {"predict": "predict", "reference": "models.reference"}  # predict: a room that can also be called

__all__ = [
    "Blend",
    "BlendConfig",
    "BlendPretraining",
    "CheckpointError",
    "Compute",
    "ConfigError",
    "DataError",
    "EncoderConfig",
    "FeaturizerConfig",
    "LoadedModel",
    "MoleBlendAtomFeaturizer",
    "MoleBlendBondFeaturizer",
    "MoleBlendEncoder",
    "MoleBlendError",
    "MoleBlendLayer",
    "MoleBlendPairFeaturizer",
    "MoleBlendPredictor",
    "MoleculeBatch",
    "MoleculeDataset",
    "MoleculeError",
    "MoleculeFeaturizer",
    "PredictorConfig",
    "RelationBatch",
    "SchemaError",
    "Task",
    "TrainingConfig",
    "__version__",
    "cut_off",
    "draw_blend",
    "draw_noise",
    "embed",
    "finetune",
    "finetune_atoms",
    "load",
    "predict",
    "pretrain",
    "pretrained",
    "reference",
]


def __getattr__(name: str) -> "Any":
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
