"""Options of the ``property`` fitting net: numbers of any meaning that do not change when the frame is rotated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least
from dpjax.config.fittings import options
from dpjax.config.fittings.outputs import AtomicOutput, named_property
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import join

# files of every data set, inputs of models, and the flags of real atoms that a model returns beside its prediction
_TAKEN = ("box", "coord", "numb_copy", "fparam", "aparam", "charge_spin", "mask")
_TAKEN_ENDINGS = ("_redu", "_derv_r", "_derv_c")  # quantities that follow from a prediction, in DeePMD-kit


@dataclass(frozen=True, kw_only=True)
class PropertyFittingConfig:
    """Hyper-parameters of the net for a property."""

    property_name: str
    task_dim: int = 1
    intensive: bool = False
    distinguish_types: bool = True
    numb_fparam: int = 0
    numb_aparam: int = 0
    default_fparam: tuple[float, ...] | None = None
    dim_case_embd: int = 0
    neuron: tuple[int, ...] = (120, 120, 120)  # 0: from the width of the input, in a DPA4 model
    activation_function: str = "tanh"
    resnet_dt: bool = True
    precision: str = "default"
    seed: int | None = None
    trainable: bool | tuple[bool, ...] = True  # a tuple has one entry per layer, the output layer included

    @property
    def output(self) -> AtomicOutput:
        """What the net predicts."""
        return named_property(self.property_name, self.task_dim, self.intensive)


def _options() -> list[Option]:
    return [
        *options.input_options(),
        *options.network_options(
            about_neuron=" In a model of type dpa4, 0 takes 8/3 of the width of the input, rounded up to a multiple of 32."
        ),
        Option(
            "task_dim", int, "How many numbers the property has, which is the number of columns of its label file.", 1
        ),
        Option(
            "intensive",
            bool,
            "Whether the property of the frame is the mean over its atoms instead of the sum, so that it does not grow "
            "with the number of atoms.",
            False,
        ),
        Option(
            "distinguish_types",
            bool,
            "Whether every atom type gets a bias of its own from the data; false takes one bias for all types.",
            True,
        ),
        Option(
            "property_name",
            str,
            "Name of the property. Labels are read from the file that is called so, with the ending .npy.",
            REQUIRED,
        ),
        options.trainable(),
    ]


def _check(cfg: PropertyFittingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from options.check_net(cfg, path, widths=False)
    yield from options.check_widths_or_auto(cfg.neuron, join(path, "neuron"))
    yield from check_at_least(cfg, 1, ["task_dim"], path)
    yield from _check_name(cfg.property_name, join(path, "property_name"))


def _check_name(name: str, path: str) -> Iterator[Problem]:
    if not name.strip():
        yield Problem(path, f"found {name!r}; give the name of the label file without its ending, for example homo.")
    elif name in _TAKEN or name.endswith(_TAKEN_ENDINGS):
        taken = f"{', '.join(_TAKEN)} and names that end in {', '.join(_TAKEN_ENDINGS)}"
        yield Problem(path, f"found {name!r}; {taken} have a meaning already. Choose another name.")


PROPERTY = Component(
    "property",
    PropertyFittingConfig,
    _options,
    _check,
    doc="Any quantity that stays the same when the frame is rotated, by the name of its label file.",
)
