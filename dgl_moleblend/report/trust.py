"""What may be held of predictions of new molecules: how they were calibrated, and when to trust an interval."""

import numpy as np

from dgl_moleblend.predict.ensemble import Ensemble

TRUST = (
    "An interval can be trusted for a molecule like those that the model was calibrated on; of new scaffolds, and "
    "where there is a warning, fewer measured values than promised may lie within."
)


def describe(ensemble: Ensemble, coverage: float) -> list[str]:
    """Say how many models predicted, and what was calibrated, on how many rows."""
    texts = [f"mean of {len(ensemble.members)} models"] if len(ensemble.members) > 1 else []
    classes = ensemble.members[0].classes
    if ensemble.members[0].task_type == "multiclass":
        return texts + [f"{name}: the most probable of {', '.join(map(repr, words))}; {_of_classes(ensemble)}"
                        for name, words in classes.items()]  # fmt: skip
    texts += [f"{name}: probability of {one!r} ({zero!r} is class 0)" for name, (zero, one) in classes.items()]
    rows_are = "" if ensemble.calibration is None else ensemble.calibration.rows_are
    for name, task in ({} if ensemble.calibration is None else ensemble.calibration.tasks).items():
        if ensemble.members[0].task_type == "classification":
            how = "as the model gives them: to rescale them did not help on" if task.platt is None else "rescaled by"
            if not task.rows:
                how = "as the model gives them: nothing was measured of it, in"
            texts.append(f"{name}: probabilities {how} {task.rows:,} {rows_are}")
            continue
        width = np.atleast_1d(task.half_width(coverage))
        if width[0] == float("inf"):
            texts.append(f"{name}: {task.rows:,} {rows_are} are too few for a coverage of {coverage:.0%}:"
                         " the interval is infinite")  # fmt: skip
            continue
        wide = f"{width[0]:.3g}" if len(width) == 1 else f"{width[0]:.3g} to {width[-1]:.3g}"
        text = f"{name}: interval of +-{wide} for a coverage of {coverage:.0%}, by {task.rows:,} {rows_are}"
        if (share := task.test.get("covered", {}).get(str(coverage))) is not None:
            which = "those of the single models" if "folds" in task.test else "it"
            text += f"; {which} held {share:.0%} of {task.test['rows']:,} test rows"
        texts.append(text)
    return texts


def _of_classes(ensemble: Ensemble) -> str:
    """Say whether the probabilities of several classes are rescaled."""
    found = ensemble.calibration
    if found is None:
        return "their probabilities are as the model gives them"
    rows = f"{next(iter(found.tasks.values())).rows:,} {found.rows_are}"
    if found.temperature is None:
        return f"their probabilities are as the model gives them: to rescale them did not help on {rows}"
    return f"their probabilities are rescaled by {rows} (temperature {found.temperature:.3g})"
