"""Words for the names of settings and facts that stand in the files of a run."""

_WORDS = {
    "duplicates.molecules": "molecules given more than once",
    "duplicates.conflicting": "of these, with labels that differ",
    "duplicates.across_parts": "of these, in more than one part of the split",
    "duplicates.held_out_rows_seen_in_training": "validation and test rows whose molecule was trained on",
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
    >>> in_words({"max_steps": "-1", "keep_duplicates_together": "False", "layer.decay_rate": "0.9"})
    {'steps at most': 'no limit', 'equal molecules kept in one part': 'no', 'layer: decay rate': '0.9'}
    """
    found: dict[str, str] = {}
    for key, value in settings.items():
        words = _WORDS.get(key, key.replace(".", ": ").replace("_", " "))
        text = "no limit" if key in _UNLIMITED and value == "-1" else _VALUES.get(value, value)
        found[key if words in found else words] = text
    return found
