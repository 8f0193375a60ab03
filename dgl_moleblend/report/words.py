"""Words for what stands in the files of a run by short names: metrics, kinds of models, splits, settings; numbers."""

import math

from dgl_moleblend.models.scores import METRICS

METRIC_NAMES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "scaled": "scaled RMSE",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "spearman": "Spearman",
    "pearson": "Pearson",
    "mcc": "MCC",
    "f1": "F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
}
CANDIDATE_NAMES = {
    "mean": "mean of the labels",
    "forest": "random forest, Morgan counts",
    "trees": "extra trees, counts and descriptors",
    "kernel": "kernel machine, counts and descriptors",
    "frozen": "kernel machine, states of the encoder",
    "network": "fine-tuned encoder",
}
METRIC_HELP = {
    "rmse": "root mean square error; large errors weigh more; smaller is better",
    "mae": "mean absolute error; smaller is better",
    "r2": "share of the spread that is explained; 1 is perfect, 0 no better than the mean",
    "scaled": "mean RMSE over the properties, each in units of its deviation among training rows; smaller is better",
    "roc_auc": "how often class 1 is ranked above class 0; 1 is perfect, 0.5 a guess",
    "pr_auc": "average precision; 1 is perfect, a guess gives the share of class 1",
    "spearman": "correlation of the ranks; 1 is the right order, 0 none",
    "pearson": "correlation of the values; 1 is a straight line, 0 none",
    "mcc": "Matthews' correlation of classes told at a probability of 0.5; 1 is perfect, 0 a guess",
    "f1": "harmonic mean of precision and recall of class 1, told at a probability of 0.5; 1 is perfect",
    "balanced_accuracy": "mean share of class 0 and of class 1 that is told right at 0.5; 1 is perfect, 0.5 a guess",
    "accuracy": "share that is told right at a probability of 0.5; always the larger class gives its share",
}
CLASSES_HELP = METRIC_HELP | {
    "roc_auc": "how often a molecule of a class is ranked above the others, mean over the classes; 0.5 is a guess",
    "pr_auc": "average precision of each class against the rest, mean over the classes; 1 is perfect",
    "mcc": "Matthews' correlation of the most probable class with the true one; 1 is perfect, 0 a guess",
    "f1": "harmonic mean of precision and recall of the most probable class, mean over the classes; 1 is perfect",
    "balanced_accuracy": "mean share of each class that is told right; 1 is perfect, always the same gives 1 / classes",
    "accuracy": "share that is told right; always the largest class gives its share",
}
"""The same of several classes."""
UNCERTAINTY_HELP = {
    "nll": ("NLL", "mean negative log likelihood of the errors, were they Gaussian with these deviations; lower is "
            "better"),
    "ence": ("ENCE", "how far root mean square errors are from the deviations of bins of like deviation, as a share of "
             "these; 0 is perfect"),
    "miscalibration_area": ("miscalibration area", "between the coverage that such deviations promise and the one they "
                            "have; 0 is perfect, 0.5 the worst"),
}  # fmt: skip
SPLITS = {
    "scaffold": "Molecules with the same ring scaffold are in the same part, so that test molecules have scaffolds "
    "that were not trained on. This is harder than a random split, and closer to how a model meets new chemistry.",
    "random": "Molecules were divided at random. Near relatives of test molecules may have been trained on: expect "
    "larger errors for new chemistry.",
    "scaffold_balanced": "Whole ring scaffolds were divided at random, the largest among the training molecules: test "
    "molecules have scaffolds that were not trained on.",
    "cluster": "Whole clusters of molecules that are alike (by their fingerprints) were divided at random, so that "
    "test molecules are unlike those trained on, though some at the rim of a cluster may be near one. This is harder "
    "than a random split.",
    "molecular_weight": "Molecules were divided by molecular weight.",
    "stratified": "Molecules were divided so that every part has the same range of labels.",
    "consecutive": "Molecules were divided in the order of the input.",
    "column": "A column of the input says which molecules train, validate and test.",
    "file": "Molecules of some files were kept for validation or testing.",
    "list": "A table beside the input says which molecules train, validate and test.",
    "group": "Whole groups, which a column names, were divided at random: none is in two parts.",
    "time": "The oldest molecules trained, the newest tested, which is closest to how a model meets new chemistry.",
}

SKELETON = (
    "The bare skeleton is the molecule's bonds, and its positions where the model reads them, between atoms that have "
    "no element, charge or other feature."
)
"""What contributions of atoms add up from."""

_TWO_DECIMALS = ("r2", "spearman", "pearson")
_WORDS = {
    "duplicates: molecules": "molecules given more than once",
    "duplicates: conflicting": "of these, with labels that differ",
    "duplicates: across_parts": "of these, in more than one part of the split",
    "duplicates: held_out_rows_seen_in_training": "validation and test rows whose molecule was trained on",
    "keep_duplicates_together": "equal molecules kept in one part",
    "fractions": "shares of training, validation and test",
    "split_warning": "remark",
    "max_epochs": "epochs at most",
    "max_steps": "steps at most",
}
_VALUES = {"True": "yes", "False": "no", "None": "-"}
_UNLIMITED = ("max_steps", "max_epochs")


def in_words(settings: dict[str, str]) -> dict[str, str]:
    """Put names and values in words; a name that has none is written with spaces, so that none is lost.

    Examples
    --------
    >>> in_words({"max_steps": "-1", "keep_duplicates_together": "False", "layer: decay_rate": "0.9"})
    {'equal molecules kept in one part': 'no', 'steps at most': 'no limit', 'layer: decay rate': '0.9'}
    """
    found: dict[str, str] = {}
    order = {key: place for place, key in enumerate(_WORDS)}  # some words speak of those before
    for key, value in sorted(settings.items(), key=lambda item: order.get(item[0], len(order))):
        words = _WORDS.get(key, key.replace("_", " "))
        text = "no limit" if key in _UNLIMITED and value == "-1" else _VALUES.get(value, value)
        found[key if words in found else words] = text
    return found


def number(value: float | None) -> str:
    """Three digits that tell, and a dash for what there is not.

    >>> number(2.3), number(-0.0012345), number(123456.0), number(None), number(float("nan"))
    ('2.30', '−0.00123', '123,456', '-', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    whole = 1000 <= abs(value) < 1e9 or value == 0 or abs(value) == 1
    text = f"{value:,.0f}" if whole else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def score_text(value: float | None, metric: str) -> str:
    """Write a score for reading: areas and shares in three decimals, R², correlations and an MAE of some size in two.

    >>> score_text(-0.000773, "r2"), score_text(0.7116, "mae"), score_text(0.01234, "mae"), score_text(0.8473, "rmse")
    ('0.00', '0.71', '0.0123', '0.847')
    >>> score_text(1.0, "roc_auc")
    '1.000'
    """
    if value is None or math.isnan(value):
        return "-"
    if metric in METRICS["classification"]:
        digits = 3
    elif metric in _TWO_DECIMALS or (metric == "mae" and 0.1 <= value < 1000):
        digits = 2
    else:
        return number(value)
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "\N{MINUS SIGN}")
