"""Options of the layer-wise Kalman filter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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


def check_kalman_training(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """What a training with this optimizer cannot have.

    Args:
        parts: the dataclasses of the sections of an input, by name; those that are not there are not looked at.
    """
    if not isinstance(parts.get("optimizer"), LkfConfig):
        return
    if (loss := parts.get("loss")) is not None:
        yield from _check_loss(loss)
    if (training := parts.get("training")) is not None:
        yield from _check_numbers(training)


def _check_loss(loss: Any) -> Iterator[Problem]:
    if loss.type != "ener":
        yield Problem(
            "loss/type", f"found {loss.type!r}, but optimizer LKF fits energies and forces: take the loss `ener`."
        )
        return
    for letter in ("e", "f"):
        if not _active(loss, letter):
            text = "zero, but optimizer LKF needs energies and forces; give it and its limit_pref a value above 0."
            yield Problem(f"loss/start_pref_{letter}", text)
    for letter in ("v", "h", "ae", "pf", "gf"):
        if _active(loss, letter):
            text = "not zero, but optimizer LKF fits energies and forces only; set it to 0, or take another optimizer."
            yield Problem(f"loss/start_pref_{letter}", text)
    if loss.enable_atom_ener_coeff:
        text = "found true, but optimizer LKF fits the plain sum of atomic energies; take another optimizer."
        yield Problem("loss/enable_atom_ener_coeff", text)


def _active(loss: Any, letter: str) -> bool:
    """Whether the loss has this term."""
    return bool(getattr(loss, f"start_pref_{letter}") and getattr(loss, f"limit_pref_{letter}"))


def _check_numbers(training: Any) -> Iterator[Problem]:
    alone = {
        "zero_stage": (0, "its covariance is not split over devices"),
        "acc_freq": (1, "each batch makes updates of its own"),
        "gradient_max_norm": (0, "gradients are slopes to it, whose length has a meaning"),
        "mixed_precision": (None, "it computes slopes in the precision of the parameters"),
    }
    for key, (neutral, reason) in alone.items():
        value = getattr(training, key)
        if value not in (None, neutral):
            text = f"found {value}, but optimizer LKF has no such thing: {reason}. Remove the key, or take another optimizer."
            yield Problem(f"training/{key}", text)


LKF = Component(
    "LKF",
    LkfConfig,
    _options,
    _check,
    doc="Layer-wise Kalman filter: few but costly steps, for losses of energy and force.",
)
