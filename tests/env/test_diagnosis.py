"""The doctor's findings: each fault is seen and has its mend, and a library that ends Python is reported."""

import json
from types import SimpleNamespace

import pytest

from dgl_moleblend.env import compat, diagnosis
from dgl_moleblend.env.diagnosis import Fault, diagnose
from dgl_moleblend.env.probe import STEPS, probe

HEALTHY = {"torch": {"CUDA": "no"}, "dgl": {"CUDA": "no", "graphbolt": "DGL's own", "sparse": "DGL's own"}}
REQUIRES = {
    "dgl-moleblend": ["torch>=2.2", "dgl>=2.1,<2.2", "packaging", "rdkit>=2023.9", "pytest>=8; extra == 'test'"],
    "dgl": ["numpy >=1.14.0", "packaging"],
    "torch": ["sympy>=1.13", "colorama; sys_platform == 'nowhere'"],
}
VERSIONS = {
    "dgl-moleblend": "1.0",
    "torch": "2.13.0+cpu",
    "dgl": "2.1.0",
    "numpy": "2.4.6",
    "packaging": "25",
    "rdkit": "2025",
    "sympy": "1.14",
}


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment in which all is well; tests break it by changing `found`, `versions` or the files of `folder`."""
    found = {step: dict(HEALTHY.get(step, {})) for step in STEPS}
    versions = dict(VERSIONS)
    monkeypatch.setattr(diagnosis, "probe", lambda: iter(found.items()))
    monkeypatch.setattr(diagnosis, "_version", versions.get)
    monkeypatch.setattr(diagnosis, "_requires", lambda distribution: REQUIRES.get(distribution, []))
    monkeypatch.setattr(diagnosis.startup_hook, "folders", lambda: [tmp_path])
    monkeypatch.setattr(compat, "backend_file", lambda: str(tmp_path / "config.json"))
    monkeypatch.delenv("DGLBACKEND", raising=False)
    return SimpleNamespace(found=found, versions=versions, folder=tmp_path)


def test_nothing_is_wrong_where_all_is_well(environment):
    steps = []
    result = diagnose(steps.append)
    assert result.faults == []
    assert steps == list(STEPS)
    assert result.versions["rdkit"] == "2025"
    assert result.state["dgl.graphbolt"] == "DGL's own"
    assert result.state["start-up hook"].startswith("none")


def test_versions_and_mends(environment):
    environment.versions |= {"dgl": "1.1.3", "rdkit": None, "torch": "2.2.1", "sympy": "1.12"}
    assert diagnose().faults == [
        Fault("dgl 1.1.3 does not fit, dgl-moleblend needs dgl<2.2,>=2.1", "pip install 'dgl>=2.1,<2.2'"),
        Fault("rdkit is missing, dgl-moleblend needs it", "pip install 'rdkit>=2023.9'"),
        Fault("sympy 1.12 does not fit, torch needs sympy>=1.13", "pip install 'sympy>=1.13'"),
        Fault("torch 2.2.1 does not work with numpy 2.4.6", "pip install 'numpy<2'"),
    ]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("2.3.5", "all of DGL works with 2.3.5"),
        (
            "2.4.0",
            "SubgraphX, HeteroSubgraphX and bipartite_from_networkx of DGL fail with 2.4.0: pip install 'numpy<2.4'",
        ),
        (None, "unknown, see the faults"),
    ],
)
def test_parts_of_dgl_that_a_numpy_breaks_are_named(environment, version, words):
    environment.versions["numpy"] = version
    assert diagnose().state["NumPy in DGL"].startswith(words)


def test_the_hook_is_said_to_outlive_the_package(environment):
    (environment.folder / diagnosis.startup_hook.FILE_NAME).touch()
    state = diagnose().state["start-up hook"]
    assert state.startswith(str(environment.folder))
    assert "`--undo` takes it out; pip uninstall leaves it" in state


def test_each_mend_is_given_once(environment, monkeypatch):
    monkeypatch.setitem(REQUIRES, "dgl", ["sympy>=1.13"])
    environment.versions["sympy"] = None
    assert [fault.what for fault in diagnose().faults] == ["sympy is missing, dgl needs it"]


def test_an_import_fault_that_follows_from_others_says_so(environment):
    environment.versions |= {"numpy": "1.26.4", "pyarrow": "26.0.1"}
    environment.found["pyarrow"] = {"error": "ImportError: pyarrow requires NumPy 2.0 or newer"}
    assert diagnose().faults == [
        Fault("numpy 1.26.4 does not work with pyarrow 26.0.1", "pip install 'pyarrow<26'"),
        Fault(
            "pyarrow does not work: ImportError: pyarrow requires NumPy 2.0 or newer",
            "mend what is above, then look again",
        ),
    ]


def test_without_packaging_the_rest_is_still_examined(environment):
    environment.versions |= {"packaging": None, "rdkit": None}
    assert diagnose().faults == [
        Fault("packaging is missing", "pip install 'packaging'"),
        Fault("rdkit is missing", "pip install 'rdkit>=2023.9'"),
    ]


def test_a_library_that_cannot_be_imported(environment):
    environment.found["dgl"] = {"error": "OSError: libcublas.so.11: cannot open shared object file"}
    result = diagnose()
    assert result.faults == [
        Fault(
            "dgl does not work: OSError: libcublas.so.11: cannot open shared object file",
            "pip install --force-reinstall --no-deps 'dgl>=2.1,<2.2'",
        )
    ]
    assert result.state["DGL on CUDA"] == result.state["dgl.graphbolt"] == "unknown, see the faults"


def test_graphbolt_that_could_load_is_a_fault_but_an_absent_one_is_not(environment):
    environment.found["dgl"]["graphbolt"] = "inert (no library)"
    assert diagnose().faults == []
    environment.found["dgl"] |= {"fault": "graphbolt does not load", "fix": "pip install 'torchdata<0.8'"}
    assert diagnose().faults == [Fault("graphbolt does not load", "pip install 'torchdata<0.8'")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({"backend": "tensorflow"}), "DGL is told to use 'tensorflow'"),
        ("", "config.json is not what DGL expects"),
        (json.dumps({"backend": "pytorch"}), None),
    ],
)
def test_backend_in_the_home_folder(environment, text, message):
    (environment.folder / "config.json").write_text(text)
    faults = diagnose().faults
    assert len(faults) == (message is not None)
    if message is not None:
        assert message in faults[0].what
        assert "delete the file" in faults[0].fix


def test_backend_in_the_environment(environment, monkeypatch):
    monkeypatch.setenv("DGLBACKEND", "mxnet")
    [fault] = diagnose().faults
    assert fault == Fault("DGL is told to use 'mxnet', by the environment variable DGLBACKEND", "set it to pytorch")


def test_a_library_that_ends_python_is_reported(environment, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import os; os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    environment.found.clear()
    environment.found.update(probe())
    assert environment.found == {"torch": {"error": "Python ended while importing it, exit code 7"}}
    faults = diagnose().faults
    assert [fault.what.split(":")[0] for fault in faults] == [f"{step} does not work" for step in STEPS]
    assert "not tried, since Python ended before" in faults[1].what
