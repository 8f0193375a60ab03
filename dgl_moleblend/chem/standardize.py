"""Molecules brought into a standard form, on request: without salts, neutral, as their canonical tautomer."""

import functools
from collections.abc import Sequence
from typing import Any

from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

from dgl_moleblend.chem.sanitize import prepare_mol, rdkit_session, read_smiles
from dgl_moleblend.errors import MoleculeError

_CACHE = 1 << 17
"""SMILES whose standard form is remembered: tautomers take some ten milliseconds."""


def standardize(mol: Chem.Mol, steps: Sequence[str], where: str | None = None) -> Chem.Mol:
    """Bring a molecule into a standard form, by RDKit's MolStandardize.

    Parameters
    ----------
    mol : Mol
        As `read_smiles` and `prepare_mol` give it. Its positions are kept.
    steps : sequence of str
        Some of `FeaturizerConfig.STEPS`, done in that order, whatever theirs: "fragment" keeps the largest fragment (an
        organic one before others), "neutral" takes off charges where hydrogens can balance them (a quaternary nitrogen
        and what another fragment balances keep theirs), "tautomer" makes the canonical tautomer; stereocentres stay.
    where : str, optional
        Named in the error.

    Raises
    ------
    MoleculeError
        If RDKit cannot.

    Examples
    --------
    >>> mol = standardize(read_smiles("[O-]c1ccccn1.[Na+]"), ("fragment", "neutral", "tautomer"))
    >>> Chem.MolToSmiles(mol)
    'O=c1cccc[nH]1'
    """
    if not steps:
        return mol
    try:
        with rdkit_session:
            for step in ("fragment", "neutral", "tautomer"):
                if step in steps:
                    mol = _tools()[step](mol)
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise MoleculeError(f"RDKit cannot standardise the molecule: {reason}", where=where,
                            fix="correct or delete it, or leave --standardize out") from error  # fmt: skip
    return prepare_mol(mol, where)


@functools.cache
def _tools() -> dict[str, Any]:
    parameters: Any = rdMolStandardize.CleanupParameters()
    parameters.tautomerRemoveSp3Stereo = False  # else an amino acid, which could enolise, would lose its centre
    parameters.tautomerRemoveBondStereo = False
    return {
        "fragment": rdMolStandardize.LargestFragmentChooser(preferOrganic=True).choose,
        "neutral": rdMolStandardize.Uncharger(canonicalOrder=True).uncharge,
        "tautomer": rdMolStandardize.TautomerEnumerator(parameters).Canonicalize,
    }


@functools.lru_cache(maxsize=_CACHE)
def standard_smiles(smiles: str, steps: tuple[str, ...]) -> str:
    """Return the SMILES of what a molecule becomes.

    >>> standard_smiles("CC(=O)[O-].[Na+]", ("fragment",)), standard_smiles("OCC", ())
    ('CC(=O)[O-]', 'OCC')
    """
    return str(Chem.MolToSmiles(standardize(read_smiles(smiles), steps))) if steps else smiles
