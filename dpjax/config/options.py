"""Options that several components have, each described once."""

from __future__ import annotations

from typing import Any

from dpjax.config.checks import ACTIVATIONS, PRECISIONS
from dpjax.config.schema import REQUIRED, Option

_ACTIVATION = (
    ": " + ", ".join(ACTIVATIONS) + ". `silut:t` sets the threshold t of silut (3 when not given); `linear` and `none` "
    "apply no function. Case does not matter."
)


def sel_by_type() -> Option:
    """``sel`` of descriptors with networks per type."""
    doc = (
        "How many neighbours of each type count: one number per entry of type_map, the largest number that occurs within "
        "rcut or a little more. It normalises the descriptor, and neighbours beyond it are dropped, the farthest first. "
        "`auto` counts them in the training data and adds 10 %; `auto:f` multiplies the count by f instead. The result is "
        "rounded up to a multiple of 4."
    )
    return Option("sel", [list[int], str], doc, "auto")


def sel_in_all() -> Option:
    """``sel`` of descriptors that do not tell neighbour types apart."""
    doc = (
        "How many neighbours count, of all types together: a number, or a list of which only the sum matters. It normalises "
        "the descriptor, and neighbours beyond it are dropped, the farthest first. `auto` counts them in the training data "
        "and adds 10 %; `auto:f` multiplies the count by f instead. The result is rounded up to a multiple of 4."
    )
    return Option("sel", [list[int], int, str], doc, "auto")


def cutoff() -> list[Option]:
    """``rcut`` and ``rcut_smth``."""
    return [
        Option("rcut", float, "Cut-off radius in angstrom: an atom sees the neighbours closer than this.", 6.0),
        Option(
            "rcut_smth",
            float,
            "Distance in angstrom from which a neighbour's weight 1/r is switched smoothly to zero at rcut.",
            0.5,
        ),
    ]


def neuron(default: tuple[int, ...] = (10, 20, 40), dtype: Any = list[int]) -> Option:
    """``neuron`` of an embedding net."""
    doc = (
        "Widths of the layers of the embedding net. A layer as wide as the one before it, or twice as wide, gets a skip "
        "connection."
    )
    return Option("neuron", dtype, doc, list(default))


def axis_neuron(default: int = 4, alias: tuple[str, ...] = ("n_axis_neuron",)) -> Option:
    """``axis_neuron``."""
    doc = (
        "How many columns of the embedding matrix form its second factor; at most the last entry of neuron. The descriptor "
        "has neuron[-1] * axis_neuron components."
    )
    return Option("axis_neuron", int, doc, default, alias=list(alias))


def activation(default: str = "tanh", of: str = "the hidden layers", **rest: Any) -> Option:
    """``activation_function``."""
    return Option("activation_function", str, f"Activation function of {of}{_ACTIVATION}", default, **rest)


def precision(default: str = "default") -> Option:
    """``precision``."""
    doc = "Floating-point type of the parameters: " + ", ".join(PRECISIONS) + ". `default` is float64."
    return Option("precision", str, doc, default)


def resnet_dt(default: bool = False) -> Option:
    """``resnet_dt``."""
    return Option("resnet_dt", bool, "Whether skip connections carry a trained step size.", default)


def type_one_side(default: bool = False) -> Option:
    """``type_one_side`` of descriptors with networks per type."""
    doc = "true: one embedding net per type of neighbour. false: one per pair of centre and neighbour type."
    return Option("type_one_side", bool, doc, default)


def trainable(what: str = "the descriptor") -> Option:
    """``trainable``."""
    return Option("trainable", bool, f"Whether training changes the parameters of {what}.", True)


def seed(what: str = "the embedding nets", **rest: Any) -> Option:
    """``seed``."""
    doc = f"Seed of the initial parameters of {what}; drawn from training/seed if absent."
    return Option("seed", [int, None], doc, **rest)


def exclude_types() -> Option:
    """``exclude_types`` of a descriptor."""
    doc = "Pairs of types that do not see each other in this descriptor, as in [[0, 1]]."
    return Option("exclude_types", list[list[int]], doc, [])


def env_protection(default: float = 0.0) -> Option:
    """``env_protection``."""
    doc = "Length in angstrom added to distances in denominators; keeps the descriptor of very close atoms finite."
    return Option("env_protection", float, doc, default)


def set_davg_zero(default: bool = False) -> Option:
    """``set_davg_zero``."""
    doc = (
        "Do not subtract the mean of the environment, so that an atom without neighbours has a zero descriptor. Wanted with "
        "atom_ener or preset_out_bias."
    )
    return Option("set_davg_zero", bool, doc, default)


def concat_output_tebd(default: bool = True) -> Option:
    """``concat_output_tebd``."""
    return Option("concat_output_tebd", bool, "Append the type vector of the centre to its descriptor.", default)


def use_econf_tebd() -> Option:
    """``use_econf_tebd``."""
    doc = (
        "Make the type vectors from the electronic configuration of the elements instead of from a one-hot vector; type_map "
        "must then hold element symbols."
    )
    return Option("use_econf_tebd", bool, doc, False)


def use_tebd_bias(default: bool = False) -> Option:
    """``use_tebd_bias``."""
    return Option("use_tebd_bias", bool, "Whether the layer that makes the type vectors has a bias.", default)


def tebd_dim(default: int = 8) -> Option:
    """``tebd_dim``."""
    return Option("tebd_dim", int, "Length of the trained vector that stands for an atom type.", default)


CHARGE_AND_SPIN = "a model of frames with a charge and a spin"


def add_chg_spin_ebd(not_built: str = CHARGE_AND_SPIN) -> Option:
    """``add_chg_spin_ebd``; `not_built` says what it waits for, nothing where a descriptor has it."""
    doc = (
        "Add a trained vector made from the total charge and the spin of the frame to the type vectors; both numbers are read "
        "from charge_spin.npy."
    )
    return Option("add_chg_spin_ebd", bool, doc, False, not_built=not_built)


def default_chg_spin(not_built: str = CHARGE_AND_SPIN) -> Option:
    """``default_chg_spin``; as :func:`add_chg_spin_ebd`."""
    doc = (
        "Charge and spin, as in [0, 1], of frames without charge_spin.npy and of evaluations that give none. Charges run from "
        "-100 to 99, spins from 0 to 99; digits after the point are cut off. Only add_chg_spin_ebd makes use of it."
    )
    return Option("default_chg_spin", [list[float], None], doc, None, not_built=not_built, used_with="add_chg_spin_ebd")


TEBD_INPUT_MODES = ("concat", "strip")


def tebd_input_mode(default: str = "concat", of: str = "the distance") -> Option:
    """``tebd_input_mode``, one of ``TEBD_INPUT_MODES``; ``of`` is what the embedding net takes in any case."""
    doc = (
        f"How the type vectors enter the embedding. `concat`: the embedding net takes them beside {of}. `strip`: a second net "
        f"takes them, and the embedding is g * (1 + t), where g is the net of {of} and t the second net."
    )
    return Option("tebd_input_mode", str, doc, default)


def nsel(name: str = "nsel", rcut: str = "rcut", default: Any = REQUIRED) -> Option:
    """The number of neighbours of all types within the option ``rcut``, under the key ``name``."""
    doc = (
        f"How many neighbours within {rcut} count, of all types together; those beyond are dropped, the farthest first. `auto` "
        "counts them in the training data and adds 10 %; `auto:f` multiplies the count by f instead. The result is rounded up "
        "to a multiple of 4."
    )
    return Option(name, [int, str], doc, default)


def newer(option: Option) -> Option:
    """The same option of a component that only newer versions have: kept when given, and not filled in."""
    return Option(
        option.name,
        option.dtype,
        option.doc,
        neutral=option.neutral,
        newer=True,
        also=option.accepted,
        alias=option.alias,
    )


def type_one_side_of_vectors(default: bool = False) -> Option:
    """``type_one_side`` of descriptors with one network for all types and a vector per type."""
    doc = "true: the embedding depends on the type vector of the neighbour. false: on that of the centre as well."
    return Option("type_one_side", bool, doc, default)
