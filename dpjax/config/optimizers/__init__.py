"""The table of optimizers, and the ``optimizer`` argument."""

from __future__ import annotations

from dpjax.config.optimizers.adam import ADAM, AdamConfig
from dpjax.config.schema import Option, Registry

OPTIMIZERS = Registry("optimizer", (ADAM,), default="Adam", doc="Which rule turns gradients into updates.")


def argument() -> Option:
    """The ``optimizer`` argument."""
    return Option("optimizer", dict, "How gradients change the parameters.", sub_variants=[OPTIMIZERS.variant()])


__all__ = ["OPTIMIZERS", "AdamConfig", "argument"]
