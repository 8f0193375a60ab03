"""Intervals cover what they promise; probabilities are rescaled only where that helps; files run no code."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax
from scipy.stats import binom

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.predict.calibrated import find_calibration, held_out
from dgl_moleblend.predict.calibration import MEMBERS, Calibration, calibrate
from dgl_moleblend.predict.ensemble import Ensemble
from dgl_moleblend.predict.intervals import TaskCalibration, conformal_quantile
from dgl_moleblend.predict.members import member_folders


def table(label, value, split="validation", name="y"):
    return pd.DataFrame({"row": range(len(label)), "smiles": "C", "split": split, name: label,
                         f"{name}_predicted": value})  # fmt: skip


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_exchangeable_rows_are_covered_as_promised(coverage):
    # each trial has its own calibration, so that the trials are independent and their number covered is binomial
    generator = np.random.default_rng(0)
    n, trials = 29, 2000
    residuals = np.sort(
        generator.standard_t(2, size=(trials, n)).__abs__(), axis=1
    )  # heavy tails: no normal law needed
    new = np.abs(generator.standard_t(2, size=trials))
    covered = sum(one <= conformal_quantile(row, coverage) for one, row in zip(new, residuals, strict=True))
    low, high = binom.interval(0.999, trials, math.ceil((n + 1) * coverage) / (n + 1))
    assert low <= covered <= high


@pytest.mark.parametrize(
    ("n", "coverage", "rank"), [(9, 0.9, 9), (19, 0.9, 18), (10, 0.9, 10), (9, 0.7, 7), (99, 0.95, 95)]
)
def test_the_quantile_is_that_of_the_finite_sample(n, coverage, rank):
    assert conformal_quantile(np.arange(1.0, n + 1), coverage) == rank


def test_too_few_rows_make_no_finite_interval():
    assert conformal_quantile(np.ones(8), 0.9) == math.inf
    assert conformal_quantile(np.empty(0), 0.5) == math.inf


@pytest.mark.parametrize("coverage", [0, 1, 1.5, math.nan])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal_quantile(np.ones(8), coverage)


def test_validation_rows_make_the_interval_and_test_rows_check_it():
    validation = table([1.0, 2, 3, np.nan, 5], [1.5, 2, 1, 7, 5.25])
    test = table([0.0, 0, np.nan, 0], [0.1, 0.4, 9, 3], "test")
    found = calibrate(pd.concat([validation, test]), ["y"], "regression").tasks["y"]
    assert found.residuals == (0, 0.25, 0.5, 2)
    assert found.rows == 4
    assert found.half_width(0.5) == 0.5
    assert found.test == {"rows": 3, "covered": {"0.5": 2 / 3, "0.8": 2 / 3, "0.9": 1.0, "0.95": 1.0}}
    assert calibrate(test, ["y"], "regression").tasks["y"].half_width(0.5) == math.inf


def uneven(rows, seed, spread):
    """Errors as large as a model holds possible, where that differs by `spread` between molecules."""
    generator = np.random.default_rng(seed)
    deviation = np.exp(spread * generator.normal(size=rows))
    return generator.normal(size=rows) * deviation, deviation


def test_intervals_are_wider_where_the_model_knows_less():
    error, deviation = uneven(400, 0, 1.0)
    test_error, test_deviation = uneven(4000, 1, 1.0)
    known = table(np.zeros(400), error).assign(y_deviation=deviation)
    both = pd.concat([known, table(np.zeros(4000), test_error, "test").assign(y_deviation=test_deviation)])
    found = calibrate(both, ["y"], "regression", "kernel")
    task = found.tasks["y"]
    assert found.deviation_of == "kernel"
    assert task.deviations == tuple(np.quantile(deviation, (0.05, 0.5, 0.95)))
    width = task.half_width(0.9, test_deviation)
    np.testing.assert_allclose(width / test_deviation, task.half_width(0.9)[1] / task.deviations[1])
    assert task.test["covered"]["0.9"] == np.mean(np.abs(test_error) <= width)
    assert abs(task.test["covered"]["0.9"] - 0.9) < 0.03
    sure = test_deviation < 0.5
    assert abs(np.mean(np.abs(test_error[sure]) <= width[sure]) - 0.9) < 0.03
    alike = calibrate(both, ["y"], "regression").tasks["y"]  # it is not said whose deviations these are
    assert np.mean(np.abs(test_error[sure]) <= alike.half_width(0.9)) > 0.99  # one width: too wide for these
    assert width.mean() < alike.half_width(0.9)


@pytest.mark.parametrize("rows", [10, 400])
def test_intervals_are_alike_where_the_deviations_say_nothing(rows):
    error = np.random.default_rng(0).normal(size=rows)
    known = table(np.zeros(rows), error).assign(y_deviation=uneven(rows, 1, 1.0)[1])
    found = calibrate(known, ["y"], "regression", "kernel")
    assert found.deviation_of is None
    assert found.tasks["y"] == calibrate(known.drop(columns="y_deviation"), ["y"], "regression").tasks["y"]


@pytest.mark.parametrize(("validation", "test"), [(30, 40), (9, 200), (200, 20)])
def test_exchangeable_rows_seldom_fall_short_and_others_do(validation, test):
    generator = np.random.default_rng(0)

    def shortfalls(scale, trials=2000):
        found = 0
        for _ in range(trials):
            residuals = np.sort(np.abs(generator.normal(size=validation)))
            errors = np.abs(scale * generator.normal(size=test))
            share = float(np.mean(errors <= conformal_quantile(residuals, 0.9)))
            task = TaskCalibration(validation, tuple(residuals), test={"rows": test, "covered": {"0.9": share}})
            found += task.falls_short(0.9)
        return found / trials

    assert shortfalls(1) <= binom.ppf(0.999, 2000, 0.025) / 2000
    assert shortfalls(5, 200) > 0.9


def test_nothing_falls_short_of_what_is_not_promised():
    assert not TaskCalibration(30, (1.0,) * 30).falls_short(0.9)  # no test rows
    covered = {"rows": 50, "covered": {"0.9": 0.0}}
    assert not TaskCalibration(8, (1.0,) * 8, test=covered).falls_short(0.9)  # no interval
    assert TaskCalibration(9, (1.0,) * 9, test=covered).falls_short(0.9)


def drawn(rows, slope, seed=0):
    generator = np.random.default_rng(seed)
    logit = generator.normal(size=rows)
    return (generator.random(rows) < expit(logit)).astype(float), expit(slope * logit)


def test_overconfident_probabilities_are_rescaled():
    label, probability = drawn(400, 5)
    found = calibrate(table(label, probability), ["y"], "classification").tasks["y"]
    assert found.platt[0] == pytest.approx(1 / 5, rel=0.5)
    fresh, overconfident = drawn(4000, 5, seed=1)
    rescaled = found.rescale(overconfident)
    assert log_loss(fresh, rescaled) < 0.8 * log_loss(fresh, overconfident)
    assert (np.diff(rescaled[np.argsort(overconfident)]) >= 0).all()


def log_loss(label, probability):
    return -np.mean(np.log(np.where(label == 1, probability, 1 - probability)))


@pytest.mark.parametrize(
    ("label", "probability"),
    [drawn(300, 1), drawn(8, 5), (np.ones(50), np.full(50, 0.2)), drawn(300, -1), (np.empty(0), np.empty(0))],
    ids=["calibrated already", "few rows", "one class", "worse than guessing", "no rows"],
)
def test_probabilities_stay_where_rescaling_does_not_help(label, probability):
    found = calibrate(table(label, probability), ["y"], "classification").tasks["y"]
    assert found.platt is None
    assert found.rescale(probability) is probability


def drawn_of_three(rows, sharpness, seed=0):
    """A table of three classes, whose probabilities are those that they are drawn by, sharpened."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, 3))
    label = np.array([generator.choice(3, p=one) for one in softmax(logits, axis=1)], int)
    found = pd.DataFrame({"row": range(rows), "smiles": "C", "split": "validation"})
    for k, value in enumerate(softmax(sharpness * logits, axis=1).T):
        found[f"y={k}"], found[f"y={k}_predicted"] = (label == k).astype(float), value
    return found


THREE = ["y=0", "y=1", "y=2"]


def likelihood(rows, values):
    return np.log(values[np.arange(len(rows)), rows[THREE].to_numpy().argmax(1)]).mean()


@pytest.mark.parametrize("sharpness", [4, 0.3], ids=["overconfident", "underconfident"])
def test_probabilities_of_three_classes_get_the_temperature_they_were_drawn_by(sharpness):
    known, fresh = drawn_of_three(600, sharpness), drawn_of_three(3000, sharpness, seed=1)
    known.loc[5, THREE] = np.nan  # a missing label
    found = calibrate(known, THREE, "multiclass")
    assert found.temperature == pytest.approx(sharpness, rel=0.2)
    values = fresh[[f"{name}_predicted" for name in THREE]].to_numpy()
    rescaled = found.rescale(THREE, values)
    assert rescaled.sum(1) == pytest.approx(1)
    assert (np.argsort(rescaled, 1) == np.argsort(values, 1)).all()
    assert likelihood(fresh, rescaled) > likelihood(fresh, values) + 0.05


@pytest.mark.parametrize(("rows", "sharpness"), [(600, 1), (29, 4), (0, 4)], ids=["calibrated", "few", "none"])
def test_probabilities_of_three_classes_stay_where_a_temperature_does_not_help(rows, sharpness):
    found = calibrate(drawn_of_three(rows, sharpness), THREE, "multiclass")
    assert found.temperature is None
    values = np.array([[0.5, 0.3, 0.2]])
    assert (found.rescale(THREE, values) == values).all()


def test_a_file_holds_what_was_calibrated(tmp_path):
    path = tmp_path / "calibration.json"
    error, deviation = uneven(400, 0, 1.0)
    wide = table(np.zeros(400), error).assign(y_deviation=deviation)
    for rows, task_type in ((table([1.0, 2, 3], [1.5, 2, 1]), "regression"), (table(*drawn(400, 5)), "classification"),
                            (wide, "regression")):  # fmt: skip
        written = calibrate(rows, ["y"], task_type, "kernel")
        written.write(path)
        assert Calibration.read(path) == written
        assert find_calibration([tmp_path]) == written
    written = calibrate(drawn_of_three(600, 4), THREE, "multiclass")
    written.write(path)
    assert Calibration.read(path) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"tasks": []}',
        '{"task_type": "regression", "tasks": {"y": {"rows": 1, "residuals": [-1]}}}',
        '{"task_type": "multiclass", "tasks": {}, "temperature": 0}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"calibration.json is no calibration[\s\S]*fix:   delete it"):
        Calibration.read(tmp_path / "calibration.json")


def test_models_that_held_out_the_same_row_are_averaged_and_those_that_learned_from_it_are_not_asked(tmp_path):
    rows = {"a": [(0, "validation", 1.0, 1.5), (1, "test", 2.0, 2.5)],
            "b": [(0, "validation", 1.0, 2.5), (2, "validation", 3.0, 3.25)]}  # fmt: skip
    columns = ["row", "split", "y", "y_predicted"]
    tables = [pd.DataFrame(values, columns=columns).assign(id="", smiles="C") for values in rows.values()]
    found = held_out(tables).set_index("row")
    assert found["y_predicted"].to_dict() == {0: 2.0, 1: 2.5, 2: 3.25}
    assert found["split"].to_dict() == {0: "validation", 1: "test", 2: "validation"}


def folds_of(generator, rows, scales):
    """predictions.csv of as many models as there are scales: each validates on the fold behind its test fold."""
    fold = np.arange(rows) % len(scales)
    for k, scale in enumerate(scales):
        parts = [("test", fold == k, scale), ("validation", fold == (k + 1) % len(scales), 1.0)]
        yield pd.concat([
            pd.DataFrame({"row": np.flatnonzero(here), "smiles": "C", "split": split, "y": 0.0,
                          "y_predicted": width * generator.normal(size=here.sum())})
            for split, here, width in parts
        ])  # fmt: skip


def saved(tmp_path, tables):
    extra = {"task_names": ["y"], "task_type": "regression"}
    for number, one in enumerate(tables):
        folder = tmp_path / f"fold-{number}"
        folder.mkdir(parents=True)
        one.to_csv(folder / "predictions.csv", index=False)
        document = {"kind": "predictor", "extra": extra}
        (folder / "config.json").write_text(json.dumps(document))
    return sorted(tmp_path.glob("fold-*"))


def test_in_folds_no_row_is_held_against_an_interval_that_it_made(tmp_path, monkeypatch):
    tables = list(folds_of(np.random.default_rng(0), 200, [1, 1, 1, 10]))
    monkeypatch.setattr("dgl_moleblend.folder.read", lambda *args, **kwargs: SimpleNamespace(
        extra={"task_names": ["y"], "task_type": "regression"}))  # fmt: skip
    found = find_calibration(saved(tmp_path, tables)).tasks["y"]
    assert found.rows == 200  # all validation rows make the interval of new molecules
    assert [fold["validation"] for fold in found.test["folds"]] == [50] * 4
    for fold, one in zip(found.test["folds"], tables, strict=True):
        alone = calibrate(one, ["y"], "regression").tasks["y"].test
        assert {key: fold[key] for key in ("rows", "covered")} == alone
    assert found.test["rows"] == 200
    assert found.test["covered"]["0.9"] == np.mean([fold["covered"]["0.9"] for fold in found.test["folds"]])
    assert found.test["folds"][3]["covered"]["0.9"] < 0.4
    assert found.falls_short(0.9)
    with_alike = find_calibration(saved(tmp_path / "alike", folds_of(np.random.default_rng(1), 200, [1] * 4)))
    assert not with_alike.tasks["y"].falls_short(0.9)


def test_exchangeable_folds_seldom_fall_short():
    generator, short, trials = np.random.default_rng(0), 0, 300
    for _ in range(trials):
        folds = [calibrate(one, ["y"], "regression").tasks["y"] for one in folds_of(generator, 150, [1] * 5)]
        counted = {"folds": [{"validation": fold.rows, **fold.test} for fold in folds]}
        short += TaskCalibration(150, folds[0].residuals, test=counted).falls_short(0.9)
    assert short <= binom.ppf(0.999, trials, 0.025)


def test_an_ensemble_names_its_models(tmp_path):
    assert member_folders(tmp_path) == [tmp_path]
    path = tmp_path / "ensemble.json"
    path.write_text(json.dumps({"models": ["seed-0", "seed-1"]}))
    assert member_folders(tmp_path) == [tmp_path / "seed-0", tmp_path / "seed-1"]
    for text in ("{", "[]", '{"models": []}', '{"models": "seed-0"}'):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"ensemble.json names no models[\s\S]*folders beside it"):
            member_folders(tmp_path)


class Member:
    """A model that predicts as it is told."""

    task_names, task_type, smiles_columns = ("y",), "regression", ()

    def __init__(self, values):
        self.values, self.featurizer = np.asarray(values, float)[:, None], FeaturizerConfig()

    def predict(self, dataset, **_):
        return self.values


def test_intervals_go_by_what_models_differ_by_where_that_tells_their_errors():
    generator = np.random.default_rng(0)
    error, deviation = uneven(300, 0, 1.0)
    drawn = generator.normal(size=(12, 300)) * deviation
    tables = [table(error, one) for one in drawn - drawn.mean(0)]
    together = held_out(tables)
    spread = np.std(drawn, axis=0, ddof=1)
    np.testing.assert_allclose(together["y_deviation"], spread)
    found = calibrate(together, ["y"], "regression", MEMBERS)
    assert found.deviation_of == MEMBERS
    dataset = MoleculeDataset.from_smiles(["CCO", "CC"])
    values = np.array([[1.0, 5.0], [3.0, 5.5]])
    columns = Ensemble(tuple(map(Member, values)), found).predict_columns(dataset)
    expected = found.tasks["y"].half_width(0.9, np.std(values, axis=0, ddof=1))
    np.testing.assert_allclose(columns["y_upper"] - columns["y_predicted"], expected)
    assert expected[0] > 3 * expected[1]
    own = [one.assign(y_deviation=3.0) for one in tables]
    np.testing.assert_allclose(held_out(own)["y_deviation"], np.sqrt(9 + spread**2))
    alike = held_out([table(error, error), table(error[:9], error[:9])])
    assert alike["y_deviation"].notna().sum() == 9, "of one model alone nothing is known"
    assert calibrate(alike, ["y"], "regression", MEMBERS).deviation_of is None
