"""Options of the ``dens`` loss of ``dpa4``: energies, forces that the model gives directly, and the noise it must find.

Some batches are disturbed: part of the atoms are displaced by random noise, and the model, which is shown the true forces of
these atoms, must give the displacements.  The other atoms must have their true forces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least, check_choice, check_positive
from dpjax.config.losses.options import NUMBER, check_prefactors, prefactors
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join, show


@dataclass(frozen=True, kw_only=True)
class DensLossConfig:
    """Loss of models that predict forces directly and learn from disturbed structures."""

    start_pref_e: float = 0.02
    limit_pref_e: float = 1.0
    start_pref_f: float = 1000
    limit_pref_f: float = 1.0
    loss_func: str = "mae"
    dens_prob: float = 0.5
    dens_fixed_noise_std: bool = True
    dens_std: float = 0.025  # angstrom
    dens_corrupt_ratio: float | None = 0.5  # None: all atoms
    dens_denoising_pos_coefficient: float = 10.0
    type: str = "dens"


def _options() -> list[Option]:
    return [
        *prefactors("e", "energy", "energy.npy", 0.02, 1.0),
        *prefactors("f", "force", "force.npy", 1000, 1.0),
        Option(
            "loss_func",
            str,
            "`mae` (absolute values; of forces and displacements, their lengths) or `mse` (squares, component by component).",
            "mae",
        ),
        *_noise_options(),
    ]


def _noise_options() -> list[Option]:
    return [
        Option("dens_prob", NUMBER, "Probability that a batch is disturbed.", 0.5),
        Option(
            "dens_fixed_noise_std",
            bool,
            "Whether the displacements have the same spread everywhere; there is no other way.",
            True,
        ),
        Option("dens_std", NUMBER, "Standard deviation of the displacements in angstrom.", 0.025),
        Option(
            "dens_corrupt_ratio",
            [*NUMBER, None],
            "Probability that an atom of a disturbed batch is displaced; null displaces all.",
            0.5,
        ),
        Option(
            "dens_denoising_pos_coefficient",
            NUMBER,
            "Prefactor of the error of the displacements that the model finds.",
            10.0,
        ),
    ]


def _check(cfg: DensLossConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_prefactors(cfg, ("e", "f"), path)
    yield from check_choice(cfg.loss_func, ("mae", "mse"), join(path, "loss_func"))
    for key in ("dens_prob", "dens_corrupt_ratio"):
        value = getattr(cfg, key)
        if value is not None and not 0 <= value <= 1:
            yield Problem(join(path, key), f"found {show(value)}; a probability lies between 0 and 1.")
    yield from check_positive(cfg, ["dens_std"], path)
    yield from check_at_least(cfg, 0, ["dens_denoising_pos_coefficient"], path)
    if not cfg.dens_fixed_noise_std:
        text = "found false, but displacements of varying spread do not exist. Set it to true or remove it."
        yield Problem(join(path, "dens_fixed_noise_std"), text)


DENS = Component(
    "dens",
    DensLossConfig,
    _options,
    _check,
    doc="Errors of energies and of forces that dpa4 gives directly, learnt with disturbed structures.",
)
