"""Fine-tuning on labels some of which are bounds: learned from, left out of scores, shown."""

import numpy as np
import pandas as pd
import pytest
from commands import QUICK, SMILES, run, succeed
from tables import QUIET

import dgl_moleblend as mb
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.models.scores import score
from dgl_moleblend.report.results import read_results
from dgl_moleblend.train.auto import finetune_auto
from dgl_moleblend.train.checked import check_request
from dgl_moleblend.train.comparison import Comparison
from dgl_moleblend.train.finetune import finetune

PARTS = {"train": np.arange(0, 20), "validation": np.arange(20, 25), "test": np.arange(25, 30)}
CONFIG = mb.TrainingConfig(max_epochs=2, batch_size=8, learning_rate=1e-3)
BOUNDED = (3, 11, 21, 26, 28)
"""Rows whose size is known to be above 2 alone; the others' is a number."""


def write(path, bounded=BOUNDED, bound=">2"):
    cells = [bound if k in bounded else len(text) / 2 for k, text in enumerate(SMILES)]
    pd.DataFrame({"smiles": SMILES, "size": cells}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return MoleculeDataset.from_file(write(tmp_path_factory.mktemp("t") / "t.csv"), task_columns=["size"])


@pytest.fixture(scope="module", params=["network", "comparison"])
def result(request, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("m") / "m"
    shared = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET}
    if request.param == "network":
        return finetune(dataset, PARTS, out, **shared)
    compared = Comparison(("mean", "trees", "kernel"), features=("morgan",))
    return finetune_auto(dataset, PARTS, out, comparison=compared, **shared)


def test_bounds_are_in_no_score(dataset, result):
    table = result.predictions[result.predictions["split"] == "test"]
    exact = ~table["row"].isin(BOUNDED)
    values = table.loc[exact, "size_predicted"].to_numpy()[:, None]
    truth = np.array([[len(SMILES[row]) / 2] for row in table.loc[exact, "row"]])
    assert result.metrics["test"]["rmse"] == score(values, truth, "regression", ["size"])["rmse"]
    assert result.metrics["test"]["tasks"]["size"]["labels"] == 3
    assert result.metrics["bounds"] == {"labels": 30, "bounds": 5, "train": 2, "validation": 1, "test": 2}
    learned_from = range(25 if "candidates" in result.metrics else 20)
    mean = np.mean([len(SMILES[k]) / 2 for k in learned_from if k not in BOUNDED])
    constant = result.metrics["mean_predictor"]["test"]["rmse"]
    assert constant == pytest.approx(np.sqrt(np.mean((truth - mean) ** 2)))


def test_bounds_stand_in_columns_of_their_own_and_are_drawn(result):
    table = pd.read_csv(result.folder / "predictions.csv")
    bounded = table["row"].isin(BOUNDED)
    assert table.loc[bounded, "size"].isna().all()
    assert table.loc[bounded, "size_above"].tolist() == [2, 2, 2]
    assert table.loc[~bounded, "size_above"].isna().all()
    assert table["size_below"].isna().all()
    page = (result.folder / "report.html").read_text()
    shown = read_results(result.folder).shown
    right = int((shown.loc[shown["size_above"].notna(), "size_predicted"] > 2).sum())
    assert "5 of 30 labels are bounds (above or below a value): predictions on their right side cost nothing" in page
    assert f"no score counts them; {right} of 2 among the test rows are predicted on that side." in page
    said = "Intervals come from rows with an exact value alone: they say nothing of values beyond bounds." in page
    assert said == ("Predictions of new molecules come with a 90% interval" in page) == ("candidates" in result.metrics)
    figure = mb.load(result.folder).plot_parity()
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "measured above this" in texts


def test_bounds_teach(tmp_path):
    """Bounds far above all other labels raise predictions, which the same rows without labels do not."""
    rows = range(0, 20, 2)
    settings = {"comparison": Comparison(("trees",), features=("morgan",)), "compute": QUIET, "report": False}
    means = []
    for name, bound in (("high", ">30"), ("none", "")):
        path = write(tmp_path / f"{name}.csv", rows, bound)
        learned = MoleculeDataset.from_file(path, task_columns=["size"])
        result = finetune_auto(learned, PARTS, tmp_path / name, **settings)
        means.append(result.predictions["size_predicted"].mean())
    assert means[0] > means[1] + 2


@pytest.mark.parametrize(
    ("bounded", "kind", "message"),
    [
        (range(30), None, "no training row has a label for 'size' that is no bound"),
        (range(20, 25), None, "no validation row has a label that is no bound"),
        ((1,), "classification", r"'size' holds bounds \(>, <\), and classes have none"),
    ],
)
def test_what_bounds_cannot_do(tmp_path, bounded, kind, message):
    path = tmp_path / "t.csv"
    cells = [">1" if k in bounded else k % 2 for k in range(30)]
    pd.DataFrame({"smiles": SMILES, "size": cells}).to_csv(path, index=False)
    with pytest.raises(DataError, match=message):
        check_request(MoleculeDataset.from_file(path, task_columns=["size"]), PARTS, kind, CONFIG)


def test_the_command_counts_bounds(tmp_path):
    path = write(tmp_path / "t.csv")
    for seeds in ((), ("--seeds", 2)):
        said = succeed("finetune", path, "--split", "random", *seeds, *QUICK, "-o", tmp_path / f"m{len(seeds)}").stderr
        assert "5 of 30 labels are bounds (size: 5 above, 0 below)" in said
        assert "5 of 30 labels are bounds (above or below a value)" in said
    result = run("finetune", path, "--relation-column", "sign", *QUICK, "-o", tmp_path / "n")
    assert "there is no column 'sign'" in result.stderr
