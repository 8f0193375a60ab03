"""Time and memory of a pretraining step, beside the plain form, a bare Transformer and a model of dgl.nn.

A step draws blend and noise, runs forward with all four objectives, backward, and Adam, from relations that are ready.
The contenders see the same molecules, in one batch as they come:

* plain: the method straight from its formulae (`plain.py`), which is what the authors' release computes.
* ours: `BlendPretraining`, with the weights of the plain form and its direction objective; losses are checked to agree.
* ours, default: with the distance objective instead.
* transformer: a bare `nn.TransformerEncoder` of that size, dropouts alike, on the same padded input: no relations, no
  heads, no losses, no optimiser; forward and backward only.
* dgl.nn: PathEncoder + SpatialEncoder + SpatialEncoder3d + GraphormerLayer, with cheap heads (`graphormer.py`).
"""

import math
from collections.abc import Callable, Sequence

import torch
from graphormer import DglGraphormer
from inputs import bench_arrays, padding_share
from measure import Laps, Step, alternate, breakdown, compare, machine, parse, parser, report
from plain import PlainMoleBlend, Rates
from torch import Tensor, nn

import dgl_moleblend as mb
from dgl_moleblend.pairs.batch import MoleculeBatch

NAMES = ("plain", "ours", "ours, default", "transformer", "dgl.nn")
COMPILED = "ours, compiled"
"""By ``torch.compile``, which needs a C++ compiler and a minute; only where it is asked for."""
SIZES = {"tiny": mb.EncoderConfig.tiny, "small": mb.EncoderConfig.small, "base": mb.EncoderConfig.base}
WEIGHT_SCALE = 0.02
COLUMNS = {
    "size": "size",
    "contender": "contender",
    "seconds": "s per step|.4f",
    "fastest": "fastest|.4f",
    "slowest": "slowest|.4f",
    "molecules_per_s": "molecules/s|.1f",
    "peak_mb": "peak MB|.0f",
    "before_mb": "MB before|.0f",
    "times_ours": "time / ours|.2f",
    "memory_times_ours": "step memory / ours|.2f",
}
PARTS = {"size": "size", "contender": "contender", "forward": "forward s|.4f", "backward": "backward s|.4f",
         "optimizer": "Adam s|.4f"}  # fmt: skip
BATCHES = {"size": "size", "molecules": "molecules", "atoms": "padded atoms", "padded_rows": "padding, atoms|.1%",
           "padded_pairs": "padding, pairs|.1%", "relations_s": "making relations s|.4f",
           "loss_difference": "loss, ours - plain|.1e"}  # fmt: skip
QUOTED = (
    "Quoted, from another run on a machine of two cores (torch 2.13.0, float32): the authors' released code takes"
    " 6.96 s and a peak of 4,749 MB for a step at base size with these 64 molecules."
)


def plain_model(config: mb.EncoderConfig) -> PlainMoleBlend:
    """Build the plain form with the rates of dropout that the config and the release have."""
    rates = Rates(config.attention_dropout, config.activation_dropout, config.dropout, config.drop_path, denoising=0.1)
    return PlainMoleBlend(rates=rates, weight_scale=WEIGHT_SCALE, **config.to_dict())


def our_model(config: mb.EncoderConfig, objective_3d: str) -> mb.BlendPretraining:
    """Build ours with the weights of the plain form, as far as they fit: its 3D head predicts directions."""
    weights = plain_model(config).state_dict()
    if objective_3d == "distance":
        weights = {name: value for name, value in weights.items() if "blend_3d_pred_head" not in name}
    model = mb.BlendPretraining.from_config(config, objective_3d=objective_3d)
    mb.reference.load_state_dict(model, weights)
    return model


def bare_transformer(config: mb.EncoderConfig) -> nn.TransformerEncoder:
    """Build torch's own post-norm encoder with the same size and dropouts."""
    layer = nn.TransformerEncoderLayer(
        config.feat_size, config.num_heads, config.ffn_size, config.activation_dropout, "gelu", batch_first=True
    )
    layer.self_attn.dropout = config.attention_dropout
    layer.dropout1.p = layer.dropout2.p = config.dropout
    return nn.TransformerEncoder(layer, config.num_layers, enable_nested_tensor=False)


def build(name: str, config: mb.EncoderConfig, molecules: MoleculeBatch, device: str, precision: str) -> Step:
    """Return the training step of a contender."""
    torch.manual_seed(0)
    batch = molecules.to(device).relations()

    def drawn(loss: Callable[[mb.RelationBatch, mb.Blend, Tensor], Tensor]) -> Callable[[], Tensor]:
        return lambda: loss(batch, mb.draw_blend(batch), mb.draw_noise(batch))

    model: nn.Module
    if name == "plain":
        model = plain = plain_model(config).to(device)
        forward = drawn(lambda *inputs: plain(*inputs)["loss/weighted_total"])
    elif name == "dgl.nn":
        model = graphormer = DglGraphormer(config).to(device)
        forward = drawn(graphormer)
    elif name == "transformer":
        model = bare_transformer(config).to(device)
        forward = _bare_forward(model, batch)
    else:
        model = ours = our_model(config, "direction" if name == "ours" else "distance").to(device)
        called = torch.compile(ours, dynamic=True) if name == COMPILED else ours
        forward = drawn(lambda data, blend, noise: called(data, blend=blend, noise=noise).loss)
    optimizer = None if name == "transformer" else torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    model.train()

    def step(laps: Laps | None = None) -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = forward()
        if laps:
            laps.lap("forward")
        loss.backward()
        if laps:
            laps.lap("backward")
        if optimizer is not None:
            optimizer.step()
        if laps and optimizer is not None:
            laps.lap("optimizer")

    return step


def _bare_forward(model: nn.Module, batch: mb.RelationBatch) -> Callable[[], Tensor]:
    """Encode random states of the token and all atoms, padded; the gradient reaches them, as it would an embedding."""
    b, n = batch.atom_mask.shape
    size = (b, n + 1, model.layers[0].linear1.in_features)
    feat = torch.randn(size, device=batch.spd.device, requires_grad=True)
    cotangent = torch.randn(size, device=batch.spd.device)
    padding = nn.functional.pad(~batch.atom_mask, (1, 0))
    return lambda: (model(feat, src_key_padding_mask=padding) * cotangent).sum()


def loss_difference(config: mb.EncoderConfig, molecules: MoleculeBatch) -> float:
    """Return the loss of ours less that of the plain form, the same weights, blend and noise, without dropout.

    Raises
    ------
    RuntimeError
        If they are not equal but for rounding.
    """
    batch = molecules.relations()
    generator = torch.Generator().manual_seed(0)
    blend, noise = mb.draw_blend(batch, generator=generator), mb.draw_noise(batch, generator=generator)
    with torch.no_grad():
        ours = our_model(config, "direction").eval()(batch, blend=blend, noise=noise).loss.item()
        plain = plain_model(config).eval()(batch, blend, noise)["loss/weighted_total"].item()
    if not math.isclose(ours, plain, rel_tol=1e-4):
        raise RuntimeError(f"ours and the plain form disagree: losses {ours} and {plain}")
    return ours - plain


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = parser(__doc__.splitlines()[0], rounds=5)
    options.add_argument("--size", nargs="+", choices=SIZES, help="default: all three; short: tiny and small")
    options.add_argument("--batch", type=int, help="molecules (default: 64, short: 16)")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--precision", choices=("32", "bf16"), default="32")
    options.add_argument("--positions", choices=("etkdg", "made-up"), help="default: etkdg, short: made-up")
    options.add_argument("--contenders", nargs="+", choices=(*NAMES, COMPILED), default=NAMES)
    args = parse(options, argv)
    args.size = args.size or (["tiny", "small"] if args.short else list(SIZES))
    args.batch = args.batch or (16 if args.short else 64)
    args.positions = args.positions or ("made-up" if args.short else "etkdg")
    found = machine(args.device)

    arrays = bench_arrays(args.batch, args.positions)
    molecules = MoleculeBatch.from_arrays(arrays)
    on_device = molecules.to(args.device)
    relations = alternate({"relations": on_device.relations}, args.rounds, args.device)["relations"].median
    rows, parts, batches = [], [], []
    for size in args.size:
        config = SIZES[size]()
        what = (config, molecules, args.device, args.precision)
        measured = compare(args.contenders, build, *what, args=args, device=args.device)
        for name, values in measured.items():
            row = {"size": size, "contender": name, **values, "molecules_per_s": args.batch / values["seconds"]}
            if ours := measured.get("ours"):
                row["times_ours"] = values["seconds"] / ours["seconds"]
                if args.memory:
                    growth = ours["peak_mb"] - ours["before_mb"]
                    row["memory_times_ours"] = (values["peak_mb"] - values["before_mb"]) / growth
            rows.append(row)
            laps = breakdown(build(name, *what), args.rounds, args.device)
            parts.append({"size": size, "contender": name, **laps})
        padding = padding_share(arrays)
        batches.append({"size": size, "molecules": args.batch, "atoms": molecules.atom_mask.shape[1],
                        "padded_rows": padding["atoms"], "padded_pairs": padding["pairs"], "relations_s": relations,
                        "loss_difference": loss_difference(config, molecules)})  # fmt: skip
    return report(
        f"pretraining_step_{args.device}_{args.precision}",
        args,
        found,
        {"Step": rows, "Parts of a step": parts, "Batch": batches},
        {"Step": COLUMNS, "Parts of a step": PARTS, "Batch": BATCHES},
        [QUOTED],
    )


if __name__ == "__main__":
    main()
