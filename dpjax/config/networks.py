"""Checks that several components share: activation and precision names, layer sizes, type indices."""

from __future__ import annotations

from collections.abc import Iterable

from dpjax.config.suggestions import did_you_mean, join
from dpjax.errors import ConfigError

ACTIVATIONS = (
    "tanh", "gelu", "gelu_tf", "relu", "relu6", "softplus", "sigmoid", "silu", "silut", "custom_silu", "linear", "none",
)  # fmt: skip
PRECISIONS = ("default", "float16", "float32", "float64", "bfloat16")

ACTIVATION_DOC = (
    "Activation function of the hidden layers: " + ", ".join(ACTIVATIONS) + ". `silut:t` sets the threshold t of silut "
    "(3 when not given); `linear` and `none` apply no function. Case does not matter."
)
PRECISION_DOC = "Floating-point type of the parameters: " + ", ".join(PRECISIONS) + ". `default` is float64."


def check_activation(name: str, path: str) -> None:
    """Raise ConfigError unless ``name`` is an activation function; a threshold ``silut:2.5`` is part of the name."""
    base, colon, threshold = name.lower().partition(":")
    if base not in ACTIVATIONS:
        raise ConfigError(
            f"{path}: unknown activation function {name!r}.{did_you_mean(base, ACTIVATIONS)} "
            f"Choose one of: {', '.join(ACTIVATIONS)}."
        )
    if colon and base not in ("silut", "custom_silu"):
        raise ConfigError(f"{path}: {name!r} has a parameter after the colon, but only silut takes one.")
    if colon and not _is_number(threshold):
        raise ConfigError(f"{path}: found {name!r}; the threshold after the colon must be a number, as in silut:3.0.")


def check_precision(name: str, path: str) -> None:
    """Raise ConfigError unless ``name`` is a precision."""
    if name not in PRECISIONS:
        raise ConfigError(
            f"{path}: unknown precision {name!r}.{did_you_mean(name, PRECISIONS)} Choose one of: "
            f"{', '.join(PRECISIONS)}."
        )


def check_neuron(neuron: tuple[int, ...], path: str, *, empty: bool = False) -> None:
    """Raise ConfigError unless all layer widths are positive; ``empty`` says whether no hidden layer is allowed."""
    if not neuron and not empty:
        raise ConfigError(f"{path}: found an empty list; give the width of at least one hidden layer.")
    for i, width in enumerate(neuron):
        if width < 1:
            raise ConfigError(f"{join(path, i)}: found {width}; the width of a layer must be at least 1.")


def check_type_indices(indices: Iterable[int], type_map: tuple[str, ...], path: str) -> None:
    """Raise ConfigError unless every index names an entry of ``type_map`` (an empty one is unknown and not checked)."""
    for index in indices:
        if index < 0 or (type_map and index >= len(type_map)):
            raise ConfigError(
                f"{path}: found type index {index}, but model/type_map has {len(type_map)} types "
                f"({', '.join(type_map)}); use indices from 0 to {len(type_map) - 1}."
            )


def check_type_pairs(pairs: tuple, type_map: tuple[str, ...], path: str) -> None:
    """Raise ConfigError unless ``pairs`` is a list of pairs of valid type indices."""
    for i, pair in enumerate(pairs):
        here = join(path, i)
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(type(t) is int for t in pair):
            raise ConfigError(f"{here}: found {pair!r}; give pairs of type indices, as in [[0, 1], [1, 1]].")
        check_type_indices(pair, type_map, here)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
