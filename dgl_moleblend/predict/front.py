"""Molecules in any form -> embeddings or predictions, one row for every input: what most users need."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.inputs import open_inputs
from dgl_moleblend.files import ENSEMBLE_FILE
from dgl_moleblend.folder import KINDS, NETWORKS, SITES, read
from dgl_moleblend.nn.readout import READOUTS
from dgl_moleblend.predict.embedding import EmbeddingModel, read_model
from dgl_moleblend.predict.ensemble import COVERAGE, Ensemble
from dgl_moleblend.predict.jobs import Prediction, SitePrediction
from dgl_moleblend.predict.members import is_model
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.predict.screen import Files
from dgl_moleblend.predict.sites import SiteModel
from dgl_moleblend.readers.molecules import MoleculeReader

Saved = str | os.PathLike[str]


class SavedModel:
    """A saved model in memory: loaded once, asked often; `dgl_moleblend.LoadedModel` adds what its folder tells.

    Parameters
    ----------
    saved : name, path or paths

    Attributes
    ----------
    name : str
        Name or folder that it was loaded from.
    task_names : tuple of str
        Properties that it predicts; empty for a pretrained model.
    featurizer : FeaturizerConfig
        How it turns molecules into numbers.
    """

    def __init__(self, saved: Saved | Iterable[Saved]) -> None:
        folders = [saved] if isinstance(saved, str | os.PathLike) else list(saved)
        self._folders = folders
        self.name = ", ".join(map(str, folders))
        self._ensemble: Ensemble | None = None
        self._embedding: EmbeddingModel | None = None
        self._sites: SiteModel | None = None
        if len(folders) == 1 and not os.path.isfile(Path(folders[0], ENSEMBLE_FILE)):
            found = read(folders[0], kinds=KINDS)
            if found.kind == SITES:
                self._sites = SiteModel.from_pretrained(folders[0])
                predictor = self._sites.predictor
                self._embedding = EmbeddingModel(predictor.encoder, self._sites.featurizer, predictor.relations, "mean")
                return
            if found.kind in NETWORKS and (found.kind != "predictor" or "task_names" not in found.extra):
                self._embedding = EmbeddingModel.from_pretrained(folders[0])
                return
        self._ensemble = Ensemble.from_pretrained(folders)
        if len(self._ensemble.members) == 1 and isinstance(self._ensemble.members[0], PropertyModel):
            network = self._ensemble.members[0].predictor
            self._embedding = EmbeddingModel(
                network.encoder, self._ensemble.featurizer, network.relations, network.readout, strict=True
            )

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the properties that it predicts."""
        known = self._ensemble or self._sites
        return () if known is None else known.task_names

    @property
    def featurizer(self) -> FeaturizerConfig:
        """How it turns molecules into numbers."""
        known = self._ensemble or self._embedding
        assert known is not None
        return known.featurizer

    def __repr__(self) -> str:
        if self._sites is not None:
            return f"<{self.name}: {', '.join(self.task_names)} of {self._sites.level}s>"
        if self._ensemble is None:
            assert self._embedding is not None
            encoder = self._embedding.encoder
            weights = sum(value.numel() for value in encoder.parameters())
            return f"<{self.name}: encoder, {weights / 1e6:.2g} million weights, width {encoder.config.feat_size}>"
        members, tasks = self._ensemble.members, self.task_names
        of = f"{len(tasks)} properties" if len(tasks) > 3 else ", ".join(tasks)
        several = f", mean of {len(members)} models" if len(members) > 1 else ""
        return f"<{self.name}: {members[0].task_type} of {of}{several}>"

    def predict(
        self,
        molecules: Any,
        *,
        coverage: float = COVERAGE,
        smiles_column: str | None = None,
        workers: int = 0,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> pd.DataFrame:
        """Predict properties, see `predict`.

        Raises
        ------
        CheckpointError
            If the model is a pretrained one, which predicts none.
        """
        if self._sites is not None:
            check(coverage == COVERAGE, "coverage", coverage, "left out: values of atoms and bonds have no intervals")
            return self._sites.predict_any(molecules, smiles_column=smiles_column, workers=workers, progress=progress,
                                           accelerator=accelerator)  # fmt: skip
        ensemble = self._ensemble or Ensemble.from_pretrained(self._folders)  # which says what is missing
        return _predict(ensemble, molecules, coverage, smiles_column, workers, progress, accelerator)

    def stream(
        self,
        files: Saved | Sequence[Saved],
        *,
        coverage: float = COVERAGE,
        smiles_column: str | None = None,
        workers: int = 0,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> Iterator[pd.DataFrame]:
        """Predict properties of molecules in files of any length, some 2,000 rows after the other.

        Parameters
        ----------
        files : path or paths
        coverage, smiles_column, workers, progress, accelerator
            See `predict`.

        Yields
        ------
        DataFrame
            The next rows: row, source, line, id, smiles, the columns of the file, and those of `predict`.

        Raises
        ------
        CheckpointError
            If the model is a pretrained one, which predicts none.
        DataError
            If a file is missing or damaged.
        """
        job: Prediction | SitePrediction
        columns: tuple[str, ...] = ()
        several: tuple[str, ...] = ()
        if self._sites is not None:
            check(coverage == COVERAGE, "coverage", coverage, "left out: values of atoms and bonds have no intervals")
            job = SitePrediction(str(self._folders[0]), accelerator)
        else:
            job = Prediction(tuple(str(folder) for folder in self._folders), coverage, accelerator)
            columns, several = job.ensemble.feature_columns, job.ensemble.smiles_columns
        reader = MoleculeReader(files, smiles_column=several[0] if several else smiles_column, task_columns=columns,
                                keep_cells=True)  # fmt: skip
        others = [MoleculeReader(files, smiles_column=name) for name in several[1:]]
        for _, table in Files(reader, others, several).steps(job, workers=workers, progress=progress):
            table.attrs.clear()  # types of the columns, which are for our own files
            yield table

    def embed(
        self,
        molecules: Any,
        *,
        readout: str | None = None,
        relations: Sequence[str] | None = None,
        positions: str | None = None,
        smiles_column: str | None = None,
        workers: int = 0,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> Float[np.ndarray, "m d"]:
        """Compute embeddings, see `embed`.

        Raises
        ------
        CheckpointError
            If it is an ensemble, which has no embeddings of its own.
        """
        if self._embedding is None:
            for folder in self._folders:
                read_model(folder)  # which says that an ensemble has none
        check(self._embedding is not None, "model", self.name, "one model: several have no embeddings of their own")
        assert self._embedding is not None
        how = {"readout": readout, "relations": relations, "accelerator": accelerator}
        return _embed(self._embedding, molecules, positions, smiles_column, workers, progress, how)


def embed(
    molecules: Any,
    model: Saved | SavedModel,
    *,
    readout: str | None = None,
    relations: Sequence[str] | None = None,
    positions: str | None = None,
    smiles_column: str | None = None,
    workers: int = 0,
    progress: bool = True,
    accelerator: str = "auto",
) -> Float[np.ndarray, "m d"]:
    """Compute an embedding for every input row.

    Parameters
    ----------
    molecules
        A SMILES or RDKit Mol; a list, array or Series of these; a DataFrame with a column of SMILES; the path of a file
        or of a data set that `featurize` wrote; or a MoleculeDataset.
    model : name, path or SavedModel
        Weights that ship (`mb.pretrained()`), or the folder of a pretrained or fine-tuned model.
    readout : {"token", "mean", "sum"}, optional
        The graph token's final state, or the mean or sum over the atoms'; by default as the model reads.
    relations : sequence of str, optional
        Which of "spd", "bond_path" and "distance" enter; by default those of the fine-tuned model, else all that the
        molecules have.
    positions : {"none", "given", "embed"}, optional
        3D coordinates of molecules that are featurized here; by default as the model wants them.
    smiles_column : str, optional
        Of a DataFrame or file; by default found by its name.
    workers : int
        Processes that featurize; 0 for this one. From a script, needs the usual ``if __name__ == "__main__":``.
    progress : bool
        Whether what takes more than a second shows a bar.
    accelerator : {"auto", "cpu", "gpu", "cuda"}

    Returns
    -------
    ndarray, shape (m, d), float32
        One row for each of the m inputs, in their order; NaN where there is no molecule (`mb.predict`, and
        ``MoleculeDataset.rejects``, tell why).

    Raises
    ------
    CheckpointError
        If there is no such model.
    DataError
        If `molecules` is nothing of the above, or a file is missing or damaged.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> vectors = mb.embed(["CCO", "not a molecule", "c1ccccc1"], "mini")
    >>> vectors.shape, vectors.dtype, np.isnan(vectors).any(axis=1).tolist()
    ((3, 128), dtype('float32'), [False, True, False])
    """
    check(isinstance(model, str | os.PathLike | SavedModel), "model", model,
          "a name or folder of a model: embed(molecules, model)")  # fmt: skip
    how = {"readout": readout, "relations": relations, "accelerator": accelerator}
    if isinstance(model, SavedModel):
        return model.embed(molecules, positions=positions, smiles_column=smiles_column, workers=workers,
                           progress=progress, **how)  # type: ignore[arg-type]  # fmt: skip
    return _embed(EmbeddingModel.from_pretrained(model), molecules, positions, smiles_column, workers, progress, how)


def predict(
    model: Saved | Iterable[Saved] | SavedModel,
    molecules: Any,
    *,
    coverage: float = COVERAGE,
    smiles_column: str | None = None,
    workers: int = 0,
    progress: bool = True,
    accelerator: str = "auto",
) -> pd.DataFrame:
    """Predict properties of every input row, in the unit of the labels (or probabilities of class 1).

    Parameters
    ----------
    model : name, path, paths or SavedModel
        What `finetune` wrote; the mean of several is predicted.
    molecules
        See `embed`.
    coverage : float
        Of the intervals of a regression.
    smiles_column, workers, progress, accelerator
        See `embed`.

    Returns
    -------
    DataFrame
        One row for each input, in their order and with the index of a Series or DataFrame: smiles, the columns of
        `Ensemble.predict_table` (NAME_predicted, NAME_spread, NAME_lower, NAME_upper, similarity, nearest, warning),
        and reason: why there is no prediction (NaN), else "". Rows of a file or data set begin with row, source, line,
        id. Of a model of atoms or bonds NAME_predicted holds lists, see `finetune_atoms`, None where there is none.

    Raises
    ------
    CheckpointError
        If there is no such model, or molecules of a data set were featurized with other settings than its own.
    DataError
        As `embed`.
    """
    swapped = isinstance(molecules, SavedModel) or (
        isinstance(molecules, str | os.PathLike) and os.path.isdir(molecules) and is_model(molecules)
    )
    check(not swapped, "molecules", molecules, "molecules, and stand behind the model: predict(model, molecules)")
    if not isinstance(model, SavedModel):
        model = SavedModel(model)
    return model.predict(molecules, coverage=coverage, smiles_column=smiles_column, workers=workers,
                         progress=progress, accelerator=accelerator)  # fmt: skip


def _embed(
    model: EmbeddingModel,
    molecules: Any,
    positions: str | None,
    smiles_column: str | None,
    workers: int,
    progress: bool,
    how: dict[str, Any],
) -> np.ndarray:
    check(how["readout"] in (None, *READOUTS), "readout", how["readout"], f"one of {', '.join(map(repr, READOUTS))}")
    featurizer = model.featurizer if positions is None else model.featurizer.replace(positions=positions)
    found = open_inputs(molecules, featurizer, smiles_column=smiles_column, workers=workers, progress=progress)
    if not len(found.dataset):
        return np.full((len(found), model.encoder.config.feat_size), np.nan, np.float32)
    return found.spread(model.embed(found.dataset, progress=progress, **how))


def _predict(
    ensemble: Ensemble,
    molecules: Any,
    coverage: float,
    smiles_column: str | None,
    workers: int,
    progress: bool,
    accelerator: str,
) -> pd.DataFrame:
    check(not (ensemble.smiles_columns and smiles_column), "smiles_column", smiles_column,
          f"left out: the model reads {', '.join(ensemble.smiles_columns)}")  # fmt: skip
    found = open_inputs(molecules, ensemble.featurizer, columns=ensemble.feature_columns, workers=workers,
                        smiles_column=ensemble.smiles_columns or smiles_column, progress=progress)  # fmt: skip
    how: dict[str, Any] = {"coverage": coverage, "progress": progress, "accelerator": accelerator}
    if found.from_file:
        return ensemble.predict_table(found.dataset, **how)
    return found.table(ensemble.predict_columns(found.dataset, **how))
