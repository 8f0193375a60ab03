"""Tables of any number of rows, step by step: order, columns, parts that go on, shares, and work done elsewhere."""

import json
import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import distributed
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import SMILES, run, succeed

from dgl_moleblend.predict import screen
from dgl_moleblend.predict.jobs import Prediction
from dgl_moleblend.predict.screen import Files
from dgl_moleblend.predict.sinks import schema_of
from dgl_moleblend.readers.molecules import MoleculeReader

ROWS = 57


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees that know how long a SMILES is."""
    folder = tmp_path_factory.mktemp("screen")
    path = folder / "train.csv"
    path.write_text("smiles,size\n" + "".join(f"{s},{len(s)}\n" for s in SMILES))
    succeed("finetune", path, "--tasks", "size", "--split", "random", "--head", "kernel", "--quiet", "--workers", 0,
            "-o", folder / "model")  # fmt: skip
    return folder / "model"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """57 rows, of which every tenth is no molecule, with a column of the user's own."""
    path = tmp_path_factory.mktemp("screen") / "library.csv"
    rows = [f"m{k},{'C1CC' if k % 10 == 4 else SMILES[k % 30] + '.O' * (k % 3)},{k:03}" for k in range(ROWS)]
    path.write_text("id,smiles,batch\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "STEP", 5)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("part-*"))}


def predict(model: Path, table: Path, *options: object) -> None:
    succeed("predict", model, table, "--quiet", "--workers", 0, *options)


def test_steps_are_the_whole_in_order(model, table, tmp_path):
    job = Prediction((str(model),))
    steps = [*Files(MoleculeReader(table, keep_cells=True)).steps(job, size=5)]
    assert [number for number, _ in steps] == [*range(12)]
    parts = pd.concat([part for _, part in steps], ignore_index=True)
    (number, whole), *more = Files(MoleculeReader(table, keep_cells=True)).steps(job)
    assert (number, more, len(whole)) == (0, [], ROWS)
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-5)
    assert parts["row"].tolist() == [*range(ROWS)]
    assert parts["batch"].tolist() == [f"{k:03}" for k in range(ROWS)]
    assert (parts["reason"] != "").tolist() == [k % 10 == 4 for k in range(ROWS)]


@pytest.mark.parametrize("form", ["csv", "parquet", "json", "jsonl"])
def test_files_of_many_steps_are_those_of_one(model, table, tmp_path, form, monkeypatch):
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json,
            "jsonl": lambda path: pd.read_json(path, lines=True)}[form]  # fmt: skip
    predict(model, table, "-o", tmp_path / f"one.{form}")
    monkeypatch.setattr(screen, "STEP", 5)
    predict(model, table, "-o", tmp_path / f"many.{form}")
    one, many = read(tmp_path / f"one.{form}"), read(tmp_path / f"many.{form}")
    assert len(one) == ROWS
    pd.testing.assert_frame_equal(one, many, rtol=1e-5)


def test_parts_go_on_where_they_were_cut_off(model, table, tmp_path, small_steps, monkeypatch):
    predict(model, table, "-o", tmp_path / "whole", "--part-rows", 8)  # rounded up to two steps
    assert [*content(tmp_path / "whole")] == [f"part-{k:05}.parquet" for k in range(6)]
    assert len(pd.read_parquet(tmp_path / "whole")) == ROWS

    def cut(self: Files, job: Prediction, **how: object):
        for number, frame in steps(self, job, **how):
            if number == 5:
                raise KeyboardInterrupt
            yield number, frame

    steps = Files.steps
    monkeypatch.setattr(Files, "steps", cut)
    result = run("predict", model, table, "-o", tmp_path / "cut", "--part-rows", 8, "--quiet", "--workers", 0)
    assert result.exit_code == 130, result.output
    assert "--resume goes on" in result.output
    assert [*content(tmp_path / "cut")] == ["part-00000.parquet", "part-00001.parquet"], "the third was not whole"
    monkeypatch.setattr(Files, "steps", steps)
    (tmp_path / "cut" / "part-00001.parquet").write_bytes(b"edited")  # which is not what the list says
    again = run("predict", model, table, "-o", tmp_path / "cut", "--part-rows", 8, "--quiet", "--workers", 0)
    assert again.exit_code == 2
    assert "go on with --resume" in again.output
    result = succeed(
        "predict", model, table, "-o", tmp_path / "cut", "--part-rows", 8, "--resume", "--quiet", "--workers", 0
    )
    assert "1 parts of 10 rows are there already" in result.stderr
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert json.loads((tmp_path / "cut" / "_parts.json").read_text())["complete"]
    before = content(tmp_path / "cut")
    succeed("predict", model, table, "-o", tmp_path / "cut", "--part-rows", 8, "--resume", "--quiet", "--workers", 0)
    assert content(tmp_path / "cut") == before, "nothing is left to do"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("--part-rows", 30), "--part-rows (in steps): 2 there, 6 now"),
        (("--coverage", 0.5), "coverage: 0.9 there, 0.5 now"),
        (("--only-predictions",), "columns of the input"),
    ],
)
def test_parts_of_another_plan_are_refused(model, table, tmp_path, small_steps, change, names):
    predict(model, table, "-o", tmp_path / "out", "--part-rows", 8)
    result = run("predict", model, table, "-o", tmp_path / "out", "--part-rows", 8, *change, "--resume", "--quiet")
    assert result.exit_code == 2
    assert f"made with other {names}" in result.output


def test_other_molecules_are_another_plan(model, table, tmp_path, small_steps):
    predict(model, table, "-o", tmp_path / "out", "--part-rows", 8)
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("m3,", "m003,"))
    result = run("predict", model, other, "-o", tmp_path / "out", "--part-rows", 8, "--resume", "--quiet")
    assert (result.exit_code, "made with other molecules" in result.output) == (2, True)


def test_a_folder_of_something_else_is_left_alone(model, table, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("years of work")
    result = run("predict", model, table, "-o", tmp_path / "mine", "--quiet")
    assert (result.exit_code, "the folder is not empty: it holds 'notes.txt'" in result.output) == (2, True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_shares_of_several_runs_are_the_whole(model, table, tmp_path, small_steps):
    predict(model, table, "-o", tmp_path / "whole", "--part-rows", 5)
    for share in ("2/3", "1/3", "3/3"):
        predict(model, table, "-o", tmp_path / "shared", "--part-rows", 5, "--shard", share)
    assert content(tmp_path / "shared") == content(tmp_path / "whole")
    assert pd.read_parquet(tmp_path / "shared")["row"].tolist() == [*range(ROWS)]
    result = run("predict", model, table, "-o", tmp_path / "shared", "--part-rows", 5, "--shard", "1/2", "--quiet")
    assert (result.exit_code, "made with other shards: 3 there, 2 now" in result.output) == (2, True)


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b"])
def test_a_share_that_is_none(model, table, tmp_path, shard):
    result = run("predict", model, table, "-o", tmp_path / "out", "--shard", shard)
    assert (result.exit_code, "give K/N" in result.output) == (2, True)


def test_the_best_rows_alone(model, table, tmp_path, small_steps):
    everything = tmp_path / "all.csv"
    predict(model, table, "-o", everything)
    for lowest in (False, True):
        predict(model, table, "-o", tmp_path / "best.csv", "--top", 7, *(["--lowest"] if lowest else []))
        best, frame = pd.read_csv(tmp_path / "best.csv"), pd.read_csv(everything)
        expected = frame.sort_values("size_predicted", ascending=lowest, kind="stable").head(7)
        np.testing.assert_allclose(best["size_predicted"], expected["size_predicted"], rtol=1e-5)
        np.testing.assert_allclose(best["size_predicted"], frame["size_predicted"][best["row"]], rtol=1e-5)
        assert best["batch"].tolist() == best["row"].tolist()


def test_options_that_do_not_go_together(model, table, tmp_path):
    for options, text in (
        (("-o", tmp_path / "a.csv", "--resume"), "leave out --resume"),
        (("-o", tmp_path / "a.csv", "--shard", "1/2"), "leave out --shard"),
        (("-o", tmp_path / "a.csv", "--lowest"), "leave out --lowest"),
        (("-o", tmp_path / "a", "--top", 3), "--top writes one file"),
        (("-o", tmp_path / "a.csv", "--top", 3, "--by", "weight"), "it predicts: size"),
        (("-o", tmp_path / "a.xls"), "does not end in"),
    ):
        result = run("predict", model, table, "--quiet", *options)
        assert (result.exit_code, text in result.output) == (2, True), (options, result.output)
    assert not [*tmp_path.iterdir()]


def test_a_file_without_rows_has_its_columns(model, tmp_path):
    path = tmp_path / "header.csv"
    path.write_text("smiles,batch\n")
    result = run("predict", model, path, "-o", tmp_path / "out.csv", "--quiet", "--workers", 0)
    assert (result.exit_code, "no molecule was kept" in result.output) == (1, True)
    assert (tmp_path / "out.csv").read_text().startswith("row,source,line,id,smiles,batch,size_predicted")


def test_a_property_that_begins_late_is_kept(model, tmp_path, monkeypatch):
    from rdkit import Chem

    from dgl_moleblend.readers import table as readers_table

    monkeypatch.setattr(readers_table, "PEEK", 3)
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    records = [f"{block}> <early>\n{k}\n\n" + (f"> <late>\n{k}\n\n" if k > 5 else "") + "$$$$\n" for k in range(8)]
    (tmp_path / "in.sdf").write_text("".join(records))
    predict(model, tmp_path / "in.sdf", "-o", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert found["late"].tolist() == [""] * 6 + ["6", "7"]


def test_columns_of_parquet_keep_their_types(model, tmp_path, small_steps):
    own = pa.table({"smiles": ["CCO"] * 12, "count": pa.array([None] * 6 + [*range(6)], pa.int32()),
                    "when": pa.array([*range(12)], pa.timestamp("ms"))})  # fmt: skip
    pq.write_table(own, tmp_path / "in.parquet")
    predict(model, tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert [found.schema.field(name).type for name in ("count", "when")] == [pa.int32(), pa.timestamp("ms")]
    assert found["count"].to_pylist() == [None] * 6 + [*range(6)]


def test_embeddings_in_parts(table, tmp_path, small_steps):
    succeed("embed", "mini", table, "-o", tmp_path / "all.parquet", "--quiet", "--workers", 0)
    succeed("embed", "mini", table, "-o", tmp_path / "parts", "--part-rows", 20, "--quiet", "--workers", 0)
    one, parts = pd.read_parquet(tmp_path / "all.parquet"), pd.read_parquet(tmp_path / "parts")
    assert len([*(tmp_path / "parts").glob("part-*")]) == 3
    assert np.array_equal(np.stack(one["embedding"]), np.stack(parts["embedding"]), equal_nan=True)
    assert np.isnan(np.stack(parts["embedding"])).all(1).tolist() == [k % 10 == 4 for k in range(ROWS)]


class Falling(Executor):
    """Loses every other task, and does the others."""

    def __init__(self) -> None:
        self.count = 0
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def submit(self, function, /, *arguments, **more):
        self.count += 1
        if self.count % 2:
            return self.pool.submit(os._exit if self.count == 99 else divmod, 1, 0)
        return self.pool.submit(function, *arguments, **more)


def test_processes_compute_the_same(model, table, tmp_path, small_steps):
    predict(model, table, "-o", tmp_path / "here", "--part-rows", 10)
    result = run("predict", model, table, "-o", tmp_path / "there", "--part-rows", 10, "--workers", 2)
    assert result.exit_code == 0, result.output
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert "100%" in result.stderr, "the bar's end is that of the input"


def test_a_process_that_ends_costs_nothing(model, table, monkeypatch):
    job = Prediction((str(model),))
    here = [*Files(MoleculeReader(table)).steps(job, size=5)]
    steps = Files(MoleculeReader(table)).steps(job, size=5, workers=2)
    there = [next(steps)]
    children = psutil.Process().children(recursive=True)
    victims = [child for child in children if "forkserver" in " ".join(child.cmdline())]
    for child in victims[-2:]:
        child.kill()
    there += steps
    assert len(victims) >= 2
    for (_, a), (_, b) in zip(here, there, strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_work_that_is_lost_elsewhere_is_done_here(model, table):
    job = Prediction((str(model),))
    here = [*Files(MoleculeReader(table, keep_cells=True)).steps(job, size=20)]
    executor = Falling()
    there = [*Files(MoleculeReader(table, keep_cells=True)).steps(job, size=20, executor=executor, workers=2)]
    executor.pool.shutdown()
    assert executor.count >= 3
    assert [number for number, _ in there] == [0, 1, 2]
    for (_, a), (_, b) in zip(here, there, strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(model, table, tmp_path, small_steps):
    """Two worker processes, one of which is killed while the work goes on."""
    predict(model, table, "-o", tmp_path / "here", "--part-rows", 10)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        victim = next(iter(cluster.workers.values())).pid
        address, killed = cluster.scheduler_address, []
        steps = Files.steps

        def kill(self: Files, job: Prediction, **how: object):
            for number, frame in steps(self, job, **how):
                if not killed:
                    os.kill(victim, 9)
                    killed.append(number)
                yield number, frame

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Files, "steps", kill)
            succeed("predict", model, table, "-o", tmp_path / "there", "--part-rows", 10, "--quiet", "--workers", 2,
                    "--executor", f"dask:{address}")  # fmt: skip
    assert killed == [0]
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_an_arrow_schema_for_all_steps():
    first = pd.DataFrame({"row": [0], "line": pd.array([None], "Int64"), "id": [None], "y_predicted": [np.nan]})
    assert [str(field.type) for field in schema_of(first)] == ["int64", "int64", "string", "double"]


def test_columns_of_the_names_of_results_are_kept(model, tmp_path):
    names = ("row", "smiles", "reason", "embedding", "size_predicted", "line")
    rows = ('9,CCO,why,"[1, 2]",x,y', "7,CCN,,,0.5,")
    (tmp_path / "in.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    for form in ("csv", "parquet", "jsonl"):
        predict(model, tmp_path / "in.csv", "-o", tmp_path / f"odd.{form}")
    predict(model, tmp_path / "in.csv", "-o", tmp_path / "odd")
    for found in (pd.read_parquet(tmp_path / "odd.parquet"), pd.read_parquet(tmp_path / "odd")):
        assert found["embedding"].tolist() == ["[1, 2]", ""]
        assert found["row"].tolist() == [0, 1]
        assert found["row_input"].tolist() == ["9", "7"]
        assert found["size_predicted_input"].tolist() == ["x", "0.5"]
        assert found["reason_input"].tolist() == ["why", ""]
    own = pa.table({"smiles": ["CCO"], "row": pa.array([5], pa.int16()), "reason": [1.5]})
    pq.write_table(own, tmp_path / "in.parquet")
    predict(model, tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert [schema.field(name).type for name in ("row", "row_input", "reason_input")] == [
        pa.int64(),
        pa.int16(),
        pa.float64(),
    ]
