"""Writing a store: whole at any moment, and the same bytes however often it was cut off."""

import subprocess
import sys
from pathlib import Path

import pytest
from stores import content, make, shard, writer

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data import writer as writer_module
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.errors import DataError


def test_the_same_input_makes_the_same_bytes(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_an_interrupted_store_is_readable_on_request_and_goes_on(tmp_path):
    make(tmp_path / "whole")
    first = writer(tmp_path / "s")
    assert first.next_row == 0
    first.write_shard(*shard(0, rejected=(2,)))
    first.close()
    with pytest.raises(DataError, match="the store is unfinished: 4 input rows are done") as error:
        MoleculeStore(tmp_path / "s")
    assert "run the same featurize command again" in str(error.value)
    part = MoleculeStore(tmp_path / "s", allow_partial=True)
    assert len(part) == 3
    assert part.rejects["row"].tolist() == [2]
    # what a run leaves that is killed after writing a shard, before the manifest says so
    (tmp_path / "s" / "shard-00001.arrow").write_bytes(b"half a shard")
    (tmp_path / "s" / ".tmp-shard-00002.arrow").write_bytes(b"half a shard")
    with (tmp_path / "s" / "rejects.csv").open("a") as file:
        file.write("5,half a")
    assert MoleculeStore(tmp_path / "s", allow_partial=True).rejects["row"].tolist() == [2]
    second = writer(tmp_path / "s")
    assert second.next_row == 4
    second.write_shard(*shard(4))
    second.write_shard(*shard(8, rejected=(8, 9, 10, 11)))
    second.finish()
    assert content(tmp_path / "s") == content(tmp_path / "whole")


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import stores
from dgl_moleblend.data.store import MoleculeStore

def run(folder):
    out = stores.writer(folder)
    shards = [stores.shard(0, rejected=(2,)), stores.shard(4), stores.shard(8, rejected=(8, 9, 10, 11))]
    for shard in shards[out.next_row // 4:]:
        out.write_shard(*shard)
    if not out.complete:
        out.finish()

def die_after(steps):
    for name in ("fsync", "replace", "truncate", "unlink"):
        def call(*args, real=getattr(os, name), **kwargs):
            nonlocal steps
            steps -= 1
            if steps < 0:
                os.kill(os.getpid(), 9)
            return real(*args, **kwargs)
        setattr(os, name, call)

whole = Path(sys.argv[1])
for steps in range(1_000):
    folder = Path(sys.argv[2], str(steps))
    child = os.fork()
    if child == 0:
        die_after(steps)
        run(folder)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if (folder / "manifest.json").exists():
        MoleculeStore(folder, allow_partial=True)
    run(folder)
    assert stores.content(folder) == stores.content(whole), steps
    if status == 0:
        print(steps, "kills")
        break
    assert status == 9, status
"""


def test_a_run_killed_at_any_step_goes_on_to_the_same_bytes(tmp_path):
    """Killed by signal 9 before each call to the file system in turn, then run again."""
    make(tmp_path / "whole")
    script = tmp_path / "crash.py"
    script.write_text(CRASH.format(folder=str(Path(__file__).parents[1])))
    (tmp_path / "runs").mkdir()
    command = [sys.executable, script, tmp_path / "whole", tmp_path / "runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 20


def test_other_arguments_do_not_mix(tmp_path):
    make(tmp_path / "s")
    assert writer(tmp_path / "s").complete
    with pytest.raises(DataError, match=r"another featurizer\['seed'\]: 0 there, 1 now"):
        writer(tmp_path / "s", featurizer=FeaturizerConfig(seed=1))
    with pytest.raises(DataError, match=r"another task_names: \['y', 'z'\] there, \['y'\] now") as error:
        writer(tmp_path / "s", task_names=["y"])
    assert "--overwrite" in str(error.value)
    replaced = writer(tmp_path / "s", shard_size=2, overwrite=True)
    assert replaced.next_row == 0
    assert sorted(content(tmp_path / "s")) == ["manifest.json", "rejects.csv"]


def test_folders_that_are_something_else(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"not empty and no store: it holds 'thesis.docx'"):
            writer(tmp_path, overwrite=overwrite)
    with pytest.raises(DataError, match="this is a file, and a store is a folder"):
        writer(tmp_path / "thesis.docx")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "thesis.docx"):
        with pytest.raises(DataError, match="this is not a store"):
            MoleculeStore(path)
    with pytest.raises(DataError, match="shard_size=0 is not allowed"):
        writer(tmp_path / "s", shard_size=0)


def test_two_runs_do_not_write_one_store(tmp_path):
    first = writer(tmp_path / "s")
    with pytest.raises(DataError, match="another run is writing this store"):
        writer(tmp_path / "s")
    first.close()
    writer(tmp_path / "s").close()


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    make(tmp_path / "whole")
    out = writer(tmp_path / "s")
    out.write_shard(*shard(0, rejected=(2,)))

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writer_module.os, "fsync", no_space)
        with pytest.raises(DataError, match=r"cannot be written: No space left on device \([\d,]+ bytes are free\)"):
            out.write_shard(*shard(4))
    out.close()
    assert not [name for name in content(tmp_path / "s") if name.startswith(".tmp")]
    again = writer(tmp_path / "s")
    again.write_shard(*shard(4))
    again.write_shard(*shard(8, rejected=(8, 9, 10, 11)))
    again.finish()
    assert content(tmp_path / "s") == content(tmp_path / "whole")
