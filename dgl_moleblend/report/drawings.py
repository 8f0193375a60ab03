"""Pictures of a molecule: its structure, its relations, and what each atom adds to a prediction."""

import io
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure

from dgl_moleblend.errors import SchemaError
from dgl_moleblend.report.figures import COLORS, plain
from dgl_moleblend.report.words import SKELETON
from dgl_moleblend.schema import NO_PATH, RELATIONS, bond_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rdkit.Chem import Mol

    from dgl_moleblend.nn.blend import Blend
    from dgl_moleblend.pairs.batch import RelationBatch

BOND_TYPES = ("single", "double", "triple", "aromatic", "other")
_DIVERGING = ListedColormap(colormaps["PuOr_r"](np.linspace(0.17, 0.83, 255)))
"""Purple lowers, white is nothing, orange raises: told apart without red and green, and black is read on all of it."""


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
        raise SchemaError(f"the drawing has {mol.GetNumAtoms()} atoms, molecule {index} of the batch has {n}",
                          fix="pass the Mol that the batch was made from, without hydrogens")  # fmt: skip
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
    bond_type = np.where(first_bond >= 0, bond_parts(first_bond)[0], np.nan)
    _matrix(figure, axes[2], bond_type, "bond path: its first bond", BOND_TYPES)
    distance = batch.distance[pairs].cpu().numpy().astype(float)
    has_distance = bool(batch.has_conformer[index])
    _matrix(figure, axes[3], distance if has_distance else np.full((n, n), np.nan), "Euclidean distance / Å")
    if blend is not None:
        shown = [name.replace("_", " ") for name in RELATIONS]
        _matrix(figure, axes[4], blend.pair[pairs].cpu().numpy().astype(float), "blend: what a pair shows", shown)
    return figure


def atom_contributions(
    mol: "Mol", contributions: np.ndarray, names: Sequence[str], captions: Sequence[str], *, numbers: bool = False
) -> Figure:
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
    numbers : bool
        Whether atoms are numbered.
    """
    if contributions.shape != (mol.GetNumAtoms(), len(names)):
        raise SchemaError(
            f"`contributions` must have shape (n, t) = {(mol.GetNumAtoms(), len(names))}, got {contributions.shape}",
            fix="give one row for each atom of the drawing and one column for each name",
        )
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    height, width = _trimmed(_drawing(mol)).shape[:2]
    tall = float(np.clip(4.4 * height / width, 1.8, 4.4)) + 0.4  # inches: the structure, and its title
    figure = Figure(figsize=(5.6 * columns, tall * rows + 0.5), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axis in axes:
        axis.set_axis_off()
    for values, name, caption, axis in zip(contributions.T, names, captions, axes, strict=False):
        most = float(np.abs(values).max()) or 1.0
        scale = ScalarMappable(Normalize(-most, most), _DIVERGING)
        colors = [tuple(color) for color in scale.to_rgba(values)[:, :3].tolist()]
        axis.imshow(_trimmed(_drawing(mol, colors, numbers=numbers)))
        bar = figure.colorbar(scale, ax=axis, shrink=0.9)
        bar.set_label(f"contribution to {plain(name)}")
        axis.set_title(plain(caption), fontsize="medium")
    figure.supxlabel(fill(SKELETON, 85 * columns), fontsize="small")
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
    options.fixedBondLength = width / 8  # at most: ethylene is drawn as large as a part of a steroid
    drawer.DrawMolecule(_flat(mol))
    drawer.FinishDrawing()
    return drawer.GetDrawingText().encode()


def _matrix(figure: Figure, axis: "Axes", values: np.ndarray, title: str, classes: Sequence[str] = ()) -> None:
    """Draw one matrix, receiver down, sender across; NaN stays blank."""
    settings: dict[str, Any] = {"cmap": "viridis"}
    if classes:
        settings = {
            "cmap": ListedColormap(COLORS[: len(classes)]),
            "norm": BoundaryNorm(np.arange(len(classes) + 1) - 0.5, len(classes)),
        }
    image = axis.imshow(values, **settings)
    bar = figure.colorbar(image, ax=axis, shrink=0.75)
    if classes:
        bar.set_ticks(range(len(classes)), labels=list(classes))
    axis.set(title=title, xlabel="atom j (sends)", ylabel="atom i (receives)")


def _drawing(mol: "Mol", colors: "Sequence[tuple[float, ...]] | None" = None, numbers: bool = True) -> np.ndarray:
    """Draw a molecule, with its atoms numbered or not, and, with a colour for each atom, discs on the atoms."""
    from matplotlib.image import imread
    from rdkit.Chem.Draw import rdMolDraw2D

    drawer = rdMolDraw2D.MolDraw2DCairo(800, 800)
    options: Any = drawer.drawOptions()
    options.addAtomIndices = numbers
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


def _trimmed(picture: np.ndarray, margin: int = 20) -> np.ndarray:
    """Cut off the white around what is drawn, so that a title stands close to it."""
    drawn = np.any(picture[..., :3] < 1, axis=-1)
    rows, columns = np.flatnonzero(np.any(drawn, axis=1)), np.flatnonzero(np.any(drawn, axis=0))
    if not len(rows):
        return picture
    return picture[max(rows[0] - margin, 0) : rows[-1] + margin, max(columns[0] - margin, 0) : columns[-1] + margin]


def _flat(mol: "Mol") -> "Mol":
    """Return a copy that is drawn flat, whatever the molecule's conformer."""
    flat = type(mol)(mol)
    flat.RemoveAllConformers()
    return flat
