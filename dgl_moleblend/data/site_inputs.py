"""Molecules with values of their atoms or bonds, in whatever form a caller has them -> a data set and these values."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from dgl_moleblend.config import FeaturizerConfig, check
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.data.inputs import column_of_smiles, entries, path_of
from dgl_moleblend.data.labelled import Labelled, check_kept
from dgl_moleblend.data.site_reader import SiteReader
from dgl_moleblend.data.sites import LEVELS, SiteValues
from dgl_moleblend.errors import DataError
from dgl_moleblend.files import MANIFEST_FILE
from dgl_moleblend.readers.columns import find_id, no_column
from dgl_moleblend.readers.formats import STRUCTURES
from dgl_moleblend.readers.memory import MoleculeList, is_missing
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.records import Reader, Record
from dgl_moleblend.unpacking import read_npz

_LISTS = {"atom": ("{}", "atom.dprop.{}", "atom.prop.{}", "atom.iprop.{}"),
          "bond": ("{}", "bond.dprop.{}", "bond.prop.{}", "bond.iprop.{}")}  # fmt: skip
"""How columns of a name may be called; all but the first are RDKit's property lists in SDF."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class SiteData:
    """Molecules with values of their atoms or bonds.

    Parameters
    ----------
    labelled : Labelled
        The molecules; their labels are the means of their values, NaN of those that have none.
    values : SiteValues
    """

    labelled: Labelled
    values: SiteValues


def open_site_files(
    inputs: Sequence[str | os.PathLike[str]],
    names: Sequence[str],
    level: str,
    featurizer: FeaturizerConfig,
    *,
    option: str = "target=",
    reading: Mapping[str, Any] | None = None,
    workers: int = 0,
    progress: bool = False,
    tell: Tell = lambda text: None,
) -> SiteData:
    """Featurize files of molecules that have a list of values each.

    Parameters
    ----------
    inputs : sequence of path
    names : sequence of str
        Columns (SDF: properties, also RDKit's property lists of that name); or one NPZ file, which holds an array for
        each molecule by its identifier.
    level : {"atom", "bond"}
    featurizer : FeaturizerConfig
    option : str
        By which a caller names columns, for messages.
    reading : mapping, optional
        See `MoleculeReader`.
    workers, progress
        See `MoleculeDataset.from_file`.
    tell : callable
        Is told what is not used.

    Raises
    ------
    DataError
        If there is no such column, no molecule has a value or none could be read.
    """
    _check(level, featurizer)
    if store := next((str(name) for name in inputs if Path(name, MANIFEST_FILE).is_file()), None):
        raise DataError("a data set that `featurize` wrote holds labels of molecules alone", where=store,
                        fix=f"give the file of molecules, and name its column of {level} values")  # fmt: skip
    files = tuple(names)
    arrays = _read_arrays(files[0]) if len(files) == 1 and files[0].endswith(".npz") else None
    reader = MoleculeReader(inputs, keep_cells=arrays is None, **(reading or {}))
    if arrays is not None:
        return _by_id(reader, arrays, files[0], level, featurizer, reading, workers, progress, tell)
    keys = [_find(name, reader.columns, level, option, reader.sources[0]) for name in names]
    for source in reader.sources[1:]:
        header = MoleculeReader(source, **(reading or {})).columns
        for key in keys:
            if key not in header and not {*Path(source).name.split(".")}.intersection(STRUCTURES):
                raise no_column(key, header, option=option, where=source)

    def cells(record: Record) -> list[object]:
        return [(record.cells or {}).get(key) for key in keys]

    return _read(SiteReader(reader, level, names, cells), featurizer, reading, workers, progress, tell)


def open_sites(
    molecules: Any,
    target: Any,
    level: str,
    featurizer: FeaturizerConfig,
    *,
    smiles_column: str | None = None,
    workers: int = 0,
    progress: bool = False,
    tell: Tell = lambda text: None,
) -> SiteData:
    """Featurize molecules that have a list of values each.

    Parameters
    ----------
    molecules
        A DataFrame with a column of SMILES; the path of a file; a list, array or Series of SMILES or RDKit Mols; or the
        pair ``(molecules, values)``.
    target
        Columns of lists, or an NPZ file, see `open_site_files`; or a list (array) for each molecule.
    level, featurizer, smiles_column, workers, progress, tell
        See `open_site_files`.

    Raises
    ------
    DataError
        If there is no such column, or values and molecules are not as many, or no molecule could be read.
    """
    _check(level, featurizer)
    if isinstance(molecules, tuple) and len(molecules) == 2 and target is None:
        molecules, target = molecules
    if target is None:
        raise DataError(f"the values of the {level}s are not named", fix="give target=, the name of their column")
    names = [target] if isinstance(target, str | os.PathLike) else target
    named = all(isinstance(name, str | os.PathLike) for name in names)
    if isinstance(molecules, MoleculeDataset):
        raise DataError(f"a data set holds no values of {level}s", fix="give the molecules, or their file")
    if (path := path_of(molecules)) and named:
        reading = {"smiles_column": smiles_column}
        return open_site_files([path], [os.fspath(name) for name in names], level, featurizer, reading=reading,
                               workers=workers, progress=progress, tell=tell)  # fmt: skip
    if named and not isinstance(molecules, pd.DataFrame):
        raise DataError(f"there are molecules, and no values of their {level}s: target={target!r}",
                        fix="give a list for each, or a table or file and the name of its column")  # fmt: skip
    entry, index = entries(molecules, smiles_column)
    words: dict[str, Sequence[Any]] = {}
    ids = None
    if isinstance(molecules, pd.DataFrame):
        header = [str(name) for name in molecules.columns]
        frame = molecules.set_axis(header, axis=1)
        smiles = str(column_of_smiles(frame, smiles_column))
        identifier = find_id([name for name in header if name != smiles])
        ids = None if identifier is None else frame[identifier].tolist()
        words = {name: frame[name].tolist() for name in header if header.count(name) == 1 and name != smiles}
        if named and len(names) == 1 and os.fspath(names[0]).endswith(".npz"):
            file = os.fspath(names[0])
            listed = MoleculeList(entry, None, ids)
            return _by_id(listed, _read_arrays(file), file, level, featurizer, None, workers, progress, tell, words)
        for name in names if named else ():
            if name not in words:
                raise no_column(str(name), [*words], option="target=")
    columns = {str(name): words[str(name)] for name in names} if named else {"y": list(target)}
    if isinstance(target, pd.Series) and not named:
        columns = {str("y" if target.name is None else target.name): target.tolist()}
        if index is not None and not target.index.equals(index):
            raise DataError("molecules and values have different indices", fix="bring them into one order and index")
    for values in columns.values():
        if len(values) != len(entry):
            raise DataError(f"there are {len(entry):,} molecules and {len(values):,} lists of values",
                            fix="give one for every molecule, None where there is none")  # fmt: skip

    def cells(record: Record) -> list[object]:
        found = [values[record.row] for values in columns.values()]
        return [None if is_missing(cell) else cell for cell in found]

    reader = SiteReader(MoleculeList(entry, None, ids), level, [*columns], cells)
    return _read(reader, featurizer, None, workers, progress, tell, words)


def _check(level: str, featurizer: FeaturizerConfig) -> None:
    check(level in LEVELS, "level", level, "'atom' or 'bond'")
    check(not featurizer.standardize, "standardize", featurizer.standardize,
          "left out: values belong to the molecule as it is written")  # fmt: skip


def _find(name: str, header: Sequence[str], level: str, option: str, where: str) -> str:
    found = next((key for form in _LISTS[level] if (key := form.format(name)) in header), None)
    if found is None:
        raise no_column(name, header, option=option, where=where)
    return found


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    try:
        return read_npz(path)
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=path, fix="check its name") from error
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"the file is no NPZ of arrays: {error}", where=path,
                        fix="write it with numpy.savez: an array of numbers for each molecule, named by its"
                        " identifier") from error  # fmt: skip


def _by_id(
    reader: Reader,
    arrays: Mapping[str, np.ndarray],
    path: str,
    level: str,
    featurizer: FeaturizerConfig,
    reading: Mapping[str, Any] | None,
    workers: int,
    progress: bool,
    tell: Tell,
    words: Mapping[str, Sequence[Any]] | None = None,
) -> SiteData:
    """Take the values of each molecule from arrays, by its identifier."""
    met: dict[str, None] = {}

    def cells(record: Record) -> list[object]:
        met[record.id] = None
        return [arrays.get(record.id)]

    site_reader = SiteReader(reader, level, [Path(path).stem], cells)
    if not arrays:
        raise DataError("the file holds no array", where=path, fix="write one for each molecule")
    found = _read(site_reader, featurizer, reading, workers, progress, tell, words, needs_values=False)
    unused = [name for name in arrays if name not in met]
    if len(unused) == len(arrays):
        raise DataError(f"no array has the identifier of a molecule: arrays are {_some(arrays)}, molecules"
                        f" {_some(met) or 'without'}", where=path, fix="name the column of identifiers, or name the"
                        " arrays by what stands there")  # fmt: skip
    if unused:
        tell(f"{len(unused):,} of {len(arrays):,} arrays are of no molecule here: {_some(unused)}")
    return _with_values(found)


def _some(names: Sequence[str] | Mapping[str, Any]) -> str:
    shown = [repr(name) for name in names if name][:3]
    return ", ".join(shown) + (", .." if len(names) > len(shown) and shown else "")


def _read(
    reader: SiteReader,
    featurizer: FeaturizerConfig,
    reading: Mapping[str, Any] | None,
    workers: int,
    progress: bool,
    tell: Tell,
    words: Mapping[str, Sequence[Any]] | None = None,
    *,
    needs_values: bool = True,
) -> SiteData:
    dataset = MoleculeDataset.from_reader(reader, featurizer=featurizer, workers=workers, progress=progress)
    path = None if words is not None or reader.sources == MoleculeList.sources else reader.sources[0]
    check_kept(dataset, path or "molecules")
    if reader.dropped:
        whose = "hydrogens" if reader.level == "atom" else "bonds to hydrogens"
        tell(f"{reader.dropped:,} values are of {whose} that molecules are read without: they are not used")
    values = SiteValues.of(dataset, reader.level, reader.task_names, reader.by_row)
    labelled = Labelled(dataset, dataset.rows, words or {}, path, dict(reading or {}))
    found = SiteData(labelled, values)
    return _with_values(found) if needs_values else found


def _with_values(data: SiteData) -> SiteData:
    """Check that there is something to learn.

    Raises
    ------
    DataError
        If no molecule has a value.
    """
    level, names = data.values.level, ", ".join(map(repr, data.values.names))
    if np.isnan(data.values.values).all():
        raise DataError(f"no {level} has a value of {names}", fix=f"give a list for each molecule, a value for each"
                        f" {level}: [1.5, null, 2]")  # fmt: skip
    return data
