"""Electron configurations as vectors: what a type vector net may be told of an element instead of a one-hot vector.

Each of the 59 orbitals from 1s to 7p, in the order of :data:`SUBSHELLS`, takes two numbers: -1 -1 empty, -1 1 with one electron,
1 1 with two.  A subshell fills as Hund's rule says, one electron in each orbital first.  Vectors are scaled to length 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dpjax.config.elements import ELEMENTS
from dpjax.errors import ConfigError
from dpjax.nn.electron_table import CONFIGURATIONS

SUBSHELLS = tuple("1s 2s 2p 3s 3p 3d 4s 4p 4d 4f 5s 5p 5d 5f 6s 6p 6d 7s 7p".split())
ORBITALS = tuple(2 * "spdf".index(shell[-1]) + 1 for shell in SUBSHELLS)  # of each subshell
DIMENSION = 2 * sum(ORBITALS)


def electrons(symbol: str) -> dict[str, int]:
    """Number of electrons in each occupied subshell of a neutral atom in its ground state.

    Raises:
        ConfigError: ``symbol`` is no element.
    """
    table = dict(entry.split(":") for entry in CONFIGURATIONS.split())
    if symbol not in table:
        raise ConfigError(
            f"type_map: {symbol!r} is no element, so it has no electron configuration. Use symbols of elements "
            f"({', '.join(ELEMENTS[:3])}, ...) or set use_econf_tebd to false."
        )
    core, outer = re.fullmatch(r"(?:\[(\w+)\])?(.*)", table[symbol]).groups()
    inner = electrons(core) if core else {}
    return inner | {part[:2]: int(part[2:]) for part in outer.split(".")}


def spins(symbol: str) -> np.ndarray:
    """(118,) of -1 and 1: the orbitals of an element."""
    held = electrons(symbol)
    pairs = []
    for shell, orbitals in zip(SUBSHELLS, ORBITALS, strict=True):
        n = held.get(shell, 0)
        each = np.arange(orbitals)
        pairs.append(np.where(each < n - orbitals, 2, np.where(each < n, 1, 0)))
    number = np.concatenate(pairs)
    return np.stack([np.where(number == 2, 1, -1), np.where(number > 0, 1, -1)], axis=1).reshape(-1)


def configuration_vectors(type_map: Sequence[str]) -> np.ndarray:
    """(n_type, 118) vectors of length 1, one row for each type."""
    return np.stack([spins(symbol) for symbol in type_map]) * (1.0 / np.sqrt(DIMENSION))
