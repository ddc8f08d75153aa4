"""Learning rate as a function of the step: a linear warm-up, then ``exp``, ``cosine`` or ``wsd`` decay.

Steps count from 0 and the rate of step t is the one update t uses.  A schedule takes a Python int, which is evaluated on the host
in float64, or a traced integer, which is evaluated in float64 where x64 is on and in float32 otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.config import CosineConfig, ExpConfig, LearningRateConfig, WsdConfig, parse_learning_rate
from dpjax.config.learning_rate import DEFAULT_STOP_LR
from dpjax.errors import ConfigError

Schedule = Callable[[Any], Any]  # step () int -> learning rate () float

LOWEST_EXP_TARGET = 1e-10  # an exponential never reaches a stop_lr of 0; the rate of decay aims at this instead


def from_config(section: dict | LearningRateConfig, num_steps: int) -> Schedule:
    """The schedule of a ``learning_rate`` section.

    Args:
        section: the section as read from an input file, or its dataclass.
        num_steps: updates the training makes; ratios and the default decay rate refer to it.

    Returns:
        step () -> learning rate ().  ``scale_by_worker`` is left to the trainer, which knows the processes.

    Raises:
        ConfigError: a value is missing, contradictory or out of range, or the warm-up does not end before the training does.
    """
    cfg = parse_learning_rate(section) if isinstance(section, dict) else section
    warm = _warmup_steps(cfg, num_steps)
    decay = _DECAYS[type(cfg)](cfg, num_steps, num_steps - warm)
    return with_warmup(decay, cfg.start_lr * cfg.warmup_start_factor, cfg.start_lr, warm)


def with_warmup(decay: Schedule, low: float, high: float, n_step: int) -> Schedule:
    """Rises linearly from ``low`` at step 0 to ``high`` at ``n_step``, where ``decay`` starts with its own step 0."""
    if n_step == 0:
        return decay

    def schedule(step: Any) -> Any:
        xp = _module_of(step)
        rising = low + (high - low) * _real(step) / n_step
        return xp.where(step < n_step, rising, decay(xp.maximum(step - n_step, 0)))

    return schedule


def exponential(start: float, stop: float, decay_steps: int, rate: float, smooth: bool) -> Schedule:
    """``start * rate ** (step / decay_steps)``, in whole powers unless ``smooth``; never below ``stop``."""
    log_rate = math.log(rate)  # a rate close to 1 keeps its digits this way in single precision

    def schedule(step: Any) -> Any:
        xp = _module_of(step)
        power = _real(step) / decay_steps if smooth else _real(step // decay_steps)
        return xp.maximum(start * xp.exp(power * log_rate), stop)

    return schedule


def cosine(start: float, stop: float, n_step: int) -> Schedule:
    """Half a cosine wave from ``start`` to ``stop`` over ``n_step`` steps, constant afterwards."""
    if n_step == 0:
        return constant(start)
    ratio = stop / start

    def schedule(step: Any) -> Any:
        xp = _module_of(step)
        wave = 1.0 + xp.cos(math.pi * _real(step) / n_step)
        return xp.where(step < n_step, start * (ratio + 0.5 * (1.0 - ratio) * wave), stop)

    return schedule


def warmup_stable_decay(start: float, stop: float, n_stable: int, n_decay: int, shape: Callable) -> Schedule:
    """``start`` for ``n_stable`` steps, then from ``start`` to ``stop`` within ``n_decay`` steps along ``shape``."""

    def schedule(step: Any) -> Any:
        xp = _module_of(step)
        fraction = xp.clip(_real(step - n_stable) / n_decay, 0.0, 1.0)
        falling = xp.where(step < n_stable, start, shape(start, stop, fraction))
        return xp.where(step >= n_stable + n_decay, stop, falling)

    return schedule


def constant(value: float) -> Schedule:
    """The same rate at every step."""
    return lambda step: _real(step) * 0.0 + value


def _inverse_linear(start: float, stop: float, fraction: Any) -> Any:
    return 1.0 / (fraction / stop + (1.0 - fraction) / start)


def _half_wave(start: float, stop: float, fraction: Any) -> Any:
    return stop + 0.5 * (start - stop) * (1.0 + _module_of(fraction).cos(math.pi * fraction))


def _line(start: float, stop: float, fraction: Any) -> Any:
    return start + (stop - start) * fraction


_SHAPES = {"inverse_linear": _inverse_linear, "cosine": _half_wave, "linear": _line}


def _exp_from(cfg: ExpConfig, num_steps: int, n_decay: int) -> Schedule:
    del num_steps
    stop, every, rate = _stop_lr(cfg), cfg.decay_steps, cfg.decay_rate
    if rate is None:
        if every >= n_decay:  # too coarse to decay at all: about a hundred stages, or one step each in a short run
            every = 100 if n_decay // 10 > 100 else n_decay // 100 + 1
        aim = max(stop, LOWEST_EXP_TARGET) / cfg.start_lr
        rate = math.exp(math.log(aim) * every / n_decay) if n_decay else 1.0
    return exponential(cfg.start_lr, stop, every, rate, cfg.smooth)


def _cosine_from(cfg: CosineConfig, num_steps: int, n_decay: int) -> Schedule:
    del num_steps
    return cosine(cfg.start_lr, _stop_lr(cfg), n_decay)


def _wsd_from(cfg: WsdConfig, num_steps: int, n_decay: int) -> Schedule:
    phase = max(1, min(int(cfg.decay_phase_ratio * num_steps), n_decay))
    return warmup_stable_decay(cfg.start_lr, _stop_lr(cfg), n_decay - phase, phase, _SHAPES[cfg.decay_type])


_DECAYS = {ExpConfig: _exp_from, CosineConfig: _cosine_from, WsdConfig: _wsd_from}


def _stop_lr(cfg: LearningRateConfig) -> float:
    if cfg.stop_lr_ratio is not None:
        return cfg.start_lr * cfg.stop_lr_ratio
    return DEFAULT_STOP_LR if cfg.stop_lr is None else cfg.stop_lr


def _warmup_steps(cfg: LearningRateConfig, num_steps: int) -> int:
    if num_steps < 0:
        raise ConfigError(f"training/numb_steps: found {num_steps}; it must not be negative.")
    key, given, n_warm = "warmup_steps", cfg.warmup_steps, cfg.warmup_steps
    if cfg.warmup_ratio is not None:
        key, given, n_warm = "warmup_ratio", cfg.warmup_ratio, int(cfg.warmup_ratio * num_steps)
    if n_warm >= max(num_steps, 1):
        raise ConfigError(
            f"learning_rate/{key}: found {given}, a warm-up of {n_warm} steps, which does not end before the {num_steps} steps of "
            "the training do. Shorten the warm-up or train longer."
        )
    return n_warm


def _module_of(value: Any) -> Any:
    """jax.numpy for traced and device values, numpy for host numbers: no dispatch and float64 for a printed rate."""
    return jnp if isinstance(value, jax.Array) else np


def _real(value: Any) -> Any:
    return value.astype(float) if isinstance(value, jax.Array) else np.float64(value)
