"""Does a device learn what the CPU learns: losses of the same pretraining steps, the same weights, blends and noise.

No dropout, so that nothing is drawn on the device; Adam at 1e-4. In float32 the losses of all steps must agree to
1e-3 (relative), else the run ends with an error; those in bf16 are told.
"""

from collections.abc import Sequence

import torch
from inputs import bench_batch
from measure import machine, parse, parser, report
from pretraining_step import SIZES, our_model

import dgl_moleblend as mb
from dgl_moleblend.pairs.batch import MoleculeBatch

AGREE = 1e-3
COLUMNS = {"step": "step", "cpu": "cpu, float32|.5f", "float32": "device, float32|.5f", "bf16": "device, bf16|.5f",
           "float32_off": "float32 off by|.1e", "bf16_off": "bf16 off by|.1e"}  # fmt: skip


def losses(config: mb.EncoderConfig, molecules: MoleculeBatch, steps: int, device: str, *, bf16: bool) -> list[float]:
    """Return the loss of every step."""
    torch.manual_seed(0)
    model = our_model(config, "distance").to(device).eval()
    batch, generator = molecules.to(device).relations(), torch.Generator().manual_seed(0)
    optimizer, found = torch.optim.Adam(model.parameters(), lr=1e-4), []
    for _ in range(steps):
        blend, noise = mb.draw_blend(batch, generator=generator), mb.draw_noise(batch, generator=generator)
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = model(batch, blend=blend, noise=noise).loss
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line.

    Raises
    ------
    RuntimeError
        If the losses in float32 differ by more than 1e-3.
    """
    options = parser(__doc__.splitlines()[0], rounds=1)
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--size", choices=SIZES, help="default: small; short: tiny")
    options.add_argument("--steps", type=int, help="default: 50; short: 3")
    args = parse(options, argv)
    config = SIZES[args.size or ("tiny" if args.short else "small")]()
    steps = args.steps or (3 if args.short else 50)
    found, molecules = machine(args.device), bench_batch(4 if args.short else 16)
    rows = [
        {"step": k + 1, "cpu": cpu, "float32": single, "bf16": half,
         "float32_off": abs(single / cpu - 1), "bf16_off": abs(half / cpu - 1)}
        for k, (cpu, single, half) in enumerate(zip(
            losses(config, molecules, steps, "cpu", bf16=False),
            losses(config, molecules, steps, args.device, bf16=False),
            losses(config, molecules, steps, args.device, bf16=True), strict=True))
    ]  # fmt: skip
    worst = max(row["float32_off"] for row in rows)
    result = report(f"devices_{args.device}", args, found, {"Losses": rows}, {"Losses": COLUMNS},
                    [f"{steps} steps; float32 off by {worst:.1e} at most"])  # fmt: skip
    if not worst <= AGREE:
        raise RuntimeError(f"losses on {args.device} differ from the CPU's by {worst:.1e}, more than {AGREE}")
    return result


if __name__ == "__main__":
    main()
