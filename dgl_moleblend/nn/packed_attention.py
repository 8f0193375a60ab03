"""Attention between rows without padding: padded within, and nothing padded is kept for the gradient."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dgl_moleblend.nn.dropout import draw_kept


class Layout(NamedTuple):
    """Where the heads of rows stand in the padded layout, heads first; batched products want them there.

    Attributes
    ----------
    shape : tuple of int
        (b, h, m).
    gather : Tensor, shape (3 * b * h * m,)
        For every place of queries, keys and values: which head of which row stands there. A place in the padding
        repeats its molecule's first row: its weight is 0, and what it receives is not read.
    rows : Tensor, shape (t * h,)
        For every head of every row: its place.
    """

    shape: tuple[int, int, int]
    gather: Int[Tensor, " places"]
    rows: Int[Tensor, " heads"]

    @classmethod
    def of(cls, molecule: Int[Tensor, " t"], place: Int[Tensor, " t"], shape: tuple[int, int], h: int) -> "Layout":
        """Lay out t rows, given their molecule and place within it; the first b rows are the molecules' first."""
        b, m = shape
        head = torch.arange(h, device=molecule.device)
        row = torch.arange(b, device=molecule.device)[:, None].repeat(1, m)
        row[molecule, place] = torch.arange(len(molecule), device=molecule.device)
        part = torch.arange(3, device=molecule.device)
        gather = (row[:, None, :] * 3 + part[:, None, None, None]) * h + head[:, None]  # (3, b, h, m)
        rows = (molecule[:, None] * h + head) * m + place[:, None]
        return cls((b, h, m), gather.flatten(), rows.flatten())


def attend_rows(
    query_key_value: Float[Tensor, "t 3 h c"], bias: Float[Tensor, "b h m m"], rate: float, layout: Layout
) -> Float[Tensor, "t h c"]:
    """Attention by batched products, of which nothing padded is kept for the gradient.

    Parameters
    ----------
    query_key_value : Tensor, shape (t, 3, h, c)
    bias : Tensor, shape (b, h, m, m)
        Added to the logits; -inf for keys in the padding.
    rate : float
        At which weights are dropped.
    layout : Layout

    Returns
    -------
    Tensor, shape (t, h, c)
    """
    b, h, m = layout.shape
    kept, scale = draw_kept((b * h, m, m), rate) if rate > 0 else (None, 1.0)
    return _Attend.apply(query_key_value, bias, kept, scale, layout)


def _softmax(query: Tensor, key: Tensor, bias: Tensor) -> Tensor:
    logits = torch.baddbmm(bias.flatten(0, 1).to(query.dtype), query, key.mT, alpha=query.shape[-1] ** -0.5)
    return torch.softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _drop(weight: Tensor, kept: Tensor | None) -> Tensor:
    return weight if kept is None else torch.where(kept, weight, 0.0)


def _plainly(query_key_value: Tensor, bias: Tensor, kept: Tensor | None, scale: float, layout: Layout) -> Tensor:
    query, key, value = _place(query_key_value, layout)
    out = torch.bmm(_drop(_softmax(query, key, bias), kept).to(value.dtype), value)
    return scale * _take(out, layout.rows).view(len(query_key_value), *query_key_value.shape[2:])


def _place(query_key_value: Tensor, layout: Layout) -> Tensor:
    """(t, 3, h, c) -> (3, b * h, m, c)."""
    b, h, m = layout.shape
    return _take(query_key_value, layout.gather).view(3, b * h, m, -1)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Pick vectors (.., c) by their number: one copy, whatever the axes before."""
    return x.reshape(-1, x.shape[-1]).index_select(0, index)


class _Attend(torch.autograd.Function):
    """The products are written out backwards, and weights computed once more: nothing is kept but the inputs."""

    @staticmethod
    def forward(
        ctx: Any, query_key_value: Tensor, bias: Tensor, kept: Tensor | None, scale: float, layout: Layout
    ) -> Tensor:
        ctx.save_for_backward(query_key_value, bias, kept)
        ctx.scale, ctx.layout = scale, layout
        return _plainly(query_key_value, bias, kept, scale, layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query_key_value, bias, kept = ctx.saved_tensors
        scale, layout, given = ctx.scale, ctx.layout, gradients[0]
        if torch.is_grad_enabled():  # the gradient is to be differentiated once more
            inputs = (query_key_value.view_as(query_key_value), bias.view_as(bias))  # rows may depend on the bias
            out = _plainly(*inputs, kept, scale, layout)
            found = torch.autograd.grad(out, inputs, given, create_graph=True, allow_unused=True)
            return (*found, None, None, None)
        placed = _place(query_key_value, layout)
        (query, key, value), (t, _, h, c) = placed, query_key_value.shape
        weight = _softmax(query, key, bias)
        padded = value.new_zeros(value.shape).view(-1, c)
        padded = padded.index_copy_(0, layout.rows, (given * scale).reshape(-1, c)).view_as(value)
        parts = torch.empty_like(placed)
        torch.bmm(_drop(weight, kept).to(value.dtype).mT, padded, out=parts[2])
        by_weight = torch.bmm(padded, value.mT).to(weight.dtype)
        if kept is not None:
            by_weight.mul_(kept)
        by_logit = torch.ops.aten._softmax_backward_data(by_weight, weight, -1, weight.dtype)
        scaled = (by_logit * c**-0.5).to(value.dtype)
        torch.bmm(scaled, key, out=parts[0])
        torch.bmm(scaled.mT, query, out=parts[1])
        part = torch.arange(3, device=value.device)[:, None] * (len(padded) * padded.shape[1])
        rows = layout.rows.view(t, 1, h) + part  # (t, 3, h)
        return (
            _take(parts, rows.flatten()).view_as(query_key_value),
            by_logit.view_as(bias).to(bias.dtype),
            None,
            None,
            None,
        )
