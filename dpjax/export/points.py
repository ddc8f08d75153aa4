"""Spins in the programs of an artifact: a structure says where atoms are and what spins they have, the program knows the rest.

Atoms and the virtual atoms that stand for their spins are one axis of points: the places of all sections in a row, then as many
virtual atoms in the same order.  So the virtual atom of place i is point ``i + places``.  It is at ``coord + scale * spin``, with
the ``scale`` of the atom's type; types without spin have none.  Neighbours are points, outputs belong to atoms
(``dpjax.models.spins`` says how the force on a point becomes forces and magnetic forces).

Virtual atoms have no energy, so they are centres only in models that pass messages, whose atoms and virtual atoms form one block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.models import StandardModel

Arrays = dict[str, Any]
PARTNERS = "partners"  # of a structure: neighbour lists of virtual atoms, where these are centres


def joined(array: jax.Array) -> jax.Array:
    """(blocks, block, ...) as (blocks * block, ...)."""
    return jnp.reshape(array, (array.shape[0] * array.shape[1], *array.shape[2:]))


def all_points(model: StandardModel, sections: Sequence[Arrays]) -> Arrays:
    """What ``index`` refers to: arrays of the atoms of all sections in a row and, with spins, of their virtual atoms behind them.

    Args:
        sections: the ``atoms`` of a structure, arrays (blocks, block, ...).

    Returns:
        ``coord`` (n, 3) angstrom, ``frame`` (n,), and where the model needs them ``type`` (n,) and ``aparam`` (n, numb_aparam).
        With spins also ``home`` (n, 3), the positions of atoms in the place of those of their virtual atoms, and ``scale`` (n,),
        angstrom per unit of spin, which is zero but for virtual atoms.
    """
    told = model.sees_parameters or model.takes_mask or model.takes_fragments
    names = ["coord", "frame", *([] if model.by_type else ["type"]), *(["aparam"] if told else [])]
    every = {name: jnp.concatenate([joined(atoms[name]) for atoms in sections]) for name in names}
    return with_virtual_atoms(model, sections, every) if model.takes_spins else every


def with_virtual_atoms(model: StandardModel, sections: Sequence[Arrays], every: Arrays) -> Arrays:
    """:func:`all_points` of a model with spins, from the arrays of its atoms."""
    scale = jnp.concatenate([joined(scale_of(model, t, atoms)) for t, atoms in enumerate(sections)])
    spin = jnp.concatenate([joined(atoms["spin"]) for atoms in sections])
    out = {name: jnp.concatenate([array, array]) for name, array in every.items()}
    out["home"] = out["coord"]
    offset = jnp.where(scale[:, None] != 0.0, scale[:, None] * spin, 0.0)
    out["coord"] = jnp.concatenate([every["coord"], every["coord"] + offset])
    out["scale"] = jnp.concatenate([jnp.zeros_like(scale), scale])
    if "type" in every:
        partner = jnp.where(scale != 0.0, every["type"] + len(model.config.virtual_scale), -1)
        out["type"] = jnp.concatenate([every["type"], partner.astype(every["type"].dtype)])
    return out


def scale_of(model: StandardModel, section: int, atoms: Arrays) -> jax.Array:
    """(blocks, block) angstrom per unit of spin for the atoms of a section; 0 for types without spin and on padding."""
    return value_of_type(model, model.config.virtual_scale, section, atoms)


def value_of_type(model: StandardModel, values: Sequence[float], section: int, atoms: Arrays) -> jax.Array:
    """(blocks, block) that of the ``values`` which belongs to the type of each atom of a section; 0 on padding."""
    of_types = jnp.asarray(values, jnp.float64)
    own = of_types[section] if model.by_type else of_types[jnp.maximum(atoms["type"], 0)]
    return jnp.where(atoms["real"], own, 0.0)


def point_sections(model: StandardModel, sections: Sequence[Arrays]) -> jax.Array:
    """(n,) section of the neighbour list that each point belongs to, -1 for what is not there."""
    atoms = [jnp.where(joined(own["real"]), t, -1).astype(jnp.int32) for t, own in enumerate(sections)]
    if not model.takes_spins:
        return jnp.concatenate(atoms)
    first = len(sections) if model.by_type else 0
    partners = [
        jnp.where(joined(scale_of(model, t, own)) != 0.0, first + t, -1).astype(jnp.int32)
        for t, own in enumerate(sections)
    ]
    return jnp.concatenate([*atoms, *partners])


def centres(model: StandardModel, structure: Arrays, every: Arrays) -> list[Arrays]:
    """The sections that a program runs for, from those of the structure.

    With spins each has ``home``, the positions of atoms, beside ``coord``.  Where messages pass, the virtual atoms stand behind the
    atoms, in the one block of the one section.
    """
    sections = structure["atoms"]
    if not model.takes_spins:
        return list(sections)
    if not model.passes_messages:
        return [{**atoms, "home": atoms["coord"]} for atoms in sections]
    (atoms,) = sections
    carries = scale_of(model, 0, atoms) != 0.0
    partner = {"real": carries} | structure.get(PARTNERS, [{}])[0]
    if "place" in atoms:
        partner["place"] = atoms["place"] + atoms["place"].shape[1]
    if "aparam" in atoms:
        partner["aparam"] = jnp.zeros_like(atoms["aparam"])
    both = {name: jnp.concatenate([atoms[name], partner[name]], axis=1) for name in partner}
    return [both | {name: every[name][None] for name in ("coord", "home", "frame", "type")}]


def of_atoms(values: jax.Array) -> jax.Array:
    """Values (n, ...) of points added up for atoms, (n / 2, ...)."""
    n = values.shape[0] // 2
    return values[:n] + values[n:]


def magnetic_forces(force: jax.Array, every: Arrays) -> jax.Array:
    """(n / 2, 3) eV per unit of spin, of the forces (n, 3) on points."""
    n = force.shape[0] // 2
    return every["scale"][n:, None] * force[n:]
