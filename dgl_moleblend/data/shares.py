"""Data sets that are shares of one input (`featurize --shard K/N`): that none is there twice, and which are missing."""

import json
from collections.abc import Sequence
from typing import Any

from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.errors import DataError

_LISTED = 10


def missing_shares(tables: Sequence[MoleculeTable]) -> list[str]:
    """Say which shares of an input are in none of the data sets.

    Parameters
    ----------
    tables : sequence of MoleculeTable
        Those that are no share, or were written before shares were known by number, are passed over.

    Returns
    -------
    list of str
        A sentence for each input (and way of featurizing it) that lacks shares that have rows.

    Raises
    ------
    DataError
        If a share is there twice.
    """
    groups: dict[str, dict[int, MoleculeStore]] = {}
    for table in tables:
        if not isinstance(table, MoleculeStore) or "share" not in (arguments := table.manifest["arguments"]):
            continue
        number, *whole = arguments["share"]
        found = groups.setdefault(_key(table.manifest, whole), {})
        if number in found:
            raise DataError(f"share {number}/{whole[0]} of {_name(table)} is there twice", fix="give each share once",
                            where=f"{found[number].path} and {table.path}")  # fmt: skip
        found[number] = table
    sentences = []
    for found in groups.values():
        first = next(iter(found.values()))
        of = first.manifest["arguments"]["share"][1]
        with_rows = min(of, *(one.manifest.get("blocks", of) for one in found.values()))
        if missing := [f"{k}/{of}" for k in range(1, with_rows + 1) if k not in found]:
            listed = ", ".join(missing[:_LISTED]) + (f", .. ({len(missing):,} in all)" if missing[_LISTED:] else "")
            noun, verb = ("shares", "are") if len(missing) > 1 else ("share", "is")
            sentences.append(f"{noun} {listed} of {_name(first)} {verb} missing: those rows are in no data set here")
    return sentences


def _key(manifest: dict[str, Any], whole: Sequence[int]) -> str:
    """Return what shares of the same rows, featurized in the same way, have in common."""
    arguments = {**manifest["arguments"], "share": whole}
    return json.dumps([manifest["featurizer"], arguments], sort_keys=True)


def _name(store: MoleculeStore) -> str:
    first, *others = store.manifest["sources"]
    return f"{first} and {len(others):,} other files" if others else str(first)
