"""Worker processes: what a molecule does to the one it is in costs nothing but itself."""

import concurrent.futures as futures
import subprocess
import sys

from featurized import assert_complete, essence

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.featurize import featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.data.workers import Task, run_tasks
from dgl_moleblend.readers.molecules import MoleculeReader

NASTY = """
import os, sys, time
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data import featurize, molecules
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.data.featurize import featurize_to_store
from dgl_moleblend.data.molecules import PipelineConfig

featurize_mol = molecules.featurize_mol

def be_nasty(mol, config):
    symbol = mol.GetAtomWithIdx(0).GetSymbol()
    if symbol == "F":
        os._exit(7)
    if symbol == "Cl":
        os.kill(os.getpid(), 11)
    if symbol == "Br":
        os.kill(os.getpid(), 9)
    if symbol == "I" or (symbol == "P" and config.positions != "none"):
        while True:
            pass
    return featurize_mol(mol, config)

molecules.featurize_mol = be_nasty
featurize.CHUNK.update(none=8, embed=8)

if __name__ == "__main__":
    config = PipelineConfig(FeaturizerConfig("embed"), on_failed_conformer="keep", time_limit=3.0)
    featurize_to_store(MoleculeReader(sys.argv[1]), sys.argv[2], config, workers=2, shard_size=20)
"""


def test_a_molecule_that_ends_or_stops_its_process_costs_only_itself(tmp_path):
    smiles = ["CO"] * 50
    for row, text in {3: "FC", 4: "FCC", 17: "ClC", 30: "PC", 33: "BrC", 49: "IC"}.items():
        smiles[row] = text
    (tmp_path / "nasty.py").write_text(NASTY)
    (tmp_path / "in.smi").write_text("\n".join(smiles) + "\n")
    command = [sys.executable, tmp_path / "nasty.py", tmp_path / "in.smi", tmp_path / "s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    store = MoleculeStore(tmp_path / "s")
    assert_complete(store, 50)
    assert store.rejects[["row", "stage", "reason"]].values.tolist() == [
        [3, "crash", "the worker process ended with exit code 7"],
        [4, "crash", "the worker process ended with exit code 7"],
        [17, "crash", "the worker process was ended by SIGSEGV"],
        [33, "crash", "the worker process was ended by SIGKILL (out of memory?)"],
        [49, "time", "it took longer than the time limit of 3 s"],
    ]
    without = store.rows[store.num_conformers == 0].tolist()
    assert without == [30], "what hangs in its conformers is kept without on request"


def test_workers_that_cannot_start_are_no_fault_of_the_molecules(tmp_path):
    (tmp_path / "in.smi").write_text("C\nCC\n")
    (tmp_path / "script.py").write_text(
        "from dgl_moleblend.data.dataset import MoleculeDataset\n"
        f"MoleculeDataset.from_file({str(tmp_path / 'in.smi')!r}, workers=1)\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DataError: worker processes cannot start" in done.stderr
    assert '`if __name__ == "__main__":`' in done.stderr


class BrokenExecutor(futures.Executor):
    """Takes some work, does some of it, and then fails in every way there is."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, function, /, *args, **kwargs):
        self.count += 1
        future: futures.Future = futures.Future()
        if self.count == 1:
            future.set_result(function(*args, **kwargs))
        elif self.count == 2:
            future.set_exception(RuntimeError("the worker is gone"))
        elif self.count > 3:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return future


def test_an_executor_that_fails_or_never_answers(tmp_path):
    path = tmp_path / "in.smi"
    path.write_text("C\nCC\nCCC\nCCCC\nC1C\nCCO\n")
    records = list(MoleculeReader(path))
    tasks = [Task((record,), PipelineConfig(), 0, (str(path),)) for record in records]
    chunks = list(run_tasks(tasks, executor=BrokenExecutor(), workers=2, stall=0.2))
    assert [chunk.batch.column("row").to_pylist() for chunk in chunks] == [[0], [1], [2], [3], [], [5]]
    assert [reject.row for chunk in chunks for reject in chunk.rejects] == [4]


def test_conformers_do_not_depend_on_the_number_of_workers(tmp_path):
    path = tmp_path / "in.smi"
    path.write_text("\n".join(["CCO", "CC(C)Cc1ccccc1", "C1CCCCC1", "NCC(=O)O"] * 5))
    config = PipelineConfig(FeaturizerConfig("embed", seed=5, num_conformers=2))
    alone = featurize_to_table(MoleculeReader(path), config)
    pool = featurize_to_table(MoleculeReader(path), config, workers=2)
    assert set(alone.num_conformers) == {2}
    assert essence(alone) == essence(pool)
