"""Where a model that dpjax built gives other numbers in DeePMD-kit, or none; which then must not get it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from dpjax.config import ModelConfig
from dpjax.config.descriptors import DESCRIPTORS, DPA2Config, Dpa4Config, SeAttenConfig, SeAttenV2Config
from dpjax.config.descriptors.hybrid import descriptor_parts
from dpjax.config.descriptors.kinds import ONLY_TENSORFLOW
from dpjax.config.fittings.tensor import TensorFittingConfig
from dpjax.config.models import LinearEnergyConfig, PairTableConfig, PairwiseDPRcConfig
from dpjax.config.models.standard import WITHOUT_VECTORS
from dpjax.descriptors import cutoff, is_one_of, members
from dpjax.descriptors.dpa2.parts import repinit_of
from dpjax.descriptors.se_atten import empty_types_matter
from dpjax.errors import ModelError
from dpjax.interop import parts
from dpjax.models.linear import part_name

log = logging.getLogger(__name__)

Tree = dict[str, Any]
_ONLY_TENSORFLOW = (
    "only DeePMD-kit's TensorFlow backend has such models, and DeePMD-kit cannot evaluate one from a .dp or .yaml file. Write it "
    "as an artifact, dpjax.export.save(pot, 'model.dpx'), or keep its checkpoint."
)


def check_written(config: Any, stats: Tree) -> None:
    """:func:`check_conventions` of a model and of all that it is made of.

    Args:
        config: of the model.
        stats: its collection ``stats``.

    Raises:
        ModelError: with what to do about it.
    """
    if isinstance(config, PairTableConfig):
        return
    if isinstance(config, PairwiseDPRcConfig):
        raise ModelError(f"model/type: {_ONLY_TENSORFLOW}")
    parts.check_readable(config)
    if isinstance(config, LinearEnergyConfig):
        for i, part in enumerate(config.parts):
            check_written(part, stats[part_name(i)])
        return
    if (
        config.use_srtab is not None
        and config.conventions == "corrected"
        and cutoff(config.descriptor) > 46 * config.smin_alpha
    ):
        log.warning(
            "DeePMD-kit evaluates atoms differently whose neighbours are all farther than %.3g angstrom (46 smin_alpha): it gives "
            "them the energy of the pair table", 46 * config.smin_alpha,
        )  # fmt: skip
    check_conventions(config, stats["descriptor"])


def check_conventions(config: ModelConfig, stats: Tree) -> None:
    """Raise if DeePMD-kit would evaluate a model differently, or not at all.

    With the "corrected" convention empty places get the vector of padding here and, in DeePMD-kit, that of the type of the frame's
    first atom.  It has an effect where their rows of the environment matrix are not zero: where ``davg`` is not.

    Tensors are made of the descriptor's vectors.  Of a hybrid DeePMD-kit expects as many as all its members are wide, also of those
    that have none, and fails on the shapes.

    Args:
        config: of the model.
        stats: statistics of its descriptor.

    Raises:
        ModelError: with what to do about it.
    """
    if config.compress is not None:
        raise ModelError(
            "a compressed model is not written for DeePMD-kit (.dp, .yaml), whose tables differ from these. Convert the model "
            "it was made from, and compress that with `dp compress`; or write this one as an artifact: "
            "dpjax.export.save(pot, 'model.dpx')."
        )
    if config.direct_forces:
        raise ModelError(
            "a model that gives its forces directly (trained with the loss dens) is not written for DeePMD-kit (.dp, .yaml), whose "
            "direct forces do not turn with the structure. Write it as an artifact: dpjax.export.save(pot, 'model.dpx')."
        )
    _check_backends(config)
    if config.nvnmd is not None:
        raise ModelError(
            "DeePMD-kit cannot evaluate a model for the NVNMD hardware from a .dp or .yaml file. Its weights are in the files that "
            "`dpjax train-nvnmd` writes; write the model as an artifact: dpjax.export.save(pot, 'model.dpx')."
        )
    _check_vectors(config)
    if config.conventions == "reference":
        return
    if config.bridge is not None:
        raise ModelError(
            'model/bridging_method: DeePMD-kit cannot evaluate the repulsion of a "corrected" model, which fades before the '
            "cut-off; its own ends there with a jump. Write the model as an artifact, dpjax.export.save(pot, 'model.dpx'); or "
            'build it with conventions "reference", to have the energies of DeePMD-kit.'
        )
    for path, member, own in _parts(config.descriptor, stats):
        smooth = "smooth_type_embedding"
        if isinstance(member, DPA2Config):  # whose layers give empty places no vector
            path, member, own, smooth = f"{path}/repinit", repinit_of(member), own["repinit"], "the descriptor's smooth"
        if not isinstance(member, (SeAttenConfig, SeAttenV2Config)) or not empty_types_matter(member):
            continue
        if np.any(np.asarray(own["davg"])):
            raise ModelError(
                f"{path}: DeePMD-kit would give other energies for this model, because the mean of its environment (davg) is not "
                "zero and DeePMD-kit gives empty neighbour places the vector of whatever type the first atom has. Train with "
                f'set_davg_zero true, or with tebd_input_mode "strip" and {smooth} true; or build the model with '
                'conventions "reference", to have the energies of DeePMD-kit.'
            )


def unread(config: ModelConfig) -> str:
    """Why DeePMD-kit does not read the file of a model that it could evaluate; empty if it does."""
    if not any(isinstance(member, Dpa4Config) for member in members(config.descriptor)):
        return ""
    return (
        "this file is for dpjax: DeePMD-kit's own for dpa4 hold tables beside the weights that are not written here. It is read "
        "from there (.dp, .pt), not yet the other way."
    )


def _check_backends(config: ModelConfig) -> None:
    """Raise if no file of DeePMD-kit holds such a model: its TensorFlow backend keeps models as graphs."""
    own = [f"{path}/type" for path, member in descriptor_parts(config.descriptor) if is_one_of(member, ONLY_TENSORFLOW)]
    found = ["model/type_embedding"] if config.type_embedding is not None else own
    if found:
        raise ModelError(f"{found[0]}: {_ONLY_TENSORFLOW}")


def _check_vectors(config: ModelConfig) -> None:
    if not isinstance(config.fitting_net, TensorFittingConfig):
        return
    for i, member in enumerate(members(config.descriptor)):
        if isinstance(member, WITHOUT_VECTORS):
            raise ModelError(
                f"model/descriptor/list/{i}: DeePMD-kit cannot evaluate a {DESCRIPTORS.name_of(member)!r} in the descriptor of "
                "a tensor model, because it has no vectors that turn with the frame. Evaluate the model with dpjax, from its "
                "checkpoint, or train one without this member."
            )


def _parts(descriptor: Any, stats: Tree) -> Iterator[tuple[str, Any, Tree]]:
    """Where each descriptor stands in the input, its configuration and its statistics."""
    own = members(descriptor)
    if descriptor is own[0]:
        yield "model/descriptor", descriptor, stats
        return
    for i, member in enumerate(own):
        yield f"model/descriptor/list/{i}", member, stats[f"members_{i}"]
