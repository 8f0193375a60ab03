"""Which column of a table holds SMILES, which identifiers: by its name."""

import difflib
import re
from collections.abc import Sequence

from dgl_moleblend.errors import DataError

SMILES_NAMES = ("smiles", "canonicalsmiles", "isomericsmiles", "cxsmiles", "isosmiles", "mol", "structure", "smi",
                "molecule", "drug")  # fmt: skip
"""Names by which a column of SMILES is known, in small letters and digits alone; the first that is there is taken. A
name that has "smiles" in it (PubChem's, BindingDB's "Ligand SMILES") stands before those that have not."""
ID_NAMES = ("id", "molid", "moleculeid", "compoundid", "cmpdid", "moleculechemblid", "cmpdchemblid", "chemblid",
            "zincid", "cid", "drugid", "idx", "name", "compoundname", "moleculename", "compound", "title")  # fmt: skip
"""Names by which a column of identifiers is known, in small letters and digits alone."""
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
