"""Coarse capacity ladders: few distinct array sizes, so that few programs are compiled."""

from __future__ import annotations

ATOM_BLOCK = 16  # capacities above this are multiples of it, so that atom blocks divide them


def round_up(n: int, *, multiple: int = 1) -> int:
    """The smallest ladder size that holds ``n``: eight steps to each doubling, so at most 1/8 is padding.

    Args:
        n: number of entries, >= 0.  Zero stays zero (an absent type costs nothing).
        multiple: sizes above this are multiples of it.
    """
    if n <= 0:
        return 0
    step = 1 << max(0, (n - 1).bit_length() - 4)
    step = max(step, multiple) if n > multiple else step
    return -(-n // step) * step
