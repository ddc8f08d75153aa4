"""The hardware configuration of an NVNMD model, DeePMD-kit's ``config.npy``: sizes, widths of numbers, facts of the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dpjax.config import ModelConfig
from dpjax.descriptors.nvnmd import divisor
from dpjax.errors import ModelError

Tree = dict[str, Any]

_ATOMS, _IMAGES = 4096, 32768  # that fit into the hardware
_TYPES = {0: 4, 1: 32}  # by version, padding included
_WIDTHS = {  # binary digits
    "NBIT_FLTD": 29, "NBIT_FLTS": 1, "NBIT_FLTE": 8, "NBIT_FLTF": 20, "NBIT_FLTM": 21, "NBIT_FLTH": 22,
    "NBIT_FIXD": 32, "NBIT_FIXD_FL": 23, "NBIT_CRD": 32, "NBIT_CRD_FL": 24, "NBIT_CRD3": 96,
    "NBIT_ENE": 32, "NBIT_ENE_FL": 23, "NBIT_FRC": 32, "NBIT_FRC_FL": 19, "NBIT_VRL": 32, "NBIT_VRL_FL": 19,
    "NBIT_FIT_DATA": 27, "NBIT_FIT_DATA_FL": 23, "NBIT_FIT_SHORT_FL": 19, "NBIT_FIT_WEIGHT": 18, "NBIT_FIT_DISP": 3,
    "NBIT_FIT_WXDB": 29, "NBIT_SPE_MAX": 8, "NBIT_LST_MAX": 16, "NBIT_ADDR": 32, "NBIT_SYS": 32, "NBIT_BYPASS_DATA": 32,
    "NBIT_CFG": 64, "NBIT_NET": 72, "NBIT_MODEL_HEAD": 32, "NBIT_IDX_S2G": 9, "NBIT_NEIB": 9,
}  # fmt: skip


def range_of_inputs(config: ModelConfig, stats: Mapping[str, Any], nearest: float) -> tuple[float, float]:
    """Smallest and largest input of the embedding nets: of an empty place, and of a neighbour at ``nearest`` (angstrom)."""
    descriptor = config.descriptor
    davg, dstd = (np.asarray(stats["descriptor"][name])[:, 0] for name in ("davg", "dstd"))
    on, off = descriptor.rcut_smth, descriptor.rcut
    u = min(max((nearest - on) / (off - on), 0.0), 1.0)
    s = (u * u * u * (-6 * u * u + 15 * u - 10) + 1) / nearest if nearest > 0.01 else 0.0
    return float(np.min(-davg / dstd)), float(np.max((s - davg) / dstd))


def hardware_config(config: ModelConfig, stats: Mapping[str, Any] | None = None, nearest: float = 0.0) -> Tree:
    """The configuration of a model; sizes of the memory images that DeePMD-kit's ``wrap`` makes are zero.

    Args:
        config: a model in the form of the hardware.
        stats: its statistics; None before there are any.
        nearest: smallest distance of two atoms of the data, angstrom; 0 where it is not known.
    """
    own, version = config.nvnmd, config.nvnmd.version
    size, stations = _TYPES[version], own.max_nnei // 2
    selected = stations * (size if version == 0 else 1)
    low, high = (-2, 14) if stats is None else range_of_inputs(config, stats, nearest)
    memory = 7 if version == 0 or stats is None else 10
    return {
        "dscp": _descriptor(config) | {"dmin": float(nearest), "smin": low, "smax": high},
        "fitn": _fitting(config),
        "dpin": {"type_map": list(config.type_map)},
        "size": {
            "Na": _ATOMS,
            "NaX": _IMAGES,
            "NAEXT": _ATOMS,
            "NTYPE": size,
            "NTYPEX": 1 if version == 0 else "ntypex_max",
            "NH_DATA": [0] * memory,
            "NW_DATA": [0] * memory,
            "NH_SIM": [0] * (9 if version == 0 else 12),
        },
        "ctrl": {
            "MAX_NNEI": own.max_nnei,
            "NSTDM": stations,
            "NSTDM_M1": 32,
            "NSTDM_M2": stations // 32,
            "NSTDM_M1X": 8,
            "NSEL": selected,
            "NSADV": stations + 1,
            "VERSION": version,
            "SUB_VERSION": 1,
        },
        "nbit": _WIDTHS
        | {
            "NBIT_SPE": _digits(size),
            "NBIT_LST": _digits(_IMAGES),
            "NBIT_ATOM": _digits(size) + _WIDTHS["NBIT_CRD3"],
            "NBIT_SEL": _digits(selected),
        },
        "end": "",
    }


def _digits(number: int) -> int:
    return math.ceil(math.log2(number))


def _descriptor(config: ModelConfig) -> Tree:
    own, descriptor, n_type = config.nvnmd, config.descriptor, len(config.type_map)
    mixed = own.version == 1
    sel = _sel(config)
    places = sel if mixed else sum(sel)
    shared = {
        "sel": sel,
        "rcut": descriptor.rcut,
        "rcut_smth": descriptor.rcut_smth,
        "neuron": list(descriptor.neuron),
        "resnet_dt": False,
        "axis_neuron": descriptor.axis_neuron,
        "type_one_side": True,
        "rc_lim": 0.5,
        "rc_max": 8.0,
        "M1": descriptor.neuron[-1],
        "M2": descriptor.axis_neuron,
        "SEL": sel if mixed else (sel + [0] * 4)[:4],
        "NNODE_FEAS": [1, *descriptor.neuron],
        "nlayer_fea": len(descriptor.neuron),
        "same_net": 1,
        "NI": own.max_nnei,
        "NIDP": places,
        "NIX": int(divisor(places)),
        "ntype": n_type,
    }
    return shared | ({} if mixed else {"ntypex": 1, "ntypex_max": 1}) | {"ntype_max": _TYPES[own.version]}


def _sel(config: ModelConfig) -> int | list[int]:
    """As the hardware has it: of all types together, or of each."""
    sel = config.descriptor.sel
    if config.nvnmd.version == 0:
        return list(sel)
    return sel if isinstance(sel, int) else sum(sel)


def _fitting(config: ModelConfig) -> Tree:
    descriptor, neuron = config.descriptor, list(config.fitting_net.neuron)
    layers = len(neuron) + 1
    return {
        "neuron": neuron,
        "resnet_dt": False,
        "NNODE_FITS": [descriptor.neuron[-1] * descriptor.axis_neuron, *neuron, 1],
        "nlayer_fit": layers,
        "NLAYER": layers,
    } | ({"NTAVC": descriptor.tebd_dim} if config.nvnmd.version == 1 else {})


def nearest_of(found: Mapping[str, Any]) -> float:
    """The smallest distance of two atoms that a configuration holds, angstrom; 0 where it holds none."""
    return float(found.get("dscp", {}).get("dmin", 0.0))


def check_config(config: ModelConfig, found: Mapping[str, Any], path: str) -> None:
    """Raise unless a configuration that was read is that of a model.

    Raises:
        ModelError: with what differs.
    """
    for key, ours, theirs in _compared(config, found):
        if ours != theirs:
            raise ModelError(
                f"{path}: {key} is {theirs!r}, but the model of this input has {ours!r}. Give the file of this model, or change "
                "the input."
            )


def _compared(config: ModelConfig, found: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    wanted = hardware_config(config)
    for part, keys in (
        ("ctrl", ("VERSION", "MAX_NNEI")),
        ("dscp", ("sel", "rcut", "rcut_smth", "ntype", "M1", "M2")),
        ("fitn", ("NNODE_FITS",)),
        ("dpin", ("type_map",)),
    ):
        for key in keys:
            theirs = found.get(part, {}).get(key)
            if key == "type_map" and not theirs:  # may be left out
                continue
            yield f"{part}/{key}", wanted[part][key], list(theirs) if isinstance(theirs, (list, tuple)) else theirs
