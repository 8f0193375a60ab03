"""One record -> one molecule: its positions and labels, or the reason why there is none."""

from pathlib import Path

import numpy as np
import pytest
from featurized import assert_complete, read
from rdkit import Chem
from rdkit.Chem import AllChem

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data import molecules
from dgl_moleblend.data.featurize import featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.errors import MoleculeError
from dgl_moleblend.readers.molecules import MoleculeReader


def write_sdf(path: Path, smiles: list[str]) -> None:
    with Chem.SDWriter(str(path)) as writer:
        for k, text in enumerate(smiles):
            mol = Chem.AddHs(Chem.MolFromSmiles(text))
            AllChem.EmbedMolecule(mol, randomSeed=1)
            mol.SetProp("_Name", f"m{k}")
            mol.SetProp("y", str(k))
            writer.write(mol)


def test_structures_come_with_their_positions(tmp_path):
    path = tmp_path / "in.sdf"
    smiles = ["CCO", "c1ccccc1", "CC(=O)O"]
    write_sdf(path, smiles)
    table = featurize_to_table(read(path), PipelineConfig(FeaturizerConfig("given")))
    assert_complete(table, 3)
    assert [sample.id for sample in table] == ["m0", "m1", "m2"]
    assert [Chem.CanonSmiles(s.smiles) for s in table] == [Chem.CanonSmiles(s) for s in smiles]
    assert table.labels.ravel().tolist() == [0, 1, 2]
    for mol, sample in zip(Chem.SDMolSupplier(str(path)), table, strict=True):
        assert sample.molecule.positions.shape == (1, mol.GetNumAtoms(), 3)
        expected = np.linalg.norm(mol.GetConformer().GetPositions(), axis=1)
        found = np.linalg.norm(sample.molecule.positions[0], axis=1)
        np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-5)


def test_a_structure_that_rdkit_cannot_read(tmp_path):
    path = tmp_path / "in.sdf"
    write_sdf(path, ["CCO", "CCC", "CCN"])
    blocks = path.read_text().split("$$$$\n")
    blocks[1] = blocks[1].replace(" 11 10 ", " 99 10 ").replace("  1  2  1  0", "  1 88  1  0")
    path.write_text("$$$$\n".join(blocks))
    table = featurize_to_table(read(path), PipelineConfig())
    assert_complete(table, 3)
    assert table.rows.tolist() == [0, 2]
    assert table.rejects[["id", "stage"]].values.tolist() == [["m1", "parse"]]
    assert table.rejects["reason"][0].startswith("RDKit cannot read the structure: ")
    assert "no reason" not in table.rejects["reason"][0]


def test_a_structure_with_characters_cut_in_two(tmp_path):
    """RDKit quotes the columns that it cannot read, which may be half of a character."""
    path = tmp_path / "in.sdf"
    write_sdf(path, ["CCO", "CCC"])
    text = path.read_text()
    place = text.splitlines()[4][:30]
    path.write_text(text.replace(place, place + "é", 1), encoding="utf-8")
    table = featurize_to_table(read(path), PipelineConfig())
    assert table.rows.tolist() == [1]
    assert table.rejects["stage"].tolist() == ["parse"]
    assert table.rejects["reason"][0] == "RDKit cannot read the structure: Element '? C' not found"


featurize_mol = molecules.featurize_mol


def fail_to_featurize(mol: Chem.Mol, config: FeaturizerConfig) -> object:
    """Have no positions for molecules of three atoms, whoever asks."""
    if config.positions != "none" and mol.GetNumAtoms() == 3:
        raise MoleculeError("no conformer after 10 attempts")
    if mol.GetNumAtoms() == 4:
        raise KeyError("a fault of ours")
    return featurize_mol(mol, config)


def test_failed_conformers_are_rejected_or_kept_without(tmp_path, monkeypatch):
    monkeypatch.setattr(molecules, "featurize_mol", fail_to_featurize)
    path = tmp_path / "in.smi"
    path.write_text("CC\nCCO\nCCCC\nCCCCC\n")
    embed = FeaturizerConfig("embed", num_conformers=2)
    table = featurize_to_table(MoleculeReader(path), PipelineConfig(embed))
    assert_complete(table, 4)
    assert table.rows.tolist() == [0, 3]
    assert table.num_conformers.tolist() == [2, 2]
    assert table.rejects[["row", "stage", "reason"]].values.tolist() == [
        [1, "conformer", "no conformer after 10 attempts"],
        [2, "featurize", "KeyError: 'a fault of ours'"],
    ]
    kept = featurize_to_table(MoleculeReader(path), PipelineConfig(embed, on_failed_conformer="keep"))
    assert kept.rows.tolist() == [0, 1, 3]
    assert kept.num_conformers.tolist() == [2, 0, 2]
    assert kept[1].molecule.positions.shape == (0, 3, 3), "no positions, neither flat nor zero"


@pytest.mark.parametrize(
    ("option", "value"), [("max_atoms", 0), ("max_atoms", 70_000), ("on_failed_conformer", "drop"), ("time_limit", -1)]
)
def test_wrong_settings_are_named(option, value):
    with pytest.raises(ValueError, match=f"{option}={value!r} is not allowed"):
        PipelineConfig(**{option: value})
