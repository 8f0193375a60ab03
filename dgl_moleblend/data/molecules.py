"""One record -> a molecule with its labels, or the reason why there is none."""

import collections
import functools
import logging
from dataclasses import dataclass, field

import numpy as np
from rdkit import Chem

from dgl_moleblend.chem.compact import featurize_mol, standardized
from dgl_moleblend.chem.sanitize import prepare_mol, read_smiles
from dgl_moleblend.chem.structures import read_structure
from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.codec import MAX_ATOMS
from dgl_moleblend.data.rows import Reject, Sample
from dgl_moleblend.errors import MoleculeError
from dgl_moleblend.readers.records import Record

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineConfig:
    """How rows are turned into molecules.

    Parameters
    ----------
    featurizer : FeaturizerConfig
    max_atoms : int
        Larger molecules are rejected.
    on_failed_conformer : {"reject", "keep"}
        What happens to a molecule that gets no positions: rejected, or kept without.
    time_limit : float, optional
        Seconds after which a worker process that is stuck in one molecule is killed; by default 10 more than twice
        the featurizer's timeout, which ends the search for conformers without killing anything.
    """

    featurizer: FeaturizerConfig = field(default_factory=FeaturizerConfig)
    max_atoms: int = MAX_ATOMS
    on_failed_conformer: str = "reject"
    time_limit: float | None = None

    def __post_init__(self) -> None:
        check(1 <= self.max_atoms <= MAX_ATOMS, "max_atoms", self.max_atoms, f"1 to {MAX_ATOMS:,}")
        check(self.on_failed_conformer in ("reject", "keep"), "on_failed_conformer", self.on_failed_conformer,
              "'reject' or 'keep'")  # fmt: skip
        check(self.time_limit is None or self.time_limit > 0, "time_limit", self.time_limit, "positive")

    @property
    def hard_limit(self) -> float:
        """Seconds after which a stuck worker is killed."""
        return self.time_limit or 2 * self.featurizer.timeout + 10.0


def featurize_record(record: Record, config: PipelineConfig, *, without_positions: bool = False) -> Sample | Reject:
    """Turn one record into a molecule, or into the reason why not.

    Parameters
    ----------
    record : Record
    config : PipelineConfig
    without_positions : bool
        Leave the positions out, whatever the settings say.
    """
    if record.stage is not None:
        return reject(record, record.stage, record.error or "")
    stage = "parse"
    try:
        mol = read_mol(record)
        stage = "pair"
        if record.structure is not None and record.smiles:
            _check_same_atoms(mol, record.smiles)
        smiles = record.smiles.split(" |")[0] if record.smiles else Chem.MolToSmiles(mol)
        stage = "standardize"
        mol = standardized(mol, config.featurizer.standardize)
        stage = "size"
        if mol.GetNumAtoms() > config.max_atoms:
            raise MoleculeError(f"{mol.GetNumAtoms():,} atoms are more than {config.max_atoms:,}")
        stage = "featurize"
        full, flat = config.featurizer, _without_positions(config.featurizer)
        if full.positions == "none" or without_positions:
            molecule = featurize_mol(mol, flat)
        else:
            try:
                molecule = featurize_mol(mol, full)
            except MoleculeError:
                molecule = featurize_mol(mol, flat)  # if this works, it was the positions that failed
                stage = "conformer"
                if config.on_failed_conformer == "reject":
                    raise
    except MoleculeError as error:
        return reject(record, stage, error.what)
    except Exception as error:
        log.debug("%s", record.where, exc_info=True)
        return reject(record, stage, f"{type(error).__name__}: {error}")
    labels = np.asarray(record.labels, np.float64)
    bounds = np.asarray(record.bounds, np.int8) if any(record.bounds) else None
    return Sample(molecule, labels, record.row, record.source, record.line, record.id, smiles, bounds)


@functools.lru_cache(maxsize=8)
def _without_positions(config: FeaturizerConfig) -> FeaturizerConfig:
    return config.replace(positions="none")


def read_mol(record: Record) -> Chem.Mol:
    """Return the molecule of a record, with the positions that it gives.

    Raises
    ------
    MoleculeError
        If RDKit cannot read it; the message says where it stands.
    """
    if record.mol is not None:
        return prepare_mol(record.mol, where=record.where)
    if record.positions is not None:
        return _with_positions(read_smiles(record.smiles, where=record.where), record)
    if record.structure is None:
        return read_smiles(record.smiles, where=record.where)
    mol = read_structure(record.structure, record.structure_format, record.charge, where=record.where)
    return prepare_mol(mol, where=record.where)


def _with_positions(mol: Chem.Mol, record: Record) -> Chem.Mol:
    """Give a molecule conformers whose atoms are listed in the order of its SMILES, hydrogens anywhere between."""
    assert record.atoms is not None
    assert record.positions is not None
    atoms, positions = np.array(record.atoms), record.positions
    expected = [atom.GetSymbol() for atom in mol.GetAtoms()]
    for keep in (np.arange(len(atoms)), np.flatnonzero(atoms != "H")):
        if atoms[keep].tolist() == expected:
            for values in positions[:, keep].astype(np.float64):
                conformer = Chem.Conformer(len(keep))
                conformer.SetPositions(np.ascontiguousarray(values))
                conformer.Set3D(True)
                mol.AddConformer(conformer, assignId=True)
            return mol
    raise MoleculeError(f"the atoms that have positions are not those of the SMILES {record.smiles!r}")


def _check_same_atoms(mol: Chem.Mol, smiles: str) -> None:
    """Refuse a structure that cannot be of this SMILES; bonds, charges and hydrogens may be seen otherwise in it."""
    found, expected = (
        collections.Counter(atom.GetSymbol() for atom in molecule.GetAtoms() if atom.GetAtomicNum() != 1)
        for molecule in (mol, read_smiles(smiles))
    )
    if found != expected:
        words = [" ".join(f"{symbol}{count}" for symbol, count in sorted(c.items())) for c in (found, expected)]
        raise MoleculeError(f"the structure has the atoms {words[0]}, its SMILES {words[1]}")


def reject(record: Record, stage: str, reason: str) -> Reject:
    """Return the record as a row that is not in the table."""
    return Reject(record.row, record.source, record.line, record.id, record.smiles, stage, reason)
