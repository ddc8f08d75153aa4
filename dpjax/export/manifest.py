"""What an artifact says about itself, beside checksums: enough to use it without dpjax and without reading its code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from dpjax import units
from dpjax.config import ModelConfig
from dpjax.config.charge_spin import RANGES
from dpjax.config.descriptors.kinds import ANGLES
from dpjax.config.fittings.outputs import ENERGY
from dpjax.descriptors import members
from dpjax.descriptors.crowding import cuts
from dpjax.descriptors.facts import is_one_of, works_on_pairs
from dpjax.export import runtime
from dpjax.export.points import PARTNERS
from dpjax.export.program import Entry, absent_sections
from dpjax.models import StandardModel
from dpjax.models.dipole_charge import Charges
from dpjax.models.pair_table import NAME as PAIR_TABLE
from dpjax.models.pair_table import START

PLACES = "places"  # the atoms axis: places of all sections in a row
OF_LABELS = "unit of the training labels"
_FLAGS = {
    "flags": {
        "shape": [1],
        "dtype": "int32",
        "bits": {"1": "bin_atoms", "2": "nbrs", "4": "offsets", "8": "not finite", "16": "bins"},
    },
    "bin_atoms": {"shape": ["section"], "dtype": "int32"},
    "nbrs": {"shape": ["section"], "dtype": "int32"},
    "heights": {"shape": [3], "dtype": "float64", "unit": units.LENGTH},
}
OF_SPINS = f"{units.ENERGY} per unit of spin"
_DERIVATIVES = {"force": units.FORCE, "virial": units.VIRIAL, "atom_virial": units.VIRIAL}
_CONVENTIONS = {
    "force": "-dE/dr",
    "virial": "virial[3a+b] = sum_i F_ia r_ib = -dE/d strain_ba, positive for repulsion, not divided by the volume",
    "atom_virial": "belongs to the atom that is moved; sums to virial",
    "cell": "rows are the cell vectors",
    "displacement": "coord[index] + shift @ cell - coord[centre]",
}
_OF_MAGNETS = {
    "force_mag": "-dE/dspin, at fixed positions",
    "spin": "of each atom, in the unit of the training data; its virtual atom is at coord + scale * spin",
    "index": "point on the axis of all places of atoms in a row, then their virtual atoms in the same order",
}


def describe_model(model: StandardModel, weights: dict[str, np.ndarray], wanted: Sequence[Entry]) -> dict[str, Any]:
    """The part of the manifest that follows from the model and its entry points; JSON-serialisable."""
    config = model.config
    fitting = config.fitting_net
    precisions = [member.precision for member in members(config.descriptor)]
    return {
        "format": runtime.FORMAT,
        "format_version": _format_version(model),
        "made_with": {name: version(name) for name in ("dpjax", "jax", "jaxlib")},
        "type_map": list(config.data_types),
        "rcut": model.rcut,
        "by_type": model.by_type,
        "sel": list(model.sel),
        "cuts": _describe_cuts(config),
        "pairs": works_on_pairs(config.descriptor),
        **_pair_table_start(weights),
        **({"messages": True} if model.passes_messages else {}),
        **({"direct_forces": True} if config.direct_forces else {}),
        **({"mask": True} if model.takes_mask else {}),
        **({"fragments": {"cells": config.conventions != "reference"}} if model.takes_fragments else {}),
        **({"nvnmd": asdict(config.nvnmd)} if config.nvnmd is not None else {}),
        "precision": {
            "descriptor": precisions[0] if len(precisions) == 1 else precisions,
            "fitting_net": fitting.precision,
            "coordinates_and_sums": "float64",
        },
        "conventions": config.conventions,
        "units": {
            "length": units.LENGTH,
            **_units(model),
            **{f"meaning of {name}": text for name, text in _meanings(config).items()},
        },
        "numb_fparam": fitting.numb_fparam,
        "numb_aparam": fitting.numb_aparam,
        "default_fparam": None if fitting.default_fparam is None else list(fitting.default_fparam),
        **({"charge_spin": _describe_charge_spin(config)} if model.takes_charge_spin else {}),
        **({"spin": _describe_spins(config)} if model.takes_spins else {}),
        "atom_exclude_types": [t for t in config.silent_types if t < len(config.data_types)],
        "predicts": {"total": model.output.total, "atomic": model.output.atomic},
        "entries": {entry.name: _describe_entry(model, entry) for entry in wanted},
        "inputs": _describe_inputs(model),
        "symbols": _describe_symbols(model),
        "weights": {
            "member": runtime.WEIGHTS,
            "arrays": {name: [array.dtype.name, list(array.shape)] for name, array in weights.items()},
        },
        "model": config.raw,
    } | ({} if config.compress is None else {"compress": config.compress.to_section()})


def _pair_table_start(weights: dict[str, np.ndarray]) -> dict[str, float]:
    """The distance below which a pair table says nothing, of the one that begins farthest out; nothing of models without."""
    starts = [float(array) for name, array in weights.items() if name.endswith(f"/{PAIR_TABLE}/{START}")]
    return {"pair_table_start": max(starts)} if starts else {}


def _describe_charge_spin(config: ModelConfig) -> dict[str, Any]:
    """Charge and spin of frames that give none, and between which numbers they must lie; digits after the point are cut off."""
    default = config.default_inputs.get("charge_spin")
    ranges = {name: [least, most] for name, least, most in RANGES}
    return {"default_chg_spin": None if default is None else list(default), "ranges": ranges}


def _describe_spins(config: ModelConfig) -> dict[str, Any]:
    """Where virtual atoms stand for spins, and whether a spin may be zero, which puts its virtual atom on its atom."""
    protected = all(member.env_protection for member in members(config.descriptor))
    return {"scale": list(config.virtual_scale), "may_be_zero": protected}


def _describe_cuts(config: ModelConfig) -> list[dict[str, Any]]:
    """What each descriptor keeps of the list, and whether its networks run for angles between neighbours."""
    return [
        {
            "part": cut.part,
            "rcut": cut.rcut,
            "by_type": bool(cut.names),
            "sel": list(cut.sel),
            "angles": is_one_of(member, ANGLES),
        }
        for cut, member in zip(cuts(config), members(config.descriptor), strict=True)
    ]


def _meanings(config: ModelConfig) -> dict[str, str]:
    """What signs and axes mean."""
    if config.virtual_scale:
        return _CONVENTIONS | _OF_MAGNETS
    if not config.direct_forces:
        return _CONVENTIONS
    kept = {name: text for name, text in _CONVENTIONS.items() if "virial" not in name}
    return kept | {"force": "given by the model itself; no derivative of its energy, so there is no virial"}


def _format_version(model: StandardModel) -> int:
    """The oldest format that says it all: 1 knows energies, atoms in sections by type and lists that are cut before the program."""
    if model.config.modifier is not None:
        return 8
    if model.takes_spins:
        return 7
    if model.config.direct_forces:
        return 6
    if model.takes_charge_spin:
        return 5
    if model.passes_messages:
        return 4
    if model.output is not ENERGY:
        return 3
    return 1 if model.by_type and not model.takes_first and None not in model.sel else 2


def _units(model: StandardModel) -> dict[str, str]:
    """Of every output, by name."""
    output = model.output
    if model.config.direct_forces:
        return {"energy": units.ENERGY, "atom_energy": units.ENERGY, "force": units.FORCE}
    if output is ENERGY:
        hessian = {"hessian": f"{units.ENERGY}/{units.LENGTH}^2"}
        magnetic = {"force_mag": OF_SPINS} if model.takes_spins else {}
        return {"energy": units.ENERGY, "atom_energy": units.ENERGY, **_DERIVATIVES, **magnetic, **hessian}
    found = dict.fromkeys((output.total, output.atomic), OF_LABELS)
    per_length = {"force": f"{OF_LABELS} per angstrom", "virial": OF_LABELS, "atom_virial": OF_LABELS}
    return found | (per_length if output.differentiated else {})


def describe_charges(charges: Charges) -> dict[str, Any]:
    """The part of a dipole model's manifest that says what carries charge; types are those of the dipole model."""
    unit = {"atoms": "e", "centroids": "e", "beta": f"1/{units.LENGTH}", "spacing": units.LENGTH}
    return {"charges": asdict(charges) | {"units": unit}}


def _output_shapes(model: StandardModel, entry: Entry) -> dict[str, list[Any]]:
    """Of every output of an entry point, by name."""
    if entry.charges:
        return {"energy": ["frames", 1], "force": [PLACES, 3], "virial": ["frames", 9]}
    output = model.output
    shapes = {output.total: ["frames", *output.total_shape], output.atomic: [PLACES, *output.shape]}
    if entry.force:
        shapes |= {"force": [PLACES, *output.shape, 3]}
    if entry.force and not model.config.direct_forces:
        shapes |= {"virial": ["frames", *output.shape, 9]}
    if entry.force and model.takes_spins:
        shapes |= {"force_mag": [PLACES, 3]}
    if entry.atom_virial:
        shapes |= {"atom_virial": [PLACES, *output.shape, 9]}
    if entry.hessian:
        shapes |= {"hessian": [PLACES, "9 * columns"]}
    return shapes


def _describe_entry(model: StandardModel, entry: Entry) -> dict[str, Any]:
    shapes = _output_shapes(model, entry)
    unit = {"energy": units.ENERGY, **_DERIVATIVES} if entry.charges else _units(model)
    outputs = {name: {"shape": shape, "unit": unit[name], "dtype": "float64"} for name, shape in shapes.items()}
    described = {"member": runtime.program_member(entry.name), "outputs": outputs}
    if entry.search:
        described["flags"] = _FLAGS
    without, more = _input_changes(model, entry)
    return described | {"inputs without": without, "inputs with": more} if more else described


def _input_changes(model: StandardModel, entry: Entry) -> tuple[list[str], dict[str, Any]]:
    """How the input of an entry point differs from ``inputs``."""
    if entry.search:
        without = ["atoms/frame", "atoms/index", "atoms/shift", "atoms/count"]
        without += [PARTNERS] if model.takes_spins and model.passes_messages else []
        return without, {
            "pbc": ["bool", [3]],
            "grid": ["int32", [3]],
            "width": ["float64", [3]],
            "offsets": ["int32", ["stencil", 3]],
            "bins": ["int8", ["bins"]],
            "bin_atoms (a list, one array for each section)": ["int8", ["room_t"]],
            "frames": 1,
            "nbrs_t": ">= 1",
        }
    if entry.charges:
        name = "vectors (a list: 0 to n_1, -n_2 to n_2, 0 to n_3; numbers beyond those of the cell do not count)"
        return [], {name: ["int32", ["vectors_d"]], "frames": 1}
    if entry.hessian:
        return [], {"atoms/number": ["int32", ["blocks_t", "block_t"]], "columns": ["int8", ["columns"]]}
    return [], {}


def _describe_inputs(model: StandardModel) -> dict[str, Any]:
    """Second argument of every program, after the weights."""
    fitting, n_section = model.config.fitting_net, model.n_section
    places = ["blocks_t", "block_t"]
    listed = {
        "index": ["int32", [*places, "nbrs"]],
        "shift": ["int16", [*places, "nbrs", 3]],
        "count": ["int32", [*places, n_section]],
    }
    atoms = {
        "coord": ["float64", [*places, 3]],
        "real": ["bool", places],
        "frame": ["int32", places],
        **listed,
    }
    if model.takes_spins:
        atoms["spin"] = ["float64", [*places, 3]]
    if not model.by_type:
        atoms["type"] = ["int32", places]
    if fitting.numb_aparam:
        atoms["aparam"] = ["float64", [*places, fitting.numb_aparam]]
    section = "type t" if model.by_type else "section t, of which there is one"
    inputs = {
        f"atoms (a list, one dictionary for each {section})": atoms,
        f"slots (a list, one array for each neighbour {section})": ["int8", ["nbrs_t"]],
        "cell": ["float64", ["frames", 3, 3]],
    }
    if model.takes_spins and model.passes_messages:
        inputs[PARTNERS] = listed
    if model.takes_first:
        inputs["first"] = ["int32", ["frames"]]
    for name in ("fparam", "charge_spin"):
        if size := model.config.inputs.get(name):
            inputs[name] = ["float64", ["frames", size]]
    return inputs


def _describe_symbols(model: StandardModel) -> dict[str, str]:
    section = "type t" if model.by_type else "section t"
    bounded = f"1 to sel[t] = {list(model.sel)}, 0 where sel[t] is 0"
    if absent := absent_sections(model):
        bounded += f" and for t in {list(absent)}, virtual atoms of types without spin"
    return {
        "frames": ">= 1",
        "blocks_t": f">= 1, for each {section}",
        "block_t": f">= 1, for each {section}: atoms worked on at once",
        "nbrs_t": ">= 1; the program cuts the list" if None in model.sel else bounded,
        "nbrs": "sum of nbrs_t",
        PLACES: "sum of blocks_t * block_t",
    }
