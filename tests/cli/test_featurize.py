"""`featurize`: what it writes, what it says, and that kill -9 costs nothing."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import commands
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from commands import succeed

import dgl_moleblend as mb
from dgl_moleblend.cli import main
from dgl_moleblend.data.store import MoleculeStore

FEATURIZE = (sys.executable, "-m", "dgl_moleblend", "featurize")
CSV = "id,smiles,y\na,CCO,1\nb,C1CC,2\nc,c1ccccc1,\nd,CCCCCCCCCC,4\n"


def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["featurize", *map(str, arguments)], input=stdin)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(CSV)
    return path


def test_a_store_with_its_rejects(tmp_path, path):
    result = run(path, "--tasks", "y", "-o", tmp_path / "s", "--workers", 0, "--max-atoms", 8)
    assert result.exit_code == 0, result.output
    assert result.stdout == "", "results are in files; messages go to stderr"
    assert "4 rows: 2 kept, 2 rejected (parse 1, size 1)" in result.stderr
    store = MoleculeStore(tmp_path / "s")
    assert store.ids == ["a", "c"]
    rejects = pd.read_csv(tmp_path / "s" / "rejects.csv")
    assert rejects[["row", "line", "id", "smiles", "stage"]].values.tolist() == [
        [1, 3, "b", "C1CC", "parse"],
        [3, 5, "d", "CCCCCCCCCC", "size"],
    ]


def test_quiet_shows_no_bar(tmp_path, path):
    assert "rows, " in run(path, "-o", tmp_path / "a", "--workers", 0).stderr
    assert "%|" not in run(path, "-o", tmp_path / "b", "--workers", 0, "--quiet").stderr


def test_standard_input(tmp_path):
    result = run("-", "-o", tmp_path / "s", "--workers", 0, stdin="C methane\nCC ethane\n")
    assert result.exit_code == 0, result.output
    assert MoleculeStore(tmp_path / "s").ids == ["methane", "ethane"]


def test_dgl_graphs(tmp_path, path):
    import dgl

    result = run(path, "--tasks", "y", "--format", "dgl", "-o", tmp_path / "g.bin", "--workers", 0)
    assert result.exit_code == 0, result.output
    graphs, tensors = dgl.load_graphs(str(tmp_path / "g.bin"))
    assert [g.num_nodes() for g in graphs] == [3, 6, 10]
    assert tensors["rows"].tolist() == [0, 2, 3]
    assert pd.read_csv(tmp_path / "g.rejects.csv")["row"].tolist() == [1]
    result = run(path, "--format", "dgl", "-o", tmp_path / "g.bin", "--workers", 0)
    assert result.exit_code == 2
    assert "the file is there already" in result.stderr
    result = run(path, "--format", "dgl", "-o", tmp_path / "no" / "g.bin", "--workers", 0)
    assert result.exit_code == 2
    assert "there is no such folder" in result.stderr


def test_positions(tmp_path):
    smi = tmp_path / "in.smi"
    smi.write_text("CC |(0,0,0;1.5,0,0.1)| 3D\nCC flat\n")
    result = run(smi, "-o", tmp_path / "s", "--positions", "given", "--workers", 0)
    assert "2 rows: 1 kept, 1 rejected (conformer 1)" in result.stderr
    result = run(smi, "-o", tmp_path / "k", "--positions", "given", "--workers", 0, "--on-failed-conformer", "keep")
    assert MoleculeStore(tmp_path / "k").num_conformers.tolist() == [1, 0]
    result = run(smi, "-o", tmp_path / "e", "--positions", "embed", "--conformers", 3, "--seed", 7, "--workers", 0)
    assert result.exit_code == 0, result.output
    store = MoleculeStore(tmp_path / "e")
    assert store.num_conformers.tolist() == [3, 3]
    assert store.featurizer.seed == 7


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["nowhere.csv"], 2, "there is no such file"),
        (["{in}", "--smiles-column", "structure"], 2, "the columns are: 'id', 'smiles', 'y'"),
        (["{in}", "--tasks", "z"], 2, "there is no task column 'z'"),
        (["{in}", "--positions", "guess"], 2, "'guess' is not one of"),
        (["{in}", "--conformers", "0"], 2, "--conformers"),
        (["{in}", "--shard-size", "0"], 2, "--shard-size"),
        ([], 2, "Missing argument"),
        (["{in}", "--max-atoms", "1"], 1, "no molecule was kept"),
        (["{empty}"], 2, "the file is empty"),
        (["{header}"], 1, "no molecule was kept"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(tmp_path, path, arguments, exit_code, text):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("smiles\n")
    names = {"in": path, "empty": tmp_path / "empty.csv", "header": tmp_path / "header.csv"}
    result = run(*(a.format(**names) for a in arguments), "-o", tmp_path / "s", "--workers", 0)
    assert result.exit_code == exit_code, result.output
    assert text in result.stderr
    assert "Traceback" not in result.output


def test_other_arguments_need_overwrite(tmp_path, path):
    assert run(path, "-o", tmp_path / "s", "--workers", 0).exit_code == 0
    result = run(path, "-o", tmp_path / "s", "--workers", 0, "--seed", 3)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert run(path, "-o", tmp_path / "s", "--workers", 0, "--seed", 3, "--overwrite").exit_code == 0
    assert MoleculeStore(tmp_path / "s").featurizer.seed == 3


def children(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(entry.parent.name))
    return found | {grandchild for child in found for grandchild in children(child)}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("how", "exit_code", "said"),
    [
        (signal.SIGKILL, -9, ""),
        (signal.SIGTERM, -15, ""),
        (signal.SIGINT, 130, "interrupted; the same command goes on"),
    ],
)
def test_a_run_that_is_ended_and_the_same_command_again(tmp_path, how, exit_code, said):
    """The run is ended while its input is still coming; its workers end, and a second run writes the same bytes."""
    rows = [f"{'C' * (k % 9 + 1)}{'O' * (k % 2)} m{k}" if k % 10 else f"C1CC bad{k}" for k in range(1_500)]
    data = ("\n".join(rows) + "\n").encode()
    options = ["-", "--shard-size", "50", "-o"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(*options, whole, "--workers", 0, stdin=data).exit_code == 0

    command = [*FEATURIZE, *options, cut, "--workers", "2"]
    hears_ctrl_c = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # in `make test &` it is ignored
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=hears_ctrl_c
    )
    process.stdin.write(data[: len(data) // 2])
    process.stdin.flush()
    deadline = time.monotonic() + 120
    while not (cut / "manifest.json").exists() or not json.loads((cut / "manifest.json").read_text())["shards"]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = children(process.pid)
    assert workers
    if how == signal.SIGINT:  # Ctrl-C goes to the workers, too
        os.killpg(process.pid, how)
    else:
        os.kill(process.pid, how)
    errors = process.communicate()[1].decode()
    assert said in errors
    assert "Traceback" not in errors
    assert process.returncode == exit_code
    part = MoleculeStore(cut, allow_partial=True)
    assert 0 < part.manifest["counts"]["rows"] < 1_500
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived the run"
        time.sleep(0.05)

    assert run(*options, cut, "--workers", 0, stdin=data).exit_code == 0
    assert {p.name: p.read_bytes() for p in cut.iterdir()} == {p.name: p.read_bytes() for p in whole.iterdir()}
    store = MoleculeStore(cut)
    assert sorted([*store.rows.tolist(), *store.rejects["row"].tolist()]) == list(range(1_500))
    assert store.rejects["id"].tolist() == [f"bad{k}" for k in range(0, 1_500, 10)]


def limited(size: int, *arguments: object) -> subprocess.CompletedProcess:
    """Run the command where no file may become larger than `size` bytes, which is refused as a full disk is."""
    resource = pytest.importorskip("resource")
    return subprocess.run(
        [*FEATURIZE, *map(str, arguments)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_disk_that_fills_up_leaves_a_store_that_goes_on(tmp_path):
    path = tmp_path / "in.smi"
    path.write_text("".join(f"{'C' * (k // 4 + 1)} m{k}\n" if k % 5 else f"C1CC bad{k}\n" for k in range(400)))
    options = (path, "--workers", 0, "--quiet", "--shard-size", 100, "-o")
    assert run(*options, tmp_path / "whole").exit_code == 0
    shards = sorted(file.stat().st_size for file in (tmp_path / "whole").glob("shard-*"))
    done = limited(shards[-2] + 1, *options, tmp_path / "s")
    assert done.returncode == 1
    assert "the store cannot be written: " in done.stderr
    assert "make room and run the same command again; it goes on where it stopped" in done.stderr
    assert "Traceback" not in done.stderr
    part = MoleculeStore(tmp_path / "s", allow_partial=True)
    assert part.manifest["counts"]["rows"] == 300
    assert sorted([*part.rows, *part.rejects["row"]]) == list(range(300))
    assert run(*options, tmp_path / "s").exit_code == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "s").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()
    }


@pytest.mark.parametrize("size", [10, 3_000])
def test_a_full_disk_from_the_beginning(tmp_path, path, size):
    done = limited(size, path, "--workers", 0, "--quiet", "-o", tmp_path / "s")
    assert done.returncode == 1
    assert "the store cannot be written: " in done.stderr
    assert run(path, "-o", tmp_path / "s", "--workers", 0).exit_code == 0


def test_dgl_graphs_are_written_whole_or_not_at_all(tmp_path, path):
    options = (path, "--workers", 0, "--quiet", "--format", "dgl", "--overwrite", "-o", tmp_path / "g.bin")
    done = limited(5_000, *options)
    assert done.returncode == 1
    assert "the graphs cannot be written: DGL could not write all of it" in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.rejects.csv", "in.csv"]
    assert run(*options).exit_code == 0
    whole = (tmp_path / "g.bin").read_bytes()
    assert limited(5_000, *options).returncode == 1
    assert (tmp_path / "g.bin").read_bytes() == whole


def test_any_executor_writes_the_same(tmp_path, path, monkeypatch):
    (tmp_path / "my_cluster.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor as make\nnothing = int\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run(path, "-o", tmp_path / "a", "--workers", 0).exit_code == 0
    result = run(path, "-o", tmp_path / "b", "--executor", "my_cluster:make")
    assert result.exit_code == 0, result.output
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("threads", "give dask:ADDRESS or MODULE:FUNCTION"),
        ("no_such_module:make", "No module named 'no_such_module'"),
        ("math:no_such_function", "no_such_function"),
        ("builtins:int", "is no concurrent.futures.Executor"),
    ],
)
def test_executors_that_are_none(tmp_path, path, name, text):
    result = run(path, "-o", tmp_path / "s", "--executor", name)
    assert result.exit_code == 2
    assert text in result.stderr


def test_labels_from_a_table_beside(tmp_path):
    from rdkit import Chem

    (tmp_path / "a.sdf").write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("CO")) + "$$$$\n")
    (tmp_path / "a.csv").write_text("smiles,gap\nCO,9.7\n")
    arguments = (tmp_path / "a.sdf", "--labels", tmp_path / "a.csv", "--tasks", "gap", "--workers", 0)
    result = run(*arguments, "-o", tmp_path / "s")
    assert result.exit_code == 0, result.output
    assert MoleculeStore(tmp_path / "s").labels.ravel().tolist() == [pytest.approx(9.7)]


def test_published_data_sets_by_name(tmp_path):
    (tmp_path / "BBBP.csv").write_text("num,name,p_np,smiles\n1,a,1,CCO\n2,b,0,C1C\n")
    result = run(tmp_path, "--dataset", "bbbp", "-o", tmp_path / "s", "--workers", 0)
    assert result.exit_code == 0, result.output
    store = MoleculeStore(tmp_path / "s")
    assert store.task_names == ("p_np",)
    assert store.ids == ["a"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--dataset", "bbbp", "--tasks", "y"], "takes one folder, and neither columns nor labels"),
        (["--dataset", "qm8"], "'qm8' is not one of"),
        (["--uncharacterized", "x.txt"], "--uncharacterized goes with --dataset qm9"),
        (["--labels", "t.csv", "--input-format", "csv"], "--labels goes with SDF files"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, path, arguments, text):
    result = run(path, *arguments, "-o", tmp_path / "s")
    assert result.exit_code == 2
    assert text in result.stderr


def test_molecules_are_standardised_on_request_and_models_remember_it(tmp_path):
    acids = ["C" * k + "C(=O)O" for k in range(1, 13)]
    table, salts = tmp_path / "acids.csv", tmp_path / "salts.smi"
    table.write_text("smiles,y\n" + "".join(f"{text},{k}\n" for k, text in enumerate(acids)))
    salts.write_text("".join(f"{text[:-1]}[O-].[Na+]\n" for text in acids))
    steps = ("--standardize", "fragment", "--standardize", "neutral")
    succeed("featurize", salts, *steps, "-o", tmp_path / "s", "--workers", 0, "--quiet")
    assert MoleculeStore(tmp_path / "s").featurizer.standardize == ("fragment", "neutral")
    assert MoleculeStore(tmp_path / "s").num_atoms[0] == 4
    succeed("finetune", table, "--tasks", "y", *steps, "--head", "trees", "--split", "random", "-o", tmp_path / "model",
            "--workers", 0, "--quiet")  # fmt: skip
    for given in (salts, tmp_path / "s"):
        succeed("predict", tmp_path / "model", given, "-o", tmp_path / "p.csv", "--workers", 0, "--quiet")
        found = pd.read_csv(tmp_path / "p.csv")
        assert found["smiles"].tolist() == salts.read_text().split()
        assert found["similarity"].max() == 1
    result = commands.run("finetune", tmp_path / "s", *steps, "-o", tmp_path / "x")
    assert result.exit_code == 2
    assert "leave out --standardize" in result.output


def test_what_is_beyond_the_vocabulary_is_counted(tmp_path):
    (tmp_path / "a.smi").write_text("CCO\n[2H]C\n*C\n")
    result = run(tmp_path / "a.smi", "-o", tmp_path / "s", "--quiet", "--workers", 0)
    assert "models do not tell: 1 with an isotope, 1 with a dummy atom (*)" in result.output


def test_conformers_are_kept_in_a_file_and_may_be_left_unrelaxed(table, tmp_path, monkeypatch):
    monkeypatch.delenv("DGL_MOLEBLEND_CONFORMER_CACHE", raising=False)
    cache = tmp_path / "conformers.sqlite"
    how = ("--positions", "embed", "--quiet", "--workers", 0)
    succeed("featurize", table, *how, "-o", tmp_path / "plain.store")
    for name in ("first", "second"):
        succeed("featurize", table, *how, "--conformer-cache", cache, "-o", tmp_path / f"{name}.store")
    assert "DGL_MOLEBLEND_CONFORMER_CACHE" not in os.environ
    plain, *others = (mb.MoleculeDataset.from_store(tmp_path / f"{n}.store") for n in ("plain", "first", "second"))
    assert cache.is_file()
    for other in others:
        assert other.digest() == plain.digest()
    succeed("featurize", table, *how, "--no-force-field", "-o", tmp_path / "rough.store")
    rough = mb.MoleculeDataset.from_store(tmp_path / "rough.store")
    assert rough.featurizer.optimize is False
    assert rough.digest()["positions"] != plain.digest()["positions"]
    assert rough.digest()["molecules"] == plain.digest()["molecules"]


def test_shards_of_a_file_are_the_blocks_of_the_whole(table, tmp_path):
    how = ("--tasks", "size", "--shard-size", 5, "--quiet", "--workers", 0)
    succeed("featurize", table, *how, "-o", tmp_path / "whole.store")
    whole = MoleculeStore(tmp_path / "whole.store")
    files = sorted(path.name for path in (tmp_path / "whole.store").glob("shard-*.arrow"))
    rows, rejected = [], []
    for number in (1, 2, 3):
        folder = tmp_path / f"{number}.store"
        succeed("featurize", table, *how, "--shard", f"{number}/3", "-o", folder)
        own = sorted(path for path in folder.glob("shard-*.arrow"))
        for path, name in zip(own, files[number - 1 :: 3], strict=True):
            assert path.read_bytes() == (tmp_path / "whole.store" / name).read_bytes()
        store = MoleculeStore(folder)
        rows += store.rows.tolist()
        rejected += store.rejects["row"].tolist()
    assert sorted(rows) == whole.rows.tolist()
    assert sorted(rejected) == whole.rejects["row"].tolist()
    joined = mb.MoleculeDataset.from_stores([tmp_path / f"{number}.store" for number in (1, 2, 3)])
    assert sorted(joined.smiles) == sorted(whole.smiles)
    result = run(table, *how, "--shard", "2/3", "-o", tmp_path / "1.store")
    assert result.exit_code == 2
    assert "share" in result.stderr
    assert run(table, *how, "--shard", "4/3", "-o", tmp_path / "x.store").exit_code == 2


@pytest.mark.parametrize("option", [("--conformers", 3), ("--no-force-field",), ("--conformer-cache", "c.sqlite")])
def test_options_of_conformers_want_conformers(table, tmp_path, option, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("featurize", "pretrain", "finetune"):
        result = commands.run(command, table, *option, "-o", "out", "--workers", 0)
        assert result.exit_code == 2, result.output
        assert f"leave out {option[0]}: no conformers are embedded; or add --positions embed" in result.stderr
        assert not Path("out").exists()
    monkeypatch.setenv("DGL_MOLEBLEND_FEATURIZE_CONFORMERS", "3")
    monkeypatch.setenv("DGL_MOLEBLEND_FEATURIZE_CONFORMER_CACHE", "c.sqlite")
    succeed("featurize", table, "-o", "s", "--workers", 0, "--quiet")
    if option[0] == "--conformer-cache":
        result = commands.run("pretrain", "s", *option, "-o", "out")
        assert "leave out --conformer-cache: s is a data set, featurized already" in result.stderr
        result = commands.run("featurize", table, "--positions", "embed", "--conformer-cache", "no/c", "-o", "t")
        assert result.exit_code == 2
        assert f"there is no folder {str(tmp_path / 'no')!r}" in result.stderr


def test_a_share_without_rows_is_no_error(table, tmp_path):
    how = ("--shard-size", 20, "--quiet", "--workers", 0)
    for number in (1, 2, 3, 3):  # the last again: the command goes on where nothing is left to do
        said = succeed("featurize", table, *how, "--shard", f"{number}/3", "-o", tmp_path / str(number)).stderr
        assert ("this share has no rows, which is no error: 3 shares of 2 blocks of 20 rows" in said) is (number == 3)
    assert len(MoleculeStore(tmp_path / "3")) == 0
    joined = mb.MoleculeDataset.from_stores([tmp_path / name for name in "321"])
    assert len(joined) == 30
    said = succeed("featurize", table, *how, "--shard", "3/3", "--format", "dgl", "-o", tmp_path / "g.bin").stderr
    assert "this share has no rows" in said
    assert "no file of graphs is written" in said
    (tmp_path / "header.csv").write_text("smiles\n")
    assert run(tmp_path / "header.csv", "--shard", "2/3", "-o", tmp_path / "h").exit_code == 1


def test_columns_that_could_be_labels_are_named_where_none_is_asked_for(tmp_path):
    from rdkit import Chem

    rows = "".join(f"{'C' * k},{k},m{k},{k / 7:.2f},{'yes' if k % 3 else 'no'},{k % 4}0,a note\n" for k in range(1, 21))
    (tmp_path / "a.csv").write_text("smiles,row,name,expt,hit,dose,remark\n" + rows.replace("0.43", "n.d."))
    how = ("--workers", 0, "--quiet", "-o")
    text = (
        "left out: 'expt', 'hit', 'dose', numbers or classes that models can learn (--tasks expt,hit,dose keeps them)"
    )
    assert text in succeed("featurize", tmp_path / "a.csv", *how, tmp_path / "s").stderr
    stdin = (tmp_path / "a.csv").read_text()
    assert text in succeed("featurize", "-", *how, tmp_path / "t", stdin=stdin).stderr
    assert len(MoleculeStore(tmp_path / "t")) == 20
    assert "left out" not in succeed("featurize", tmp_path / "a.csv", "--tasks", "dose", *how, tmp_path / "u").stderr
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CO"))
    (tmp_path / "a.sdf").write_text("".join(f"{block}>  <gap>\n{k}.5\n\n$$$$\n" for k in (3, 9, 4)))
    said = succeed("featurize", tmp_path / "a.sdf", *how, tmp_path / "v").stderr
    assert "left out: 'gap', numbers" in said
    (tmp_path / "b.csv").write_text("smiles,heat\nCO,9.5\nCO,2.5\nCO,3.5\n")
    beside = succeed("featurize", tmp_path / "a.sdf", "--labels", tmp_path / "b.csv", *how, tmp_path / "w").stderr
    assert "left out: 'heat', numbers" in beside
