"""Structures in SDF files with their labels in a table beside them, one row per record in the same order."""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import closing

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import Source, content_of
from dgl_moleblend.readers.inputs import expand_inputs
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.reading import FileOptions
from dgl_moleblend.readers.records import Record
from dgl_moleblend.readers.table import PEEK, Table


class PairedReader:
    r"""Read molecules from files and their labels from a table: record k belongs to row k.

    That they belong together is checked: where identifiers (the title of an SDF record, the table's id column) are of
    the same kind, each pair must have the same; where the table has SMILES, they must have the structure's atoms.
    Every row is accounted for, on whichever side it is: a table that goes on beyond the structures gives molecules
    without positions if it has SMILES (as PCQM4Mv2 has for validation and test), rejects if not; structures beyond the
    end of the table are rejected.

    Parameters
    ----------
    inputs : path or sequence of paths
        SDF files.
    labels : path
        CSV, TSV, Excel or Parquet file.
    task_columns, smiles_column, id_column, encoding, missing_labels, sheet, decimal, relation_column
        Of the table; see `MoleculeReader`. SMILES and identifiers are optional.

    Raises
    ------
    DataError
        If a file is missing, the table lacks a column, or nothing shows that structures and rows belong together.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rdkit import Chem
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.sdf").write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("CO")) + "$$$$\n")
    >>> _ = (folder / "a.csv").write_text("smiles,gap\nCO,9.7\n")
    >>> (record,) = PairedReader(folder / "a.sdf", folder / "a.csv", task_columns=["gap"])
    >>> record.smiles, record.labels, record.structure is not None
    ('CO', (9.7,), True)
    """

    def __init__(
        self,
        inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        labels: str | os.PathLike[str],
        *,
        task_columns: Sequence[str] = (),
        smiles_column: str | None = None,
        id_column: str | None = None,
        encoding: str | None = None,
        missing_labels: Sequence[float] = (),
        sheet: str | None = None,
        decimal: str | None = None,
        relation_column: str | None = None,
    ) -> None:
        self._structures = MoleculeReader(inputs, input_format="sdf")
        (self._labels_path,) = expand_inputs([labels])
        self._missing = frozenset(map(float, missing_labels))
        self._columns = {"smiles_column": smiles_column, "id_column": id_column}
        self._options = FileOptions(encoding=encoding, sheet=sheet, decimal=decimal)
        self._relation_column = relation_column
        with closing(Table(Source(self._labels_path), self._options)) as table:
            self.task_names = table.find_tasks(task_columns, smiles_column, id_column)
            self.classes = table.find_classes(self.task_names)
            self._commas = table.find_commas(self.task_names)
            self.relations = table.find_relations(self.task_names, relation_column)
            self._bind(table)
        self.bytes_read = 0
        self.total_bytes = self._structures.total_bytes

    def _bind(self, table: Table) -> None:
        columns = self._columns
        table.bind(columns["smiles_column"], columns["id_column"], self.task_names, self.classes, self._commas,
                   relation_column=self._relation_column, needs_smiles=False)  # fmt: skip

    def first_cells(self) -> tuple[dict[str, list[object]], frozenset[str]]:
        """Return the cells of the first rows of the table, see `MoleculeReader.first_cells`."""
        with closing(Table(Source(self._labels_path), self._options)) as table:
            cells = table.first_cells(*self._columns.values())
            return cells, table.find_commas([*cells])

    @property
    def sources(self) -> tuple[str, ...]:
        """Files that are read, the table last."""
        return (*self._structures.sources, self._labels_path)

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values."""
        return {
            **self._structures.arguments(),
            **self._columns,
            **self._options.arguments(),
            "input_format": "sdf",
            "labels": self._labels_path,
            "labels_content": content_of(self._labels_path),
            "missing_labels": sorted(self._missing),
            **({"relations": self.relations} if self.relations else {}),
        }

    def __iter__(self) -> Iterator[Record]:
        with closing(Table(Source(self._labels_path), self._options)) as table:
            self._bind(table)
            structures, rows = iter(self._structures), table.records(0, self._missing)
            first = list(itertools.islice(structures, PEEK)), list(itertools.islice(rows, PEEK))
            same_ids = self._same_kind(*first)
            pairs = itertools.zip_longest(itertools.chain(first[0], structures), itertools.chain(first[1], rows))
            for number, (structure, row) in enumerate(pairs):
                self.bytes_read = self._structures.bytes_read
                yield self._pair(number, structure, row, same_ids)

    def _same_kind(self, structures: list[Record], rows: list[Record]) -> bool:
        """Tell whether identifiers can be compared."""
        titles = {record.id for record in structures if record.id}
        same_ids = bool(titles & {record.id for record in rows})
        if structures and not same_ids and not any(record.smiles for record in rows):
            raise DataError(
                f"nothing shows that the structures and the rows of {self._labels_path} belong together",
                where=structures[0].source,
                fix="give the table a column of SMILES, or of identifiers as the titles of the SDF records are",
            )
        return same_ids

    def _pair(self, number: int, structure: Record | None, row: Record | None, same_ids: bool) -> Record:
        if structure is None:
            assert row is not None
            fault = None if row.smiles else ("read", "there is no structure for this row of the table")
            return _with_fault(dataclasses.replace(row, row=number), fault)
        if row is None:
            return _with_fault(structure, ("labels", "the table ends before this record"))
        fault = None
        if same_ids and structure.id != row.id:
            fault = ("pair", f"the structure is {structure.id!r}, the row of the table {row.id!r}")
        elif row.stage:
            fault = (row.stage, row.error or "")
        record = dataclasses.replace(structure, id=row.id or structure.id, smiles=row.smiles, labels=row.labels,
                                     bounds=row.bounds)  # fmt: skip
        return _with_fault(record, fault)


def _with_fault(record: Record, fault: tuple[str, str] | None) -> Record:
    """Add a fault, unless the record has one of its own."""
    return record if fault is None or record.stage else dataclasses.replace(record, stage=fault[0], error=fault[1])
