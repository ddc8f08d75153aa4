"""A training with the section ``model/modifier``: what is handed in for it, and how its dipole model travels with checkpoints.

The network learns labels minus a correction, which whoever evaluates the trained model adds again.  Both need the dipole model, so
its configuration and variables are part of every checkpoint.  What reads such a model and computes corrections lives to the right
of this package, and is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from dpjax.config import ModelConfig, parse_model
from dpjax.config.models.modifier import DipoleModel
from dpjax.data import System
from dpjax.errors import ConfigError

STATS = "modifier"  # where checkpoints have the variables of the dipole model, among the statistics
META = "modifier"  # where they describe it


class Modifiers(NamedTuple):
    """What is handed into a training.

    Attributes:
        bind: reads the dipole model that a configuration names, unless it has one already.
        correct: systems of data with the correction of a model taken off their labels.
    """

    bind: Callable[[ModelConfig], ModelConfig]
    correct: Callable[[ModelConfig, Sequence[System]], list[System]]


def with_bound_model(config: Any, initial: tuple[ModelConfig, dict] | None, modifiers: Modifiers | None) -> Any:
    """The input with the dipole model of its modifier, which is that of the model that is continued or is read from its file.

    Args:
        config: the whole input.
        initial: the model that is continued as it is; None where there is none.
        modifiers: what reads such models.
    """
    own = config.model.modifier
    if own is None:
        return config
    theirs = None if initial is None else initial[0].modifier
    if initial is not None and (theirs is None or theirs != own):
        raise ConfigError(
            f"model/modifier: found {own}, but the model to go on with has {theirs or 'none'}. Restart with the input that the "
            "checkpoint was made with."
        )
    if theirs is not None:
        return replace(config, model=replace(config.model, modifier=replace(own, dipole=theirs.dipole)))
    return replace(config, model=modifiers.bind(config.model))


def corrected(model: ModelConfig, systems: Sequence[System], modifiers: Modifiers | None) -> Sequence[System]:
    """The systems as the network of a model is to learn them."""
    return systems if model.modifier is None else modifiers.correct(model, systems)


def with_dipole_model(stats: Mapping[str, Any], model: ModelConfig) -> Mapping[str, Any]:
    """Statistics of a model as a checkpoint has them: with the variables of its dipole model."""
    return stats if model.modifier is None else {**stats, STATS: model.modifier.dipole.variables}


def description(model: ModelConfig) -> dict[str, Any] | None:
    """What a checkpoint says of the dipole model, JSON-able; None without one."""
    if model.modifier is None:
        return None
    own = model.modifier.dipole.config
    return {"model": own.raw, "conventions": own.conventions}


def restored(
    config: ModelConfig, stats: Mapping[str, Any], described: Mapping[str, Any] | None
) -> tuple[ModelConfig, dict[str, Any]]:
    """A model of a checkpoint, bound to its dipole model, and its own statistics alone.

    Args:
        config: as the checkpoint's input says.
        stats: of :func:`with_dipole_model`.
        described: of :func:`description`.
    """
    own = {name: value for name, value in stats.items() if name != STATS}
    if config.modifier is None:
        return config, own
    dipole = replace(parse_model(described["model"]), conventions=described["conventions"])
    bound = DipoleModel(dipole, jax.tree.map(np.asarray, stats[STATS]))
    return replace(config, modifier=replace(config.modifier, dipole=bound)), own
