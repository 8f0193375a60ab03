"""Pictures of a run, of predictions beside measurements, and of a data set."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dgl_moleblend.report.words import METRIC_NAMES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from dgl_moleblend.data.summary import Summary

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")  # Okabe and Ito
_MANY_TASKS = len(COLORS)
_LONG_NAME = 28
_MANY_POINTS = 3000  # more are drawn as pixels, so that an SVG stays light


def save(figure: Figure, path: str | Path) -> Path:
    """Write a picture; the suffix says in which format (png, svg, pdf)."""
    figure.savefig(path, dpi=150, metadata={"Software": None} if str(path).endswith(".png") else None)
    return Path(path)


def to_svg(figure: Figure) -> bytes:
    """Return a picture as SVG: the same bytes for the same picture, and light, with its text as text."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "dgl_moleblend", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def loss_curves(curves: "pd.DataFrame", kept: int | None = None) -> Figure:
    """Draw what a run logged over its epochs: the loss of training and validation, and a panel for every other value.

    Parameters
    ----------
    curves : DataFrame
        Column "step", and columns "train/NAME" (also "train/NAME_epoch") and "validation/NAME". Column "epoch", counted
        from 0; without it, or where an epoch has several values, they are drawn over the steps.
    kept : int, optional
        The epoch whose weights were kept: it is marked.

    Returns
    -------
    Figure
    """
    drawn: dict[str, dict[str, str]] = {}
    for column in curves.columns:
        stage, _, name = column.partition("/")
        if stage in ("train", "validation") and not name.endswith("_step"):
            drawn.setdefault(name.removesuffix("_epoch"), {})[stage] = column
    names = sorted(drawn, key=lambda name: (name != "loss", name))
    columns = [column for stages in drawn.values() for column in stages.values()]
    by_epoch = "epoch" in curves and all(curves.loc[curves[one].notna(), "epoch"].is_unique for one in columns)
    figure, axes = _panels(len(names))
    for name, axis in zip(names, axes, strict=True):
        for stage, column in sorted(drawn[name].items()):
            values = curves.dropna(subset=[column])
            place = values["epoch"] + 1 if by_epoch else values["step"]
            axis.plot(place, values[column], marker=".", label=stage, color=COLORS[stage == "validation"])
        if by_epoch:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            if kept is not None:
                axis.axvline(kept + 1, color="grey", linewidth=1, linestyle="--", label=f"kept: epoch {kept + 1}")
        label = METRIC_NAMES.get(name, name)
        axis.set(xlabel="epoch" if by_epoch else "optimiser step", ylabel=plain(label))
    _legend(figure, axes)
    return figure


def parity(
    predicted: np.ndarray,
    measured: np.ndarray,
    names: Sequence[str],
    caption: str | Sequence[str] = "",
    similarity: np.ndarray | None = None,
    half_widths: np.ndarray | None = None,
    coverage: float = 0.9,
    bounds: np.ndarray | None = None,
) -> Figure:
    """Draw predicted against measured values, one panel a target.

    Parameters
    ----------
    predicted, measured : ndarray, shape (rows, t)
        In the unit of the target; NaN = missing.
    names : sequence of t str
    caption : str or sequence of t str
        Written above the panels, such as a score.
    similarity : ndarray, shape (rows,), optional
        To the nearest training molecule, 0 to 1; colours the points, grey where it is NaN.
    half_widths : ndarray, shape (rows, t), optional
        Half the width of each prediction's interval; NaN = none. Where all of a target have one width they are a band
        around the line of equal values, else a bar on each point.
    coverage : float
        Of the intervals, for the legend.
    bounds : ndarray, shape (rows, t, 2), optional
        What measured values are above, and below, where that is all that is known; NaN = nothing. Drawn as triangles
        that point to where the value lies.
    """
    figure, axes = _panels(len(names))
    captions = [caption] * len(names) if isinstance(caption, str) else caption
    for k, (name, text, axis) in enumerate(zip(names, captions, axes, strict=True)):
        x, y = _present(measured[:, k], predicted[:, k])
        style: dict[str, Any] = {"s": 14, "linewidths": 0, "rasterized": len(x) > _MANY_POINTS}
        if similarity is None or np.isnan(similarity).all():
            axis.scatter(x, y, alpha=0.6, color=COLORS[0], **style)
        else:
            shade = similarity[~np.isnan(measured[:, k]) & ~np.isnan(predicted[:, k])]
            points = axis.scatter(x, y, c=shade, cmap="viridis_r", vmin=0, vmax=1, plotnonfinite=True, **style)
            points.cmap = points.cmap.with_extremes(bad="grey")
            figure.colorbar(points, ax=axis, shrink=0.8, label="similarity to the training molecules")
        sides = [] if bounds is None else [_present(bounds[:, k, side], predicted[:, k]) for side in (0, 1)]
        for (bound, value), marker, text in zip(sides, "><", ("above", "below"), strict=False):
            if len(bound):
                axis.scatter(bound, value, marker=marker, s=22, facecolors="none", edgecolors=COLORS[1], linewidths=0.9,
                             label=f"measured {text} this")  # fmt: skip
        if len(every := np.concatenate([x, y, *(value for pair in sides for value in pair)])):
            ends = [every.min(), every.max()]
            margin = 0.04 * (ends[1] - ends[0]) or 1.0
            axis.set(xlim=(ends[0] - margin, ends[1] + margin), ylim=(ends[0] - margin, ends[1] + margin))
            axis.plot(ends, ends, color="grey", linewidth=1)
            if half_widths is not None:
                widths = half_widths[~np.isnan(measured[:, k]) & ~np.isnan(predicted[:, k]), k]
                _intervals(axis, x, y, widths, f"{coverage:.0%} interval")
        axis.set(xlabel="measured", ylabel="predicted")
        axis.set_title(plain(f"{name}\n{text}".strip()), fontsize="medium")
        axis.set_aspect("equal", adjustable="box")  # the line of equal values is a diagonal
    _legend(figure, axes)
    return figure


def _intervals(axis: "Axes", x: np.ndarray, y: np.ndarray, half_width: np.ndarray, label: str) -> None:
    """Draw intervals behind the points of a parity plot, whose limits stay."""
    known = ~np.isnan(half_width)
    if not known.any():
        return
    low, high = axis.get_xlim()
    if known.all() and np.ptp(half_width) == 0:
        line = np.array([low, high])
        axis.fill_between(line, line - half_width[0], line + half_width[0], color=COLORS[5], alpha=0.25, linewidth=0,
                          zorder=0, label=label)  # fmt: skip
    else:
        axis.errorbar(x[known], y[known], half_width[known], fmt="none", ecolor="#bdbdbd", elinewidth=0.8,
                      zorder=0, label=label)  # fmt: skip
    axis.set(xlim=(low, high), ylim=(low, high))


def residuals(predicted: np.ndarray, measured: np.ndarray, names: Sequence[str], unit: str = "molecules") -> Figure:
    """Draw how predicted minus measured is distributed, one panel a target.

    Parameters
    ----------
    predicted, measured : ndarray, shape (rows, t)
        In the unit of the target; NaN = missing.
    names : sequence of t str
    unit : str
        What is counted.
    """
    figure, axes = _panels(len(names))
    for k, (name, axis) in enumerate(zip(names, axes, strict=True)):
        y, x = _present(predicted[:, k], measured[:, k])
        if len(x):
            axis.hist(y - x, bins=min(40, max(8, len(x) // 5)), color=COLORS[5], edgecolor="white", linewidth=0.5)
            mean = float((y - x).mean())
            axis.axvline(mean, color=COLORS[1])
            name = f"{name}\nmean {mean:.3g} (orange)".replace("-", "\N{MINUS SIGN}")
        axis.axvline(0, color="grey", linewidth=1)
        axis.set(xlabel="predicted minus measured", ylabel=unit)
        axis.set_title(plain(name), fontsize="medium")
    return figure


def error_by_similarity(similarity: np.ndarray, error: np.ndarray, label: str = "absolute error") -> Figure:
    """Draw the error of each molecule against its similarity to the nearest training molecule.

    Parameters
    ----------
    similarity : ndarray, shape (rows,)
        Tanimoto, 0 to 1; NaN = unknown.
    error : ndarray, shape (rows,)
        NaN = unknown.
    label : str
        Names the error, with its unit.
    """
    figure, (axis,) = _panels(1)
    x, y = _present(similarity, error)
    axis.scatter(x, y, s=14, alpha=0.5, color=COLORS[0], linewidths=0, rasterized=len(x) > _MANY_POINTS)
    groups = [group for group in np.array_split(np.argsort(x, kind="stable"), min(6, len(x) // 5)) if len(group)] if (
        len(x) >= 10
    ) else []  # fmt: skip
    if groups:
        axis.plot([x[group].mean() for group in groups], [y[group].mean() for group in groups], marker="o",
                  color=COLORS[1], label=f"mean of about {len(groups[0])} molecules each")  # fmt: skip
    axis.set(xlabel="similarity to the nearest training molecule", ylabel=fill(plain(label), 36), xlim=(0, 1.02))
    _legend(figure, [axis])
    return figure


def roc(probability: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw ROC curves of all tasks in one panel; a task with one class present has none.

    Parameters
    ----------
    probability, labels : ndarray, shape (rows, t)
        Probability of class 1; 0, 1 or NaN = missing.
    names : sequence of t str
        Named in the legend where there are few.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, (axis,) = _panels(1)
    for color, name, label, value in _both_classes(probability, labels, names):
        false_rate, true_rate, _ = roc_curve(label, value)
        axis.plot(false_rate, true_rate, color=color, alpha=0.8,
                  label=f"{plain(_short(name))} ({roc_auc_score(label, value):.3f})")  # fmt: skip
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axis.set(xlabel="false positive rate", ylabel="true positive rate")
    if 0 < len(names) <= _MANY_TASKS:
        _legend(figure, [axis], "area under the curve")
    return figure


def score_dots(
    scores: Mapping[str, float], label: str, guess: float | None = None, rough: Sequence[str] = (), why: str = ""
) -> Figure:
    """Draw one dot for the score of each task, the best on top.

    Parameters
    ----------
    scores : mapping of task to score
    label : str
        Names the score.
    guess : float, optional
        What guessing gives; drawn as a line.
    rough : sequence of str
        Tasks whose dots are hollow.
    why : str
        Says so below the plot.
    """
    ordered = sorted(scores.items(), key=lambda item: item[1])
    figure = Figure(figsize=(5, 1.2 + 0.3 * len(ordered)), layout="constrained")
    axis = figure.subplots()
    names = [plain(_short(name)) for name, _ in ordered]
    axis.hlines(range(len(ordered)), guess or 0, [value for _, value in ordered], color="lightgrey", linewidth=1)
    hollow = [name in rough for name, _ in ordered]
    for those, color, text in ((False, COLORS[0], ""), (True, "white", why)):
        places = [place for place, one in enumerate(hollow) if one == those]
        if places:
            axis.scatter([ordered[place][1] for place in places], places, color=color, edgecolors=COLORS[0], zorder=3,
                         label=text or None)  # fmt: skip
    axis.set_yticks(range(len(ordered)), names)
    if guess is not None:
        axis.axvline(guess, color="grey", linewidth=1)
    axis.set(xlabel=label if guess is None else f"{label} (grey line: a guess)", xlim=(None, 1.02))
    _legend(figure, [axis])
    return figure


def precision_recall(probability: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw precision against recall of all tasks in one panel; of few, the share of class 1 dotted.

    Parameters
    ----------
    probability, labels, names
        As for `roc`.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, (axis,) = _panels(1)
    for color, name, label, value in _both_classes(probability, labels, names):
        precision, recall, _ = precision_recall_curve(label, value)
        axis.plot(recall, precision, color=color, alpha=0.8, drawstyle="steps-post",
                  label=f"{plain(_short(name))} ({average_precision_score(label, value):.3f})")  # fmt: skip
        if len(names) <= _MANY_TASKS:
            axis.axhline(label.mean(), color=color, linewidth=1, linestyle=":")
    axis.set(xlabel="recall: share of class 1 found", ylabel="precision: share right", ylim=(0, 1.02), xlim=(0, 1.02))
    if 0 < len(names) <= _MANY_TASKS:
        _legend(figure, [axis], "average precision")
    return figure


def reliability(probability: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw how often class 1 is found among molecules that are given like probabilities, all tasks in one panel.

    Parameters
    ----------
    probability, labels, names
        As for `roc`. Molecules are put in up to ten groups of like size by their probability.
    """
    from sklearn.calibration import calibration_curve

    figure, (axis,) = _panels(1)
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for color, name, label, value in _both_classes(probability, labels, names):
        found, given = calibration_curve(label, value, n_bins=max(2, min(10, len(label) // 20)), strategy="quantile")
        axis.plot(given, found, color=color, alpha=0.8, marker="o", label=plain(_short(name)))
    axis.set(xlabel="predicted probability of class 1", ylabel="share of class 1 found", xlim=(-0.02, 1.02),
             ylim=(-0.02, 1.02))  # fmt: skip
    if 1 < len(names) <= _MANY_TASKS:
        _legend(figure, [axis])
    return figure


def store_summary(summary: "Summary") -> Figure:
    """Draw what is in a data set: sizes, elements, how many labels each task has, and why rows were rejected.

    Parameters
    ----------
    summary : Summary
        See `dgl_moleblend.data.summary`.
    """
    figure, axes = _panels(2 + bool(len(summary.labels)) + bool(summary.rejected))
    if summary.kept:
        top = int(np.quantile(summary.num_atoms, 0.999)) + 1  # the few beyond share the last bar
        axes[0].hist(np.minimum(summary.num_atoms, top), bins=(np.arange(top + 2) - 0.5).tolist(), color=COLORS[0])
    axes[0].set(xlabel="atoms", ylabel="molecules", title=f"{summary.kept:,} molecules, {summary.share_3d:.0%} in 3D")
    elements = dict(list(summary.elements.items())[:12])
    axes[1].bar(list(elements), list(elements.values()), color=COLORS[2])
    axes[1].set(yscale="log" if elements else "linear", ylabel="atoms", title="elements")
    if len(summary.labels):
        most = summary.labels["values"].sort_values()[-12:]
        axes[2].barh([str(name)[:24] for name in most.index], most.to_numpy(), color=COLORS[5])
        axes[2].set(xlabel="molecules", title=f"labels of {len(most)} of {len(summary.labels)} tasks")
    if summary.rejected:
        stages = summary.rejects.groupby("stage")["rows"].sum().sort_values()
        axes[-1].barh(list(stages.index), stages.to_numpy(), color=COLORS[1])
        axes[-1].set(xlabel="rows", title=f"{summary.rejected:,} rejected, by stage")
    return figure


def _present(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out pairs of which one is NaN."""
    both = ~np.isnan(x) & ~np.isnan(y)
    return x[both], y[both]


def _both_classes(
    probability: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield colour, name, labels and probabilities of the tasks of which both classes are present."""
    for k, name in enumerate(names):
        label, value = _present(labels[:, k], probability[:, k])
        if len(np.unique(label)) == 2:
            yield COLORS[k % len(COLORS)], name, label, value


def _short(name: str) -> str:
    """Clip a long name."""
    return name if len(name) <= _LONG_NAME else name[: _LONG_NAME - 1] + "…"


def plain(text: str) -> str:
    """Keep matplotlib from reading formulae into names that hold dollar signs."""
    return text.replace("$", r"\$")


def _legend(figure: Figure, axes: "Sequence[Axes]", title: str = "") -> None:
    """Explain what the panels share below them, where it covers no point; the figure grows by what that needs."""
    named: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if not named:
        return
    columns = 1 if title else len(named)
    figure.set_figheight(figure.get_figheight() + 0.22 * (-(-len(named) // columns) + bool(title)))
    figure.legend(list(named.values()), list(named), title=title or None, loc="outside lower center", frameon=False,
                  ncols=columns, fontsize="small", title_fontsize="small", columnspacing=1, borderpad=0)  # fmt: skip


def _panels(number: int) -> "tuple[Figure, list[Axes]]":
    """Return a figure of panels in rows of at most four; five or six stand in two rows of three."""
    columns = 3 if number in (5, 6) else min(max(number, 1), 4)
    rows = -(-max(number, 1) // columns)
    figure = Figure(figsize=(4 * columns, 3.5 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[number:]:
        unused.set_axis_off()
    return figure, axes[:number]
