"""The matrix that stands in for the compiled class of ``dgl.sparse``: where values are, what they are, rows of it."""

# ruff: noqa: D102, D103 - what they do is documented where users meet them, in dgl.sparse
from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class Structure:
    """Where the values of a sparse matrix are; matrices that differ in values alone share it.

    Parameters
    ----------
    indices : Tensor, shape (2, nnz)
        Row and column of each value, in the order of values.
    shape : sequence of int
    diagonal : bool
        Whether it was made as a diagonal matrix, and stays one where DGL's library keeps it so.
    csr : tuple of Tensor, optional
        What `csr` is to give: pointers and columns that the user handed over are not copied.
    """

    def __init__(
        self,
        indices: Tensor,
        shape: Sequence[int],
        diagonal: bool = False,
        csr: tuple[Tensor, Tensor, Tensor | None] | None = None,
    ) -> None:
        require(len(shape) == 2, "The shape of a sparse matrix should be 2-dimensional.")
        self.indices = indices
        self.row, self.col = indices
        self.shape = (int(shape[0]), int(shape[1]))
        self.diagonal = diagonal
        if csr is not None:
            self.csr = csr

    @cached_property
    def key(self) -> Tensor:
        """One number for each place, growing by rows."""
        return self.row * self.shape[1] + self.col

    @cached_property
    def transposed(self) -> Structure:
        """Rows for columns."""
        other = Structure(self.indices.flip(0), self.shape[::-1], self.diagonal)
        other.transposed = self
        return other

    @cached_property
    def csr(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pointers to rows, columns, and the order that sorts values by rows; None where they are."""
        order = None if bool((self.row[1:] >= self.row[:-1]).all()) else torch.argsort(self.row, stable=True)
        count = torch.bincount(self.row, minlength=self.shape[0])
        indptr = torch.cat((count.new_zeros(1), count.cumsum(0)))
        return indptr.to(self.row.dtype), self.col if order is None else self.col[order], order

    @cached_property
    def duplicates(self) -> bool:
        """Whether a place is there twice."""
        return not self.diagonal and len(self.key.unique()) < len(self.key)

    @cached_property
    def graph(self) -> Any:
        """Columns that send to rows, for DGL's kernels; edges in the order of values."""
        import dgl

        ends = {("column", "value", "row"): (self.col, self.row)}
        return dgl.heterograph(ends, {"column": self.shape[1], "row": self.shape[0]})


class Matrix:
    """A sparse matrix by the interface of DGL's compiled class.

    Parameters
    ----------
    structure : Structure
    value : Tensor, shape (nnz, ...)
    """

    def __init__(self, structure: Structure, value: Tensor) -> None:
        require(len(structure.row) == len(value), f"{len(value)} values for {len(structure.row)} places")
        require(structure.row.device == value.device, "Indices and values should be on the same device.")
        self.structure = structure
        self.value = value

    def val(self) -> Tensor:
        return self.value

    def nnz(self) -> int:
        return len(self.value)

    def device(self) -> torch.device:
        return self.value.device

    def shape(self) -> list[int]:
        return list(self.structure.shape)

    def coo(self) -> tuple[Tensor, Tensor]:
        return self.structure.row, self.structure.col

    def indices(self) -> Tensor:
        return self.structure.indices

    def csr(self) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.structure.csr

    def csc(self) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.structure.transposed.csr

    def transpose(self) -> Matrix:
        return Matrix(self.structure.transposed, self.value)

    def coalesce(self) -> Matrix:
        return from_torch(to_torch(self))

    def has_duplicate(self) -> bool:
        return self.structure.duplicates

    def is_diag(self) -> bool:
        return self.structure.diagonal

    def index_select(self, dim: int, ids: Tensor) -> Matrix:
        if dim == 1:
            return self.transpose().index_select(0, ids).transpose()
        indptr, col, order = self.csr()
        require(
            bool(((ids >= 0) & (ids < self.structure.shape[0])).all()),
            f"index out of range for a dimension of {self.structure.shape[0]}",
        )
        ids = ids.long()
        length = indptr[ids + 1] - indptr[ids]
        row = torch.repeat_interleave(torch.arange(len(ids), device=ids.device), length)
        first = length.cumsum(0) - length
        place = torch.arange(len(row), device=ids.device) - first[row] + indptr[ids][row]
        value = self.value[place if order is None else order[place]]
        indices = torch.stack((row.to(col.dtype), col[place]))
        return Matrix(Structure(indices, (len(ids), self.structure.shape[1])), value)

    def range_select(self, dim: int, start: int, end: int | None) -> Matrix:
        size = self.structure.shape[dim]
        return self.index_select(dim, torch.arange(size, device=self.value.device)[start:end])

    def sample(self, dim: int, fanout: int, ids: Tensor, replace: bool, bias: bool) -> Matrix:
        if dim == 1:
            return self.transpose().sample(0, fanout, ids, replace, bias).transpose()
        rows = self.index_select(0, ids[ids < self.structure.shape[0]])  # DGL's default is one id too long
        indptr, _, _ = rows.csr()
        weight = rows.value.double() if bias else torch.ones(rows.nnz(), dtype=torch.float64, device=ids.device)
        if replace:
            chosen = _draw_again(weight, indptr, fanout)
        else:
            chosen = _draw_once(weight, rows.structure.row.long(), indptr, fanout)
        return Matrix(Structure(rows.indices()[:, chosen], rows.structure.shape), rows.value[chosen])


def _draw_once(weight: Tensor, row: Tensor, indptr: Tensor, fanout: int) -> Tensor:
    """Of each row, the `fanout` values whose clocks ring first; a clock is as fast as its value is heavy."""
    rings = torch.empty_like(weight).exponential_() / weight
    order = torch.argsort(rings)
    order = order[torch.argsort(row[order], stable=True)]
    rank = torch.arange(len(order), device=row.device) - indptr[row[order]]
    return order[(rank < fanout) & (weight[order] > 0)].sort().values


def _draw_again(weight: Tensor, indptr: Tensor, fanout: int) -> Tensor:
    """Of each row that has any, `fanout` values with replacement."""
    total = torch.cat((weight.new_zeros(1), weight.cumsum(0)))
    low, high = total[indptr[:-1].long()], total[indptr[1:].long()]
    kept = high > low
    drawn = (
        low[kept, None]
        + torch.rand(int(kept.sum()), fanout, dtype=total.dtype, device=total.device) * (high - low)[kept, None]
    )
    place = torch.searchsorted(total, drawn.flatten(), right=True) - 1
    return place.clamp(max=max(len(weight) - 1, 0))


def require(condition: bool, message: str) -> None:
    if not condition:
        raise RuntimeError(message)  # as DGL's library does


def to_torch(matrix: Matrix) -> Tensor:
    shape = (*matrix.shape(), *matrix.value.shape[1:])
    return torch.sparse_coo_tensor(matrix.indices().long(), matrix.value, shape, check_invariants=False)


def from_torch(tensor: Tensor) -> Matrix:
    tensor = tensor.coalesce()
    return Matrix(Structure(tensor.indices(), tensor.shape[:2]), tensor.values())
