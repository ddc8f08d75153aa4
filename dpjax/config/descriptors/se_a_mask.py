"""Options of the ``se_a_mask`` descriptor: ``se_e2_a`` without cut-off, for open boundaries and virtual atoms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.checks import (
    check_activation,
    check_axis_neuron,
    check_neuron,
    check_precision,
    check_sel,
    check_type_pairs,
)
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join

WHOLE_FRAME = (
    1e4  # angstrom; no two atoms of a frame are farther apart. DeePMD-kit's TensorFlow backend has the same number
)


@dataclass(frozen=True)
class SeAMaskConfig:
    """Hyper-parameters of ``se_a_mask``."""

    sel: tuple[int, ...] | str = "auto"  # atoms of each type in a frame, real and virtual
    neuron: tuple[int, ...] = (10, 20, 40)
    axis_neuron: int = 4
    activation_function: str = "tanh"
    resnet_dt: bool = False
    type_one_side: bool = False
    exclude_types: tuple[tuple[int, int], ...] = ()
    precision: str = "default"
    trainable: bool = True
    seed: int | None = None

    rcut = WHOLE_FRAME  # no option: of the neighbour table


def _options() -> list[Option]:
    sel = (
        "How many atoms of each type a frame has, real and virtual ones together: one number per entry of type_map. There is "
        "no cut-off, so that every atom sees all others; `auto` counts the atoms of the training data."
    )
    return [
        Option("sel", [list[int], str], sel, "auto"),
        options.neuron(),
        options.axis_neuron(),
        options.activation(),
        options.resnet_dt(),
        options.type_one_side(),
        options.exclude_types(),
        options.precision(),
        options.trainable("the embedding nets"),
        options.seed(),
    ]


def _check(cfg: SeAMaskConfig, path: str, context: Context) -> Iterator[Problem]:
    wrong = [*check_sel(cfg.sel, context.type_map, join(path, "sel"))]
    yield from wrong
    if not wrong and isinstance(cfg.sel, str) and ":" in cfg.sel:
        text = f"found {cfg.sel!r}; sel counts the atoms of a frame, which need no room. Give numbers, or `auto`."
        yield Problem(join(path, "sel"), text)
    yield from check_neuron(cfg.neuron, join(path, "neuron"))
    yield from check_axis_neuron(cfg.axis_neuron, cfg.neuron, join(path, "axis_neuron"))
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    yield from check_type_pairs(cfg.exclude_types, context.type_map, join(path, "exclude_types"))
    yield from check_precision(cfg.precision, join(path, "precision"))


SE_A_MASK = Component(
    "se_a_mask",
    SeAMaskConfig,
    _options,
    _check,
    doc="se_e2_a without periodicity and cut-off; aparam.npy says which atoms are real (1) or virtual (0).",
)
