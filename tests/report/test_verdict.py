"""The verdict: a word for how good a model is, and how it stands beside simpler ones."""

from types import SimpleNamespace

import pytest

from dgl_moleblend.report.verdict import verdict


def run(value, classifies=False, candidates=None, metric="rmse", own=1.0, tasks=("y",)):
    name = "roc_auc" if classifies else "r2"
    test = {name: value, metric: value if metric == name else own}
    return SimpleNamespace(part="test", classifies=classifies, tasks=tasks, candidates=candidates,
                           metrics={"test": test, "metric": metric})  # fmt: skip


@pytest.mark.parametrize(
    ("value", "classifies", "word"),
    [(0.9, False, "good"), (0.5, False, "fair"), (-0.2, False, "poor"), (None, False, "unknown"),
     (0.81, True, "good"), (0.7, True, "fair"), (0.5, True, "poor")],
)  # fmt: skip
def test_the_word_goes_by_what_is_explained_or_ranked(value, classifies, word):
    assert verdict(run(value, classifies)).word == word


def test_it_stands_beside_simpler_models():
    others = {"forest": {"test": {"rmse": 2.0}}, "kernel": {"test": {"rmse": 1.005}}}
    assert verdict(run(0.9, candidates=others)).beside == (
        "Better than a random forest by 50% (RMSE, test rows).",
        "As good as the kernel machine alone, by RMSE on test rows.",
    )
    others = {"forest": {"test": {"roc_auc": 0.8}}}
    worse = verdict(run(0.72, True, others, "roc_auc"))
    assert worse.beside == ("Worse than a random forest by 10% (ROC AUC, test rows).",)


def test_a_poor_model_is_not_praised():
    others = {"forest": {"test": {"rmse": 2.0}}, "kernel": {"test": {"rmse": 0.8}}}
    poor = verdict(run(-2.49, candidates=others))
    assert (poor.word, poor.beside) == ("poor", ("Worse than the kernel machine alone by 25% (RMSE, test rows).",))
    assert len(verdict(run(0.4, candidates=others)).beside) == 2
