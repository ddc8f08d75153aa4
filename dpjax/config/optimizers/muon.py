"""Options of the optimizers that orthogonalise the updates of matrices: AdaMuon and HybridMuon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least, check_choice
from dpjax.config.optimizers.adam import betas, check_fractions
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join

MUON_MODES = ("slice", "flat", "2d")
MUON_PRECISIONS = ("reference", "full")  # with the roundings of DeePMD-kit, and without


@dataclass(frozen=True, kw_only=True)
class AdaMuonConfig:
    """Muon on signs with a second moment for matrices, Adam for the rest.

    ``precision`` stands in the section ``dpjax``, as ``muon_precision``.
    """

    momentum: float = 0.95
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    weight_decay: float = 0.001
    lr_adjust: float = 10.0
    lr_adjust_coeff: float = 0.2
    precision: str = MUON_PRECISIONS[0]
    type: str = "AdaMuon"


@dataclass(frozen=True, kw_only=True)
class HybridMuonConfig:
    """Muon for matrices and stacks of them, Adam for the rest; ``precision`` as in :class:`AdaMuonConfig`."""

    momentum: float = 0.95
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    weight_decay: float = 0.001
    lr_adjust: float = 0.0
    lr_adjust_coeff: float = 0.18
    muon_mode: str = "slice"
    enable_gram: bool = True
    flash_muon: bool = True
    magma_muon: bool = True
    precision: str = MUON_PRECISIONS[0]
    type: str = "HybridMuon"


def _shared_options(lr_adjust: float, lr_adjust_coeff: float) -> list[Option]:
    return [
        Option(
            "momentum",
            float,
            "How slowly the running mean of the gradient of a matrix forgets; at least 0, below 1.",
            0.95,
            alias=["muon_momentum"],
        ),
        *betas(beta2=0.95),
        Option(
            "weight_decay",
            float,
            "Strength of the weight decay: matrices shrink by this times the learning rate in each step, biases and other "
            "vectors do not.",
            0.001,
        ),
        Option(
            "lr_adjust",
            float,
            "Above 0: Adam gets the learning rate divided by this, and the update of a matrix is scaled by sqrt(max(1, "
            "rows/columns)). 0 or less: Adam gets the whole rate, and the scale is lr_adjust_coeff * sqrt(max(rows, columns)).",
            lr_adjust,
        ),
        Option(
            "lr_adjust_coeff",
            float,
            "Factor in the scale of the updates of matrices; counts only if lr_adjust is 0 or less.",
            lr_adjust_coeff,
        ),
    ]


def _adamuon_options() -> list[Option]:
    return _shared_options(10.0, 0.2)


def _hybrid_options() -> list[Option]:
    return [
        *_shared_options(0.0, 0.18),
        Option(
            "muon_mode",
            str,
            "How a parameter with more than two axes is taken, axes of length 1 aside: `slice` as a stack of matrices of its "
            "last two axes, `flat` as one matrix whose rows are all axes but the last, `2d` by Adam.",
            "slice",
        ),
        Option(
            "enable_gram",
            bool,
            "Orthogonalise matrices that are not square by way of their Gram matrix, in float16; square ones, and all if "
            "false, are iterated themselves, in bfloat16.",
            True,
        ),
        Option(
            "flash_muon",
            bool,
            "Which kernel DeePMD-kit iterates matrices with on an NVIDIA GPU, where enable_gram leaves them.",
            True,
            no_effect="matrix products are compiled by XLA, which chooses their kernels",
        ),
        Option(
            "magma_muon",
            bool,
            "Make the steps of a matrix shorter while its gradient disagrees with the running mean of its gradients.",
            True,
        ),
    ]


def _check(cfg: AdaMuonConfig | HybridMuonConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_fractions(cfg, ("momentum", "adam_beta1", "adam_beta2"), path)
    yield from check_at_least(cfg, 0, ["weight_decay", "lr_adjust_coeff"], path)


def _check_hybrid(cfg: HybridMuonConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from _check(cfg, path, context)
    if cfg.muon_mode.lower() not in MUON_MODES:
        yield from check_choice(cfg.muon_mode, MUON_MODES, join(path, "muon_mode"))


ADAMUON = Component(
    "AdaMuon",
    AdaMuonConfig,
    _adamuon_options,
    _check,
    doc="Muon with a running mean of squared updates for parameters of two or more axes, Adam for the others.",
)
HYBRID_MUON = Component(
    "HybridMuon",
    HybridMuonConfig,
    _hybrid_options,
    _check_hybrid,
    doc="Muon for matrices, Adam for biases, vectors and parameters that are named for it.",
)
