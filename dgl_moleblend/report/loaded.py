"""A saved model as a user holds it: it predicts and embeds, and shows what its folder knows of how good it is."""

import functools
import io
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dgl_moleblend import folder as model_folder
from dgl_moleblend.config import check
from dgl_moleblend.data.inputs import path_of
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import METRICS_FILE, REPORT_FILE, make_folder, read_json
from dgl_moleblend.predict.ensemble import COVERAGE, Ensemble
from dgl_moleblend.predict.front import Saved, SavedModel
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.predict.tables import place_beside, predicted
from dgl_moleblend.report.results import Results, kept_epoch, main_curves, read_curves, read_results
from dgl_moleblend.report.site_results import read_site_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LoadedModel(SavedModel):
    """A saved model in memory: loaded once, asked often; `load`, `finetune` and `pretrain` give it.

    It speaks in the unit of the labels, or in probabilities of class 1.

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

    @property
    def folder(self) -> Path | None:
        """Its folder; None of several, or of weights that ship."""
        folder = Path(self._folders[0])
        return folder if len(self._folders) == 1 and folder.is_dir() else None

    @property
    def report(self) -> Path:
        """The page that says how good it is, to be opened in a browser.

        Raises
        ------
        DataError
            If there is none.
        """
        return self._file(REPORT_FILE)

    @property
    def metrics(self) -> dict[str, Any]:
        """Scores as in metrics.json: "validation", "test", "mean_predictor" and what was compared.

        Raises
        ------
        DataError
            If there are none, as of a pretrained model.
        """
        return read_json(self._file(METRICS_FILE))

    @property
    def predictions(self) -> pd.DataFrame:
        """Held-out rows (of values of atoms or bonds, a row each): row, id, smiles, split, label beside prediction.

        Raises
        ------
        DataError
            If there are none, or a file is damaged.
        """
        return self._results().predictions

    @property
    def rows(self) -> pd.DataFrame:
        """Every input row: row, split ("train", "validation", "test", "rejected" or "left out") and reason.

        Raises
        ------
        DataError
            If it was not fine-tuned, or a file is damaged.
        """
        results = self._results()
        split, rejects = results.split, results.rejects
        tables = [split.assign(row=split["row"].astype(int), reason="")[["row", "split", "reason"]]]
        if rejects is not None:
            lost = rejects.assign(row=rejects["row"].astype(int), split="rejected")
            tables.append(lost[["row", "split", "reason"]])
        table = pd.concat(tables).set_index("row").sort_index()
        every = pd.RangeIndex(int(table.index.max()) + 1, name="row")
        return table.reindex(every).fillna({"split": "left out", "reason": ""}).reset_index()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Copy the model folder, with its report.

        Raises
        ------
        DataError
            If it has no folder of its own, or there is something of this name.
        """
        return make_folder(folder, functools.partial(shutil.copytree, self._own_folder()))

    def calibrate(self, measured: Any, *, smiles_column: str | None = None, overwrite: bool = False, workers: int = 0,
                  progress: bool = True, accelerator: str = "auto") -> None:  # fmt: skip
        """Make intervals, or rescale probabilities, by measured molecules that it did not learn from.

        Its folder gets calibration_file.json, by which it goes from then on, and a new report.html. Molecules of the
        training set are left out.

        Parameters
        ----------
        measured
            A table, file or data set with the columns of labels that it was trained on; or ``(molecules, values)``.
        smiles_column, workers, progress, accelerator
            See `predict`.
        overwrite : bool
            Whether an earlier calibration on measured molecules is replaced.

        Raises
        ------
        DataError
            If there is an earlier one, it has no folder of its own, or the labels are not such as the model's.
        """
        from dgl_moleblend.report.measured import calibrate

        check(self._sites is None, "model", self.name, "a model of molecules: this one has no intervals")
        calibrate(self._own_folder(), measured, smiles_column=smiles_column, overwrite=overwrite, workers=workers,
                  progress=progress, accelerator=accelerator)  # fmt: skip
        self._ensemble = Ensemble.from_pretrained(self._folders)

    def write_page(
        self,
        molecules: Any,
        path: str | os.PathLike[str],
        *,
        coverage: float = COVERAGE,
        smiles_column: str | None = None,
        workers: int = 0,
        progress: bool = True,
        accelerator: str = "auto",
    ) -> Path:
        """Predict properties, and write them as an HTML page: a table that sorts, with structures and intervals.

        Parameters
        ----------
        molecules
            See `embed`; the other columns of a DataFrame or file are kept.
        path : path
            The page. It loads nothing from elsewhere.
        coverage, smiles_column, workers, progress, accelerator
            See `predict`.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        CheckpointError, DataError
            As `predict`.
        """
        from dgl_moleblend.report.predictions import write_predictions

        check(self._sites is None, "model", self.name, "a model of molecules: a page has no room for lists")
        how: dict[str, Any] = {"coverage": coverage, "smiles_column": smiles_column, "workers": workers,
                               "progress": progress, "accelerator": accelerator}  # fmt: skip
        if (file := path_of(molecules)) and os.path.isfile(file):
            table = pd.concat(self.stream(file, **how), ignore_index=True)
        else:
            table = self.predict(molecules, **how)
            if isinstance(molecules, pd.DataFrame):
                names = [name for name in molecules if name not in ("smiles", "id")]
                cells: Any = molecules[names].to_dict("records")
                table = place_beside(table, cells, dict.fromkeys(map(str, names)))
        assert self._ensemble is not None  # or there were no predictions
        name = ", ".join(Path(one).resolve().name for one in self._folders)
        for text in write_predictions(table, path, self._ensemble, model=name, coverage=coverage):
            warnings.warn(text, stacklevel=2)
        return Path(path)

    def explain(self, molecule: Any) -> pd.DataFrame:
        """Say what each atom adds to the prediction, by integrated gradients (see `predict.attribution`).

        Parameters
        ----------
        molecule : str or RDKit Mol

        Returns
        -------
        DataFrame
            A row for each heavy atom: element, and for each property what the atom adds, in its unit (of classes, in
            log odds). ``attrs`` holds "prediction" and "baseline", what is predicted of the bare skeleton.

        Raises
        ------
        ConfigError
            If not all its models are networks.
        MoleculeError
            If the molecule cannot be read.
        """
        return self._attribute(molecule)[1]

    def plot_atoms(self, molecule: Any, *, numbers: bool = False) -> "Figure":
        """Draw a molecule with what each atom adds to the prediction: orange raises it, purple lowers it.

        Parameters
        ----------
        molecule : str or RDKit Mol
        numbers : bool
            Whether atoms are numbered, as the rows of `explain` are.

        Raises
        ------
        ConfigError, MoleculeError
            As `explain`.
        """
        from dgl_moleblend.report.drawings import atom_contributions

        mol, table = self._attribute(molecule)
        names = [f"{name} (log odds)" if self._classifies else name for name in self.task_names]
        captions = [f"predicted {a:.3g} = bare skeleton {b:.3g} + atoms {a - b:+.3g}"
                    for a, b in zip(table.attrs["prediction"], table.attrs["baseline"], strict=True)]  # fmt: skip
        added = table[list(self.task_names)].to_numpy()
        return _shown(atom_contributions(mol, added, names, captions, numbers=numbers))

    def plot_parity(self) -> "Figure":
        """Draw predicted against measured values, with intervals, of the test rows (else of the validation rows).

        Raises
        ------
        ConfigError
            If it tells classes.
        DataError
            If it was not fine-tuned, or a file is damaged.
        """
        from dgl_moleblend.report.figures import parity

        results = self._results()
        check(not results.classifies, "model", self.name, "a regression; of classes draw plot_roc()")
        scores = results.metrics[results.part]["tasks"]
        captions = [f"{results.part}, RMSE {scores[name]['rmse']:.3g}" if scores[name].get("rmse") is not None else ""
                    for name in results.tasks]  # fmt: skip
        bounds = np.stack([results.bounds(name) for name in results.tasks], 1)
        return _shown(parity(*_values(results), results.tasks, captions, None, results.half_widths, COVERAGE, bounds))

    def plot_roc(self) -> "Figure":
        """Draw ROC curves of the test rows (of the validation rows where there are none).

        Raises
        ------
        ConfigError
            If it is a regression.
        DataError
            If it was not fine-tuned, or a file is damaged.
        """
        from dgl_moleblend.report.figures import roc

        results = self._results()
        check(results.classifies, "model", self.name, "a classification; of numbers draw plot_parity()")
        return _shown(roc(*_values(results), results.tasks))

    def plot_losses(self) -> "Figure":
        """Draw what was logged while a network was trained.

        Raises
        ------
        DataError
            If there are no logs.
        """
        from dgl_moleblend.report.figures import loss_curves

        folder = self._own_folder()
        curves = read_curves(folder)
        if not (folder / METRICS_FILE).is_file():  # after pretraining
            return _shown(loss_curves(main_curves(curves, None)))
        metrics = self.metrics
        return _shown(loss_curves(main_curves(curves, metrics["metric"]), kept_epoch(curves, metrics)))

    @property
    def _classifies(self) -> bool:
        return self._ensemble is not None and self._ensemble.members[0].task_type != "regression"

    def _attribute(self, molecule: Any) -> tuple[Any, pd.DataFrame]:
        from dgl_moleblend.chem.compact import prepare
        from dgl_moleblend.pairs.graph import MoleculeFeaturizer
        from dgl_moleblend.predict.attribution import attribute

        check(
            self._sites is None, "model", self.name, "a model of molecules: this one predicts each atom or bond itself"
        )
        members = () if self._ensemble is None else self._ensemble.members
        networks = [one for one in members if isinstance(one, PropertyModel)]
        hint = "finetune(..., head='network') makes one"
        if 0 < len(networks) < len(members) and self.folder is not None:
            hint = model_folder.one_of(self.folder, model_folder.NETWORKS)
        check(0 < len(networks) == len(members), "model", self.name, f"a network, whose atoms can be asked: {hint}")
        mol = prepare(molecule, steps=self.featurizer.standardize)
        arrays = MoleculeFeaturizer.from_config(self.featurizer).arrays(mol, prepared=True)
        found = [attribute(one.predictor, arrays).scaled(one.scaling.scale, one.scaling.mean) for one in networks]
        assert self._ensemble is not None
        weights = self._ensemble.weights or [1.0] * len(found)

        def mean(name: str) -> np.ndarray:
            return np.average([getattr(one, name) for one in found], axis=0, weights=weights)

        table = pd.DataFrame(mean("atoms"), columns=list(self.task_names))
        table.insert(0, "element", [atom.GetSymbol() for atom in mol.GetAtoms()])
        table.index.name = "atom"
        table.attrs |= {name: mean(name).tolist() for name in ("prediction", "baseline")}
        return mol, table

    def _results(self) -> Results:
        self._file(METRICS_FILE)
        return (read_results if self._sites is None else read_site_results)(self._own_folder())

    def _own_folder(self) -> Path:
        if self.folder is None:
            raise DataError(f"{self.name} is no folder of one fine-tuned model", fix="ask a model that finetune made")
        return self.folder

    def _file(self, name: str) -> Path:
        path = self._own_folder() / name
        if not path.is_file():
            raise DataError(f"there is no {name}", where=str(path.parent), fix="ask a model that finetune made")
        return path


def load(model: Saved | Iterable[Saved]) -> LoadedModel:
    """Load a saved model, to ask it as often as you like.

    Parameters
    ----------
    model : name, path or paths
        A folder that `pretrain` or `finetune` wrote, of one model or of several; the name of weights that ship
        (`mb.pretrained()`); or several folders of fine-tuned models, whose mean is predicted.

    Returns
    -------
    LoadedModel

    Raises
    ------
    CheckpointError
        If there is no such model, or its files are damaged.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> mb.load("mini")
    <mini: encoder, 0.87 million weights, width 128>
    """
    if isinstance(model, LoadedModel):
        return model
    check(isinstance(model, str | os.PathLike | Iterable), "model", model, "a name or folder of a model, or folders")
    return LoadedModel(model)


def _values(results: Results) -> tuple[np.ndarray, np.ndarray]:
    names: Sequence[str] = results.tasks
    return results.shown[[predicted(name) for name in names]].to_numpy(float), results.shown[names].to_numpy(float)


def _shown(figure: "Figure") -> "Figure":
    """Return a picture that a notebook shows, whether or not pyplot has been imported there."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            return buffer.getvalue()

    figure.__class__ = Picture
    return figure
