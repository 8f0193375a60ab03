"""Clusters of molecules that are alike, against the definition written out; ten thousand of them."""

import numpy as np
from commands import SMILES
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import TanimotoSimilarity

from dgl_moleblend.chem.clusters import RADIUS, spheres


def test_each_molecule_is_in_the_sphere_of_its_nearest_middle():
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in SMILES]
    middles: list[int] = []
    for k, one in enumerate(prints):  # RDKit's picker goes in the order of the input, too
        if all(TanimotoSimilarity(one, prints[m]) < 1 - RADIUS for m in middles):
            middles.append(k)
    nearest = [int(np.argmax([TanimotoSimilarity(one, prints[m]) for m in middles])) for one in prints]
    assert 1 < len(middles) < len(SMILES)
    assert spheres(SMILES).tolist() == nearest
    assert spheres([]).tolist() == []


def test_a_radius_of_nothing_keeps_the_same_molecule_together():
    assert spheres(["CCO", "CCN", "OCC", "c1ccccc1"], radius=0.0).tolist() == [0, 1, 0, 2]


def test_ten_thousand_molecules():
    """Chains of carbon with up to three oxygens and nitrogens at some place: of many sizes, many alike."""
    drawn = np.random.default_rng(0).integers(0, 6, (10_000, 6))
    parts = ["C", "CC(C)", "O", "c1ccc(cc1)", "NC(=O)", "C(F)"]
    smiles = ["C" + "".join(parts[k] for k in row) + "C" for row in drawn]
    found = spheres(smiles)
    assert found.shape == (10_000,)
    assert 10 < len(set(found.tolist())) < 10_000
