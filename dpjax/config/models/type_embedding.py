"""The ``type_embedding`` section of a model: type vectors that belong to the model and not to its descriptor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dpjax.config import options
from dpjax.config.checks import check_activation, check_elements, check_neuron, check_precision
from dpjax.config.descriptors.kinds import MODEL_VECTORS
from dpjax.config.problems import Problem
from dpjax.config.schema import Context, Option, parsed
from dpjax.config.suggestions import join

NEEDED = ("se_a_ebd_v2", "se_a_tpe_v2")  # descriptors that have no type vectors without it


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
        "A network that turns each atom type into a vector, which descriptor and fitting net share, so that one fitting net "
        "serves all types. This is the form of DeePMD-kit's TensorFlow backend; elsewhere type vectors are part of the "
        "descriptor.",
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


def completed(section: Any) -> None:
    """Give a model section as the user wrote it, in place, the type vectors that ``se_a_ebd_v2`` cannot do without.

    They are those of DeePMD-kit's TensorFlow backend: one linear layer.
    """
    descriptor = section.get("descriptor")
    listed = descriptor.get("list") if isinstance(descriptor, dict) else None
    parts = [descriptor, *(listed if isinstance(listed, list) else ())]
    if any(isinstance(part, dict) and part.get("type") in NEEDED for part in parts):
        section.setdefault("type_embedding", {"activation_function": "none"})


def with_model_vectors(descriptor: Any, vectors: TypeEmbeddingConfig | None) -> Any:
    """The dataclass of a descriptor whose type vectors are those of the model: their length is that of the model's.

    The fitting net is given the vector of the centre by the model, so the descriptor does not append it.
    """
    if vectors is None or descriptor is None or not vectors.neuron:
        return descriptor
    if hasattr(descriptor, "list"):
        return replace(descriptor, list=tuple(with_model_vectors(member, vectors) for member in descriptor.list))
    if not hasattr(descriptor, "tebd_dim"):
        return descriptor
    return replace(descriptor, tebd_dim=vectors.neuron[-1], concat_output_tebd=False)


def lacks(section: dict, path: str) -> Iterator[Problem]:
    """Descriptors of a normalised model section that cannot have its type vectors, and options that contradict them."""
    descriptor = section.get("descriptor", {})
    if section.get("type_embedding") is None:
        return
    here, remedy = join(path, "descriptor"), f"or remove the section {join(path, 'type_embedding')}."
    listed = [(join(here, f"list/{i}"), part) for i, part in enumerate(descriptor.get("list", ()))]
    for place, part in listed or [(here, descriptor)]:
        if part["type"] not in MODEL_VECTORS:
            text = (
                f"found {part['type']!r}, which tells types apart in its own way, beside a type_embedding of the model. Take "
                f"one of {', '.join(MODEL_VECTORS)}, {remedy}"
            )
            yield Problem(join(place, "type"), text)
        elif part.get("concat_output_tebd") is False:
            text = "found false, but with a type_embedding of the model the fitting net is always given the type of the atom."
            yield Problem(join(place, "concat_output_tebd"), f"{text} Set it to true, {remedy}")


def parse(section: dict, path: str, context: Context) -> TypeEmbeddingConfig | None:
    """The dataclass of a normalised section; None where something in it is wrong."""
    return parsed(TypeEmbeddingConfig, _check, section, path, context)


def _check(cfg: TypeEmbeddingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_neuron(cfg.neuron, join(path, "neuron"))
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    yield from check_precision(cfg.precision, join(path, "precision"))
    yield from check_elements(cfg.use_econf_tebd, context.type_map, join(path, "use_econf_tebd"))
