"""A fine-tuned network of atoms or bonds with all that prediction needs: a list of values for every molecule."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dgl_moleblend import folder as model_folder
from dgl_moleblend.chem.atom_order import number_smiles
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.inputs import open_inputs
from dgl_moleblend.data.sites import SiteValues, bond_order, num_sites
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.models.site_prior import SitePrior
from dgl_moleblend.models.sites import SitePredictor
from dgl_moleblend.predict.inference import infer
from dgl_moleblend.predict.properties import check_featurizer
from dgl_moleblend.predict.tables import align, predicted


@dataclass(frozen=True)
class SiteModel:
    """A fine-tuned model of atoms or bonds.

    Parameters
    ----------
    predictor : SitePredictor
    featurizer : FeaturizerConfig
        How molecules were, and are to be, turned into numbers.
    task_names : tuple of t str
    prior : SitePrior
    """

    predictor: SitePredictor
    featurizer: FeaturizerConfig
    task_names: tuple[str, ...]
    prior: SitePrior

    @property
    def level(self) -> str:
        """What the sites are, "atom" or "bond"."""
        return self.predictor.level

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> "SiteModel":
        """Load the folder that fine-tuning wrote.

        Raises
        ------
        CheckpointError
            If the folder holds no such model, or is damaged.
        """
        saved = model_folder.read(folder, kinds=(model_folder.SITES,))
        where = str(saved.folder / model_folder.CONFIG_FILE)
        if missing := [key for key in ("featurizer", "task_names", "prior") if key not in saved.extra]:
            raise CheckpointError(f"the folder does not say what is predicted: {', '.join(missing)} missing",
                                  where=where, fix="restore the file, or train the model again")  # fmt: skip
        names = tuple(saved.extra["task_names"])
        featurizer = FeaturizerConfig.from_dict(saved.extra["featurizer"])
        prior = SitePrior.from_stored(saved.extra["prior"], len(names), where)
        return cls(SitePredictor.from_pretrained(Path(folder)), featurizer, names, prior)

    def save_pretrained(self, folder: str | PathLike[str], **facts: object) -> Path:
        """Write the folder; `facts` that JSON can hold are kept beside the rest."""
        extra = {"featurizer": self.featurizer.to_dict(), "task_names": list(self.task_names),
                 "prior": self.prior.to_dict(), **facts}  # fmt: skip
        return self.predictor.save_pretrained(Path(folder), extra)

    def predict(self, dataset: MoleculeDataset, *, progress: bool = True, accelerator: str = "auto") -> SiteValues:
        """Return a value for every site, in its unit; over conformers it is the mean.

        Raises
        ------
        CheckpointError
            If the molecules were featurized with other settings than the model's.
        """
        check_featurizer(self.featurizer, dataset)
        sites = SiteValues.of(dataset, self.level, self.task_names, {})
        if not len(dataset):
            return sites
        found = infer(self.predictor, self.predictor, dataset, description="predict", rows=num_sites(dataset,
                      self.level), progress=progress, accelerator=accelerator)  # fmt: skip
        return sites.replace_values(found * np.array(self.prior.scale) + self.prior.of(sites.kinds))

    def columns(
        self, dataset: MoleculeDataset, *, progress: bool = True, accelerator: str = "auto"
    ) -> dict[str, list[list[float | None]]]:
        """Return for each molecule its list of values, by columns NAME_predicted.

        A list is in RDKit's order of the atoms or bonds of the molecule, without the hydrogens that features drop; None
        for an element (or kind of bond) of which training molecules had no value.
        """
        found = self.predict(dataset, progress=progress, accelerator=accelerator)
        known = found.values.astype(object)
        known[~self.prior.knows(found.kinds)] = None
        columns: dict[str, list[list[float | None]]] = {predicted(name): [] for name in self.task_names}
        for sample, values in zip(dataset, np.split(known, found.counts.cumsum())[:-1], strict=True):
            if self.level == "bond":
                back = np.empty_like(values)
                back[bond_order(sample.molecule)] = values
                values = back
            for name, column in zip(columns, values.T, strict=True):
                columns[name].append(column.tolist())
        return columns

    def tabulate(self, dataset: MoleculeDataset, rejects: pd.DataFrame | None = None, **how: Any) -> pd.DataFrame:
        """Return a row for every molecule and reject, see `align`: lists in the columns of `columns`, else None."""
        columns = self.columns(dataset, **how)
        return _as_lists(align(dataset, {**columns, "smiles": numbered(dataset)}, rejects), columns)

    def predict_any(self, molecules: Any, *, smiles_column: str | None, workers: int, progress: bool,
                    accelerator: str) -> pd.DataFrame:  # fmt: skip
        """Predict molecules in whatever form they come, a row for each input, see `dgl_moleblend.predict`."""
        found = open_inputs(molecules, self.featurizer, smiles_column=smiles_column, workers=workers,
                            progress=progress)  # fmt: skip
        if found.from_file:
            return self.tabulate(found.dataset, progress=progress, accelerator=accelerator)
        columns = self.columns(found.dataset, progress=progress, accelerator=accelerator)
        table = found.table({name: _objects(values) for name, values in columns.items()})
        table["smiles"] = np.where(table["reason"] == "", found.spread(_objects(numbered(found.dataset))),
                                   table["smiles"])  # fmt: skip
        return _as_lists(table, columns)


def numbered(dataset: MoleculeDataset) -> list[str]:
    """Return the SMILES of molecules, with the atoms' numbers + 1 where they are written in another order."""
    chirality = (dataset.featurizer or FeaturizerConfig()).chirality
    return [number_smiles(sample.molecule, sample.smiles, chirality=chirality) for sample in dataset]


def _objects(values: list[Any]) -> np.ndarray:
    found = np.empty(len(values), object)
    for k, value in enumerate(values):  # at once, lists of one length would be an array of two dimensions
        found[k] = value
    return found


def _as_lists(table: pd.DataFrame, columns: Mapping[str, object]) -> pd.DataFrame:
    """Put None where there is no list, and note what the columns hold, for the files they are written to."""
    for name in columns:
        lists = [value if isinstance(value, list) else None for value in table[name]]
        table[name] = pd.Series(lists, index=table.index, dtype=object)
    table.attrs["types"] = dict.fromkeys(columns, pa.list_(pa.float64()))
    return table
