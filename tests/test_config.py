"""Settings check themselves, and say what is allowed, whoever sets them."""

import pickle

import pytest

import dgl_moleblend as mb
from dgl_moleblend.config import EncoderConfig, TrainingConfig
from dgl_moleblend.errors import ConfigError, MoleBlendError


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: EncoderConfig(num_heads=7), "num_heads=7 is not allowed\n  fix:   num_heads must be a divisor of 768"),
        (lambda: TrainingConfig().replace(warmup=2), "warmup=2 is not allowed\n  fix:   warmup must be in [0, 1]"),
        (
            lambda: EncoderConfig.from_dict({"num_layer": 3}),
            "EncoderConfig has no setting 'num_layer'\n  fix:   did you mean 'num_layers'?",
        ),
    ],
)
def test_what_is_wrong_and_what_is_allowed(make, text):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value) == text
    assert isinstance(error.value, MoleBlendError)
    assert isinstance(error.value, ValueError), "as whoever knows nothing of this package expects"
    assert str(pickle.loads(pickle.dumps(error.value))) == text


@pytest.mark.parametrize("config", [mb.FeaturizerConfig("embed", seed=3), EncoderConfig.tiny(dropout=0.2)])
def test_settings_go_to_json_and_back(config):
    assert type(config).from_json(config.to_json()) == config


def test_stored_featurizer_settings_without_chirality_mean_the_tag() -> None:
    assert mb.FeaturizerConfig.from_dict({"positions": "given"}).chirality == "tag"
    assert mb.FeaturizerConfig("given").chirality == "cip"
    with pytest.raises(mb.ConfigError, match="chirality='bogus' is not allowed"):
        mb.FeaturizerConfig(chirality="bogus")
