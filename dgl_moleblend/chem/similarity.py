"""How like the training set a molecule is: its nearest Tanimoto similarity by Morgan fingerprints."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from typing_extensions import Self

from dgl_moleblend.checksums import check_file, renew
from dgl_moleblend.errors import CheckpointError, MoleculeError
from dgl_moleblend.files import TRAINING_SET_FILE, write_atomically
from dgl_moleblend.unpacking import read_npz

RADIUS, BITS = 2, 2048
PERCENTILE = 5
_SAMPLE = 2000  # training molecules whose nearest neighbours set the threshold
_BLOCK = 2048  # fingerprints compared at a time: two blocks of 16 MB


def fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """Compute Morgan fingerprints of radius 2.

    Parameters
    ----------
    smiles : sequence of N str

    Returns
    -------
    ndarray, shape (N, 256), uint8
        2,048 bits a row, packed. A text that RDKit cannot read has no bit set.
    """
    from rdkit.Chem import rdFingerprintGenerator

    from dgl_moleblend.chem.sanitize import read_smiles

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    packed = np.zeros((len(smiles), BITS // 8), np.uint8)
    for row, text in zip(packed, smiles, strict=True):
        with suppress(MoleculeError):
            row[:] = np.packbits(generator.GetFingerprintAsNumPy(read_smiles(text)))
    return packed


def nearest(queries: np.ndarray, others: np.ndarray, *, own: np.ndarray | None = None) -> np.ndarray:
    """Return the Tanimoto similarity of each fingerprint to its nearest among others.

    Parameters
    ----------
    queries, others : ndarray, shape (N, 256) and (m, 256), uint8
        As `fingerprints` gives them.
    own : ndarray, shape (N,), optional
        The row of `others` that each query is itself, and is not compared with.

    Returns
    -------
    ndarray, shape (N,), float32
        From 0 to 1; NaN where a query has no bit set, or there is nothing to compare with.
    """
    return find_nearest(queries, others, own=own)[0]


def find_nearest(
    queries: np.ndarray, others: np.ndarray, *, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `nearest` does, and which of the others that is, shape (N,): the first of several, -1 for none."""
    best = np.full(len(queries), np.nan, np.float32)
    place = np.full(len(queries), -1, np.int64)
    for at in range(0, len(others), _BLOCK):
        block = _unpack(others[at : at + _BLOCK])
        for start in range(0, len(queries), _BLOCK):
            part = slice(start, start + _BLOCK)
            query = _unpack(queries[part])
            common = query @ block.T  # counts up to 2,048: exact in float32
            either = query.sum(1)[:, None] + block.sum(1) - common
            similarity = np.divide(common, either, out=np.zeros_like(common), where=either > 0)
            if own is not None:
                column = own[part] - at
                here = np.flatnonzero((column >= 0) & (column < len(block)))
                similarity[here, column[here]] = -1
            first = similarity.argmax(1)
            found = similarity[np.arange(len(first)), first]
            nearer = (found >= 0) & ~(found <= best[part])  # best is NaN at first
            best[part][nearer], place[part][nearer] = found[nearer], at + first[nearer]
    none = ~queries.any(1)
    best[none], place[none] = np.nan, -1
    return best, place


def _unpack(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=1).astype(np.float32)


@dataclass(frozen=True)
class TrainingSet:
    """Fingerprints of the molecules that a model learned from.

    Parameters
    ----------
    fingerprints : ndarray, shape (m, 256), uint8
        Each molecule's, packed.
    threshold : float
        A molecule whose nearest similarity is lower is unlike the training set: 95 % of the training molecules have a
        nearer neighbour among the others.
    smiles : tuple of m str, optional
        The molecules; None in files of older versions.
    """

    fingerprints: np.ndarray
    threshold: float
    smiles: tuple[str, ...] | None = None

    @classmethod
    def from_smiles(cls, smiles: Sequence[str]) -> Self:
        """Take the molecules of the training rows; those that cannot be read are left out.

        The threshold is the 5th percentile of the similarity of (at most 2,000, drawn evenly) training molecules to
        their nearest neighbour among the others, 0 where there is one molecule or none.
        """
        packed = fingerprints(smiles)
        readable = packed.any(1)
        packed = packed[readable]
        sample = np.unique(np.linspace(0, len(packed) - 1, min(len(packed), _SAMPLE)).astype(np.int64))
        found = nearest(packed[sample], packed, own=sample)
        found = found[~np.isnan(found)]
        threshold = float(np.percentile(found, PERCENTILE)) if len(found) else 0.0
        return cls(packed, threshold, tuple(" ".join(smiles[k].split()) for k in np.flatnonzero(readable)))

    @classmethod
    def union(cls, parts: Sequence[Self]) -> Self:
        """Join the training sets of an ensemble: every molecule once, the lowest of the thresholds."""
        if len(parts) == 1:
            return parts[0]
        together = np.concatenate([part.fingerprints for part in parts])
        packed, first = np.unique(together, axis=0, return_index=True)
        texts = [text for part in parts for text in part.smiles or ()]
        smiles = tuple(texts[k] for k in first) if len(texts) == len(together) else None
        return cls(packed, min(part.threshold for part in parts), smiles)

    def write(self, path: Path) -> None:
        """Write the file that `read` reads, by this very name."""
        arrays: dict[str, Any] = {"fingerprints": self.fingerprints, "threshold": self.threshold}
        arrays |= {"radius": RADIUS, "bits": BITS}
        if self.smiles is not None:  # as one text: an array of texts is as wide as its longest
            arrays["smiles"] = np.frombuffer("\n".join(self.smiles).encode(), np.uint8)
        with path.open("wb") as file:  # a file, since a name would be given a suffix
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, folder: str | PathLike[str]) -> Self | None:
        """Read training_set.npz of a model folder, without running code; None where there is none.

        Raises
        ------
        CheckpointError
            If the file is damaged.
        """
        path = Path(folder, TRAINING_SET_FILE)
        if not path.is_file():
            return None
        try:
            arrays = read_npz(check_file(path))
            packed, threshold = arrays["fingerprints"], float(arrays["threshold"])
            made = (int(arrays["radius"]), int(arrays["bits"]))
            if packed.ndim != 2 or packed.shape[1] != BITS // 8 or packed.dtype != np.uint8 or made != (RADIUS, BITS):
                raise ValueError(
                    f"fingerprints of shape {packed.shape} and type {packed.dtype}, radius and bits {made}"
                )
            smiles = tuple(arrays["smiles"].tobytes().decode().split("\n")) if "smiles" in arrays else None
            if smiles is not None and len(smiles) != len(packed):
                raise ValueError(f"{len(smiles):,} SMILES of {len(packed):,} molecules")
        except (ValueError, KeyError, TypeError, EOFError, OSError, BadZipFile) as error:
            raise CheckpointError(
                f"{TRAINING_SET_FILE} does not hold the fingerprints of a training set: {error}",
                where=str(path),
                fix="restore the file; or delete it, and predictions come without the column similarity",
            ) from error
        return cls(packed, threshold, smiles)

    def similarity(self, smiles: Sequence[str]) -> np.ndarray:
        """Return each molecule's Tanimoto similarity to its nearest training molecule, shape (N,); see `nearest`."""
        return nearest(fingerprints(smiles), self.fingerprints)

    def find(self, smiles: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what `similarity` does, and the SMILES of those training molecules ("" for none) where known."""
        similarity, place = find_nearest(fingerprints(smiles), self.fingerprints)
        if self.smiles is None:
            return similarity, None
        return similarity, np.array([self.smiles[k] if k >= 0 else "" for k in place], object)

    def warnings(self, similarity: np.ndarray) -> list[str]:
        """Return for each similarity "", or a warning where it is below the threshold."""
        unlike = "unlike the training set: nearest"
        return [f"{unlike} {value:.2f}" if value < self.threshold else "" for value in similarity]


def write_training_set(folder: str | PathLike[str], smiles: Sequence[str]) -> TrainingSet | None:
    """Write training_set.npz, by which `predict` knows molecules unlike the training set.

    Parameters
    ----------
    folder : path
        Of the model.
    smiles : sequence of str
        Of the training rows; those that RDKit cannot read are left out.

    Returns
    -------
    TrainingSet or None
        What was written; None, and no file, where RDKit can read none of them.
    """
    path = Path(folder, TRAINING_SET_FILE)
    path.unlink(missing_ok=True)  # it is about the run that was here before
    found = TrainingSet.from_smiles(smiles)
    if not len(found.fingerprints):
        return None
    write_atomically(path, found.write)
    renew(path)
    return found
