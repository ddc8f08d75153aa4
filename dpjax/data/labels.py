"""What can be read beside coordinates and cells: one ``LabelSpec`` per array of the data format.

Units: energy eV, force eV/angstrom, virial eV, Hessian eV/angstrom^2; frame and atomic parameters in the user's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

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

    @property
    def files(self) -> tuple[str, ...]:
        """File stems under which the array may be stored, best first."""
        return (self.name, *self.aliases)

    def width(self, n_atom: int) -> int:
        """Numbers per frame in a file of a system with ``n_atom`` atoms."""
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


def _prefactor(suffix: str) -> str:
    return f"set loss/start_pref_{suffix} and loss/limit_pref_{suffix} to 0"


ENERGY_LABELS: dict[str, LabelSpec] = {
    spec.name: spec
    for spec in (
        LabelSpec("energy", high_precision=True, advice=_prefactor("e")),
        LabelSpec("force", per_atom=True, size=3, advice=_prefactor("f")),
        LabelSpec("virial", size=9, advice=_prefactor("v")),
        LabelSpec("atom_ener", per_atom=True, advice=_prefactor("ae")),
        LabelSpec("atom_ener_coeff", per_atom=True, default=1.0, advice="set loss/enable_atom_ener_coeff to false"),
        LabelSpec("atom_pref", per_atom=True, default=1.0, advice=_prefactor("pf") + ", or loss/use_default_pf true"),
        LabelSpec("drdq", per_atom=True, size=3, advice=_prefactor("gf")),
        LabelSpec("hessian", atom_pair=True, advice=_prefactor("h")),
        LabelSpec("fparam", advice="set model/fitting_net/numb_fparam to 0 or give model/fitting_net/default_fparam"),
        LabelSpec("aparam", per_atom=True, advice="set model/fitting_net/numb_aparam to 0"),
        LabelSpec("charge_spin", size=2, advice="use a model without charge and spin inputs"),
    )
}
"""Every array an energy model can learn from or take as input; sizes of drdq, fparam and aparam come from the model."""


def energy_requirements(
    names: Iterable[str] = ("energy", "force", "virial"),
    *,
    numb_fparam: int = 0,
    numb_aparam: int = 0,
    numb_generalized_coord: int = 0,
    default_fparam: tuple[float, ...] | None = None,
    charge_spin: bool = False,
) -> tuple[LabelSpec, ...]:
    """The labels to read for an energy model.

    Args:
        names: labels that the loss (or a test) uses, keys of ``ENERGY_LABELS``.
        numb_fparam, numb_aparam: widths of the model's frame and atomic parameters; 0 leaves them out.
        numb_generalized_coord: number of generalised coordinates, needed for ``drdq``.
        default_fparam: frame parameters of systems without ``fparam.npy``; None makes the file required.
        charge_spin: the model takes total charge and spin of a frame.

    Returns:
        One specification per array. Model inputs without a default are required; labels are not: whether a missing
        label is a mistake depends on its prefactor, see ``load_systems(required=...)``.

    Raises:
        ConfigError: ``drdq`` is asked for without generalised coordinates.
    """
    specs = []
    for name in dict.fromkeys(names):
        spec = ENERGY_LABELS[name]
        if name == "drdq":
            if numb_generalized_coord < 1:
                raise ConfigError(
                    f"loss/numb_generalized_coord is {numb_generalized_coord}, but the label drdq needs at least 1. "
                    "Set it to their number, or loss/start_pref_gf and loss/limit_pref_gf to 0."
                )
            spec = replace(spec, size=3 * numb_generalized_coord)
        specs.append(spec)
    if numb_fparam:
        fallback = 0.0 if default_fparam is None else tuple(default_fparam)
        required = default_fparam is None
        specs.append(replace(ENERGY_LABELS["fparam"], size=numb_fparam, default=fallback, required=required))
    if numb_aparam:
        specs.append(replace(ENERGY_LABELS["aparam"], size=numb_aparam, required=True))
    if charge_spin:
        specs.append(replace(ENERGY_LABELS["charge_spin"], required=True))
    return tuple(specs)
