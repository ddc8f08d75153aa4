"""What an artifact says about itself, beside checksums: enough to use it without dpjax and without reading its code."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from dpjax import units
from dpjax.config import ModelConfig
from dpjax.descriptors import capacity, cutoff
from dpjax.export import runtime
from dpjax.export.program import ENTRIES, Entry

PLACES = "places"  # the atoms axis: places of all type sections in a row
_OUTPUTS = {
    "energy": (["frames", 1], units.ENERGY),
    "atom_energy": ([PLACES], units.ENERGY),
    "force": ([PLACES, 3], units.FORCE),
    "virial": (["frames", 9], units.VIRIAL),
    "atom_virial": ([PLACES, 9], units.VIRIAL),
}
_CONVENTIONS = {
    "force": "-dE/dr",
    "virial": "virial[3a+b] = sum_i F_ia r_ib = -dE/d strain_ba, positive for repulsion, not divided by the volume",
    "atom_virial": "belongs to the atom that is moved; sums to virial",
    "cell": "rows are the cell vectors",
    "displacement": "coord[index] + shift @ cell - coord[centre]",
}


def describe_model(config: ModelConfig, conventions: str, weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """The part of the manifest that follows from the model; JSON-serialisable."""
    fitting = config.fitting_net
    return {
        "format": runtime.FORMAT,
        "format_version": runtime.FORMAT_VERSION,
        "made_with": {name: version(name) for name in ("dpjax", "jax", "jaxlib")},
        "type_map": list(config.type_map),
        "rcut": cutoff(config.descriptor),
        "sel": list(capacity(config.descriptor, len(config.type_map))),
        "precision": {
            "descriptor": config.descriptor.precision,
            "fitting_net": fitting.precision,
            "coordinates_and_sums": "float64",
        },
        "conventions": conventions,
        "units": {
            "length": units.LENGTH,
            "energy": units.ENERGY,
            "force": units.FORCE,
            "virial": units.VIRIAL,
            **{f"meaning of {name}": text for name, text in _CONVENTIONS.items()},
        },
        "numb_fparam": fitting.numb_fparam,
        "numb_aparam": fitting.numb_aparam,
        "default_fparam": None if fitting.default_fparam is None else list(fitting.default_fparam),
        "atom_exclude_types": list(config.atom_exclude_types),
        "entries": {entry.name: _describe_entry(entry) for entry in ENTRIES},
        "inputs": _describe_inputs(config),
        "symbols": _describe_symbols(config),
        "weights": {
            "member": runtime.WEIGHTS,
            "arrays": {name: [array.dtype.name, list(array.shape)] for name, array in weights.items()},
        },
        "model": config.raw,
    }


def _describe_entry(entry: Entry) -> dict[str, Any]:
    names = ["energy", "atom_energy", *(["force", "virial"] if entry.force else [])]
    names += ["atom_virial"] if entry.atom_virial else []
    outputs = {name: dict(zip(("shape", "unit"), _OUTPUTS[name], strict=True), dtype="float64") for name in names}
    return {"member": runtime.program_member(entry.name), "outputs": outputs}


def _describe_inputs(config: ModelConfig) -> dict[str, Any]:
    """Second argument of every program, after the weights."""
    fitting, n_type = config.fitting_net, len(config.type_map)
    places = ["blocks_t", "block_t"]
    atoms = {
        "coord": ["float64", [*places, 3]],
        "real": ["bool", places],
        "frame": ["int32", places],
        "index": ["int32", [*places, "nbrs"]],
        "shift": ["int16", [*places, "nbrs", 3]],
        "count": ["int32", [*places, n_type]],
    }
    if fitting.numb_aparam:
        atoms["aparam"] = ["float64", [*places, fitting.numb_aparam]]
    inputs = {
        "atoms (a list, one dictionary for each type t)": atoms,
        "slots (a list, one array for each neighbour type t)": ["int8", ["nbrs_t"]],
        "cell": ["float64", ["frames", 3, 3]],
    }
    if fitting.numb_fparam:
        inputs["fparam"] = ["float64", ["frames", fitting.numb_fparam]]
    return inputs


def _describe_symbols(config: ModelConfig) -> dict[str, str]:
    sel = list(capacity(config.descriptor, len(config.type_map)))
    return {
        "frames": ">= 1",
        "blocks_t": ">= 1, for each type t",
        "block_t": ">= 1, for each type t: atoms worked on at once",
        "nbrs_t": f"1 to sel[t] = {sel}, 0 where sel[t] is 0",
        "nbrs": "sum of nbrs_t",
        PLACES: "sum of blocks_t * block_t",
    }
