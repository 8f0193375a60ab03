"""What stands in for the compiled half of dgl.sparse, beside dense twins; where DGL's own loads, that is tested."""

import os
import subprocess
import sys
from pathlib import Path

import dgl
import dgl.sparse as dglsp
import pytest
import torch
from torch import Tensor

DTYPES = [torch.float32, torch.float64, torch.int64]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrix(rows: int = 5, columns: int = 4, count: int = 9, trailing: tuple[int, ...] = (), dtype=torch.float64):
    """Different places in no order, with values that want gradients if they can have any."""
    place = torch.randperm(rows * columns, generator=generator())[:count]
    value = torch.randint(1, 9, (count, *trailing), generator=generator(1)).to(dtype)
    if dtype.is_floating_point:
        value.requires_grad_()
    return dglsp.from_coo(place // columns, place % columns, value, (rows, columns))


def dense(a: dglsp.SparseMatrix) -> Tensor:
    """The twin: zeros, but for the values."""
    out = torch.zeros(*a.shape, *a.val.shape[1:], dtype=a.val.dtype)
    return out.index_put((a.row, a.col), a.val, accumulate=True)


def assert_same(found: Tensor, expected: Tensor, *wanted: Tensor) -> None:
    """Compare values, and gradients with respect to `wanted` under random weights."""
    torch.testing.assert_close(found, expected)
    weight = torch.randn(expected.shape, generator=generator(3), dtype=expected.dtype)
    for a, b in zip(
        *(torch.autograd.grad((out * weight).sum(), wanted, retain_graph=True) for out in (found, expected)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_adjacency_of_a_graph_multiplies() -> None:
    graph = dgl.graph(([0, 0, 1, 3], [1, 2, 2, 0]))
    feat = torch.randn(4, 3, generator=generator())
    torch.testing.assert_close(graph.adj().T @ feat, dgl.ops.copy_u_sum(graph, feat))
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = dgl.ops.u_mul_e_sum(graph, feat, weight[:, None])
    torch.testing.assert_close(dglsp.val_like(graph.adj(), weight).T @ feat, expected)
    assert torch.equal(graph.int().adj().indices(), graph.adj().indices())


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 1)])
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_products_with_dense_tensors(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    a, x = matrix(dtype=dtype), torch.randn(shape, generator=generator(), dtype=dtype, requires_grad=True)
    assert_same(a @ x, dense(a) @ x, a.val, x)
    assert_same(dglsp.spmm(a.T.T, x), dense(a) @ x, a.val, x)


def test_batched_products() -> None:
    a, x = matrix(trailing=(2,)), torch.randn(4, 3, 2, generator=generator(), dtype=torch.float64, requires_grad=True)
    assert_same(dglsp.bspmm(a, x), torch.einsum("ijb,jkb->ikb", dense(a), x), a.val, x)
    left = torch.randn(5, 3, 2, generator=generator(1), dtype=torch.float64, requires_grad=True)
    right = x.detach().transpose(0, 1).contiguous().requires_grad_()
    out = dglsp.bsddmm(a, left, right)
    expected = torch.einsum("ikb,kjb->ijb", left, right)[a.row, a.col] * a.val
    assert_same(out.val, expected, a.val, left, right)


def test_integers_multiply() -> None:
    a, x = matrix(dtype=torch.int64), torch.arange(8).view(4, 2)
    assert torch.equal(a @ x, (dense(a).double() @ x.double()).long())
    out = dglsp.sddmm(a, torch.ones(5, 2, dtype=torch.int64), x.T.contiguous())
    assert torch.equal(out.val, x.sum(1)[a.col] * a.val)


@pytest.mark.parametrize("shapes", [((5, 3), (3, 4)), ((5,), (4,))])
def test_sampled_products(shapes) -> None:
    a = matrix()
    left, right = (torch.randn(s, generator=generator(), dtype=torch.float64, requires_grad=True) for s in shapes)
    full = left @ right if left.ndim == 2 else left[:, None] * right
    assert_same(dglsp.sddmm(a, left, right).val, full[a.row, a.col] * a.val, a.val, left, right)


def test_products_of_two_sparse_matrices() -> None:
    a, b = matrix(5, 4), matrix(4, 6, 11)
    assert_same((a @ b).to_dense(), dense(a) @ dense(b), a.val, b.val)
    with pytest.raises(RuntimeError, match="second dim of lhs_mat"):
        a @ a
    twice = dglsp.from_coo(torch.tensor([0, 0]), torch.tensor([1, 1]), torch.ones(2), (4, 4))
    with pytest.raises(RuntimeError, match=r"does not support lhs_mat with duplicate indices. Call A = A.coalesce"):
        twice @ dglsp.identity((4, 4))


@pytest.mark.parametrize("shape", [(4, 4), (4, 6), (4, 3)])
def test_products_with_diagonals(shape: tuple[int, int]) -> None:
    a = matrix(5, 4)
    d = dglsp.diag(torch.arange(1.0, min(shape) + 1, dtype=torch.float64).requires_grad_(), shape)
    assert_same((a @ d).to_dense(), dense(a) @ dense(d), a.val, d.val)
    other = dglsp.diag(torch.arange(2.0, min(shape) + 2, dtype=torch.float64).requires_grad_(), shape[::-1])
    product = d @ other
    assert product.is_diag()
    assert_same(product.to_dense(), dense(d) @ dense(other), d.val, other.val)


@pytest.mark.parametrize("trailing", [(), (3,)])
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax(trailing: tuple[int, ...], dim: int) -> None:
    a = matrix(trailing=trailing)
    masked = dense(a).masked_fill(dense(dglsp.val_like(a, torch.ones_like(a.val))) == 0, -torch.inf)
    assert_same(dglsp.softmax(a, dim).val, masked.softmax(dim)[a.row, a.col], a.val)


@pytest.mark.parametrize("dim", [None, 0, 1])
def test_reductions(dim: int | None) -> None:
    a, count = matrix(), matrix(dtype=torch.int64)
    here = dense(dglsp.val_like(count, torch.ones_like(count.val))) > 0
    total = a.val.sum() if dim is None else dense(a).sum(dim)
    number = a.nnz if dim is None else here.sum(dim)
    assert_same(dglsp.sum(a, dim), total, a.val)
    assert_same(dglsp.smean(a, dim), total / (number if dim is None else number.clamp(min=1)), a.val)
    for ours, fill, theirs in ((dglsp.smax, -torch.inf, torch.amax), (dglsp.smin, torch.inf, torch.amin)):
        filled = dense(a).masked_fill(~here, fill)
        expected = theirs(filled) if dim is None else theirs(filled, dim).masked_fill(number == 0, 0.0)
        torch.testing.assert_close(ours(a, dim), expected)
    ones = dense(a).masked_fill(~here, 1.0)
    product = ones.prod() if dim is None else ones.prod(dim).masked_fill(number == 0, 0.0)
    torch.testing.assert_close(dglsp.sprod(a, dim), product)


def test_elementwise_operators() -> None:
    a, b = matrix(), matrix(count=12)
    assert_same((a + b).to_dense(), dense(a) + dense(b), a.val, b.val)
    assert_same((a * b).to_dense(), dense(a) * dense(b), a.val, b.val)
    shuffled = torch.randperm(9, generator=generator(5))
    c = dglsp.from_coo(a.row[shuffled], a.col[shuffled], a.val.detach()[shuffled] + 1, a.shape)
    quotient = a / c
    assert torch.equal(quotient.indices(), a.indices())
    assert_same(quotient.val, a.val / (a.val.detach() + 1), a.val)
    with pytest.raises(RuntimeError, match="different sparsities"):
        a / b
    with pytest.raises(RuntimeError, match="different shapes"):
        a + matrix(4, 5)


def test_formats_keep_values_where_they_are() -> None:
    a = matrix()
    for pointers, others, order, make in ((*a.csr(), dglsp.from_csr), (*a.csc(), dglsp.from_csc)):
        value = a.val if order is None else a.val[order]
        again = make(pointers, others, value, a.shape)
        torch.testing.assert_close(dense(again), dense(a))
    torch.testing.assert_close(dense(a.T), dense(a).T)
    assert not a.is_diag()
    assert dglsp.identity((3, 3)).is_diag()
    torch.testing.assert_close(dglsp.identity((3, 4)).to_dense(), torch.eye(3, 4))
    twice = dglsp.from_coo(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 1]), torch.tensor([1.0, 2.0, 3.0]), (2, 2))
    assert twice.has_duplicate()
    assert not a.has_duplicate()
    torch.testing.assert_close(twice.coalesce().to_dense(), torch.tensor([[0.0, 3.0], [3.0, 0.0]]))
    assert twice.coalesce().nnz == 2


@pytest.mark.parametrize("dim", [0, 1])
def test_selection(dim: int) -> None:
    a = matrix()
    ids = torch.tensor([2, 0, 2])
    torch.testing.assert_close(dense(a.index_select(dim, ids)), dense(a).index_select(dim, ids))
    torch.testing.assert_close(dense(a.range_select(dim, slice(1, 3))), dense(a).narrow(dim, 1, 2))
    small, found = a.compact(dim, torch.tensor([3]))
    assert found[0] == 3
    torch.testing.assert_close(dense(small), dense(a).index_select(dim, found))
    with pytest.raises((RuntimeError, dgl.DGLError)):
        a.index_select(dim, torch.tensor([99]))


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_samples_are_values_of_their_rows(replace: bool, bias: bool) -> None:
    rows, columns = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    weight = torch.tensor([[1.0, 1, 1, 0], [0, 3, 1, 0], [1, 1, 1, 1]])
    a = dglsp.from_coo(rows.flatten(), columns.flatten(), weight.flatten(), (3, 4))
    count = torch.zeros(2, 4)
    for _ in range(300):
        sample = a.sample(0, 2, torch.tensor([1, 0]), replace, bias)
        assert sample.shape == (2, 4)
        assert torch.equal(sample.val, weight[[1, 0]][sample.row, sample.col])
        assert torch.bincount(sample.row).tolist() == [2, 2]
        assert replace or not sample.has_duplicate()
        count.index_put_((sample.row, sample.col), torch.ones(4), accumulate=True)
    if bias:
        assert (count[weight[[1, 0]] == 0] == 0).all()
        assert replace == (count[0, 1] > 1.3 * count[0, 2])  # drawn three times as often, or both each time
    else:
        assert (count > 90).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"SpMM: Invalid input shapes. sparse_mat: \[5, 4\]"):
        matrix() @ torch.ones(5, 2, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="SDDMM: Invalid input shapes"):
        dglsp.sddmm(matrix(), torch.ones(5, 2), torch.ones(3, 4))
    with pytest.raises(RuntimeError, match="does not have the same dtype"):
        matrix() @ torch.ones(4, 2, dtype=torch.float32)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("def load_dgl_sparse(): raise FileNotFoundError('no library')\nload_dgl_sparse()", "True"),
        ("def load_dgl_sparse(): pass\nload_dgl_sparse()", "False"),
        ("raise FileNotFoundError('another file')", "another file"),
        ("def load_dgl_sparse(): raise ImportError('it does not load')\nload_dgl_sparse()", "it does not load"),
    ],
)
def test_it_stands_in_where_dgls_library_is_absent_and_only_there(tmp_path: Path, text: str, printed: str) -> None:
    (tmp_path / "dgl" / "sparse").mkdir(parents=True)
    (tmp_path / "dgl" / "__init__.py").write_text("")
    (tmp_path / "dgl" / "sparse" / "__init__.py").write_text(text)
    code = (
        "import dgl_moleblend\n"
        "try: import dgl.sparse\n"
        "except (ImportError, OSError) as error: print(error)\n"
        "else: print(hasattr(dgl.sparse, '_stands_in'))"
    )
    variables = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, printed), done.stderr
