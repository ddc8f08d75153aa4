"""What fitting nets predict: names and shapes of the values of an atom and of a frame, and the labels they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, kw_only=True)
class AtomicOutput:
    """A quantity that a fitting net predicts for every atom, and what it makes of a frame.

    Attributes:
        name: in ``preset_out_bias`` and statistics, as DeePMD-kit calls it there.
        atomic: of the values of the atoms, among the outputs of a model.
        total: of the value of the frame, among the outputs of a model.
        label: of the value of the frame, among the labels.
        atom_label: of the values of the atoms, among the labels.
        losses: types of the ``loss`` section that can train it, the usual one first.
        shape: of the value of one atom.
        intensive: whether the value of the frame is the mean over its atoms instead of the sum.
        differentiated: whether its derivatives by the coordinates are outputs, too.
        biased: whether every type has a value of its own, taken from the data.
    """

    name: str
    atomic: str
    total: str
    label: str
    atom_label: str
    losses: tuple[str, ...]
    shape: tuple[int, ...] = ()
    intensive: bool = False
    differentiated: bool = False
    biased: bool = True

    @property
    def size(self) -> int:
        """Numbers of one atom."""
        return prod(self.shape)

    @property
    def total_shape(self) -> tuple[int, ...]:
        """Shape of the value of one frame: that of an atom, or (1,) where that is a single number."""
        return self.shape or (1,)


ENERGY = AtomicOutput(
    name="energy",
    atomic="atom_energy",
    total="energy",
    label="energy",
    atom_label="atom_ener",
    losses=("ener", "ener_spin", "dens"),
    differentiated=True,
)
DIPOLE = AtomicOutput(
    name="dipole",
    atomic="dipole",
    total="global_dipole",
    label="dipole",
    atom_label="atom_dipole",
    losses=("tensor",),
    shape=(3,),
    differentiated=True,
    biased=False,
)
POLARIZABILITY = AtomicOutput(
    name="polarizability",
    atomic="polar",
    total="global_polar",
    label="polarizability",
    atom_label="atom_polarizability",
    losses=("tensor",),
    shape=(3, 3),
)


def density_of_states(numb_dos: int) -> AtomicOutput:
    """The density of states on a grid of so many energies."""
    return AtomicOutput(
        name="dos",
        atomic="atom_dos",
        total="dos",
        label="dos",
        atom_label="atom_dos",
        losses=("dos",),
        shape=(numb_dos,),
    )


def named_property(name: str, task_dim: int, intensive: bool) -> AtomicOutput:
    """A property of so many numbers that is called like its label file."""
    return AtomicOutput(
        name=name,
        atomic=f"atom_{name}",
        total=name,
        label=name,
        atom_label=f"atom_{name}",
        losses=("property",),
        shape=(task_dim,),
        intensive=intensive,
    )
