"""Kernels between molecules: min-max of counts, computed exactly as a matrix product; Gaussian of ranked columns."""

from collections.abc import Mapping

import numpy as np
from scipy import sparse
from typing_extensions import Self

from dgl_moleblend.chem.feature_table import normal_scores
from dgl_moleblend.errors import CheckpointError

Arrays = Mapping[str, np.ndarray]
_KNOTS = 512  # points that a column's ranks are interpolated between
_FAR = 5.0  # standard deviations at which a ranked value stops
_FLOOR = 1e-3  # added to a standard deviation; a ranked column that varies less is left out
_SAMPLE = 500  # rows whose distances set the width of the Gaussian
_FREQUENT = 0.05  # share of the molecules from which on a column is cheaper in a dense product
_BLOCK = 2048  # rows of a kernel computed at a time


class MinMax:
    r"""Tanimoto similarity on counts, of any molecules to the reference ones.

    .. math:: k(a, b) = \sum_j \min(a_j, b_j) / \sum_j \max(a_j, b_j)

    A count becomes binary columns, one for each level, since :math:`\min(a, b) = \sum_{l \ge 1} [a \ge l] [b \ge l]`:
    the sums of minima are one matrix product, and the sum of maxima is what both add up to without them. Columns that
    many molecules have are multiplied dense, the others sparse; in both the sums are whole numbers, hence exact.

    Parameters
    ----------
    counts : csr_array, shape (n, columns)
        Of the n reference molecules: whole numbers, no negative one.

    References
    ----------
    Ralaivola et al., "Graph kernels for chemical informatics", Neural Networks 18 (2005), the MinMax kernel.

    Examples
    --------
    >>> counts = sparse.csr_array(np.array([[2, 1, 0], [1, 0, 3]]))
    >>> MinMax(counts)(counts).tolist()
    [[1.0, 0.1666666716337204], [0.1666666716337204, 1.0]]
    """

    def __init__(self, counts: sparse.csr_array) -> None:
        ids, columns = np.unique(counts.indices, return_inverse=True)
        self._keep(ids.astype(np.int64), columns.astype(np.int32), counts.data.astype(np.int32), counts.indptr)

    def _keep(self, ids: np.ndarray, columns: np.ndarray, data: np.ndarray, indptr: np.ndarray) -> None:
        self.ids, self.columns, self.data = ids, columns, data
        self.indptr = indptr.astype(np.int64)
        rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        self._levels = np.zeros(len(ids), np.int64)  # of each id: its largest count
        np.maximum.at(self._levels, columns, data)
        self._offsets = np.cumsum(self._levels) - self._levels
        self._total = np.bincount(rows, weights=data, minlength=len(indptr) - 1).astype(np.float32)
        unary = self._unary(rows, columns, data, len(indptr) - 1)
        used = np.diff(unary.indptr)
        frequent = used >= max(2, _FREQUENT * unary.shape[0])
        self._frequent, self._rare = np.flatnonzero(frequent), np.flatnonzero(~frequent)
        self._dense = unary[:, self._frequent].toarray().T.copy()
        self._sparse = unary[:, self._rare].T.tocsr()

    def _unary(self, rows: np.ndarray, columns: np.ndarray, data: np.ndarray, height: int) -> sparse.csc_array:
        """Return a binary column for each level of each id, shape (height, sum of levels), float32."""
        times = np.minimum(data, self._levels[columns])
        level = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        where = (np.repeat(rows, times), np.repeat(self._offsets[columns], times) + level)
        return sparse.csc_array((np.ones(len(level), np.float32), where), shape=(height, int(self._levels.sum())))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __call__(self, counts: sparse.csr_array) -> np.ndarray:
        """Return the similarity of each row to each reference molecule, shape (N, n), float32; 0 without any count."""
        kernel = np.empty((counts.shape[0], len(self)), np.float32)
        for start in range(0, len(kernel), _BLOCK):
            part = counts[start : start + _BLOCK]
            total = np.asarray(part.sum(1), np.float32)
            rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
            at = np.searchsorted(self.ids, part.indices)
            known = at < len(self.ids)
            known[known] = self.ids[at[known]] == part.indices[known]
            unary = self._unary(rows[known], at[known], part.data[known], part.shape[0])
            shared = unary[:, self._frequent].toarray() @ self._dense
            if len(self._rare):
                shared += (unary[:, self._rare].tocsr() @ self._sparse).toarray()
            either = total[:, None] + self._total - shared
            kernel[start : start + _BLOCK] = shared / np.maximum(either, 1)
        return kernel

    def between(self) -> np.ndarray:
        """Return the similarities among the reference molecules, shape (n, n), float32."""
        shape = (len(self), int(self.ids.max(initial=0)) + 1)
        return self(sparse.csr_array((self.data, self.ids[self.columns], self.indptr), shape=shape))

    def state(self) -> dict[str, np.ndarray]:
        """Return all that `from_state` needs."""
        return {"ids": self.ids, "columns": self.columns, "counts": self.data, "indptr": self.indptr}

    @classmethod
    def from_state(cls, arrays: Arrays, name: str) -> Self:
        """Build from what `state` returned.

        Raises
        ------
        CheckpointError
            If the arrays do not fit each other; `name` says whose they are.
        """
        ids, columns, data, indptr = (arrays[key] for key in ("ids", "columns", "counts", "indptr"))
        whole = len(columns) == len(data) == (indptr[-1] if len(indptr) else -1) and (np.diff(indptr) >= 0).all()
        if not whole or (len(columns) and not 0 <= columns.min() <= columns.max() < len(ids)):
            raise _misfit(name, f"{len(columns)} columns, {len(data)} counts, {len(ids)} ids")
        new = cls.__new__(cls)
        new._keep(ids, columns, data, indptr)
        return new


class RankScaler:
    """Columns made gaussian by their ranks among the reference molecules.

    A new value is interpolated between theirs, and beyond them it counts as the last; a missing one is the middle.

    Parameters
    ----------
    values : ndarray, shape (n, columns)
        Of the n reference molecules, any units; NaN = missing. Columns that hardly vary are left out.

    Examples
    --------
    >>> RankScaler(np.array([[0.0], [1.0], [1000.0]]))(np.array([[1.0], [900.0], [2000.0], [np.nan]])).round(1).ravel()
    array([0. , 1.1, 1.2, 0. ], dtype=float32)
    """

    def __init__(self, values: np.ndarray) -> None:
        fitted = [_ranks(column) for column in values.T]
        self.kept = np.array([k for k, (_, scores) in enumerate(fitted) if len(scores)], np.int64)
        self.knots = np.concatenate([np.zeros(0, np.float32), *(fitted[k][0] for k in self.kept)])
        self.scores = np.concatenate([np.zeros(0, np.float32), *(fitted[k][1] for k in self.kept)])
        self.indptr = np.cumsum([0, *(len(fitted[k][0]) for k in self.kept)])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the ranked columns of N molecules, shape (N, kept columns), float32, none missing."""
        ranked = np.zeros((len(values), len(self.kept)), np.float32)
        for k, column in enumerate(self.kept):
            part = slice(self.indptr[k], self.indptr[k + 1])
            value = np.asarray(values[:, column], np.float32)
            ranked[:, k] = np.interp(value, self.knots[part], self.scores[part])
        return np.nan_to_num(ranked, copy=False, nan=0.0)

    def state(self) -> dict[str, np.ndarray]:
        """Return all that `from_state` needs."""
        return {"kept": self.kept, "knots": self.knots, "scores": self.scores, "knots_indptr": self.indptr}

    @classmethod
    def from_state(cls, arrays: Arrays, name: str) -> Self:
        """Build from what `state` returned.

        Raises
        ------
        CheckpointError
            If the arrays do not fit each other; `name` says whose they are.
        """
        new = cls.__new__(cls)
        new.kept, new.knots, new.scores, new.indptr = (
            arrays[key] for key in ("kept", "knots", "scores", "knots_indptr")
        )
        if len(new.indptr) != len(new.kept) + 1 or not len(new.knots) == len(new.scores) == new.indptr[-1]:
            raise _misfit(name, f"{len(new.kept)} columns, {len(new.knots)} knots, {len(new.scores)} scores")
        return new


class RankedGaussian:
    r"""Gaussian of the distance between molecules in columns made gaussian by their ranks.

    .. math:: k(a, b) = \exp(-|a - b|^2 / w)

    Ranks, scale and width :math:`w` (the median of the squared distances) are those of the reference molecules alone.

    Parameters
    ----------
    values : ndarray, shape (n, columns)
        Of the n reference molecules; see `RankScaler`.

    Examples
    --------
    >>> kernel = RankedGaussian(np.array([[0.0], [1.0], [1000.0]]))
    >>> kernel(np.array([[1.0], [np.nan]])).round(2)
    array([[0.37, 1.  , 0.37], [0.37, 1.  , 0.37]], dtype=float32)
    """

    def __init__(self, values: np.ndarray) -> None:
        self.scaler = RankScaler(values)
        self.rows = self.scaler(values)
        some = self.rows[np.unique(np.linspace(0, len(values) - 1, min(_SAMPLE, len(values))).astype(int))]
        apart = _distances(some, some)[np.triu_indices(len(some), 1)]
        self.width = float(np.median(apart)) if len(apart) and np.median(apart) > 0 else 1.0

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the similarity of each row to each reference molecule, shape (N, n), float32."""
        return self._to_reference(self.scaler(values))

    def between(self) -> np.ndarray:
        """Return the similarities among the reference molecules, shape (n, n), float32."""
        return self._to_reference(self.rows)

    def _to_reference(self, scaled: np.ndarray) -> np.ndarray:
        kernel = np.empty((len(scaled), len(self)), np.float32)
        for start in range(0, len(kernel), _BLOCK):
            part = slice(start, start + _BLOCK)
            kernel[part] = np.exp(-_distances(scaled[part], self.rows) / self.width)
        return kernel

    def state(self) -> dict[str, np.ndarray]:
        """Return all that `from_state` needs."""
        return {**self.scaler.state(), "rows": self.rows, "width": np.array([self.width])}

    @classmethod
    def from_state(cls, arrays: Arrays, name: str) -> Self:
        """Build from what `state` returned.

        Raises
        ------
        CheckpointError
            If the arrays do not fit each other; `name` says whose they are.
        """
        new = cls.__new__(cls)
        new.scaler, new.rows = RankScaler.from_state(arrays, name), arrays["rows"]
        if new.rows.ndim != 2 or new.rows.shape[1] != len(new.scaler.kept) or arrays["width"].shape != (1,):
            raise _misfit(name, f"{len(new.scaler.kept)} columns, rows of shape {new.rows.shape}")
        new.width = float(arrays["width"][0])
        return new


def _ranks(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values (ascending) and the scores that they get; none where the column hardly varies."""
    present = np.asarray(column, np.float32)
    present = present[~np.isnan(present)]
    nothing = np.zeros(0, np.float32)
    if len(present) < 2:
        return nothing, nothing
    score = normal_scores(present)
    mean, deviation = score.mean(), score.std()
    if deviation < _FLOOR:
        return nothing, nothing
    values, first = np.unique(present, return_index=True)
    chosen = np.unique(np.linspace(0, len(values) - 1, min(_KNOTS, len(values))).round().astype(int))
    scores = ((score[first[chosen]] - mean) / (deviation + _FLOOR)).clip(-_FAR, _FAR)
    return values[chosen], scores.astype(np.float32)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared distances, shape (len(a), len(b))."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T), 0)


def _misfit(name: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"the stored arrays of feature {name!r} do not fit each other: {what}",
        fix="restore the folder, or train the model again",
    )
