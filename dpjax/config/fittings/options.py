"""Options that the fitting nets have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dpjax.config import options
from dpjax.config.checks import check_activation, check_at_least, check_neuron, check_precision
from dpjax.config.problems import Problem
from dpjax.config.schema import Option
from dpjax.config.suggestions import join


def input_options() -> list[Option]:
    """What enters the net beside the descriptor."""
    return [
        Option(
            "numb_fparam",
            int,
            "How many numbers describe a whole frame (say, an electronic temperature) and enter the net beside the "
            "descriptor; read from fparam.npy.",
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
    ]


def network_options(
    neuron: tuple[int, ...] = (120, 120, 120),
    activation: str = "tanh",
    precision: str = "default",
    resnet_dt: bool = True,
    alias: tuple[str, ...] = ("n_neuron",),
    about_neuron: str = "",
) -> list[Option]:
    """The net itself; ``about_neuron`` is a further sentence on the widths."""
    return [
        Option(
            "neuron",
            list[int],
            f"Widths of the hidden layers. A layer as wide as the one before it gets a skip connection.{about_neuron}",
            list(neuron),
            alias=list(alias),
        ),
        options.activation(activation),
        options.precision(precision),
        options.resnet_dt(resnet_dt),
        options.seed("the net"),
    ]


def trainable() -> Option:
    """``trainable`` of nets whose layers can be frozen one by one."""
    return Option(
        "trainable",
        [list[bool], bool],
        "Whether training changes the net; a list says it for each hidden layer and the output layer.",
        True,
    )


def rcond() -> Option:
    """``rcond`` of the least squares for the output per type."""
    doc = (
        "Relative size below which singular values are dropped in the least squares for the output per type; null is "
        "machine precision."
    )
    return Option("rcond", [float, None], doc, None)


def check_net(cfg: Any, path: str, *, widths: bool = True) -> Iterator[Problem]:
    """The rules of :func:`input_options`, :func:`network_options` and, where ``cfg`` has it, :func:`trainable`.

    ``widths`` says whether the widths are checked here, with no hidden layer allowed.
    """
    if widths:
        yield from check_neuron(cfg.neuron, join(path, "neuron"), empty=True)
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    yield from check_precision(cfg.precision, join(path, "precision"))
    yield from check_at_least(cfg, 0, ["numb_fparam", "numb_aparam", "dim_case_embd"], path)
    given = getattr(cfg, "default_fparam", None)
    if given is not None and len(given) != cfg.numb_fparam:
        text = f"found {len(given)} numbers, but numb_fparam is {cfg.numb_fparam}. The two must agree."
        yield Problem(join(path, "default_fparam"), text)
    yield from check_per_layer(cfg, "trainable", path)


def check_per_layer(cfg: Any, key: str, path: str) -> Iterator[Problem]:
    """A list per layer must have one entry for each hidden layer and the output layer."""
    given, n_layer = getattr(cfg, key, None), len(cfg.neuron) + 1
    if isinstance(given, tuple) and len(given) != n_layer:
        yield Problem(
            join(path, key),
            f"found {len(given)} entries, expected {n_layer}: one for each of the {len(cfg.neuron)} hidden layers and one "
            "for the output layer.",
        )


def check_widths_or_auto(neuron: tuple[int, ...], path: str) -> Iterator[Problem]:
    """Widths of nets that a DPA4 model can have, where 0 leaves the width to be found from that of the input."""
    for i, width in enumerate(neuron):
        if width < 0:
            text = (
                f"found {width}; the width of a layer must be at least 1, or 0 to find it from the input (DPA4 models)."
            )
            yield Problem(join(path, i), text)
