"""What a network is fitted by: the masked loss of properties, and how much a rare class weighs."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from dgl_moleblend.models.spread import OUTPUTS, spread_loss
from dgl_moleblend.models.targets import LabelScaling

_ERRORS: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}
_GAMMA = 2


def positive_weights(labels: np.ndarray) -> tuple[float, ...]:
    """Return the weight of class 1 of each task that makes both classes count the same; 1 where a class is absent.

    Parameters
    ----------
    labels : ndarray, shape (training rows, t)
        0, 1 or NaN.

    Examples
    --------
    >>> positive_weights(np.array([[1.0, 1.0], [0.0, 1.0], [0.0, np.nan], [0.0, 1.0]]))
    (3.0, 1.0)
    """
    positive, negative = (labels == 1).sum(0), (labels == 0).sum(0)
    both = (positive > 0) & (negative > 0)
    return tuple(map(float, np.where(both, negative / np.maximum(positive, 1), 1.0)))


def property_loss(
    output: Float[Tensor, "b t"] | Float[Tensor, "b t k"],
    labels: Float[Tensor, "b t"],
    task_type: str,
    scaling: LabelScaling,
    pos_weight: Sequence[float] | None = None,
    loss: str | None = None,
    bounds: Integer[Tensor, "b t"] | None = None,
    importance: Float[Tensor, "b t"] | None = None,
) -> Float[Tensor, ""]:
    """Mean loss over the labels that are present; 0, with zero gradient, where there are none.

    A label that is a bound costs nothing where the prediction is on its right side, and what any label does elsewhere.

    Parameters
    ----------
    output : Tensor, shape (b, t)
        The predictor's: standardised values, or logits; of "gaussian" and "quantile", shape (b, t, k), see `spread`.
    labels : Tensor, shape (b, t)
        In their own unit; NaN = missing.
    task_type : {"regression", "classification", "multiclass"}
    scaling : LabelScaling
    pos_weight : sequence of t floats, optional
        What class 1 of each task weighs, class 0 weighing 1; for classification.
    loss : str, optional
        One of ``LOSSES[task_type]``. Regression, of standardised targets e apart: "mse" is e² (default), "mae" is |e|,
        "huber" is e² / 2 up to 1 and |e| - 1 / 2 beyond. Classification: "cross_entropy" (default), or "focal", which
        multiplies it by (1 - p)², p the probability of the right class, so that molecules told rightly count less.
        Multiclass, whose t columns are the classes: "cross_entropy" of their softmax, once a molecule.
    bounds : Tensor, shape (b, t), integer, optional
        Of a regression: 1 where the value is above its label, -1 below, 0 where it is the label.
    importance : Tensor, shape (b, t), optional
        What each label counts for; of mean 1 over a data set, so that the loss is as large as without.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", with gamma = 2.
    """
    present = ~labels.isnan()
    output = output.float()
    target = torch.where(present, scaling.standardize(labels.double()), 0.0).to(output)
    if task_type == "classification":
        weight = None if pos_weight is None else output.new_tensor(pos_weight)
        each = F.binary_cross_entropy_with_logits(output, target, reduction="none", pos_weight=weight)
        if loss == "focal":
            each = each * (target - output.sigmoid()).abs() ** _GAMMA  # 1 - p
    elif task_type == "multiclass":
        each = -target * output.log_softmax(-1)  # 0 but of the right class
    elif loss in OUTPUTS:
        each = spread_loss(output, target, loss, bounds)
    else:
        if bounds is not None:
            is_right = (bounds * (output.detach() - target)) > 0
            target = torch.where(is_right, output.detach(), target)
        each = _ERRORS[loss or "mse"](output, target, reduction="none")
    if importance is not None:
        each = each * importance
    count = present.any(-1) if task_type == "multiclass" else present
    return (each * present).sum() / count.sum().clamp(min=1)


def label_importance(
    labels: np.ndarray, weights: np.ndarray | None, task_weights: Sequence[float] | None
) -> np.ndarray | None:
    """Return what each training label counts for, of mean 1 over those that are there; None where all are alike.

    Parameters
    ----------
    labels : ndarray, shape (training rows, t)
        NaN = missing.
    weights : ndarray, shape (training rows,), optional
        Of molecules.
    task_weights : sequence of t floats, optional

    Examples
    --------
    >>> label_importance(np.array([[1.0, 5.0], [2.0, np.nan]]), np.array([1.0, 2.0]), [1.0, 3.0]).round(1).tolist()
    [[0.5, 1.5], [1.0, 3.0]]
    """
    if weights is None and task_weights is None:
        return None
    rows = np.ones(len(labels)) if weights is None else weights
    columns = np.ones(labels.shape[1]) if task_weights is None else np.asarray(task_weights, np.float64)
    found = rows[:, None] * columns
    return found / found[~np.isnan(labels)].mean()
