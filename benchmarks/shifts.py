"""Values of atoms: NMR shifts of dft8k (CASCADE's DFT shifts), fine-tuned from `mini`, beside the mean by element.

``python benchmarks/shifts.py ../shared/data/dft8k --epochs 10``
"""

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

import dgl_moleblend as mb
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.labelled import divide
from dgl_moleblend.data.site_inputs import open_sites
from dgl_moleblend.request import Compute
from dgl_moleblend.train.atoms import TRAINING
from dgl_moleblend.train.sites import finetune_sites

ODD = ("20176318", "5509", "6558", "7695", "10009540", "10018477")
"""Molecules whose shifts do not fit their atoms, see the data's README."""
CARBON, HYDROGEN, CHARGE = "C shift", "H shift", "Gasteiger charge"


def read_shifts(folder: Path, count: int, seed: int = 0) -> pd.DataFrame:
    """Return molecules, drawn at random, with shifts in ppm: of each carbon, and the mean over each atom's hydrogens.

    Lists are as long as the molecules with all their hydrogens; those of hydrogens are at the atom that bears them.
    """
    shifts = pd.read_csv(folder / "DFT8K.csv.gz", dtype={"mol_id": str})
    shifts = {name: part for name, part in shifts.groupby("mol_id") if name not in ODD}
    with gzip.open(folder / "DFT.sdf.gz") as file:
        mols = [mol for mol in Chem.ForwardSDMolSupplier(file, removeHs=False) if mol.GetProp("_Name") in shifts]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(mols))[: count or None])
    rows = []
    for mol in (mols[k] for k in chosen):
        name, size = mol.GetProp("_Name"), mol.GetNumAtoms()
        every = np.full(size, np.nan)
        every[shifts[name]["atom_index"].to_numpy()] = shifts[name]["Shift"].to_numpy()
        is_hydrogen = np.array([atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()])
        borne = np.full(size, np.nan)
        for atom in mol.GetAtoms():
            of = [every[other.GetIdx()] for other in atom.GetNeighbors() if other.GetAtomicNum() == 1]
            if of and np.isfinite(of).any():
                borne[atom.GetIdx()] = np.nanmean(of)
        rows.append({"smiles": mol, "id": name, CARBON: np.where(is_hydrogen, np.nan, every), HYDROGEN: borne,
                     CHARGE: charges_of(mol)})  # fmt: skip
    return pd.DataFrame(rows)


def charges_of(mol: Chem.Mol) -> np.ndarray:
    """Return charges that depend on the element above all, and on neighbours, by RDKit."""
    AllChem.ComputeGasteigerCharges(mol)
    charges = np.array([atom.GetDoubleProp("_GasteigerCharge") for atom in mol.GetAtoms()])
    return np.where(np.isfinite(charges), charges, np.nan)


def main() -> None:
    """Fit, and print errors of test molecules."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--molecules", type=int, default=1500, help="0 for all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=TRAINING.learning_rate)
    parser.add_argument("--encoder", default="mini")
    parser.add_argument("--positions", choices=("none", "given"), default="none")
    parser.add_argument("--one-mean", action="store_true", help="learn distances from one mean, not each element's")
    parser.add_argument("--charges", action="store_true", help="learn Gasteiger charges instead")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    torch.set_num_threads(1)
    frame = read_shifts(options.folder, options.molecules)
    tasks = [CHARGE] if options.charges else [CARBON, HYDROGEN]
    data = open_sites(frame, tasks, "atom", FeaturizerConfig(options.positions), tell=print)
    rows = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        split = divide(data.labelled, "random", seed=seed)
        training = TRAINING.replace(max_epochs=options.epochs, learning_rate=options.learning_rate, seed=seed)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = finetune_sites(
                data.labelled.dataset, data.values, split, Path(folder) / "m", start=options.encoder,
                training=training, compute=Compute(progress=False), by_kind=not options.one_mean,
            ).metrics  # fmt: skip
        for part in ("validation", "test"):
            for task in tasks:
                ours, mean = (one[part]["tasks"][task] for one in (found, found["mean_by_kind"]))
                rows.append({"seed": seed, "part": part, "task": task, "values": ours["labels"], "rmse": ours["rmse"],
                             "mae": ours["mae"], "r2": ours["r2"], "mean rmse": mean["rmse"], "mean mae": mean["mae"],
                             "epochs": found["epochs"], "seconds": time.perf_counter() - begin})  # fmt: skip
                print(json.dumps(rows[-1]), flush=True)
    table = pd.DataFrame(rows)
    print(f"dgl_moleblend {mb.__version__}, torch {torch.__version__}, {len(frame):,} molecules")
    print(table.groupby(["part", "task"])[["rmse", "mae", "r2", "mean rmse", "mean mae"]].agg(["mean", "std"]).round(3)
          .to_string())  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
