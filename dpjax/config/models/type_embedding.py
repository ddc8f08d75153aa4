"""The ``type_embedding`` section of a model: type vectors that belong to the model and not to its descriptor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.checks import check_activation, check_elements, check_neuron, check_precision
from dpjax.config.problems import Problem
from dpjax.config.schema import Context, Option, parsed
from dpjax.config.suggestions import join


@dataclass(frozen=True, kw_only=True)
class TypeEmbeddingConfig:
    """The network that makes the type vectors."""

    neuron: tuple[int, ...] = (8,)
    activation_function: str = "tanh"
    resnet_dt: bool = False
    precision: str = "default"
    trainable: bool = True
    seed: int | None = None
    use_econf_tebd: bool = False
    use_tebd_bias: bool = False


def argument() -> Option:
    """The ``type_embedding`` section."""
    return Option(
        "type_embedding",
        dict,
        "A network that turns each atom type into a vector, which descriptor and fitting net share. Only the TensorFlow form "
        "of DeePMD-kit has it here; elsewhere it is part of the descriptor.",
        not_built="the type embedding of the TensorFlow form",
        sub_fields=_options(),
    )


def _options() -> list[Option]:
    return [
        Option("neuron", list[int], "Widths of the layers; the last one is the length of a type vector.", [8]),
        options.activation(of="the layers"),
        options.resnet_dt(),
        options.precision(),
        options.trainable("the type vectors"),
        options.seed("the type vectors", default=None),
        options.use_econf_tebd(),
        options.use_tebd_bias(),
    ]


def parse(section: dict, path: str, context: Context) -> TypeEmbeddingConfig | None:
    """The dataclass of a normalised section; None where something in it is wrong."""
    return parsed(TypeEmbeddingConfig, _check, section, path, context)


def _check(cfg: TypeEmbeddingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_neuron(cfg.neuron, join(path, "neuron"))
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    yield from check_precision(cfg.precision, join(path, "precision"))
    yield from check_elements(cfg.use_econf_tebd, context.type_map, join(path, "use_econf_tebd"))
