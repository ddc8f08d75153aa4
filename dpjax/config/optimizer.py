"""The ``optimizer`` section."""

from __future__ import annotations

from dataclasses import dataclass

from dpjax.config.schema import Component, Context, Option, Registry
from dpjax.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AdamConfig:
    """Adam with an L2 term: ``weight_decay * p`` is added to the gradient of every parameter p."""

    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    weight_decay: float = 0.0
    type: str = "Adam"


def _adam_options() -> list[Option]:
    return [
        Option("adam_beta1", float, "How slowly the running mean of the gradient forgets; at least 0, below 1.", 0.9),
        Option("adam_beta2", float, "How slowly the running mean of its square forgets; at least 0, below 1.", 0.999),
        Option(
            "weight_decay", float, "Strength of the L2 term: this times the parameter is added to its gradient.", 0.0
        ),
    ]


def _check_adam(cfg: AdamConfig, path: str, context: Context) -> None:
    for key in ("adam_beta1", "adam_beta2"):
        if not 0 <= getattr(cfg, key) < 1:
            raise ConfigError(f"{path}/{key}: found {getattr(cfg, key)}; it must be at least 0 and less than 1.")
    if cfg.weight_decay < 0:
        raise ConfigError(f"{path}/weight_decay: found {cfg.weight_decay}; it must not be negative.")


OPTIMIZERS = Registry(
    "optimizer",
    (Component("Adam", AdamConfig, _adam_options, _check_adam, doc="Adam, with an L2 term if wanted."),),
    planned=("AdamW", "LKF", "AdaMuon", "HybridMuon"),
    default="Adam",
    doc="Which rule turns gradients into updates.",
)


def argument() -> Option:
    """The ``optimizer`` argument."""
    return Option("optimizer", dict, "How gradients change the parameters.", sub_variants=[OPTIMIZERS.variant()])
