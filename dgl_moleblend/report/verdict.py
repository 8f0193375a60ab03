"""The verdict on a fine-tuned model: good, fair or poor, and how it stands beside simpler models."""

from dataclasses import dataclass

from dgl_moleblend.models.scores import LOWER_IS_BETTER
from dgl_moleblend.report.results import Results
from dgl_moleblend.report.words import METRIC_NAMES

_GOOD = {"r2": 0.7, "roc_auc": 0.8}
_FAIR = {"r2": 0.3, "roc_auc": 0.65}
_SAME = 0.01
_WORSE = "Worse"
_BESIDE = {"forest": "a random forest", "kernel": "the kernel machine alone"}


@dataclass(frozen=True)
class Verdict:
    """A word, why it is said, and how the model stands beside others.

    Parameters
    ----------
    word : {"good", "fair", "poor", "unknown"}
    reason : str
    beside : tuple of str
        A sentence for each simpler model that was scored on the test rows; of a poor model, for those that are better.
    """

    word: str
    reason: str
    beside: tuple[str, ...] = ()


def verdict(run: Results) -> Verdict:
    """Judge by the share of the spread explained (R²) or by ranking (ROC AUC), the mean over properties."""
    scores = run.metrics[run.part]
    metric = "roc_auc" if run.classifies else "r2"
    value = scores.get(metric)
    if value is None:
        return Verdict("unknown", f"No {METRIC_NAMES[metric]} can be computed for the {run.part} rows.")
    several = f", the mean over {'classes' if run.one_of else 'properties'}" if len(run.tasks) > 1 else ""
    reason = f"{METRIC_NAMES[metric]} {value:.2f}".replace("-", "\N{MINUS SIGN}") + f" on {run.part} rows{several}"
    return grade(metric, value, reason, tuple(_beside(run)))


def grade(metric: str, value: float, reason: str, beside: tuple[str, ...] = ()) -> Verdict:
    """Find the word for a value of R² or ROC AUC, and say from where on it would be another."""
    word = "good" if value >= _GOOD[metric] else "fair" if value >= _FAIR[metric] else "poor"
    if word == "poor":  # to be better than what is no good either is no praise
        beside = tuple(sentence for sentence in beside if sentence.startswith(_WORSE))
    return Verdict(word, f"{reason}; good from {_GOOD[metric]:.2f}, fair from {_FAIR[metric]:.2f}.", beside)


def _beside(run: Results) -> list[str]:
    metric = run.metrics["metric"]
    own = run.metrics["test"].get(metric)
    found = []
    for name, words in _BESIDE.items():
        other = (run.candidates or {}).get(name, {}).get("test", {}).get(metric)
        if own is None or not other or other <= 0:
            continue
        gain = 1 - own / other if metric in LOWER_IS_BETTER else own / other - 1
        if abs(gain) < _SAME:
            found.append(f"As good as {words}, by {METRIC_NAMES.get(metric, metric)} on test rows.")
        else:
            better = "Better" if gain > 0 else _WORSE
            found.append(f"{better} than {words} by {abs(gain):.0%} ({METRIC_NAMES.get(metric, metric)}, test rows).")
    return found
