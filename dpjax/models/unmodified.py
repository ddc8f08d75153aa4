"""What is not built for models with a modifier, whose energy is more than that of the network."""

from __future__ import annotations

from dpjax.config import ModelConfig
from dpjax.errors import ModelError


def refuse_modifier(config: ModelConfig, what: str) -> None:
    """Raise where ``what`` is asked of a model with a modifier.

    Raises:
        ModelError: it has one.
    """
    if config.modifier is not None:
        raise ModelError(
            f"{what}: not built for models with the modifier {config.modifier.type}, whose energy is that of a network and an "
            "Ewald sum. Energies, forces and virials come from Potential.evaluate, `dpjax test`, and the ASE calculator."
        )
