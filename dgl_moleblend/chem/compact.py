"""A SMILES or an RDKit Mol -> compact arrays, with the positions that the settings ask for."""

from collections.abc import Sequence
from typing import Any

from rdkit import Chem

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.chem.conformers import embed_positions, given_positions
from dgl_moleblend.chem.sanitize import prepare_mol, read_smiles
from dgl_moleblend.chem.vocabulary import mol_to_arrays
from dgl_moleblend.config import FeaturizerConfig


def prepare(molecule: Any, where: str | None = None, steps: Sequence[str] = ()) -> Chem.Mol:
    """Read a SMILES, or bring a Mol into the form that features are read from.

    Parameters
    ----------
    molecule : str or Mol
        Anything else is a molecule that cannot be read.
    where : str, optional
        Named in the error.
    steps : sequence of str
        Of `FeaturizerConfig.standardize`.

    Raises
    ------
    MoleculeError
        If the molecule cannot be read.
    """
    mol = read_smiles(molecule, where) if isinstance(molecule, str) else prepare_mol(molecule, where)
    return standardized(mol, steps, where)


def standardized(mol: Chem.Mol, steps: Sequence[str], where: str | None = None) -> Chem.Mol:
    """Return what a prepared molecule becomes, see `standardize`; RDKit's part for it is imported if needed."""
    if not steps:
        return mol
    from dgl_moleblend.chem.standardize import standardize

    return standardize(mol, steps, where)


def featurize_mol(mol: Chem.Mol, config: FeaturizerConfig, where: str | None = None) -> MoleculeArrays:
    """Read the features of a molecule, and find its positions.

    Parameters
    ----------
    mol : Mol
        As `prepare` gives it.
    config : FeaturizerConfig
    where : str, optional
        Named in the error.

    Raises
    ------
    MoleculeError
        If it has no positions where they are asked for.

    Examples
    --------
    >>> featurize_mol(prepare("C=O"), FeaturizerConfig("embed")).positions.shape
    (1, 2, 3)
    """
    positions = None
    if config.positions == "given":
        positions = given_positions(mol, where)
    elif config.positions == "embed":
        positions = embed_positions(
            mol, config.seed, config.num_conformers, config.optimize, config.timeout, where=where
        )
    return mol_to_arrays(mol, positions, chirality=config.chirality)
