"""CSV, TSV, SMI, SDF and Parquet files -> records, one for every row; the only reader of molecule files."""

import csv
import fnmatch
import itertools
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.files import MAX_LINE, NumberedLines, Source, clean, content_of, expand_inputs

log = logging.getLogger(__name__)

FORMATS = ("csv", "tsv", "smi", "sdf", "parquet")
SMILES_COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "cxsmiles", "canonicalsmiles", "isosmiles", "mol",
                  "structure", "smi", "molecule")  # fmt: skip
"""Names by which a column of SMILES is known, whatever their case; the first that is there is taken."""
ID_COLUMNS = ("id", "mol_id", "molecule_id", "compound_id", "compound id", "cmpd_id",
              "molecule_chembl_id", "cmpd_chemblid", "chembl_id", "zinc_id", "cid", "idx", "name", "title")  # fmt: skip
"""Names by which a column of identifiers is known."""
MISSING = frozenset(("", "na", "n/a", "nan", "-nan", "null", "none", "<na>", "#n/a", "#na", "1.#qnan", "-1.#ind"))
"""Texts that stand for a missing label, in lower case."""
PEEK = 1_000
"""Rows that are looked at to find the properties of an SDF file, or which columns hold numbers."""
MAX_RECORD_LINES = 1_000  # of a CSV row whose quoted text holds line ends; more means that a quote is not closed
MAX_RECORD_TEXT = 1 << 24  # characters of an SDF record
_SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".smi": "smi", ".smiles": "smi", ".cxsmiles": "smi", ".ism": "smi",
    ".sdf": "sdf", ".sd": "sdf", ".mol": "sdf", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_BOOLEANS = {"true": 1.0, "false": 0.0}
_FLOAT32_MAX = 3.4028234e38


@dataclass(frozen=True, eq=False)
class Record:
    """One row of the input: a molecule as text, or why the row could not be read.

    Parameters
    ----------
    row : int
        0-based number, counted over all files.
    source : str
        The file.
    line : int
        Line of the file as an editor shows it, from 1 (of several, the first); -1 where a file has no lines.
    id : str
        Identifier, "" where there is none.
    smiles : str
        SMILES as given, "" where the row holds a structure.
    molblock : str or None
        Structure of an SDF record. If the row holds SMILES, too, they must be of the same atoms.
    mol : RDKit Mol or None
        The molecule itself, where it never was text; whatever is given, reading it says what is wrong with it.
    atoms, positions : tuple of n str and ndarray, shape (c, n, 3), angstrom; or None
        Elements and conformers of the molecule that the SMILES is of, where a file gives them as numbers.
    labels : tuple of float
        One value per task; NaN = missing.
    stage, error : str or None
        Set if the row cannot be used: "read" or "labels", and the reason.
    """

    row: int
    source: str
    line: int
    id: str = ""
    smiles: str = ""
    molblock: str | None = None
    mol: Any = None
    atoms: tuple[str, ...] | None = None
    positions: np.ndarray | None = None
    labels: tuple[float, ...] = ()
    stage: str | None = None
    error: str | None = None

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.source}, line {self.line}" if self.line > 0 else f"{self.source}, row {self.row}"


@dataclass
class _Row:
    """A row of one file: cells by column number (tables) or property name (SDF)."""

    line: int
    cells: Sequence[object] | Mapping[str, str] = ()
    title: str = ""
    molblock: str | None = None
    error: str | None = None


@runtime_checkable
class Reader(Protocol):
    """What the pipeline takes records from."""

    @property
    def bytes_read(self) -> int: ...  # noqa: D102

    @property
    def total_bytes(self) -> int | None: ...  # noqa: D102

    @property
    def sources(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def task_names(self) -> tuple[str, ...]: ...  # noqa: D102

    def arguments(self) -> dict[str, object]: ...  # noqa: D102

    def __iter__(self) -> Iterator[Record]: ...


class MoleculeReader:
    r"""Read molecules from files as a stream: every row becomes one `Record`, in order, whatever is in it.

    Parameters
    ----------
    inputs : path or sequence of paths
        Files, globs, or "-" for standard input; each may be gzipped.
    smiles_column, id_column : str, optional
        By default found by name, whatever its case (`SMILES_COLUMNS`, `ID_COLUMNS`); SMI files hold SMILES and name,
        SDF records a structure, whose title is the identifier.
    task_columns : sequence of str
        Columns or SDF properties of labels: names, patterns such as "NR-*", several of these separated by commas, or
        "all" for every column that holds numbers.
    input_format : {"csv", "tsv", "smi", "sdf", "parquet"}, optional
        By default known from the file's name, else from its content.
    encoding : str, optional
        Of text; by default UTF-8, and bytes that are not UTF-8 are read as Windows-1252 with a warning.
    missing_labels : sequence of float
        Numbers that stand for a missing label, besides blank and NaN.

    Attributes
    ----------
    columns : tuple of str
        Columns of the first file, or properties of its first records.
    task_names : tuple of str
        Columns that the labels come from; the first file decides what patterns stand for.

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
    ) -> None:
        names = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
        self._names = expand_inputs(names)
        self._smiles_column, self._id_column = smiles_column, id_column
        self._format, self._encoding = input_format, encoding
        self._missing = frozenset(map(float, missing_labels))
        if input_format is not None and input_format not in FORMATS:
            raise DataError(f"input_format={input_format!r} is not allowed", fix=f"one of {', '.join(FORMATS)}")
        self.bytes_read = 0
        self.total_bytes: int | None = None
        if "-" not in self._names:
            self.total_bytes = sum(os.path.getsize(name) for name in self._names)
        first = Table(Source(self._names[0]), input_format, encoding)
        try:
            wanted = [task_columns] if isinstance(task_columns, str) else task_columns
            self.task_names = first.find_tasks(wanted, smiles_column, id_column)
            first.bind(smiles_column, id_column, self.task_names)
        except BaseException:
            first.close()
            raise
        self.columns = tuple(first.columns)
        self._stdin = first if self._names[0] == "-" else None  # which cannot be opened again
        if self._stdin is None:
            first.close()

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
            "input_format": self._format,
            "encoding": self._encoding,
            "missing_labels": sorted(self._missing),
        }

    def __iter__(self) -> Iterator[Record]:
        row = 0
        done = 0
        for name in self._names:
            table = self._stdin if name == "-" and self._stdin else Table(Source(name), self._format, self._encoding)
            try:
                table.bind(self._smiles_column, self._id_column, self.task_names)
                for record in table.records(row, self._missing):
                    self.bytes_read = done + table.source.position()
                    yield record
                    row += 1
            finally:
                table.close()
            done += table.source.total_bytes or 0
        self.bytes_read = done


class Table:
    """One file: its columns, which of them are wanted, and its rows.

    Parameters
    ----------
    source : Source
    input_format, encoding : str, optional
        See `MoleculeReader`.
    """

    def __init__(self, source: Source, input_format: str | None, encoding: str | None) -> None:
        self.source = source
        self._lines: NumberedLines | None = None
        self._warned = False
        try:
            self.format = input_format or guess_format(source)
            self._open(encoding)
        except BaseException:
            self.close()
            raise

    def _open(self, encoding: str | None) -> None:
        if self.format == "parquet":
            self.columns, rows = _open_parquet(self.source)
        else:
            self._lines = NumberedLines(self.source, encoding)
            open_text = {"csv": _open_csv, "tsv": _open_tsv, "smi": _open_smi, "sdf": _open_sdf}[self.format]
            self.columns, rows = open_text(self.source, self._lines)
        self.peeked = list(itertools.islice(rows, PEEK if self.format == "sdf" else 0))
        if self.format == "sdf":
            seen: dict[str, None] = {}
            for row in self.peeked:
                seen.update(dict.fromkeys(row.cells))  # type: ignore[arg-type]
            self.columns = list(seen)
        self._rows = rows

    def rows(self) -> Iterator[_Row]:
        """Yield every row of the file."""
        while self.peeked:
            yield self.peeked.pop(0)
        yield from self._rows

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
                    skip = {smiles_column, id_column, self._detect(SMILES_COLUMNS), self._detect(ID_COLUMNS), ""}
                    found.update(dict.fromkeys(name for name in self._numeric() if name not in skip))
                    continue
                matches = [part] if part in self.columns else fnmatch.filter(self.columns, part)
                if not matches:
                    raise self._no_column("task", part)
                found.update(dict.fromkeys(matches))
        return tuple(found)

    def _numeric(self) -> list[str]:
        """Columns whose first rows hold numbers or blanks, and at least one number."""
        self.peeked += itertools.islice(self._rows, PEEK - len(self.peeked))
        numbers: list[str] = []
        for key, name in enumerate(self.columns):
            values = [
                _number(row.cells.get(name, "") if isinstance(row.cells, Mapping) else row.cells[key])
                for row in self.peeked
                if row.error is None
            ]
            if None not in values and not all(math.isnan(value) for value in values if value is not None):
                numbers.append(name)
        return numbers

    def bind(
        self,
        smiles_column: str | None,
        id_column: str | None,
        task_names: Sequence[str],
        *,
        needs_smiles: bool = True,
    ) -> None:
        """Look up the wanted columns."""
        structure = self.format == "sdf"
        self._needs_smiles = needs_smiles
        self._smiles_key = None if structure else self._key("SMILES", smiles_column, SMILES_COLUMNS)
        if self._smiles_key is None and not structure and needs_smiles:
            raise self._no_column("SMILES", None)
        self._id_key = self._key("id", id_column, () if structure else ID_COLUMNS)
        self._task_keys = [self._key("task", name, ()) for name in task_names]
        self._task_names = task_names

    def _detect(self, known: Sequence[str]) -> str | None:
        by_fold = {name.strip().casefold(): name for name in reversed(self.columns)}
        return next((by_fold[name] for name in known if name in by_fold), None)

    def _key(self, role: str, wanted: str | None, known: Sequence[str]) -> int | str | None:
        name = wanted if wanted is None or wanted in self.columns else self._detect([wanted.strip().casefold()])
        if wanted is None:
            name = self._detect(known)
        elif name is None:
            raise self._no_column(role, wanted)
        if name is None:
            return None
        if self.columns.count(name) > 1:
            raise DataError(f"{self.columns.count(name)} columns are named {name!r}", where=self.source.name,
                            fix="rename them in the file")  # fmt: skip
        return name if self.format == "sdf" else self.columns.index(name)

    def _no_column(self, role: str, wanted: str | None) -> DataError:
        shown = ", ".join(map(repr, self.columns[:30])) + (", ..." if len(self.columns) > 30 else "")
        kind = f"properties of the first {PEEK:,} records" if self.format == "sdf" else "columns"
        what = f"there is no {role} column {wanted!r}" if wanted is not None else f"no column looks like {role}"
        fix = "name one that there is"
        if role != "task":  # which more than one option of the command line names
            fix = f"name one with {'--smiles-column' if role == 'SMILES' else '--id-column'}"
        if role == "SMILES" and wanted is None:
            fix += ", or pass --input-format smi if the file has no header"
        return DataError(f"{what}; the {kind} are: {shown or 'none'}", where=self.source.name, fix=fix)

    def records(self, first_row: int, missing: frozenset[float]) -> Iterator[Record]:
        """Yield every row as a record, numbered from `first_row`."""
        for number, row in enumerate(self.rows(), first_row):
            yield self._record(number, row, missing)

    def _record(self, number: int, row: _Row, missing: frozenset[float]) -> Record:
        fixed: dict[str, Any] = {"row": number, "source": self.source.name, "line": row.line}
        if row.error is not None:
            smiles = str(row.cells[0]) if isinstance(row.cells, Sequence) and len(row.cells) == 1 else ""
            return Record(**fixed, id=row.title, smiles=smiles, stage="read", error=row.error)
        cells = row.cells
        get = (lambda key: cells.get(key, "")) if isinstance(cells, Mapping) else (lambda key: cells[key])
        identifier = self._text(get(self._id_key), row.line) if self._id_key is not None else row.title
        smiles = self._text(get(self._smiles_key), row.line) if self._smiles_key is not None else ""
        stage = error = None
        if row.molblock is None and not smiles and self._needs_smiles:
            stage, error = "read", "the SMILES is blank"
        labels = []
        for name, key in zip(self._task_names, self._task_keys, strict=True):
            value = _number(get(key))
            if value is None and error is None:
                stage, error = "labels", f"the label {str(get(key))[:100]!r} in column {name!r} is not a finite number"
            labels.append(math.nan if value is None or value in missing else value)
        return Record(**fixed, id=identifier, smiles=smiles, molblock=row.molblock, labels=tuple(labels),
                      stage=stage, error=error)  # type: ignore[arg-type]  # fmt: skip

    def _text(self, value: object, line: int) -> str:
        if value is None:
            return ""
        text = str(value).strip()
        cleaned = clean(text)
        if cleaned is not text and not self._warned:
            self._warned = True
            where = f"{self.source.name}, line {line}" if line > 0 else self.source.name
            log.warning("%s: not UTF-8 text, read as Windows-1252 (--encoding sets another)", where)
        return cleaned


def _number(cell: object) -> float | None:
    """Return a label as a number, NaN where it is missing, None where it is neither.

    >>> _number(" 0.5 "), _number("NaN"), _number("true"), _number(">10")
    (0.5, nan, 1.0, None)
    """
    if cell is None:
        return math.nan
    if not isinstance(cell, str):
        try:
            value = float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
        return value if math.isnan(value) or abs(value) <= _FLOAT32_MAX else None
    text = cell.strip()
    try:
        value = float(text)
    except ValueError:
        folded = text.casefold()
        return math.nan if folded in MISSING else _BOOLEANS.get(folded)
    if "_" in text:  # a digit separator in Python, but in no table
        return None
    return value if math.isnan(value) or abs(value) <= _FLOAT32_MAX else None


def names_molecules(name: str) -> str | None:
    """Return the format that a file's name tells; no SMILES ends so.

    >>> names_molecules("esol.csv.gz"), names_molecules("C(=O)O"), names_molecules("[Na+].[Cl-]")
    ('csv', None, None)
    """
    suffixes = [suffix.casefold() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in (".gz", ".gzip"):
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def guess_format(source: Source) -> str:
    """Tell a file's format from its name, else from its first bytes."""
    if (found := names_molecules(source.name)) is not None:
        return found
    head = source.head()
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.decode("utf-8-sig", "replace")
    lines = text.splitlines()
    if any(re.search(r"V[23]000\s*$", line) for line in lines[:6]):
        return "sdf"
    cells = re.split(r"[,;\t]", lines[0]) if lines else []
    folded = {cell.strip().strip('"').casefold() for cell in cells}
    return "csv" if folded & set(SMILES_COLUMNS) or len(cells) > 1 else "smi"


def _open_csv(source: Source, lines: NumberedLines, delimiter: str | None = None) -> tuple[list[str], Iterator[_Row]]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE + 1))
    for header in lines:
        if header.strip():
            break
    else:
        raise DataError("the file is empty", where=source.name, fix="export it again")
    if delimiter is None:
        outside = re.sub(r'"[^"]*"', "", header)
        delimiter = max(",;\t", key=outside.count)
    while True:
        try:
            columns = next(csv.reader([*lines.taken], delimiter=delimiter, strict=True), [])
            break
        except csv.Error as error:  # a quoted name that holds a line end
            if len(lines.taken) > MAX_RECORD_LINES or next(lines, None) is None:
                raise DataError(f"the header cannot be read: {error}", where=source.name,
                                fix="correct its quotes") from error  # fmt: skip
    return [clean(name.strip()) for name in columns], _csv_rows(lines, delimiter, len(columns))


def _open_tsv(source: Source, lines: NumberedLines) -> tuple[list[str], Iterator[_Row]]:
    return _open_csv(source, lines, "\t")


class _OpenQuoteError(Exception):
    """A CSV row goes on for too long, or to the end of the file."""


def _csv_rows(lines: NumberedLines, delimiter: str, width: int) -> Iterator[_Row]:
    """One row per line, or per record where quoted text holds line ends.

    A quote that is not closed would swallow the rows after it: then its own line is the fault, and reading goes on
    with the next.
    """

    def guarded() -> Iterator[str]:
        for line in lines:
            if len(lines.taken) > MAX_RECORD_LINES:
                raise _OpenQuoteError
            yield line
        if lines.taken:
            raise _OpenQuoteError

    reader = csv.reader(guarded(), delimiter=delimiter)
    while True:
        lines.mark()
        error = None
        cells: list[str] = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _OpenQuoteError:
            error = "a quote is not closed"
        except csv.Error as fault:
            error = str(fault)
        if cells and (len(cells) < width or any(cell.strip() for cell in cells[width:])):
            error = f"the row has {len(cells)} fields, the header {width}"
        first_line = lines.number - len(lines.taken) + 1
        if error is not None:
            if len(lines.taken) > 1:
                error += "; the lines after the first were read as rows of their own"
            lines.give_back()
            reader = csv.reader(guarded(), delimiter=delimiter)
        if len(lines.taken) == 1 or error is None:
            error = _fault(lines) or error
        if error is not None:
            yield _Row(first_line, error=error)
        elif cells:
            yield _Row(first_line, cells)


def _fault(lines: NumberedLines) -> str | None:
    """Say what makes the lines since the last mark unusable."""
    if lines.too_long:
        return f"the line is longer than {MAX_LINE:,} characters"
    return "the line holds NUL bytes" if lines.has_nul else None


def _open_smi(source: Source, lines: NumberedLines) -> tuple[list[str], Iterator[_Row]]:
    """SMILES, optional CXSMILES extension, name; or, if the first line is a header, a table."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), None)
    if first is None:
        raise DataError("the file is empty", where=source.name, fix="export it again")
    delimiter = "\t" if "\t" in first else None
    header = [cell.strip() for cell in first.split(delimiter)]
    if header[0].casefold() in SMILES_COLUMNS:
        return header, _smi_rows(lines, None, delimiter, len(header))
    return ["smiles", "name"], _smi_rows(lines, first, None, 0)


def _smi_rows(lines: NumberedLines, first: str | None, delimiter: str | None, width: int) -> Iterator[_Row]:
    for line in itertools.chain([] if first is None else [first], lines):
        text = line.strip()
        if (text and not text.startswith("#")) or lines.has_nul:
            error = _fault(lines)
            cells: list[str] = list(_split_smi(text)) if not width else text.split(delimiter)
            if width and len(cells) != width and error is None:
                error = f"the row has {len(cells)} fields, the header {width}"
            yield _Row(lines.number, cells[:1] if error else cells, error=error)
        lines.mark()


def _split_smi(text: str) -> tuple[str, str]:
    r"""Split a line in SMILES (with its CXSMILES extension) and name.

    >>> _split_smi("CCO |(0,0,;1.5,0,;2,1,)| ethyl alcohol")
    ('CCO |(0,0,;1.5,0,;2,1,)|', 'ethyl alcohol')
    """
    smiles, _, rest = text.partition("\t" if "\t" in text.split(" ")[0] else " ")
    rest = rest.strip()
    if rest.startswith("|") and "|" in rest[1:]:
        end = rest.index("|", 1) + 1
        smiles, rest = f"{smiles} {rest[:end]}", rest[end:].strip()
    return smiles, rest


_PROPERTY = re.compile(r"^>[^<]*<(.*)>")


def _open_sdf(source: Source, lines: NumberedLines) -> tuple[list[str], Iterator[_Row]]:
    if not source.head():
        raise DataError("the file is empty", where=source.name, fix="export it again")
    return [], _sdf_rows(lines)


def _sdf_rows(lines: NumberedLines) -> Iterator[_Row]:
    """One row per record; records end with a line that begins with $$$$."""
    start, size = 1, 0
    record: list[str] = []
    too_long = has_nul = False
    for line in lines:
        too_long |= lines.too_long
        has_nul |= lines.has_nul
        lines.mark()
        if line.startswith("$$$$"):
            yield _sdf_row(start, record, too_long, has_nul)
            start, size, record = lines.number + 1, 0, []
            too_long = has_nul = False
            continue
        size += len(line)
        if size > MAX_RECORD_TEXT:
            too_long = True
        else:
            record.append(line)
    if too_long or has_nul or any(line.strip() for line in record):
        yield _sdf_row(start, record, too_long, has_nul)


def _sdf_row(start: int, record: list[str], too_long: bool, has_nul: bool) -> _Row:
    title = clean(record[0].strip())[:200] if record else ""
    ends = [k for k, line in enumerate(record) if line.startswith("M  END")]
    error = None
    if too_long:
        error = f"the record is longer than {MAX_RECORD_TEXT:,} characters"
    elif has_nul:
        error = "the record holds NUL bytes"
    elif not any(line.strip() for line in record):
        error = "the record is empty"
    elif not ends:
        error = "the record has no 'M  END': it is cut off"
    elif len(ends) > 1:
        error = f"the record holds {len(ends)} structures: a line $$$$ is missing between them"
    if error is not None:
        return _Row(start, {}, title=title, error=error)
    body = "".join(record[: ends[0] + 1]).replace("\r\n", "\n").replace("\r", "\n")
    return _Row(start, _sdf_properties(record[ends[0] + 1 :]), title=title, molblock=clean(body))


def _sdf_properties(record: list[str]) -> dict[str, str]:
    properties: dict[str, list[str]] = {}
    values: list[str] | None = None
    for line in record:
        text = line.rstrip("\r\n")
        if values is None or not text.strip():
            match = _PROPERTY.match(text)
            values = properties.setdefault(clean(match[1]), []) if match else None
        else:
            values.append(text)
    return {name: clean("\n".join(lines)) for name, lines in properties.items()}


def _open_parquet(source: Source) -> tuple[list[str], Iterator[_Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(source.seekable())
        names = list(file.schema_arrow.names)
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

    def rows() -> Iterator[_Row]:
        count = 0
        try:
            for batch in file.iter_batches(batch_size=4096):
                for cells in zip(*map(values, batch.columns), strict=True):
                    yield _Row(-1, cells)
                count += batch.num_rows
            if count != file.metadata.num_rows:
                raise pa.ArrowInvalid(f"it has {count:,} rows and says that there are {file.metadata.num_rows:,}")
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"the Parquet file is damaged: {error}", where=source.name, fix="export it again"
            ) from error

    return names, rows()
