"""Widths of hidden layers that follow from the number of inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dpjax.descriptors.dpa4.sizes import rounded_up


def auto_width(n: int, factor: float = 8.0 / 3.0) -> int:
    """``factor * n``, rounded up to a multiple of 32."""
    return rounded_up(factor * n)


def with_widths(config: Any, dim_descriptor: int) -> Any:
    """Hyper-parameters of a fitting with a number in place of each width 0, which stands for 8/3 of the number of inputs."""
    if 0 not in config.neuron:
        return config
    masked = getattr(config, "use_aparam_as_mask", False)
    film = getattr(config, "case_film_embd", False)
    extra = config.numb_fparam + (0 if masked else config.numb_aparam) + (0 if film else config.dim_case_embd)
    width = auto_width(dim_descriptor + extra)
    return replace(config, neuron=tuple(n or width for n in config.neuron))
