"""Predictions as a page: every row is on it, what sorts is the number, and nothing comes from elsewhere."""

import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pages import EVIL, Page, visit

import dgl_moleblend as mb
from dgl_moleblend.chem.similarity import write_training_set
from dgl_moleblend.models.targets import LabelScaling
from dgl_moleblend.predict.calibration import Calibration
from dgl_moleblend.predict.intervals import TaskCalibration
from dgl_moleblend.predict.properties import PropertyModel
from dgl_moleblend.report import predictions
from dgl_moleblend.report.trust import TRUST

SMILES = ["CCO", "c1ccccc1", "CC(=O)O", "FS(F)(F)(F)(F)F", "C"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained regression of two properties, one with a unit, that gives intervals and knows CCO and CC."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("page") / "solubility"
    predictor = mb.MoleBlendPredictor(2, mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()))
    scaling = LabelScaling((-3.0, 10.0), (2.0, 5.0))
    saved = PropertyModel(predictor, mb.FeaturizerConfig(), ("logS", "size"), "regression", scaling)
    saved.save_pretrained(folder, units={"logS": "log mol/L"})
    task = TaskCalibration(20, tuple(np.full(20, 0.25)))
    Calibration("regression", {"logS": task, "size": task}).write(folder / "calibration.json")
    write_training_set(folder, ["CCO", "CC(C)O"])
    return mb.load(folder)


@pytest.fixture
def frame():
    """Four molecules and a row that is none, with columns of a user's own, which try to leave their place."""
    smiles = [SMILES[0], "C1CC", *SMILES[1:]]
    return pd.DataFrame({"smiles": smiles, "batch": range(6), "note": [EVIL] * 6})


def cells(page: Page, table: str = "predictions") -> list[list[str]]:
    (text,) = re.findall(rf'<table id="{table}".*?</table>', page.source, re.DOTALL)
    rows = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    return [re.findall(r"<td.*?</td>", row, re.DOTALL) for row in rows[1:]]


def test_every_row_is_there_with_what_sorts_it(model, frame, tmp_path):
    path = model.write_page(frame, tmp_path / "new.html")
    page, table = Page(path), model.predict(frame)
    kept = table[table["reason"] == ""].reset_index()
    rows = cells(page)
    assert len(rows) == 5
    for number, row in enumerate(rows):
        for column, name in ((2, "logS"), (3, "size")):
            value = float(re.search(r'data-value="(.*?)"', row[column])[1])
            assert value == pytest.approx(kept[f"{name}_predicted"][number], rel=1e-6)
            interval = f"{kept[f'{name}_lower'][number]:.2f} to {kept[f'{name}_upper'][number]:.2f}"
            assert interval.replace("-", "\N{MINUS SIGN}") in row[column]
        assert kept["smiles"][number] in row[1]
        assert "data:image/svg+xml" in row[1]
    assert 'data-copy="CCO"' in rows[0][5], "its nearest training molecule"
    assert "unlike the training set" in rows[3][6]
    ((lost,),) = [[row] for row in cells(page, "rejects")]
    assert "C1CC" in lost[2]
    assert "unclosed ring" in lost[3]
    assert "log mol/L" in page.text
    assert "6 rows: 5 predicted, 1 rejected" in page.text
    assert TRUST in page.text


def test_the_page_stands_alone_and_texts_stay_texts(model, frame, tmp_path):
    page = Page(model.write_page(frame, tmp_path / "new.html"))
    assert len(page.all("script")) == 1
    assert EVIL in page.text
    assert not re.search(r"url\(|@import|https?://", re.sub(r"data:[^\"]*", "", page.source))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert {picture["src"][:26] for picture in page.all("img")} == {"data:image/svg+xml;base64,"}


@pytest.mark.filterwarnings("ignore:the page holds")
def test_what_a_page_does_not_hold_is_said(model, frame, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "DRAWN", 2)
    monkeypatch.setattr(predictions, "SHOWN", 4)
    monkeypatch.setattr(predictions, "_OWN", 1)
    with pytest.warns(UserWarning, match="drawn for the first 2 of 5"):
        page = Page(model.write_page(frame, tmp_path / "new.html"))
    assert "Structures are drawn for the first 2 of 5 molecules." in page.text
    assert "The page holds the first 4 of 5 molecules; a .csv or .parquet holds all." in page.text
    assert "The page holds the first 1 of 2 other columns of the input" in page.text
    rows = cells(page)
    assert [("data:image" in row[1]) for row in rows] == [True, True, False, False]


def head(page: Page) -> list[str]:
    (text,) = re.findall(r'<table id="predictions".*?</thead>', page.source, re.DOTALL)
    return re.findall(r"<button.*?>(.*?)</button>", text)


def known(task_type, names, classes, calibration=None) -> SimpleNamespace:
    """What a page asks of the one model that predicted."""
    model = SimpleNamespace(task_type=task_type, classes=classes)
    return SimpleNamespace(members=(model,), task_names=names, units={}, calibration=calibration)


def test_the_class_that_is_told_stands_among_the_results(tmp_path):
    chances = {"kind=a_predicted": [0.7, 0.2], "kind=b_predicted": [0.3, 0.8]}
    table = pd.DataFrame({"row": [0, 1], "smiles": ["C", "CC"], "kind": ["b", "b"], "kind_predicted": ["a", "b"],
                          **chances, "reason": ""})  # fmt: skip
    ensemble = known("multiclass", ("kind=a", "kind=b"), {"kind": ("a", "b")})
    predictions.write_predictions(table, tmp_path / "p.html", ensemble)
    page = Page(tmp_path / "p.html")
    assert head(page) == ["row", "molecule", "kind predicted", "kind=a predicted", "kind=b predicted", "kind"]
    texts = [[re.sub("<.*?>", "", cell) for cell in row[2:]] for row in cells(page)]
    assert texts == [["a", "0.700", "0.300", "b"], ["b", "0.200", "0.800", "b"]]
    assert "show 1 column of the input" in page.text


def test_a_deviation_is_a_result_and_a_column_of_its_name_is_not(tmp_path):
    """A user's column may be called as a result that this model has not; it stands before all results."""
    results = {"size_predicted": [1.0], "size_deviation": [0.123456789012345], "size_lower": [0.5], "size_upper": [1.5]}
    table = pd.DataFrame({"smiles": ["C"], "size": [9], "size_spread": [7], **results, "reason": ""})
    source = {"file": "last-month.csv", "left_out": 0}
    calibration = Calibration("regression", {"size": TaskCalibration(20, (0.5,) * 20)}, source=source)
    predictions.write_predictions(table, tmp_path / "p.html", known("regression", ("size",), {}, calibration))
    page = Page(tmp_path / "p.html")
    assert head(page) == ["row", "molecule", "size predicted", "size", "size_spread"]
    ((_, _, value, *own),) = cells(page)
    assert re.findall("<span.*?>(.*?)</span>", value) == ["0.50 to 1.50", "deviation 0.123"]
    assert [re.sub("<.*?>", "", cell) for cell in own] == ["9", "7"]
    assert "holds the measured value of 90% of molecules like the rows of last-month.csv" in page.text
    assert "validation rows" not in page.text


def test_a_file_keeps_its_columns_and_lines(model, frame, tmp_path):
    frame.to_csv(tmp_path / "new.csv", index=False)
    page = Page(model.write_page(tmp_path / "new.csv", tmp_path / "new.html", progress=False))
    assert [re.sub("<.*?>", "", row[7]) for row in cells(page)] == ["0", "2", "3", "4", "5"]
    assert "line 3" in cells(page, "rejects")[0][0]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_a_browser_sorts_it_and_asks_for_nothing(model, frame, tmp_path):
    path = model.write_page(frame, tmp_path / "new.html")
    click = '<script>for (const k of [0, 1]) document.querySelectorAll("#predictions button")[2].click()</script>'
    source = path.read_text(encoding="utf-8")
    source = re.sub(r"script-src '.*?'", "script-src 'unsafe-inline'", source).replace("</body>", click + "</body>")
    (tmp_path / "clicked.html").write_text(source, encoding="utf-8")
    for name in ("new.html", "clicked.html"):
        shown, console, asked = visit(tmp_path / name, tmp_path)
        assert not console
        assert not asked
        assert '<html lang="en" class="js">' in shown, "the script ran"
    body = shown[shown.index("<tbody>") :]
    values = [float(text) for text in re.findall(r'<td class="n" data-value="(.*?)"><b>', body)[::2]]
    assert len(values) == 5
    assert values == sorted(values, reverse=True)
