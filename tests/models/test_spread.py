"""Heads of mean and variance, and of quantiles: losses against values by hand, and what they learn of made-up noise."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

import dgl_moleblend as mb
from dgl_moleblend.config import ConfigError
from dgl_moleblend.models.losses import property_loss
from dgl_moleblend.models.spread import LEVELS, OUTPUTS, deviation_of, spread_loss
from dgl_moleblend.models.targets import LabelScaling

ONE = math.log(math.e - 1)  # softplus of it is 1
NAN = float("nan")


def test_likelihood_by_hand():
    outputs = torch.tensor([[[2.0, ONE]], [[2.0, ONE]], [[2.0, ONE]]], dtype=torch.float64)
    target, bounds = torch.tensor([[3.0], [3.0], [3.0]], dtype=torch.float64), torch.tensor([[0], [1], [-1]])
    # the error is one deviation (but for the least variance): 1 / 2 + ln √2π; P(y > 3) = 0.1587, P(y < 3) = 0.8413
    expected = [0.5 + 0.9189385, -math.log(0.1586553), -math.log(0.8413447)]
    assert spread_loss(outputs, target, "gaussian", bounds)[:, 0].tolist() == pytest.approx(expected, abs=3e-4)
    assert deviation_of(outputs, "gaussian").tolist() == [[pytest.approx(1, abs=1e-4)]] * 3


def test_pinball_by_hand():
    """Quantiles 1, 2 and 3. A label of 2.5 is 1.5 and 0.5 above the lower ones and 0.5 below the upper one."""
    outputs = torch.tensor([[[2.0, ONE, ONE]]] * 3)
    target, bounds = torch.full((3, 1), 2.5), torch.tensor([[0], [1], [-1]])
    costs = np.array([0.05 * 1.5, 0.5 * 0.5, 0.05 * 0.5])
    expected = [
        costs.sum() / 3,
        costs[:2].sum() / 3,
        costs[2] / 3,
    ]  # > 2.5: the upper one is right
    assert spread_loss(outputs, target, "quantile", bounds)[:, 0].tolist() == pytest.approx(expected, rel=1e-5)
    assert deviation_of(outputs, "quantile")[0, 0].item() == pytest.approx(1 / 1.6448536, rel=1e-5)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_loss_is_least_at_the_true_distribution(kind):
    generator = torch.Generator().manual_seed(0)
    labels = 3 + 2 * torch.randn(20_000, 1, generator=generator)
    labels[::10] = NAN
    outputs = torch.zeros(1, 1, OUTPUTS[kind], requires_grad=True)
    optimizer = torch.optim.LBFGS([outputs], max_iter=100)
    scaling = LabelScaling((1.0,), (4.0,))

    def closure():
        optimizer.zero_grad()
        loss = property_loss(outputs.expand(len(labels), -1, -1), labels, "regression", scaling, loss=kind)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = outputs.detach()
    assert scaling.restore(found[..., 0]).item() == pytest.approx(3, abs=0.1)
    assert (4 * deviation_of(found, kind)).item() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("readout", ["token", "mean"])
def test_a_predictor_gives_its_prediction_and_keeps_what_it_is(tmp_path, kind, readout):
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny())
    predictor = mb.MoleBlendPredictor(3, encoder, readout=readout, spread=kind).eval()
    featurizer = mb.MoleculeFeaturizer()
    batch = mb.RelationBatch.from_graphs([featurizer("CCO"), featurizer("c1ccccc1")])
    outputs = predictor.outputs(batch)
    assert outputs.shape == (2, 3, OUTPUTS[kind])
    torch.testing.assert_close(predictor(batch), outputs[..., 0])
    predictor.save_pretrained(tmp_path / "m")
    again = mb.MoleBlendPredictor.from_pretrained(tmp_path / "m").eval()
    assert again.spread == kind
    torch.testing.assert_close(again.outputs(batch), outputs)
    with pytest.raises(ConfigError, match="spread='laplace' is not allowed"):
        mb.MoleBlendPredictor(1, encoder, spread="laplace")


def test_quantiles_are_those_of_their_levels():
    assert norm.cdf(-1.6448536269514722) == pytest.approx(LEVELS[0])
