"""Arrays of nodes answer as the trees of scikit-learn that they were taken from."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from dgl_moleblend.models import forest as forest_module
from dgl_moleblend.models.forest import Forest


@pytest.mark.parametrize("grower", [RandomForestRegressor, ExtraTreesRegressor])
@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("at_once", [100, 10**6])
def test_arrays_answer_as_scikit_learn(grower, tasks, at_once, monkeypatch):
    monkeypatch.setattr(forest_module, "_AT_ONCE", at_once)
    random = np.random.default_rng(0)
    x, new = random.normal(size=(120, 6)).astype(np.float32), random.normal(size=(50, 6)).astype(np.float32)
    x[:, 3], new[:, 3] = x[:, 3].round(), new[:, 3].round()
    y = random.normal(size=(120, tasks))
    grown = grower(20, random_state=0).fit(x, y if tasks > 1 else y[:, 0])
    forest = Forest.from_trees([tree.tree_ for tree in grown.estimators_])
    at_thresholds = x[:50].copy()
    at_thresholds[:, 0] = forest.threshold[forest.right > 0][:50]
    for rows in (new, x, at_thresholds):
        np.testing.assert_allclose(forest.predict(rows), grown.predict(rows).reshape(-1, tasks), atol=1e-6)
    forest.check(6, "tasks 0")
