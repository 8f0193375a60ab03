"""Structures and the table beside them: every row of either is accounted for, and none is shifted."""

import math
from pathlib import Path

import pytest
from rdkit import Chem

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.featurize import featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.pairing import PairedReader

SMILES = ["CO", "CCN", "CCCF", "CCCCCl"]


def write(folder: Path, smiles: list[str], rows: list[str], header: str = "name,smiles,gap") -> tuple[Path, Path]:
    blocks = []
    for k, text in enumerate(smiles):
        mol = Chem.MolFromSmiles(text)
        mol.SetProp("_Name", f"m{k}")
        blocks.append(Chem.MolToMolBlock(mol) + "$$$$\n")
    (folder / "a.sdf").write_text("".join(blocks))
    (folder / "a.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "a.sdf", folder / "a.csv"


def pairs(files: tuple[Path, Path], **options: object) -> list[tuple[object, ...]]:
    reader = PairedReader(*files, task_columns=["gap"], **options)  # type: ignore[arg-type]
    return [(r.row, r.id, r.smiles, r.structure is not None, r.labels[:1], r.stage) for r in reader]


def test_record_k_belongs_to_row_k(tmp_path):
    files = write(tmp_path, SMILES, [f"m{k},{s},{k}" for k, s in enumerate(SMILES)])
    assert pairs(files) == [(k, f"m{k}", s, True, (float(k),), None) for k, s in enumerate(SMILES)]
    table = featurize_to_table(PairedReader(*files, task_columns=["gap"]), PipelineConfig())
    assert table.smiles == SMILES
    assert table.labels.ravel().tolist() == [0, 1, 2, 3]


def test_a_shifted_table_is_seen_by_its_names(tmp_path):
    files = write(tmp_path, SMILES, ["m0,CO,0", "m2,CCCF,2", "m3,CCCCCl,3"])
    reader = PairedReader(*files, task_columns=["gap"])
    records = list(reader)
    assert [(r.row, r.stage) for r in records] == [(0, None), (1, "pair"), (2, "pair"), (3, "labels")]
    assert records[1].error == "the structure is 'm1', the row of the table 'm2'"
    assert records[3].error == "the table ends before this record"


def test_a_shifted_table_is_seen_by_its_smiles(tmp_path):
    files = write(tmp_path, SMILES, ["CO,0", "CCCF,2", "CCCCCl,3", "CCN,1"], "smiles,gap")
    table = featurize_to_table(PairedReader(*files, task_columns=["gap"]), PipelineConfig())
    assert table.rows.tolist() == [0]
    assert table.rejects[["row", "stage"]].values.tolist() == [[1, "pair"], [2, "pair"], [3, "pair"]]
    assert table.rejects["reason"][0] == "the structure has the atoms C2 N1, its SMILES C3 F1"


def test_rows_beyond_the_structures(tmp_path):
    files = write(tmp_path, SMILES[:2], [*(f"m{k},{s},{k}" for k, s in enumerate(SMILES)), "m4,,4"])
    assert pairs(files)[2:] == [
        (2, "m2", "CCCF", False, (2.0,), None),
        (3, "m3", "CCCCCl", False, (3.0,), None),
        (4, "m4", "", False, (4.0,), "read"),
    ]
    config = PipelineConfig(FeaturizerConfig("given"), on_failed_conformer="keep")
    table = featurize_to_table(PairedReader(*files, task_columns=["gap"]), config)
    assert table.rows.tolist() == [0, 1, 2, 3]
    assert table[2].source.endswith("a.csv")
    assert table[2].line == 4


def test_what_is_wrong_on_either_side_stays_in_its_row(tmp_path):
    files = write(tmp_path, SMILES, ["m0,CO,0", "m1,CCN,x", "m2,CCCF,", "m3,CCCCCl,3"])
    files[0].write_text(files[0].read_text().replace("M  END", "M  EN", 1))
    stages = [(r.row, r.stage) for r in PairedReader(*files, task_columns=["gap"])]
    assert stages == [(0, "read"), (1, "labels"), (2, None), (3, None)]
    assert math.isnan(list(PairedReader(*files, task_columns=["gap"]))[2].labels[0])


def test_nothing_to_check_by_is_refused(tmp_path):
    files = write(tmp_path, SMILES, [f"x{k},{k}" for k in range(4)], "name,gap")
    with pytest.raises(DataError, match=r"nothing shows that the structures and the rows of .*a\.csv belong"):
        list(PairedReader(*files, task_columns=["gap"]))
    assert [p[-1] for p in pairs(write(tmp_path, SMILES, [f"m{k},{k}" for k in range(4)], "name,gap"))] == [None] * 4


def test_missing_columns_and_files(tmp_path):
    files = write(tmp_path, SMILES, ["m0,CO,0"])
    with pytest.raises(DataError, match="there is no task column 'homo'; the columns are: 'name', 'smiles', 'gap'"):
        PairedReader(*files, task_columns=["homo"])
    with pytest.raises(DataError, match="there is no such file"):
        PairedReader(files[0], tmp_path / "none.csv")
