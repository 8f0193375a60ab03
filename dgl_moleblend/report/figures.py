"""Pictures: of a run, of predictions beside measurements, of a data set, and of a molecule with what a model sees."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure

from dgl_moleblend.schema import NO_PATH, RELATIONS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from rdkit.Chem import Mol

    from dgl_moleblend.data.summary import Summary
    from dgl_moleblend.nn.blend import Blend
    from dgl_moleblend.pairs.batch import RelationBatch

BOND_TYPES = ("single", "double", "triple", "aromatic", "other")
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")  # Okabe and Ito
_MANY_TASKS = len(_COLORS)
_MANY_POINTS = 3000  # more are drawn as pixels, so that an SVG stays light
_DIVERGING = ListedColormap(colormaps["PuOr_r"](np.linspace(0.17, 0.83, 255)))
"""Purple lowers, white is nothing, orange raises: told apart without red and green, and black is read on all of it."""


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


def loss_curves(curves: "pd.DataFrame") -> Figure:
    """Draw what a run logged: the loss of training and validation, and one panel for every other value.

    Parameters
    ----------
    curves : DataFrame
        Column "step", and columns "train/NAME" (also "train/NAME_epoch") and "validation/NAME".

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
    figure, axes = _panels(len(names))
    for name, axis in zip(names, axes, strict=True):
        for stage, column in sorted(drawn[name].items()):
            values = curves[["step", column]].dropna()
            axis.plot(values["step"], values[column], marker=".", label=stage,
                      color=_COLORS[stage == "validation"])  # fmt: skip
        axis.set(xlabel="optimiser step", ylabel=_plain(name))
    if axes:
        axes[0].legend()
    return figure


def parity(
    predicted: np.ndarray, measured: np.ndarray, names: Sequence[str], caption: str | Sequence[str] = ""
) -> Figure:
    """Draw predicted against measured values, one panel a target.

    Parameters
    ----------
    predicted, measured : ndarray, shape (rows, t)
        In the unit of the target; NaN = missing.
    names : sequence of t str
    caption : str or sequence of t str
        Written in the panels, such as a score.
    """
    figure, axes = _panels(len(names))
    captions = [caption] * len(names) if isinstance(caption, str) else caption
    for k, (name, text, axis) in enumerate(zip(names, captions, axes, strict=True)):
        x, y = _present(measured[:, k], predicted[:, k])
        axis.scatter(x, y, s=14, alpha=0.6, color=_COLORS[0], linewidths=0, rasterized=len(x) > _MANY_POINTS)
        if len(x):
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            axis.plot(ends, ends, color="grey", linewidth=1)
        axis.set(title=_plain(name), xlabel="measured", ylabel="predicted")
        axis.set_aspect("equal", adjustable="datalim")  # the line of equal values is a diagonal
        axis.text(0.03, 0.97, _plain(text), transform=axis.transAxes, va="top")
    return figure


def residuals(predicted: np.ndarray, measured: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw how predicted minus measured is distributed, one panel a target.

    Parameters
    ----------
    predicted, measured : ndarray, shape (rows, t)
        In the unit of the target; NaN = missing.
    names : sequence of t str
    """
    figure, axes = _panels(len(names))
    for k, (name, axis) in enumerate(zip(names, axes, strict=True)):
        y, x = _present(predicted[:, k], measured[:, k])
        if len(x):
            axis.hist(y - x, bins=min(40, max(8, len(x) // 5)), color=_COLORS[5], edgecolor="white", linewidth=0.5)
            axis.axvline(float((y - x).mean()), color=_COLORS[1], label=f"mean {(y - x).mean():.3g}")
            axis.legend(frameon=False)
        axis.axvline(0, color="grey", linewidth=1)
        axis.set(title=_plain(name), xlabel="predicted minus measured", ylabel="molecules")
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
    axis.scatter(x, y, s=14, alpha=0.5, color=_COLORS[0], linewidths=0, rasterized=len(x) > _MANY_POINTS)
    groups = [group for group in np.array_split(np.argsort(x, kind="stable"), min(6, len(x) // 5)) if len(group)] if (
        len(x) >= 10
    ) else []  # fmt: skip
    if groups:
        axis.plot([x[group].mean() for group in groups], [y[group].mean() for group in groups], marker="o",
                  color=_COLORS[1], label=f"mean of about {len(groups[0])} molecules each")  # fmt: skip
        axis.legend(frameon=False)
    axis.set(xlabel="similarity to the nearest training molecule", ylabel=_plain(label), xlim=(0, 1.02))
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
                  label=f"{_plain(name)} ({roc_auc_score(label, value):.3f})")  # fmt: skip
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axis.set(xlabel="false positive rate", ylabel="true positive rate")
    if 0 < len(names) <= _MANY_TASKS and len(axis.lines) > 1:
        axis.legend(title="area under the curve", loc="lower right")
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
                  label=f"{_plain(name)} ({average_precision_score(label, value):.3f})")  # fmt: skip
        if len(names) <= _MANY_TASKS:
            axis.axhline(label.mean(), color=color, linewidth=1, linestyle=":")
    axis.set(xlabel="recall: share of class 1 found", ylabel="precision: share right", ylim=(0, 1.02), xlim=(0, 1.02))
    if 0 < len(names) <= _MANY_TASKS and axis.lines:
        axis.legend(title="average precision", loc="best")
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
        axis.plot(given, found, color=color, alpha=0.8, marker="o", label=_plain(name))
    axis.set(xlabel="predicted probability of class 1", ylabel="share of class 1 found", xlim=(-0.02, 1.02),
             ylim=(-0.02, 1.02))  # fmt: skip
    if 1 < len(names) <= _MANY_TASKS and len(axis.lines) > 1:
        axis.legend(loc="best")
    return figure


def relation_matrices(mol: "Mol", batch: "RelationBatch", blend: "Blend | None" = None, index: int = 0) -> Figure:
    """Draw a molecule, with its atoms numbered, beside the three relations of all its pairs, and a blend of them.

    Parameters
    ----------
    mol : Mol
        The molecule; its heavy atoms are those of the batch, in order.
    batch : RelationBatch
    blend : Blend, optional
        Adds a panel that shows which relation each pair shows.
    index : int
        Number of the molecule in the batch.
    """
    n = int(batch.atom_mask[index].sum())
    if mol.GetNumAtoms() != n:
        raise ValueError(
            f"the drawing has {mol.GetNumAtoms()} atoms, molecule {index} of the batch has {n}\n"
            "  fix:   pass the Mol that the batch was made from, without hydrogens"
        )
    pairs = np.s_[index, :n, :n]
    figure = Figure(figsize=(15, 7.5) if blend is not None else (17, 3.9), layout="constrained")
    order = "DSB\nDEM" if blend is not None else "DSBE"  # drawing, spd, bond path, Euclidean, mask of the blend
    places = figure.subplot_mosaic(order, width_ratios=[1.25, 1, 1] if blend is not None else [1, 1, 1, 1])
    axes = [places[letter] for letter in "DSBEM" if letter in places]
    axes[0].imshow(_drawing(mol))
    axes[0].set_axis_off()
    axes[0].set_title(f"{n} atoms, {n * n} ordered pairs")
    spd = batch.spd[pairs].cpu().numpy().astype(float)
    _matrix(figure, axes[1], np.where(spd == NO_PATH, np.nan, spd), "shortest-path distance / bonds")
    first_bond = batch.bond_path[pairs][..., 0].cpu().numpy()
    bond_type = np.where(first_bond >= 0, first_bond // 12, np.nan)
    _matrix(figure, axes[2], bond_type, "bond path: its first bond", BOND_TYPES)
    distance = batch.distance[pairs].cpu().numpy().astype(float)
    has_distance = bool(batch.has_conformer[index])
    _matrix(figure, axes[3], distance if has_distance else np.full((n, n), np.nan), "Euclidean distance / Å")
    if blend is not None:
        shown = [name.replace("_", " ") for name in RELATIONS]
        _matrix(figure, axes[4], blend.pair[pairs].cpu().numpy().astype(float), "blend: what a pair shows", shown)
    return figure


def atom_contributions(mol: "Mol", contributions: np.ndarray, names: Sequence[str], captions: Sequence[str]) -> Figure:
    """Draw what each atom adds to a prediction, as coloured discs on the structure, one panel a property.

    Parameters
    ----------
    mol : Mol
        With n atoms.
    contributions : ndarray, shape (n, t)
        Positive raises the prediction (orange), negative lowers it (purple); each panel has its own scale.
    names : sequence of t str
        What is predicted, with its unit: beside the scale of colours.
    captions : sequence of t str
        Above the structures.
    """
    if contributions.shape != (mol.GetNumAtoms(), len(names)):
        raise ValueError(
            f"`contributions` must have shape (n, t) = {(mol.GetNumAtoms(), len(names))}, got {contributions.shape}\n"
            "  fix:   give one row for each atom of the drawing and one column for each name"
        )
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(5.6 * columns, 4.6 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axis in axes:
        axis.set_axis_off()
    for values, name, caption, axis in zip(contributions.T, names, captions, axes, strict=False):
        most = float(np.abs(values).max()) or 1.0
        scale = ScalarMappable(Normalize(-most, most), _DIVERGING)
        axis.imshow(_drawing(mol, [tuple(color) for color in scale.to_rgba(values)[:, :3].tolist()]))
        bar = figure.colorbar(scale, ax=axis, shrink=0.8)
        bar.set_label(f"contribution to {_plain(name)}")
        axis.set_title(_plain(caption), fontsize="medium")
    return figure


def molecule_svg(smiles: str, width: int = 280, height: int = 200) -> bytes | None:
    """Draw a molecule for a page; None where RDKit cannot.

    Parameters
    ----------
    smiles : str
    width, height : int
        In pixels.
    """
    from rdkit.Chem.Draw import rdMolDraw2D

    from dgl_moleblend.chem.sanitize import read_smiles
    from dgl_moleblend.errors import MoleculeError

    try:
        mol = read_smiles(smiles)
    except MoleculeError:
        return None
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    drawer.DrawMolecule(_flat(mol))
    drawer.FinishDrawing()
    return drawer.GetDrawingText().encode()


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
        axes[0].hist(np.minimum(summary.num_atoms, top), bins=(np.arange(top + 2) - 0.5).tolist(), color=_COLORS[0])
    axes[0].set(xlabel="atoms", ylabel="molecules", title=f"{summary.kept:,} molecules, {summary.share_3d:.0%} in 3D")
    elements = dict(list(summary.elements.items())[:12])
    axes[1].bar(list(elements), list(elements.values()), color=_COLORS[2])
    axes[1].set(yscale="log" if elements else "linear", ylabel="atoms", title="elements")
    if len(summary.labels):
        most = summary.labels["values"].sort_values()[-12:]
        axes[2].barh([str(name)[:24] for name in most.index], most.to_numpy(), color=_COLORS[5])
        axes[2].set(xlabel="molecules", title=f"labels of {len(most)} of {len(summary.labels)} tasks")
    if summary.rejected:
        stages = summary.rejects.groupby("stage")["rows"].sum().sort_values()
        axes[-1].barh(list(stages.index), stages.to_numpy(), color=_COLORS[1])
        axes[-1].set(xlabel="rows", title=f"{summary.rejected:,} rejected, by stage")
    return figure


def _matrix(figure: Figure, axis: "Axes", values: np.ndarray, title: str, classes: Sequence[str] = ()) -> None:
    """Draw one matrix, receiver down, sender across; NaN stays blank."""
    settings: dict[str, Any] = {"cmap": "viridis"}
    if classes:
        settings = {
            "cmap": ListedColormap(_COLORS[: len(classes)]),
            "norm": BoundaryNorm(np.arange(len(classes) + 1) - 0.5, len(classes)),
        }
    image = axis.imshow(values, **settings)
    bar = figure.colorbar(image, ax=axis, shrink=0.75)
    if classes:
        bar.set_ticks(range(len(classes)), labels=list(classes))
    axis.set(title=title, xlabel="atom j (sends)", ylabel="atom i (receives)")


def _drawing(mol: "Mol", colors: "Sequence[tuple[float, ...]] | None" = None) -> np.ndarray:
    """Draw a molecule with its atoms numbered, and, with a colour for each atom, discs on the atoms."""
    from matplotlib.image import imread
    from rdkit.Chem.Draw import rdMolDraw2D

    drawer = rdMolDraw2D.MolDraw2DCairo(800, 800)
    options: Any = drawer.drawOptions()
    options.addAtomIndices = True
    options.bondLineWidth = 4
    options.annotationFontScale = 0.7
    highlights: dict[str, Any] = {}
    if colors is not None:
        options.useBWAtomPalette()  # colours speak of contributions alone
        options.fillHighlights = True
        atoms = range(mol.GetNumAtoms())
        highlights = {
            "highlightAtoms": list(atoms),
            "highlightAtomColors": dict(zip(atoms, colors, strict=True)),
            "highlightAtomRadii": dict.fromkeys(atoms, 0.42),
            "highlightBonds": [],
        }
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, _flat(mol), **highlights)
    drawer.FinishDrawing()
    return np.asarray(imread(io.BytesIO(drawer.GetDrawingText()), format="png"))


def _flat(mol: "Mol") -> "Mol":
    """Return a copy that is drawn flat, whatever the molecule's conformer."""
    flat = type(mol)(mol)
    flat.RemoveAllConformers()
    return flat


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
            yield _COLORS[k % len(_COLORS)], name, label, value


def _plain(text: str) -> str:
    """Keep matplotlib from reading formulae into names that hold dollar signs."""
    return text.replace("$", r"\$")


def _panels(number: int) -> "tuple[Figure, list[Axes]]":
    """Return a figure of panels in rows of at most four; five or six stand in two rows of three."""
    columns = 3 if number in (5, 6) else min(max(number, 1), 4)
    rows = -(-max(number, 1) // columns)
    figure = Figure(figsize=(4 * columns, 3.5 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[number:]:
        unused.set_axis_off()
    return figure, axes[:number]
