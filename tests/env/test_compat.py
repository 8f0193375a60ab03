"""`import dgl` after `import dgl_moleblend`: on a DGL of a few lines for every fault, and on the real one.

Each test runs in a Python of its own, since what matters is what has been imported when.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAKE_DGL = {
    "torch/__init__.py": "__version__ = '9.8.7+cpu'",
    "dgl/__init__.py": "from . import backend\nfrom . import graphbolt\nimport needed",
    "dgl/backend.py": "from ._ffi import libinfo\n",
    "dgl/_ffi/__init__.py": "",
    "dgl/_ffi/libinfo.py": "import os, torch\n__version__ = '2.1.0'\n"
    "def find_lib_path(): return [os.path.join(os.path.dirname(__file__), '..', 'libdgl.so')]",
    "dgl/graphbolt/__init__.py": "from .base import Sampler",
    "dgl/graphbolt/base.py": "class Sampler: pass",
    "dgl/graphbolt/libgraphbolt_pytorch_2.2.1.so": "",
    "needed.py": "",
}
LIBRARY = "dgl/graphbolt/libgraphbolt_pytorch_9.8.7.so"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def python(code: str, *, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code`, with `path` before everything else that can be imported, and expect it to succeed."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DGL")}
    variables |= {"OMP_NUM_THREADS": "1", **environment}
    if path is not None:
        variables["PYTHONPATH"] = str(path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def fake(tmp_path):
    write(tmp_path, FAKE_DGL)
    return tmp_path


def test_importing_the_package_imports_nothing_heavy():
    heavy = python(
        "import sys, dgl_moleblend\n"
        "print(*{'torch', 'dgl', 'numpy', 'pandas', 'multiprocessing', 'joblib', 'rdkit'} & set(sys.modules))"
    )
    assert heavy.stdout.strip() == ""


def test_install_is_idempotent_even_if_the_module_is_reloaded(fake):
    python(
        "import importlib, sys, dgl_moleblend.env.compat as compat, multiprocessing.spawn as spawn\n"
        "installed = list(sys.meta_path)\n"
        "compat.install()\n"
        "importlib.reload(compat).install()\n"
        "import dgl\n"
        "assert sys.meta_path == installed\n"
        "assert compat.graphbolt_fault() is not None\n"
        "assert not hasattr(spawn.get_preparation_data.__wrapped__, '__wrapped__')",
        path=fake,
    )


def test_own_graphbolt_stays_in_use_where_its_library_is(fake):
    write(fake, {LIBRARY: ""})
    python(
        "import dgl_moleblend.env.compat as compat, dgl\n"
        "from dgl.graphbolt import Sampler\n"
        "assert Sampler.__module__ == 'dgl.graphbolt.base'\n"
        "assert compat.graphbolt_fault() is None\n"
        "assert type(dgl.graphbolt.__loader__).__name__ == 'SourceFileLoader'",
        path=fake,
    )


def test_graphbolt_is_inert_where_its_library_is_absent_and_says_so(fake):
    done = python(
        "import inspect, pickle, pydoc, dgl_moleblend.env.compat as compat, dgl, dgl.graphbolt as gb\n"
        "assert not hasattr(gb, 'Sampler') and not hasattr(gb, '__wrapped__')\n"
        "assert not isinstance(1, gb.FusedCSCSamplingGraph)\n"
        "assert compat.graphbolt_fault().expected\n"
        "dir(gb), repr(gb), inspect.getmembers(gb), inspect.getdoc(gb), pydoc.render_doc(gb)\n"
        "try: gb.Sampler\n"
        "except AttributeError as error: print(pickle.loads(pickle.dumps(error)))\n"
        "for statement in ('from dgl.graphbolt import Sampler', 'import dgl.graphbolt.base'):\n"
        "    try: exec(statement)\n"
        "    except ImportError as error: print(error)\n"
        "try: gb.FusedCSCSamplingGraph()\n"
        "except compat.GraphboltError as error: print(error)",
        path=fake,
    )
    assert done.stdout.count("DGL 2.1.0 has no compiled graphbolt for torch 9.8.7") == 4
    assert done.stdout.count("holds it for torch 2.2.1\n") == 4
    assert done.stdout.count("fix:   use dgl.dataloading") == 4
    assert "dgl.graphbolt.Sampler cannot be used" in done.stdout
    assert "dgl.graphbolt.base cannot be imported" in done.stdout
    assert done.stderr == ""


def test_graphbolt_that_does_not_load_is_left_out_with_a_warning(fake):
    write(fake, {LIBRARY: "", "dgl/graphbolt/__init__.py": "from .base import Sampler\nimport absent_library"})
    done = python(
        "import sys, dgl_moleblend.env.compat as compat, dgl\n"
        "assert not compat.graphbolt_fault().expected\n"
        "assert not hasattr(dgl.graphbolt, 'Sampler')\n"
        "assert 'dgl.graphbolt.base' not in sys.modules",
        path=fake,
    )
    assert "RuntimeWarning: dgl.graphbolt is left out: DGL's graphbolt for torch 9.8.7 does not load" in done.stderr
    assert "ModuleNotFoundError: No module named 'absent_library" in done.stderr
    assert "pip install 'torchdata<0.8'" in done.stderr


@pytest.mark.parametrize("first", ["before", "after"])
def test_what_a_failed_import_left_is_forgotten(fake, first):
    (fake / "needed.py").unlink()
    failing = "try: import dgl\nexcept ModuleNotFoundError: pass\nelse: raise SystemExit('dgl was imported')\n"
    ours = "import dgl_moleblend\n"
    python(
        (failing + ours if first == "before" else ours + failing) + "import sys, types\n"
        "backend, libinfo = sys.modules['dgl.backend'], sys.modules['dgl._ffi.libinfo']\n"
        "sys.modules['needed'] = types.ModuleType('needed')\n"
        "import dgl\n"
        "assert dgl.backend is sys.modules['dgl.backend'] is not backend\n"
        "assert dgl._ffi.libinfo is libinfo  # the compiled library knows its classes",
        path=fake,
    )


BACKENDS = [  # file in the home folder, environment, expected
    (None, {}, "pytorch"),
    ('{"backend": "tensorflow"}', {}, "None"),
    (None, {"DGLBACKEND": "mxnet"}, "mxnet"),
]


@pytest.mark.parametrize(("file", "environment", "expected"), BACKENDS)
def test_backend_is_chosen_only_where_nothing_names_one(fake, file, environment, expected):
    if file is not None:
        write(fake, {".dgl/config.json": file})
    done = python(
        "import os, dgl_moleblend, dgl; print(os.environ.get('DGLBACKEND'))", path=fake, HOME=str(fake), **environment
    )
    assert done.stdout.strip() == expected


def test_a_child_that_lacks_the_package_is_not_disturbed():
    pickled = python(
        "import multiprocessing.spawn, pickle, dgl_moleblend\n"
        "data = multiprocessing.spawn.get_preparation_data('child')\n"
        "data['dgl_moleblend']._SOURCE = data['dgl_moleblend']._SOURCE.replace('{root!r}', repr('/nowhere'))\n"
        "print(pickle.dumps(data['dgl_moleblend']).hex())"
    ).stdout.strip()
    code = f"import pickle, sys; assert pickle.loads(bytes.fromhex('{pickled}')) is None; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert "dgl_moleblend" not in child.stdout.split()
    assert child.stderr == ""


def test_real_dgl_works_after_an_import_that_failed(tmp_path):
    python(
        "try: import dgl\n"
        "except Exception as error: print(type(error))\n"
        "import dgl_moleblend, dgl, torch\n"
        "graph = dgl.graph(([0, 1], [1, 2])); graph.ndata['x'] = torch.ones(3, 1)\n"
        "graph.update_all(dgl.function.copy_u('x', 'm'), dgl.function.sum('m', 'y'))\n"
        "dgl.save_graphs('graphs.bin', [graph], {'label': torch.ones(1)})\n"
        "[graph], labels = dgl.load_graphs('graphs.bin')\n"
        "assert graph.ndata['y'].tolist() == [[0.0], [1.0], [1.0]] and labels['label'].item() == 1\n"
        "assert dgl.backend.backend_name == 'pytorch'".replace("graphs.bin", str(tmp_path / "graphs.bin"))
    )


def test_real_dgl_and_dgllife_work_in_processes_that_start_fresh(tmp_path):
    # `python -c` has no main module that a worker could import, so nothing but the parent's word helps it
    done = python(
        "import dgl_moleblend, dgl, pandas as pd\n"
        "from dgl.dataloading import GraphDataLoader\n"
        "from dgllife.data import MoleculeCSVDataset\n"
        "graphs = [dgl.graph(([0, 1], [1, 2]))] * 4\n"
        "for context in ('spawn', 'forkserver'):\n"
        "    loader = GraphDataLoader(graphs, batch_size=2, num_workers=1, multiprocessing_context=context)\n"
        "    print(context, [batch.num_nodes() for batch in loader])\n"
        "frame = pd.DataFrame({'smiles': ['CCO', 'CC', 'C1CC', 'c1ccccc1'], 'y': [1.0, 2.0, 3.0, 4.0]})\n"
        "data = MoleculeCSVDataset(frame, None, smiles_column='smiles', cache_file_path='cache.bin', n_jobs=2)\n"
        "print('loky', [graph.num_nodes() for _, graph, *_ in (data[i] for i in range(len(data)))])".replace(
            "cache.bin", str(tmp_path / "cache.bin")
        )
    )
    assert "spawn [6, 6]" in done.stdout
    assert "forkserver [6, 6]" in done.stdout
    assert "loky [3, 2, 6]" in done.stdout
