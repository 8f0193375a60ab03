"""Positions in angstrom: a molecule's own, or embedded with a given seed; never flat, zero or NaN ones."""

import math
import re
import time

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from dgl_moleblend.chem import conformer_cache
from dgl_moleblend.chem.sanitize import rdkit_session, shorten
from dgl_moleblend.errors import MoleculeError

MAX_EMBEDDED_ATOMS = 2_000
"""Most atoms, with hydrogens, that are embedded: bounds take cubic time, in which no time limit is looked at."""
MAX_COORDINATE = 1e5
"""Largest coordinate, angstrom; in float32 the next one is 0.008 angstrom away."""
FRAGMENT_GAP = 3.0
"""Fragments are set side by side with this gap, angstrom, before the force field draws them together."""
_ATTEMPTS: tuple[dict[str, int], ...] = (
    {},
    {"useRandomCoords": True},
    {"useRandomCoords": True, "useBasicKnowledge": False},  # flat rings: fullerenes and other cages are not
)
_MAX_EMBEDDINGS = 100  # tries in an attempt before the next one
_RELAX_STEPS, _RELAX_BLOCKS = 500, 2  # nearly all converge in the first; the clock is looked at between them


def given_positions(mol: Chem.Mol, where: str | None = None) -> np.ndarray:
    """Return the positions that a molecule carries.

    Parameters
    ----------
    mol : Mol
        Planar molecules are fine, and so is an atom at the origin; a flat depiction is not.
    where : str, optional
        Named in the error.

    Returns
    -------
    ndarray, shape (c, n, 3), float32, angstrom
        All its conformers.

    Raises
    ------
    MoleculeError
        If it has none, or one is a depiction (by its tag, or flat where that cannot be), not finite, or has two atoms
        in one place.
    """
    conformers = list(mol.GetConformers())
    if not conformers:
        raise MoleculeError(
            "the molecule has no positions",
            where=where,
            fix='give a Mol or SDF record with a 3D conformer, CXSMILES with coordinates, or positions="embed"',
        )
    for k, conformer in enumerate(conformers):
        if not _is_3d(mol, conformer):
            raise MoleculeError(
                f"conformer {k} is a flat depiction, not a 3D structure",
                where=where,
                fix='give 3D coordinates (a planar molecule needs a record tagged 3D), or positions="embed"',
            )
        if (conformer.GetPositions()[:, 2] == 0).all() and (cause := _never_flat(mol)) is not None:
            raise MoleculeError(
                f"conformer {k} is called 3D and every z is 0, but {cause} is not flat: it is a depiction",
                where=where,
                fix='give 3D coordinates, or positions="embed" or "none"',
            )
    return _checked([conformer.GetPositions() for conformer in conformers], where)


def embed_positions(
    mol: Chem.Mol,
    seed: int = 0,
    num_conformers: int = 1,
    optimize: bool = True,
    timeout: float = 60.0,
    where: str | None = None,
) -> np.ndarray:
    """Embed a molecule by ETKDGv3 with hydrogens, relax it by MMFF94s where that knows all atoms, drop the hydrogens.

    The molecule is embedded as its canonical SMILES is written, so that positions depend on the seed alone: not on
    atom numbers, and not on what was embedded before. What ETKDGv3 cannot do from its own start is tried from random
    coordinates, and then without its knowledge of flat rings. Fragments are embedded each on its own (RDKit puts their
    centres in one place), set side by side, and drawn together by MMFF94s. Where the environment variable
    DGL_MOLEBLEND_CONFORMER_CACHE names a file, what an earlier run embedded with the same settings is taken from it.

    Parameters
    ----------
    mol : Mol
        As `read_smiles` and `prepare_mol` give it.
    seed : int
    num_conformers : int
        Conformer k is embedded with seed + k.
    optimize : bool
        Whether MMFF94s relaxes the conformers, at most 1,000 steps.
    timeout : float
        Seconds for the molecule, all conformers together. RDKit counts in whole seconds.
    where : str, optional
        Named in the error.

    Returns
    -------
    ndarray, shape (c, n, 3), float32, angstrom

    Raises
    ------
    MoleculeError
        If an embedding fails or takes too long; never are there fewer conformers than asked for.

    References
    ----------
    Wang et al., "Improving Conformer Generation for Small Rings and Macrocycles Based on Distance Geometry and
    Experimental Torsional-Angle Preferences", J. Chem. Inf. Model. 2020.

    Examples
    --------
    >>> positions = embed_positions(Chem.MolFromSmiles("CO"))
    >>> positions.shape, round(float(np.linalg.norm(positions[0, 0] - positions[0, 1])), 1)
    ((1, 2, 3), 1.4)
    """
    with rdkit_session:
        smiles = Chem.MolToSmiles(mol)
        order = [int(k) for k in re.findall(r"\d+", mol.GetProp("_smilesAtomOutputOrder"))]
        settings = {"seed": seed, "num_conformers": num_conformers, "optimize": optimize}
        try:
            written = conformer_cache.find(smiles, settings)
            if written is None or written.shape[1] != len(order):
                written = _embed_smiles(smiles, seed, num_conformers, optimize, time.monotonic() + timeout)
                conformer_cache.keep(smiles, settings, _checked(written, where))
        except (_EmbeddingError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise MoleculeError(f"{shorten(smiles)} cannot be embedded: {reason}", where=where, fix=_FIX) from error
    positions = np.empty_like(written)
    positions[:, order] = written
    return _checked(positions, where)


_FIX = "give positions of your own, allow more time, or leave the molecule out"


class _EmbeddingError(Exception):
    """Why a molecule has no conformer."""


def _embed_smiles(smiles: str, seed: int, num_conformers: int, optimize: bool, deadline: float) -> np.ndarray:
    """Return the positions of the atoms of a SMILES, in its order, shape (c, n, 3)."""
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False  # type: ignore[assignment]
    heavy = Chem.MolFromSmiles(smiles, parameters)
    if heavy is None:
        raise _EmbeddingError("RDKit cannot read this SMILES, which it wrote itself")
    mol = Chem.AddHs(heavy)
    if mol.GetNumAtoms() > MAX_EMBEDDED_ATOMS:
        raise _EmbeddingError(f"{mol.GetNumAtoms():,} atoms, with hydrogens, are more than {MAX_EMBEDDED_ATOMS:,}")
    places = Chem.GetMolFrags(mol)
    fragments = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    for k in range(num_conformers):
        embedded = [_embed_fragment(fragment, seed + k, deadline) for fragment in fragments]
        positions = np.empty((mol.GetNumAtoms(), 3))
        for place, part in zip(places, _side_by_side(embedded), strict=True):
            positions[list(place)] = part
        conformer = Chem.Conformer(len(positions))
        conformer.SetPositions(positions)
        mol.AddConformer(conformer, assignId=True)
    if optimize:
        _relax(mol, deadline)
    return np.stack([conformer.GetPositions()[: heavy.GetNumAtoms()] for conformer in mol.GetConformers()])


def _embed_fragment(mol: Chem.Mol, seed: int, deadline: float) -> np.ndarray:
    """Return the positions of one fragment, shape (n, 3)."""
    failures: dict[str, int] = {}
    for attempt in _ATTEMPTS:
        parameters = rdDistGeom.ETKDGv3()
        settings = {
            "randomSeed": seed % (2**31 - 2) + 1,  # RDKit takes 0 and 2^31 - 1 for 1, and negative ones for chance
            "timeout": math.ceil(_time_left(deadline)),
            "maxIterations": _MAX_EMBEDDINGS,
            "trackFailures": True,
        }
        for name, value in (settings | attempt).items():
            setattr(parameters, name, value)
        if rdDistGeom.EmbedMolecule(mol, parameters) == 0:
            return mol.GetConformer().GetPositions()
        counts = dict(enumerate(parameters.GetFailureCounts()))
        for name, cause in rdDistGeom.EmbedFailureCauses.names.items():
            failures[name] = failures.get(name, 0) + counts.get(int(cause), 0)
    _time_left(deadline)
    cause = max(failures, key=failures.__getitem__)
    if not failures[cause]:
        raise _EmbeddingError("RDKit gives no reason")
    raise _EmbeddingError(f"{_CAUSES.get(cause, cause)} in {failures[cause]} tries")


_CAUSES = {
    "INITIAL_COORDS": "no starting coordinates fit the distance bounds",
    "FINAL_CHIRAL_BOUNDS": "the stereocentres contradict the rings",
    "FINAL_CENTER_IN_VOLUME": "the stereocentres contradict the rings",
    "CHECK_CHIRAL_CENTERS": "the stereocentres contradict the rings",
    "CHECK_CHIRAL_CENTERS2": "the stereocentres contradict the rings",
    "BAD_DOUBLE_BOND_STEREO": "a double bond's geometry contradicts the rings",
    "ETK_MINIMIZATION": "the torsion angles cannot be met",
}


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _EmbeddingError("the time limit has passed")
    return left


def _side_by_side(fragments: list[np.ndarray]) -> list[np.ndarray]:
    """Move fragments along x until each stands a gap away from the one before."""
    end = -math.inf
    placed: list[np.ndarray] = []
    for fragment in fragments:
        shift = end + FRAGMENT_GAP - fragment[:, 0].min() if placed else 0.0
        placed.append(fragment + np.array([shift, 0.0, 0.0]))
        end = placed[-1][:, 0].max()
    return placed


def _relax(mol: Chem.Mol, deadline: float) -> None:
    """Relax all conformers by MMFF94s, fragments attracting each other, if it has parameters for every atom."""
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    if properties is None:
        return
    for conformer in mol.GetConformers():
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
            mol, properties, confId=conformer.GetId(), ignoreInterfragInteractions=False
        )
        field.Initialize()
        for _ in range(_RELAX_BLOCKS):
            _time_left(deadline)
            if field.Minimize(maxIts=_RELAX_STEPS) == 0:
                break


def _is_3d(mol: Chem.Mol, conformer: Chem.Conformer) -> bool:
    """Tell a planar structure from a depiction; RDKit takes the first for the second where it finds wedged bonds."""
    if conformer.Is3D() or (conformer.GetPositions()[:, 2] != 0).any() or mol.GetNumAtoms() == 1:
        return True
    header = mol.GetProp("_MolFileInfo") if mol.HasProp("_MolFileInfo") else ""
    return header[20:22] == "3D"


def _never_flat(mol: Chem.Mol) -> str | None:
    """Name what cannot lie in a plane: an sp3 atom of three neighbours, or a bond of two in a ring of six or more."""
    sp3 = {
        atom.GetIdx()
        for atom in mol.GetAtoms()
        if atom.GetHybridization() in _SP3 and atom.GetAtomicNum() in _TETRAHEDRAL
    }
    for k in sp3:
        if mol.GetAtomWithIdx(k).GetDegree() > 2:
            return f"{mol.GetAtomWithIdx(k).GetSymbol()} (atom {k}) with its neighbours"
    rings = mol.GetRingInfo()
    for bond in mol.GetBonds():
        ends = {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()}
        if ends <= sp3 and rings.MinBondRingSize(bond.GetIdx()) >= 6:
            return f"the ring of atoms {' and '.join(map(str, sorted(ends)))}"
    return None


_SP3 = (Chem.HybridizationType.SP3, Chem.HybridizationType.SP2D)
"""RDKit calls an atom of four neighbours SP2D where their coordinates make a square."""
_TETRAHEDRAL = {6, 7, 14, 15, 16}  # C, N, Si, P, S


def _checked(positions: np.ndarray | list[np.ndarray], where: str | None) -> np.ndarray:
    """Positions of conformers as float32, if they can be a molecule's."""
    with np.errstate(invalid="ignore", over="ignore"):
        positions = np.asarray(positions, np.float64)
        for k, conformer in enumerate(positions):
            fault = None
            if not np.isfinite(conformer).all():
                fault = "holds NaN or infinity"
            elif np.abs(conformer).max() > MAX_COORDINATE:
                fault = f"has coordinates beyond {MAX_COORDINATE:,.0f} angstrom"
            elif len(np.unique(conformer.astype(np.float32), axis=0)) < len(conformer):
                fault = "has two atoms in one place"
            if fault:
                raise MoleculeError(f"conformer {k} {fault}", where=where, fix="correct the record's coordinates")
    return positions.astype(np.float32)
