"""Options of Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dpjax.config.checks import check_at_least
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True, kw_only=True)
class AdamConfig:
    """Adam with an L2 term: ``weight_decay * p`` is added to the gradient of every parameter p."""

    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    weight_decay: float = 0.0
    type: str = "Adam"


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """Adam with weight decay: every parameter p is multiplied by ``1 - rate * weight_decay`` before its update."""

    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    weight_decay: float = 0.001
    type: str = "AdamW"


def betas(beta1: float = 0.9, beta2: float = 0.999) -> list[Option]:
    """How slowly the running means of Adam forget."""
    return [
        Option("adam_beta1", float, "How slowly the running mean of the gradient forgets; at least 0, below 1.", beta1),
        Option("adam_beta2", float, "How slowly the running mean of its square forgets; at least 0, below 1.", beta2),
    ]


def check_fractions(cfg: Any, keys: tuple[str, ...], path: str) -> Iterator[Problem]:
    """Each option must be at least 0 and less than 1."""
    for key in keys:
        if not 0 <= getattr(cfg, key) < 1:
            yield Problem(join(path, key), f"found {getattr(cfg, key)}; it must be at least 0 and less than 1.")


def _options() -> list[Option]:
    decay = "Strength of the L2 term: this times the parameter is added to its gradient."
    return [*betas(), Option("weight_decay", float, decay, 0.0)]


def _adamw_options() -> list[Option]:
    decay = "Strength of the weight decay: every parameter shrinks by this times the learning rate in each step."
    return [*betas(), Option("weight_decay", float, decay, 0.001)]


def _check(cfg: AdamConfig | AdamWConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_fractions(cfg, ("adam_beta1", "adam_beta2"), path)
    yield from check_at_least(cfg, 0, ["weight_decay"], path)


ADAM = Component("Adam", AdamConfig, _options, _check, doc="Adam, with an L2 term if wanted.")
ADAMW = Component(
    "AdamW", AdamWConfig, _adamw_options, _check, doc="Adam, with decay that the gradient has no part in."
)
