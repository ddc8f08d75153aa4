"""Checks that several components share: activation and precision names, layer sizes, type indices, ranges.

Each yields a :class:`Problem` for what is wrong, so that one run names everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dpjax.config.elements import ELEMENTS
from dpjax.config.problems import Problem
from dpjax.config.suggestions import did_you_mean, join, show

ACTIVATIONS = (
    "tanh", "gelu", "gelu_tf", "relu", "relu6", "softplus", "sigmoid", "silu", "silut", "custom_silu", "linear", "none",
)  # fmt: skip
PRECISIONS = ("default", "float16", "float32", "float64", "bfloat16")


def check_activation(name: str, path: str) -> Iterator[Problem]:
    """``name`` must be an activation function; a threshold ``silut:2.5`` is part of the name."""
    base, colon, threshold = name.lower().partition(":")
    if base not in ACTIVATIONS:
        guess = did_you_mean(base, ACTIVATIONS)
        yield Problem(path, f"unknown activation function {name!r}.{guess} Choose one of: {', '.join(ACTIVATIONS)}.")
    elif colon and base not in ("silut", "custom_silu"):
        yield Problem(path, f"{name!r} has a parameter after the colon, but only silut takes one.")
    elif colon and not _is_number(threshold):
        yield Problem(path, f"found {name!r}; the threshold after the colon must be a number, as in silut:3.0.")


def check_precision(name: str, path: str) -> Iterator[Problem]:
    """``name`` must be a precision."""
    if name not in PRECISIONS:
        guess = did_you_mean(name, PRECISIONS)
        yield Problem(path, f"unknown precision {name!r}.{guess} Choose one of: {', '.join(PRECISIONS)}.")


def check_choice(value: str, valid: Iterable[str], path: str) -> Iterator[Problem]:
    """``value`` must be one of the words ``valid``."""
    valid = tuple(valid)
    if value not in valid:
        yield Problem(path, f"found {value!r}.{did_you_mean(value, valid)} Choose one of: {', '.join(valid)}.")


def check_at_least(config: Any, least: float, keys: Iterable[str], path: str) -> Iterator[Problem]:
    """The options ``keys`` of ``config`` must not be smaller than ``least``; those that are None are left alone."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and value < least:
            rule = "it must not be negative" if least == 0 else f"it must be at least {least}"
            yield Problem(join(path, key), f"found {show(value)}; {rule}.")


def check_positive(config: Any, keys: Iterable[str], path: str) -> Iterator[Problem]:
    """The options ``keys`` of ``config`` must be greater than zero; those that are None are left alone."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and value <= 0:
            yield Problem(join(path, key), f"found {show(value)}; it must be positive.")


def check_neuron(neuron: tuple[int, ...], path: str, *, empty: bool = False) -> Iterator[Problem]:
    """All layer widths must be positive; ``empty`` says whether no hidden layer is allowed."""
    if not neuron and not empty:
        yield Problem(path, "found an empty list; give the width of at least one hidden layer.")
    for i, width in enumerate(neuron):
        if type(width) is not int:
            yield Problem(join(path, i), f"found {show(width)}; the width of a layer is a whole number.")
        elif width < 1:
            yield Problem(join(path, i), f"found {width}; the width of a layer must be at least 1.")


def check_axis_neuron(axis_neuron: int, neuron: tuple[int, ...], path: str) -> Iterator[Problem]:
    """The second factor of the descriptor is made of columns of the embedding matrix, so it cannot have more."""
    width = neuron[-1] if neuron else 0
    if type(width) is int and width > 0 and not 1 <= axis_neuron <= width:  # a wrong width is for check_neuron
        yield Problem(path, f"found {axis_neuron}; it must lie between 1 and the last entry of neuron ({width}).")


def check_cutoff(rcut: float, rcut_smth: float, path: str, prefix: str = "") -> Iterator[Problem]:
    """``0 <= rcut_smth < rcut``; ``prefix`` stands before both names, as in ``e_rcut``."""
    if rcut <= 0:
        yield Problem(f"{path}/{prefix}rcut", f"found {rcut}; the cut-off must be a positive length in angstrom.")
    elif not 0 <= rcut_smth < rcut:
        text = f"found {rcut_smth} with {prefix}rcut {rcut}; it must be at least 0 and less than {prefix}rcut."
        yield Problem(f"{path}/{prefix}rcut_smth", text)


def check_sel(sel: tuple[int, ...] | str, type_map: tuple[str, ...], path: str) -> Iterator[Problem]:
    """``sel`` must be ``auto[:factor]`` or one non-negative number per type."""
    if isinstance(sel, str):
        yield from _check_auto(sel, path)
    elif type_map and len(sel) != len(type_map):
        yield Problem(
            path,
            f"found {len(sel)} entries {list(sel)}, but model/type_map has {len(type_map)} ({', '.join(type_map)}). Give one "
            "number per type, or `auto`; `dpjax neighbor-stat` counts neighbours.",
        )
    elif any(n < 0 for n in sel):
        yield Problem(path, f"found {list(sel)}; a number of neighbours must not be negative.")
    elif sum(sel) == 0:
        yield Problem(path, f"found {list(sel)}; at least one neighbour must count.")


def check_sel_in_all(sel: int | tuple[int, ...] | str, type_map: tuple[str, ...], path: str) -> Iterator[Problem]:
    """``sel`` of a descriptor that does not tell types apart: ``auto[:factor]``, a number, or a list that is summed."""
    if isinstance(sel, int):
        if sel < 1:
            yield Problem(path, f"found {sel}; at least one neighbour must count.")
        return
    yield from check_sel(sel, type_map if not isinstance(sel, str) and len(sel) > 1 else (), path)


def check_type_indices(indices: Iterable[int], type_map: tuple[str, ...], path: str) -> Iterator[Problem]:
    """Every index must name an entry of ``type_map`` (an empty one is unknown and not checked)."""
    for index in indices:
        if index < 0 or (type_map and index >= len(type_map)):
            yield Problem(
                path,
                f"found type index {index}, but model/type_map has {len(type_map)} types ({', '.join(type_map)}); use "
                f"indices from 0 to {len(type_map) - 1}.",
            )


def check_type_pairs(pairs: tuple, type_map: tuple[str, ...], path: str) -> Iterator[Problem]:
    """``pairs`` must be a list of pairs of valid type indices."""
    for i, pair in enumerate(pairs):
        here = join(path, i)
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(type(t) is int for t in pair):
            yield Problem(here, f"found {show(pair)}; give pairs of type indices, as in [[0, 1], [1, 1]].")
        else:
            yield from check_type_indices(pair, type_map, here)


def check_per_type(values: tuple | None, type_map: tuple[str, ...], what: str, path: str) -> Iterator[Problem]:
    """A list per type must have one entry per type; an absent or empty one says nothing."""
    if values and type_map and len(values) != len(type_map):
        yield Problem(
            path,
            f"found {len(values)} entries, but model/type_map has {len(type_map)} ({', '.join(type_map)}). Give {what} per "
            "type.",
        )


def check_elements(used: bool, type_map: tuple[str, ...], path: str) -> Iterator[Problem]:
    """Where electronic configurations are ``used``, every type must be an element."""
    others = [name for name in type_map if name not in ELEMENTS] if used else []
    if others:
        text = f"found true, but model/type_map has {', '.join(others)}, which no chemical element is called."
        yield Problem(path, f"{text} Rename the types, or set it to false.")


def _check_auto(text: str, path: str) -> Iterator[Problem]:
    word, colon, factor = text.partition(":")
    if word != "auto" or (colon and not _is_number(factor)):
        yield Problem(path, f'found "{text}"; write "auto", or "auto:1.2" to keep 20 % more than the largest count.')
    elif colon and not 1 <= float(factor) < float("inf"):
        yield Problem(path, f'found "{text}"; the factor after the colon must be at least 1.')


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
