"""Parts that every report of a training run has: where rows went, the split, how it learned, its settings."""

import shlex
from collections.abc import Mapping
from typing import Any

from dgl_moleblend.report import figures
from dgl_moleblend.report.html import Picture
from dgl_moleblend.report.results import Results, main_curves
from dgl_moleblend.report.words import SPLITS, in_words, number

_LONG = 12  # longer lists of settings are summed up
_OF_ALL = ("metric", "seed")  # settings of a training that count where no network is trained
_OF_CONFORMERS = ("seed", "num_conformers", "optimize", "timeout")


def counts(run: Results) -> list[tuple[str, int, str]]:
    """Where every input row went: name, number, what it was for. All but the first add up to the first."""
    rows, molecules = run.metrics["rows"], int(run.settings["molecules"])
    rejected = len(run.rejects) if run.rejects is not None else 0
    found = [("rows in the input", molecules + rejected, "")]
    if run.replicates:
        tested = run.predictions["row"].nunique()
        note = f"in the test part of one split at least, together {rows['test']:,} times; in another part of the others"
        found.append(("tested", tested, note))
        rows = {"test": tested}
    elif run.folds:
        found.append(("test", rows["test"], "each in one fold, and trained on or validated with in the others"))
    elif run.folds_beside_test:
        found += [("validation", rows["validation"], "each in one fold, and trained on in the others"),
                   ("test", rows["test"], "in no fold; predicted by the mean of all models, at the end")]  # fmt: skip
    else:
        found += [
            ("train", rows["train"], "the model learned from these"),
            (
                "validation",
                rows["validation"],
                "learned from, too: all scores of it are of models that had not seen the row"
                if run.candidates
                else "watched during training; the last weights were kept"
                if run.metrics.get("best", 0) is None
                else "chose the epoch whose weights were kept",
            ),
            ("test", rows["test"], "looked at once, at the end"),
        ]
    unused = molecules - sum(rows.values())
    if unused:
        why = "in no part of the split" if not run.replicates else "tested in none of the splits"
        found.append(("not used" if not run.replicates else "not tested", unused, why))
    return [*found, ("rejected", rejected, "no molecule could be made of these" if rejected else "")]


def split(run: Results) -> dict[str, Any]:
    """Say how the molecules were divided."""
    facts = run.extra.get("facts", {})
    kind = facts.get("split")
    of_one_fold = ("fold", "replicate", "duplicates") if run.folds or run.folds_beside_test else ()
    others = {key: value for key, value in facts.items() if key not in ("split", "split_variant", *of_one_fold)}
    return {
        "kind": kind,
        "variant": run.metrics.get("split_variant", facts.get("split_variant")),
        "text": SPLITS.get(kind, "") if isinstance(kind, str) else "",
        "facts": in_words(_flat(others)),
    }


def learning(run: Results, kept: int | None) -> list[Picture]:
    """One picture for the loss and one for each score, so that they can stand below each other on a phone."""
    if run.runs:
        return []  # each model has a report of its own
    names: dict[str, list[str]] = {}
    curves = main_curves(run.curves, run.metrics["metric"])
    for column in curves.columns:
        stage, _, name = column.partition("/")
        if stage in ("train", "validation") and not name.endswith("_step"):
            names.setdefault(name.removesuffix("_epoch"), []).append(column)
    pictures = []
    for name in sorted(names, key=lambda name: (name != "loss", name)):
        places = [column for column in ("step", "epoch") if column in curves]
        figure = figures.loss_curves(curves[[*places, *names[name]]], kept)
        last = curves[names[name]].ffill().iloc[-1]
        ends = ", ".join(f"{column.partition('/')[0]} {number(last[column])}" for column in names[name])
        mark = "" if kept is None else f"; epoch {kept + 1} is marked, whose weights were kept"
        pictures.append(Picture.of(figure, f"{name} during training; at the end: {ends}{mark}"))
    return pictures


def usage(run: Results, network: str = "") -> dict[str, Any]:
    """Return commands that work with the model, and the columns that its table needs by name.

    Parameters
    ----------
    run : Results
    network : str
        The folder of a network, whose atoms can be drawn; "" where there is none.
    """
    place, given = shlex.quote(str(run.folder)), run.extra["featurizer"].get("positions") == "given"
    several, further = run.extra.get("smiles_columns", []), (run.settings.get("work") or {}).get("columns", [])
    file = "molecules.sdf" if given else "molecules.csv"
    lines = [f"dgl-moleblend predict {place} {file} -o predictions.csv"]
    if not (given or several or further):  # a SMILES alone has no positions, no partner and no columns
        lines.append(f"dgl-moleblend predict {place} -s 'CCO'")
    draws = bool(network) and not several
    if draws:
        molecule = file if given else "-s 'CCO'"
        lines.append(f"dgl-moleblend inspect {molecule} --model {network} --figure atoms.png")
    return {"lines": lines, "molecules": several, "columns": further, "draws": draws}


def settings(run: Results) -> dict[str, dict[str, str]]:
    """Return the settings that were used, and versions, by section, as text."""
    training = run.settings.get("training", {})
    if run.candidates and "network" not in run.candidates:  # what a network would have been trained by
        training = {name: training[name] for name in _OF_ALL if name in training}
    featurizer = run.extra["featurizer"]
    if featurizer.get("positions") != "embed":
        featurizer = {name: value for name, value in featurizer.items() if name not in _OF_CONFORMERS}
    sections: dict[str, Any] = {
        "Input of the model": featurizer,
        "Model": {**run.model.get("encoder", {}), **run.model.get("predictor", run.model.get("sites", {}))},
        "Training": {**training,
                     **{key: run.metrics[key] for key in ("epochs", "steps") if key in run.metrics}},
        **({"Calibration": run.calibration.to_dict()} if run.calibration else {}),
        "Versions": run.versions,
    }  # fmt: skip
    start = run.settings.get("start", run.settings.get("encoder"))
    started_from = start.get("from", start.get("started_from")) if isinstance(start, dict) else start
    if started_from and (not run.candidates or {"frozen", "network"} & {*run.candidates}):
        sections["Model"] = {"started from": started_from, **sections["Model"]}
    return {
        name: flat if name == "Versions" else in_words(flat)
        for name, values in sections.items()
        for flat in [{key: text for key, text in _flat(values).items() if text not in ("", "None")}]
        if flat
    }


def _flat(values: object, prefix: str = "") -> dict[str, str]:
    """Name every value of nested settings, as text."""
    if isinstance(values, list):
        long = len(values) > _LONG or any(isinstance(value, Mapping) for value in values)
        return {prefix: f"{len(values)} value{'s' * (len(values) != 1)}" if long else ", ".join(map(_text, values))}
    if not isinstance(values, Mapping):
        return {prefix: _text(values)}
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}: {key}" if prefix else str(key))
    return flat


def _text(value: object) -> str:
    """Write a number in four digits that tell; run.json and calibration.json have all of them."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
