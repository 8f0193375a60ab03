"""A model behind HTTP, loaded once: POST {"smiles": [..]} to /predict, and have one object for each in their order.

MODEL=model uvicorn --app-dir examples service:app      (pip install fastapi uvicorn)
"""

import os

from fastapi import FastAPI, Response
from pydantic import BaseModel, Field

import dgl_moleblend as mb

app = FastAPI(title="dgl-moleblend")
model = mb.load(os.environ.get("MODEL", "model"))


class Molecules(BaseModel):
    """What is asked."""

    smiles: list[str] = Field(max_length=10_000)


@app.post("/predict")
def predict(molecules: Molecules) -> Response:
    """Return a prediction for each SMILES; null, and a reason, for what is none."""
    table = model.predict(molecules.smiles, progress=False, accelerator="cpu")
    return Response(table.to_json(orient="records", double_precision=7), media_type="application/json")


@app.get("/health")
def health() -> dict[str, object]:
    """Return what the model predicts."""
    return {"model": model.name, "properties": model.task_names}
