"""Molecules -> the features that need no training: counts of fragments, RDKit's descriptors."""

import collections
import concurrent.futures as futures
import functools
import itertools
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import Descriptors, rdFingerprintGenerator
from scipy import sparse
from tqdm.auto import tqdm

from dgl_moleblend.chem.feature_table import FeatureTable, Part
from dgl_moleblend.chem.sanitize import prepare_mol, rdkit_session, read_smiles
from dgl_moleblend.config import check
from dgl_moleblend.env.processes import worker_context
from dgl_moleblend.errors import MoleculeError
from dgl_moleblend.schema import FEATURE_KINDS

KINDS = FEATURE_KINDS
"""See `schema.FEATURE_KINDS`; counts are not folded."""
WIDTH = {"morgan": 2**32, "atom_pair": 2**23, "path": 2**32}
"""How many columns each kind of counts can have: so many numbers does RDKit have for them."""
DESCRIPTORS = tuple(name for name, _ in Descriptors.descList if name != "Ipc")
"""Names of RDKit's descriptors. Ipc grows beyond any number with the size of the molecule; AvgIpc stays."""
_LONGEST = 5  # bonds of a path
_CHUNK = 64  # molecules per task of a worker: about 0.4 s
_LARGEST = float(np.finfo(np.float32).max)


def describe(
    molecules: Sequence[str] | Sequence[Chem.Mol],
    kinds: Sequence[str] = KINDS,
    *,
    workers: int = 0,
    progress: bool = False,
) -> FeatureTable:
    """Compute features of molecules, about 6 ms each, nearly all of it for the descriptors.

    Parameters
    ----------
    molecules : sequence of N str or Mol
        SMILES, or molecules in any form.
    kinds : sequence of str
        Some of `KINDS`.
    workers : int
        Processes; 0 works in this one.
    progress : bool
        Whether stderr shows a bar.

    Returns
    -------
    FeatureTable
        N rows; counts as sparse int32 rows whose columns are RDKit's ids, descriptors as float32. A descriptor that
        RDKit cannot compute is NaN; one beyond float32 is its largest number.

    Raises
    ------
    ConfigError
        If a kind is unknown or given twice.
    MoleculeError
        If RDKit cannot read a molecule, or a worker process was ended by one; the message says which.

    Examples
    --------
    >>> table = describe(["CCO", "c1ccccc1O"])
    >>> table.names, table["morgan"].sum(1), table["rdkit2d"].shape[0]
    (('morgan', 'atom_pair', 'path', 'rdkit2d'), array([ 6, 20]), 2)
    >>> describe(["CCO", "C1CC"])
    Traceback (most recent call last):
    dgl_moleblend.errors.MoleculeError: RDKit cannot read SMILES 'C1CC': unclosed ring
      where: molecule 1
      fix:   correct or delete the molecule; RDKit must be able to sanitise it
    """
    kinds = tuple(kinds)
    allowed = f"some of {', '.join(map(repr, KINDS))}, each once"
    check(bool(kinds) and set(kinds) <= set(KINDS) and len(set(kinds)) == len(kinds), "kinds", kinds, allowed)
    check(workers >= 0, "workers", workers, "0 or more")
    tasks = [(start, list(molecules[start : start + _CHUNK]), kinds) for start in range(0, len(molecules), _CHUNK)]
    chunks: list[dict[str, Part]] = []
    with tqdm(total=len(molecules), desc="features", unit="molecule", disable=not progress, delay=1.0) as bar:
        for chunk in _run(tasks, min(workers, len(tasks) - 1)):
            chunks.append(chunk)
            bar.update(next(iter(chunk.values())).shape[0])
    chunks = chunks or [_task((0, [], kinds))]
    parts: dict[str, Part] = {
        name: np.concatenate([c[name] for c in chunks])  # type: ignore[misc]
        if name == "rdkit2d"
        else sparse.vstack([c[name] for c in chunks], format="csr")
        for name in kinds
    }
    return FeatureTable(parts, {"rdkit2d": DESCRIPTORS} if "rdkit2d" in kinds else {})


def _run(tasks: list[Any], workers: int) -> Iterator[dict[str, Part]]:
    """Do tasks in order; a few are ahead, so that neither molecules nor features pile up."""
    if workers < 1:
        yield from map(_task, tasks)
        return
    context = worker_context(__name__)
    queue, waiting = iter(tasks), collections.deque[tuple[Any, futures.Future[dict[str, Part]]]]()
    with futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts) as pool:
        try:
            while True:
                for task in itertools.islice(queue, 3 * workers + 1 - len(waiting)):
                    waiting.append((task, pool.submit(_task, task)))
                if not waiting:
                    return
                task, future = waiting.popleft()
                try:
                    yield future.result()
                except futures.BrokenExecutor as error:
                    first, mols, _ = task
                    raise MoleculeError(
                        "a worker process ended while it computed features",
                        where=f"molecules {first:,} to {first + len(mols) - 1:,}, or the next {3 * workers * _CHUNK:,}",
                        fix="leave very large molecules out; in a script, call this under"
                        ' `if __name__ == "__main__":`, or work without worker processes: workers=0',
                    ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _task(task: tuple[int, Sequence[str | Chem.Mol], tuple[str, ...]]) -> dict[str, Part]:
    first, molecules, kinds = task
    mols = []
    for number, molecule in enumerate(molecules, first):
        where = f"molecule {number:,}"
        mols.append(read_smiles(molecule, where) if isinstance(molecule, str) else prepare_mol(molecule, where))
    with rdkit_session:
        return {kind: _descriptors(mols) if kind == "rdkit2d" else _counts(mols, kind) for kind in kinds}


@functools.cache
def _generator(kind: str) -> Any:
    if kind == "morgan":
        return rdFingerprintGenerator.GetMorganGenerator(radius=2, includeChirality=True)
    if kind == "path":
        return rdFingerprintGenerator.GetRDKitFPGenerator(maxPath=_LONGEST, countSimulation=False, numBitsPerFeature=1)
    return rdFingerprintGenerator.GetAtomPairGenerator()


def _counts(mols: Sequence[Chem.Mol], kind: str) -> sparse.csr_array:
    """Return counts of fragments as sparse rows, columns sorted."""
    found = [sorted(_generator(kind).GetSparseCountFingerprint(mol).GetNonzeroElements().items()) for mol in mols]
    indptr = np.cumsum([0, *map(len, found)])
    pairs = np.array([pair for row in found for pair in row], np.int64).reshape(-1, 2)
    arrays = (pairs[:, 1].astype(np.int32), pairs[:, 0], indptr)
    return sparse.csr_array(arrays, shape=(len(mols), WIDTH[kind]))


def _descriptors(mols: Sequence[Chem.Mol]) -> np.ndarray:
    """Return RDKit's descriptors, shape (N, descriptors), float32."""
    functions = [function for name, function in Descriptors.descList if name != "Ipc"]
    table = np.array([[_value(function, mol) for function in functions] for mol in mols], np.float64)
    return table.reshape(len(mols), len(functions)).clip(-_LARGEST, _LARGEST).astype(np.float32)


def _value(function: Callable[[Chem.Mol], Any], mol: Chem.Mol) -> float:
    """Return a descriptor, NaN where RDKit cannot compute it or divides by zero."""
    try:
        value = float(function(mol))
    except Exception:  # whatever a descriptor raises: it has no value for this molecule
        return math.nan
    return value if math.isfinite(value) else math.nan
