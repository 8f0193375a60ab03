"""Where tables go, step by step: to a text or Parquet file that appears whole, to standard output, or its best rows."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from dgl_moleblend.files import whole

Write = Callable[[pd.DataFrame], None]
"""Takes the next rows."""
FORMATS = ("csv", "parquet", "json", "jsonl")
"""How a table can be written; the suffix of a file says which."""


def format_of(path: str | PathLike[str]) -> str | None:
    """Return the format that a file's name asks for, None where it asks for none that there is."""
    suffix = Path(path).suffix.removeprefix(".")
    return suffix if suffix in FORMATS else None


@contextmanager
def open_file(path: Path, form: str, *, digits: int | None = None) -> Iterator[Write]:
    """Open a file for tables of the same columns; it appears under its name when all are in it.

    Parameters
    ----------
    path : Path
    form : {"csv", "parquet", "json", "jsonl"}
    digits : int, optional
        Of the numbers in text; by default all that they have.

    Yields
    ------
    function
        That takes a table. At least one is to be given, be it of no rows.
    """
    with whole(path) as temporary:
        if form == "parquet":
            with _parquet(temporary) as write:
                yield write
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file, open_text(file, form, digits) as write:
                yield write


def write_table(table: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write one table, whole or not at all, as the file's name ends, CSV where it ends otherwise."""
    with open_file(Path(path), format_of(path) or "csv") as write:
        write(table)


@contextmanager
def open_text(file: TextIO, form: str = "csv", digits: int | None = None) -> Iterator[Write]:
    """Write tables of the same columns to an open file as one: CSV, a list of JSON objects, or an object a line.

    null stands in JSON where there is no finite number.

    Examples
    --------
    >>> import sys
    >>> with open_text(sys.stdout, "jsonl", digits=3) as write:
    ...     write(pd.DataFrame({"smiles": ["CCO", "bad"], "x": [1 / 3, np.nan]}))
    {"smiles":"CCO","x":0.333}
    {"smiles":"bad","x":null}
    """
    begun = False

    def write(table: pd.DataFrame) -> None:
        nonlocal begun
        table = _with_short_lists(table, digits, as_text=form == "csv")
        if form == "csv":
            table.to_csv(file, index=False, header=not begun, lineterminator="\n",
                         float_format=None if digits is None else f"%.{digits}g")  # fmt: skip
        else:
            text = _objects(table, digits, lines=form == "jsonl")
            if form == "json":
                text = ("," if begun and len(table) else "") + text[1:-1]
            file.write(text)
        begun |= form == "csv" or len(table) > 0
        file.flush()

    if form == "json":
        file.write("[")
    yield write
    if form == "json":
        file.write("]")


def _with_short_lists(table: pd.DataFrame, digits: int | None, *, as_text: bool) -> pd.DataFrame:
    """Round the numbers of lists; as text, a list is JSON, as in what `finetune --atom-targets` reads."""
    new = {}
    for name in (name for name, column in table.items() if column.dtype == object):
        if any(isinstance(value, list) for value in table[name]):
            rows = [value if digits is None or not isinstance(value, list) else
                    [float(f"{one:.{digits}g}") if isinstance(one, float) else one for one in value]
                    for value in table[name]]  # fmt: skip
            if as_text:
                rows = [json.dumps(value, default=str) if isinstance(value, list) else value for value in rows]
            new[str(name)] = pd.Series(rows, index=table.index, dtype=object)
    return table.assign(**new) if new else table


def _objects(table: pd.DataFrame, digits: int | None, *, lines: bool) -> str:
    if digits is not None:
        numbers = table.select_dtypes("float").columns
        table = table.assign(**{n: table[n].map(lambda v: float(f"{v:.{digits}g}")) for n in numbers})
    buffer = io.StringIO()
    table.to_json(buffer, orient="records", lines=lines, force_ascii=False, double_precision=15)
    return buffer.getvalue()


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None

    def write(table: pd.DataFrame) -> None:
        nonlocal writer
        if writer is None:
            writer = pq.ParquetWriter(path, schema_of(table))
        bare = table.copy(deep=False)
        bare.attrs = {}  # which pandas would write into the file
        writer.write_table(pa.Table.from_pandas(bare, schema=writer.schema, preserve_index=False))

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def schema_of(table: pd.DataFrame) -> Any:
    """Return the Arrow schema of a table and of those that follow.

    What the user's columns hold stands in ``attrs["types"]`` (None is text), see `place_beside`; of the others a column
    of objects is text, and "embedding" lists of numbers.
    """
    import pyarrow as pa

    types, fields = table.attrs.get("types", {}), []
    for name, column in table.items():
        kind = types.get(str(name))
        if kind is None and name in types:
            kind = pa.string()
        elif kind is None and isinstance(column.dtype, np.dtype) and column.dtype.kind in "fib":
            kind = pa.from_numpy_dtype(column.dtype)
        elif kind is None and pd.api.types.is_integer_dtype(column.dtype):
            kind = pa.int64()
        elif kind is None:
            kind = pa.list_(pa.float32()) if name == "embedding" else pa.string()
        fields.append(pa.field(str(name), kind))
    return pa.schema(fields)


@contextmanager
def gather(write: Write) -> Iterator[Write]:
    """Keep all rows in memory, and write them at the end as one table."""
    found: list[pd.DataFrame] = []
    yield found.append
    write(pd.concat(found, ignore_index=True))


@contextmanager
def best_of(write: Write, count: int, column: str, *, lowest: bool = False) -> Iterator[Write]:
    """Keep the rows whose numbers in a column are the highest, and write these at the end, the best first.

    Rows without a number are not among them; of equal ones the first stand before the others.

    Examples
    --------
    >>> import sys
    >>> with open_text(sys.stdout) as write, best_of(write, 2, "y") as take:
    ...     take(pd.DataFrame({"smiles": ["C", "CC"], "y": [1.0, 3.0]}))
    ...     take(pd.DataFrame({"smiles": ["CCC", "bad"], "y": [2.0, np.nan]}))
    smiles,y
    CC,3.0
    CCC,2.0
    """
    best: pd.DataFrame | None = None

    def take(table: pd.DataFrame) -> None:
        nonlocal best
        found = table[table[column].notna()] if best is None else pd.concat([best, table[table[column].notna()]])
        best = found.sort_values(column, ascending=lowest, kind="stable").head(count)

    yield take
    if best is not None:
        write(best)
