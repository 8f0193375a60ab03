"""RDKit Mol -> ids of atom and bond features, by the vocabularies and in the order of the Open Graph Benchmark."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, SupportsInt

import numpy as np
from rdkit import Chem
from rdkit.Chem import BondStereo, BondType, ChiralType, HybridizationType, rdCIPLabeler

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.schema import bond_parts


class Feature(NamedTuple):
    """One categorical feature: the names of its ids, the last of them standing for anything else, and how to read it.

    Parameters
    ----------
    name : str
    values : tuple of str
        Name of every id, for people.
    ids : dict
        RDKit's value -> id.
    read : callable
        RDKit Atom or Bond -> RDKit's value.
    """

    name: str
    values: tuple[str, ...]
    ids: dict[Hashable, int]
    read: Callable[[Any], Any]


class _Ids(dict[Hashable, int]):
    """A look-up table that gives the last id for every value that it does not hold."""

    def __missing__(self, value: Hashable) -> int:
        return self.other

    other: int


def _feature(
    name: str, read: Callable[[Any], Any], values: Iterable[Any], names: Sequence[str] = (), other: str = "other"
) -> Feature:
    values = list(values)
    names = [*(names or map(str, values)), *([other] if other else [])]
    ids = _Ids(zip(values, range(len(values)), strict=True))
    ids.other = len(names) - 1
    return Feature(name, tuple(names), ids, read)


def _yes_no(name: str, read: Callable[[Any], Any]) -> Feature:
    return _feature(name, read, (False, True), ("no", "yes"), other="")


_TABLE = Chem.GetPeriodicTable()

ATOM_FEATURES = (
    _feature("element", Chem.Atom.GetAtomicNum, range(1, 119), [_TABLE.GetElementSymbol(z) for z in range(1, 119)]),
    _feature("chirality", Chem.Atom.GetChiralTag,
             (ChiralType.CHI_UNSPECIFIED, ChiralType.CHI_TETRAHEDRAL_CW, ChiralType.CHI_TETRAHEDRAL_CCW,
              ChiralType.CHI_OTHER), ("unspecified", "clockwise", "counterclockwise", "not tetrahedral")),
    _feature("neighbours with hydrogens", Chem.Atom.GetTotalDegree, range(11)),
    _feature("formal charge", Chem.Atom.GetFormalCharge, range(-5, 6), [f"{q:+d}" if q else "0" for q in range(-5, 6)]),
    _feature("hydrogens", Chem.Atom.GetTotalNumHs, range(9)),
    _feature("radical electrons", Chem.Atom.GetNumRadicalElectrons, range(5)),
    _feature("hybridisation", Chem.Atom.GetHybridization,
             (HybridizationType.SP, HybridizationType.SP2, HybridizationType.SP3, HybridizationType.SP3D,
              HybridizationType.SP3D2), ("sp", "sp2", "sp3", "sp3d", "sp3d2")),
    _yes_no("aromatic", Chem.Atom.GetIsAromatic),
    _yes_no("in a ring", Chem.Atom.IsInRing),
)  # fmt: skip
"""The nine atom features: atom id k is a place in ``ATOM_FEATURES[k].values``."""

BOND_FEATURES = (
    _feature("type", Chem.Bond.GetBondType, (BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE, BondType.AROMATIC),
             ("single", "double", "triple", "aromatic")),
    _feature("stereo", Chem.Bond.GetStereo,
             (BondStereo.STEREONONE, BondStereo.STEREOZ, BondStereo.STEREOE, BondStereo.STEREOCIS,
              BondStereo.STEREOTRANS), ("none", "Z", "E", "cis", "trans"), other="any"),
    _yes_no("conjugated", Chem.Bond.GetIsConjugated),
)  # fmt: skip
"""The three bond features: a bond id is ``12 * type + 2 * stereo + conjugated``."""
_BOND_ID_WEIGHTS = np.array([12, 2, 1], np.uint8)
_DOUBLE = BOND_FEATURES[0].ids[BondType.DOUBLE]
_CHIRALITY = [feature.name for feature in ATOM_FEATURES].index("chirality")
_CLOCKWISE, _COUNTERCLOCKWISE, _UNLABELLED = (
    ATOM_FEATURES[_CHIRALITY].ids[tag]
    for tag in (ChiralType.CHI_TETRAHEDRAL_CW, ChiralType.CHI_TETRAHEDRAL_CCW, ChiralType.CHI_OTHER)
)
_CIP = {"R": _CLOCKWISE, "r": _CLOCKWISE, "S": _COUNTERCLOCKWISE, "s": _COUNTERCLOCKWISE}
_CIP_EFFORT = 100_000
"""Most steps of the search that ranks the neighbours of a molecule's centres: some tenths of a second."""


def describe_atom(ids: Iterable[SupportsInt]) -> str:
    """Say what nine ids mean, leaving out what is unspecified, none or no.

    Examples
    --------
    >>> describe_atom([6, 0, 2, 5, 0, 0, 1, 1, 1])
    'N, neighbours with hydrogens 2, hydrogens 0, hybridisation sp2, aromatic, in a ring'
    """
    named = {feature.name: feature.values[int(k)] for feature, k in zip(ATOM_FEATURES, ids, strict=True)}
    words = [named.pop("element")]
    for name, value in named.items():
        if value == "yes":
            words.append(name)
        elif not (value in ("unspecified", "no") or (name in ("formal charge", "radical electrons") and value == "0")):
            words.append(f"{name} {value}")
    return ", ".join(words)


def describe_bond(bond_id: int) -> str:
    """Say what a bond id means, leaving out "none" and "no"; -1 is no bond.

    Examples
    --------
    >>> describe_bond(0), describe_bond(17), describe_bond(-1)
    ('single', 'double, E, conjugated', 'no bond')
    """
    if bond_id < 0:
        return "no bond"
    kind, stereo, conjugated = bond_parts(bond_id)
    words = [BOND_FEATURES[0].values[kind], BOND_FEATURES[1].values[stereo], "conjugated" if conjugated else "none"]
    return ", ".join(word for word in words if word != "none")


def cip_chirality(mol: Chem.Mol, tags: np.ndarray) -> np.ndarray:
    """Turn chirality ids by the order of neighbours into ids by CIP labels, which numbering and writing cannot change.

    Labels are those of RDKit's newer labeller, which also knows centres that differ by chirality alone (r, s).

    Parameters
    ----------
    mol : Mol
    tags : ndarray, shape (n,), uint8
        Id of RDKit's tag of every atom.

    Returns
    -------
    ndarray, shape (n,), uint8
        Clockwise for R and r, counterclockwise for S and s, "not tetrahedral" for a centre that gets no label.

    References
    ----------
    Hanson et al., "Algorithmic Analysis of Cahn-Ingold-Prelog Rules of Stereochemistry", J. Chem. Inf. Model. 2018.

    Examples
    --------
    >>> for smiles in ("C[C@H](N)O", "N[C@@H](C)O", "O[C@@H](C)N"):
    ...     mol = Chem.MolFromSmiles(smiles)
    ...     print(mol_to_arrays(mol, chirality="tag").atom[1, 1], mol_to_arrays(mol, chirality="cip").atom[1, 1])
    2 1
    1 1
    1 2
    """
    centres = np.flatnonzero((tags == _CLOCKWISE) | (tags == _COUNTERCLOCKWISE))
    ids = tags.copy()
    if not len(centres):
        return ids
    labelled = Chem.Mol(mol)  # labels are kept on the atoms
    for k in centres.tolist():
        labelled.GetAtomWithIdx(k).ClearProp("_CIPCode")  # of the older labeller, which leaves some without
    try:
        rdCIPLabeler.AssignCIPLabels(labelled, maxRecursiveIterations=_CIP_EFFORT)
    except RuntimeError:  # too many steps; a label that came before is no label, so that none depends on the numbering
        ids[centres] = _UNLABELLED
        return ids
    for k in centres.tolist():
        atom = labelled.GetAtomWithIdx(k)
        ids[k] = _CIP.get(atom.GetProp("_CIPCode"), _UNLABELLED) if atom.HasProp("_CIPCode") else _UNLABELLED
    return ids


def mol_to_arrays(mol: Chem.Mol, positions: np.ndarray | None = None, *, chirality: str = "cip") -> MoleculeArrays:
    """Read the features of a sanitised molecule.

    Parameters
    ----------
    mol : Mol
        As `read_smiles` and `prepare_mol` give it.
    positions : ndarray, shape (c, n, 3), angstrom, optional
        Conformers.
    chirality : {"cip", "tag"}
        See `FeaturizerConfig`.

    Returns
    -------
    MoleculeArrays
        Atoms and bonds in RDKit's order.

    Examples
    --------
    >>> arrays = mol_to_arrays(Chem.MolFromSmiles("C=O"))
    >>> arrays.atom.tolist(), arrays.bond_index.tolist(), arrays.bond_id.tolist()
    ([[5, 0, 3, 5, 2, 0, 1, 0, 0], [7, 0, 1, 5, 0, 0, 1, 0, 0]], [[0, 1]], [12])
    """
    n, m = mol.GetNumAtoms(), mol.GetNumBonds()
    atoms = list(map(mol.GetAtomWithIdx, range(n)))  # twice as fast as GetAtoms
    read = b"".join(bytes(map(feature.ids.__getitem__, map(feature.read, atoms))) for feature in ATOM_FEATURES)
    atom = np.frombuffer(read, np.uint8).reshape(len(ATOM_FEATURES), n).T.copy()
    if chirality == "cip":
        atom[:, _CHIRALITY] = cip_chirality(mol, atom[:, _CHIRALITY])

    bonds = list(map(mol.GetBondWithIdx, range(m)))
    kind, stereo, conjugated = BOND_FEATURES
    kinds = bytes(map(kind.ids.__getitem__, map(kind.read, bonds)))
    # only a double bond has one of these stereo words: asking no other takes a third off the time for bonds
    stereos = bytes(stereo.ids[stereo.read(bond)] if k == _DOUBLE else 0 for k, bond in zip(kinds, bonds, strict=True))
    words = b"".join((kinds, stereos, bytes(map(conjugated.read, bonds))))
    ends = [*map(Chem.Bond.GetBeginAtomIdx, bonds), *map(Chem.Bond.GetEndAtomIdx, bonds)]
    return MoleculeArrays(
        atom=atom,
        bond_index=np.array(ends, np.int32).reshape(2, m).T.copy(),
        bond_id=_BOND_ID_WEIGHTS @ np.frombuffer(words, np.uint8).reshape(len(BOND_FEATURES), m),
        positions=np.zeros((0, n, 3), np.float32) if positions is None else np.asarray(positions, np.float32),
    )
