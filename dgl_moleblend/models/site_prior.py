"""SitePrior: what the kind of an atom or a bond tells of its value, before any network."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from typing_extensions import Self

from dgl_moleblend.data.sites import SiteValues
from dgl_moleblend.errors import CheckpointError


@dataclass(frozen=True)
class SitePrior:
    """What is known of a value from the kind of its site alone: the mean of the kind, over training molecules.

    Networks learn how far a value is from it, in units of the deviation of these distances.

    Parameters
    ----------
    means : mapping of str to tuple of t floats
        By kind ("C", "C-O single"); "" is all of them, for kinds that training molecules lack.
    scale : tuple of t floats
        Deviation of the values from the means of their kinds; 1 where they never differ.
    counts : mapping of str to tuple of t ints, optional
        How many values of each kind there were; None in folders of older versions.

    Examples
    --------
    >>> kinds, values = np.array(["C", "C", "O"]), np.array([[1.0], [3.0], [9.0]])
    >>> prior = SitePrior.fit(SiteValues("atom", ("q",), np.array([3]), values, kinds))
    >>> prior.means["C"], round(prior.scale[0], 2), prior.of(np.array(["O", "C", "N"])).ravel().round(2).tolist()
    ((2.0,), 0.82, [9.0, 2.0, 4.33])
    >>> prior.knows(np.array(["O", "N"])).ravel().tolist()
    [True, False]
    """

    means: Mapping[str, tuple[float, ...]]
    scale: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]] | None = None

    @classmethod
    def fit(cls, values: SiteValues, *, by_kind: bool = True) -> Self:
        """Measure means and deviations of training molecules; each value has one site at least.

        Parameters
        ----------
        values : SiteValues
        by_kind : bool
            False takes one mean for all.
        """
        overall = np.nanmean(values.values, 0)
        means, counts = {"": tuple(map(float, overall))}, {}
        for kind in np.unique(values.kinds).tolist():
            here = values.values[values.kinds == kind]
            known = ~np.isnan(here)
            count = known.sum(0)
            counts[kind] = tuple(map(int, count))
            total = np.where(known, here, 0.0).sum(0)
            mean = np.where(count > 0, total / np.maximum(count, 1), overall)
            if by_kind and count.any():
                means[kind] = tuple(map(float, mean))
        rest = values.values - cls(means, ()).of(values.kinds)
        scale = np.sqrt(np.nanmean(rest**2, 0))
        varies = scale > 1e-12 * np.maximum(1.0, np.abs(overall))
        return cls(means, tuple(map(float, np.where(varies, scale, 1.0))), counts)

    @classmethod
    def from_stored(cls, values: object, num_tasks: int, where: str) -> Self:
        """Read what a model's folder holds.

        Raises
        ------
        CheckpointError
            If it is damaged.
        """
        try:
            means = {str(kind): tuple(map(float, mean)) for kind, mean in values["means"].items()}  # type: ignore[index]
            scale = tuple(map(float, values["scale"]))  # type: ignore[index]
            counts = values.get("counts")  # type: ignore[attr-defined]
            if counts is not None:
                counts = {str(kind): tuple(map(int, row)) for kind, row in counts.items()}
        except (TypeError, KeyError, ValueError, AttributeError):
            means, scale, counts = {}, (), None
        rows = (*means.values(), scale, *(counts or {}).values())
        whole = all(len(row) == num_tasks and np.isfinite(row).all() for row in rows)
        if "" not in means or not whole or not all(one > 0 for one in scale):
            raise CheckpointError("the means of the kinds of atoms are damaged", where=where,
                                  fix="restore the file, or train the model again")  # fmt: skip
        return cls(means, scale, counts)

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        counts = None if self.counts is None else {kind: list(count) for kind, count in self.counts.items()}
        return {"means": {kind: list(mean) for kind, mean in self.means.items()}, "scale": list(self.scale),
                "counts": counts}  # fmt: skip

    def knows(self, kinds: np.ndarray) -> Bool[np.ndarray, "s t"]:
        """Whether training molecules had a value of each site's kind; True where that is not known."""
        shape = (len(kinds), len(self.scale))
        if self.counts is None:
            return np.ones(shape, bool)
        none = (0,) * shape[1]
        return np.array([self.counts.get(kind, none) for kind in kinds.tolist()]).reshape(shape) > 0

    def of(self, kinds: np.ndarray) -> Float[np.ndarray, "s t"]:
        """Return the mean of each site's kind."""
        names, inverse = np.unique(kinds, return_inverse=True)
        table = np.array([self.means.get(kind, self.means[""]) for kind in names.tolist()], np.float64)
        return table.reshape(len(names), -1)[inverse] if len(names) else np.empty((0, len(self.means[""])))
