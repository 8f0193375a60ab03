"""Import and try what this package stands on, in a process of its own: failing, or ending Python, is a result."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial


def probe() -> Iterator[tuple[str, dict[str, str]]]:
    """Try each library of `STEPS` in a fresh Python.

    Yields
    ------
    tuple of str and dict of str to str
        The library and what was found, as soon as it is known. Key ``error`` is there if it does not work, ``fault``
        and ``fix`` if it works, but not as it could.
    """
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for step in STEPS:
            line = process.stdout.readline()
            if not line:
                yield step, {"error": f"Python ended while importing it, exit code {process.wait()}"}
                return
            yield step, json.loads(line)


def _torch() -> dict[str, str]:
    import torch

    torch.ones(1).numpy()  # fails if torch was built for another major version of NumPy
    built = torch.version.cuda
    if built is None:
        cuda = "no (a CPU build of torch)"
    elif not torch.cuda.is_available():
        cuda = f"no (torch is built for CUDA {built}, but finds no GPU or no driver)"
    else:
        cuda = f"yes, {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)} (CUDA {built})"
    return {"CUDA": cuda}


def _dgl() -> dict[str, str]:
    import dgl
    import torch

    from dgl_moleblend.env.compat import graphbolt_fault

    graph = dgl.graph(([0, 1], [1, 2]))
    received = dgl.ops.copy_u_sum(graph, torch.tensor([[1.0], [2.0], [3.0]]))
    if received.tolist() != [[0.0], [1.0], [2.0]]:
        raise RuntimeError(f"DGL computes wrong messages: {received.tolist()}")
    cuda = dgl.get_global_func("device_api.cuda", allow_missing=True)
    found = {
        "CUDA": "no (a CPU build of DGL: DGLGraphs stay on the CPU)" if cuda is None else "yes (a CUDA build of DGL)",
        "sparse": _sparse(),
    }
    fault = graphbolt_fault()
    if fault is None:
        return found | {"graphbolt": "DGL's own"}
    found["graphbolt"] = f"inert ({fault.what})"
    return found if fault.expected else found | {"fault": fault.what, "fix": fault.fix}


def _sparse() -> str:
    try:
        sparse = importlib.import_module("dgl.sparse")
    except (ImportError, OSError) as error:
        return f"absent: {error}; DGLGraph.adj_external and adj_tensors do without it"
    if not hasattr(sparse, "_stands_in"):
        return "DGL's own"
    import torch

    return f"written with torch (DGL brings no library for torch {torch.__version__.split('+')[0]})"


def _dgllife() -> dict[str, str]:
    for name in ("dgllife.model", "dgllife.data", "dgllife.utils"):
        importlib.import_module(name)
    return {}


def _rdkit() -> dict[str, str]:
    from rdkit import Chem

    if Chem.MolFromSmiles("CCO") is None:
        raise RuntimeError("RDKit cannot read CCO")
    return {}


def _plain(name: str) -> dict[str, str]:
    importlib.import_module(name)
    return {}


STEPS: dict[str, Callable[[], dict[str, str]]] = {
    "torch": _torch,
    "dgl": _dgl,
    "rdkit": _rdkit,
    "dgllife": _dgllife,
    **{name: partial(_plain, name) for name in ("pandas", "pyarrow", "safetensors", "matplotlib", "lightning")},
}


def _main() -> None:
    results, sys.stdout = sys.stdout, sys.stderr  # some libraries print while they are imported
    for step in STEPS.values():
        try:
            found = step()
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), file=results, flush=True)


if __name__ == "__main__":
    _main()
