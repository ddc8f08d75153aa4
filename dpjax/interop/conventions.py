"""Where a model that dpjax built gives other numbers in DeePMD-kit, which then must not get it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dpjax.config import ModelConfig
from dpjax.config.descriptors import SeAttenConfig, SeAttenV2Config
from dpjax.descriptors import members
from dpjax.descriptors.se_atten import empty_types_matter
from dpjax.errors import ModelError

Tree = dict[str, Any]


def check_conventions(config: ModelConfig, stats: Tree) -> None:
    """Raise if DeePMD-kit would evaluate a model of the "corrected" convention differently.

    Empty places get the vector of padding here and, in DeePMD-kit, that of the type of the frame's first atom.  It has an effect
    where their rows of the environment matrix are not zero: where ``davg`` is not.

    Args:
        config: of the model.
        stats: statistics of its descriptor.

    Raises:
        ModelError: with what to do about it.
    """
    if config.conventions == "reference":
        return
    for path, member, own in _parts(config.descriptor, stats):
        if not isinstance(member, (SeAttenConfig, SeAttenV2Config)) or not empty_types_matter(member):
            continue
        if np.any(np.asarray(own["davg"])):
            raise ModelError(
                f"{path}: DeePMD-kit would give other energies for this model, because the mean of its environment (davg) is not "
                "zero and DeePMD-kit gives empty neighbour places the vector of whatever type the first atom has. Train with "
                'set_davg_zero true, or with tebd_input_mode "strip" and smooth_type_embedding true; or build the model with '
                'conventions "reference", to have the energies of DeePMD-kit.'
            )


def _parts(descriptor: Any, stats: Tree) -> Iterator[tuple[str, Any, Tree]]:
    """Where each descriptor stands in the input, its configuration and its statistics."""
    own = members(descriptor)
    if descriptor is own[0]:
        yield "model/descriptor", descriptor, stats
        return
    for i, member in enumerate(own):
        yield f"model/descriptor/list/{i}", member, stats[f"members_{i}"]
