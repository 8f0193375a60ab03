"""Which column of a table holds SMILES, which identifiers, which labels: by its name, and by a sample of its values."""

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.cells import class_of, find_classes

SMILES_NAMES = ("smiles", "canonicalsmiles", "isomericsmiles", "cxsmiles", "isosmiles", "mol", "structure", "smi",
                "molecule", "drug")  # fmt: skip
"""Names by which a column of SMILES is known, in small letters and digits alone; the first that is there is taken. A
name that has "smiles" in it (PubChem's, BindingDB's "Ligand SMILES") stands before those that have not."""
ID_NAMES = ("id", "molid", "moleculeid", "compoundid", "cmpdid", "moleculechemblid", "cmpdchemblid", "chemblid",
            "zincid", "cid", "drugid", "idx", "name", "compoundname", "moleculename", "compound", "title")  # fmt: skip
"""Names by which a column of identifiers is known, in small letters and digits alone."""
COUNTERS = ("index", "row", "rowid", "number", "no", "nr", "fold", "split", "set", "partition")
"""Names of columns of numbers that are no labels."""
SHOWN = 30
"""Columns that an error lists."""


def plain(name: object) -> str:
    """Return a column's name without what people write in different ways: case, blanks and marks.

    >>> plain("Canonical_SMILES"), plain("Ligand SMILES")
    ('canonicalsmiles', 'ligandsmiles')
    """
    return re.sub(r"[^a-z0-9]", "", str(name).casefold())


def find_column(header: Sequence[str], wanted: object) -> str | None:
    """Return the column of this name, whatever its case; None if there is none.

    >>> find_column(["a", "A"], "A"), find_column(["pIC50"], " pic50 "), find_column(["pIC50"], "IC50")
    ('A', 'pIC50', None)
    """
    by_fold = {str(name).strip().casefold(): name for name in reversed(header)}
    return wanted if wanted in header else by_fold.get(str(wanted).strip().casefold())  # type: ignore[return-value]


def find_smiles(header: Sequence[str]) -> str | None:
    """Return the column of SMILES, None if no name looks like one.

    Examples
    --------
    >>> find_smiles(["mol", "PUBCHEM_OPENEYE_CAN_SMILES"]), find_smiles(["Drug_ID", "Drug", "Y"]), find_smiles(["x"])
    ('PUBCHEM_OPENEYE_CAN_SMILES', 'Drug', None)
    """
    known = _first(header, SMILES_NAMES)
    if known is not None and "smiles" in plain(known):
        return known
    return next((name for name in header if "smiles" in plain(name)), known)


def find_id(header: Sequence[str]) -> str | None:
    """Return the column of identifiers, None if no name looks like one.

    Examples
    --------
    >>> find_id(["Compound Name", "SMILES"]), find_id(["SMILES", "logS"])
    ('Compound Name', None)
    """
    return _first(header, ID_NAMES)


def _first(header: Sequence[str], known: Sequence[str]) -> str | None:
    by_name = {plain(name): name for name in reversed(header)}
    return next((by_name[name] for name in known if name in by_name), None)


def label_candidates(sample: Mapping[str, Sequence[float | None]], *, skip: Collection[object] = ()) -> list[str]:
    """Return the columns that can be labels: numbers, not all the same, and neither identifiers nor a count of rows.

    Nine in ten of the cells that are not blank have to be numbers: rows of the others are rejected, with a reason.

    Parameters
    ----------
    sample : mapping of column to values
        Of the first rows, one after the other; NaN where the cell is blank, None where it is no number.
    skip : collection of str
        Columns that are known to be something else, such as the SMILES.

    Examples
    --------
    >>> label_candidates({"id": [7, 9], "n": [0, 1], "pIC50": [5.1, 6.2], "unit": [None, None], "Unnamed: 0": [3, 9]})
    ['n', 'pIC50']
    >>> label_candidates({"dose": [1.0] * 9 + [None, 2.0], "note": [1.0, 2.0, None], "entry": [1.0, 2.0, 3.0]})
    ['dose']
    """
    found = []
    for name, values in sample.items():
        if name in skip or _names_no_label(name):
            continue
        numbers = [value for value in values if value is not None and not math.isnan(value)]
        others = values.count(None)
        if len({*numbers}) > 1 and len(numbers) >= 9 * others and not _counts(values):
            found.append(name)
    return found


def class_candidates(cells: Mapping[str, Sequence[object]], *, skip: Collection[object] = ()) -> list[str]:
    """Return the columns of words that can be classes: two to twenty words, each in five of the rows on average.

    Parameters
    ----------
    cells : mapping of column to cells
        Of the first rows.
    skip : collection of str

    Examples
    --------
    >>> class_candidates({"tier": ["low", "high", ""] * 5, "unit": ["nM"] * 15, "who": ["Ann", "Bo", "Cy"], "set": []})
    ['tier']
    """
    found = []
    for name, column in cells.items():
        if name in skip or _names_no_label(name) or (words := find_classes(column)) is None:
            continue
        filled = sum(not math.isnan(value) for cell in column if (value := class_of(cell, words)) is not None)
        if filled >= _ROWS_OF_A_WORD * len(words):
            found.append(name)
    return found


_ROWS_OF_A_WORD = 5


def _names_no_label(name: str) -> bool:
    """Whether a column's name says that it is something else than a label."""
    word = plain(name)
    return word in ID_NAMES or word in COUNTERS or not word or re.fullmatch(r"unnamed\d*", word) is not None


def _counts(values: Sequence[float | None]) -> bool:
    """Whether values go up by one from row to row, as far as they are there."""
    starts = [value - k for k, value in enumerate(values) if value is not None and not math.isnan(value)]
    return len(starts) > 2 and len({*starts}) == 1


def choose_label(candidates: Sequence[str], header: Sequence[str], *, option: str, where: str | None = None) -> str:
    """Return the one column that can be a label.

    Parameters
    ----------
    candidates : sequence of str
        As `label_candidates` finds them, or where it finds none, `class_candidates`.
    header : sequence of str
    option : str
        By which a caller names columns, such as ``--tasks`` or ``target=``.
    where : str, optional
        The file.

    Raises
    ------
    DataError
        If there is none, or there are several, which the message lists.

    Examples
    --------
    >>> choose_label(["pIC50"], ["smiles", "pIC50"], option="--tasks")
    'pIC50'
    """
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise DataError(f"{len(candidates)} columns can be what is to be predicted: {listed(candidates)}", where=where,
                        fix=f"name one, or several, with {option}")  # fmt: skip
    what = ("no column can be what is to be predicted: none but those of identifiers and counts of rows holds numbers"
            f" that differ, or a few words again and again; the columns are: {listed(header)}")  # fmt: skip
    raise DataError(what, where=where, fix=f"name one with {option}; its cells are numbers, or words of some classes")


def no_column(wanted: object, header: Sequence[str], *, option: str, where: str | None = None) -> DataError:
    """Return the error that there is no such column, which suggests one whose name is nearly the same.

    Examples
    --------
    >>> print(no_column("pic50", ["smiles", "pIC50"], option="target="))
    there is no column 'pic50'; the columns are: 'smiles', 'pIC50'
      fix:   did you mean target='pIC50'?
    """
    near = nearest(wanted, header)
    sign = "" if option.endswith("=") else " "
    fix = f"name one that there is with {option}" if near is None else f"did you mean {option}{sign}{near!r}?"
    return DataError(f"there is no column {str(wanted)!r}; the columns are: {listed(header)}", where=where, fix=fix)


def nearest(wanted: object, header: Sequence[str]) -> str | None:
    """Return the column whose name is nearly the same, None if there is none.

    >>> nearest("pic50", ["smiles", "pIC50"]), nearest("x", ["smiles", "pIC50"])
    ('pIC50', None)
    """
    by_name = {plain(name): name for name in reversed(header)}
    near = difflib.get_close_matches(plain(wanted), by_name, n=1, cutoff=0.7)
    return by_name[near[0]] if near else None


def listed(names: Sequence[object]) -> str:
    """Return names in quotes, the first of many."""
    return (", ".join(repr(str(name)) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")) or "none"


def apart(names: Sequence[str]) -> list[str]:
    """Return names of which none stands twice.

    >>> apart(["x", "y", "x"])
    ['x', 'y', 'x.2']
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return found
