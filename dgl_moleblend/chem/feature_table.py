"""Features of N molecules by name: counts as sparse rows, anything else as dense columns; no RDKit needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from scipy import sparse
from typing_extensions import Self

from dgl_moleblend.errors import DataError

Part: TypeAlias = "sparse.csr_array | np.ndarray"
_ODD = 0x9E3779B1  # a multiplier that spreads ids whose low bits mean something (Knuth, TAOCP 3, section 6.4)
_SHOWN = 5


@dataclass(frozen=True)
class FeatureTable(Mapping[str, Part]):
    """Named features, all with a row for each of the same N molecules.

    Parameters
    ----------
    parts : dict of str -> csr_array or ndarray, shape (N, columns)
        Counts (sparse, of any number of columns: 2 ** 32 where they are not folded) or dense float32, NaN = missing.
    columns : dict of str -> tuple of str
        Names of the columns of each dense part.

    Raises
    ------
    DataError
        If there is no part, a part is not two-dimensional, parts differ in their rows, a dense part has another
        number of names than columns, or a value is infinite.

    Examples
    --------
    >>> table = FeatureTable({"dose": np.array([[1.0], [10.0]], np.float32)}, {"dose": ("mg",)})
    >>> len(table), table.names, table.take([1])["dose"]
    (2, ('dose',), array([[10.]], dtype=float32))
    """

    parts: Mapping[str, Part]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.parts:
            raise DataError("a table of features has no features", fix="name at least one kind of features")
        rows = {name: part.shape[0] for name, part in self.parts.items()}
        if len(set(rows.values())) > 1:
            said = ", ".join(f"{name} {count:,}" for name, count in rows.items())
            raise DataError(f"features differ in their number of rows: {said}", fix="give each a row for each molecule")
        for name, part in self.parts.items():
            if sparse.issparse(part):
                continue
            if part.ndim != 2:
                raise DataError(f"feature {name!r} has shape {part.shape}", fix="give an array of shape (N, columns)")
            if len(self.columns.get(name, ())) != part.shape[1]:
                raise DataError(
                    f"feature {name!r} has {part.shape[1]} columns, {len(self.columns.get(name, ()))} have a name",
                    fix="name each column once",
                )
            if np.isinf(part).any():
                row, column = np.argwhere(np.isinf(part))[0]
                raise DataError(
                    f"feature {name!r} is infinite",
                    where=f"row {row}, column {self.columns[name][column]!r}",
                    fix="correct the value, or leave it empty (NaN)",
                )

    def __len__(self) -> int:
        """Return the number of molecules N, not of features."""
        return next(iter(self.parts.values())).shape[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __contains__(self, name: object) -> bool:
        return name in self.parts

    def __getitem__(self, name: str) -> Part:
        try:
            return self.parts[name]
        except KeyError:
            raise DataError(
                f"feature {name!r} is missing; there are {', '.join(map(repr, self.names))}",
                fix="make the features that the model was trained with",
            ) from None

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in order."""
        return tuple(self.parts)

    def is_dense(self, name: str) -> bool:
        """Whether a feature is an array of real numbers, not of counts."""
        return not sparse.issparse(self[name])

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """Return the table of some rows (numbers or a mask), in that order."""
        index = np.asarray(rows)
        if not index.size:
            index = index.astype(np.int64)
        return type(self)({name: part[index] for name, part in self.parts.items()}, self.columns)

    def with_dense(self, name: str, values: np.ndarray, columns: Sequence[str]) -> Self:
        """Return the table with one more dense feature: the user's own columns, or states of an encoder.

        Parameters
        ----------
        name : str
        values : ndarray, shape (N, columns)
            Any unit; NaN = missing.
        columns : sequence of str

        Raises
        ------
        DataError
            If the name is taken; see also the class.
        """
        if name in self.parts:
            raise DataError(f"there is a feature {name!r} already", fix="give another name")
        values = np.asarray(values, np.float32)
        return type(self)({**self.parts, name: values}, {**self.columns, name: tuple(columns)})

    def require(self, names: Sequence[str], columns: Mapping[str, Sequence[str]]) -> None:
        """Check that features are here, dense ones with the very same columns.

        Parameters
        ----------
        names : sequence of str
        columns : mapping of str -> sequence of str
            Names of the columns of those that are dense.

        Raises
        ------
        DataError
            The message names what is missing, or which columns differ.
        """
        missing = [name for name in names if name not in self.parts]
        if missing:
            raise DataError(
                f"features are missing: {', '.join(map(repr, missing))}; there are {', '.join(map(repr, self.names))}",
                fix="make the features that the model was trained with",
            )
        for name in names:
            if self.is_dense(name) != (name in columns):
                kinds = ("dense", "counts") if self.is_dense(name) else ("counts", "dense")
                raise DataError(
                    f"feature {name!r} is {kinds[0]}, the model was trained with {kinds[1]}",
                    fix="make the features that the model was trained with",
                )
            mine, theirs = self.columns.get(name, ()), tuple(columns.get(name, ()))
            if mine != theirs:
                absent = [column for column in theirs if column not in mine]
                extra = [column for column in mine if column not in theirs]
                said = [f"{label} {', '.join(map(repr, found[:_SHOWN]))}{' ..' if len(found) > _SHOWN else ''}"
                        for label, found in (("without", absent), ("with", extra)) if found]  # fmt: skip
                raise DataError(
                    f"the columns of feature {name!r} are not the model's: {'; '.join(said) or 'another order'}",
                    fix="make the features as for training; RDKit's descriptors with the version of RDKit used then",
                )


def fold(counts: sparse.csr_array, width: int) -> np.ndarray:
    """Add up counts in fewer columns, as a hashed fingerprint does.

    Parameters
    ----------
    counts : csr_array, shape (N, columns)
        Column numbers are any integers below 2 ** 64.
    width : int
        A power of two.

    Returns
    -------
    ndarray, shape (N, width), float32

    Examples
    --------
    >>> fold(sparse.csr_array(np.array([[2, 0, 1]])), 4096).sum()
    np.float32(3.0)
    """
    hashed = (counts.indices.astype(np.uint64) * np.uint64(_ODD)) % np.uint64(2**32)
    column = (hashed * np.uint64(width)) // np.uint64(2**32)
    dense = np.zeros((counts.shape[0], width), np.float32)
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    np.add.at(dense, (row, column.astype(np.int64)), counts.data)
    return dense


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Make values gaussian by their ranks: the quantile of a normal law for each; equal values get the same.

    Parameters
    ----------
    values : ndarray, shape (n,)
        None missing.

    Returns
    -------
    ndarray, shape (n,), float64

    Examples
    --------
    >>> normal_scores(np.array([10.0, 1000.0, 100.0])).round(2).tolist()
    [-0.97, 0.97, 0.0]
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata  # half a second to import, which predictions do without

    return ndtri((rankdata(values) - 0.5) / len(values))  # type: ignore[no-any-return]
