"""Probabilities of classes, rescaled by rows that a model did not learn from, where that makes them likelier."""

import math

import numpy as np
import scipy  # whose parts are imported where they are used
from jaxtyping import Float, Int

_FOLDS = 5
_LEAST = 30  # rows from which on several classes are looked at
_CLIP = 1e-12  # keeps the logarithm of a probability finite


def to_logit(probability: np.ndarray) -> np.ndarray:
    """Return the logit of probabilities, finite for 0 and 1 as well."""
    return scipy.special.logit(np.clip(probability, _CLIP, 1 - _CLIP))


def with_platt(probability: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return the probabilities of class 1 on Platt's curve, see `fit_platt`."""
    return scipy.special.expit(slope * to_logit(probability) + intercept)


def with_temperature(probabilities: Float[np.ndarray, "n c"], temperature: float) -> Float[np.ndarray, "n c"]:
    r"""Return the probabilities of c classes, flatter (above 1) or sharper: :math:`p_k^{1/T}`, to a sum of 1.

    The order of the classes of a molecule stays.

    Examples
    --------
    >>> with_temperature(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    return scipy.special.softmax(np.log(np.clip(probabilities, _CLIP, None)) / temperature, axis=1)


def fit_platt(probability: Float[np.ndarray, " n"], label: Float[np.ndarray, " n"]) -> tuple[float, float] | None:
    """Fit slope and intercept on the logit of the probability of class 1, or None where they do not help.

    They are kept where in cross-validation over the rows they lower the log loss by more than the standard error of
    that difference, and keep the order of the molecules; not with fewer than 5 rows of either class.
    """
    if min((label == 1).sum(), (label == 0).sum()) < _FOLDS:
        return None
    from sklearn.linear_model import LogisticRegression  # where a model is fitted; to predict needs neither
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    feature = to_logit(probability)[:, None]
    model = LogisticRegression(C=1e3)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    unseen = cross_val_predict(model, feature, label, cv=folds, method="predict_proba")[:, 1]
    before, after = (np.where(label == 1, one, 1 - one) for one in (probability, unseen))
    if not _helps(before, after):
        return None
    model.fit(feature, label)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return (slope, intercept) if slope > 0 else None


def fit_temperature(probabilities: Float[np.ndarray, "n c"], label: Int[np.ndarray, " n"]) -> float | None:
    """Fit the temperature of the probabilities of c classes, or None where it does not help.

    It is kept where in cross-validation over the rows it lowers the log loss by more than the standard error of that
    difference; not with fewer than 30 rows.

    Parameters
    ----------
    probabilities : ndarray, shape (n, c)
    label : ndarray, shape (n,)
        The class of each row, from 0.

    References
    ----------
    Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    if len(label) < _LEAST:
        return None
    from sklearn.model_selection import KFold

    rows = np.arange(len(label))
    unseen = np.empty(len(label))
    for known, other in KFold(_FOLDS, shuffle=True, random_state=0).split(rows):
        scaled = with_temperature(probabilities[other], _temperature(probabilities[known], label[known]))
        unseen[other] = scaled[np.arange(len(other)), label[other]]
    return _temperature(probabilities, label) if _helps(probabilities[rows, label], unseen) else None


def _temperature(probabilities: np.ndarray, label: np.ndarray) -> float:
    rows = np.arange(len(label))

    def loss(log_temperature: float) -> float:
        scaled = with_temperature(probabilities, math.exp(log_temperature))
        return float(-np.log(np.clip(scaled[rows, label], _CLIP, None)).mean())

    return math.exp(scipy.optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)


def _helps(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the probability of what came true is higher, by more than the standard error of the log loss."""
    gain = np.log(np.clip(after, _CLIP, None)) - np.log(np.clip(before, _CLIP, None))
    return bool(gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)))
