"""report.html: what it says is what the files say, it stands alone, and nothing in the files leaves its place."""

import base64
import hashlib
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from folders import copy_to_edit
from pages import EVIL, Page, visit
from tables import QUIET, chains, parts

import dgl_moleblend as mb
from dgl_moleblend.data.folds import split_into_folds
from dgl_moleblend.data.splits import Split
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.models.scores import METRICS, main_metrics, shared_metrics
from dgl_moleblend.predict.calibration import COVERAGES, Calibration
from dgl_moleblend.predict.intervals import TaskCalibration
from dgl_moleblend.report import page as page_module
from dgl_moleblend.report.findings import number
from dgl_moleblend.report.page import write_report
from dgl_moleblend.report.results import read_results
from dgl_moleblend.report.trust import TRUST
from dgl_moleblend.report.words import METRIC_NAMES, score_text
from dgl_moleblend.train.ensemble import finetune_folds, finetune_seeds
from dgl_moleblend.train.finetune import finetune

SECTIONS = ["scores", "molecules", "predictions", "worst", "training", "use", "settings"]
WIDTHS = (360, 600, 1000, 1400)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of a regression and of a classification, of two properties each, with rejected rows."""
    config = mb.TrainingConfig(max_epochs=2, batch_size=8, learning_rate=3e-3)
    made = {}
    for task_type in ("regression", "classification"):
        dataset = chains(60, task_type=task_type, rejects=3)
        split = parts(dataset, validation=12, test=20)
        split["train"] = split["train"][:-1]  # one row in no part
        out = tmp_path_factory.mktemp(task_type) / "m"
        settings = {"start": mb.EncoderConfig.tiny(), "training": config, "compute": QUIET}
        facts = {"split": "scaffold", "fractions": [0.4, 0.2, 0.4]}
        finetune(dataset, Split(split, facts), out, **settings)
        (out / "report.html").unlink()  # it is made anew from files that the tests change
        made[task_type] = out
    return made


@pytest.fixture(params=["regression", "classification"])
def folder(request, folders, tmp_path):
    """A copy to spoil."""
    return copy_to_edit(folders[request.param], tmp_path / "m")


@pytest.fixture
def regression(folders, tmp_path):
    """A copy of the regression to spoil."""
    return copy_to_edit(folders["regression"], tmp_path / "m")


@pytest.fixture(scope="module", params=["seeds", "folds"])
def several(request, tmp_path_factory):
    """The folder of several models of two properties."""
    dataset, out = chains(36, rejects=2), tmp_path_factory.mktemp(request.param) / "m"
    settings = {"start": mb.EncoderConfig.tiny(), "compute": QUIET,
                "training": mb.TrainingConfig(max_epochs=1, batch_size=8)}  # fmt: skip
    if request.param == "seeds":
        finetune_seeds(dataset, parts(dataset, validation=12), out, seeds=2, **settings)
    else:
        folds = [split.parts for split in split_into_folds(dataset, 3, method="random")]
        finetune_folds(dataset, folds, out, **settings)
    return out


def change(path: Path, **columns: object) -> None:
    """Write columns of a CSV file anew."""
    pd.read_csv(path, dtype=str, keep_default_na=False).assign(**columns).to_csv(path, index=False)


def test_the_page_stands_alone(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    page = Page(path)
    (script,) = re.findall("<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.source, "no other script can run"
    assert len(page.all("script")) == 1
    addresses = [value for _, attributes in page.elements for name, value in attributes.items()
                 if name in ("src", "href", "srcset", "data", "action", "poster")]  # fmt: skip
    assert addresses
    assert all(value.startswith(("data:", "#")) for value in addresses)
    assert not re.search(r"url\(|@import|https?://", re.sub(r"data:[^\"]*", "", page.source))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    identifiers = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {link.removeprefix("#") for link in addresses if link.startswith("#")} <= identifiers
    assert set(SECTIONS) <= identifiers


def test_every_picture_is_there_and_described(folder):
    pictures = Page(write_report(folder)).all("img")
    assert len(pictures) >= 10
    for picture in pictures:
        assert picture["alt"]
        kind, _, data = picture["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        drawing = ElementTree.fromstring(base64.b64decode(data, validate=True))
        assert drawing.tag.endswith("svg")
        for element in drawing.iter():
            for name, value in element.attrib.items():
                assert not name.endswith("href") or value.startswith(("#", "data:")), (name, value[:80])


def test_every_input_row_is_counted(folder):
    page = Page(write_report(folder))
    counts = dict(page.table("counts").iloc[:, :2].itertuples(index=False))
    assert counts == {"rows in the input": "63", "train": "27", "validation": "12", "test": "20", "not used": "1",
                      "rejected": "3"}  # fmt: skip
    numbers = [int(number) for number in counts.values()]
    assert numbers[0] == sum(numbers[1:])
    assert page.table("reasons").iloc[1:].to_numpy().tolist() == [["3", "parse", "no SMILES"]]
    assert page.table("rejects")[0].tolist() == ["row", "1", "3", "5"]
    assert "Split: scaffold . Molecules with the same ring scaffold" in page.text


@pytest.mark.parametrize(
    ("kind", "text"), [("column", "A column of the input says"), ("file", "Molecules of some files were kept")]
)
def test_a_split_that_was_given_is_put_in_words(regression, kind, text):
    config = json.loads((regression / "config.json").read_text())
    config["extra"]["facts"] = {"split": kind}
    (regression / "config.json").write_text(json.dumps(config))
    assert f"Split: {kind} . {text}" in Page(write_report(regression)).text


def test_scores_are_those_of_the_files(folder):
    page = Page(write_report(folder))
    metrics = json.loads((folder / "metrics.json").read_text())
    tasks = page.table("tasks").set_index(0)
    for name, score in metrics["test"]["tasks"].items():
        assert tasks.loc[name, 1] == str(score["labels"])
        for column, metric in enumerate(METRICS[metrics["task_type"]][:3], 2):
            mean = metrics["mean_predictor"]["test"]["tasks"][name][metric]
            expected = f"{score_text(score[metric], metric)} ({score_text(mean, metric)})"
            assert " ".join(tasks.loc[name, column].split()) == expected
    further = page.text.split("More scores: ")[1]
    for metric in shared_metrics(metrics["task_type"], len(metrics["test"]["tasks"]))[3:]:
        values = [score_text(metrics[part][metric], metric) for part in ("validation", "test")]
        assert " ".join([METRIC_NAMES[metric], *values]) in further


def test_scores_of_a_version_that_had_fewer_are_reported(folder):
    """As metrics.json was before there were correlations, and scores of classes told at a threshold."""
    metrics = json.loads((folder / "metrics.json").read_text())
    old = METRICS[metrics["task_type"]][: 3 if metrics["task_type"] == "regression" else 2]
    new = {*METRICS[metrics["task_type"]]} - {*old}
    for part in (metrics["validation"], metrics["test"], *metrics["mean_predictor"].values()):
        for scores in (part, part["left_out"], *part["tasks"].values()):
            for name in new:
                del scores[name]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text = Page(write_report(folder)).text
    assert "More scores" not in text
    first = shared_metrics(metrics["task_type"], len(metrics["test"]["tasks"]))[0]
    assert score_text(metrics["test"][first], first) in text


def keep_one_property(regression: Path) -> dict:
    """Leave the property "atoms" in a folder; return its metrics."""
    config = json.loads((regression / "config.json").read_text())
    metrics = json.loads((regression / "metrics.json").read_text())
    config["extra"]["task_names"] = ["atoms"]
    config["extra"]["scaling"] = {name: values[:1] for name, values in config["extra"]["scaling"].items()}
    for part in (metrics["validation"], metrics["test"], *metrics["mean_predictor"].values()):
        part["tasks"] = {"atoms": part["tasks"]["atoms"]}
        part.update({name: part["tasks"]["atoms"][name] for name in ("rmse", "mae", "r2")})
    (regression / "config.json").write_text(json.dumps(config))
    (regression / "metrics.json").write_text(json.dumps(metrics))
    return metrics


def test_one_property_is_put_in_words(regression):
    metrics = keep_one_property(regression)
    table = pd.read_csv(regression / "predictions.csv")
    test = table[table["split"] == "test"]
    half, most = (test["atoms"] - test["atoms_predicted"]).abs().quantile([0.5, 0.9])
    text = Page(write_report(regression)).text
    assert f"within ±{number(half)} of what was measured, nine in ten within ±{number(most)} (atoms, in" in text
    mean = score_text(metrics["mean_predictor"]["test"]["mae"], "mae")
    assert f"always predicting the training mean has {mean}" in text
    assert "There are only 20 test labels" in text


def test_the_worst_are_the_worst(regression):
    table = pd.read_csv(regression / "predictions.csv", dtype={"row": str})
    test = (table["split"] == "test").to_numpy()
    worst = np.flatnonzero(test)[[3, 8]]
    table.loc[worst, "atoms_predicted"] = table.loc[worst, "atoms"] + [500.0, 1000.0]
    table.to_csv(regression / "predictions.csv", index=False)
    page = Page(write_report(regression))
    rows = re.findall(r"row (\d+): chain", page.text)
    assert len(rows) == 20, "ten worst and ten best"
    assert len({*rows}) == 20
    assert rows[:2] == table.loc[worst[::-1], "row"].tolist()


def test_what_stands_in_the_files_stays_text(folder):
    table = pd.read_csv(folder / "predictions.csv")
    smiles = table["smiles"].where(table.index % 2 == 0, EVIL)
    change(folder / "predictions.csv", id=EVIL, smiles=smiles.tolist())
    change(folder / "rejects.csv", id=EVIL, smiles=EVIL, reason=EVIL, stage=EVIL)
    config = json.loads((folder / "config.json").read_text())
    config["extra"]["facts"] = {"split": EVIL, EVIL: EVIL}
    (folder / "config.json").write_text(json.dumps(config))
    page = Page(write_report(folder))
    assert len(page.all("script")) == 1
    assert all(set(picture) == {"src", "alt", "loading"} for picture in page.all("img"))
    assert EVIL in page.text
    assert "cannot be drawn" in page.text


def test_names_of_properties_stay_text(regression):
    names = {"atoms": r"$\frac{<b>", "nitrogens": EVIL}
    for file in ("config.json", "metrics.json"):
        text = (regression / file).read_text()
        for old, new in names.items():
            text = text.replace(f'"{old}"', json.dumps(new))
        (regression / file).write_text(text)
    table = pd.read_csv(regression / "predictions.csv")
    table.columns = [names.get(c, names.get(c.removesuffix("_predicted"), "") + "_predicted" if "_p" in c else c)
                     for c in table.columns]  # fmt: skip
    table.to_csv(regression / "predictions.csv", index=False)
    page = Page(write_report(regression))
    assert r"$\frac{<b>, <img" in page.text
    assert len(page.all("script")) == 1
    assert not page.all("b") or all(not attributes for attributes in page.all("b"))


def test_the_same_files_give_the_same_page(folder):
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert len(first) < 2_000_000


def test_what_may_be_absent(regression):
    assert "nearest training molecule" in Page(write_report(regression)).text
    (regression / "rejects.csv").unlink()
    (regression / "calibration.json").unlink()
    pd.read_csv(regression / "predictions.csv").drop(columns="similarity").to_csv(
        regression / "predictions.csv", index=False
    )
    page = Page(write_report(regression))
    assert dict(page.table("counts").iloc[:, :2].itertuples(index=False))["rejected"] == "0"
    assert "nearest training molecule" not in page.text


def test_scores_for_reading_and_those_of_a_network(regression):
    metrics = keep_one_property(regression)
    metrics["test"] |= {"r2": -0.000773, "spearman": 0.8764}
    (regression / "metrics.json").write_text(json.dumps(metrics))
    curves = read_results(regression).curves
    best = curves.dropna(subset=["validation/rmse"]).sort_values("validation/rmse", kind="stable").iloc[0]
    page = Page(write_report(regression))
    scores = page.text.split("More scores")[0]
    assert " 0.00 " in scores.split("R² ")[-1]
    assert " 0.88 " in scores.split("Spearman ")[-1], "among the first"
    kept = int(best["epoch"]) + 1
    assert f"the weights kept are those of epoch {kept}, with the best validation" in page.text
    marked = [picture["alt"] for picture in page.all("img") if " during training" in picture["alt"]]
    assert marked
    assert all(f"epoch {kept} is marked, whose weights were kept" in alt for alt in marked)
    metrics["best"] = None
    (regression / "metrics.json").write_text(json.dumps(metrics))
    text = Page(write_report(regression)).text
    assert "the weights kept are those of the last epoch." in text
    assert "watched during training; the last weights were kept" in text


def test_similarity_is_shown_where_it_is_known(folder):
    table = pd.read_csv(folder / "predictions.csv")
    change(folder / "predictions.csv", similarity=np.linspace(0.1, 1, len(table)).round(3).astype(str))
    page = Page(write_report(folder))
    assert "Tanimoto similarity" in page.text


def calibrated(folder: Path, covered: float, rows: int = 40, kind: str = "regression", platt=None) -> str:
    """The text of a report whose two properties are calibrated alike."""
    test = {"rows": 200, "covered": {str(c): covered for c in COVERAGES}} if kind == "regression" else {}
    residuals = tuple(np.arange(1.0, rows + 1) if kind == "regression" else ())
    task = TaskCalibration(rows, residuals, platt, test)
    Calibration(kind, {"atoms": task, "nitrogens": task}).write(folder / "calibration.json")
    return Page(write_report(folder)).text


def test_what_intervals_cover_is_put_in_words(regression):
    kept = calibrated(regression, 0.91)
    assert "a 90% interval for each of 2 properties, taken from the errors of the validation rows" in kept
    assert "it covers 91% of the test rows of a property on average" in kept
    assert kept.count(TRUST) == 1
    assert "tasks: atoms: rows 40" in kept  # among the settings
    assert "less than chance explains" not in kept
    broken = calibrated(regression, 0.6)
    assert "it covers 60%" in broken
    assert "That is less than chance explains for 2 properties: atoms, nitrogens." in broken
    assert "The test rows of a scaffold split are not like the validation rows" in broken
    few = calibrated(regression, 0.9, rows=5)
    assert (
        "Predictions have no 90% interval: it takes 9 validation rows with a label, and no property has so many" in few
    )
    assert TRUST not in few, "there is no interval to trust"


@pytest.mark.parametrize(
    ("covered", "words"),
    [
        (0.93, "it covers 186 of 200 test rows (93%). "),
        (0.88, "it covers 176 of 200 test rows (88%, within chance of 90%). "),
        (0.6, "it covers 120 of 200 test rows (60%). That is less than chance explains. The test rows of a scaffold "),
    ],
)
def test_the_interval_of_one_property_is_told_in_its_unit(regression, covered, words):
    keep_one_property(regression)
    half_width = (
        "a 90% interval of ±37.0 (in the unit of the input column), taken from the errors of 40 validation rows; "
    )
    assert half_width + words in calibrated(regression, covered) + " "


def test_an_interval_that_falls_short_after_a_random_split_has_another_reason(regression):
    config = json.loads((regression / "config.json").read_text())
    config["extra"]["facts"] = {"split": "random"}
    (regression / "config.json").write_text(json.dumps(config))
    text = calibrated(regression, 0.6)
    assert "nitrogens. The validation rows chose the weights, which makes their errors, and with them the inter" in text
    assert "are not like the validation rows" not in text


def test_what_is_not_known_of_intervals_is_not_said(regression):
    keep_one_property(regression)
    assert "it takes 9 validation rows with a label, and there are 8." in calibrated(regression, 0.9, rows=8)
    Calibration("regression", {"atoms": TaskCalibration(9, (1.0,) * 9)}).write(regression / "calibration.json")
    assert "no test row says how much it covers." in Page(write_report(regression)).text
    (regression / "calibration.json").unlink()
    assert "interval" not in Page(write_report(regression)).text


def test_intervals_of_many_widths_are_drawn_where_the_folder_knows_them(regression):
    """Folders of versions before have no column of deviations."""

    def drawn() -> list[bool]:
        pictures = [one for one in Page(write_report(regression)).all("img") if "against measured" in one["alt"]]
        return [b"90% interval" in base64.b64decode(one["src"].partition(",")[2]) for one in pictures]

    wide = TaskCalibration(40, tuple(np.arange(1.0, 41)), deviations=(0.5, 1.0, 2.0))
    alike = TaskCalibration(40, tuple(np.arange(1.0, 41)))
    Calibration("regression", {"atoms": wide, "nitrogens": alike}, "kernel").write(regression / "calibration.json")
    assert drawn() == [False, True]
    table = pd.read_csv(regression / "predictions.csv")
    deviation = np.linspace(0.5, 2, len(table))
    change(regression / "predictions.csv", atoms_deviation=deviation.astype(str))
    assert drawn() == [True, True]
    widths = read_results(regression).half_widths
    np.testing.assert_allclose(widths[:, 0], 37 * deviation[(table["split"] == "test").to_numpy()])
    assert (widths[:, 1] == 37).all()


@pytest.mark.parametrize("text", ["x", '{"tasks": {"atoms": {}}}'])
def test_a_damaged_calibration_is_named(regression, text):
    (regression / "calibration.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"calibration.json is no calibration[\s\S]*fix:   delete it") as error:
        write_report(regression)
    assert str(regression) in error.value.where
    assert not (regression / "report.html").exists()


def test_rescaled_probabilities_are_put_in_words(folders, tmp_path):
    folder = copy_to_edit(folders["classification"], tmp_path / "c")
    assert "are not rescaled (Platt scaling)" in calibrated(folder, 0, kind="classification")
    text = calibrated(folder, 0, kind="classification", platt=(2.0, 0.1))
    assert (
        "are rescaled (Platt scaling), as that helped on the validation rows of 2 of 2 properties: atoms, nit" in text
    )


def test_without_test_rows_validation_stands_in(regression):
    table = pd.read_csv(regression / "predictions.csv")
    table[table["split"] == "validation"].to_csv(regression / "predictions.csv", index=False)
    split = pd.read_csv(regression / "split.csv")
    split[split["split"] != "test"].to_csv(regression / "split.csv", index=False)
    metrics = json.loads((regression / "metrics.json").read_text())
    metrics["rows"]["test"] = 0
    nothing = {"labels": 0, "rmse": None, "mae": None, "r2": None}
    for part in (metrics["test"], metrics["mean_predictor"]["test"]):
        part |= {**nothing, "tasks": dict.fromkeys(part["tasks"], nothing)}
    (regression / "metrics.json").write_text(json.dumps(metrics))
    page = Page(write_report(regression))
    assert "No row was left for testing" in page.text
    assert "Predictions of validation molecules" in page.text


def test_many_properties_stand_in_a_table(folder, monkeypatch):
    before = len(Page(write_report(folder)).all("img"))
    monkeypatch.setattr(page_module, "MANY_TASKS", 1)
    page = Page(write_report(folder))
    assert len(page.all("img")) < before
    assert "There are more than 1 properties; the table" in page.text


def test_several_models_are_reported_together(several):
    metrics = json.loads((several / "metrics.json").read_text())
    page = Page(write_report(several))
    runs = page.table("runs").set_index(0)
    assert list(runs.index) == ["model", *metrics["runs"], "mean ± deviation"]
    for name, run in metrics["runs"].items():
        assert runs.loc[name, 1 + len(main_metrics(metrics["task_type"], 2))] == number(run["test"][metrics["metric"]])
    counts = dict(page.table("counts").iloc[:, :2].itertuples(index=False))
    numbers = [int(number) for number in counts.values()]
    assert numbers[0] == sum(numbers[1:]) == 38
    together = "out_of_fold" if "out_of_fold" in metrics else "test"
    scores = (metrics[together], metrics["mean_predictor"][together])
    model, constant = (number(score["tasks"]["atoms"]["rmse"]) for score in scores)
    assert page.table("tasks").set_index(0).loc["atoms", 2] == f"{model} ({constant})"
    tasks = json.loads((several / "calibration.json").read_text())["tasks"].values()
    share = np.mean([task["test"]["covered"]["0.9"] for task in tasks])
    assert (
        f"a 90% interval for each of 2 properties, taken from the errors of the validation rows; it covers {share:.0%}"
        in page.text
    )


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("metrics.json", None, "metrics.json is missing"),
        ("metrics.json", "{", "this is no JSON"),
        ("metrics.json", "{}", "validation, test, mean_predictor, rows, metric missing"),
        ("run.json", "{}", "settings, versions missing"),
        ("predictions.csv", None, "predictions.csv is missing"),
        ("predictions.csv", "", "this is no table"),
        ("predictions.csv", "row,id,smiles,split\n", "column 'atoms', 'atoms_predicted'"),
        ("split.csv", "row,split\n0,train\n", "split.csv has 1 train rows, metrics.json 27"),
    ],
)
def test_damage_is_named(regression, file, text, message):
    if text is None:
        (regression / file).unlink()
    else:
        (regression / file).write_text(text)
    with pytest.raises(DataError, match=message) as error:
        write_report(regression)
    assert str(regression) in error.value.where
    assert error.value.fix
    assert not (regression / "report.html").exists()


def test_a_damaged_number_is_named(regression):
    change(regression / "predictions.csv", atoms_predicted="1.5.2")
    with pytest.raises(DataError, match=r"a number is damaged: .*1\.5\.2"):
        write_report(regression)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="there is no model folder"):
        write_report(tmp_path / "nowhere")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_a_browser_shows_it_and_asks_for_nothing(folder, tmp_path):
    change(folder / "predictions.csv", id=EVIL)
    path = write_report(folder)
    elements, console, asked = visit(path, tmp_path)
    for section in SECTIONS:
        assert f'<section id="{section}">' in elements
    assert elements.count("<img ") == len(Page(path).all("img"))
    assert not console
    assert not asked


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_the_browser_would_tell(tmp_path):
    path = tmp_path / "page.html"
    path.write_text('<img src="http://example.invalid/x.png"><script>console.error("heard")</script>')
    _, console, asked = visit(path, tmp_path)
    assert "heard" in console[0]
    assert asked == {"http://example.invalid/x.png"}


def measure(path: Path, folder: Path) -> dict[int, tuple[int, int]]:
    """Show a page in frames of several widths: how wide it is in each, and how much there is beside a scroll bar."""
    frames = "".join(f'<iframe src="{path.as_uri()}" width="{w}" height="900"></iframe>' for w in WIDTHS)
    script = """onload = () => { document.title = [...document.querySelectorAll("iframe")].map(frame => {
        const root = frame.contentDocument.documentElement; return root.scrollWidth + "/" + root.clientWidth }) }"""
    (folder / "frames.html").write_text(f"<style>iframe {{ border: 0 }}</style>{frames}<script>{script}</script>")
    elements, _, _ = visit(folder / "frames.html", folder, "--allow-file-access-from-files")
    found = re.search("<title>(.*?)</title>", elements)
    assert found is not None
    sizes = [tuple(map(int, pair.split("/"))) for pair in found[1].split(",")]
    return dict(zip(WIDTHS, sizes, strict=True))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_the_page_fits_windows_of_any_width(folder, tmp_path):
    change(folder / "predictions.csv", id="an identifier without a blank: " + "x" * 200)
    for width, (needed, there) in measure(write_report(folder), tmp_path).items():
        assert needed <= there <= width, f"{needed} pixels in a window of {width}"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_the_page_of_several_models_fits_windows_of_any_width(several, tmp_path):
    for width, (needed, there) in measure(write_report(several), tmp_path).items():
        assert needed <= there <= width, f"{needed} pixels in a window of {width}"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_a_page_that_is_too_wide_would_be_told(tmp_path):
    path = tmp_path / "page.html"
    path.write_text('<body style="margin: 0"><div style="width: 700px; height: 10px"></div>')
    assert measure(path, tmp_path) == {360: (700, 360), 600: (700, 600), 1000: (1000, 1000), 1400: (1400, 1400)}
