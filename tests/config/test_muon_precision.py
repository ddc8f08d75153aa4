"""``dpjax/muon_precision``: two words, for the optimizers that round."""

from __future__ import annotations

import pytest

from dpjax import config
from dpjax.errors import ConfigError
from tests.config.inputs import water

KEY = "dpjax/muon_precision"


@pytest.mark.parametrize("optimizer", ["AdaMuon", "HybridMuon"])
def test_both_words(optimizer):
    assert config.load(water({"optimizer": {"type": optimizer}})).optimizer.precision == "reference"
    cfg = config.load(water({"optimizer": {"type": optimizer}, KEY: "full"}))
    assert cfg.optimizer.precision == cfg.dpjax.muon_precision == "full"
    assert "precision" not in cfg.raw["optimizer"]


@pytest.mark.parametrize(
    ("edits", "text"),
    [
        ({KEY: "float64"}, "found 'float64'. Choose one of: reference, full."),
        ({KEY: "full"}, "found 'full', but Adam computes in the precision of the parameters anyway."),
        ({KEY: "full", "optimizer": {"type": "AdamW"}}, "found 'full', but AdamW computes in"),
    ],
)
def test_what_cannot_be(edits, text):
    with pytest.raises(ConfigError) as info:
        config.load(water(edits))
    assert str(info.value).startswith(f"{KEY}: {text}")
