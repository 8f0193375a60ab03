"""A structure as text, of whatever format -> RDKit Mol with all the hydrogens that it has; why there is none."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from dgl_moleblend.chem.sanitize import rdkit_session
from dgl_moleblend.errors import MoleculeError

_MAX_STEPS = 100_000
"""Of RDKit's search for bond orders, which takes exponential time."""
_TRIES = 8
_LONGEST_TRIPLE = 1.3
"""Angstrom, between C, N and O; a bond in benzene has 1.39."""
_AMINO_ACIDS = frozenset(
    ("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET", "PHE", "PRO", "SER",
     "THR", "TRP", "TYR", "VAL", "MSE", "HID", "HIE", "HIP", "CYX")
)  # fmt: skip
_WATER = frozenset(("HOH", "WAT", "DOD", "TIP", "TIP3", "SOL"))
_MAX_RESIDUES = 50
_LIGAND = "give the ligand alone, as SDF if it is at hand (the Protein Data Bank has those of its ligands)"
_CHARGE = "with total charge {}, RDKit finds no bonds between these positions"


def read_structure(text: str, form: str, charge: int | None = None, where: str | None = None) -> Chem.Mol:
    r"""Read a structure.

    Parameters
    ----------
    text : str
    form : {"sdf", "mol2", "xyz", "pdb"}
        "sdf" is a MOL block. XYZ has no bonds: RDKit's `DetermineBonds` finds them from the positions; of PDB it does
        where there are hydrogens, else bonds are those of amino acids or of CONECT records that give bond orders.
    charge : int, optional
        Total charge where bonds are to be found; by default the sum of the atoms' charges.
    where : str, optional
        Named in the error.

    Raises
    ------
    MoleculeError
        If there is none; with RDKit's reason, or what is missing.

    Examples
    --------
    >>> water = read_structure("3\n\nO 0 0 0.117\nH 0 0.757 -0.469\nH 0 -0.757 -0.469\n", "xyz")
    >>> Chem.MolToSmiles(Chem.RemoveHs(water)), water.GetNumAtoms()
    ('O', 3)
    """
    try:
        if form == "xyz":
            return _with_bonds(_read_xyz(text), charge or 0)
        if form == "pdb":
            return _read_pdb(text, charge)
        mol = _parse(text, form)
    except MoleculeError as error:
        raise MoleculeError(error.what, where=where, fix=error.fix) from None
    if mol is None:
        raise MoleculeError(f"RDKit cannot read the structure: {_why_not(text, form)}", where=where)
    return mol


def _parse(text: str, form: str) -> Chem.Mol | None:
    with rdkit_session:  # chirality and double bonds are read from the coordinates; of SDF, hydrogens removed
        if form == "sdf":
            return Chem.MolFromMolBlock(text)
        mol = Chem.MolFromMol2Block(text, removeHs=False)
        if mol is not None and all(atom.GetAtomicNum() != 1 for atom in mol.GetAtoms()):
            for atom in mol.GetAtoms():  # hydrogens are left out altogether, not just here and there
                atom.SetNoImplicit(False)
                atom.SetNumRadicalElectrons(0)
            Chem.SanitizeMol(mol)
        return mol


def _read_xyz(text: str) -> Chem.Mol:
    table = Chem.GetPeriodicTable()
    lines = []
    for line in text.split("\n")[2:]:
        words = line.split()
        if not words:
            continue
        number = words[0].isdigit() and 0 < int(words[0]) <= 118
        element = table.GetElementSymbol(int(words[0])) if number else words[0].capitalize()
        lines.append(" ".join((element, *words[1:])))
    with rdkit_session:
        try:
            mol = Chem.MolFromXYZBlock(f"{len(lines)}\n\n" + "\n".join(lines) + "\n")
        except (ValueError, RuntimeError) as error:
            raise MoleculeError(f"RDKit cannot read the structure: {_first(str(error))}") from error
    if mol is None:
        raise MoleculeError("RDKit cannot read the structure: a line is not an element and three numbers")
    return mol


def _with_bonds(mol: Chem.Mol, charge: int) -> Chem.Mol:
    """Find bonds and their orders from the positions of all atoms, hydrogens too."""
    fix = "give the total charge, in the comment line (charge=-1) or with --charge; all hydrogens must be there"
    with rdkit_session:
        if mol.GetNumAtoms() == 1:
            mol.GetAtomWithIdx(0).SetFormalCharge(charge)
            mol.GetAtomWithIdx(0).SetNoImplicit(True)
            Chem.SanitizeMol(mol)
            return mol
        best, reason = None, ""  # what RDKit finds goes by the numbering; now and then nothing, or more charged
        for order in _orders(mol):
            found = Chem.RenumberAtoms(mol, order)
            try:
                rdDetermineBonds.DetermineBonds(found, charge=charge, maxIterations=_MAX_STEPS)
            except (ValueError, RuntimeError) as error:
                reason = reason or _first(str(error))
                continue
            found = Chem.RenumberAtoms(found, np.argsort(order).tolist())
            _join_charges(found)
            if best is None or _num_charges(found) < _num_charges(best):
                best = found
            if _num_charges(best) == abs(charge):
                break
        if best is None:
            raise MoleculeError(f"{_CHARGE.format(charge)}: {reason}", fix=fix)
        Chem.SanitizeMol(best)
    if any(atom.GetNumImplicitHs() for atom in best.GetAtoms()) or _has_long_triple_bond(best):
        raise MoleculeError(f"{_CHARGE.format(charge)}: hydrogens are missing", fix=fix)
    return best


def _num_charges(mol: Chem.Mol) -> int:
    return sum(abs(atom.GetFormalCharge()) for atom in mol.GetAtoms())


def _orders(mol: Chem.Mol) -> Iterator[list[int]]:
    """Yield numberings: as it is, hetero atoms last, reversed, and some drawn at random."""
    numbers = list(range(mol.GetNumAtoms()))
    yield numbers
    yield sorted(numbers, key=lambda k: mol.GetAtomWithIdx(k).GetAtomicNum() not in (1, 6))
    yield numbers[::-1]
    generator = np.random.default_rng(0)
    for _ in range(_TRIES):
        yield generator.permutation(len(numbers)).tolist()


def _join_charges(mol: Chem.Mol) -> None:
    """Write a sulfoxide's S+ and O- as a double bond, as nearly all SMILES do."""
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        plus = next((atom for atom in ends if atom.GetAtomicNum() in (15, 16, 34) and atom.GetFormalCharge() > 0), None)
        minus = next((atom for atom in ends if atom.GetAtomicNum() == 8 and atom.GetFormalCharge() < 0), None)
        if plus is not None and minus is not None:
            bond.SetBondType(Chem.BondType.DOUBLE)
            plus.SetFormalCharge(plus.GetFormalCharge() - 1)
            minus.SetFormalCharge(0)


def _has_long_triple_bond(mol: Chem.Mol) -> bool:
    """Whether there is a triple bond that is none, as RDKit makes of a ring whose hydrogens are left out."""
    positions = mol.GetConformer().GetPositions()
    return any(
        bond.GetBondType() == Chem.BondType.TRIPLE
        and np.linalg.norm(positions[bond.GetBeginAtomIdx()] - positions[bond.GetEndAtomIdx()]) > _LONGEST_TRIPLE
        and {bond.GetBeginAtom().GetAtomicNum(), bond.GetEndAtom().GetAtomicNum()} <= {6, 7, 8}
        for bond in mol.GetBonds()
    )


def _read_pdb(text: str, charge: int | None) -> Chem.Mol:
    with rdkit_session:
        mol = Chem.MolFromPDBBlock(text, sanitize=False, removeHs=False)
    if mol is None or not mol.GetNumAtoms():
        raise MoleculeError("RDKit cannot read the structure: it has no atoms, or their lines are damaged")
    residues = Counter({(info.GetChainId(), info.GetResidueNumber()): info.GetResidueName().strip()
                        for info in (atom.GetPDBResidueInfo() for atom in mol.GetAtoms())}.values())  # fmt: skip
    amino_acids = sum(count for name, count in residues.items() if name in _AMINO_ACIDS)
    others = sorted(set(residues) - _AMINO_ACIDS)
    if amino_acids > _MAX_RESIDUES or (amino_acids and others):
        beside = f", and {', '.join(others[:5])}" if others else ""
        raise MoleculeError(f"this is a protein or complex: {amino_acids} amino acids{beside}", fix=_LIGAND)
    if _WATER & set(others) and len(residues) > 1:
        raise MoleculeError("there is water beside the ligand", fix=_LIGAND)
    if any(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms()) and not _has_orders(text):
        total = sum(atom.GetFormalCharge() for atom in mol.GetAtoms()) if charge is None else charge
        places = zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True)
        lines = [f"{atom.GetSymbol()} {x:.4f} {y:.4f} {z:.4f}" for atom, (x, y, z) in places]
        return _with_bonds(_read_xyz(f"{len(lines)}\n\n" + "\n".join(lines)), total)
    if not amino_acids and mol.GetNumAtoms() > 1 and not _has_orders(text):
        raise MoleculeError(
            "the ligand has neither hydrogens nor bond orders (a double bond's CONECT record names the atom twice): its"
            " bonds cannot be known",
            fix="add hydrogens, or give SDF or MOL2",
        )
    with rdkit_session:
        try:
            Chem.SanitizeMol(mol)
            Chem.AssignStereochemistryFrom3D(mol)
        except (ValueError, RuntimeError) as error:
            raise MoleculeError(f"RDKit cannot sanitise the structure: {_first(str(error))}") from error
    return mol


def _has_orders(text: str) -> bool:
    """Whether a CONECT record names an atom twice, as it does for a double bond."""
    for line in text.split("\n"):
        if line.startswith("CONECT"):
            bonded = [line[k : k + 5].strip() for k in range(11, 31, 5)]
            if any(count > 1 for name, count in Counter(bonded).items() if name):
                return True
    return False


def _first(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0]


def _why_not(text: str, form: str) -> str:
    """Read once more, to catch what RDKit says; where it says nothing, see whether the number of lines is right."""
    # RDKit counts bytes, quotes columns and so may cut a character in two: a "?" for each byte that is not ASCII
    text = bytes(byte if byte < 128 else ord("?") for byte in text.encode()).decode()
    with rdBase.CaptureErrorLog() as captured:
        _parse(text, form)
    lines = [line.split("] ", 1)[-1].strip() for line in captured.messages.splitlines()]
    spoken = [line for line in lines if line and line != "****" and "Violation" not in line]
    if spoken:
        return spoken[0]
    if form == "mol2":
        return "its atom or bond lines are damaged"
    block = text.split("\n")
    counts = block[3] if len(block) > 3 else ""
    if "V3000" in counts:
        return "its atom or bond lines are damaged"
    try:
        atoms, bonds = int(counts[:3]), int(counts[3:6])
    except ValueError:
        return f"its fourth line is no counts line: {counts[:80]!r}"
    if len(block) < 4 + atoms + bonds + 1:
        return f"its counts line says {atoms} atoms and {bonds} bonds, more than there are lines"
    return f"the lines of its {atoms} atoms and {bonds} bonds are damaged"
