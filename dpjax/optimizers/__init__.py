"""Optimizers as chains of small optax transformations, chosen by the ``optimizer`` section.

The learning rate enters once, at the end of the chain.  Clipping (:func:`clip_by_global_norm`) goes before the optimizer,
:func:`accumulate` around both, and :func:`freeze` around all, so that frozen parameters neither count in the norm, nor have state,
nor move::

    tx = optax.chain(clip_by_global_norm(max_norm), from_config(section, schedule))
    tx = freeze(accumulate(tx, every), trainable)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optax

from dpjax.config import AdamConfig, parse_optimizer
from dpjax.config.optimizers import AdaMuonConfig, AdamWConfig, HybridMuonConfig, LkfConfig
from dpjax.errors import ConfigError
from dpjax.optimizers.accumulation import accumulate
from dpjax.optimizers.adam import adam, adamw
from dpjax.optimizers.adamuon import adamuon
from dpjax.optimizers.clipping import clip_by_global_norm, global_norm, nonfinite_names
from dpjax.optimizers.freezing import freeze, parameter_names
from dpjax.optimizers.hybrid_muon import hybrid_muon
from dpjax.optimizers.lkf import kalman_filter
from dpjax.optimizers.rate import scale_by_rate

BUILDERS: dict[type, Callable[..., optax.GradientTransformationExtraArgs]] = {
    AdamConfig: adam,
    AdamWConfig: adamw,
    AdaMuonConfig: adamuon,
    HybridMuonConfig: hybrid_muon,
}


def from_config(
    section: dict | AdamConfig, schedule: optax.Schedule, order: Sequence[str] | None = None
) -> optax.GradientTransformationExtraArgs:
    """The optimizer of an ``optimizer`` section.

    Args:
        section: the section as read from an input file, or its dataclass.
        schedule: step -> learning rate; the first update uses step 0. ``update(..., learning_rate=rate)`` imposes another one.
        order: for LKF, which has no learning rate: names of the trained parameters, in the order that decides which share a block;
            None: all, in tree order. See :func:`kalman_filter`.

    Raises:
        ConfigError: the section is malformed or asks for an optimizer that is not built yet.
    """
    cfg = parse_optimizer(section) if isinstance(section, dict) else section
    if isinstance(cfg, LkfConfig):
        return kalman_filter(cfg, order)
    if type(cfg) not in BUILDERS:
        raise ConfigError(f"optimizer/type: {type(cfg).__name__} has no gradient transformation of its own.")
    return BUILDERS[type(cfg)](cfg, schedule)


__all__ = [
    "accumulate",
    "adam",
    "adamuon",
    "adamw",
    "clip_by_global_norm",
    "freeze",
    "from_config",
    "global_norm",
    "hybrid_muon",
    "kalman_filter",
    "nonfinite_names",
    "parameter_names",
    "scale_by_rate",
]
