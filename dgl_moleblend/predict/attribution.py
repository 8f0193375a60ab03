"""What each atom adds to a prediction: integrated gradients of the atom embeddings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.config import check
from dgl_moleblend.errors import SchemaError
from dgl_moleblend.models.predictor import MoleBlendPredictor
from dgl_moleblend.pairs.batch import MoleculeBatch, RelationBatch

MOST_POINTS = 512
_CHUNK = 16  # points of the path that go through the model at once


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the atoms of one molecule add to its prediction.

    Parameters
    ----------
    atoms : ndarray, shape (n, t)
        Contribution of every atom to every output, in the output's unit.
    prediction : ndarray, shape (t,)
        Output for the molecule.
    baseline : ndarray, shape (t,)
        Output where the atoms say nothing of themselves.
    points : int
        How many points of the path from baseline to molecule were looked at.
    """

    atoms: np.ndarray
    prediction: np.ndarray
    baseline: np.ndarray
    points: int

    @property
    def gap(self) -> np.ndarray:
        """What the contributions and the baseline lack to the prediction, shape (t,); 0 but for the quadrature."""
        return self.prediction - self.baseline - self.atoms.sum(0)

    def scaled(self, scale: Sequence[float], mean: Sequence[float]) -> "Attribution":
        """Return it in the unit of the targets, where the outputs are ``(target - mean) / scale``."""
        factor, shift = np.asarray(scale, float), np.asarray(mean, float)
        return Attribution(
            self.atoms * factor, self.prediction * factor + shift, self.baseline * factor + shift, self.points
        )


def attribute(
    predictor: MoleBlendPredictor,
    molecule: MoleculeArrays,
    tasks: Sequence[int] | None = None,
    *,
    tolerance: float = 1e-3,
) -> Attribution:
    r"""Attribute a molecule's prediction to its atoms by integrated gradients.

    The embeddings of all atoms (element, charge, hybridisation and the six other features) are scaled from 0 to their
    values, and the gradient along the way is added up:

    .. math:: a_i = \sum_k e_{ik} \int_0^1 \partial f(\alpha e) / \partial (\alpha e_{ik}) \, d\alpha

    so that :math:`\sum_i a_i = f(e) - f(0)`: the contributions add up to what the atoms' features change. What f(0)
    still knows is the skeleton: how atoms are bonded and, for a model in 3D, where they are. A molecule with several
    conformers is attributed as it is predicted, by the mean over them.

    Parameters
    ----------
    predictor : MoleBlendPredictor
        Left as it is: a copy computes, in float64 and evaluation mode.
    molecule : MoleculeArrays
    tasks : sequence of int, optional
        Which t of the predictor's outputs; by default all.
    tolerance : float
        Points of the path are doubled until contributions and difference agree so well, as a share of the larger of
        the difference and the contributions' sizes added up, or are `MOST_POINTS`: `Attribution.gap` says what is left.

    Returns
    -------
    Attribution
        Logits for classification; for regression, values in the scale that the head was trained on.

    Raises
    ------
    SchemaError
        If the molecule has no atoms.
    ValueError
        If a task is not one of the predictor's.

    References
    ----------
    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, section "Integrated Gradients".

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> predictor = mb.MoleBlendPredictor(1, mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()))
    >>> found = attribute(predictor, mb.MoleculeFeaturizer().arrays("CCO"))
    >>> found.atoms.shape, bool(abs(found.gap) < 1e-3)
    ((3, 1), True)
    """
    check(predictor.molecules == 1, "predictor", f"a model of {predictor.molecules} molecules a row",
          "one that reads one molecule: attributions are of that")  # fmt: skip
    chosen = list(range(predictor.n_tasks)) if tasks is None else list(tasks)
    for task in chosen:
        check(0 <= task < predictor.n_tasks, "tasks", task, f"from 0 to {predictor.n_tasks - 1}")
    if not molecule.num_atoms:
        raise SchemaError("the molecule has no atoms", fix="leave it out")
    model = _copy(predictor)
    conformers = max(len(molecule.positions), 1)
    one_each = MoleculeBatch.from_arrays([molecule] * conformers, range(conformers)).relations()
    found = [_attribute(model, _row(one_each, k), chosen, tolerance) for k in range(conformers)]
    atoms, prediction, baseline = (
        np.mean([getattr(one, name) for one in found], 0) for name in ("atoms", "prediction", "baseline")
    )
    return Attribution(atoms, prediction, baseline, max(one.points for one in found))


def _attribute(model: MoleBlendPredictor, molecule: RelationBatch, tasks: list[int], tolerance: float) -> Attribution:
    with torch.no_grad(), _scaled_embedding(model, torch.tensor([0.0, 1.0])):
        baseline, prediction = model(_repeat(molecule, 2))[:, tasks].numpy()
    points = _CHUNK
    while True:
        atoms = _integrate(model, molecule, tasks, points)
        found = Attribution(atoms, prediction, baseline, points)
        size = np.maximum(np.abs(prediction - baseline), np.abs(atoms).sum(0))
        if (np.abs(found.gap) <= tolerance * size).all() or points >= MOST_POINTS:
            return found
        points *= 2


def _integrate(model: MoleBlendPredictor, molecule: RelationBatch, tasks: list[int], points: int) -> np.ndarray:
    """Gauss-Legendre quadrature of gradient times embedding over the path."""
    alphas, weights = (torch.from_numpy(values) / 2 for values in np.polynomial.legendre.leggauss(points))
    alphas = alphas + 0.5  # from (-1, 1) to (0, 1)
    n = molecule.atom.shape[1]
    total = torch.zeros(n, len(tasks), dtype=torch.float64)
    for chunk in torch.arange(points).split(_CHUNK):
        with _scaled_embedding(model, alphas[chunk]) as seen:
            outputs = model(_repeat(molecule, len(chunk)))
        embedding, scaled = seen
        for k, task in enumerate(tasks):
            (gradient,) = torch.autograd.grad(outputs[:, task].sum(), scaled, retain_graph=k + 1 < len(tasks))
            product = (gradient * embedding).sum(-1).reshape(len(chunk), n)
            total[:, k] += weights[chunk] @ product
    return total.numpy()


@contextmanager
def _scaled_embedding(model: MoleBlendPredictor, alphas: Tensor) -> Iterator[list[Tensor]]:
    """Scale the atom embeddings of copy number s of a molecule by ``alphas[s]``; yields them before and after."""
    seen: list[Tensor] = []

    def scale(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        embedding = output.detach()
        rows = embedding.reshape(len(alphas), -1, embedding.shape[-1])  # (s, n, d): copies have no padding
        scaled = (alphas.to(rows)[:, None, None] * rows).reshape(embedding.shape)
        seen.extend((embedding, scaled.requires_grad_(torch.is_grad_enabled())))
        return scaled

    handle = model.encoder.atom_embedding.register_forward_hook(scale)
    try:
        yield seen
    finally:
        handle.remove()


def _copy(predictor: MoleBlendPredictor) -> MoleBlendPredictor:
    """Return the model in float64 on the CPU, in evaluation mode, without gradients of its weights."""
    return deepcopy(predictor).cpu().double().eval().requires_grad_(False)


def _row(batch: RelationBatch, index: int) -> RelationBatch:
    """Molecule number `index` alone, its positions in float64."""
    values = {field.name: getattr(batch, field.name)[index : index + 1] for field in fields(batch)}
    return RelationBatch(**values | {"positions": values["positions"].double()})


def _repeat(batch: RelationBatch, times: int) -> RelationBatch:
    """One molecule, `times` over."""
    return RelationBatch(
        **{
            field.name: getattr(batch, field.name).expand(times, *[-1] * (getattr(batch, field.name).ndim - 1))
            for field in fields(batch)
        }
    )
