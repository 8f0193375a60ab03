"""What is installed, how DGL was loaded, and what is wrong with it, each fault with its mend."""

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from dgl_moleblend.env import compat, startup_hook
from dgl_moleblend.env.probe import STEPS, probe

DISTRIBUTION = "dgl-moleblend"
#: The libraries whose needs are examined, and the needs of these in turn.
ROOTS = (DISTRIBUTION, "dgl", "dgllife")
#: Versions that do not work together, though no library says so where pip could read it; and what to install instead.
MISFITS = (
    (("torch", "<2.3"), ("numpy", ">=2"), "numpy<2"),
    (("numpy", "<2"), ("pyarrow", ">=26"), "pyarrow<26"),
)
#: NumPy from which on parts of DGL fail, and which; nothing here needs them.
NUMPY_LIMIT = "2.4"
FAILS_FROM_LIMIT = "SubgraphX, HeteroSubgraphX and bipartite_from_networkx"


@dataclass(frozen=True)
class Fault:
    """Something that is wrong, and the command or change that mends it."""

    what: str
    fix: str


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    versions : dict of str to str
        Installed version of each library that this package, DGL and dgllife ask for; "missing" where there is none.
    state : dict of str to str
        How DGL was loaded and what runs on a GPU, by what it is about.
    faults : list of Fault
    """

    versions: dict[str, str]
    state: dict[str, str]
    faults: list[Fault]


def diagnose(progress: Callable[[str], None] = lambda step: None) -> Diagnosis:
    """Examine this environment. Works where DGL cannot be imported, and imports nothing here.

    Parameters
    ----------
    progress : callable, optional
        Called with the name of each library of `dgl_moleblend.env.probe.STEPS` that has been tried.
    """
    requirements = _requirements()
    versions = {"python": sys.version.split()[0], DISTRIBUTION: _version(DISTRIBUTION) or "not installed"}
    versions |= {_name(text): _version(_name(text)) or "missing" for text in requirements}
    found: dict[str, dict[str, str]] = {}
    for step, result in probe():
        found[step] = result
        progress(step)
    faults = [*_version_faults(requirements), *_backend_faults()]
    return Diagnosis(versions, _state(found), [*faults, *_import_faults(found, requirements, after=bool(faults))])


def _requirements() -> list[str]:
    """Return what this package, DGL and dgllife ask for, as they state it, each library once."""
    texts: dict[str, str] = {}
    for distribution in ROOTS:
        for text in _requires(distribution):
            if "extra ==" not in text:
                texts.setdefault(_name(text), text)
    return list(texts.values())


def _requires(distribution: str) -> list[str]:
    try:
        return metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _version_faults(requirements: list[str]) -> list[Fault]:
    faults = []
    if _version(DISTRIBUTION) is None:
        folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        faults.append(Fault(f"{DISTRIBUTION} is imported from {folder}, not installed", f"pip install -e {folder}"))
    if _version("packaging") is None:  # without it, versions cannot be compared
        missing = [text for text in requirements if _version(_name(text)) is None]
        return [*faults, *(Fault(f"{_name(text)} is missing", _pip(text)) for text in missing)]
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    if _version(DISTRIBUTION) is not None:
        wanted, python = metadata.metadata(DISTRIBUTION)["Requires-Python"], sys.version.split()[0]
        if not SpecifierSet(wanted).contains(python, prereleases=True):
            faults.append(Fault(f"Python {python} is not {wanted}", "make an environment with such a Python"))
    faults += _requirement_faults()
    for (one, fits_one), (other, fits_other), requirement in MISFITS:
        a, b = _version(one), _version(other)
        if a and b and Version(a) in SpecifierSet(fits_one) and Version(b) in SpecifierSet(fits_other):
            faults.append(Fault(f"{one} {a} does not work with {other} {b}", _pip(requirement)))
    return faults


def _requirement_faults() -> list[Fault]:
    """Compare what is installed with what each library asks for, and the libraries that they ask for in turn."""
    from packaging.requirements import Requirement

    faults: dict[str, Fault] = {}  # by their mends: each is given once
    owners = list(ROOTS)
    for owner in owners:  # grows on the way
        for text in _requires(owner):
            requirement, name = Requirement(text), _name(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            version, fix = _version(name), _pip(text)
            if version is None:
                faults.setdefault(fix, Fault(f"{name} is missing, {owner} needs it", fix))
            elif not requirement.specifier.contains(version, prereleases=True):
                what = f"{name} {version} does not fit, {owner} needs {name}{requirement.specifier}"
                faults.setdefault(fix, Fault(what, fix))
            if name not in owners:
                owners.append(name)
    return list(faults.values())


def _pip(requirement: str) -> str:
    """Return the command that installs `requirement`; DGL of another version is replaced by it."""
    return f"pip install '{requirement.split(';')[0].strip()}'"


def _backend_faults() -> list[Fault]:
    """Find a choice of backend, in the environment or in DGL's file, that ``import dgl`` would stumble over."""
    if "DGLBACKEND" in os.environ:
        backend, where, fix = os.environ["DGLBACKEND"], "the environment variable DGLBACKEND", "set it to pytorch"
    elif os.path.exists(file := compat.backend_file()):
        where, fix = file, "delete the file: DGL then takes pytorch"
        try:
            with open(file) as stream:
                backend = json.load(stream)["backend"].lower()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return [Fault(f"{file} is not what DGL expects", fix)]
    else:
        return []
    return [] if backend == "pytorch" else [Fault(f"DGL is told to use {backend!r}, by {where}", fix)]


def _import_faults(found: dict[str, dict[str, str]], requirements: list[str], after: bool) -> list[Fault]:
    """Find what does not work; `after` other faults, which may be the reason."""
    faults = []
    for step in STEPS:
        result = found.get(step, {"error": "not tried, since Python ended before"})
        if "error" in result:
            own = [text for text in requirements if _name(text) == step]
            fix = f"pip install --force-reinstall --no-deps {(own or [step])[0]!r}"
            fix = "mend what is above, then look again" if after else fix
            faults.append(Fault(f"{step} does not work: {result['error']}", fix))
        elif "fault" in result:
            faults.append(Fault(result["fault"], result["fix"]))
    return faults


def _state(found: dict[str, dict[str, str]]) -> dict[str, str]:
    unknown = "unknown, see the faults"
    dgl = found.get("dgl", {})
    hooks = ", ".join(map(str, startup_hook.find()))
    return {
        "python": sys.executable,
        "torch on CUDA": found.get("torch", {}).get("CUDA", unknown),
        "DGL on CUDA": dgl.get("CUDA", unknown),
        "dgl.graphbolt": dgl.get("graphbolt", unknown),
        "dgl.sparse": dgl.get("sparse", unknown),
        "NumPy in DGL": _numpy_state(),
        "start-up hook": f"{hooks} (`--undo` takes it out; pip uninstall leaves it, and it then does nothing)"
        if hooks
        else "none (a script has to import dgl_moleblend before dgl; `--fix` writes a hook)",
    }


def _numpy_state() -> str:
    version = _version("numpy")
    if version is None or _version("packaging") is None:
        return "unknown, see the faults"
    from packaging.version import Version

    if Version(version) < Version(NUMPY_LIMIT):
        return f"all of DGL works with {version}"
    return f"{FAILS_FROM_LIMIT} of DGL fail with {version}: pip install 'numpy<{NUMPY_LIMIT}' if you use them"
