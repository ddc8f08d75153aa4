"""Options of the ``property`` loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_choice, check_positive
from dpjax.config.losses import options
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join

_MEASURES = ("smooth_mae", "mae", "mse", "rmse", "mape")


@dataclass(frozen=True, kw_only=True)
class PropertyLossConfig:
    """Loss of property models."""

    loss_func: str = "smooth_mae"
    metric: tuple[str, ...] = ("mae",)
    beta: float = 1.0
    type: str = "property"


def _options() -> list[Option]:
    return [options.loss_measure(_MEASURES), options.metric(_MEASURES), options.smooth_beta()]


def _check(cfg: PropertyLossConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_choice(cfg.loss_func, _MEASURES, join(path, "loss_func"))
    yield from options.check_metric(cfg.metric, _MEASURES, join(path, "metric"))
    yield from check_positive(cfg, ["beta"], path)


PROPERTY = Component(
    "property",
    PropertyLossConfig,
    _options,
    _check,
    doc="Errors of a property, in units of its spread over the data.",
)
