"""A picture of embeddings shows their main components, coloured where a value is known."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from dgl_moleblend.errors import DataError
from dgl_moleblend.report.projection import embedding_map

VECTORS = np.random.default_rng(0).normal(size=(30, 8)) * np.arange(8, 0, -1)


def points(figure):
    return np.concatenate([np.asarray(drawn.get_offsets()) for drawn in figure.axes[0].collections])


def test_points_are_the_principal_components():
    figure = embedding_map(VECTORS)
    pca = PCA(2, random_state=0)
    np.testing.assert_allclose(points(figure), pca.fit_transform(VECTORS))
    share = pca.explained_variance_ratio_[0]
    assert figure.axes[0].get_xlabel() == f"principal component 1 ({share:.0%})"
    assert len(figure.axes) == 1


def test_values_colour_the_points_that_have_one():
    values = np.where(np.arange(30) < 10, np.nan, np.arange(30.0))
    figure = embedding_map(VECTORS, values, "logS")
    unknown, known = figure.axes[0].collections
    assert len(unknown.get_offsets()) == 10
    np.testing.assert_array_equal(known.get_array(), values[10:])
    assert figure.axes[1].get_ylabel() == "logS"


def test_one_embedding_makes_no_picture():
    with pytest.raises(DataError, match="1 embeddings make no picture"):
        embedding_map(VECTORS[:1])
