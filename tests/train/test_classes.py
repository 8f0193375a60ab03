"""Fine-tuning on a label of several classes: told, scored together and one by one, shown, predicted."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import QUICK, SMILES, run, succeed
from tables import QUIET

import dgl_moleblend as mb
from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.errors import DataError
from dgl_moleblend.models.scores import METRICS, score
from dgl_moleblend.request import Task
from dgl_moleblend.train.auto import finetune_auto
from dgl_moleblend.train.checked import check_request
from dgl_moleblend.train.comparison import Comparison
from dgl_moleblend.train.ensemble import finetune_seeds
from dgl_moleblend.train.finetune import finetune

CONFIG = mb.TrainingConfig(max_epochs=3, batch_size=8, learning_rate=1e-3)
WORDS = ("aromatic", "carbon", "hetero")
TIERS = ("tier=aromatic", "tier=carbon", "tier=hetero")
CELLS = ["aromatic" if "c" in text else "hetero" if {*text} & {*"NOSFBl"} else "carbon" for text in SMILES]
PARTS = {"train": np.arange(0, 20), "validation": np.arange(20, 25), "test": np.arange(25, 30)}
MIXED = {"train": np.arange(0, 30, 2), "validation": np.arange(1, 30, 4), "test": np.arange(3, 30, 4)}


def write(path, cells=CELLS):
    pd.DataFrame({"smiles": SMILES, "tier": cells}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return MoleculeDataset.from_file(write(tmp_path_factory.mktemp("t") / "t.csv"), task_columns=["tier"])


@pytest.fixture(scope="module", params=["network", "seeds", "comparison"])
def result(request, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("m") / "m"
    shared = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET}
    if request.param == "network":
        return finetune(dataset, MIXED, out, **shared)
    if request.param == "seeds":
        return finetune_seeds(dataset, MIXED, out, seeds=2, **shared)
    compared = Comparison(("mean", "trees", "kernel", "network"), features=("morgan",))
    return finetune_auto(dataset, MIXED, out, comparison=compared, **shared)


def test_probabilities_add_up_and_are_scored_together(dataset, result):
    assert result.metrics["task_type"] == "multiclass"
    table = pd.read_csv(result.folder / "predictions.csv")
    values = table[[f"{name}_predicted" for name in TIERS]].to_numpy()
    assert values.sum(1) == pytest.approx(1, abs=1e-5)
    assert table["tier"].tolist() == [CELLS[row] for row in table["row"]]
    assert (table[list(TIERS)].to_numpy().argmax(1) == [WORDS.index(CELLS[row]) for row in table["row"]]).all()
    if "runs" not in result.metrics:
        assert table["tier_predicted"].tolist() == [WORDS[k] for k in values.argmax(1)]
    test = (table["split"] == "test").to_numpy()
    truth = np.eye(3)[[WORDS.index(CELLS[row]) for row in table["row"]]]
    expected = score(values[test], truth[test], "multiclass", TIERS)
    assert result.metrics["test"]["roc_auc"] == pytest.approx(expected["roc_auc"])
    assert result.metrics["test"]["mcc"] == pytest.approx(expected["mcc"])


def test_the_most_probable_class_is_predicted_and_all_probabilities(result):
    table = mb.load(result.folder).predict(["c1ccccc1CC", "CCCCC", "bad", "CCON"], progress=False)
    columns = [f"{name}_predicted" for name in TIERS]
    shares = table.loc[[0, 1, 3], columns].to_numpy()
    assert shares.sum(1) == pytest.approx(1, abs=1e-5)
    assert table["tier_predicted"].tolist() == [*np.array(WORDS)[shares[:2].argmax(1)], "", WORDS[shares[2].argmax()]]
    assert table.loc[2, columns].isna().all()
    if "candidates" in result.metrics:
        assert table["tier_predicted"].tolist() == ["aromatic", "carbon", "", "hetero"]


def test_the_report_has_the_confusion_of_the_classes(result):
    page = (result.folder / "report.html").read_text()
    assert "Classification into 3 classes: the probability of each" in page
    assert '<table id="matrix" class="confusion">' in page
    table = pd.read_csv(result.folder / "predictions.csv").query("split == 'test'")
    told = table[[f"{name}_predicted" for name in TIERS]].to_numpy().argmax(1)
    right = np.mean(told == [WORDS.index(CELLS[row]) for row in table["row"]])
    assert f"The most probable of 3 classes is the right one for {right:.0%} of the test molecules" in page
    matrix = page[page.index('<table id="matrix"') :]
    cells = [int(text.split("<")[0]) for text in matrix[: matrix.index("</table>")].split('<td class="n">')[1:]]
    truth = [WORDS.index(CELLS[row]) for row in table["row"]]
    assert cells == [sum((t, c) == pair for t, c in zip(truth, told, strict=True)) for pair in np.ndindex(3, 3)]


def test_few_whole_numbers_are_asked_about_and_classes_when_told(tmp_path):
    path = write(tmp_path / "t.csv", [{"aromatic": 0, "carbon": 1, "hetero": 2}[cell] for cell in CELLS])
    asked = run("finetune", path, "--split", "random", *QUICK, "-o", tmp_path / "m")
    assert "the labels of 'tier' are 0, 1 and 2: these may be classes, or amounts" in asked.stderr
    assert "--task-type multiclass or --task-type regression (task_type= in Python)" in asked.stderr
    told = succeed("finetune", path, "--split", "random", "--task-type", "multiclass", *QUICK, "-o", tmp_path / "m")
    assert "mcc" in told.stdout
    rows = succeed("predict", tmp_path / "m", "-s", "CCO", "-s", "bad", "--format", "jsonl", "--quiet").stdout
    first, second = map(json.loads, rows.splitlines())
    assert first["tier_predicted"] in ("0", "1", "2")
    assert sum(first[f"tier={k}_predicted"] for k in range(3)) == pytest.approx(1, abs=1e-4)
    assert second["tier_predicted"] == ""
    page = tmp_path / "page.html"
    said = succeed("predict", tmp_path / "m", "-s", "CCO", "-o", page, "--quiet").stderr
    assert "tier: the most probable of '0', '1', '2'; their probabilities are as the model gives them: to" in said
    assert "Each number is the probability of its class" in page.read_text()
    missing = write(tmp_path / "s.csv", [{"aromatic": -1, "carbon": 0, "hetero": 1}[cell] for cell in CELLS])
    assert "say which: --missing-label -1, or --task-type" in run("finetune", missing, *QUICK, "-o", "x").stderr


@pytest.mark.parametrize(
    ("labels", "tasks", "message"),
    [
        ({"y": [*range(5)] * 6}, None, "the labels of 'y' are 0, 1, 2, 3 and 4: these may be classes, or amounts"),
        ({"y": ["a", "b", "c"] * 10, "z": [0.5] * 30}, None, "2 properties are given, and a model of several classes"),
        ({"y": [0.5, 1, 2] * 10}, "multiclass", "'y' holds 0.5, but classes are whole numbers, words or empty"),
        ({"y": [*range(30)]}, "multiclass", "'y' holds 30 different values, and a model tells 2 to 20 classes"),
        ({"y": ["a", "b", "c"] * 10}, "classification", "'y' holds 2, but labels of a classification are 0, 1"),
        ({"y": ["a", "b", "c"] * 10}, "regression", "the labels of 'y' are words, and a regression has numbers"),
        ({"y": [">1", 0, 2] * 10}, "multiclass", r"'y' holds bounds \(>, <\), and classes have none"),
        ({"y": [-1, 0, 1] * 10}, None, "are -1, 0 and 1: three classes, amounts, or two classes and -1 for a"),
    ],
)  # fmt: skip
def test_what_classes_cannot_be(labels, tasks, message):
    from dgl_moleblend.readers.memory import MoleculeList

    dataset = MoleculeDataset.from_reader(MoleculeList(list(SMILES), labels))
    with pytest.raises(DataError, match=message):
        check_request(dataset, PARTS, tasks, CONFIG)


def test_settings_of_two_classes_are_refused(dataset):
    with pytest.raises(
        DataError, match="class weights are for classification into two classes, and this is multiclass"
    ):
        check_request(dataset, MIXED, None, CONFIG.replace(class_weights=True))
    with pytest.raises(ValueError, match="loss='focal' is not allowed"):
        check_request(dataset, MIXED, None, CONFIG.replace(loss="focal"))


def test_every_score_can_choose_the_weights(dataset):
    for metric in METRICS["multiclass"]:
        assert check_request(dataset, MIXED, None, CONFIG.replace(metric=metric)).monitor == metric


def test_a_request_has_a_column_for_each_class(dataset):
    request = check_request(dataset, MIXED, [Task("tier", "multiclass")], CONFIG)
    assert [task.name for task in request.tasks] == [*TIERS]
    assert request.dataset.class_columns.words == WORDS
    assert request.dataset[0].labels.tolist() == request.dataset.labels[0].tolist() == [0, 0, 1]
    again = check_request(request.dataset, MIXED, request.tasks, request.training)
    assert again.dataset.labels.tolist() == request.dataset.labels.tolist()
    assert request.dataset.select_tasks(["tier"]).labels.ravel()[0] == 2, "the label itself is still there"


NEVER = "class 'x' of 'tier' has no row among the training molecules: it is never told"
HARDLY = "class 'x' of 'tier' has 4 rows, 3 of them among the training molecules: it is hardly learned, and its scores"


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ("ab" * 10 + "abxxx" + "xxxab", [NEVER]),
        ("xxx" + "ab" * 8 + "a" + "xbaba" + "babab", [HARDLY]),
        ("xxxx" + "ab" * 8 + "xbaba" + "babab", []),
    ],
)
@pytest.mark.parametrize("kind", ["network", "seeds", "comparison"])
def test_a_class_that_cannot_be_learned_is_said_once(shares, said, kind, tmp_path, caplog):
    data = MoleculeDataset.from_file(write(tmp_path / "t.csv", [*shares]), task_columns=["tier"])
    shared = {"compute": QUIET, "start": mb.EncoderConfig.tiny(), "training": CONFIG.replace(max_epochs=1)}
    if kind == "network":
        finetune(data, PARTS, tmp_path / "m", report=False, **shared)
    elif kind == "seeds":
        finetune_seeds(data, PARTS, tmp_path / "m", seeds=2, **shared)
    else:  # whose models learn from validation rows, too
        compared = Comparison(("trees", "network"), features=("morgan",))
        finetune_auto(data, PARTS, tmp_path / "m", comparison=compared, report=False, **shared)
        said = [text.replace("3 of them", "4 of them").replace("training", "training and validation")
                for text in said if text != NEVER]  # fmt: skip
    told = [record.getMessage() for record in caplog.records if record.name.endswith("checked")]
    assert len(told) == len(said)
    assert all(text.startswith(start) for text, start in zip(told, said, strict=True))
