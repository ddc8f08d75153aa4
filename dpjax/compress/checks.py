"""What can be compressed, and what a compressed model cannot do."""

from __future__ import annotations

import math
from typing import Any

from dpjax.config import ModelConfig
from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.descriptors.hybrid import descriptor_parts
from dpjax.config.descriptors.kinds import OPEN
from dpjax.config.models.compress import Compression
from dpjax.descriptors import is_one_of
from dpjax.descriptors.se_atten import is_stripped
from dpjax.errors import ModelError
from dpjax.models import require_no_spins
from dpjax.models.derived import require_no_modifier

TABULATED = ("se_e2_a", "se_e2_r", "se_e3", "se_e3_tebd", "se_atten", "se_atten_v2")


def check_compressible(config: ModelConfig) -> None:
    """Raise unless every embedding network of a model is a function of one number.

    Raises:
        ModelError: it is compressed already, or a descriptor cannot be; with the option and the reason.
    """
    require_no_modifier(config, "compression")
    if config.compress is not None:
        raise ModelError("the model is compressed already; compress the one it was made from, to have other tables")
    if not isinstance(config, ModelConfig) or config.use_srtab is not None:
        kind = "with a pair table (use_srtab)" if isinstance(config, ModelConfig) else f"of type {config.type!r}"
        raise ModelError(f"a model {kind} cannot be compressed; `dpjax freeze` writes it as it is")
    require_no_spins(config, "compression")
    if config.nvnmd is not None:
        raise ModelError(
            "nvnmd: a model for the NVNMD hardware has tables of its own once it is quantised; there are no others"
        )
    for path, member in descriptor_parts(config.descriptor):
        reason = _of_types(config, member) or _obstacle(member)
        if reason:
            raise ModelError(f"{path}: {DESCRIPTORS.name_of(member)!r} cannot be compressed: {reason}")


def _of_types(config: ModelConfig, member: Any) -> str:
    """Why the networks of a descriptor that take types in a way of its own, or the model's, have no tables; empty where they do."""
    if is_one_of(member, ("se_a_tpe", "se_a_ebd_v2")) or (
        config.type_embedding is not None and is_one_of(member, ("se_e2_a",))
    ):
        return (
            "tables of networks that are told types by vectors of the model, or by its own, are not built. `dpjax freeze` "
            "writes the model as it is, with series that are as exact as the networks"
        )
    return ""


def _obstacle(config: Any) -> str:
    """Why a descriptor has no table; empty where it has."""
    if is_one_of(config, ("loc_frame",)):
        return "it has no embedding networks, so there is nothing to put into tables"
    if is_one_of(config, OPEN):
        return "it has no cut-off, so there is no end to its tables; `dpjax freeze` writes the model as it is"
    if not is_one_of(config, TABULATED):
        return "its embedding depends on more than one number; `dpjax freeze` writes the model as it is"
    layers = getattr(config, "attn_layer", 0)
    if layers:
        return (
            f"it has attn_layer {layers}, and what attention makes of a neighbour depends on all others. DeePMD-kit would store "
            "only what the network of the types gives. Only models with attn_layer 0 have tables"
        )
    mixes = getattr(config, "tebd_input_mode", "strip") != "strip" and is_one_of(config, ("se_e3_tebd",))
    if mixes or (is_one_of(config, ("se_atten", "se_atten_v2")) and not is_stripped(config)):
        return (
            'its network takes type vectors beside the number (tebd_input_mode "concat"). Only models trained with '
            'tebd_input_mode "strip", which gives types a network of their own, have tables'
        )
    return ""


def check_options(options: Compression, rcut: float) -> None:
    """Raise ModelError where an option of the tables is out of range; ``rcut`` in angstrom."""
    rules = (
        (
            "min_nbor_dist",
            0 < options.min_nbor_dist < rcut,
            f"a distance in angstrom above 0 and below the cut-off, {rcut:g}",
        ),
        ("step", 0 < options.step < math.inf, "a number above 0"),
        ("extrapolate", 1 <= options.extrapolate < math.inf, "a number of at least 1"),
        (
            "frequency",
            options.frequency == -1 or options.frequency > 0,
            "a number of frames above 0, or -1 for no checks",
        ),
    )
    for name, good, expected in rules:
        if not good:
            raise ModelError(f"{name}: found {getattr(options, name):g}, expected {expected}")


def refuse_compressed(config: ModelConfig, use: str) -> None:
    """Raise ModelError where a model that is to be trained further has tables in the place of networks.

    Args:
        config: of the model.
        use: what it was meant for, as the beginning of the message.
    """
    if config.compress is not None:
        raise ModelError(
            f"{use}: the model is compressed: it holds tables in the place of embedding networks, which cannot be trained. Give "
            "the model that it was made from."
        )
