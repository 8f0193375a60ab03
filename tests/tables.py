"""Small data sets written down by hand: chains of carbon, nitrogen and oxygen, featurized without RDKit."""

import numpy as np

import dgl_moleblend as mb
from dgl_moleblend.chem.arrays import MoleculeArrays
from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.rows import Reject, Sample, rejects_frame
from dgl_moleblend.data.table import MoleculeTable

NAN = float("nan")
QUIET = mb.Compute(progress=False)


def watched(*callbacks: object) -> dict[str, mb.Compute]:
    """The argument of a workflow that lets callbacks look on."""
    return {"compute": QUIET.replace(callbacks=callbacks)}


def chain(length: int, generator: np.random.Generator, conformers: int = 1) -> MoleculeArrays:
    """A chain of single bonds, its elements and positions drawn at random."""
    atom = np.zeros((length, 9), np.uint8)
    atom[:, 0] = generator.integers(5, 8, length)
    bonds = np.array([[k, k + 1] for k in range(length - 1)], np.int32).reshape(-1, 2)
    positions = 1.5 * generator.normal(size=(conformers, length, 3)).astype(np.float32)
    return MoleculeArrays(atom, bonds, np.zeros(len(bonds), np.uint8), positions)


def chains(
    number: int = 24,
    *,
    task_type: str = "regression",
    num_tasks: int = 2,
    conformers: int = 1,
    rejects: int = 0,
    seed: int = 0,
) -> mb.MoleculeDataset:
    """A data set whose labels are the number of atoms and of nitrogens (or whether these are many).

    Every seventh label of the last task is missing. Rejected rows stand between the first kept ones: rows 1, 3, ...
    """
    generator = np.random.default_rng(seed)
    rows = np.setdiff1d(np.arange(number + rejects), 2 * np.arange(rejects) + 1)
    samples = []
    for k, row in enumerate(rows.tolist()):
        molecule = chain(int(generator.integers(1, 10)), generator, conformers)
        nitrogens = int((molecule.atom[:, 0] == 6).sum())
        labels = np.array([molecule.num_atoms, nitrogens], np.float32)[:num_tasks]
        if task_type == "classification":
            labels = (labels > np.array([4, 1])[:num_tasks]).astype(np.float32)
        if num_tasks > 1 and k % 7 == 3:
            labels[-1] = NAN
        smiles = "".join("CNO"[a - 5] for a in molecule.atom[:, 0])
        samples.append(Sample(molecule, labels, row, "chains.csv", row + 2, f"chain {k}", smiles))
    lost = [Reject(2 * k + 1, "chains.csv", 2 * k + 3, "", "C(", "parse", "no SMILES") for k in range(rejects)]
    names = ["atoms", "nitrogens"][:num_tasks]
    table = MoleculeTable(
        [record_batch(samples, num_tasks, ("chains.csv",))],
        names,
        ("chains.csv",),
        rejects_frame(lost),
        mb.FeaturizerConfig(positions="given" if conformers else "none"),
    )
    return mb.MoleculeDataset(table)


def parts(dataset: mb.MoleculeDataset, validation: int = 6, test: int = 6) -> dict[str, np.ndarray]:
    """A split: the first rows train, the last test."""
    train = len(dataset) - validation - test
    names = ("train", "validation", "test")
    return dict(zip(names, np.split(np.arange(len(dataset)), [train, train + validation]), strict=True))
