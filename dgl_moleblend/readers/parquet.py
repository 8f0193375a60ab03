"""Parquet files -> their columns and rows."""

from collections.abc import Iterator
from typing import Any

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import Source
from dgl_moleblend.readers.records import Row


def open_parquet(source: Source) -> tuple[list[str], list[Any], Iterator[Row]]:
    """Return columns, their Arrow types, and rows; these have no lines."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(source.seekable())
        names, types = list(file.schema_arrow.names), list(file.schema_arrow.types)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"this is not a whole Parquet file: {error}", where=source.name, fix="export it again"
        ) from error

    def values(column: pa.Array) -> list[object]:
        try:
            return column.to_pylist()
        except UnicodeDecodeError:  # Arrow takes any bytes for text
            texts = column.cast(pa.large_binary()).to_pylist()
            return [None if text is None else text.decode("utf-8", "surrogateescape") for text in texts]

    def rows() -> Iterator[Row]:
        count = 0
        try:
            for batch in file.iter_batches(batch_size=4096):
                for cells in zip(*map(values, batch.columns), strict=True):
                    yield Row(-1, cells)
                count += batch.num_rows
            if count != file.metadata.num_rows:
                raise pa.ArrowInvalid(f"it has {count:,} rows and says that there are {file.metadata.num_rows:,}")
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"the Parquet file is damaged: {error}", where=source.name, fix="export it again"
            ) from error

    return names, types, rows()
