"""Pictures: loss curves, parity and ROC plots, and a molecule beside its relation matrices."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from dgl_moleblend.schema import NO_PATH, RELATIONS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from rdkit.Chem import Mol

    from dgl_moleblend.batch import RelationBatch
    from dgl_moleblend.data.summary import Summary
    from dgl_moleblend.nn.blend import Blend

BOND_TYPES = ("single", "double", "triple", "aromatic", "other")
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")  # Okabe and Ito
_MANY_TASKS = len(_COLORS)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a picture; the suffix says in which format (png, svg, pdf)."""
    figure.savefig(path, dpi=150, metadata={"Software": None} if str(path).endswith(".png") else None)
    return Path(path)


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
        axis.set(xlabel="optimiser step", ylabel=name)
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
        present = ~np.isnan(measured[:, k]) & ~np.isnan(predicted[:, k])
        x, y = measured[present, k], predicted[present, k]
        axis.scatter(x, y, s=12, alpha=0.7, color=_COLORS[0], linewidths=0)
        if len(x):
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            axis.plot(ends, ends, color="grey", linewidth=1)
        axis.set(title=name, xlabel="measured", ylabel="predicted")
        axis.text(0.03, 0.97, text, transform=axis.transAxes, va="top")
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
    for k, name in enumerate(names):
        present = ~np.isnan(labels[:, k]) & ~np.isnan(probability[:, k])
        label, value = labels[present, k], probability[present, k]
        if len(np.unique(label)) == 2:
            false_rate, true_rate, _ = roc_curve(label, value)
            axis.plot(false_rate, true_rate, color=_COLORS[k % len(_COLORS)], alpha=0.8,
                      label=f"{name} ({roc_auc_score(label, value):.3f})")  # fmt: skip
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axis.set(xlabel="false positive rate", ylabel="true positive rate")
    if 0 < len(names) <= _MANY_TASKS and len(axis.lines) > 1:
        axis.legend(title="area under the curve", loc="lower right")
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
    figure = Figure(figsize=(4 * (4 + (blend is not None)), 3.9), layout="constrained")
    axes = figure.subplots(1, 4 + (blend is not None))
    axes[0].imshow(_drawing(mol))
    axes[0].set_axis_off()
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


def _drawing(mol: "Mol") -> np.ndarray:
    from rdkit.Chem import Draw

    options = Draw.MolDrawOptions()
    options.addAtomIndices = True  # type: ignore[assignment]
    flat = type(mol)(mol)
    flat.RemoveAllConformers()  # drawn flat, whatever its conformer
    return np.asarray(Draw.MolToImage(flat, size=(500, 500), options=options))


def _panels(number: int) -> "tuple[Figure, list[Axes]]":
    """Return a figure of panels in rows of at most four; five or six stand in two rows of three."""
    columns = 3 if number in (5, 6) else min(max(number, 1), 4)
    rows = -(-max(number, 1) // columns)
    figure = Figure(figsize=(4 * columns, 3.5 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[number:]:
        unused.set_axis_off()
    return figure, axes[:number]
