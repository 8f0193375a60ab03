"""Whole data sets: a file through `dgl-moleblend featurize`, then once through the loader; every row accounted for.

* moses: MOSES' training set, 1,584,663 SMILES, without positions.
* qm9: QM9, 130,831 molecules with their DFT geometry. They are first written as gdb9.sdf and gdb9.sdf.csv, the form in
  which people have them, and read by `featurize --dataset qm9 --positions given`.

The command runs in a process of its own with its workers, and so does the pass of the loader: shuffled batches of like
size, until they are relations. Memory is what the process and all that it started hold at a time, pages that several
share counted once (Linux' PSS); "own" leaves out files that are mapped, which the system takes back when it must.
"""

import argparse
import gzip
import itertools
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from measure import machine, report
from rdkit import Chem

import dgl_moleblend as mb
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.pairs.loader import make_loader
from dgl_moleblend.readers.published import HARTREE

SETS = ("moses", "qm9")
DATA = Path(__file__).parents[2] / "shared" / "data"
FILES = {"moses": Path("smiles", "moses_train.csv.gz"), "qm9": Path("qm9", "qm9_full.npz")}
FEATURIZING = {"set": "set", "rows": "rows|,", "kept": "kept|,", "rejected": "rejected|,", "seconds": "s|.1f",
               "molecules_per_s": "molecules/s|,.0f", "peak_mb": "peak MB|,.0f", "own_mb": "own MB|,.0f",
               "bytes_per_molecule": "bytes a molecule|.1f", "store_mb": "store MB|,.1f",
               "shards": "shards|,"}  # fmt: skip
LOADING = {"set": "set", "molecules": "molecules|,", "batches": "batches|,", "open_s": "s to open|.2f",
           "seconds": "s|.1f", "molecules_per_s": "molecules/s|,.0f", "peak_mb": "peak MB|,.0f",
           "own_mb": "own MB|,.0f", "files": "open files|,"}  # fmt: skip


class Input(NamedTuple):
    """A data set as files, and what its molecules are, known without the package's own reader.

    Parameters
    ----------
    arguments : list of str
        Of `dgl-moleblend featurize`.
    smiles : list of str or None
        The SMILES of every row, where that is what the file holds.
    homo : ndarray or None
        The energy of the highest occupied orbital of every row, hartree.
    rows : int
    """

    arguments: list[str]
    smiles: list[str] | None
    homo: np.ndarray | None
    rows: int


def moses(path: Path, folder: Path, rows: int | None) -> Input:
    """Take MOSES as it is, or its first rows as a file of their own."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header, *smiles = (line.rstrip("\n") for line in itertools.islice(file, None if rows is None else rows + 1))
    if rows is not None:
        path = folder / path.name
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in [header, *smiles])
    return Input([str(path), "--positions", "none"], smiles, None, len(smiles))


def qm9(path: Path, folder: Path, rows: int | None) -> Input:
    """Write QM9's arrays as gdb9.sdf and gdb9.sdf.csv."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    ids, values = arrays["mol_id"][:rows].tolist(), arrays["properties"][:rows]
    names = arrays["property_names"].tolist()
    with (folder / "gdb9.sdf").open("w") as sdf, (folder / "gdb9.sdf.csv").open("w") as table:
        table.write(",".join(["mol_id", *names]) + "\n")
        for number, row, mol in zip(ids, values.tolist(), qm9_mols(arrays), strict=False):
            mol.SetProp("_Name", f"gdb_{number}")
            sdf.write(Chem.MolToMolBlock(mol, kekulize=False) + "$$$$\n")
            table.write(",".join([f"gdb_{number}", *map(repr, row)]) + "\n")
    return Input([str(folder), "--dataset", "qm9", "--positions", "given"], None, values[:, names.index("homo")],
                 len(ids))  # fmt: skip


def qm9_mols(arrays: dict[str, np.ndarray]) -> Iterator[Chem.Mol]:
    """Yield the molecules as RDKit's, with all hydrogens and one conformer."""
    ends = np.cumsum(arrays["n_atoms"], dtype=np.int64), np.cumsum(arrays["n_bonds"], dtype=np.int64)
    orders = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
    for n, m, last_atom, last_bond in zip(arrays["n_atoms"], arrays["n_bonds"], *ends, strict=True):
        atoms, bonds = slice(last_atom - n, last_atom), slice(last_bond - m, last_bond)
        mol = Chem.RWMol()
        for element, charge in zip(arrays["atomic_number"][atoms], arrays["formal_charge"][atoms], strict=True):
            atom = Chem.Atom(int(element))
            atom.SetFormalCharge(int(charge))
            atom.SetNoImplicit(True)
            mol.AddAtom(atom)
        for begin, end, order in arrays["bond"][bonds].tolist():
            mol.AddBond(begin, end, orders[order])
        conformer = Chem.Conformer(int(n))
        conformer.SetPositions(arrays["position"][atoms].astype(np.float64))
        conformer.Set3D(True)
        mol.AddConformer(conformer)
        mol.UpdatePropertyCache(strict=False)
        yield mol


class Watched(NamedTuple):
    """What a process and those that it started took.

    Parameters
    ----------
    seconds : float
    peak_mb, own_mb : float
        The most of all samples; own is without files that are mapped.
    """

    seconds: float
    peak_mb: float
    own_mb: float


def watch(pid: int, ended: Callable[[float], bool], every: float = 0.2) -> Watched:
    """Sample the memory of a process and of all that it started until it has ended.

    Parameters
    ----------
    pid : int
    ended : callable
        Given the seconds that it may wait.
    every : float
        Seconds between samples.
    """
    start = time.perf_counter()
    samples = [memory(pid)]
    while not ended(every):
        samples.append(memory(pid))
    seconds = time.perf_counter() - start
    return Watched(seconds, *(max(column) / 1e6 for column in zip(*samples, strict=True)))


def memory(pid: int) -> tuple[int, int]:
    """Bytes that a process and all that it started hold now, with and without mapped files."""
    totals = {"Pss": 0, "Pss_Anon": 0}
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        processes = []
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended meanwhile
            continue
        for line in lines:
            name, _, rest = line.partition(":")
            if name in totals:
                totals[name] += 1024 * int(rest.split()[0])
    return totals["Pss"], totals["Pss_Anon"]


def featurize(name: str, data: Input, store: Path, workers: int, quiet: bool) -> dict[str, object]:
    """Run the command, and compare its store with its input.

    Raises
    ------
    RuntimeError
        If the command fails, or a row is lost, doubled or another row's molecule.
    """
    command = [sys.executable, "-m", "dgl_moleblend", "featurize", *data.arguments, "-o", str(store),
               "--workers", str(workers), *(["--quiet"] if quiet else [])]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE if quiet else None, text=True)

    def ended(seconds: float) -> bool:
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    taken = watch(process.pid, ended)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    result = MoleculeStore(store)
    check(result, data)
    counts = result.manifest["counts"]
    size = sum(path.stat().st_size for path in store.iterdir())
    return {
        "set": name,
        **{key: counts[key] for key in ("rows", "kept", "rejected", "with_conformer", "atoms")},
        "molecules_per_s": counts["rows"] / taken.seconds,
        **taken._asdict(),
        "bytes_per_molecule": size / len(result),
        "store_mb": size / 1e6,
        "shards": len(result.manifest["shards"]),
        "reasons": result.rejects["stage"].value_counts().to_dict(),
    }


def check(store: MoleculeStore, data: Input) -> None:
    """Compare a store with the input.

    Raises
    ------
    RuntimeError
        If a row is lost or doubled, a count is wrong, or a molecule or label is another row's.
    """
    counts = store.manifest["counts"]
    rejected = store.rejects["row"].to_numpy()
    times = np.bincount(np.concatenate([store.rows, rejected]), minlength=data.rows)
    if len(times) != data.rows or not (times == 1).all():
        raise RuntimeError(f"of {data.rows:,} rows {(times == 0).sum():,} are lost and {(times > 1).sum():,} doubled")
    said = [counts[key] for key in ("rows", "kept", "rejected", "atoms", "bonds")]
    found = [data.rows, len(store), len(rejected), store.num_atoms.sum(), store.num_bonds.sum()]
    if said != found:
        raise RuntimeError(f"the manifest counts {said}, and there are {found}")
    if data.smiles is not None and store.smiles != [data.smiles[row] for row in store.rows]:
        raise RuntimeError("a molecule is another row's")
    if data.homo is not None:
        homo = store.labels[:, store.task_names.index("homo")]
        if not np.allclose(homo, data.homo[store.rows] * HARTREE, rtol=1e-6):
            raise RuntimeError("a label is another row's")


def load(name: str, store: Path, batch_size: int, workers: int) -> dict[str, object]:
    """Make one pass of the loader in a fresh process.

    Raises
    ------
    RuntimeError
        If the process fails, or a molecule is not met exactly once.
    """
    receive, send = multiprocessing.get_context("spawn").Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=one_pass, args=(send, store, batch_size, workers))
    child.start()
    send.close()
    taken = watch(child.pid or 0, receive.poll)
    try:
        row: dict[str, object] = receive.recv()
    except EOFError as error:
        child.join()
        raise RuntimeError(f"the pass over {store} ended with exit code {child.exitcode}") from error
    child.join()
    return {"set": name, **row, "peak_mb": taken.peak_mb, "own_mb": taken.own_mb}


def one_pass(connection: Any, store: Path, batch_size: int, workers: int) -> None:
    """Meet every molecule of a store once, as in an epoch of training, and send what it took."""
    start = time.perf_counter()
    dataset = mb.MoleculeDataset.from_store(store)
    opened = time.perf_counter()
    met = np.zeros(len(dataset), np.int64)
    batches = 0
    for batch in make_loader(dataset, batch_size, shuffle=True, num_workers=workers):
        batch.molecules.relations()
        met[batch.index.numpy()] += 1
        batches += 1
    ended = time.perf_counter()
    if not (met == 1).all():
        raise RuntimeError(f"{(met == 0).sum():,} molecules were not met and {(met > 1).sum():,} more than once")
    connection.send(
        {
            "molecules": len(dataset),
            "batches": batches,
            "open_s": opened - start,
            "seconds": ended - opened,
            "molecules_per_s": len(dataset) / (ended - opened),
            "files": psutil.Process().num_fds(),
        }
    )


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                      formatter_class=argparse.ArgumentDefaultsHelpFormatter)  # fmt: skip
    options.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options.add_argument("--rows", type=int, help="only the first so many of each set (default: all; short: 2000)")
    options.add_argument("--short", action="store_true", help="few rows: less than a minute")
    options.add_argument("--workers", type=int, default=2, help="processes that featurize")
    options.add_argument("--batch", type=int, default=64, help="molecules per batch of the loader")
    options.add_argument("--loader-workers", type=int, default=1, help="processes that load batches")
    options.add_argument(
        "--data", type=Path, default=DATA, help="folder with smiles/moses_train.csv.gz and qm9/qm9_full.npz"
    )
    options.add_argument("--folder", type=Path, help="for files that are written (default: a temporary one)")
    options.add_argument("--json", type=Path, help="file for the results (default: results/at_size.json; short: none)")
    args = options.parse_args(argv)
    args.rows = args.rows or (2_000 if args.short else None)
    for name in args.sets:
        if not (args.data / FILES[name]).is_file():
            options.error(f"there is no file {args.data / FILES[name]}: pass --data, or leave {name} out of --sets")
    found = machine()
    featurized, loaded = [], []
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        for name in args.sets:
            folder = Path(temporary, name)
            folder.mkdir()
            data = {"moses": moses, "qm9": qm9}[name](args.data / FILES[name], folder, args.rows)
            store = Path(temporary, f"{name}.store")
            featurized.append(featurize(name, data, store, args.workers, args.short))
            loaded.append(load(name, store, args.batch, args.loader_workers))
    sections = {"Featurization": featurized, "One pass of the loader": loaded}
    columns = dict(zip(sections, (FEATURIZING, LOADING), strict=True))
    notes = [f"{row['set']}: rejected {row['reasons'] or 'none'}" for row in featurized]
    return report("at_size", args, found, sections, columns, notes)


if __name__ == "__main__":
    main()
