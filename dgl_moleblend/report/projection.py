"""A picture of embeddings: each molecule in the plane of their two main components."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from dgl_moleblend.errors import DataError


def embedding_map(embeddings: np.ndarray, values: np.ndarray | None = None, name: str = "") -> Figure:
    """Draw the first two principal components of embeddings.

    Parameters
    ----------
    embeddings : ndarray, shape (N, d)
        Of molecules or atoms.
    values : ndarray, shape (N,), optional
        Colour the points; NaN is grey.
    name : str
        What the values are.

    Returns
    -------
    Figure
        The axes say which share of the variance they show.

    Raises
    ------
    DataError
        If there are fewer than two embeddings.
    """
    if len(embeddings) < 2:
        raise DataError(f"{len(embeddings)} embeddings make no picture", fix="give two molecules at least")
    pca = PCA(2, random_state=0)
    points = pca.fit_transform(np.asarray(embeddings, np.float64))
    figure = Figure(figsize=(6, 5), layout="constrained")
    axis = figure.add_subplot()
    known = np.zeros(len(points), bool) if values is None else ~np.isnan(values)
    style: dict[str, Any] = {"s": 14, "linewidths": 0, "rasterized": len(points) > 3000}
    axis.scatter(points[~known, 0], points[~known, 1], color="#0072b2" if values is None else "lightgrey", **style)
    if values is not None and known.any():
        drawn = axis.scatter(points[known, 0], points[known, 1], c=values[known], cmap="viridis", **style)
        figure.colorbar(drawn, ax=axis, label=name.replace("$", r"\$"))
    shares = [f"principal component {k + 1} ({share:.0%})" for k, share in enumerate(pca.explained_variance_ratio_)]
    axis.set(xlabel=shares[0], ylabel=shares[1])
    return figure
