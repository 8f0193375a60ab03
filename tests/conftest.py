"""Fixtures that any test may ask for; modules beside this file (`molecules`, `properties`) hold the rest."""

import dataclasses

import pytest
import torch
from molecules import AWKWARD_SMILES, Inputs, blended, featurized, lively

import dgl_moleblend as mb
from dgl_moleblend.nn.views import choice


@pytest.fixture
def generator() -> torch.Generator:
    """Randomness that is the same in every run."""
    return torch.Generator().manual_seed(20240501)


@pytest.fixture
def awkward(generator: torch.Generator) -> mb.RelationBatch:
    """All awkward molecules in one float64 batch, with positions but for aspirin."""
    with_positions = featurized(AWKWARD_SMILES, generator)
    has_conformer = with_positions.has_conformer.clone()
    has_conformer[AWKWARD_SMILES.index("CC(=O)Oc1ccccc1C(=O)O")] = False
    positions = with_positions.positions.double() * has_conformer[:, None, None]
    return dataclasses.replace(with_positions, positions=positions, has_conformer=has_conformer)


@pytest.fixture
def awkward_inputs(awkward: mb.RelationBatch, generator: torch.Generator) -> Inputs:
    """The awkward molecules with a blend and noise."""
    return blended(awkward, generator)


@pytest.fixture(params=[True, False], ids=["rows", "padded"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are computed without padding, as on CPU, or with it, as elsewhere."""
    monkeypatch.setattr(choice, "leaves_out_padding", lambda device: request.param)


@pytest.fixture
def encoder(layout: None) -> mb.MoleBlendEncoder:
    """A tiny encoder in float64, in evaluation mode, with weights far from 0."""
    return lively(mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()))


@pytest.fixture(params=["distance", "direction"])
def pretraining(request: pytest.FixtureRequest, layout: None) -> mb.BlendPretraining:
    """A tiny pretraining model in float64, in evaluation mode, with either 3D objective."""
    return lively(mb.BlendPretraining.from_config(mb.EncoderConfig.tiny(), objective_3d=request.param))


@pytest.fixture
def predictor(layout: None) -> mb.MoleBlendPredictor:
    """A tiny predictor of three tasks in float64, in evaluation mode."""
    return lively(mb.MoleBlendPredictor(n_tasks=3, encoder=mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())))
