"""What one would take instead: the mean, a random forest on Morgan fingerprints, dgllife's GCN and AttentiveFP."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

import dgl_moleblend as mb  # noqa: F401 - first: after it, `import dgl` works on any torch

# isort: split
import dgl
from dgllife.model import AttentiveFPPredictor, GCNPredictor
from dgllife.utils import CanonicalAtomFeaturizer, CanonicalBondFeaturizer, mol_to_bigraph
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from dgl_moleblend.chem.sanitize import read_smiles
from dgl_moleblend.chem.similarity import fingerprints
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.models.losses import property_loss
from dgl_moleblend.models.scores import LOWER_IS_BETTER, METRICS, score
from dgl_moleblend.models.targets import LabelScaling, to_prediction

HELD_OUT = ("validation", "test")
Predictions = dict[str, np.ndarray]


class Problem(NamedTuple):
    """Molecules with labels, divided.

    Parameters
    ----------
    dataset : MoleculeDataset
    parts : dict of "train", "validation" and "test" to indices into it
    task_type : {"regression", "classification"}
    metric : str
        Validation score by which early stopping chooses.
    """

    dataset: MoleculeDataset
    parts: dict[str, np.ndarray]
    task_type: str
    metric: str

    def labels(self, part: str) -> np.ndarray:
        """Labels of a part, shape (rows, t), NaN = missing."""
        return self.dataset.labels[self.parts[part]].astype(np.float64)

    def smiles(self, part: str) -> list[str]:
        """SMILES of a part."""
        return self.dataset.subset(self.parts[part]).smiles

    def score(self, part: str, prediction: np.ndarray) -> dict[str, Any]:
        """Score predictions of a part."""
        return score(prediction, self.labels(part), self.task_type, self.dataset.task_names)


def mean(problem: Problem, seed: int) -> Predictions:
    """Predict the training rows' mean, or share of class 1."""
    constant = np.nanmean(problem.labels("train"), 0)
    return {part: np.tile(constant, (len(problem.parts[part]), 1)) for part in HELD_OUT}


def forest(problem: Problem, seed: int, *, trees: int) -> Predictions:
    """Fit a random forest to Morgan fingerprints (radius 2, 2,048 bits), for each task on the rows that have it."""
    bits = {part: np.unpackbits(fingerprints(problem.smiles(part)), axis=1) for part in problem.parts}
    columns: dict[str, list[np.ndarray]] = {part: [] for part in HELD_OUT}
    kind = RandomForestClassifier if problem.task_type == "classification" else RandomForestRegressor
    for labels in problem.labels("train").T:
        present = ~np.isnan(labels)
        model = kind(trees, random_state=seed, n_jobs=torch.get_num_threads())
        model.fit(bits["train"][present], labels[present])
        for part in HELD_OUT:
            if problem.task_type == "regression":
                columns[part].append(model.predict(bits[part]))
            else:  # classes are 0 and 1, or one of them: the probability of 1
                columns[part].append(model.predict_proba(bits[part]) @ model.classes_)
    return {part: np.stack(found, 1) for part, found in columns.items()}


def graph_network(
    name: str,
    problem: Problem,
    seed: int,
    *,
    epochs: int,
    patience: int,
    batch_size: int,
    learning_rate: float,
    **shape: Any,
) -> Predictions:
    """Train a model of dgllife with Adam, keep the weights of the best validation score and predict with them."""
    torch.manual_seed(seed)
    graphs = {part: make_graphs(problem.smiles(part)) for part in problem.parts}
    labels = torch.as_tensor(problem.labels("train"), dtype=torch.float32)
    regression = problem.task_type == "regression"
    scaling = LabelScaling.fit(problem.labels("train")) if regression else LabelScaling.none(labels.shape[1])
    model = make_network(name, labels.shape[1], **shape)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    sign = -1 if problem.metric in LOWER_IS_BETTER else 1
    best, best_epoch, weights = -np.inf, 0, model.state_dict()
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(labels)).split(batch_size):
            if len(rows) == 1:  # GCNPredictor normalises over the batch; the molecule has its turn in another epoch
                continue
            output = forward(name, model, [graphs["train"][k] for k in rows])
            loss = property_loss(output, labels[rows], problem.task_type, scaling)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        prediction = predict(name, model, graphs["validation"], problem.task_type, scaling, batch_size)
        value = sign * problem.score("validation", prediction)[problem.metric]
        if value > best:
            best, best_epoch, weights = value, epoch, copy.deepcopy(model.state_dict())
        if epoch - best_epoch >= patience:
            break
    model.load_state_dict(weights)
    return {part: predict(name, model, graphs[part], problem.task_type, scaling, batch_size) for part in HELD_OUT}


def make_graphs(smiles: Sequence[str]) -> list[dgl.DGLGraph]:
    """Return dgllife's graphs with its canonical features; self-loops, so that a lone atom has an edge."""
    features = {
        "node_featurizer": CanonicalAtomFeaturizer(atom_data_field="h"),
        "edge_featurizer": CanonicalBondFeaturizer(bond_data_field="e", self_loop=True),
    }
    return [mol_to_bigraph(read_smiles(text), add_self_loop=True, **features) for text in smiles]


def make_network(name: str, n_tasks: int, *, layers: int, width: int, dropout: float) -> nn.Module:
    """Make a fresh model for the canonical features; `width` is that of the layers, or of AttentiveFP's graphs."""
    atoms = CanonicalAtomFeaturizer(atom_data_field="h").feat_size("h")
    if name == "gcn":
        per_layer: dict[str, list[Any]] = {
            "hidden_feats": [width] * layers,
            "residual": [True] * layers,
            "batchnorm": [False] * layers,
        }
        per_layer["dropout"] = [dropout] * layers
        return GCNPredictor(atoms, predictor_dropout=dropout, n_tasks=n_tasks, **per_layer)
    bonds = CanonicalBondFeaturizer(bond_data_field="e", self_loop=True).feat_size("e")
    return AttentiveFPPredictor(
        atoms, bonds, num_layers=layers, graph_feat_size=width, dropout=dropout, n_tasks=n_tasks
    )


def forward(name: str, model: nn.Module, graphs: Sequence[dgl.DGLGraph]) -> torch.Tensor:
    """Return the model's output for molecules, shape (b, t)."""
    batch = dgl.batch(graphs)
    features = (batch.ndata["h"],) if name == "gcn" else (batch.ndata["h"], batch.edata["e"])
    return model(batch, *features)


@torch.no_grad()
def predict(
    name: str, model: nn.Module, graphs: list[dgl.DGLGraph], task_type: str, scaling: LabelScaling, batch_size: int
) -> np.ndarray:
    """Predict in the unit of the labels, or probabilities, shape (rows, t)."""
    model.eval()
    batches = (graphs[begin : begin + batch_size] for begin in range(0, len(graphs), batch_size))
    outputs = [forward(name, model, batch) for batch in batches]
    return to_prediction(torch.cat(outputs), task_type, scaling).numpy()


def make_problem(dataset: MoleculeDataset, split: tuple[np.ndarray, ...], task_type: str) -> Problem:
    """Return a problem whose models are chosen by their customary score."""
    parts = dict(zip(("train", *HELD_OUT), split, strict=True))
    return Problem(dataset, parts, task_type, METRICS[task_type][0])
