"""DGL on a torch that DGL's wheels know nothing of; the only place that knows.

What is wrong with DGL 2.1, and what `install` does about it:

* ``import dgl`` imports ``dgl.graphbolt``, which needs a compiled library that DGL ships for torch 2.0.0 to 2.2.1 only,
  and a torchdata of that time. Where they load, they are used. Where they do not, an inert module takes the place of
  ``dgl.graphbolt``, and says so when it is used. Nothing else in DGL needs graphbolt.
* A failed ``import dgl`` leaves half of DGL in ``sys.modules``, and the next ``import dgl`` builds on it. It is
  forgotten before DGL is imported again.
* ``dgl.sparse``, and with it ``DGLGraph.adj``, wants a compiled library too. Where there is none for this torch,
  functions written with torch take its place (`env.sparse`).
* The first ``import dgl`` writes its backend to the home folder, which fails if the folder is read-only and races if
  two processes start at once. Where nothing names a backend, the environment variable DGLBACKEND is set to pytorch.
* A process that starts fresh (multiprocessing's spawn and forkserver, joblib's loky) imports DGL without us. Its parent
  has it import this package first.

All of it happens when the module concerned is imported: `install` itself imports nothing and takes no time. Nor does
this file import what a bare Python has not loaded, `typing` included: with the start-up hook it runs whenever Python
starts.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any


class GraphboltError(AttributeError):
    """Something in ``dgl.graphbolt`` was used where DGL's compiled graphbolt does not load.

    An AttributeError, so that `hasattr`, `inspect` and `doctest` take it for what it is: the name is not there.
    """


def install() -> None:
    """Make ``import dgl`` and ``import dgllife`` work, here and in the processes that this one starts.

    Harmless to call again, or when DGL is imported already. Imports neither torch nor DGL.

    Examples
    --------
    >>> install()
    >>> import dgl
    >>> dgl.graph(([0, 1], [1, 2])).num_nodes()
    3
    """
    if not any(map(_is_ours, sys.meta_path)):
        sys.meta_path.insert(0, _Finder())
    for name in _SPAWNERS:
        if name in sys.modules:
            _tell_children(sys.modules[name])


class GraphboltFault:
    """Why ``dgl.graphbolt`` is inert, where that shows, and what to do.

    Attributes
    ----------
    what, where, fix : str
    expected : bool
        True: DGL brings no library for this torch. False: it does, and this environment could be mended.
    """

    def __init__(self, what: str, *, where: str, fix: str, expected: bool) -> None:
        self.what = what
        self.where = where
        self.fix = fix
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.where}\n  fix:   {self.fix}"


def graphbolt_fault() -> GraphboltFault | None:
    """Why ``dgl.graphbolt`` is inert; None where DGL's own is in use, or DGL is not imported yet."""
    return vars(sys.modules["dgl.graphbolt"]).get("_fault") if "dgl.graphbolt" in sys.modules else None


class _Finder:
    """Has each module that `_EXECUTE` names run by the function it names; no other module is its business."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name.startswith("dgl.graphbolt.") and (fault := graphbolt_fault()):
            raise ImportError(f"{name} cannot be imported: {fault}", name="dgl.graphbolt")
        if name not in _EXECUTE:
            return None
        others = [finder for finder in sys.meta_path if not _is_ours(finder) and hasattr(finder, "find_spec")]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, _EXECUTE[name])  # type: ignore[assignment]
        return spec


def _is_ours(finder: object) -> bool:
    """Tell a `_Finder`, also one of this module before it was reloaded: two of them would ask each other for ever."""
    return (type(finder).__module__, type(finder).__name__) == (_Finder.__module__, _Finder.__name__)


class _Loader:
    """The module's own loader, but `execute(module, run)` decides what happens around `run(module)`."""

    def __init__(self, loader: Any, execute: Callable[[ModuleType, Callable], None]) -> None:
        self._loader = loader
        self._execute = execute

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._loader
        self._execute(module, self._loader.exec_module)


def _execute_package(module: ModuleType, run: Callable[[ModuleType], None]) -> None:
    """Import DGL or dgllife without what an earlier, failed import of it has left."""
    prefix = f"{module.__name__}."
    leftovers = [name for name in sys.modules if name.startswith(prefix)]
    # the compiled library holds on to the classes of these
    kept = [name for name in leftovers if name.startswith(("dgl._ffi", "dgl._api_internal"))]
    for name in set(leftovers).difference(kept):
        del sys.modules[name]
    run(module)
    for name in kept:
        if name.count(".") == 1:  # not imported anew, so Python has not made it an attribute
            setattr(module, name.removeprefix(prefix), sys.modules[name])


def _execute_backend(module: ModuleType, run: Callable[[ModuleType], None]) -> None:
    """Import ``dgl.backend`` with a backend chosen, so that it does not write one into the home folder."""
    if not os.path.exists(backend_file()):
        os.environ.setdefault("DGLBACKEND", "pytorch")
    run(module)


def backend_file() -> str:
    """Path of the file in which DGL keeps the name of its backend."""
    folder = os.environ.get("DGLDEFAULTDIR") or os.path.join(os.path.expanduser("~"), ".dgl")
    return os.path.join(folder, "config.json")


def _execute_graphbolt(module: ModuleType, run: Callable[[ModuleType], None]) -> None:
    """Import DGL's own graphbolt if it loads, else leave `module` inert."""
    fault = _library_fault()
    if fault is None:
        try:
            return run(module)
        except Exception as error:
            import warnings

            fault = GraphboltFault(
                f"DGL's graphbolt for torch {_torch_version()} does not load: {type(error).__name__}: {error}",
                where=_library_folder(),
                fix=f"pip install {GRAPHBOLT_TORCHDATA!r} if the message is about torchdata or torch (newer torchdata "
                "needs newer torch), else what it names; then start Python again",
                expected=False,
            )
            warnings.warn(f"dgl.graphbolt is left out: {fault}", RuntimeWarning, stacklevel=2)
    for name in [name for name in sys.modules if name.startswith("dgl.graphbolt.")]:
        del sys.modules[name]
    for name in [name for name in vars(module) if not name.startswith("__")]:
        delattr(module, name)
    module.__class__ = _InertGraphbolt
    module.__path__ = []
    module._fault = fault  # type: ignore[attr-defined]
    module.FusedCSCSamplingGraph = _NoGraph  # type: ignore[attr-defined]
    return None


def _execute_sparse(module: ModuleType, run: Callable[[ModuleType], None]) -> None:
    """Import ``dgl.sparse`` with DGL's own library, or with what stands in for it."""
    try:
        return run(module)
    except FileNotFoundError:  # its last statement, which loads the library: the names are there
        if not hasattr(module, "load_dgl_sparse"):
            raise
    from dgl_moleblend.env.sparse import install

    module._stands_in = True  # type: ignore[attr-defined]
    return install()


class _InertGraphbolt(ModuleType):
    """A ``dgl.graphbolt`` that can be imported, and explains itself when it is used."""

    _fault: GraphboltFault

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python and its tools ask for these everywhere
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        raise GraphboltError(f"dgl.graphbolt.{name} cannot be used: {self._fault}")


class _NoGraph:
    """Stands for ``FusedCSCSamplingGraph``, which ``dgl.distributed`` compares its graphs with: none is one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise GraphboltError(f"dgl.graphbolt.FusedCSCSamplingGraph cannot be used: {graphbolt_fault()}")


#: The torchdata that graphbolt's libraries of DGL 2.1 go with.
GRAPHBOLT_TORCHDATA = "torchdata<0.8"


def _library_fault() -> GraphboltFault | None:
    torch = _torch_version()
    built = _built_for()
    if torch in built:
        return None
    return GraphboltFault(
        f"DGL {sys.modules['dgl._ffi.libinfo'].__version__} has no compiled graphbolt for torch {torch}",
        where=f"{_library_folder()} holds it for torch {', '.join(built)}",
        fix="use dgl.dataloading, which does without graphbolt, or an environment of its own: "
        f"pip install torch=={built[-1] if built else '2.2.1'} {GRAPHBOLT_TORCHDATA!r} 'numpy<2' dgl",
        expected=True,
    )


def _built_for() -> list[str]:
    """Torch versions for which DGL has brought a compiled graphbolt, oldest first."""
    folder = _library_folder()
    files = os.listdir(folder) if os.path.isdir(folder) else []
    built = [os.path.splitext(file)[0].split("_pytorch_")[1] for file in files if "graphbolt_pytorch_" in file]
    return sorted(built, key=lambda version: [int(part) if part.isdigit() else 0 for part in version.split(".")])


def _library_folder() -> str:
    return os.path.join(os.path.dirname(sys.modules["dgl._ffi.libinfo"].find_lib_path()[0]), "graphbolt")


def _torch_version() -> str:
    return sys.modules["torch"].__version__.split("+")[0]


def _execute_spawner(module: ModuleType, run: Callable[[ModuleType], None]) -> None:
    run(module)
    _tell_children(module)


def _tell_children(spawner: ModuleType) -> None:
    """Have the processes that `spawner` starts import this package before anything else of their parent's."""
    import functools

    original = spawner.get_preparation_data
    if hasattr(original, "tells_children"):
        return

    @functools.wraps(original)
    def get_preparation_data(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**original(*args, **kwargs), "dgl_moleblend": _ImportInChild()}

    get_preparation_data.tells_children = True  # type: ignore[attr-defined]
    spawner.get_preparation_data = get_preparation_data  # type: ignore[attr-defined]


class _ImportInChild:
    """Imports this package where it is unpickled.

    A child reads the data it is to prepare itself with before it has its parent's path, and may be another Python
    altogether: hence source text, with the place where the parent found us, and no complaint if it has gone.
    """

    _SOURCE = """
import sys
sys.path.append({root!r})  # the parent's whole path replaces this one in a moment
try:
    import dgl_moleblend
except ImportError:
    pass
"""

    def __reduce__(self) -> tuple[Callable, tuple]:
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        return exec, (self._SOURCE.format(root=root), {})


_SPAWNERS = ("multiprocessing.spawn", "joblib.externals.loky.backend.spawn", "loky.backend.spawn")
_EXECUTE: dict[str, Callable[[ModuleType, Callable], None]] = {
    "dgl": _execute_package,
    "dgllife": _execute_package,
    "dgl.backend": _execute_backend,
    "dgl.graphbolt": _execute_graphbolt,
    "dgl.sparse": _execute_sparse,
    **dict.fromkeys(_SPAWNERS, _execute_spawner),
}
