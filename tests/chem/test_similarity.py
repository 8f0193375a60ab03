"""Nearest training molecules: Tanimoto as RDKit has it, in blocks, and a file that runs no code."""

from dataclasses import replace

import numpy as np
import pytest
from rdkit import DataStructs
from rdkit.Chem import MolFromSmiles, rdFingerprintGenerator

from dgl_moleblend.chem import similarity
from dgl_moleblend.chem.similarity import TrainingSet, fingerprints, nearest
from dgl_moleblend.errors import CheckpointError

TRAINING = ["CCO", "CCCO", "CCCCO", "CC(C)O", "c1ccccc1", "Cc1ccccc1", "CC(=O)O", "CCN", "CCCN", "C1CCCCC1"]
OTHERS = ["CCO", "CCCCCO", "Oc1ccccc1", "[Na+].[Cl-]", "FS(F)(F)(F)(F)F", "CC(=O)OC"]


def by_rdkit(queries, others):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    bits = [generator.GetFingerprint(MolFromSmiles(smiles)) for smiles in others]
    return [DataStructs.BulkTanimotoSimilarity(generator.GetFingerprint(MolFromSmiles(q)), bits) for q in queries]


@pytest.mark.parametrize("block", [1, 3, 2048])
def test_it_is_rdkits_similarity_whatever_the_block(block, monkeypatch):
    monkeypatch.setattr(similarity, "_BLOCK", block)
    found = nearest(fingerprints(OTHERS), fingerprints(TRAINING))
    np.testing.assert_allclose(found, np.max(by_rdkit(OTHERS, TRAINING), axis=1), rtol=1e-6)
    assert found[0] == 1


@pytest.mark.parametrize("block", [1, 3, 2048])
def test_a_molecule_is_not_compared_with_itself(block, monkeypatch):
    monkeypatch.setattr(similarity, "_BLOCK", block)
    packed = fingerprints(TRAINING)
    own = np.array([7, 2, 0])
    expected = np.array(by_rdkit([TRAINING[k] for k in own], TRAINING))
    expected[np.arange(3), own] = -1
    np.testing.assert_allclose(nearest(packed[own], packed, own=own), expected.max(1), rtol=1e-6)


def test_unreadable_molecules_and_an_empty_training_set_have_no_similarity():
    assert np.isnan(nearest(fingerprints(["C1CC"]), fingerprints(TRAINING))).tolist() == [True]
    assert np.isnan(nearest(fingerprints(["CCO"]), fingerprints([]))).tolist() == [True]
    assert TrainingSet.from_smiles(TRAINING).warnings(np.array([np.nan])) == [""]


def test_the_threshold_is_the_percentile_of_the_neighbours_among_the_training_set():
    pairs = np.array(by_rdkit(TRAINING, TRAINING))
    np.fill_diagonal(pairs, -1)
    found = TrainingSet.from_smiles([*TRAINING, "C1CC"])
    assert len(found.fingerprints) == len(TRAINING)
    assert found.threshold == pytest.approx(np.percentile(pairs.max(1), 5))
    assert TrainingSet.from_smiles(["CCO"]).threshold == 0


def test_molecules_unlike_the_training_set_are_warned_of():
    found = TrainingSet.from_smiles(TRAINING)
    near = found.similarity(OTHERS)
    warnings = dict(zip(OTHERS, found.warnings(near), strict=True))
    assert warnings["CCO"] == warnings["CCCCCO"] == ""
    assert warnings["FS(F)(F)(F)(F)F"] == f"unlike the training set: nearest {near[4]:.2f}"


def test_the_file_holds_what_was_written_and_absence_is_no_error(tmp_path):
    assert TrainingSet.read(tmp_path) is None
    written = TrainingSet.from_smiles(TRAINING)
    written.write(tmp_path / "training_set.npz")
    read = TrainingSet.read(tmp_path)
    np.testing.assert_array_equal(read.fingerprints, written.fingerprints)
    assert read.threshold == written.threshold
    assert read.smiles == tuple(TRAINING)


def test_a_file_of_an_older_version_knows_no_molecules(tmp_path):
    replace(TrainingSet.from_smiles(TRAINING), smiles=None).write(tmp_path / "training_set.npz")
    similarity, molecules = TrainingSet.read(tmp_path).find(TRAINING[:2])
    assert similarity.tolist() == [1, 1]
    assert molecules is None


def test_the_nearest_molecule_is_found_across_blocks(monkeypatch):
    monkeypatch.setattr("dgl_moleblend.chem.similarity._BLOCK", 3)
    found = TrainingSet.from_smiles(["C1CC", *TRAINING])
    queries = [*TRAINING, "C1CC", *TRAINING[::-1]]
    similarity, molecules = found.find(queries)
    assert molecules.tolist() == [*TRAINING, "", *TRAINING[::-1]]
    np.testing.assert_array_equal(np.isnan(similarity), [text == "C1CC" for text in queries])


def test_an_ensemble_knows_the_molecules_of_all_members():
    a, b = TrainingSet.from_smiles(TRAINING[:6]), TrainingSet.from_smiles(TRAINING[3:])
    both = TrainingSet.union([a, b])
    assert len(both.fingerprints) == len(TRAINING)
    assert sorted(both.smiles) == sorted(TRAINING)
    assert both.find(TRAINING)[1].tolist() == TRAINING
    assert both.threshold == min(a.threshold, b.threshold)


@pytest.mark.parametrize(
    "arrays",
    [
        {"fingerprints": np.array([{}], object), "threshold": 0.1, "radius": 2, "bits": 2048},
        {"fingerprints": np.zeros((2, 256), np.uint8)},
        {"fingerprints": np.zeros((2, 128), np.uint8), "threshold": 0.1, "radius": 2, "bits": 2048},
        {"fingerprints": np.zeros((2, 256), np.uint8), "threshold": 0.1, "radius": 3, "bits": 2048},
        {
            "fingerprints": np.zeros((2, 256), np.uint8),
            "threshold": 0.1,
            "radius": 2,
            "bits": 2048,
            "smiles": np.frombuffer(b"CCO", np.uint8),
        },
    ],
    ids=["pickle", "incomplete", "shape", "radius", "smiles"],
)
def test_another_file_of_this_name_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "training_set.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"does not hold the fingerprints of a training set[\s\S]*or delete it"):
        TrainingSet.read(tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "training_set.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError, match="does not hold the fingerprints"):
        TrainingSet.read(tmp_path)


def test_atom_map_numbers_do_not_count():
    mapped = ["[CH3:3][CH2:1][OH:2]", "[OH:1][c:2]1[cH:3][cH:4][cH:5][cH:6][cH:7]1"]
    np.testing.assert_array_equal(fingerprints(mapped), fingerprints(["CCO", "Oc1ccccc1"]))
