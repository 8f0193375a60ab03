"""Every cell of a user's files as it stands there, to be put beside what was computed of its rows."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dgl_moleblend.readers.files import Source
from dgl_moleblend.readers.inputs import expand_inputs
from dgl_moleblend.readers.reading import FileOptions
from dgl_moleblend.readers.table import Table


def read_whole(inputs: Sequence[str | os.PathLike[str]], options: FileOptions | None = None) -> pd.DataFrame:
    r"""Read all columns (or SDF properties) of files, one row for every input row.

    Parameters
    ----------
    inputs : sequence of path
        As `MoleculeReader` takes them; not "-", which can be read once.
    options : FileOptions, optional

    Returns
    -------
    DataFrame
        Texts as they stand in text files, values of Parquet; "" where a row has no such cell. Row k is the row k of the
        records of these files. SMI files have no columns. A name that stands twice in a file gets a number: "x", "x.2".

    Raises
    ------
    DataError
        If a file is missing or damaged.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "esol.csv")
    >>> _ = path.write_text("smiles,batch\nCCO,007\n")
    >>> read_whole([path])
      smiles batch
    0    CCO   007
    """
    columns: dict[str, list[Any]] = {}
    count = 0
    for name in expand_inputs(list(inputs)):
        table = Table(Source(name), options)
        try:
            names = _apart(table.columns)
            for row in table.rows():
                cells: Mapping[str, object] = {}
                if table.format == "smi":  # a SMILES and a name, which have no header
                    pass
                elif isinstance(row.cells, Mapping):
                    cells = row.cells
                elif len(row.cells) == len(names):
                    cells = dict(zip(names, row.cells, strict=True))
                for key, value in cells.items():
                    filled = columns.setdefault(key, [])
                    filled += [""] * (count - len(filled))
                    filled.append("" if value is None else value)
                count += 1
        finally:
            table.close()
    return pd.DataFrame({key: [*values, *[""] * (count - len(values))] for key, values in columns.items()},
                        index=range(count), dtype=object)  # fmt: skip


def _apart(names: Sequence[str]) -> list[str]:
    """Return names of which none stands twice."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return found
