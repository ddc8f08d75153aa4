"""Which rule of HybridMuon a parameter follows, by its name and its shape, and the matrices that it is made of."""

from __future__ import annotations

import math
from typing import Any

import jax

ADAM, ADAM_DECAY, MUON = "adam", "adam_decay", "muon"


def route(name: str, shape: tuple[int, ...], mode: str) -> str:
    """``"adam"``, ``"adam_decay"`` or ``"muon"``.

    Args:
        name: the path of the parameter, joined with "."; upper and lower case are the same.
        shape: of the parameter.
        mode: ``slice``, ``flat`` or ``2d``, as for :func:`matrix_stack`.
    """
    leaf = _own_name(name)
    if "bias" in leaf or leaf.startswith("adam_"):
        return ADAM
    if leaf.startswith("adamw_"):
        return ADAM_DECAY
    if 0 in shape or len(_long_axes(shape)) < 2:
        return ADAM
    return ADAM_DECAY if matrix_stack(shape, mode) is None else MUON


def matrix_stack(shape: tuple[int, ...], mode: str) -> tuple[int, int, int] | None:
    """How many matrices a parameter holds, their rows and columns; None where ``mode`` sees none. Axes of length 1 do not count.

    ``slice`` takes the last two axes for matrices and the others for their number, ``flat`` takes all axes but the last for rows,
    and ``2d`` sees a matrix only where there are two axes.
    """
    long = _long_axes(shape)
    if len(long) < 2 or (mode == "2d" and len(long) > 2):
        return None
    if mode == "flat":
        return 1, math.prod(long[:-1]), long[-1]
    return math.prod(long[:-2]), long[-2], long[-1]


def routes(params: Any, mode: str) -> Any:
    """:func:`route` of each parameter of a tree."""

    def of(path: Any, leaf: Any) -> str:
        return route(jax.tree_util.keystr(path, simple=True, separator="."), leaf.shape, mode)

    return jax.tree_util.tree_map_with_path(of, params)


def _own_name(name: str) -> str:
    """The last part of a path that is no number, as the parameters of a list have; the first part may be one."""
    first, *rest = name.lower().split(".")
    while rest and rest[-1].isdigit():
        rest.pop()
    return rest[-1] if rest else first


def _long_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)
