"""The field's published data sets, read from the files that people have: PCQM4Mv2, QM9, MoleculeNet."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgl_moleblend.config import check
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import Source
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.pairing import PairedReader
from dgl_moleblend.readers.records import Reader, Record

HARTREE = 27.211386245988
"""Electronvolts (CODATA 2018)."""
KCAL_PER_MOL = HARTREE / 627.509474
"""Electronvolts."""
QM9_UNITS = {
    "A": "GHz", "B": "GHz", "C": "GHz", "mu": "debye", "alpha": "bohr^3", "homo": "hartree", "lumo": "hartree",
    "gap": "hartree", "r2": "bohr^2", "zpve": "hartree", "u0": "hartree", "u298": "hartree", "h298": "hartree",
    "g298": "hartree", "cv": "cal/(mol K)", "u0_atom": "kcal/mol", "u298_atom": "kcal/mol", "h298_atom": "kcal/mol",
    "g298_atom": "kcal/mol",
}  # fmt: skip
"""Units of the columns of gdb9.sdf.csv, as published."""
QM9_TARGETS = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u298", "h298", "g298", "cv")
"""The customary twelve."""
_IN_EV = {"hartree": HARTREE, "kcal/mol": KCAL_PER_MOL}


@dataclass(frozen=True)
class MoleculeNet:
    """Where a MoleculeNet file keeps what: names of the file, and columns."""

    files: tuple[str, ...]
    tasks: tuple[str, ...]
    smiles_column: str = "smiles"
    id_column: str | None = None
    classification: bool = False


MOLECULENET = {
    "esol": MoleculeNet(("delaney-processed.csv", "esol.csv"), ("measured log solubility in mols per litre",)),
    "freesolv": MoleculeNet(("SAMPL.csv", "freesolv.csv"), ("expt",), id_column="iupac"),
    "lipophilicity": MoleculeNet(("Lipophilicity.csv", "lipo.csv"), ("exp",)),
    "bbbp": MoleculeNet(("BBBP.csv",), ("p_np",), classification=True),
    "bace": MoleculeNet(("bace.csv",), ("Class",), smiles_column="mol", classification=True),
    "bace_regression": MoleculeNet(("bace.csv",), ("pIC50",), smiles_column="mol"),
    "tox21": MoleculeNet(("tox21.csv",), ("NR-*", "SR-*"), classification=True),
    "toxcast": MoleculeNet(("toxcast_data.csv", "toxcast.csv"), ("all",), classification=True),
    "hiv": MoleculeNet(("HIV.csv",), ("HIV_active",), classification=True),
    "muv": MoleculeNet(("muv.csv",), ("MUV-*",), classification=True),
    "sider": MoleculeNet(("sider.csv",), ("all",), classification=True),
    "clintox": MoleculeNet(("clintox.csv",), ("FDA_APPROVED", "CT_TOX"), classification=True),
}
"""Names of `moleculenet`."""
NAMES = ("pcqm4mv2", "qm9", *MOLECULENET)
"""Names of `open_published`."""


class ConvertedReader:
    """Records of another reader with labels in other units, and some left out by name.

    Parameters
    ----------
    reader : Reader
    factors : sequence of t floats
        What each label is multiplied by.
    units : sequence of t str
        Units of the labels afterwards.
    excluded : set of str
        Identifiers that are rejected.
    why : str
        The reason that is written down for those.
    """

    def __init__(
        self,
        reader: Reader,
        factors: Sequence[float],
        units: Sequence[str],
        excluded: frozenset[str] = frozenset(),
        why: str = "left out on request",
    ) -> None:
        self._reader = reader
        self._factors, self._excluded, self._why = tuple(factors), excluded, why
        self.units = dict(zip(reader.task_names, units, strict=True))
        self.task_names, self.sources, self.total_bytes = reader.task_names, reader.sources, reader.total_bytes
        self.classes = reader.classes

    @property
    def bytes_read(self) -> int:
        """Bytes of the input that were read."""
        return self._reader.bytes_read

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values."""
        excluded = hashlib.sha256("\n".join(sorted(self._excluded)).encode()).hexdigest()[:16]
        return {**self._reader.arguments(), "units": self.units, "excluded": excluded}

    def __iter__(self) -> Iterator[Record]:
        for record in self._reader:
            labels = tuple(value * factor for value, factor in zip(record.labels, self._factors, strict=False))
            stage, error = record.stage, record.error
            if record.id in self._excluded and stage is None:
                stage, error = "excluded", self._why
            yield dataclasses.replace(record, labels=labels, stage=stage, error=error)


def open_published(name: str, folder: str | os.PathLike[str], **options: object) -> Reader:
    """Open a published data set in the folder that its files are in.

    Parameters
    ----------
    name : str
        "pcqm4mv2", "qm9", or a key of `MOLECULENET`.
    folder : path
    options
        Of `qm9`.

    Raises
    ------
    DataError
        If a file is not there; its customary names are listed.
    """
    check(name in NAMES, "dataset", name, f"one of {', '.join(NAMES)}")
    if name == "pcqm4mv2":
        return pcqm4mv2(folder)
    return qm9(folder, **options) if name == "qm9" else moleculenet(name, folder)  # type: ignore[arg-type]


def _find(folder: str | os.PathLike[str], *patterns: str) -> Path:
    """Return the first file of these names, also gzipped, also one folder down ("raw")."""
    for pattern in patterns:
        for place in (pattern, f"{pattern}.gz", f"*/{pattern}", f"*/{pattern}.gz"):
            found = sorted(Path(folder).glob(place))
            if found:
                return found[0]
    raise DataError(f"none of these files is here: {', '.join(patterns)} (or .gz)", where=str(folder),
                    fix="give the folder that the data set was downloaded or unpacked to")  # fmt: skip


def pcqm4mv2(folder: str | os.PathLike[str]) -> PairedReader:
    """Read PCQM4Mv2: OGB's data.csv.gz (HOMO-LUMO gap, eV) and pcqm4m-v2-train.sdf, paired by index.

    Molecules beyond the SDF (validation and test) have no positions, those of the test sets no label.

    References
    ----------
    Hu et al., "OGB-LSC: A Large-Scale Challenge for Machine Learning on Graphs", NeurIPS 2021.
    """
    return PairedReader(
        _find(folder, "pcqm4m-v2-train.sdf", "pcqm4mv2*.sdf"),
        _find(folder, "data.csv", "pcqm4mv2_*.csv"),
        task_columns=["homolumogap"],
        smiles_column="smiles",
        id_column="idx",
    )


def qm9(
    folder: str | os.PathLike[str],
    *,
    targets: Sequence[str] = QM9_TARGETS,
    energies: str = "eV",
    uncharacterized: str | os.PathLike[str] | None = None,
) -> ConvertedReader:
    """Read QM9 from gdb9.sdf and gdb9.sdf.csv, in the order of the SDF.

    Parameters
    ----------
    folder : path
    targets : sequence of str
        Columns of gdb9.sdf.csv (`QM9_UNITS`), by default the customary twelve.
    energies : {"eV", "meV", "published"}
        Unit of whatever is published in hartree or kcal/mol.
    uncharacterized : path, optional
        The authors' list (uncharacterized.txt) of molecules whose geometry is not that of their SMILES: rejected.

    References
    ----------
    Ramakrishnan et al., "Quantum chemistry structures and properties of 134 kilo molecules", Sci. Data 2014.
    """
    check(energies in ("eV", "meV", "published"), "energies", energies, "'eV', 'meV' or 'published'")
    for target in targets:
        check(target in QM9_UNITS, "targets", target, f"one of {', '.join(QM9_UNITS)}")
    reader = PairedReader(
        _find(folder, "gdb9.sdf", "gdb9_*.sdf"),
        _find(folder, "gdb9.sdf.csv", "gdb9_*.sdf.csv"),
        task_columns=targets,
        id_column="mol_id",
    )
    published = [QM9_UNITS[target] for target in targets]
    scale = {"eV": 1.0, "meV": 1000.0, "published": 0.0}[energies]
    factors = [_IN_EV[unit] * scale if scale and unit in _IN_EV else 1.0 for unit in published]
    units = [energies if scale and unit in _IN_EV else unit for unit in published]
    excluded = frozenset() if uncharacterized is None else read_uncharacterized(uncharacterized)
    return ConvertedReader(reader, factors, units, excluded, "on the authors' list of uncharacterized molecules")


def read_uncharacterized(path: str | os.PathLike[str]) -> frozenset[str]:
    """Return the names (gdb_21725, ...) on the authors' list: lines that begin with a number.

    Raises
    ------
    DataError
        If there is no such line.
    """
    source = Source(os.fspath(path))
    try:
        lines = source.stream.read().decode("utf-8", "replace").splitlines()
    finally:
        source.close()
    # the last line counts them: "3054 compounds"
    numbers = [match[1] for line in lines if (match := re.match(r"\s*(\d+)(?!\s+compounds)(\s|$)", line))]
    if not numbers:
        raise DataError("the list names no molecule", where=str(path), fix="give the file uncharacterized.txt of QM9")
    return frozenset(f"gdb_{number}" for number in numbers)


def moleculenet(name: str, path: str | os.PathLike[str]) -> MoleculeReader:
    """Read a MoleculeNet file: blank, NaN and, for classification, -1 are missing labels.

    Parameters
    ----------
    name : str
        A key of `MOLECULENET`.
    path : path
        The file, or the folder that it is in.

    References
    ----------
    Wu et al., "MoleculeNet: a benchmark for molecular machine learning", Chem. Sci. 2018.
    """
    check(name in MOLECULENET, "name", name, f"one of {', '.join(MOLECULENET)}")
    entry = MOLECULENET[name]
    return MoleculeReader(
        _find(path, *entry.files) if Path(path).is_dir() else path,
        smiles_column=entry.smiles_column,
        id_column=entry.id_column,
        task_columns=entry.tasks,
        missing_labels=(-1,) if entry.classification else (),
    )
