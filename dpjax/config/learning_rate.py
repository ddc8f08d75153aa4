"""The ``learning_rate`` section: start, stop, warm-up, and how the rate falls in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least, check_choice, check_positive
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option, Registry
from dpjax.config.suggestions import join

DEFAULT_STOP_LR = 5e-8  # filled in when neither stop_lr nor stop_lr_ratio is given


@dataclass(frozen=True, kw_only=True)
class LearningRateConfig:
    """What every schedule has; steps count updates of the parameters."""

    start_lr: float
    stop_lr: float | None = None
    stop_lr_ratio: float | None = None  # stop_lr = start_lr * stop_lr_ratio; exactly one of the two is set
    warmup_steps: int = 0
    warmup_ratio: float | None = None  # of all steps; not together with warmup_steps
    warmup_start_factor: float = 0.0
    scale_by_worker: str = "linear"
    type: str = "exp"


@dataclass(frozen=True, kw_only=True)
class ExpConfig(LearningRateConfig):
    """Exponential decay, in steps or smooth."""

    decay_steps: int = 5000
    decay_rate: float | None = None
    smooth: bool = False


@dataclass(frozen=True, kw_only=True)
class CosineConfig(LearningRateConfig):
    """Half a cosine from start to stop."""

    type: str = "cosine"


@dataclass(frozen=True, kw_only=True)
class WsdConfig(LearningRateConfig):
    """Warm-up, stable phase, decay phase."""

    type: str = "wsd"
    decay_phase_ratio: float = 0.1
    decay_type: str = "inverse_linear"


def _exp_options() -> list[Option]:
    return [
        Option(
            "decay_steps",
            int,
            "Steps after which the rate falls by decay_rate. If the run is not longer than this and decay_rate is "
            "not given, a "
            "shorter interval is chosen.",
            5000,
        ),
        Option(
            "decay_rate",
            [float, None],
            "Factor per decay_steps; null chooses it so that the rate ends at stop_lr.",
            None,
        ),
        Option("smooth", bool, "Let the rate fall a little at every step instead of once per decay_steps.", False),
    ]


def _wsd_options() -> list[Option]:
    return [
        Option("decay_phase_ratio", float, "Part of all steps that the decay at the end takes.", 0.1),
        Option("decay_type", str, f"Shape of the decay: {', '.join(_DECAY_TYPES)}.", "inverse_linear"),
    ]


_DECAY_TYPES = ("inverse_linear", "cosine", "linear")
_SCALES = ("linear", "sqrt", "none")


def _check_common(cfg: LearningRateConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_positive(cfg, ["start_lr"], path)
    yield from check_at_least(cfg, 0, ["warmup_steps", "warmup_start_factor"], path)
    for key, other, given in (
        ("stop_lr_ratio", "stop_lr", cfg.stop_lr),
        ("warmup_ratio", "warmup_steps", cfg.warmup_steps),
    ):
        value = getattr(cfg, key)
        if value is not None and given:
            text = f"found {value} together with {other} {given}; they exclude each other. Keep one."
            yield Problem(join(path, key), text)
    if cfg.warmup_ratio is not None and not 0 <= cfg.warmup_ratio < 1:
        yield Problem(join(path, "warmup_ratio"), f"found {cfg.warmup_ratio}; it must be at least 0 and less than 1.")
    yield from check_choice(cfg.scale_by_worker, _SCALES, join(path, "scale_by_worker"))


def _check_exp(cfg: ExpConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from _check_common(cfg, path, context)
    yield from check_at_least(cfg, 1, ["decay_steps"], path)
    if cfg.decay_rate is not None and not 0 < cfg.decay_rate <= 1:
        yield Problem(join(path, "decay_rate"), f"found {cfg.decay_rate}; it must be greater than 0 and at most 1.")


def _check_wsd(cfg: WsdConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from _check_common(cfg, path, context)
    for key in ("stop_lr", "stop_lr_ratio"):
        value = getattr(cfg, key)
        if value is not None and value <= 0:
            yield Problem(join(path, key), f"found {value}; the wsd schedule needs a positive final rate.")
    if not 0 < cfg.decay_phase_ratio <= 1:
        text = f"found {cfg.decay_phase_ratio}; it must be greater than 0 and at most 1."
        yield Problem(join(path, "decay_phase_ratio"), text)
    yield from check_choice(cfg.decay_type, _DECAY_TYPES, join(path, "decay_type"))


LEARNING_RATES = Registry(
    "learning rate",
    (
        Component("exp", ExpConfig, _exp_options, _check_exp, doc="Exponential decay."),
        Component("cosine", CosineConfig, list, _check_common, doc="Half a cosine from start_lr to stop_lr."),
        Component("wsd", WsdConfig, _wsd_options, _check_wsd, doc="Constant after the warm-up, decay at the end."),
    ),
    default="exp",
    doc="How the learning rate changes.",
)


def argument() -> Option:
    """The ``learning_rate`` argument."""
    return Option(
        "learning_rate",
        dict,
        "The step size of the optimizer during training.",
        sub_fields=[
            Option("start_lr", float, "Learning rate at the start, after the warm-up.", REQUIRED),
            Option(
                "stop_lr",
                [float, None],
                f"Learning rate at the end; {DEFAULT_STOP_LR:g} if stop_lr_ratio is absent too.",
                None,
            ),
            Option(
                "stop_lr_ratio", [float, None], "The same as a fraction of start_lr; not together with stop_lr.", None
            ),
            Option(
                "warmup_steps",
                int,
                "Steps over which the rate rises linearly to start_lr; not together with warmup_ratio.",
                0,
            ),
            Option("warmup_ratio", [float, None], "Length of the warm-up as a fraction of all steps.", None),
            Option("warmup_start_factor", float, "The warm-up starts at this fraction of start_lr.", 0.0),
            Option(
                "scale_by_worker",
                str,
                f"How the rate grows with the number of worker processes: {', '.join(_SCALES)}. One process changes "
                "nothing.",
                "linear",
            ),
        ],
        sub_variants=[LEARNING_RATES.variant()],
    )


def fill(section: dict) -> None:
    """Put in the final rate where the section names none."""
    if section.get("stop_lr") is None and section.get("stop_lr_ratio") is None:
        section["stop_lr"] = DEFAULT_STOP_LR
