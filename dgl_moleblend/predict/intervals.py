"""How wide an interval is, and how a probability is rescaled: what validation rows say of one property."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dgl_moleblend.config import check
from dgl_moleblend.predict.probabilities import with_platt


def conformal_quantile(residuals: np.ndarray, coverage: float) -> float:
    r"""Return the half-width of an interval that holds a new value with at least this probability.

    Split conformal prediction: of n absolute residuals of rows that the model did not learn from, the
    :math:`\lceil (n + 1) \cdot coverage \rceil`-th smallest. A new row that is exchangeable with those is covered with
    a probability of at least `coverage`, whatever the model and the distribution.

    Parameters
    ----------
    residuals : ndarray, shape (n,)
        Absolute, sorted.
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float
        Infinite where n is too small: below 9 for a coverage of 0.9.

    References
    ----------
    Lei et al., "Distribution-Free Predictive Inference for Regression", section 2.2.

    Examples
    --------
    >>> conformal_quantile(np.arange(1.0, 10.0), 0.9), conformal_quantile(np.arange(1.0, 9.0), 0.9)
    (9.0, inf)
    """
    check(0 < coverage < 1, "coverage", coverage, "between 0 and 1")
    rank = rank_of(len(residuals), coverage)
    return float(residuals[rank - 1]) if rank <= len(residuals) else math.inf


def rank_of(rows: int, coverage: float) -> int:
    """Return which of so many sorted residuals is the half-width."""
    return math.ceil((rows + 1) * coverage - 1e-9)  # 10 * 0.7 is 7, whatever floats make of it


@dataclass(frozen=True)
class TaskCalibration:
    """What the validation rows say of one property.

    Parameters
    ----------
    rows : int
        Validation rows that have a label.
    residuals : tuple of floats
        Regression: absolute residuals of these rows, sorted; where there are `deviations`, in units of what the model
        held possible of each.
    deviations : tuple of 3 floats, optional
        What the model held possible of validation rows, in the unit of the property: of the 5 % that it was surest of,
        of the middle one, and of the 5 % that it knew least of. None: one width for all molecules.
    platt : (slope, intercept), optional
        Classification: a probability p becomes sigmoid(slope * logit(p) + intercept). None leaves it as it is.
    test : dict
        Regression: "rows", the test rows that have a label, and "covered", the share of them within the interval of
        each coverage. Of cross-validation also "folds": for each fold the same and "validation", how many rows made
        the interval that its test rows were held against; the first two are then sums over the folds. Empty where there
        is none.
    """

    rows: int
    residuals: tuple[float, ...] = ()
    platt: tuple[float, float] | None = None
    test: dict[str, Any] = field(default_factory=dict)
    deviations: tuple[float, float, float] | None = None

    def half_width(self, coverage: float, deviation: np.ndarray | None = None) -> np.ndarray:
        """Return half the width of intervals, in the unit of the property; infinite with too few rows.

        Parameters
        ----------
        coverage : float
        deviation : ndarray, shape (n,), optional
            What the model holds possible of each molecule; by default `deviations`. Not looked at where all have one
            width.

        Returns
        -------
        ndarray, shape (n,), (3,) or ()
        """
        quantile = np.asarray(conformal_quantile(np.asarray(self.residuals), coverage))
        if self.deviations is None:
            return quantile
        return quantile * np.asarray(self.deviations if deviation is None else deviation)

    def falls_short(self, coverage: float, chance: float = 0.025) -> bool:
        r"""Whether the interval covers fewer test rows than chance explains.

        Of m test rows that are exchangeable with the n validation rows, at least
        :math:`\mathrm{BetaBinomial}(m, k, n + 1 - k)` are covered, where the half-width is the k-th smallest residual:
        chance in which rows validate and in which test. Folds are asked one by one, each at its share of `chance`, as
        the validation rows of one are test rows of another.

        Parameters
        ----------
        coverage : float
            One of `COVERAGES`.
        chance : float
            How often the answer is yes, at most, though the rows are exchangeable.

        Returns
        -------
        bool
            False where there are no test rows, or too few validation rows for an interval.

        References
        ----------
        Angelopoulos and Bates, "A Gentle Introduction to Conformal Prediction", on the distribution of coverage.
        """
        from scipy.stats import betabinom  # half a second, which predictions do without

        parts = self.test.get("folds") or ([self.test | {"validation": len(self.residuals)}] if self.test else [])
        for part in parts:
            rank, rows = rank_of(part["validation"], coverage), part["validation"]
            covered = round(part["rows"] * part["covered"][str(coverage)])
            if rank <= rows and betabinom.cdf(covered, part["rows"], rank, rows + 1 - rank) < chance / len(parts):
                return True
        return False

    def rescale(self, probability: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities."""
        return probability if self.platt is None else with_platt(probability, *self.platt)
