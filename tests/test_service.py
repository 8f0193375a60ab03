"""The service of examples/: the model is loaded once, and each SMILES has its object."""

import runpy
from pathlib import Path

import pytest
from commands import SMILES
from fastapi.testclient import TestClient

import dgl_moleblend as mb

SERVICE = Path(__file__).parents[1] / "examples" / "service.py"


def test_service(tmp_path, monkeypatch):
    values = [float(len(smiles)) for smiles in SMILES]
    model = mb.finetune((SMILES, values), head="kernel", split="random", features=["morgan"], encoder=None,
                        out=tmp_path / "model", progress=False)  # fmt: skip
    monkeypatch.setenv("MODEL", str(tmp_path / "model"))
    client = TestClient(runpy.run_path(str(SERVICE))["app"])
    assert client.get("/health").json()["properties"] == ["y"]
    for _ in range(2):
        found = client.post("/predict", json={"smiles": ["CCO", "bad", "c1ccccc1"]}).json()
        assert [row["smiles"] for row in found] == ["CCO", "bad", "c1ccccc1"]
        assert [row["y_predicted"] is None for row in found] == [False, True, False]
        assert "cannot read SMILES" in found[1]["reason"]
        assert found[0]["y_predicted"] == pytest.approx(model.predict("CCO")["y_predicted"].item(), rel=1e-5)
    assert client.post("/predict", json={"smiles": "CCO"}).status_code == 422
