"""SMILES or RDKit Mol -> the one form that features are read from: sanitised, without the hydrogens RDKit removes."""

import re
import threading
from typing import Any

from rdkit import Chem, rdBase

from dgl_moleblend.errors import MoleculeError

MAX_SMILES = 1_000_000
"""Longest SMILES that is handed to RDKit, in characters: a million atoms take seconds and gigabytes."""
_FIX = "correct or delete the molecule; RDKit must be able to sanitise it"
_NOISE = re.compile(r"^\[[\d:]+\] (SMILES Parse Error: )?| for input: .*$", re.MULTILINE)
_COORDINATES = re.compile(r"\|[^|]*?\(([-+.,;eE\d]*)\)")
_END_POINTS = "_MolFileBondEndPts"
"""Where RDKit notes that a bond of a V3000 record ends at several atoms."""
_POSITION = re.compile(r"check for mistakes around position (\d+)")


class _Session:
    """RDKit as this package uses it: silent, and with legacy stereo perception, which the features are defined by.

    Both settings belong to the whole process. They are changed when the first thread enters, and are what they were
    when the last one has left.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._silence = rdBase.BlockLogs()
                self._legacy = Chem.GetUseLegacyStereoPerception()
                if not self._legacy:
                    Chem.SetUseLegacyStereoPerception(True)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                if not self._legacy:
                    Chem.SetUseLegacyStereoPerception(False)
                self._silence.__exit__(None, None, None)


rdkit_session = _Session()
"""``with rdkit_session:`` around calls of RDKit; may be nested, and entered by several threads."""
_one_reader = threading.Lock()  # RDKit's log is one for all threads; while it reads it lets no other run anyway


def read_smiles(text: Any, where: str | None = None) -> Chem.Mol:
    """Read a SMILES, or a CXSMILES with coordinates, as RDKit does by default; but a second word is no name.

    RDKit reads ``CCO CCN`` as ethanol of the name CCN. Names are taken off where a format has them (.smi), so that what
    is left over here is a fault: two molecules in one cell, or a blank in the middle of one.

    Parameters
    ----------
    text : str
    where : str, optional
        Named in the error: file and line, or list index.

    Returns
    -------
    Mol
        Sanitised, at least one atom, without atom-map numbers. Hydrogens are atoms only where RDKit keeps them:
        ``[2H]``, ``[H][H]``, ``[H+]``.

    Raises
    ------
    MoleculeError
        If the text is no SMILES, or of no possible molecule; with RDKit's reason.

    Examples
    --------
    >>> read_smiles("[H]OCC").GetNumAtoms()
    3
    >>> read_smiles("C1CC", where="esol.csv, line 418")
    Traceback (most recent call last):
    dgl_moleblend.errors.MoleculeError: RDKit cannot read SMILES 'C1CC': unclosed ring
      where: esol.csv, line 418
      fix:   correct or delete the molecule; RDKit must be able to sanitise it
    """
    if not isinstance(text, str) or not text.strip():
        raise MoleculeError(
            f"there is no SMILES: {text!r}", where=where, fix="give a SMILES, or leave the molecule out"
        )
    if len(text) > MAX_SMILES:
        raise MoleculeError(
            f"the SMILES {shorten(text)} is longer than {MAX_SMILES:,} characters", where=where, fix=_FIX
        )
    if "\n" in text.strip() or "\r" in text.strip():
        raise MoleculeError(f"the SMILES {shorten(text)} holds a line end", where=where, fix="give one SMILES")
    if not text.isascii():  # after a blank, RDKit does not mind
        odd = next((character for character in text.split()[0] if not character.isascii()), None)
        if odd is not None:
            raise MoleculeError(f"the SMILES {shorten(text)} holds the character {odd!r}", where=where, fix=_FIX)
    reason = None
    with _one_reader, rdkit_session:
        try:
            mol = Chem.MolFromSmiles(text)
        except (ValueError, RuntimeError) as error:
            mol, reason = None, _tidy(str(error))
    if mol is None:
        reason = reason or _why_not(text)
        raise MoleculeError(f"RDKit cannot read SMILES {shorten(text)}: {reason}", where=where, fix=_FIX)
    if ":" in text:
        with rdkit_session:
            _drop_map_numbers(mol)
    words = text.split(None, 1)
    extension = words[1].rstrip() if len(words) == 2 else "||"
    if len(extension) < 2 or extension[0] != "|" or extension[-1] != "|":
        raise MoleculeError(f"the SMILES {shorten(text)} goes on after a blank: {shorten(extension)}", where=where,
                            fix="give one SMILES, without a name or blanks; a .smi file may have names")  # fmt: skip
    if mol.GetNumConformers() and _has_heights(text):
        mol.GetConformer().Set3D(True)  # RDKit takes a planar molecule for a depiction
    return _not_empty(mol, where)


def prepare_mol(mol: Any, where: str | None = None) -> Chem.Mol:
    """Bring an RDKit Mol, however it was made, into the form in which its SMILES would be read.

    Aromatic bonds and conjugation are perceived anew, hydrogens removed as `Chem.RemoveHs` does, atom-map numbers taken
    off, and double bonds named Z and E by RDKit's legacy perception, whichever of its two perceptions the Mol has seen.

    Parameters
    ----------
    mol : Mol
        Left as it is. Conformers are kept, without the removed hydrogens.
    where : str, optional
        Named in the error.

    Returns
    -------
    Mol
        A copy.

    Raises
    ------
    MoleculeError
        If RDKit cannot sanitise it, if it has no atoms or is a query (SMARTS), or if there is none (None).

    Examples
    --------
    >>> mol = Chem.AddHs(Chem.MolFromSmiles("OC1=CC=CC=C1"))
    >>> Chem.MolToSmiles(prepare_mol(mol)), mol.GetNumAtoms()
    ('Oc1ccccc1', 13)
    """
    if mol is None:
        raise MoleculeError("there is no molecule: RDKit gave None where it was read", where=where, fix=_FIX)
    if not isinstance(mol, Chem.Mol):
        raise MoleculeError(
            f"{shorten(repr(mol))} is neither a SMILES nor an RDKit Mol", where=where, fix="give either"
        )
    with _one_reader, rdkit_session:
        try:
            mol = Chem.Mol(mol)
            if any(atom.HasQuery() and atom.GetAtomicNum() for atom in mol.GetAtoms()):
                raise MoleculeError("the molecule is a query (SMARTS, atom list)", where=where, fix="give a molecule")
            Chem.SanitizeMol(mol)
            if any(bond.HasProp(_END_POINTS) for bond in mol.GetBonds()):
                mol = _without_centres(mol, where)
            _drop_map_numbers(mol)
            if any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()):
                mol = Chem.RemoveHs(mol)
            Chem.SetDoubleBondNeighborDirections(mol)  # what is known of double bonds, for the next line to name anew
            Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
            Chem.SetHybridization(mol)  # once more: a tag on what turned out to be no stereocentre had made it SP3
        except (ValueError, RuntimeError) as error:
            if isinstance(error, MoleculeError):
                raise
            reason = _tidy(str(error))
            raise MoleculeError(f"RDKit cannot sanitise the molecule: {reason}", where=where, fix=_FIX) from error
    return _not_empty(mol, where)


def _drop_map_numbers(mol: Chem.Mol) -> None:
    """Take off the numbers by which reactions name atoms, ``[CH3:1]``: they are not part of the molecule."""
    mapped = [atom for atom in mol.GetAtoms() if atom.GetAtomMapNum()]
    for atom in mapped:
        atom.SetAtomMapNum(0)
    if mapped:
        Chem.AssignStereochemistry(mol, cleanIt=True, force=True)  # a number may have made a centre of what is none


def _without_centres(mol: Chem.Mol, where: str | None) -> Chem.Mol:
    """Bind a metal to each atom of a ring, where a V3000 record binds it to a dummy atom in their middle (ENDPTS)."""
    mol = Chem.HapticBondsToDative(mol)
    if any(bond.HasProp(_END_POINTS) for bond in mol.GetBonds()):
        raise MoleculeError("a bond that is no coordinate bond ends at one of several atoms (V3000 ENDPTS)",
                            where=where, fix="draw the molecule that is meant, with bonds of two atoms")  # fmt: skip
    Chem.SanitizeMol(mol)
    return mol


def _has_heights(cxsmiles: str) -> bool:
    """Whether the coordinates of a CXSMILES have a z, be it 0; a depiction leaves it out: ``|(0.5,1.2,;...)|``."""
    coordinates = _COORDINATES.search(cxsmiles)
    return coordinates is not None and all(xyz.rpartition(",")[2] for xyz in coordinates[1].rstrip(";").split(";"))


def _not_empty(mol: Chem.Mol, where: str | None) -> Chem.Mol:
    if mol.GetNumAtoms() == 0:
        raise MoleculeError("the molecule has no atoms", where=where, fix="leave it out")
    return mol


def _why_not(smiles: str) -> str:
    """Read once more, to catch what RDKit says."""
    ascii_text = smiles.encode("ascii", "replace").decode()  # RDKit may cut other characters in two in its message
    with _one_reader, rdkit_session, rdBase.CaptureErrorLog() as captured:
        Chem.MolFromSmiles(ascii_text)
    if not captured.messages and "|" in smiles:
        return "what stands between the bars is no CXSMILES extension"
    return _tidy(captured.messages)


def _tidy(message: str) -> str:
    """Return on one line what RDKit says in several, without time stamps and the SMILES."""
    position = _POSITION.search(message)
    if position:
        return f"syntax error near character {position[1]}"
    lines = dict.fromkeys(line.strip() for line in _NOISE.sub("", message).splitlines())
    return " ".join(line for line in lines if line) or "no reason given"


def shorten(text: str, length: int = 100) -> str:
    """Quote a text for a message, and cut it if it is long."""
    return repr(text) if len(text) <= length else f"{text[:length]!r}... ({len(text):,} characters)"
