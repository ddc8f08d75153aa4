"""What can be read beside coordinates and cells: one ``LabelSpec`` per array of the data format.

Units: energy eV, force eV/angstrom, virial eV, Hessian eV/angstrom^2; frame and atomic parameters, dipoles,
polarizabilities and properties in the user's own.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from typing import Any

from dpjax.config import ModelConfig
from dpjax.config.charge_spin import RANGES
from dpjax.config.fittings.outputs import ENERGY, AtomicOutput
from dpjax.errors import ConfigError


@dataclass(frozen=True)
class LabelSpec:
    """One array of a data set and how it is laid out.

    Attributes:
        name: key of the array and stem of its file.
        per_atom: True for (frame, atom, size), False for (frame, size).
        size: components per atom or per frame.
        required: a system without the file is an error; otherwise ``default`` fills in and the find flag is 0.
        default: value, or one value per component, of an array that is absent.
        atom_pair: True for a full second derivative, (frame, (3 n_atom)^2), whose two axes follow the atoms.
        aliases: other file stems, tried after ``name``.
        high_precision: stays float64 in batches whose other labels are narrowed.
        advice: what a user can do when the file is missing.
        selected: model types to whose atoms a file may be restricted (not in mixed systems); None: it holds all atoms.
        atoms: the positions of those atoms in the files of one system, filled in when the system is opened.
        ranges: name and bounds of each component, where they have bounds; digits after the point do not count.
    """

    name: str
    per_atom: bool = False
    size: int = 1
    required: bool = False
    default: float | tuple[float, ...] = 0.0
    atom_pair: bool = False
    aliases: tuple[str, ...] = ()
    high_precision: bool = False
    advice: str = ""
    selected: tuple[int, ...] | None = None
    atoms: tuple[int, ...] | None = None
    ranges: tuple[tuple[str, int, int], ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """File stems under which the array may be stored, best first."""
        return (self.name, *self.aliases)

    @property
    def file_names(self) -> str:
        """The same in words, for error messages: ``atom_dos.npy (or atomic_dos.npy)``."""
        others = " or ".join(f"{stem}.npy" for stem in self.aliases)
        return f"{self.name}.npy (or {others})" if others else f"{self.name}.npy"

    def width(self, n_atom: int) -> int:
        """Numbers per frame in a file that holds all of the ``n_atom`` atoms."""
        if self.atom_pair:
            return (3 * n_atom) ** 2
        return self.size * n_atom if self.per_atom else self.size

    def shape(self, n_atom: int) -> tuple[int, ...]:
        """Shape of one frame's array as ``System.arrays`` returns it."""
        return (n_atom, self.size) if self.per_atom else (self.width(n_atom),)

    def layout(self) -> str:
        """The expected file shape in words, for error messages."""
        if self.atom_pair:
            return "(frames, (3*natoms)^2)"
        if self.per_atom:
            return "(frames, natoms)" if self.size == 1 else f"(frames, {self.size}*natoms)"
        return "(frames,) or (frames, 1)" if self.size == 1 else f"(frames, {self.size})"


COORD = LabelSpec("coord", per_atom=True, size=3, required=True, high_precision=True)
BOX = LabelSpec("box", size=9, required=True, high_precision=True)


def _prefactors(*suffixes: str) -> str:
    names = [f"loss/{end}_pref_{suffix}" for suffix in suffixes for end in ("start", "limit")]
    return f"set {', '.join(names[:-1])} and {names[-1]} to 0"


def _per_atom(name: str, size: int = 1, **options: Any) -> LabelSpec:
    """A label ``atom_...``, which older data call ``atomic_...``."""
    return LabelSpec(name, per_atom=True, size=size, aliases=(name.replace("atom_", "atomic_", 1),), **options)


ENERGY_LABELS: dict[str, LabelSpec] = {
    spec.name: spec
    for spec in (
        LabelSpec("energy", high_precision=True, advice=_prefactors("e")),
        LabelSpec("force", per_atom=True, size=3, advice=_prefactors("f")),
        LabelSpec("force_mag", per_atom=True, size=3, advice=_prefactors("fm")),
        LabelSpec("virial", size=9, advice=_prefactors("v")),
        _per_atom("atom_ener", advice=_prefactors("ae")),
        _per_atom("atom_ener_coeff", default=1.0, advice="set loss/enable_atom_ener_coeff to false"),
        _per_atom("atom_pref", default=1.0, advice=_prefactors("pf") + ", or loss/use_default_pf true"),
        LabelSpec("drdq", per_atom=True, size=3, advice=_prefactors("gf")),
        LabelSpec("hessian", atom_pair=True, advice=_prefactors("h")),
    )
}
"""Every array that an energy model can learn from; the size of drdq comes from the model."""

INPUTS: dict[str, LabelSpec] = {
    spec.name: spec
    for spec in (
        LabelSpec("fparam", advice="set model/fitting_net/numb_fparam to 0 or give model/fitting_net/default_fparam"),
        LabelSpec("aparam", per_atom=True, advice="set model/fitting_net/numb_aparam to 0"),
        LabelSpec(
            "charge_spin",
            size=2,
            ranges=RANGES,
            advice="give model/descriptor/default_chg_spin, or set model/descriptor/add_chg_spin_ebd to false",
        ),
        LabelSpec("spin", per_atom=True, size=3, high_precision=True, advice="remove model/spin"),
    )
}
"""Every array that a model can take as input; sizes of fparam and aparam come from the model."""

DESCRIPTOR_INPUTS = ("charge_spin", "spin")  # those that descriptors take; the others enter the fitting net

_ADVICE: dict[str, tuple[str, str]] = {
    "tensor": ("set loss/pref to 0", "set loss/pref_atomic to 0"),
    "dos": (_prefactors("dos", "cdf"), _prefactors("ados", "acdf")),
    "property": ("correct model/fitting_net/property_name", "leave the values of the atoms out"),
}
"""What to change where labels of frames, or of atoms, are missing, by the loss that uses them."""


def output_labels(output: AtomicOutput, selected: int | tuple[int, ...] | None = None) -> dict[str, LabelSpec]:
    """Every label that a model of this output can learn from or be compared with.

    Args:
        output: what the model's fitting net predicts.
        selected: types with an output, as in ``sel_type``; files of atomic labels may hold their atoms alone, as those
            for DeePMD-kit's TensorFlow backend do. None: all types.
    """
    if output == ENERGY:
        return ENERGY_LABELS
    if isinstance(selected, int):
        selected = (selected,)
    of_frame, of_atom = _ADVICE[output.losses[0]]
    specs = [
        LabelSpec(output.label, size=output.size, high_precision="property" in output.losses, advice=of_frame),
        _per_atom(output.atom_label, output.size, advice=of_atom, selected=selected),
    ]
    if "tensor" in output.losses:
        advice = "set loss/enable_atomic_weight to false"
        specs.append(_per_atom("atom_weight", default=1.0, advice=advice, selected=selected))
    return {spec.name: spec for spec in specs}


def label_requirements(
    names: Iterable[str],
    output: AtomicOutput = ENERGY,
    *,
    numb_fparam: int = 0,
    numb_aparam: int = 0,
    numb_generalized_coord: int = 0,
    default_fparam: tuple[float, ...] | None = None,
    charge_spin: bool = False,
    default_charge_spin: tuple[float, float] | None = None,
    spin: bool = False,
    selected: int | tuple[int, ...] | None = None,
) -> tuple[LabelSpec, ...]:
    """The arrays to read for a model.

    Args:
        names: labels that the loss (or a test) uses, keys of ``output_labels(output)``.
        output: what the model's fitting net predicts.
        numb_fparam, numb_aparam: widths of the model's frame and atomic parameters; 0 leaves them out.
        numb_generalized_coord: number of generalised coordinates, needed for ``drdq``.
        default_fparam: frame parameters of systems without ``fparam.npy``; None makes the file required.
        charge_spin: the model takes total charge and spin of a frame.
        default_charge_spin: those of systems without ``charge_spin.npy``; None makes the file required.
        spin: the model takes spins of atoms.
        selected: types with an output, see ``output_labels``.

    Returns:
        One specification per array. Model inputs without a default are required; labels are not: whether a missing
        label is a mistake depends on its prefactor, see ``load_systems(required=...)``.

    Raises:
        ConfigError: ``drdq`` is asked for without generalised coordinates, or a property is called like an input.
    """
    known = output_labels(output, selected)
    specs = [known[name] for name in dict.fromkeys(names)]
    specs = [_generalized(spec, numb_generalized_coord) if spec.name == "drdq" else spec for spec in specs]
    if numb_fparam:
        specs.append(_input("fparam", numb_fparam, default_fparam))
    if numb_aparam:
        specs.append(_input("aparam", numb_aparam))
    if charge_spin:
        specs.append(_input("charge_spin", 2, default_charge_spin))
    if spin:
        specs.append(_input("spin", 3))
    if len({spec.name for spec in specs}) < len(specs):
        raise ConfigError(
            f"model/fitting_net/property_name is {output.label!r}, but {output.label}.npy holds an input of this model. "
            "Give the property, and its label file, another name."
        )
    return tuple(specs)


def model_labels(
    model: ModelConfig, names: Iterable[str] = (), *, inputs: Container[str] = INPUTS, numb_generalized_coord: int = 0
) -> tuple[LabelSpec, ...]:
    """The arrays to read for a model: labels that are asked for, and what it takes as input.

    Args:
        model: its configuration.
        names: labels, as for :func:`label_requirements`.
        inputs: those of the model's inputs that are needed.
        numb_generalized_coord: as for :func:`label_requirements`.

    Raises:
        ConfigError: as :func:`label_requirements`.
    """
    sizes = {name: size for name, size in model.inputs.items() if name in inputs}
    defaults = model.default_inputs
    return label_requirements(
        names,
        model.fitting_net.output,
        numb_fparam=sizes.get("fparam", 0),
        numb_aparam=sizes.get("aparam", 0),
        charge_spin="charge_spin" in sizes,
        spin="spin" in sizes,
        default_fparam=defaults.get("fparam"),
        default_charge_spin=defaults.get("charge_spin"),
        numb_generalized_coord=numb_generalized_coord,
        selected=getattr(model.fitting_net, "sel_type", None),
    )


def _input(name: str, size: int, default: tuple[float, ...] | None = None) -> LabelSpec:
    """An input of a model; a system without it is an error unless there is a default."""
    fallback = 0.0 if default is None else tuple(default)
    return replace(INPUTS[name], size=size, default=fallback, required=default is None)


def _generalized(spec: LabelSpec, number: int) -> LabelSpec:
    """``drdq`` for so many generalised coordinates."""
    if number < 1:
        raise ConfigError(
            f"loss/numb_generalized_coord is {number}, but the label drdq needs at least 1. "
            "Set it to their number, or loss/start_pref_gf and loss/limit_pref_gf to 0."
        )
    return replace(spec, size=3 * number)
