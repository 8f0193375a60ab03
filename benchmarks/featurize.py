"""Molecules a second from SMILES to graph, in one process and without conformers; where the time goes.

* parsing: RDKit's `MolFromSmiles` alone, the floor below which nothing that starts from SMILES can go.
* plain: one molecule at a time in Python and NumPy (`plain_features.py`), which ends at dense arrays.
* ours, one by one: `MoleculeFeaturizer()(smiles)`.
* ours: `MoleculeFeaturizer().many(smiles)`, a DGLGraph each.
* ours, batches: compact arrays, then relations of 64 molecules at once: what training from a store does.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from inputs import bench_smiles
from measure import Laps, Step, breakdown, compare, machine, parse, parser, report
from plain_features import plain_features
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.chem.sanitize import rdkit_session, read_smiles
from dgl_moleblend.chem.vocabulary import ATOM_FEATURES, mol_to_arrays
from dgl_moleblend.pairs.batch import MoleculeBatch

T = TypeVar("T")
NAMES = ("parsing", "plain", "ours, one by one", "ours", "ours, batches")
RELEASE = 476.1
QUOTED = (
    f"Quoted, from another run on a machine of two cores: the authors' released code makes {RELEASE:.0f} molecules/s of"
    " these 1,024 (SMILES to collated batch, one process)."
)
COLUMNS = {"contender": "contender", "molecules_per_s": "molecules/s|.0f", "seconds": "s|.4f", "fastest": "fastest|.4f",
           "slowest": "slowest|.4f", "peak_mb": "peak MB|.0f", "before_mb": "MB before|.0f",
           "times_plain": "speed / plain|.2f", "times_release": "speed / release, quoted|.2f"}  # fmt: skip
PARTS = {"part": "part of `ours`", "microseconds": "us per molecule|.0f", "share": "share|.1%"}


def build(name: str, smiles: Sequence[str]) -> Step:
    """Return a contender that featurizes all molecules."""
    featurizer = mb.MoleculeFeaturizer()

    def batches() -> list[mb.RelationBatch]:
        batches = (MoleculeBatch.from_arrays([featurizer.arrays(text) for text in some]) for some in chunks(smiles, 64))
        return [batch.relations() for batch in batches]

    return {
        "parsing": lambda: [Chem.MolFromSmiles(text) for text in smiles],
        "plain": lambda: [plain_features(text) for text in smiles],
        "ours, one by one": lambda: [featurizer(text) for text in smiles],
        "ours": lambda: featurizer.many(smiles),
        "ours, batches": batches,
    }[name]


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a list into parts of `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def build_parts(smiles: Sequence[str]) -> Step:
    """Return a step that does what `MoleculeFeaturizer.many` does, part after part, and then `many` itself."""
    featurizer = mb.MoleculeFeaturizer()

    def step(laps: Laps) -> None:
        with rdkit_session:
            mols = [read_smiles(text) for text in smiles]
        laps.lap("parsing")
        for mol in mols:
            atoms = list(map(mol.GetAtomWithIdx, range(mol.GetNumAtoms())))
            for feature in ATOM_FEATURES:
                bytes(map(feature.ids.__getitem__, map(feature.read, atoms)))
        laps.lap("atoms")
        arrays = sorted(map(mol_to_arrays, mols), key=lambda molecule: molecule.num_atoms)
        laps.lap("atoms and bonds")
        for some in chunks(arrays, 64):
            MoleculeBatch.from_arrays(some).relations()
        laps.lap("relations")
        featurizer.many(smiles)
        laps.lap("all")

    return step


def parts(smiles: Sequence[str], rounds: int) -> list[dict[str, object]]:
    """Return what each part of `ours` takes; the graphs are what is left."""
    seconds = breakdown(build_parts(smiles), rounds)
    seconds["bonds"] = seconds.pop("atoms and bonds") - seconds["atoms"]
    whole = seconds.pop("all")
    seconds["graphs, and the rest"] = whole - sum(seconds.values())
    order = ("parsing", "atoms", "bonds", "relations", "graphs, and the rest")
    return [
        {"part": name, "microseconds": 1e6 * seconds[name] / len(smiles), "share": seconds[name] / whole}
        for name in order
    ]


def check(smiles: Sequence[str]) -> None:
    """Compare the plain form with ours.

    Raises
    ------
    RuntimeError
        If a feature, distance or length of a path differs. (Of tied paths each takes its own.)
    """
    for text, graph in zip(smiles, mb.MoleculeFeaturizer().many(smiles), strict=True):
        n, plain = graph.num_nodes(), plain_features(text)
        path = graph.edata["bond_path"].view(n, n, -1).numpy()
        same = {
            "atom": np.array_equal(plain["atom"], graph.ndata["atom"].numpy()),
            "degree": np.array_equal(plain["degree"], graph.ndata["degree"].numpy()),
            "spd": np.array_equal(plain["spd"], graph.edata["spd"].view(n, n).numpy()),
            "bond_path": np.array_equal(plain["bond_path"] >= 0, path >= 0),
        }
        if not all(same.values()):
            raise RuntimeError(f"the plain form and ours disagree on {text}: {same}")


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = parser(__doc__.splitlines()[0], rounds=5)
    options.add_argument("--molecules", type=int, help="default: 1024, short: 128")
    options.add_argument("--contenders", nargs="+", choices=NAMES, default=NAMES)
    args = parse(options, argv)
    args.molecules = args.molecules or (128 if args.short else 1024)
    found = machine()
    smiles = bench_smiles(args.molecules)
    check(smiles[:64])
    measured = compare(args.contenders, build, smiles, args=args)
    rows = []
    for name, values in measured.items():
        speed = len(smiles) / values["seconds"]
        rows.append({"contender": name, **values, "molecules_per_s": speed, "times_release": speed / RELEASE})
        if plain := measured.get("plain"):
            rows[-1]["times_plain"] = plain["seconds"] / values["seconds"]
    sections = {"Featurization": rows, "Where the time goes": parts(smiles, args.rounds)}
    columns = dict(zip(sections, (COLUMNS, PARTS), strict=True))
    return report("featurize", args, found, sections, columns, [QUOTED])


if __name__ == "__main__":
    main()
