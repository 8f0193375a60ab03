"""Ways to compute attention with a bias per pair and head: which is fastest, and does `backend="auto"` take it.

Forward and backward at the shapes of the base size (32 heads of 24 channels; 64 molecules, fewer of the large ones),
all molecules of the same size, gradients of queries, keys, values and bias, no dropout. All start from queries, keys
and values as a linear layer makes them, atom by atom, and end there; the bias is laid out beforehand, as a stack of
layers does it once. All must agree.

* products: softmax between two batched matrix products, written out.
* sdpa: `torch.nn.functional.scaled_dot_product_attention` with the bias as its mask.
* flex: compiled FlexAttention that adds the bias to the scores, where it runs.
* message passing: what ours does on a DGLGraph, by DGL's kernels.
* auto: what ours does for these molecules by default.
"""

import argparse
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from measure import Step, compare, machine, parse, parser, report
from torch import Tensor

import dgl_moleblend as mb
from dgl_moleblend.nn.views.choice import open_view
from dgl_moleblend.nn.views.graph import GraphView
from dgl_moleblend.nn.views.padded import PaddedView

NAMES = ("products", "sdpa", "flex", "message passing", "auto")
HEADS, CHANNELS = 32, 24
ATOMS = (8, 16, 32, 64, 128, 256, 512)
DTYPES = {"32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE = {"32": 1e-4, "bf16": 5e-2}
COLUMNS = {"precision": "precision", "atoms": "atoms", "molecules": "molecules", "contender": "contender",
           "seconds": "s|.5f", "fastest": "fastest|.5f", "slowest": "slowest|.5f", "peak_mb": "peak MB|.0f",
           "before_mb": "MB before|.0f", "difference": "difference|.0e"}  # fmt: skip
CHOICES = {"precision": "precision", "atoms": "atoms", "best": "fastest", "auto": "auto takes",
           "auto_times_best": "auto / fastest|.2f"}  # fmt: skip


class Problem(NamedTuple):
    """Queries, keys, values (b, n, 3, h, c); bias (b, n, n, h); the output's gradient (b, n, h, c); a token is in n."""

    query_key_value: Tensor
    bias: Tensor
    cotangent: Tensor


class Way(NamedTuple):
    """One way to compute attention: its inputs in the layout that it wants, itself, and its output padded again."""

    inputs: tuple[Tensor, ...]
    attend: Callable[..., Tensor]
    cotangent: Tensor
    pad: Callable[[Tensor], Tensor]


def draw(atoms: int, device: str, dtype: torch.dtype) -> Problem:
    """Draw a problem, the same every time."""
    b, source = num_molecules(atoms), torch.Generator().manual_seed(0)
    shapes = [(b, atoms, 3, HEADS, CHANNELS), (b, atoms, atoms, HEADS), (b, atoms, HEADS, CHANNELS)]
    return Problem(*(torch.randn(shape, generator=source).to(device, dtype) for shape in shapes))


def num_molecules(atoms: int) -> int:
    """Return 64, or so few that there are as many pairs as 64 molecules of 32 atoms have."""
    return min(64, max(1, 65_536 // atoms**2))


def products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attend over (b, h, n, c), in any strides."""
    logits = query @ key.transpose(-1, -2) * CHANNELS**-0.5 + bias
    return torch.softmax(logits, -1, dtype=torch.float32).to(value.dtype) @ value


def sdpa(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attend over (b, h, n, c), in any strides."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def flex(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attend over (b, h, n, c), in any strides."""

    def add_bias(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + bias[b, h, i, j]

    return _compiled_flex()(query, key, value, score_mod=add_bias)


@functools.cache
def _compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def way(name: str, problem: Problem) -> Way:
    """Lay the problem out for a contender."""
    query_key_value, bias, cotangent = problem
    heads_first = bias.permute(0, 3, 1, 2).contiguous()
    if name in ("products", "sdpa", "flex"):
        function = {"products": products, "sdpa": sdpa, "flex": flex}[name]

        def transposed(query_key_value: Tensor, bias: Tensor) -> Tensor:
            return function(*query_key_value.permute(2, 0, 3, 1, 4), bias).transpose(1, 2).contiguous()

        return Way((query_key_value, heads_first), transposed, cotangent, lambda out: out)

    view = layer_view(name, problem)

    def attend(*inputs: Tensor) -> Tensor:
        return view.attend(*inputs, 0.0)

    if isinstance(view, PaddedView):
        return Way((query_key_value, heads_first), attend, cotangent, lambda out: out)
    place = (view.molecule, view.place)
    if isinstance(view, GraphView):
        molecule, receiver, sender = view.molecule[view.receiver], view.place[view.receiver], view.place[view.sender]
        bias = bias[molecule, receiver, sender]
    else:
        bias = heads_first

    def pad(out: Tensor) -> Tensor:
        return out.new_zeros(*cotangent.shape[:2], *out.shape[1:]).index_put(place, out)

    return Way((query_key_value[place], bias), attend, cotangent[place], pad)


def layer_view(name: str, problem: Problem) -> Any:
    """Return the view that the layers of an encoder see, for message passing or by default."""
    (b, n), device = problem.cotangent.shape[:2], problem.cotangent.device
    pairs = torch.zeros(b, n - 1, n - 1, dtype=torch.int16, device=device)
    batch = mb.RelationBatch(
        atom=torch.zeros(b, n - 1, 9, dtype=torch.uint8, device=device),
        degree=torch.zeros(b, n - 1, dtype=torch.uint8, device=device),
        positions=torch.zeros(b, n - 1, 3, device=device),
        atom_mask=torch.ones(b, n - 1, dtype=torch.bool, device=device),
        has_conformer=torch.ones(b, dtype=torch.bool, device=device),
        spd=pairs,
        bond_path=pairs[..., None].expand(-1, -1, -1, 5).to(torch.int8),
    )
    view, fields = open_view(batch, "auto" if name == "auto" else "message_passing")
    feat = problem.cotangent.new_zeros(*fields.degree.shape, 1)
    return view.with_token(feat, feat.new_zeros(1))[0]


def build(name: str, atoms: int, device: str, precision: str) -> Step:
    """Return forward and backward of a contender; the step gives output and gradient of its first input."""
    chosen = way(name, draw(atoms, device, DTYPES[precision]))
    inputs = [x.detach().requires_grad_() for x in chosen.inputs]

    def step() -> tuple[Tensor, Tensor]:
        for x in inputs:
            x.grad = None
        out = chosen.attend(*inputs)
        out.backward(chosen.cotangent)
        return out, inputs[0].grad

    def padded() -> tuple[Tensor, Tensor]:
        return tuple(chosen.pad(x.detach()).float() for x in step())

    step.padded = padded  # type: ignore[attr-defined]
    return step


def difference(name: str, *what: Any) -> float:
    """Return how far output and gradient are from `products`' in float32, relative to the largest value.

    Raises
    ------
    RuntimeError
        If they differ by more than rounding.
    """
    atoms, device, precision = what
    found, expected = build(name, *what).padded(), build("products", atoms, device, "32").padded()
    largest = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))
    if not largest < TOLERANCE[precision]:
        raise RuntimeError(f"{name} and products disagree by {largest:.1e} at {what}")
    return largest


def runs(name: str, *what: Any) -> str | None:
    """Say why a contender does not run here; None if it does."""
    try:
        build(name, *what)()
    except Exception as error:  # of the compiler, the device or torch: whatever it is, it is reported
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return None


def measure(args: argparse.Namespace) -> tuple[list[dict], list[dict], list[str]]:
    """Measure every size and precision; return rows, which is fastest, and what does not run."""
    rows, choices, notes = [], [], []
    for precision in args.precision:
        faults = {name: runs(name, args.atoms[0], args.device, precision) for name in args.contenders}
        names = [name for name, reason in faults.items() if reason is None]
        notes += [
            f"{name} does not run here ({args.device}, {precision}): {why}" for name, why in faults.items() if why
        ]
        for atoms in args.atoms:
            what = (atoms, args.device, precision)
            measured = compare(names, build, *what, args=args, device=args.device)
            for name, values in measured.items():
                rows.append({"precision": precision, "atoms": atoms, "molecules": num_molecules(atoms),
                             "contender": name, **values, "difference": difference(name, *what)})  # fmt: skip
            best = min((name for name in names if name != "auto"), key=lambda name: measured[name]["seconds"])
            taken = layer_view("auto", draw(*what[:2], torch.float32))
            choices.append({"precision": precision, "atoms": atoms, "best": best,
                            "auto": "message passing" if isinstance(taken, GraphView) else "dense"})  # fmt: skip
            if "auto" in measured:
                choices[-1]["auto_times_best"] = measured["auto"]["seconds"] / measured[best]["seconds"]
    return rows, choices, notes


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = parser(__doc__.splitlines()[0], rounds=11)
    options.add_argument("--atoms", type=int, nargs="+", help=f"default: {ATOMS}; short: 16 and 64")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--precision", nargs="+", choices=DTYPES, help="default: both; short: 32")
    options.add_argument("--contenders", nargs="+", choices=NAMES, default=NAMES)
    args = parse(options, argv)
    args.atoms = args.atoms or ([16, 64] if args.short else list(ATOMS))
    args.precision = args.precision or (["32"] if args.short else list(DTYPES))
    found = machine(args.device)
    rows, choices, notes = measure(args)
    sections = {"Attention, forward and backward": rows, "The fastest, and the default": choices}
    columns = dict(zip(sections, (COLUMNS, CHOICES), strict=True))
    return report(f"attention_{args.device}", args, found, sections, columns, notes)


if __name__ == "__main__":
    main()
