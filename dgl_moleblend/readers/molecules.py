"""Files of molecules -> records, one for every row, as a stream over all files."""

import logging
import os
from collections.abc import Iterator, Sequence

from dgl_moleblend.readers.files import Source, content_of
from dgl_moleblend.readers.inputs import expand_inputs
from dgl_moleblend.readers.reading import FileOptions
from dgl_moleblend.readers.records import Record
from dgl_moleblend.readers.table import Table

log = logging.getLogger(__name__)


class MoleculeReader:
    r"""Read molecules from files as a stream: every row becomes one `Record`, in order, whatever is in it.

    Parameters
    ----------
    inputs : path or sequence of paths
        Files, folders, globs, or "-" for standard input; each may be packed (.gz, .bz2, .xz, .zst, .zip of one file).
    smiles_column, id_column : str, optional
        By default found by name, whatever its case (`columns.find_smiles`, `columns.find_id`); SMI files hold
        SMILES and name, SDF records a structure, whose title is the identifier.
    task_columns : sequence of str
        Columns or SDF properties of labels: names, patterns such as "NR-*", several of these separated by commas, or
        "all" for every column that holds numbers.
    input_format, encoding, sheet, decimal, charge : optional
        See `dgl_moleblend.readers.reading.FileOptions`. Bytes that are not UTF-8 are read as Windows-1252 with a
        warning.
    missing_labels : sequence of float
        Numbers that stand for a missing label, besides blank and NaN.
    relation_column : str, optional
        Column that says of the one column of labels which of them are bounds (>, <, ..), "" for none. By default those
        that are named after their labels, as "Standard Relation" is beside "Standard Value" (`bounds.find_relations`).
    keep_cells : bool
        Whether records hold every cell of their row.

    Attributes
    ----------
    columns : tuple of str
        Columns of the first file, or properties of its first records.
    task_names : tuple of str
        Columns that the labels come from; the first file decides what patterns stand for.
    classes : dict of str to tuple of str
        Of labels that are words (Active, Inactive): those for class 0, class 1, .., as the first file's first rows say.
    relations : dict of str to str
        Of labels beside which the first file has a column of relations: that column.
    cell_types : dict of str to Arrow type or None
        Of all columns of all files, where cells are kept; None is text. A name that stands twice in a file has a number
        behind it the second time: "x", "x.2". Columns "smiles" and "id" that records have theirs from are left out.

    Raises
    ------
    DataError
        If a file is missing or empty, or has not the columns that are asked for (the message lists those it has).
        While reading: if a compressed file is damaged.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "esol.csv")
    >>> _ = path.write_text("Name,SMILES,logS\nethanol,CCO,1.1\n?,,\n")
    >>> for record in MoleculeReader(path, task_columns=["logS"]):
    ...     print(record.row, record.line, record.id, record.smiles, record.labels, record.error)
    0 2 ethanol CCO (1.1,) None
    1 3 ?  (nan,) the SMILES is blank
    """

    def __init__(
        self,
        inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        smiles_column: str | None = None,
        id_column: str | None = None,
        task_columns: Sequence[str] = (),
        input_format: str | None = None,
        encoding: str | None = None,
        missing_labels: Sequence[float] = (),
        sheet: str | None = None,
        decimal: str | None = None,
        charge: int | None = None,
        relation_column: str | None = None,
        keep_cells: bool = False,
    ) -> None:
        names = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
        self._options = FileOptions(input_format, encoding, sheet, decimal, charge)
        self._names = expand_inputs(names)
        self._smiles_column, self._id_column, self._relation_column = smiles_column, id_column, relation_column
        self._missing = frozenset(map(float, missing_labels))
        self.bytes_read = 0
        self.total_bytes: int | None = None
        if "-" not in self._names:
            self.total_bytes = sum(os.path.getsize(name) for name in self._names)
        first = Table(Source(self._names[0]), self._options)
        try:
            wanted = [task_columns] if isinstance(task_columns, str) else task_columns
            self.task_names = first.find_tasks(wanted, smiles_column, id_column)
            first.bind(smiles_column, id_column, self.task_names, {}, relation_column=relation_column)
            self.relations = first.find_relations(self.task_names, relation_column)
            self._unread = first.unread_relations(self.task_names) if relation_column is None else []
            first.keeps_cells = keep_cells
            self.classes = first.find_classes(self.task_names)
            self._commas = first.find_commas(self.task_names)
        except BaseException:
            first.close()
            raise
        self.columns = tuple(first.columns)
        self.left_out = first.left_out
        self.cell_types = first.cell_types() if keep_cells else {}
        self._keep_cells = keep_cells
        self._stdin = first if self._names[0] == "-" else None  # which cannot be opened again
        if self._stdin is None:
            first.close()
        if keep_cells:
            self._add_cell_types()

    def _add_cell_types(self) -> None:
        """Take up the columns of the other files; one whose types differ is text."""
        for name in self._names[1:]:
            table = Table(Source(name), self._options)
            try:
                self._bind(table)
                for column, kind in table.cell_types().items():
                    same = self.cell_types.setdefault(column, kind) == kind
                    self.cell_types[column] = kind if same else None
            finally:
                table.close()

    def _bind(self, table: Table) -> None:
        table.bind(self._smiles_column, self._id_column, self.task_names, self.classes, self._commas,
                   relation_column=self._relation_column)  # fmt: skip

    def first_cells(self) -> tuple[dict[str, list[object]], frozenset[str]]:
        """Return the cells of the first rows of the first file by column, and the columns that have decimal commas.

        Those of SMILES and identifiers are left out. Of standard input, to be asked before it is read.
        """
        table = self._stdin or Table(Source(self._names[0]), self._options)
        try:
            cells = table.first_cells(self._smiles_column, self._id_column)
            return cells, table.find_commas([*cells])
        finally:
            if self._stdin is None:
                table.close()

    @property
    def sources(self) -> tuple[str, ...]:
        """Files that are read."""
        return tuple("stdin" if name == "-" else name for name in self._names)

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values."""
        return {
            "content": [None if name == "-" else content_of(name) for name in self._names],
            "smiles_column": self._smiles_column,
            "id_column": self._id_column,
            **self._options.arguments(),
            "missing_labels": sorted(self._missing),
            **({"relations": self.relations} if self.relations else {}),
        }

    def __iter__(self) -> Iterator[Record]:
        row = 0
        done = 0
        for column in sorted(self._commas):
            log.warning("the numbers in column %r have a decimal comma (--decimal . reads a point)", column)
        for task, column in self.relations.items():
            log.warning("column %r says which labels of %r are bounds (--relation-column '' reads none)", column, task)
        for column in self._unread:
            log.warning(
                "column %r may say which labels are bounds; it is not read (--relation-column reads it)", column
            )
        for name in self._names:
            table = self._stdin if name == "-" and self._stdin else Table(Source(name), self._options)
            try:
                self._bind(table)
                table.keeps_cells = self._keep_cells
                for record in table.records(row, self._missing):
                    self.bytes_read = done + table.source.position()
                    yield record
                    row += 1
            finally:
                table.close()
            done += table.source.total_bytes or 0
        self.bytes_read = done
