"""What stands for the descriptor and the fitting net of energy models that have none of their own, but parts.

The rest of the package asks a model's configuration for its descriptor and its fitting net: cut-offs, numbers of neighbours,
inputs, what is predicted.  For a model of several parts these are the descriptors of the parts, side by side, and a sum of
energies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dpjax.config.charge_spin import default_charge_spin, takes_charge_spin
from dpjax.config.fittings.outputs import ENERGY, AtomicOutput
from dpjax.config.problems import Problem
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class Descriptors:
    """Descriptors of the parts of a model, or pair tables, as facts ask for them; none of them is built from this.

    Attributes:
        list: of all parts in a row, the members of hybrids one by one.
        paths: where each stands in the section of the model.
        in_terms: whether they see some of the atoms at a time, so that ``sel`` says nothing of a whole list of neighbours.
    """

    list: tuple[Any, ...]
    paths: tuple[str, ...]
    in_terms: bool = False


@dataclass(frozen=True)
class EnergySum:
    """What a model predicts and takes whose parts predict energies."""

    numb_fparam: int = 0
    numb_aparam: int = 0
    default_fparam: tuple[float, ...] | None = None
    precision: str = "float64"
    seed: int | None = None

    @property
    def output(self) -> AtomicOutput:
        """Energies."""
        return ENERGY


class MadeOfParts:
    """A model of several models, for a dataclass with

    ``named``, the parts as the section has them with their names; ``parts``, these with what they inherit; ``places``, where they
    stand in the section of the model; and ``with_parts``, which puts others in the places of some, by name.
    """


def descriptors_of(place: str, part: Any) -> list[tuple[str, Any]]:
    """Descriptors of a part, those of a hybrid one by one, each with its path in the section of the whole model.

    Args:
        place: where the part stands in that section.
        part: its configuration.
    """
    own, here = part.descriptor, f"{place}/descriptor"
    if own is part:  # a pair table
        return [(place, own)]
    members = getattr(own, "list", None)
    return [(here, own)] if members is None else [(f"{here}/list/{i}", member) for i, member in enumerate(members)]


def frame_parameters(parts: Sequence[Any]) -> dict[str, Any]:
    """How many frame parameters a model of several takes, and what they are where a frame gives none, for an :class:`EnergySum`."""
    nets = [part.fitting_net for part in parts]
    defaults = [net.default_fparam for net in nets if net.numb_fparam]
    return {"numb_fparam": max(net.numb_fparam for net in nets), "default_fparam": all_alike(defaults)}


class EnergyModelFacts:
    """What is asked of any model, of those without a fitting net of their own; for a dataclass with ``descriptor``."""

    bridge = None
    direct_forces = False
    nvnmd = None
    takes_mask = False
    virtual_scale = ()
    fitting_net = EnergySum()

    @property
    def data_types(self) -> tuple[str, ...]:
        """Types of atoms in data and results."""
        return self.type_map

    @property
    def silent_types(self) -> tuple[int, ...]:
        """Types whose atoms contribute nothing."""
        return tuple(sorted(set(self.atom_exclude_types)))

    @property
    def inputs(self) -> dict[str, int]:
        """What the model takes beside atoms and cells, with its length: ``fparam``, ``aparam`` of each atom, ``charge_spin``."""
        fitting, charged = self.fitting_net, takes_charge_spin(self.descriptor)
        lengths = {"fparam": fitting.numb_fparam, "aparam": fitting.numb_aparam, "charge_spin": 2 * charged}
        return {name: length for name, length in lengths.items() if length}

    @property
    def default_inputs(self) -> dict[str, tuple[float, ...]]:
        """Those of :attr:`inputs` that a frame need not give, and what the model then takes."""
        given = {"fparam": self.fitting_net.default_fparam, "charge_spin": default_charge_spin(self.descriptor)}
        return {name: tuple(value) for name, value in given.items() if name in self.inputs and value is not None}


def lacks(section: dict, path: str) -> Iterator[Problem]:
    """A section that says something of a descriptor and a fitting net, which such a model has not."""
    if section.get("type_embedding") is not None:
        text = f"found a section, but a model of type {section['type']!r} has no networks of its own. Remove it."
        yield Problem(join(path, "type_embedding"), text)


def all_alike(values: list[Any]) -> Any:
    """The value that all have; None where they differ or there are none."""
    return values[0] if values and all(value == values[0] for value in values) else None
