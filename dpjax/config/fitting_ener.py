"""Options of the ``ener`` fitting net: atomic energies from descriptors."""

from __future__ import annotations

from dataclasses import dataclass

from dpjax.config.networks import ACTIVATION_DOC, PRECISION_DOC, check_activation, check_neuron, check_precision
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join
from dpjax.errors import ConfigError


@dataclass(frozen=True)
class EnerFittingConfig:
    """Hyper-parameters of the energy fitting net; energies in eV."""

    neuron: tuple[int, ...] = (120, 120, 120)
    activation_function: str = "tanh"
    resnet_dt: bool = True
    numb_fparam: int = 0
    numb_aparam: int = 0
    default_fparam: tuple[float, ...] | None = None
    dim_case_embd: int = 0
    precision: str = "default"
    trainable: bool | tuple[bool, ...] = True  # a tuple has one entry per layer, the output layer included
    rcond: float | None = None
    seed: int | None = None
    atom_ener: tuple[float | None, ...] = ()
    layer_name: tuple[str | None, ...] | None = None
    use_aparam_as_mask: bool = False


def _options() -> list[Option]:
    return [*_input_options(), *_network_options(), *_energy_options()]


def _input_options() -> list[Option]:
    return [
        Option(
            "numb_fparam",
            int,
            "How many numbers describe a whole frame (say, an electronic temperature) and enter the net beside the "
            "descriptor; "
            "read from fparam.npy.",
            0,
        ),
        Option("numb_aparam", int, "How many numbers describe each atom and enter the net; read from aparam.npy.", 0),
        Option(
            "default_fparam",
            [list[float], None],
            "Frame parameters for systems without fparam.npy and for evaluations that give none; numb_fparam numbers.",
            None,
        ),
        Option(
            "dim_case_embd",
            int,
            "Length of the vector that tells the data sets of a multi-task training apart; it enters the net.",
            0,
        ),
        Option(
            "use_aparam_as_mask",
            bool,
            "Treat the atomic parameter as a real/virtual flag for the descriptor and do not feed it to the net.",
            False,
        ),
    ]


def _network_options() -> list[Option]:
    return [
        Option(
            "neuron",
            list[int],
            "Widths of the hidden layers. A layer as wide as the one before it gets a skip connection.",
            [120, 120, 120],
            alias=["n_neuron"],
        ),
        Option("activation_function", str, ACTIVATION_DOC, "tanh"),
        Option("precision", str, PRECISION_DOC, "default"),
        Option("resnet_dt", bool, "Whether skip connections carry a trained step size.", True),
        Option(
            "trainable",
            [list[bool], bool],
            "Whether training changes the net; a list says it for each hidden layer and the output layer.",
            True,
        ),
        Option("seed", [int, None], "Seed of the initial parameters of the net; drawn from training/seed if absent."),
        Option(
            "layer_name",
            list[str | None],
            "A name for each hidden layer and the output layer. Layers of the same name share their parameters; null "
            "shares nothing.",
        ),
    ]


def _energy_options() -> list[Option]:
    return [
        Option(
            "rcond",
            [float, None],
            "Relative size below which singular values are dropped in the least squares for the energy per type; "
            "null is machine "
            "precision.",
            None,
        ),
        Option(
            "atom_ener",
            list[float | None],
            "Energy in eV of an isolated atom of each type, kept as the bias of that type; null leaves it to the data.",
            [],
        ),
    ]


def _check(cfg: EnerFittingConfig, path: str, context: Context) -> None:
    check_neuron(cfg.neuron, join(path, "neuron"), empty=True)
    check_activation(cfg.activation_function, join(path, "activation_function"))
    check_precision(cfg.precision, join(path, "precision"))
    _check_inputs(cfg, path)
    n_layer = len(cfg.neuron) + 1
    for key in ("trainable", "layer_name"):
        given = getattr(cfg, key)
        if isinstance(given, tuple) and len(given) != n_layer:
            raise ConfigError(
                f"{path}/{key}: found {len(given)} entries, expected {n_layer}: one for each of the "
                f"{len(cfg.neuron)} hidden "
                "layers and one for the output layer."
            )
    n_type = len(context.type_map)
    if cfg.atom_ener and n_type and len(cfg.atom_ener) != n_type:
        raise ConfigError(
            f"{path}/atom_ener: found {len(cfg.atom_ener)} entries, but model/type_map has {n_type} "
            f"({', '.join(context.type_map)}). Give one energy in eV, or null, per type."
        )
    if cfg.rcond is not None and cfg.rcond < 0:
        raise ConfigError(f"{path}/rcond: found {cfg.rcond}; it must not be negative.")


def _check_inputs(cfg: EnerFittingConfig, path: str) -> None:
    for key in ("numb_fparam", "numb_aparam", "dim_case_embd"):
        if getattr(cfg, key) < 0:
            raise ConfigError(f"{path}/{key}: found {getattr(cfg, key)}; it must not be negative.")
    given = cfg.default_fparam
    if given is not None and len(given) != cfg.numb_fparam:
        raise ConfigError(
            f"{path}/default_fparam: found {len(given)} numbers, but numb_fparam is {cfg.numb_fparam}. The two must "
            "agree."
        )
    if cfg.use_aparam_as_mask and cfg.numb_aparam == 0:
        raise ConfigError(
            f"{path}/use_aparam_as_mask: found true, but numb_aparam is 0. Set numb_aparam, or remove the key."
        )


ENER = Component(
    "ener", EnerFittingConfig, _options, _check, doc="Atomic energies; their sum is the energy of the frame."
)
