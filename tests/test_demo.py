"""The demo on a few molecules: all that it promises is there, and says the same."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import demo

    return demo


def test_demo(demo, tmp_path, capsys):
    out = tmp_path / "demo"
    small = ["--molecules", "12", "--rows", "60", "--size", "tiny", "--pretraining-epochs", "1", "--epochs", "1"]
    demo.main(["--out", str(out), *small])
    shown = capsys.readouterr().out
    for name in ("predictions.csv", "pretrained/curves.png", "model/curves.png", "model/report.html", "relations.png"):
        assert (out / name).stat().st_size > 0, name
        assert f"{out}/{name}" in shown
    table = pd.read_csv(out / "table.csv", index_col=0)
    assert list(table.index) == ["mean predictor", "from scratch", "pretrained"]
    metrics = json.loads((out / "model" / "metrics.json").read_text())
    assert table.loc["pretrained", "RMSE"] == pytest.approx(metrics["test"]["rmse"])
    assert len(pd.read_csv(out / "predictions.csv")) == 60
    commands = [shlex.split(line)[2] for line in shown.splitlines() if line.startswith("$ dgl-moleblend")]
    assert commands == ["featurize", "pretrain", "featurize", "finetune", "finetune", "predict", "predict"]
    assert "unclosed ring" in shown
    held_out = pd.read_csv(out / "model" / "predictions.csv")
    again = pd.read_csv(out / "predictions.csv").set_index("row").loc[held_out["row"], "expt_predicted"]
    np.testing.assert_allclose(held_out["expt_predicted"], again, rtol=1e-4)
