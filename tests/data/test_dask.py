"""A dask cluster does the work of the local processes, and writes the same bytes."""

from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest
from commands import run, succeed

from dgl_moleblend.cli import executors
from dgl_moleblend.data import workers


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    """Two worker processes and a scheduler that is spoken to over TCP, as on a cluster of machines."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def molecules(tmp_path: Path) -> Path:
    path = tmp_path / "in.smi"
    path.write_text("\n".join(["CCO", "c1ccccc1", "C1CC", "CC(C)O", "[Na+].[Cl-]"] * 20) + "\n")
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_command_line_gives_its_work_to_a_cluster(tmp_path, molecules, cluster, monkeypatch):
    options = ("--positions", "embed", "--seed", 3, "--shard-size", 30)
    succeed("featurize", molecules, "-o", tmp_path / "alone", "--workers", 0, *options)
    for name in ("featurize_record", "run_isolated"):  # of this process, which is to do none of the work
        monkeypatch.setattr(workers, name, None)
    executor = f"dask:{cluster.scheduler_address}"
    result = succeed("featurize", molecules, "-o", tmp_path / "dask", "--workers", 2, "--executor", executor, *options)
    assert executor.startswith("dask:tcp://")
    assert "100 rows: 80 kept, 20 rejected (parse 20)" in result.stderr
    assert content(tmp_path / "dask") == content(tmp_path / "alone")


def test_a_scheduler_that_is_not_there(tmp_path, molecules, monkeypatch):
    monkeypatch.setattr(executors, "CONNECT", 0.5)
    result = run("featurize", molecules, "-o", tmp_path / "s", "--executor", "dask:tcp://127.0.0.1:9")
    assert result.exit_code == 2
    assert "the dask scheduler tcp://127.0.0.1:9 does not answer" in result.stderr
    assert not (tmp_path / "s").exists()
