"""Options of the layer-wise Kalman filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least, check_positive
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option


@dataclass(frozen=True, kw_only=True)
class LkfConfig:
    """Kalman filter whose covariance is kept in blocks of parameters; prefactors move geometrically in between."""

    kf_blocksize: int = 5120
    kf_start_pref_e: float = 1.0
    kf_limit_pref_e: float = 1.0
    kf_start_pref_f: float = 1.0
    kf_limit_pref_f: float = 1.0
    type: str = "LKF"


def _options() -> list[Option]:
    blocks = (
        "Most parameters that share a block of the covariance; larger parameters are cut into pieces. Memory and time grow "
        "with its square."
    )
    return [Option("kf_blocksize", int, blocks, 5120), *_prefactors("e", "energy"), *_prefactors("f", "force")]


def _prefactors(letter: str, what: str) -> list[Option]:
    doc = f"Prefactor of the {what} error in the updates of the filter at the "
    return [
        Option(f"kf_start_pref_{letter}", float, doc + "start of the training; must be positive.", 1.0),
        Option(f"kf_limit_pref_{letter}", float, doc + "end of the training; in between it moves geometrically.", 1.0),
    ]


def _check(cfg: LkfConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_at_least(cfg, 1, ["kf_blocksize"], path)
    # a geometric series cannot start from 0
    yield from check_positive(cfg, ["kf_start_pref_e", "kf_start_pref_f"], path)
    yield from check_at_least(cfg, 0, ["kf_limit_pref_e", "kf_limit_pref_f"], path)


LKF = Component(
    "LKF",
    LkfConfig,
    _options,
    _check,
    doc="Layer-wise Kalman filter: few but costly steps, for losses of energy and force.",
    built=False,
)
