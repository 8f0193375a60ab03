"""What stands in for the compiled half of ``dgl.sparse`` where DGL brings no library for this torch.

DGL's Python half calls ``torch.ops.dgl_sparse.NAME`` on matrices of a compiled class. `install` puts the functions of
this file there, written with torch, and with DGL's own kernels where they multiply on a CPU. Results are those of the
library, gradients included.
"""

# ruff: noqa: D103 - what they do is documented where users meet them, in dgl.sparse
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dgl_moleblend.env.sparse_matrix import Matrix, Structure, from_torch, require, to_torch


def from_coo(indices: Tensor, value: Tensor, shape: Sequence[int]) -> Matrix:
    return Matrix(Structure(indices, shape), value)


def from_csr(indptr: Tensor, indices: Tensor, value: Tensor, shape: Sequence[int]) -> Matrix:
    require(len(indptr) == shape[0] + 1, f"{len(indptr)} pointers for {shape[0]} rows")
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
    return from_torch(to_torch(a) + to_torch(b))


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
    require(torch.equal(key_a, key_b), "Cannot divide two COO matrices with different sparsities.")
    return val_like(a, a.value / b.value[order_b[order_a.argsort()]])


def reduce(matrix: Matrix, rtype: str, dim: int | None = None) -> Tensor:
    require(rtype in _REDUCE, f"unknown reduce function {rtype}")
    value, name = matrix.value, _REDUCE.get(rtype, "")
    if dim is None:
        return getattr(value, name)(0)
    group, size = (matrix.structure.col, 1) if dim == 0 else (matrix.structure.row, 0)
    index = group.long().view(-1, *[1] * (value.ndim - 1)).expand_as(value)
    out = value.new_zeros(matrix.structure.shape[size], *value.shape[1:])
    return out.scatter_reduce(0, index, value, name, include_self=False)


def spmm(matrix: Matrix, dense: Tensor) -> Tensor:
    value, shape = matrix.value, matrix.structure.shape
    require(
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
    require(value.dtype == dense.dtype, "SpMM: the non-zero values does not have the same dtype as the dense matrix.")
    require(value.device == dense.device, "SpMM: sparse matrix and the dense matrix should be on the same device.")
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
    require(
        left.ndim == right.ndim <= 3
        and shape == (left.shape[0], right.shape[1])
        and left.shape[1] == right.shape[0]
        and left.shape[2:] == right.shape[2:]
        and (left.ndim < 3 or value.ndim == 1 or value.shape[1:] == left.shape[2:]),
        f"SDDMM: Invalid input shapes. sparse_mat: {list(shape)}, sparse_val: {list(value.shape)}, mat1:"
        f" {list(left.shape)}, mat2: {list(right.shape)}. A matrix (n, m) takes (n,) and (m,), (n, k) and (k, m), or"
        " (n, k, b) and (k, m, b); one with b values each the last.",
    )
    require(left.dtype == right.dtype, "SDDMM: the two dense matrices should have the same dtype.")
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
    require(
        a.structure.shape[1] == b.structure.shape[0],
        "SpSpMM: the second dim of lhs_mat should be equal to the first dim of the second matrix",
    )
    for name, matrix in (("lhs_mat", a), ("rhs_mat", b)):
        require(matrix.value.ndim == 1, f"SpSpMM: the value shape of {name} should be 1-D")
        require(
            not matrix.has_duplicate(),
            f"SpSpMM does not support {name} with duplicate indices. Call A = A.coalesce() to dedup first.",
        )
    require(a.value.dtype == b.value.dtype, "SpSpMM: lhs_mat and rhs_mat should have the same dtype")
    shape = (a.structure.shape[0], b.structure.shape[1])
    if a.is_diag() and b.is_diag():
        common = min(*shape, a.structure.shape[1])
        product = a.value[:common] * b.value[:common]
        return from_diag(torch.nn.functional.pad(product, (0, min(shape) - common)), shape)
    if a.is_diag() and a.structure.shape[0] == a.structure.shape[1]:
        return val_like(b, a.value[b.structure.row.long()] * b.value)
    if b.is_diag() and b.structure.shape[0] == b.structure.shape[1]:
        return val_like(a, a.value * b.value[a.structure.col.long()])
    return from_torch(torch.sparse.mm(to_torch(a), to_torch(b)))


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


def _has_kernels(value: Tensor) -> bool:
    """DGL's own kernels multiply without a row per value; they know these, on a CPU."""
    return value.device.type == "cpu" and value.dtype in (torch.float32, torch.float64)


def _check_same(a: Matrix, b: Matrix) -> None:
    require(
        a.value.dtype == b.value.dtype,
        "Elementwise operators do not support two sparse matrices with different dtypes.",
    )
    require(
        a.structure.shape == b.structure.shape,
        "Elementwise operators do not support two sparse matrices with different shapes.",
    )


def _check_unique(a: Matrix, b: Matrix, name: str) -> None:
    require(
        not a.has_duplicate() and not b.has_duplicate(),
        f"Only support {name} on sparse matrices without duplicate values",
    )
