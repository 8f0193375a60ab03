"""Molecules <-> Arrow record batches: the columns of a shard, written from samples and read without a copy."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.data.rows import Sample
from dgl_moleblend.errors import DataError
from dgl_moleblend.schema import ATOM_SIZES

MAX_ATOMS = 65_535
"""Bonds are kept as pairs of 16-bit atom numbers."""


BOUNDS = "bounds"
"""Column of the relations of labels, some of which are bounds."""
LABEL_TYPES = {"float64": pa.float64(), "float32": pa.float32()}
"""What labels are kept as, and what they were kept as in stores of before."""


def arrow_schema(num_tasks: int, label_type: str = "float64", *, bounds: bool = False) -> pa.Schema:
    """Columns of a shard; one row is one molecule of n atoms, m bonds and c conformers (c * n positions).

    Parameters
    ----------
    num_tasks : int
    label_type : str
        One of `LABEL_TYPES`.
    bounds : bool
        Whether some labels are bounds; shards without have no column of them.
    """
    fields = [
        ("row", pa.int64()),
        ("source", pa.int32()),  # number of the file in the manifest's "sources"
        ("line", pa.int64()),
        ("id", pa.large_string()),
        ("smiles", pa.large_string()),
        ("atom", pa.large_list(_not_null(pa.list_(pa.uint8(), len(ATOM_SIZES))))),
        ("bond_index", pa.large_list(_not_null(pa.list_(pa.uint16(), 2)))),
        ("bond_id", pa.large_list(_not_null(pa.uint8()))),
        ("positions", pa.large_list(_not_null(pa.list_(pa.float32(), 3)))),
    ]
    if num_tasks:  # Arrow has no lists of width 0
        fields.append(("labels", pa.list_(LABEL_TYPES[label_type], num_tasks)))
    if bounds:
        fields.append((BOUNDS, pa.list_(pa.int8(), num_tasks)))
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])


def _not_null(kind: pa.DataType) -> pa.Field:
    return pa.field("item", kind, nullable=False)


def record_batch(samples: Sequence[Sample], num_tasks: int, sources: Sequence[str] = ("",)) -> pa.RecordBatch:
    """Pack samples in one Arrow record batch.

    Parameters
    ----------
    samples : sequence of Sample
    num_tasks : int
        Length t of every sample's labels.
    sources : sequence of str
        Files by number; every sample's source is one of them.

    Raises
    ------
    DataError
        If a molecule has more atoms than a bond's 16-bit atom numbers can name.
    """
    bounded = any(sample.bounds is not None for sample in samples)
    schema = arrow_schema(num_tasks, bounds=bounded)
    number = {source: k for k, source in enumerate(sources)}
    for sample in samples:
        if sample.molecule.num_atoms > MAX_ATOMS:
            raise DataError(f"{sample.molecule.num_atoms:,} atoms; a store keeps molecules of up to {MAX_ATOMS:,}",
                            where=f"{sample.source}, line {sample.line}", fix="pass --max-atoms")  # fmt: skip
    molecules = [sample.molecule for sample in samples]

    def ragged(name: str, values: list[np.ndarray]) -> pa.Array:
        kind = schema.field(name).type
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum([len(value) for value in values], out=offsets[1:])
        inner = kind.value_type
        fixed = pa.types.is_fixed_size_list(inner)
        dtype = (inner.value_type if fixed else inner).to_pandas_dtype()
        flat = np.concatenate([value.ravel() for value in values]) if values else np.empty(0)
        content = pa.array(flat.astype(dtype))
        if fixed:
            content = pa.FixedSizeListArray.from_arrays(content, type=inner)
        return pa.LargeListArray.from_arrays(pa.array(offsets), content, type=kind)

    columns: dict[str, pa.Array] = {
        "row": pa.array([s.row for s in samples], pa.int64()),
        "source": pa.array([number[s.source] for s in samples], pa.int32()),
        "line": pa.array([s.line for s in samples], pa.int64()),
        "id": pa.array([s.id for s in samples], pa.large_string()),
        "smiles": pa.array([s.smiles for s in samples], pa.large_string()),
        "atom": ragged("atom", [m.atom for m in molecules]),
        "bond_index": ragged("bond_index", [m.bond_index for m in molecules]),
        "bond_id": ragged("bond_id", [m.bond_id for m in molecules]),
        "positions": ragged("positions", [m.positions.reshape(-1, 3) for m in molecules]),
    }
    if num_tasks:
        labels = np.stack([s.labels for s in samples]) if samples else np.empty((0, num_tasks))
        columns["labels"] = pa.FixedSizeListArray.from_arrays(
            pa.array(labels.astype(np.float64).ravel()), type=schema.field("labels").type
        )
    if bounded:
        relations = np.stack([s.relations for s in samples]).astype(np.int8)
        columns[BOUNDS] = pa.FixedSizeListArray.from_arrays(pa.array(relations.ravel()), type=schema.field(BOUNDS).type)
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def with_bounds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with its column of bounds, none where it has no such column, so that it joins one that has.

    >>> with_bounds(record_batch([], 2)).schema.equals(arrow_schema(2, bounds=True))
    True
    """
    if BOUNDS in batch.schema.names:
        return batch
    kind = pa.list_(pa.int8(), batch.schema.field("labels").type.list_size)
    none = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(batch.num_rows * kind.list_size, np.int8)), type=kind)
    return batch.append_column(pa.field(BOUNDS, kind, nullable=False), none)


class Views:
    """NumPy views of one record batch, without a copy."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        def flat(name: str) -> tuple[np.ndarray, np.ndarray]:
            column = batch.column(name)
            values = column.values
            if pa.types.is_fixed_size_list(values.type):
                width = values.type.list_size
                return column.offsets.to_numpy(), values.values.to_numpy().reshape(-1, width)
            return column.offsets.to_numpy(), values.to_numpy()

        self.num_molecules = batch.num_rows
        self.row, self.source, self.line = (batch.column(c).to_numpy() for c in ("row", "source", "line"))
        self.id, self.smiles = batch.column("id"), batch.column("smiles")
        self.atom_offset, self.atom = flat("atom")
        self.bond_offset, self.bond_index = flat("bond_index")
        self.bond_id = flat("bond_id")[1]
        self.position_offset, self.positions = flat("positions")
        if "labels" in batch.schema.names:
            column = batch.column("labels")
            self.labels = column.values.to_numpy().reshape(-1, column.type.list_size).astype(np.float64, copy=False)
        else:
            self.labels = np.empty((batch.num_rows, 0))
        self.bounds: np.ndarray | None = None
        if BOUNDS in batch.schema.names:
            self.bounds = batch.column(BOUNDS).values.to_numpy().reshape(self.labels.shape)

    def molecule(self, k: int) -> MoleculeArrays:
        """Return the arrays of molecule k of the batch."""
        atom = self.atom[self.atom_offset[k] : self.atom_offset[k + 1]]
        bonds = slice(self.bond_offset[k], self.bond_offset[k + 1])
        positions = self.positions[self.position_offset[k] : self.position_offset[k + 1]]
        return MoleculeArrays(
            atom=atom,
            bond_index=self.bond_index[bonds].astype(np.int32),
            bond_id=self.bond_id[bonds],
            positions=positions.reshape(-1, len(atom), 3),
        )


def text_of(column: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the texts of a column end (their number + 1, from the first's start), and their bytes."""
    _, offsets, content = column.buffers()
    if not len(column):
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    ends = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    text = np.empty(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
    return ends, text[ends[0] : ends[-1]]
