"""Predictions of new molecules as a page: a table that sorts, with structures, and the rows that are no molecules."""

import math
from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dgl_moleblend.predict.calibration import deviation_column
from dgl_moleblend.predict.ensemble import COVERAGE, Ensemble
from dgl_moleblend.predict.tables import predicted
from dgl_moleblend.report.html import Picture, title_of, write
from dgl_moleblend.report.trust import TRUST, describe
from dgl_moleblend.report.words import number

DRAWN = 200
"""So many molecules are drawn; the rows of further ones have no picture."""
SHOWN = 5_000
"""So many rows a page holds, of molecules and of rejected ones; a browser is slow with more."""
_OWN = 20  # columns of the input that a page holds
_PLACE = ("row", "source", "line", "id", "smiles")
_LAST = ("similarity", "nearest", "warning", "reason")


def write_predictions(
    table: pd.DataFrame, path: str | PathLike[str], ensemble: Ensemble, *, model: str = "", coverage: float = COVERAGE
) -> list[str]:
    """Write predictions as an HTML page that stands alone: it holds its pictures and script, and loads nothing.

    Parameters
    ----------
    table : DataFrame
        As `Ensemble.predict_table` or `mb.predict` gives it; further columns are a user's own, and are kept.
    path : path
        The page; written whole or not at all.
    ensemble : Ensemble
        That predicted.
    model : str
        What it is called.
    coverage : float
        Of the intervals.

    Returns
    -------
    list of str
        A sentence for each thing that the table has and the page has not.
    """
    tasks = ensemble.task_names
    classifies = ensemble.members[0].task_type != "regression"
    one_of = ensemble.members[0].classes if ensemble.members[0].task_type == "multiclass" else {}
    own = _own(table, (*one_of, *tasks))
    cells = table.loc[table["reason"] == "", own[:_OWN]].head(SHOWN).to_numpy(object)
    table = table.drop(columns=own)  # "x_spread" may be a user's, where there is one model
    kept, lost = table[table["reason"] == ""], table[table["reason"] != ""]
    forms = {name: ".3f" if classifies else _form(kept, name) for name in tasks}
    left_out = _left_out(kept, lost, own)
    write(
        Path(path),
        "predictions.html.jinja",
        title=title_of([*one_of] or tasks),
        model=model,
        tasks=[_head(ensemble, name) for name in tasks],
        classifies=classifies,
        one_of=one_of,
        counts={"rows": len(table), "molecules": len(kept), "rejected": len(lost),
                "warned": int((kept["warning"] != "").sum()) if "warning" in table else None},
        coverage=coverage,
        has_spread=len(ensemble.members) > 1,
        has_interval=any(np.isfinite(kept[f"{name}_lower"]).any() for name in tasks if f"{name}_lower" in table),
        has_deviation=any(deviation_column(name) in table for name in tasks),
        rows_are="" if ensemble.calibration is None else ensemble.calibration.rows_are,
        trust=TRUST,
        sentences=describe(ensemble, coverage),
        own=own[:_OWN],
        knows_similarity="similarity" in table,
        knows_nearest="nearest" in table,
        rows=[_row(row, forms, k < DRAWN) | {"classes": [row[predicted(name)] for name in one_of],
                                             "own": [*map(_text, cells[k])]}
              for k, row in enumerate(kept.head(SHOWN).to_dict("records"))],
        rejected=[_place(row) | {"reason": row["reason"]} for row in lost.head(SHOWN).to_dict("records")],
        left_out=left_out,
    )  # fmt: skip
    return left_out


def _own(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return a user's columns: all that are no result, and those before the first result, whatever they are called."""
    what = ("predicted", "spread", "deviation", "lower", "upper")
    computed = {*(f"{name}_{one}" for name in names for one in what), *_LAST}
    columns = [*table.columns]
    first = min(columns.index(predicted(name)) for name in names)
    return [name for k, name in enumerate(columns) if name not in _PLACE and (k < first or name not in computed)]


def _left_out(kept: pd.DataFrame, lost: pd.DataFrame, own: Sequence[str]) -> list[str]:
    """Say what the page does not hold."""
    texts = []
    if len(kept) > DRAWN:
        texts.append(f"structures are drawn for the first {DRAWN:,} of {len(kept):,} molecules")
    for name, rows in (("molecules", kept), ("rejected rows", lost)):
        if len(rows) > SHOWN:
            texts.append(f"the page holds the first {SHOWN:,} of {len(rows):,} {name}; a .csv or .parquet holds all")
    if len(own) > _OWN:
        texts.append(f"the page holds the first {_OWN} of {len(own)} other columns of the input; a .csv holds all")
    return texts


def _head(ensemble: Ensemble, name: str) -> dict[str, str]:
    """Name a prediction, which may stand beside what was measured, with its unit or what class 1 is."""
    zero_one = ensemble.members[0].classes.get(name)
    about = f"probability of {zero_one[1]}" if zero_one else ensemble.units.get(name, "")
    return {"name": name, "heading": f"{name} predicted", "about": about}


def _place(row: dict[Hashable, Any]) -> dict[str, Any]:
    """Return where a row comes from, and what it says it is."""
    line = row.get("line")
    where = "" if line is None or pd.isna(line) else f"line {int(line):,}"
    return {"row": row.get("row", ""), "where": where, "id": _text(row.get("id", "")), "smiles": _text(row["smiles"])}


def _form(kept: pd.DataFrame, name: str) -> str | None:
    """Return the format of a property's numbers: decimals that its interval, or its size, bears; None for odd sizes."""
    values = kept[predicted(name)].abs()
    digits, typical = 3, values.median()
    if f"{name}_upper" in kept:
        width = (kept[f"{name}_upper"] - kept[predicted(name)]).replace(math.inf, math.nan).median()
        if not math.isnan(width):
            digits, typical = 2, width
    if not 1e-5 < typical < 1e6:
        return None
    return f".{max(0, digits - 1 - math.floor(math.log10(typical)))}f"


def _row(row: dict[Hashable, Any], forms: Mapping[str, str | None], draw: bool) -> dict[str, Any]:
    nearest = row.get("nearest", "")
    similarity = row.get("similarity", math.nan)
    return {
        **_place(row),
        "picture": Picture.of_molecule(row["smiles"], 200, 140) if draw else None,
        "values": [_value(row, name, form) for name, form in forms.items()],
        "similarity": similarity,
        "nearest": nearest,
        "nearest_picture": Picture.of_molecule(nearest, 200, 140) if draw and nearest else None,
        "warning": row.get("warning", ""),
    }  # fmt: skip


def _value(row: dict[Hashable, Any], name: str, form: str | None) -> dict[str, Any]:
    """Return a prediction, as number and text, and in words how far off it may be."""

    def text(value: float) -> str:
        return number(value) if form is None else format(value, form).replace("-", "\N{MINUS SIGN}")

    value = row[predicted(name)]
    lower, upper, spread = (row.get(f"{name}_{what}", math.nan) for what in ("lower", "upper", "spread"))
    about, deviation = [], row.get(deviation_column(name), math.nan)
    if math.isfinite(lower) and math.isfinite(upper):
        about.append(f"{text(lower)} to {text(upper)}")
    elif math.isfinite(spread):
        about.append(f"spread {text(spread)}")
    if math.isfinite(deviation):
        about.append(f"deviation {number(deviation)}")
    return {"value": value, "text": text(value), "about": about}


def _text(value: Any) -> str:
    return "" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)
