"""Pictures: what is drawn is what was given, files are written, and pyplot's global state is left alone."""

import sys

import numpy as np
import pandas as pd
import pytest

from dgl_moleblend.report import figures

NAN = float("nan")


def points(axis):
    return np.asarray(axis.collections[0].get_offsets())


def test_loss_curves_show_both_stages_and_skip_single_steps():
    curves = pd.DataFrame(
        {
            "step": [0, 1, 2],
            "train/loss_step": [9.0, 8.0, 7.0],
            "train/loss_epoch": [NAN, 5.0, 4.0],
            "validation/loss": [NAN, 6.0, 5.5],
            "validation/rmse": [NAN, 2.0, 1.0],
            "lr-AdamW": [1.0, 1.0, 1.0],
        }
    )
    figure = figures.loss_curves(curves)
    loss, rmse = [axis for axis in figure.axes if axis.axison]
    assert [line.get_label() for line in loss.lines] == ["train", "validation"]
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 5], [2, 4]])
    assert rmse.get_ylabel() == "RMSE"
    np.testing.assert_array_equal(rmse.lines[0].get_xydata(), [[1, 2], [2, 1]])


def test_parity_leaves_out_missing_labels():
    measured = np.array([[1.0, NAN], [2.0, 5.0]])
    predicted = np.array([[1.5, 4.0], [2.5, 4.5]])
    figure = figures.parity(predicted, measured, ["a", "b"], ["RMSE 0.50", ""])
    np.testing.assert_allclose(points(figure.axes[0]), [[1, 1.5], [2, 2.5]])
    np.testing.assert_allclose(points(figure.axes[1]), [[5, 4.5]])
    assert figure.axes[0].get_title() == "a\nRMSE 0.50", "above the points, none of which it covers"


def test_parity_is_square_and_coloured_by_similarity():
    measured, similarity = np.array([[1.0], [NAN], [3.0]]), np.array([0.2, 0.5, 0.9])
    axis = figures.parity(np.array([[9.0], [1.0], [2.0]]), measured, ["a"], similarity=similarity).axes[0]
    np.testing.assert_allclose(axis.collections[0].get_array(), [0.2, 0.9])
    assert axis.get_xlim() == axis.get_ylim()
    assert axis.get_aspect() == 1


def test_intervals_of_one_width_are_a_band_and_others_bars():
    values, widths = np.array([[1.0], [2.0], [4.0]]), np.array([[0.5], [0.5], [0.5]])
    figure = figures.parity(values, values, ["a"], half_widths=widths)
    band = figure.axes[0].collections[1].get_paths()[0].vertices
    np.testing.assert_allclose(np.abs(band[:, 1] - band[:, 0]), 0.5)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["90% interval"]
    widths[:, 0] = 0.5, NAN, 2.0
    axis = figures.parity(values, values, ["a"], half_widths=widths).axes[0]
    bars = [path.vertices[:, 1].tolist() for path in axis.collections[1].get_paths()]
    assert bars == [[0.5, 1.5], [2.0, 6.0]]
    assert axis.get_xlim() == axis.get_ylim() == figures.parity(values, values, ["a"]).axes[0].get_xlim()


def test_legends_lie_outside_the_panels():
    label = np.array([[0.0], [1.0]] * 20)
    pictures = [figures.roc(label, label, ["y"]), figures.precision_recall(label, label, ["y"]),
                figures.reliability(label.repeat(2, 1), label.repeat(2, 1), ["y", "z"]),
                figures.error_by_similarity(label[:, 0], label[:, 0]),
                figures.parity(label, label, ["y"], half_widths=label + 1)]  # fmt: skip
    for figure in pictures:
        figures.to_svg(figure)  # lays it out
        legend = figure.legends[0].get_window_extent()
        assert not any(legend.overlaps(axis.get_window_extent()) for axis in figure.axes)


def test_epochs_are_on_the_axis_and_the_kept_one_is_marked():
    curves = pd.DataFrame({"step": [3, 3, 6], "epoch": [0, 0, 1], "train/loss_epoch": [NAN, 5.0, 4.0],
                           "validation/loss": [6.0, NAN, 5.5]})  # fmt: skip
    figure = figures.loss_curves(curves, kept=1)
    axis = figure.axes[0]
    assert axis.get_xlabel() == "epoch"
    np.testing.assert_array_equal(axis.lines[0].get_xydata(), [[1, 5], [2, 4]])
    assert axis.lines[2].get_xdata() == [2, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "validation", "kept: epoch 2"]
    twice = pd.DataFrame({"step": [3, 6], "epoch": [0, 0], "validation/loss": [6.0, 5.5]})
    assert figures.loss_curves(twice).axes[0].get_xlabel() == "optimiser step", "an epoch is no place for two values"


def test_dots_of_rough_scores_are_hollow():
    figure = figures.score_dots({"a": 0.9, "b": 1.0, "c": 0.6}, "area", 0.5, ["b"], "hollow: few")
    full, hollow = figure.axes[0].collections[1:]
    np.testing.assert_allclose(full.get_offsets(), [[0.6, 0], [0.9, 1]])
    np.testing.assert_allclose(hollow.get_offsets(), [[1.0, 2]])
    assert hollow.get_facecolor().tolist() == [[1, 1, 1, 1]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hollow: few"]


def test_roc_leaves_out_tasks_of_one_class():
    labels = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, NAN]])
    figure = figures.roc(np.array([[0.1, 0.2], [0.8, 0.3], [0.9, 0.4]]), labels, ["good", "one class"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["good (1.000)"]


def test_more_panels_than_a_row_holds():
    figure = figures.parity(np.zeros((3, 6)), np.zeros((3, 6)), list("abcdef"))
    assert sum(axis.axison for axis in figure.axes) == 6


def test_names_are_no_formulae():
    names = [r"$\frac{", "a$b$c"]
    first, second = (figures.to_svg(figures.parity(np.ones((2, 2)), np.ones((2, 2)), names, names)) for _ in range(2))
    assert b"a$b$c" in first
    assert first == second, "the same picture, the same bytes"


def test_residuals_are_predicted_minus_measured():
    figure = figures.residuals(np.array([[2.0], [4.0], [1.0]]), np.array([[1.0], [1.0], [NAN]]), ["y"])
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 2
    assert figure.axes[0].get_title() == "y\nmean 2 (orange)", "above the bars, none of which it covers"


def test_precision_recall_and_reliability_are_scikit_learns(generator):
    from sklearn.metrics import average_precision_score

    source = np.random.default_rng(0)
    value = source.uniform(size=(400, 1))
    label = (source.uniform(size=(400, 1)) < value).astype(float)
    label[:5] = NAN
    present = ~np.isnan(label[:, 0])
    figure = figures.precision_recall(value, label, ["y"])
    expected = average_precision_score(label[present, 0], value[present, 0])
    assert figure.legends[0].get_texts()[0].get_text() == f"y ({expected:.3f})"
    given, found = figures.reliability(value, label, ["y"]).axes[0].lines[1].get_data()
    assert len(given) == 10
    np.testing.assert_allclose(found, given, atol=0.2)


def test_error_by_similarity_joins_means_of_like_molecules():
    similarity = np.linspace(0, 1, 60)
    axis = figures.error_by_similarity(similarity, 1 - similarity).axes[0]
    x, y = axis.lines[0].get_data()
    assert len(x) == 6
    np.testing.assert_allclose(y, 1 - x)
    assert not figures.error_by_similarity(similarity[:5], similarity[:5]).axes[0].lines, "too few for means"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_formats(suffix, tmp_path):
    path = figures.save(figures.parity(np.ones((1, 1)), np.ones((1, 1)), ["a"]), tmp_path / f"p.{suffix}")
    assert path.stat().st_size > 1000


def test_pyplot_is_not_needed():
    import subprocess

    code = "import sys, dgl_moleblend.report.figures as f, numpy as n; f.parity(n.ones((1, 1)), n.ones((1, 1)), ['a'])"
    check = f"{code}; sys.exit('matplotlib.pyplot' in sys.modules or 'rdkit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
