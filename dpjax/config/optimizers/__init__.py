"""The table of optimizers, and the ``optimizer`` argument."""

from __future__ import annotations

from dpjax.config.optimizers.adam import ADAM, ADAMW, AdamConfig, AdamWConfig
from dpjax.config.optimizers.lkf import LKF, LkfConfig
from dpjax.config.optimizers.muon import ADAMUON, HYBRID_MUON, MUON_PRECISIONS, AdaMuonConfig, HybridMuonConfig
from dpjax.config.schema import Option, Registry

OPTIMIZERS = Registry(
    "optimizer",
    (ADAM, ADAMW, LKF, ADAMUON, HYBRID_MUON),
    default="Adam",
    doc="Which rule turns gradients into updates.",
)


def argument() -> Option:
    """The ``optimizer`` argument."""
    return Option("optimizer", dict, "How gradients change the parameters.", sub_variants=[OPTIMIZERS.variant()])


__all__ = [
    "MUON_PRECISIONS",
    "OPTIMIZERS",
    "AdaMuonConfig",
    "AdamConfig",
    "AdamWConfig",
    "HybridMuonConfig",
    "LkfConfig",
    "argument",
]
