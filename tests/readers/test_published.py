"""Published data sets: the files that people have, their units, and the rows that they are known to lose."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from dgl_moleblend.cli import featurize
from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.featurize import featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers import published
from dgl_moleblend.readers.published import HARTREE, moleculenet, open_published, pcqm4mv2, qm9, read_uncharacterized

SHARED = Path(__file__).parents[2] / "../shared/data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="the data are not here")
COLUMNS = ["A", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u298", "h298", "g298", "cv", "u0_atom"]


@pytest.fixture
def qm9_folder(tmp_path: Path) -> Path:
    """gdb9.sdf and gdb9.sdf.csv as DeepChem distributes them: no SMILES, names in both."""
    blocks, rows = "", []
    for k, smiles in enumerate(["C", "N", "O", "C#C"]):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        mol.SetProp("_Name", f"gdb_{k + 1}")
        blocks += Chem.MolToMolBlock(mol) + "$$$$\n"
        rows.append([f"gdb_{k + 1}", *(k + 0.5 for _ in COLUMNS)])
    (tmp_path / "gdb9.sdf").write_text(blocks)
    pd.DataFrame(rows, columns=["mol_id", *COLUMNS]).to_csv(tmp_path / "gdb9.sdf.csv", index=False)
    (tmp_path / "uncharacterized.txt").write_text(
        "A list\n======\n\n    Index       GDB9 SMILES\n      2    N       O\n     10    CCC   C=C\n2 compounds\n"
    )
    return tmp_path


def test_qm9_targets_and_units(qm9_folder):
    reader = qm9(qm9_folder)
    assert reader.task_names == published.QM9_TARGETS
    assert len(reader.task_names) == 12
    table = featurize_to_table(reader, PipelineConfig())
    assert table.ids == ["gdb_1", "gdb_2", "gdb_3", "gdb_4"]
    assert table.smiles == ["C", "N", "O", "C#C"]
    values = dict(zip(table.task_names, table.labels[1], strict=True))
    assert values["mu"] == 1.5
    assert reader.units["mu"] == "debye"
    np.testing.assert_allclose(values["homo"], 1.5 * 27.211386, rtol=1e-6)
    assert reader.units["homo"] == "eV"
    milli = qm9(qm9_folder, targets=["gap", "u0_atom", "cv"], energies="meV")
    labels = featurize_to_table(milli, PipelineConfig()).labels[0]
    np.testing.assert_allclose(labels, [0.5 * HARTREE * 1000, 0.5 * 43.364104, 0.5], rtol=1e-6)
    assert list(milli.units.values()) == ["meV", "meV", "cal/(mol K)"]
    as_published = qm9(qm9_folder, targets=["gap"], energies="published")
    assert featurize_to_table(as_published, PipelineConfig()).labels[0] == 0.5
    assert as_published.units == {"gap": "hartree"}


def test_qm9_leaves_out_what_is_uncharacterized(qm9_folder):
    path = qm9_folder / "uncharacterized.txt"
    assert read_uncharacterized(path) == {"gdb_2", "gdb_10"}, "the count in the last line names no molecule"
    table = featurize_to_table(qm9(qm9_folder, uncharacterized=path), PipelineConfig())
    assert table.ids == ["gdb_1", "gdb_3", "gdb_4"]
    assert table.rejects[["id", "stage"]].values.tolist() == [["gdb_2", "excluded"]]
    path.write_text("nothing\n")
    with pytest.raises(DataError, match="the list names no molecule"):
        qm9(qm9_folder, uncharacterized=path)


def test_pcqm4mv2_is_paired_by_index(tmp_path):
    """data.csv.gz in "raw" and the SDF beside it, as OGB unpacks them; validation and test have no structure."""
    (tmp_path / "raw").mkdir()
    table = "idx,smiles,homolumogap\n0,CO,1.5\n1,CCN,2.5\n2,CCCF,3.5\n3,CC,\n"
    (tmp_path / "raw" / "data.csv.gz").write_bytes(gzip.compress(table.encode()))
    blocks = ""
    for k, smiles in enumerate(["CO", "CCO"]):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        mol.SetProp("_Name", "")
        blocks += Chem.MolToMolBlock(mol, kekulize=k == 0) + "$$$$\n"
    (tmp_path / "pcqm4m-v2-train.sdf").write_text(blocks)
    result = featurize_to_table(pcqm4mv2(tmp_path), PipelineConfig())
    assert result.rows.tolist() == [0, 2, 3]
    assert result.task_names == ("homolumogap",)
    assert result.rejects[["row", "id", "stage"]].values.tolist() == [[1, "1", "pair"]]
    assert np.isnan(result.labels[2, 0])


def test_moleculenet_files_by_name(tmp_path):
    (tmp_path / "bace.csv.gz").write_bytes(gzip.compress(b"mol,CID,Class,pIC50\nCO,B1,1,7.5\nCC,B2,-1,-1\n"))
    table = featurize_to_table(moleculenet("bace", tmp_path), PipelineConfig())
    assert table.ids == ["B1", "B2"]
    np.testing.assert_array_equal(table.labels, [[1], [np.nan]])
    regression = featurize_to_table(moleculenet("bace_regression", tmp_path / "bace.csv.gz"), PipelineConfig())
    np.testing.assert_array_equal(regression.labels, [[7.5], [-1]], err_msg="-1 is a value where values are measured")


@pytest.mark.parametrize(
    ("name", "file", "tasks"),
    [
        (
            "sider",
            "sider.csv.gz",
            ("Hepatobiliary disorders", "Neoplasms benign, malignant (incl cysts)", "Eye disorders"),
        ),
        ("clintox", "clintox.csv.gz", ("FDA_APPROVED", "CT_TOX")),
    ],
)
def test_sider_and_clintox_have_the_smiles_first_and_tasks_after_it(tmp_path, name, file, tasks):
    """The columns that DeepChem's loaders of the same files take: `smiles`, and every one after it."""
    table = pd.DataFrame([["CCO", *[1] * len(tasks)], ["CC", *[0] * len(tasks)]], columns=["smiles", *tasks])
    table.to_csv(tmp_path / file, index=False)
    found = featurize_to_table(open_published(name, tmp_path), PipelineConfig())
    assert found.task_names == tasks
    assert found.labels.tolist() == [[1] * len(tasks), [0] * len(tasks)]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none of these files is here: gdb9.sdf, gdb9_\*.sdf \(or .gz\)"):
        open_published("qm9", tmp_path)
    with pytest.raises(ValueError, match="dataset='qm8' is not allowed"):
        open_published("qm8", tmp_path)
    with pytest.raises(ValueError, match="energies='kJ/mol' is not allowed"):
        qm9(tmp_path, energies="kJ/mol")


def test_the_command_line_knows_every_name():
    assert featurize.DATASETS == published.NAMES


@needs_data
def test_the_qm9_sample(tmp_path):
    for name in ("gdb9_10k.sdf.gz", "gdb9_10k.sdf.csv.gz"):
        shutil.copy(SHARED / "qm9" / name, tmp_path)
    given = PipelineConfig(FeaturizerConfig("given"))
    table = featurize_to_table(qm9(tmp_path), given, workers=2)
    assert len(table) == 10_000
    assert table.rejects.empty
    assert (table.num_conformers == 1).all()
    source = pd.read_csv(SHARED / "qm9" / "gdb9_10k.sdf.csv.gz")
    assert table.ids == source["mol_id"].tolist()
    np.testing.assert_allclose(table.labels[:, 2], source["homo"] * HARTREE, rtol=1e-6)


@needs_data
def test_the_pcqm4mv2_sample():
    given = PipelineConfig(FeaturizerConfig("given"))
    table = featurize_to_table(pcqm4mv2(SHARED / "pcqm4mv2"), given, workers=2)
    assert len(table) == 1_999
    assert (table.num_conformers == 1).all()
    source = pd.read_csv(SHARED / "pcqm4mv2" / "pcqm4mv2_2k.csv.gz")
    np.testing.assert_allclose(table.labels[:, 0], source["homolumogap"], rtol=1e-6)


@needs_data
@pytest.mark.parametrize(
    ("name", "rows", "rejected", "tasks"), [("esol", 1_128, 0, 1), ("bace", 1_513, 0, 1), ("tox21", 7_831, 8, 12)]
)
def test_moleculenet_samples(name, rows, rejected, tasks):
    table = featurize_to_table(moleculenet(name, SHARED / "moleculenet"), PipelineConfig(), workers=2)
    assert (len(table) + len(table.rejects), len(table.rejects)) == (rows, rejected)
    assert table.labels.shape[1] == tasks
