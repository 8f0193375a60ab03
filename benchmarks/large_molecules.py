"""Time and memory of one molecule from 10 to 2,000 atoms, all pairs beside those within a cut-off.

Poly-alanine, its atoms wound on a made-up helix. Dense: all pairs, as padded tensors. Cut-off: the graph that
`cut_off` leaves, by message passing. Beforehand both are checked to agree when the cut-off leaves every pair.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import dgl_moleblend as mb  # first: dgl can be imported afterwards

# isort: split
import numpy as np
import torch
from dgl import DGLGraph
from measure import Step, Timing, alternate, compare, machine, parse, parser, report
from rdkit import Chem

RESIDUES = (2, 10, 20, 50, 100, 200, 400)
SIZES = {"tiny": mb.EncoderConfig.tiny, "small": mb.EncoderConfig.small, "base": mb.EncoderConfig.base}
MODES = ("inference", "training")
NAMES = ("dense", "cut-off")
COLUMNS = {"atoms": "atoms", "mode": "mode", "contender": "contender", "pairs": "pairs|,", "seconds": "s|.4f",
           "fastest": "fastest|.4f", "slowest": "slowest|.4f", "peak_mb": "peak MB|.0f", "before_mb": "MB before|.0f",
           "bytes_per_pair": "step bytes per pair|.0f"}  # fmt: skip
GRAPHS = {"atoms": "atoms", "pairs": "all pairs|,", "kept": "kept|,", "kept_share": "kept|.1%",
          "graph_s": "making the graph s|.3f", "cut_off_s": "cutting it s|.3f",
          "near_s": "without all pairs s|.3f"}  # fmt: skip


def poly_alanine(residues: int) -> Chem.Mol:
    """Return a peptide of five heavy atoms a residue, and one more."""
    mol = Chem.MolFromSequence("A" * residues)
    turn = np.radians(20) * np.arange(mol.GetNumAtoms())  # 100 degrees and 1.5 angstrom a residue
    positions = np.stack((2.3 * np.cos(turn), 2.3 * np.sin(turn), 0.3 * np.arange(len(turn))), 1)
    conformer = Chem.Conformer(len(turn))
    conformer.Set3D(True)
    conformer.SetPositions(positions)
    mol.AddConformer(conformer)
    return mol


def predictor(config: mb.EncoderConfig) -> mb.MoleBlendPredictor:
    """Build a model of one property."""
    torch.manual_seed(0)
    return mb.MoleBlendPredictor(n_tasks=1, encoder=mb.MoleBlendEncoder.from_config(config))


def build(name: str, data: dict[str, DGLGraph | mb.RelationBatch], config: mb.EncoderConfig, mode: str) -> Step:
    """Return a prediction, or a training step with Adam, for one molecule."""
    molecule, model = data[name], predictor(config)
    if mode == "inference":
        model.eval()

        def infer() -> None:
            with torch.inference_mode():
                model(molecule)

        return infer
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    model.train()

    def train() -> None:
        model.zero_grad(set_to_none=True)
        model(molecule).square().sum().backward()
        optimizer.step()

    return train


def check(config: mb.EncoderConfig) -> float:
    """Return the largest relative difference of states and gradients, float64, when the cut-off leaves every pair.

    Raises
    ------
    RuntimeError
        If they are not equal but for rounding.
    """
    graph = mb.MoleculeFeaturizer(positions="given")(poly_alanine(6))
    views = {"dense": mb.RelationBatch.from_graphs([graph]), "cut-off": mb.cut_off(graph, spd=graph.num_nodes())}
    model = predictor(config).double().eval()
    results: dict[str, list[torch.Tensor]] = {}
    for name, data in views.items():
        model.zero_grad()
        backend = "dense" if name == "dense" else "message_passing"
        encoded = model.encoder(data, backend=backend)
        states = torch.cat((encoded.token, encoded.nodes))
        (states * torch.arange(states.shape[1])).sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results[name] = [states.detach(), *gradients]
    pairs = zip(results["cut-off"], results["dense"], strict=True)
    largest = max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-9)) for a, b in pairs)
    if not largest < 1e-10:
        raise RuntimeError(f"dense and cut-off disagree by {largest:.1e} on the same pairs")
    return largest


def dense_bytes(config: mb.EncoderConfig, atoms: int, mode: str) -> float:
    """Estimate what a dense step takes, to leave out what would not fit: kernels, and logits of one or all layers."""
    kept_layers = config.num_layers if mode == "training" else 1
    return 4.0 * atoms**2 * (8 * config.num_kernels + 6 * config.num_heads * kept_layers)


def available_bytes() -> float:
    """Memory that Linux says is free to use."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def measure(args: argparse.Namespace) -> tuple[list[dict], list[dict], list[str]]:
    """Measure every size; return rows, what the graphs are, and what was left out."""
    config, featurizer = SIZES[args.size](), mb.MoleculeFeaturizer(positions="given")
    rows, graphs, notes = [], [], []
    for residues in args.residues:
        mol = poly_alanine(residues)
        graph = featurizer(mol)
        cut = mb.cut_off(graph, spd=args.spd, distance=args.distance)
        atoms = graph.num_nodes()
        making: dict[str, Timing] = alternate(
            {
                "graph": lambda mol=mol: featurizer(mol),
                "cut": lambda graph=graph: mb.cut_off(graph, spd=args.spd, distance=args.distance),
                "near": lambda mol=mol: mb.MoleculeFeaturizer(positions="given", reach=args.spd)(mol),
            },
            args.rounds if atoms < 500 else 1,
        )
        graphs.append({"atoms": atoms, "pairs": atoms**2, "kept": cut.num_edges(), "graph_s": making["graph"].median,
                       "kept_share": cut.num_edges() / atoms**2, "cut_off_s": making["cut"].median,
                       "near_s": making["near"].median})  # fmt: skip
        data = {"dense": mb.RelationBatch.from_graphs([graph]), "cut-off": cut}
        pairs = {"dense": atoms**2, "cut-off": cut.num_edges()}
        for mode in args.modes:
            names = list(args.contenders)
            needed = dense_bytes(config, atoms, mode)
            if "dense" in names and needed > 0.7 * available_bytes():
                names.remove("dense")
                notes.append(
                    f"left out: dense {mode} with {atoms:,} atoms, which would take about {needed / 1e9:.0f} GB"
                )
            for name, values in compare(names, build, data, config, mode, args=args).items():
                row = {"atoms": atoms, "mode": mode, "contender": name, "pairs": pairs[name], **values}
                if args.memory:
                    row["bytes_per_pair"] = 1e6 * (values["peak_mb"] - values["before_mb"]) / pairs[name]
                rows.append(row)
    return rows, graphs, notes


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = parser(__doc__.splitlines()[0], rounds=3)
    options.add_argument("--residues", type=int, nargs="+", help=f"default: {RESIDUES}; short: 2 and 20")
    options.add_argument("--size", choices=SIZES, help="default: small; short: tiny")
    options.add_argument("--spd", type=int, default=6, help="cut-off, bonds")
    options.add_argument("--distance", type=float, help="cut-off in space, angstrom, in addition")
    options.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    options.add_argument("--contenders", nargs="+", choices=NAMES, default=NAMES)
    args = parse(options, argv)
    args.residues = args.residues or ([2, 20] if args.short else list(RESIDUES))
    args.size = args.size or ("tiny" if args.short else "small")
    found = machine()
    largest = check(SIZES[args.size]())
    rows, graphs, notes = measure(args)
    notes.append(f"With a cut-off that leaves every pair, dense and message passing differ by {largest:.1e} (float64,"
                 " states and gradients, relative to the largest of each).")  # fmt: skip
    sections = {"One molecule": rows, "Graphs": graphs}
    columns = dict(zip(sections, (COLUMNS, GRAPHS), strict=True))
    return report("large_molecules", args, found, sections, columns, notes)


if __name__ == "__main__":
    main()
