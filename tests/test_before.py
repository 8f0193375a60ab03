"""What a version before left on disk still opens, and gives what it gave.

tests/before/ was written by 0.1.0 as it stood before folders had rooms: `featurize table.csv --tasks size -o store`,
`finetune table.csv --tasks size -o model --size tiny --epochs 2 --batch-size 8 --split random`,
`predict model table.csv -o predictions.csv` and `embed model table.csv -o states.npz`.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import succeed

import dgl_moleblend as mb
from dgl_moleblend.data.store import MoleculeStore
from dgl_moleblend.report.results import read_results

BEFORE = Path(__file__).parent / "before"


@pytest.mark.parametrize("molecules", ["table.csv", "store"])
def test_a_model_of_before_predicts_the_same(tmp_path, molecules):
    succeed("predict", BEFORE / "model", BEFORE / molecules, "-o", tmp_path / "p.csv", "--quiet", "--workers", "0")
    found, expected = pd.read_csv(tmp_path / "p.csv"), pd.read_csv(BEFORE / "predictions.csv")
    assert found["row"].tolist() == expected["row"].tolist()
    assert found["reason"].isna().tolist() == expected["reason"].isna().tolist()
    for column in ("size_predicted", "size_lower", "size_upper", "similarity"):
        np.testing.assert_allclose(found[column], expected[column], rtol=2e-5, err_msg=column)


def test_a_model_of_before_embeds_the_same():
    expected = np.load(BEFORE / "states.npz")
    table = pd.read_csv(BEFORE / "table.csv")
    found = mb.embed(table["smiles"].tolist(), str(BEFORE / "model"))
    kept = ~np.isnan(found).any(1)
    assert kept.sum() == len(table) - 1
    states = next(array for array in expected.values() if array.ndim == 2 and array.dtype == np.float32)
    states = states[~np.isnan(states).any(1)]
    np.testing.assert_allclose(found[kept], states, atol=1e-5)


def test_a_store_of_before_holds_the_same():
    store = MoleculeStore(BEFORE / "store")
    again = mb.MoleculeDataset.from_file(BEFORE / "table.csv", task_columns=["size"])
    assert store.rows.tolist() == again.rows.tolist()
    assert len(store.rejects) == 1
    np.testing.assert_array_equal(store.labels, again.labels)
    for old, new in zip(store, again, strict=True):
        for name in ("atom", "bonds", "positions"):
            if hasattr(old.molecule, name):
                np.testing.assert_array_equal(getattr(old.molecule, name), getattr(new.molecule, name))


def test_files_of_before_are_read_for_a_report():
    metrics = mb.load(BEFORE / "model").metrics
    assert metrics["test"]["rmse"] == pytest.approx(1.4248, abs=1e-3)
    with pytest.raises(mb.MoleBlendError, match="no logs"):  # they were left out of the copy
        read_results(BEFORE / "model")
