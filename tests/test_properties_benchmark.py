"""The benchmark of predictions fills its cells once, takes up what was interrupted, and says what is missing."""

import argparse
import hashlib
import importlib.util
import json
from pathlib import Path

import baselines
import numpy as np
import pytest
from sklearn.metrics import root_mean_squared_error

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.dataset import MoleculeDataset

SPEC = importlib.util.spec_from_file_location(  # tests have a properties.py of their own
    "benchmark_of_properties", Path(__file__).parents[1] / "benchmarks" / "properties.py"
)
assert SPEC is not None
assert SPEC.loader is not None
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)
QM9 = benchmark.DATA / "qm9"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all cells of a short run."""
    folder = tmp_path_factory.mktemp("cells")
    assert len(benchmark.main(["--short", "--out", str(folder)])["notes"]) == 1
    return folder


def test_every_model_is_in_the_table_and_computed_once(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "compute", lambda cell, args: pytest.fail(f"{cell} is computed again"))
    rows = benchmark.main(["--short", "--out", str(out)])["sections"]["MoleculeNet"]
    assert [row["model"] for row in rows] == list(benchmark.MODELS)
    assert {row["rows"] for row in rows} == {"48 / 6 / 6"}
    assert all(float(row["test"]) > 0 for row in rows)
    assert not list((out / "runs").rglob("*.safetensors"))


def test_a_cell_says_what_it_is(out: Path) -> None:
    cell = json.loads((out / "moleculenet" / "freesolv-sample" / "mean-0.json").read_text())
    problem = benchmark.load("freesolv-sample", benchmark.DATA, 60)
    labels = [problem.labels(part) for part in ("train", "test")]
    assert cell["test"]["rmse"] == pytest.approx(
        root_mean_squared_error(labels[1], np.full_like(labels[1], labels[0].mean()))
    )
    assert {"settings", "seconds", "validation", "test", "versions", "rejected"} <= cell.keys()


def test_other_settings_are_not_mixed_in(out: Path) -> None:
    path = out / "moleculenet" / "freesolv-sample" / "morgan-rf-0.json"
    kept = path.read_text()
    cell = json.loads(kept)
    cell["settings"]["trees"] = 3
    path.write_text(json.dumps(cell))
    try:
        result = benchmark.main(["--short", "--out", str(out), "--models", "mean", "morgan-rf"])
    finally:
        path.write_text(kept)
    assert [row["model"] for row in result["sections"]["MoleculeNet"]] == ["mean"]
    assert result["notes"][0].startswith("1 of 2 cells")
    assert "morgan-rf, seed 0: DataError: the cell was computed with other settings: trees" in result["notes"][1]


def test_an_interrupted_run_shows_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--datasets", "freesolv-sample", "--molecules", "60", "--seeds", "2", "--out", str(tmp_path), "--models"]
    benchmark.main([*command, "mean"])

    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(benchmark.BASELINES, "morgan-rf", interrupted)
    result = benchmark.main([*command, "morgan-rf", "mean", "ours-frozen"])
    assert [(row["model"], row["seeds"]) for row in result["sections"]["MoleculeNet"]] == [("mean", "2")]
    missing = [note.rpartition(", ")[2] for note in result["notes"][1:]]
    assert missing == ["seed 0: not computed yet", "seed 1: not computed yet",
                       "seed 0: needs --pretrained", "seed 1: needs --pretrained"]  # fmt: skip
    assert "± 0.000" in capsys.readouterr().out


def test_variants_differ_in_the_weights_they_start_from(out: Path) -> None:
    command = ["--short", "--out", str(out), "--models", "mean", "--ablations", "freesolv-sample"]
    result = benchmark.main([*command, "--variants", "untrained", "blended", "distance-only"])
    assert [row["model"] for row in result["sections"]["Ablations"]] == ["untrained", "blended", "distance-only"]
    assert not [*out.glob("pretrained/untrained-*")]
    weights = [next(out.glob(f"pretrained/{name}-0-*/model.safetensors")) for name in ("blended", "distance-only")]
    assert weights[0].read_bytes() != weights[1].read_bytes()


def test_weights_that_were_made_otherwise_are_not_taken(tmp_path: Path) -> None:
    args = argparse.Namespace(size="tiny", steps=1, out=tmp_path, pretraining_data=[], data=None, molecules=8)
    first = benchmark.pretrained_variant("blended", 0, args)
    assert benchmark.pretrained_variant("blended", 0, args) == first
    args.steps = 2
    assert benchmark.pretrained_variant("blended", 0, args) != first


def test_models_start_from_what_was_learned_on_the_stores_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("smiles\nCCO\nCCCN\nc1ccccc1\nCC(=O)O\n")
    stores = [tmp_path / name for name in ("flat", "solid")]
    for store, positions in zip(stores, ("none", "embed"), strict=True):
        MoleculeDataset.from_file(tmp_path / "some.csv", featurizer=FeaturizerConfig(positions), store=store)
    out = tmp_path / "out"
    benchmark.main(["--short", "--models", "ours-frozen", "--out", str(out), "--pretraining-data", *map(str, stores)])
    (model,) = out.glob("pretrained/blended-0-*")
    assert json.loads((model / "run.json").read_text())["settings"]["molecules"] == 8
    cell = json.loads((out / "moleculenet" / "freesolv-sample" / "ours-frozen-0.json").read_text())
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert weights.startswith(cell["settings"]["pretrained"])


def test_nothing_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (([], "nothing is asked for"), (["--ablations", "esol"], "needs --pretraining-data")):
        with pytest.raises(SystemExit):
            benchmark.main([*arguments, "--out", str(tmp_path)])
        assert message in capsys.readouterr().err


@pytest.mark.skipif(not QM9.exists(), reason="the molecules of QM9 are not here")
def test_qm9_has_a_row_for_each_target(tmp_path: Path) -> None:
    result = benchmark.main(["--qm9", "--short", "--datasets", "freesolv-sample", "--models", "mean",
                             "--out", str(tmp_path)])  # fmt: skip
    rows = [(row["metric"], row["model"]) for row in result["sections"]["QM9"]]
    assert rows == [(f"mae {task}", model) for model in benchmark.QM9_MODELS for task in ("gap", "mu")]
    cells = [json.loads((tmp_path / "qm9" / "qm9" / f"ours-{d}-0.json").read_text()) for d in ("2d", "3d")]
    assert cells[0]["test"]["tasks"]["mu"]["mae"] != cells[1]["test"]["tasks"]["mu"]["mae"]


def test_a_forest_gives_the_probability_of_class_1_where_labels_are_missing(tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text(
        "smiles,a,b\nCCO,1,1\nCCCO,1,\nc1ccccc1,0,\nc1ccccc1C,0,\nCCCCO,1,1\nc1ccccc1CC,0,1\n"
    )
    dataset = MoleculeDataset.from_file(tmp_path / "two.csv", task_columns=["a", "b"])
    split = tuple(np.array(rows) for rows in ([0, 1, 2, 3], [4], [5]))
    found = baselines.forest(baselines.make_problem(dataset, split, "classification"), 0, trees=50)
    assert found["validation"][0, 0] > 0.5 > found["test"][0, 0]
    assert found["test"][0, 1] == 1  # no other class was seen


def test_graph_networks_learn_and_take_lone_atoms() -> None:
    dataset = MoleculeDataset.from_file(benchmark.sample_file(), task_columns=["expt"]).subset(range(33))
    assert baselines.make_graphs(["C"])[0].num_edges() == 1
    problem = baselines.make_problem(dataset, dataset.split("random"), "regression")
    mean = problem.score("validation", baselines.mean(problem, 0)["validation"])["rmse"]
    for name in ("gcn", "attentivefp"):
        settings = {**benchmark.SETTINGS[name], "epochs": 40, "batch_size": 25, "learning_rate": 3e-3}
        found = baselines.graph_network(name, problem, 0, **settings)  # 26 rows train: a batch of one is left over
        assert problem.score("validation", found["validation"])["rmse"] < mean
