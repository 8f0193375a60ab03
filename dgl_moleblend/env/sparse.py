"""What stands in for the compiled half of ``dgl.sparse`` where DGL brings no library for this torch.

DGL's Python half calls ``torch.ops.dgl_sparse.NAME`` on matrices of a compiled class. `install` puts the functions of
this file there, written with torch, and with DGL's own kernels where they multiply on a CPU. Results are those of the
library, gradients included.
"""

# ruff: noqa: D102, D103 - what they do is documented where users meet them, in dgl.sparse
from __future__ import annotations

from collections.abc import Callable, Sequence
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
        _require(len(shape) == 2, "The shape of a sparse matrix should be 2-dimensional.")
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
        _require(len(structure.row) == len(value), f"{len(value)} values for {len(structure.row)} places")
        _require(structure.row.device == value.device, "Indices and values should be on the same device.")
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
        return _from_torch(_to_torch(self))

    def has_duplicate(self) -> bool:
        return self.structure.duplicates

    def is_diag(self) -> bool:
        return self.structure.diagonal

    def index_select(self, dim: int, ids: Tensor) -> Matrix:
        if dim == 1:
            return self.transpose().index_select(0, ids).transpose()
        indptr, col, order = self.csr()
        _require(
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


def from_coo(indices: Tensor, value: Tensor, shape: Sequence[int]) -> Matrix:
    return Matrix(Structure(indices, shape), value)


def from_csr(indptr: Tensor, indices: Tensor, value: Tensor, shape: Sequence[int]) -> Matrix:
    _require(len(indptr) == shape[0] + 1, f"{len(indptr)} pointers for {shape[0]} rows")
    rows = torch.arange(len(indptr) - 1, device=indptr.device, dtype=indices.dtype)
    both = torch.stack((torch.repeat_interleave(rows, indptr.diff()), indices))
    return Matrix(Structure(both, shape, csr=(indptr, indices, None)), value)


def from_csc(indptr: Tensor, indices: Tensor, value: Tensor, shape: Sequence[int]) -> Matrix:
    return from_csr(indptr, indices, value, shape[::-1]).transpose()


def from_diag(value: Tensor, shape: Sequence[int]) -> Matrix:
    place = torch.arange(min(shape), device=value.device)
    return Matrix(Structure(torch.stack((place, place)), shape, diagonal=True), value)


def val_like(matrix: Matrix, value: Tensor) -> Matrix:
    return Matrix(matrix.structure, value)


def spsp_add(a: Matrix, b: Matrix) -> Matrix:
    _check_same(a, b)
    if a.is_diag() and b.is_diag():
        return val_like(a, a.value + b.value)
    return _from_torch(_to_torch(a) + _to_torch(b))


def spsp_mul(a: Matrix, b: Matrix) -> Matrix:
    _check_same(a, b)
    if a.is_diag() and b.is_diag():
        return val_like(a, a.value * b.value)
    _check_unique(a, b, "SpSpMul")
    key_a, order_a = a.structure.key.sort()
    key_b, order_b = b.structure.key.sort()
    both = torch.isin(key_a, key_b)
    of_a, of_b = order_a[both], order_b[torch.searchsorted(key_b, key_a[both])]
    return Matrix(Structure(a.indices()[:, of_a], a.structure.shape), a.value[of_a] * b.value[of_b])


def spsp_div(a: Matrix, b: Matrix) -> Matrix:
    _check_same(a, b)
    if a.is_diag() and b.is_diag():
        return val_like(a, a.value / b.value)
    _check_unique(a, b, "SpSpDiv")
    key_a, order_a = a.structure.key.sort()
    key_b, order_b = b.structure.key.sort()
    _require(torch.equal(key_a, key_b), "Cannot divide two COO matrices with different sparsities.")
    return val_like(a, a.value / b.value[order_b[order_a.argsort()]])


def reduce(matrix: Matrix, rtype: str, dim: int | None = None) -> Tensor:
    _require(rtype in _REDUCE, f"unknown reduce function {rtype}")
    value, name = matrix.value, _REDUCE.get(rtype, "")
    if dim is None:
        return getattr(value, name)(0)
    group, size = (matrix.structure.col, 1) if dim == 0 else (matrix.structure.row, 0)
    index = group.long().view(-1, *[1] * (value.ndim - 1)).expand_as(value)
    out = value.new_zeros(matrix.structure.shape[size], *value.shape[1:])
    return out.scatter_reduce(0, index, value, name, include_self=False)


def spmm(matrix: Matrix, dense: Tensor) -> Tensor:
    value, shape = matrix.value, matrix.structure.shape
    _require(
        shape[1] == len(dense)
        and value.ndim <= 2
        and dense.ndim <= 3
        and (
            (dense.ndim == value.ndim + 1 and dense.shape[2:] == value.shape[1:])
            or (dense.ndim < 3 and value.ndim == 1)
        ),
        f"SpMM: Invalid input shapes. sparse_mat: {list(shape)}, sparse_val: {list(value.shape)}, dense_mat:"
        f" {list(dense.shape)}. A matrix (n, m) takes (m,) and (m, k), one with b values each (m, k, b).",
    )
    _require(value.dtype == dense.dtype, "SpMM: the non-zero values does not have the same dtype as the dense matrix.")
    _require(value.device == dense.device, "SpMM: sparse matrix and the dense matrix should be on the same device.")
    columns = dense[:, None] if dense.ndim == 1 else dense
    weight = value.view(-1, *[1] * (columns.ndim - value.ndim), *value.shape[1:])
    if _has_kernels(value):
        from dgl.ops import u_mul_e_sum

        out = u_mul_e_sum(matrix.structure.graph, columns, weight)
    else:
        row, col = (index.long() for index in matrix.coo())
        out = columns.new_zeros(shape[0], *columns.shape[1:]).index_add(0, row, columns[col] * weight)
    return out.squeeze(1) if dense.ndim == 1 else out


def sddmm(matrix: Matrix, left: Tensor, right: Tensor) -> Matrix:
    left = left[:, None] if left.ndim == 1 else left
    right = right[None] if right.ndim == 1 else right
    value, shape = matrix.value, matrix.structure.shape
    _require(
        left.ndim == right.ndim <= 3
        and shape == (left.shape[0], right.shape[1])
        and left.shape[1] == right.shape[0]
        and left.shape[2:] == right.shape[2:]
        and (left.ndim < 3 or value.ndim == 1 or value.shape[1:] == left.shape[2:]),
        f"SDDMM: Invalid input shapes. sparse_mat: {list(shape)}, sparse_val: {list(value.shape)}, mat1:"
        f" {list(left.shape)}, mat2: {list(right.shape)}. A matrix (n, m) takes (n,) and (m,), (n, k) and (k, m), or"
        " (n, k, b) and (k, m, b); one with b values each the last.",
    )
    _require(left.dtype == right.dtype, "SDDMM: the two dense matrices should have the same dtype.")
    rows, columns = (
        left.transpose(1, -1),
        right.transpose(0, 1).transpose(1, -1),
    )  # (n, b, k) and (m, b, k), or without b
    if _has_kernels(left):
        from dgl.ops import u_dot_v

        product = u_dot_v(matrix.structure.graph, columns.contiguous(), rows.contiguous()).squeeze(-1)
    else:
        row, col = (index.long() for index in matrix.coo())
        product = (rows[row] * columns[col]).sum(-1)
    return val_like(matrix, product * (value[:, None] if value.ndim < product.ndim else value))


def softmax(matrix: Matrix, dim: int) -> Matrix:
    value = matrix.value
    group = (matrix.structure.col if dim == 0 else matrix.structure.row).long()
    highest = reduce(val_like(matrix, value.detach()), "smax", dim)
    weight = (value - highest[group]).exp()
    return val_like(matrix, weight / reduce(val_like(matrix, weight), "sum", dim)[group])


def spspmm(a: Matrix, b: Matrix) -> Matrix:
    _require(
        a.structure.shape[1] == b.structure.shape[0],
        "SpSpMM: the second dim of lhs_mat should be equal to the first dim of the second matrix",
    )
    for name, matrix in (("lhs_mat", a), ("rhs_mat", b)):
        _require(matrix.value.ndim == 1, f"SpSpMM: the value shape of {name} should be 1-D")
        _require(
            not matrix.has_duplicate(),
            f"SpSpMM does not support {name} with duplicate indices. Call A = A.coalesce() to dedup first.",
        )
    _require(a.value.dtype == b.value.dtype, "SpSpMM: lhs_mat and rhs_mat should have the same dtype")
    shape = (a.structure.shape[0], b.structure.shape[1])
    if a.is_diag() and b.is_diag():
        common = min(*shape, a.structure.shape[1])
        product = a.value[:common] * b.value[:common]
        return from_diag(torch.nn.functional.pad(product, (0, min(shape) - common)), shape)
    if a.is_diag() and a.structure.shape[0] == a.structure.shape[1]:
        return val_like(b, a.value[b.structure.row.long()] * b.value)
    if b.is_diag() and b.structure.shape[0] == b.structure.shape[1]:
        return val_like(a, a.value * b.value[a.structure.col.long()])
    return _from_torch(torch.sparse.mm(_to_torch(a), _to_torch(b)))


def compact(matrix: Matrix, dim: int, leading: Tensor | None = None) -> tuple[Matrix, Tensor]:
    if dim == 1:
        columns, ids = compact(matrix.transpose(), 0, leading)
        return columns.transpose(), ids
    place = matrix.structure
    used = place.row.unique()
    ids = used if leading is None else torch.cat((leading, used[~torch.isin(used, leading)]))
    sorted_ids, order = ids.sort()
    row = order[torch.searchsorted(sorted_ids, place.row.contiguous())].to(place.row.dtype)
    return Matrix(Structure(torch.stack((row, place.col)), (len(ids), place.shape[1])), matrix.value), ids


_REDUCE = {"sum": "sum", "smin": "amin", "smax": "amax", "smean": "mean", "sprod": "prod"}
_OPERATORS: tuple[Callable[..., Any], ...] = (
    from_coo, from_csr, from_csc, from_diag, val_like, spsp_add, spsp_mul, spsp_div, reduce, spmm, sddmm, softmax,
    spspmm, compact,
)  # fmt: skip


def install() -> None:
    """Put the functions of this file where DGL's Python half looks for those of its library."""
    namespace = torch.ops.dgl_sparse
    for function in _OPERATORS:
        setattr(namespace, function.__name__, function)
    for rtype in _REDUCE:
        setattr(namespace, rtype, _reduction(rtype))


def _reduction(rtype: str) -> Callable[..., Tensor]:
    return lambda matrix, dim=None: reduce(matrix, rtype, dim)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RuntimeError(message)  # as DGL's library does


def _has_kernels(value: Tensor) -> bool:
    """DGL's own kernels multiply without a row per value; they know these, on a CPU."""
    return value.device.type == "cpu" and value.dtype in (torch.float32, torch.float64)


def _check_same(a: Matrix, b: Matrix) -> None:
    _require(
        a.value.dtype == b.value.dtype,
        "Elementwise operators do not support two sparse matrices with different dtypes.",
    )
    _require(
        a.structure.shape == b.structure.shape,
        "Elementwise operators do not support two sparse matrices with different shapes.",
    )


def _check_unique(a: Matrix, b: Matrix, name: str) -> None:
    _require(
        not a.has_duplicate() and not b.has_duplicate(),
        f"Only support {name} on sparse matrices without duplicate values",
    )


def _to_torch(matrix: Matrix) -> Tensor:
    shape = (*matrix.shape(), *matrix.value.shape[1:])
    return torch.sparse_coo_tensor(matrix.indices().long(), matrix.value, shape, check_invariants=False)


def _from_torch(tensor: Tensor) -> Matrix:
    tensor = tensor.coalesce()
    return from_coo(tensor.indices(), tensor.values(), tensor.shape[:2])
