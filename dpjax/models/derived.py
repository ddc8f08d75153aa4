"""What some models cannot give: derivatives of direct or quantised forces, and what does not know of spins or modifiers."""

from __future__ import annotations

from dpjax.config import ModelConfig
from dpjax.errors import ModelError


def require_curvature(config: ModelConfig) -> None:
    """Raise where second derivatives are asked of a model whose energy has none, or none that follow from it.

    Raises:
        ModelError: it gives its forces directly, or is quantised.
    """
    require_derived(config, "hessian")
    if config.nvnmd is not None and config.nvnmd.quantizes:
        raise ModelError(
            "hessian: this model is quantised for the NVNMD hardware; its forces are steps, which have no derivatives. Take second "
            "derivatives of the continuous model that it was made from."
        )


def require_derived(config: ModelConfig, what: str) -> None:
    """Raise where ``what`` is asked of a model that gives its forces directly.

    Raises:
        ModelError: it does, so nothing that follows from derivatives of the energy exists.
    """
    if config.direct_forces:
        raise ModelError(
            f"{what}: this model was trained with the loss dens and gives its forces directly; they are no derivatives of its "
            "energy, so there are no virials, no second derivatives and no dynamics that conserve energy. Take energies and "
            "forces from Potential.evaluate or the ASE calculator, or train a model with the loss ener."
        )


def require_no_spins(config: ModelConfig, what: str) -> None:
    """Raise where ``what`` is asked of a model with spins.

    Raises:
        ModelError: it takes spins, which ``what`` cannot hand to it yet.
    """
    if config.virtual_scale:
        raise ModelError(
            f"{what}: not built yet for a model with spins (model/spin). Such a model is evaluated with Potential.evaluate(..., "
            "spin=...), dpjax.interfaces.deepmd.DeepPot, artifacts, the ASE calculator, JAX-MD and `dpjax test`."
        )


def require_no_modifier(config: ModelConfig, what: str) -> None:
    """Raise where ``what`` is asked of a model with a modifier.

    Raises:
        ModelError: it has one.
    """
    if config.modifier is not None:
        raise ModelError(
            f"{what}: not built for models with the modifier {config.modifier.type}, whose energy is that of a network and an "
            "Ewald sum. Energies, forces and virials come from Potential.evaluate, `dpjax test`, artifacts, ASE and JAX-MD."
        )
