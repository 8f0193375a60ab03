"""What is computed of molecules, in words that another process understands: predictions of all kinds, embeddings."""

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dgl_moleblend.checksums import of_folder, stamps_of
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.predict.embedding import EmbeddingModel
from dgl_moleblend.predict.ensemble import COVERAGE, Ensemble
from dgl_moleblend.predict.sites import SiteModel
from dgl_moleblend.predict.tables import align
from dgl_moleblend.shipped import locate


class Job(Protocol):
    """What is computed of molecules: a function of them and of the files of a model."""

    @property
    def accelerator(self) -> str:
        """Where to compute: "auto", "cpu", "gpu" or "cuda"."""

    @property
    def featurizer(self) -> FeaturizerConfig:
        """How molecules are to be turned into numbers."""

    def tabulate(
        self, dataset: MoleculeDataset, rejects: pd.DataFrame | None = None, *, progress: bool = False
    ) -> pd.DataFrame:
        """Return a row for every molecule and reject (by default those of the data set), see `align`."""

    def plan(self) -> dict[str, Any]:
        """Return what decides the numbers, as JSON can hold it."""


@dataclass(frozen=True)
class Prediction:
    """Properties, by saved models.

    Parameters
    ----------
    folders : tuple of str
        Of the models whose mean is predicted.
    coverage : float
        Of the intervals.
    accelerator : {"auto", "cpu", "gpu", "cuda"}
    """

    folders: tuple[str, ...]
    coverage: float = COVERAGE
    accelerator: str = "auto"

    @property
    def ensemble(self) -> Ensemble:
        """The models, loaded once a process."""
        return _ensemble(self.folders, tuple(stamps_of(locate(folder)) for folder in self.folders))

    @property
    def featurizer(self) -> FeaturizerConfig:
        """How molecules are to be turned into numbers."""
        return self.ensemble.featurizer

    def tabulate(
        self, dataset: MoleculeDataset, rejects: pd.DataFrame | None = None, *, progress: bool = False
    ) -> pd.DataFrame:
        """Return a row for every molecule and reject, see `Ensemble.predict_table`."""
        columns = self.ensemble.predict_columns(dataset, coverage=self.coverage, progress=progress,
                                                accelerator=self.accelerator)  # fmt: skip
        return align(dataset, columns, rejects)

    def plan(self) -> dict[str, Any]:
        """Return what decides the numbers, as JSON can hold it."""
        return {"models": [of_folder(locate(folder)) for folder in self.folders], "coverage": self.coverage}


@functools.lru_cache(maxsize=2)
def _ensemble(folders: tuple[str, ...], stamps: tuple[object, ...]) -> Ensemble:
    return Ensemble.from_pretrained(folders)


@dataclass(frozen=True)
class Embedding:
    """Embeddings of molecules, by the encoder of a saved model.

    Parameters
    ----------
    folder : str
    readout : {"token", "mean", "sum"}, optional
    positions : {"none", "given", "embed"}, optional
        By default as the model was trained.
    accelerator : {"auto", "cpu", "gpu", "cuda"}
    """

    folder: str
    readout: str | None = None
    positions: str | None = None
    accelerator: str = "auto"

    @property
    def model(self) -> EmbeddingModel:
        """The encoder, loaded once a process."""
        return _encoder(self.folder, stamps_of(locate(self.folder)))

    @property
    def featurizer(self) -> FeaturizerConfig:
        """How molecules are to be turned into numbers."""
        known = self.model.featurizer
        return known if self.positions is None else known.replace(positions=self.positions)

    def tabulate(
        self, dataset: MoleculeDataset, rejects: pd.DataFrame | None = None, *, progress: bool = False
    ) -> pd.DataFrame:
        """Return a row for every molecule and reject, see `align`: "embedding" holds arrays (d,), NaN for rejects."""
        model, vectors = self.model, np.empty((0, 0), np.float32)
        if len(dataset):
            vectors = model.embed(dataset, readout=self.readout, progress=progress, accelerator=self.accelerator)
        table = align(dataset, {"embedding": list(vectors)}, rejects)
        none = np.full(model.encoder.config.feat_size, np.nan, np.float32)
        found = [value if isinstance(value, np.ndarray) else none for value in table["embedding"]]
        table["embedding"] = pd.Series(found, index=table.index, dtype=object)
        return table

    def plan(self) -> dict[str, Any]:
        """Return what decides the numbers, as JSON can hold it."""
        return {"models": [of_folder(locate(self.folder))], "readout": self.readout, "positions": self.positions}


@functools.lru_cache(maxsize=2)
def _encoder(folder: str, stamps: tuple[object, ...]) -> EmbeddingModel:
    return EmbeddingModel.from_pretrained(folder)


@dataclass(frozen=True)
class SitePrediction:
    """Values of atoms or bonds, by a saved model.

    Parameters
    ----------
    folder : str
    accelerator : {"auto", "cpu", "gpu", "cuda"}
    """

    folder: str
    accelerator: str = "auto"

    @property
    def model(self) -> SiteModel:
        """The model, loaded once a process."""
        return _site_model(self.folder, stamps_of(locate(self.folder)))

    @property
    def featurizer(self) -> FeaturizerConfig:
        """How molecules are to be turned into numbers."""
        return self.model.featurizer

    def tabulate(
        self, dataset: MoleculeDataset, rejects: pd.DataFrame | None = None, *, progress: bool = False
    ) -> pd.DataFrame:
        """Return a row for every molecule and reject, see `align`: lists, None for rejects."""
        return self.model.tabulate(dataset, rejects, progress=progress, accelerator=self.accelerator)

    def plan(self) -> dict[str, Any]:
        """Return what decides the numbers, as JSON can hold it."""
        return {"models": [of_folder(locate(self.folder))]}


@functools.lru_cache(maxsize=2)
def _site_model(folder: str, stamps: tuple[object, ...]) -> SiteModel:
    return SiteModel.from_pretrained(folder)
