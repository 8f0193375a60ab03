"""One file of molecules, of whatever format: its columns, which of them are wanted, and its rows as records."""

import fnmatch
import itertools
import logging
import math
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.bounds import (
    find_relations,
    names_relations,
    read_bounded,
    read_label,
    read_relation,
    without_relation,
)
from dgl_moleblend.readers.cells import find_classes, has_decimal_commas, number
from dgl_moleblend.readers.columns import apart, find_column, find_id, find_smiles, listed, nearest
from dgl_moleblend.readers.delimited import open_csv, open_tsv
from dgl_moleblend.readers.excel import open_excel
from dgl_moleblend.readers.files import NumberedLines, Source, clean
from dgl_moleblend.readers.formats import STRUCTURES, choose_format
from dgl_moleblend.readers.mol2 import open_mol2
from dgl_moleblend.readers.parquet import open_parquet
from dgl_moleblend.readers.pdb import open_pdb
from dgl_moleblend.readers.reading import FileOptions
from dgl_moleblend.readers.records import Record, Row
from dgl_moleblend.readers.sdf import open_sdf, property_names
from dgl_moleblend.readers.smi import open_smi
from dgl_moleblend.readers.xyz import open_xyz

log = logging.getLogger(__name__)
PEEK = 1_000
"""Rows that are looked at to find the properties of an SDF file, or which columns hold numbers."""
_OPEN_TEXT: dict[str, Callable[[Source, NumberedLines, FileOptions], tuple[list[str], Iterator[Row]]]] = {
    "csv": lambda source, lines, options: open_csv(source, lines),
    "tsv": lambda source, lines, options: open_tsv(source, lines),
    "smi": lambda source, lines, options: open_smi(source, lines),
    "sdf": lambda source, lines, options: open_sdf(source, lines),
    "mol2": lambda source, lines, options: open_mol2(source, lines),
    "xyz": lambda source, lines, options: open_xyz(source, lines, options.charge),
    "pdb": lambda source, lines, options: open_pdb(source, lines, options.charge),
}


class Table:
    """One file: its columns, which of them are wanted, and its rows.

    Parameters
    ----------
    source : Source
    options : FileOptions, optional
        How it is to be read.
    """

    def __init__(self, source: Source, options: FileOptions | None = None) -> None:
        self.source = source
        self._lines: NumberedLines | None = None
        self._options = options or FileOptions()
        self.left_out: dict[str, str] = {}
        self.keeps_cells = False
        self._said: set[str] = set()
        self._commas: dict[str, bool] = {}
        try:
            self.format = choose_format(source, self._options.input_format)
            self._open(self._options)
        except BaseException:
            self.close()
            raise

    def _open(self, options: FileOptions) -> None:
        self._types: list[Any] = []
        if self.format == "parquet":
            self.columns, self._types, rows = open_parquet(self.source)
        elif self.format == "xlsx":
            self.columns, rows = open_excel(self.source, options.sheet)
        else:
            self._lines = NumberedLines(self.source, options.encoding)
            self.columns, rows = _OPEN_TEXT[self.format](self.source, self._lines, options)
        if options.sheet is not None and self.format != "xlsx":
            raise DataError(f"there is no sheet {options.sheet!r}: this is no Excel workbook", where=self.source.name,
                            fix="leave --sheet out")  # fmt: skip
        self.has_structures = self.format in STRUCTURES
        self.peeked = list(itertools.islice(rows, PEEK if self.has_structures else 0))
        if self.has_structures:
            seen: dict[str, None] = {}
            for row in self.peeked:
                seen.update(dict.fromkeys(row.cells))  # type: ignore[arg-type]
            self.columns = list(seen)
        self._own_names = apart(self.columns)
        self._rows = rows

    def rows(self) -> Iterator[Row]:
        """Yield every row of the file."""
        while self.peeked:
            yield self.peeked.pop(0)
        yield from self._rows

    def cell_types(self) -> dict[str, Any]:
        """Return the names of all columns, each once, and their Arrow types; None for text.

        Columns "smiles" and "id" are left out where records have those from them.
        Of an SDF file, names are looked for in all records, or in the first if it can be read but once.
        """
        if self.format == "smi":  # a SMILES and a name, which have no header
            return {}
        names: Sequence[str] = self.columns
        if self.format == "sdf" and self.source.name != "stdin" and len(self.peeked) == PEEK:
            names = [*dict.fromkeys([*names, *property_names(self.source.name, self._options.encoding)])]
        types = dict(zip(apart(names), self._types or itertools.repeat(None), strict=False))
        return {name: kind for name, kind in types.items() if name not in self._read_as_such}

    def _own_cells(self, row: Row) -> dict[str, object]:
        """Return the cells of a row by column, text without bytes that are none."""
        cells: Iterable[tuple[str, object]] = ()
        if isinstance(row.cells, Mapping):
            cells = row.cells.items()
        elif self.format != "smi" and len(row.cells) >= len(self.columns):
            cells = zip(self._own_names, row.cells, strict=False)
        return {name: clean(cell) if isinstance(cell, str) else cell for name, cell in cells
                if name not in self._read_as_such}  # fmt: skip

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()
        self.source.close()

    def find_tasks(self, wanted: Sequence[str], smiles_column: str | None, id_column: str | None) -> tuple[str, ...]:
        """Resolve names, patterns and "all" to columns, each once."""
        found: dict[str, None] = {}
        for text in wanted:
            parts = [text] if text in self.columns else [part.strip() for part in text.split(",") if part.strip()]
            for part in parts:
                if part == "all" and part not in self.columns:
                    skip = {smiles_column, id_column, find_smiles(self.columns), find_id(self.columns), ""}
                    found.update(dict.fromkeys(self._every_label(skip)))
                    continue
                matches = [part] if part in self.columns else fnmatch.filter(self.columns, part)
                if not matches:
                    raise self._no_column("task", part)
                found.update(dict.fromkeys(matches))
        return tuple(found)

    def _every_label(self, skip: Collection[str | None]) -> list[str]:
        """Return all columns of numbers but those to skip; `left_out` then says of each other why it is none."""
        known = set(self._numeric()).difference(skip)
        blank = {name for name in self.columns if name not in known and name not in skip and self._is_blank(name)}
        known |= (later := self._go_on(blank))
        self.left_out = {name: "it is blank" if name in blank - later else "it holds no numbers alone"
                         for name in self.columns if name not in known and name not in skip}  # fmt: skip
        return [name for name in self.columns if name in known]

    def _is_blank(self, name: str) -> bool:
        """Whether a column has nothing in the first rows."""
        return all((value := number(cell)) is not None and math.isnan(value) for cell in self._peek(name))

    def _go_on(self, names: Collection[str]) -> set[str]:
        """Return those columns whose first cell that is not blank, behind the first rows, is a number."""
        numbers: set[str] = set()
        open_still = set(names) if not self.has_structures and len(self.peeked) == PEEK else set()
        if not open_still or self.source.name in ("-", "stdin"):
            return numbers
        again = Table(Source(self.source.name), self._options)
        try:
            for row in itertools.islice(again.rows(), PEEK, None):
                cells = row.cells
                if row.error is not None or isinstance(cells, Mapping):
                    continue
                for name in [*open_still]:
                    found = read_bounded(cells[self.columns.index(name)])
                    if found is None or not math.isnan(found[0]):
                        open_still.remove(name)
                        numbers |= {name} if found is not None else set()
                if not open_still:
                    break
        finally:
            again.close()
        return numbers

    def _peek(self, name: str) -> list[object]:
        """Return the cells of a column in the first rows."""
        self.peeked += itertools.islice(self._rows, PEEK - len(self.peeked))
        key = self.columns.index(name)
        return [
            row.cells.get(name, "") if isinstance(row.cells, Mapping) else row.cells[key]
            for row in self.peeked
            if row.error is None
        ]

    def first_cells(self, smiles_column: str | None, id_column: str | None) -> dict[str, list[object]]:
        """Return the cells of the first rows by column; None in rows that cannot be read.

        Columns of SMILES and identifiers are left out, be they named or found.
        """
        named = [find_column(self.columns, name) for name in (smiles_column, id_column) if name is not None]
        skip = {*named, find_smiles(self.columns), find_id(self.columns), ""}
        names = [name for name in dict.fromkeys(self.columns) if name not in skip]
        if not names:  # rows of standard input are not waited for
            return {}
        places = {name: self.columns.index(name) for name in names}
        self.peeked += itertools.islice(self._rows, PEEK - len(self.peeked))
        found: dict[str, list[object]] = {name: [] for name in names}
        for row in self.peeked:
            cells = {} if row.error is not None else row.cells
            for name in names:
                found[name].append(cells.get(name) if isinstance(cells, Mapping) else cells[places[name]])
        return found

    def _numeric(self) -> list[str]:
        """Columns whose first rows hold numbers or blanks, and at least one number; or two well-known classes."""
        numbers: list[str] = []
        for name in self.columns:
            cells = self._peek(name)
            found = [read_bounded(cell, comma=self.has_commas(name)) for cell in cells]
            values = [None if one is None else one[0] for one in found]
            blank = all(math.isnan(value) for value in values if value is not None)
            if (None not in values and not blank) or find_classes(cells, known=True) is not None:
                numbers.append(name)
        return numbers

    def has_commas(self, name: str) -> bool:
        """Whether the numbers of a column have a decimal comma: as the caller says, else as its first cells say."""
        if self._options.decimal is not None:
            return self._options.decimal == ","
        if name not in self._commas:
            self._commas[name] = has_decimal_commas(map(without_relation, self._peek(name)))
        return self._commas[name]

    def find_commas(self, task_names: Sequence[str]) -> frozenset[str]:
        """Return those labels whose numbers have a decimal comma."""
        return frozenset(name for name in task_names if self.has_commas(name))

    def find_relations(self, task_names: Sequence[str], wanted: str | None) -> dict[str, str]:
        """Return the column of relations of each label that has one: which of its values are bounds."""
        try:
            return find_relations(self.columns, task_names, wanted)
        except DataError as error:
            raise DataError(error.what, where=self.source.name, fix=error.fix) from None

    def unread_relations(self, task_names: Sequence[str]) -> list[str]:
        """Return columns of relations, with bounds in the first rows, that are not read as such of any label."""
        if not task_names:
            return []
        known = {*task_names, *self.find_relations(task_names, None).values()}
        return [name for name in self.columns if name not in known and names_relations(name)
                and any(read_relation(cell) for cell in self._peek(name))]  # fmt: skip

    def find_classes(self, task_names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the words for class 0, class 1, .. of those labels that are words.

        All rows are looked at, as a file may be sorted by class; unless the first have words that everybody knows.
        """
        found = {}
        for name in task_names:
            cells = self._peek(name)
            classes = find_classes(cells, known=True)
            if classes is None:
                with closing(self._behind(name)) as others:
                    classes = find_classes(itertools.chain(cells, others)) or find_classes(cells)
            if classes is not None:
                found[name] = classes
        return found

    def _behind(self, name: str) -> Generator[object]:
        """Yield the cells of a column behind the first rows."""
        if len(self.peeked) < PEEK or self.source.name in ("-", "stdin"):
            return
        again = Table(Source(self.source.name), self._options)
        try:
            for row in itertools.islice(again.rows(), PEEK, None):
                if row.error is None:
                    cells = row.cells
                    yield cells.get(name, "") if isinstance(cells, Mapping) else cells[self.columns.index(name)]
        finally:
            again.close()

    def bind(
        self,
        smiles_column: str | None,
        id_column: str | None,
        task_names: Sequence[str],
        classes: Mapping[str, Sequence[str]],
        commas: Collection[str] = (),
        *,
        relation_column: str | None = None,
        needs_smiles: bool = True,
    ) -> None:
        """Look up the wanted columns; take note of the words for classes, and of labels with a decimal comma."""
        structure = self.has_structures
        self._needs_smiles = needs_smiles
        self._smiles_key = None if structure else self._key("SMILES", smiles_column, find_smiles)
        if self._smiles_key is None and not structure and needs_smiles:
            raise self._no_column("SMILES", None)
        self._id_key = self._key("id", id_column, None if structure else find_id)
        keys = (("smiles", self._smiles_key), ("id", self._id_key))
        self._read_as_such = {
            role
            for role, key in keys
            if key is not None and (self.columns[key] if isinstance(key, int) else key) == role
        }
        self._task_keys = [self._key("task", name) for name in task_names]
        self._task_names = task_names
        self._classes = [classes.get(name) for name in task_names]
        self._with_comma = [name in commas for name in task_names]
        relations = self.find_relations(task_names, relation_column)
        self._relation_keys = [self._key("relation", relations.get(name)) for name in task_names]

    def _key(
        self, role: str, wanted: str | None, find: Callable[[Sequence[str]], str | None] | None = None
    ) -> int | str | None:
        if wanted is None:
            name = None if find is None else find(self.columns)
        elif (name := find_column(self.columns, wanted)) is None:
            raise self._no_column(role, wanted)
        if name is None:
            return None
        if self.columns.count(name) > 1:
            raise DataError(f"{self.columns.count(name)} columns are named {name!r}", where=self.source.name,
                            fix="rename them in the file")  # fmt: skip
        return name if self.has_structures else self.columns.index(name)

    def _no_column(self, role: str, wanted: str | None) -> DataError:
        kind = f"properties of the first {PEEK:,} records" if self.has_structures else "columns"
        what = f"there is no {role} column {wanted!r}" if wanted is not None else f"no column looks like {role}"
        near = None if wanted is None else nearest(wanted, self.columns)
        fix = "name one that there is" if near is None else f"did you mean {near!r}?"
        if role != "task" and wanted is None:  # which more than one option of the command line names
            fix = f"name one with {'--smiles-column' if role == 'SMILES' else '--id-column'}"
        if role == "SMILES" and wanted is None:
            fix += ", or pass --input-format smi if the file has no header"
        return DataError(f"{what}; the {kind} are: {listed(self.columns)}", where=self.source.name, fix=fix)

    def records(self, first_row: int, missing: frozenset[float]) -> Iterator[Record]:
        """Yield every row as a record, numbered from `first_row`."""
        for count, row in enumerate(self.rows(), first_row):
            yield self._record(count, row, missing)

    def _record(self, count: int, row: Row, missing: frozenset[float]) -> Record:
        fixed: dict[str, Any] = {"row": count, "source": self.source.name, "line": row.line}
        if self.keeps_cells:
            fixed["cells"] = self._own_cells(row)
        if row.error is not None:
            smiles = str(row.cells[0]) if isinstance(row.cells, Sequence) and len(row.cells) == 1 else ""
            return Record(**fixed, id=row.title, smiles=smiles, stage="read", error=row.error)
        cells = row.cells
        get = (lambda key: cells.get(key, "")) if isinstance(cells, Mapping) else (lambda key: cells[key])
        identifier = self._text(get(self._id_key), row.line) if self._id_key is not None else row.title
        smiles = self._text(get(self._smiles_key), row.line) if self._smiles_key is not None else ""
        stage = error = None
        if row.structure is None and not smiles and self._needs_smiles:
            stage, error = "read", "the SMILES is blank"
        if self.format == "xyz":
            self._say(f"bonds are found from the positions by RDKit; total charge {row.charge} (charge=N in a comment"
                      " line, or --charge, sets it)", row.line)  # fmt: skip
        labels, bounds = [], []
        for name, key, classes, relation_key, comma in zip(
            self._task_names, self._task_keys, self._classes, self._relation_keys, self._with_comma, strict=True
        ):
            relation = None if relation_key is None else get(relation_key)
            found = read_label(get(key), name, classes, relation, comma=comma)
            if isinstance(found, str):
                stage, error = (stage, error) if error is not None else ("labels", found)
                found = (math.nan, 0)
            is_missing = found[0] in missing
            labels.append(math.nan if is_missing else found[0])
            bounds.append(0 if is_missing else found[1])
        return Record(**fixed, id=identifier, smiles=smiles, structure=row.structure, labels=tuple(labels),
                      bounds=tuple(bounds) if any(bounds) else (),
                      structure_format=self.format if self.has_structures else "sdf", charge=row.charge,
                      stage=stage, error=error)  # type: ignore[arg-type]  # fmt: skip

    def _text(self, value: object, line: int) -> str:
        if value is None:
            return ""
        text = str(value).strip()
        cleaned = clean(text)
        if cleaned is not text:
            self._say("not UTF-8 text, read as Windows-1252 (--encoding sets another)", line)
        return cleaned

    def _say(self, text: str, line: int) -> None:
        """Say something once of this file."""
        if text not in self._said:
            self._said.add(text)
            log.warning("%s: %s", f"{self.source.name}, line {line}" if line > 0 else self.source.name, text)
