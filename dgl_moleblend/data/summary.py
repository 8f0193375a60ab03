"""What is in a table of molecules: counts, sizes, elements, positions, labels, and why rows were rejected."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.data.table import MoleculeTable

# symbols of the atomic numbers 1 to 118, then "anything else"; written down so that a store is read without RDKit
_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb"
    " Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au"
    " Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts"
    " Og *"
)
ELEMENTS = tuple(_SYMBOLS.split())
_LONG_REASON = 100


@dataclass(frozen=True)
class Summary:
    """A table of molecules in numbers.

    Parameters
    ----------
    kept, rejected : int
        Input rows in the table, and those that are not.
    num_atoms, num_bonds, num_conformers : ndarray, shape (kept,)
    elements : dict of str to int
        Atoms by element, most frequent first.
    labels : DataFrame
        One row a task: number of values, share of missing ones, mean, standard deviation, least and largest value;
        where some are bounds, how many, and they are in none of the other numbers but that of values.
    rejects : DataFrame
        Columns stage, reason, rows; quoted texts and numbers within a reason are left out, so that alike ones add up.
    """

    kept: int
    rejected: int
    num_atoms: np.ndarray
    num_bonds: np.ndarray
    num_conformers: np.ndarray
    elements: dict[str, int]
    labels: pd.DataFrame
    rejects: pd.DataFrame

    @classmethod
    def of(cls, table: MoleculeTable) -> "Summary":
        """Count a table."""
        counts = table.atom_counts()
        order = [k for k in np.argsort(-counts, kind="stable") if counts[k]]
        rejects = table.rejects
        return cls(
            kept=len(table),
            rejected=len(rejects),
            num_atoms=table.num_atoms,
            num_bonds=table.num_bonds,
            num_conformers=table.num_conformers,
            elements={ELEMENTS[k]: int(counts[k]) for k in order},
            labels=_labels(table.labels, table.bounds, table.task_names),
            rejects=count_reasons(rejects),
        )

    @property
    def share_3d(self) -> float:
        """Share of the molecules that have positions."""
        return float((self.num_conformers > 0).mean()) if self.kept else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; sizes as least, median and largest."""

        def sizes(values: np.ndarray) -> dict[str, float]:
            return {"sum": values.sum(), "min": values.min(initial=0), "max": values.max(initial=0),
                    "median": np.median(values) if len(values) else 0}  # fmt: skip

        return {
            "rows": self.kept + self.rejected, "kept": self.kept, "rejected": self.rejected,
            "atoms": sizes(self.num_atoms), "bonds": sizes(self.num_bonds),
            "with_positions": (self.num_conformers > 0).sum(), "conformers": self.num_conformers.sum(),
            "elements": self.elements, "labels": self.labels.to_dict("index"),
            "rejects": self.rejects.to_dict("records"),
        }  # fmt: skip

    def to_text(self) -> str:
        """Return everything as lines of text."""
        rows = self.kept + self.rejected
        lines = [f"input rows       {rows:,}", f"  kept           {self.kept:,}", f"  rejected       {self.rejected:,}"]
        if self.kept:
            lines += [
                f"atoms            {_spread(self.num_atoms)}",
                f"bonds            {_spread(self.num_bonds)}",
                f"with positions   {(self.num_conformers > 0).sum():,} ({self.share_3d:.1%}),"
                f" conformers in all {self.num_conformers.sum():,}",
                "elements         " + ", ".join(f"{name} {count:,}" for name, count in self.elements.items()),
            ]
        if len(self.labels):
            lines += ["", self.labels.to_string(float_format=lambda value: f"{value:.4g}")]
            if "bounds" in self.labels:
                some = self.labels[self.labels["bounds"] > 0]
                lines.append(f"{some['bounds'].sum():,} of {some['values'].sum():,} labels are bounds")
        if self.rejected:
            width = max(len(stage) for stage in [*self.rejects["stage"], "stage"])
            lines += ["", f"rejected  {'stage':{width}}  reason"]
            lines += [f"{r.rows:8,}  {r.stage:{width}}  {r.reason}" for r in self.rejects.itertuples()]
        return "\n".join(lines)


def _spread(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return (f"{values.sum():,} in all, {values.min()} to {values.max()} a molecule,"
            f" median {middle:g} (5 to 95 %: {low:g} to {high:g})")  # fmt: skip


def _labels(labels: np.ndarray, bounds: np.ndarray, names: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(labels.astype(np.float64), columns=list(names))
    exact = frame.mask(bounds != 0)
    table = pd.DataFrame(
        {
            "values": frame.count(),
            "missing": frame.isna().mean(),
            "mean": exact.mean(),
            "std": exact.std(ddof=0),
            "min": exact.min(),
            "max": exact.max(),
        }
    )
    return table.assign(bounds=(bounds != 0).sum(0)) if bounds.any() else table


def describe_bounds(labels: np.ndarray, bounds: np.ndarray, names: Sequence[str]) -> str:
    """Say how many labels are bounds, of the properties that have any; "" where none is.

    Examples
    --------
    >>> labels, bounds = np.array([[5.0, 1], [8.0, 1], [np.nan, 1]]), np.array([[0, 0], [1, 0], [0, 0]])
    >>> describe_bounds(labels, bounds, ["pIC50", "dose"])
    '1 of 2 labels are bounds (pIC50: 1 above, 0 below)'
    """
    if not bounds.any():
        return ""
    each = [f"{name}: {(column > 0).sum():,} above, {(column < 0).sum():,} below"
            for name, column in zip(names, bounds.T, strict=True) if column.any()]  # fmt: skip
    total = f"{(bounds != 0).sum():,} of {(~np.isnan(labels[:, bounds.any(0)])).sum():,} labels are bounds"
    return f"{total} ({'; '.join(each[:5])}{'; ..' if len(each) > 5 else ''})"


def describe_spans(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """Advise a logarithm of properties whose values are all above 0 and span three decades or more.

    Examples
    --------
    >>> (text,) = describe_spans(np.array([[0.3, 5], [91201, 9], [np.nan, 7]]), ["IC50", "pIC50"])
    >>> text.split(": ", 1)
    ["values of 'IC50' span 5 decades, from 0.3 to 91201",
     'models of their logarithm (for nM: 9 - log10) usually do better']
    """
    found = []
    for name, column in zip(names, labels.T, strict=True):
        values = column[~np.isnan(column)]
        if not len(values) or (low := float(values.min())) <= 0 or (high := float(values.max())) < 1000 * low:
            continue
        decades = math.floor(math.log10(high) - math.log10(low) + 1e-9)
        found.append(f"values of {name!r} span {decades} decades, from {low:g} to {high:g}: models of their logarithm"
                     " (for nM: 9 - log10) usually do better")  # fmt: skip
    return found


def count_reasons(rejects: pd.DataFrame) -> pd.DataFrame:
    """Return stage, reason and rows, the most frequent first; reasons that differ in names and numbers count as one."""
    reason = rejects["reason"].map(_generalise)
    counts = pd.DataFrame({"stage": rejects["stage"], "reason": reason}).value_counts().rename("rows").reset_index()
    return counts.sort_values(["rows", "stage", "reason"], ascending=[False, True, True], ignore_index=True)


def _generalise(reason: str) -> str:
    """Leave out what differs between alike reasons.

    >>> _generalise("RDKit cannot read SMILES 'C1CC': unclosed ring at 12")
    'RDKit cannot read SMILES …: unclosed ring at …'
    """
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\b\d[\d,.]*\b", "…", reason)
    return text if len(text) <= _LONG_REASON else text[:_LONG_REASON] + " …"
