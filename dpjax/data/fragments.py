"""Fragments of a frame, as the atomic parameter numbers them for DPRc models (``pairwise_dprc``).

The atoms with the smallest number of a frame, normally 0, are the QM region.  Every other number is a fragment of the MM region.
Atoms with -1 take no part.
"""

from __future__ import annotations

import numpy as np

from dpjax.errors import DataError

IGNORED = -1


def fragment_numbers(types: np.ndarray, aparam: np.ndarray) -> np.ndarray:
    """(n,) the fragments of a frame: 0 of QM atoms, 1, 2, ... of others in the order of their numbers, -1 where they take no part.

    Args:
        types: (n,) of the atoms; -1 for placeholders, which take no part.
        aparam: (n, 1) atomic parameters.

    Raises:
        DataError: one is no whole number, or below -1.
    """
    number = np.asarray(aparam)[:, 0]
    real = np.asarray(types) >= 0
    bad = np.flatnonzero(real & ((number < IGNORED) | (number != np.round(number))))
    if len(bad):
        raise DataError(
            f"aparam of atom {bad[0]} is {number[bad[0]]:g}; expected the number of its fragment, which a model of type "
            "pairwise_dprc takes it for: 0 for QM atoms, 1, 2, ... for those of MM fragments, -1 for atoms that take no part"
        )
    found = np.full(len(number), IGNORED)
    held = real & (number >= 0)
    found[held] = np.unique(number[held], return_inverse=True)[1].reshape(-1)
    return found


def qm_atoms(frame: np.ndarray, real: np.ndarray, aparam: np.ndarray, n_frame: int) -> np.ndarray:
    """(n,) bool, the QM atoms of several frames.

    Args:
        frame: (n,) which frame an atom belongs to.
        real: (n,) bool, False for placeholders.
        aparam: (n,) their numbers.
        n_frame: number of frames.
    """
    held = real & (aparam >= 0)
    first = np.full(n_frame, np.inf)
    np.minimum.at(first, frame[held], aparam[held])
    return held & (aparam == first[frame])


def without_ignored(types: np.ndarray, aparam: np.ndarray) -> np.ndarray:
    """(n,) types of the atoms of a frame with -1 for those that take no part, as placeholders have it.

    Arguments and errors as for :func:`fragment_numbers`.
    """
    return np.where(fragment_numbers(types, aparam) == IGNORED, -1, types).astype(types.dtype)


def qm_types(types: np.ndarray, aparam: np.ndarray) -> np.ndarray:
    """(n,) types of the QM atoms of a frame, -1 for all others; arguments and errors as for :func:`fragment_numbers`."""
    return np.where(fragment_numbers(types, aparam) == 0, types, -1).astype(types.dtype)
