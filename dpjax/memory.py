"""Memory of the process: how much it took, and keeping what is freed, so that no call has to ask for it again.

XLA's CPU programs take their scratch memory when they start and free it when they end.  The C library hands blocks of that size
back to the kernel at once, which clears every page before the next call may touch it: a third of the time of a training step.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

SWITCH = "DPJAX_KEEP_MEMORY"  # environment variable; "0" leaves the C library alone

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of mallopt(3)
_KEPT = 2**31 - 1  # bytes at the end of the heap that are not handed back
_GROWTH = 2**26  # bytes the heap grows by


def peak_memory() -> int | None:
    """Most bytes this process has held so far; None where the system does not count them."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@cache
def keep_freed_memory() -> bool:
    """Tell the C library once to keep freed memory for the next allocation; returns whether it could.

    The process then stays at its largest size until it ends.  Only glibc has the setting; elsewhere nothing changes.
    """
    if not sys.platform.startswith("linux") or os.environ.get(SWITCH) == "0":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _KEPT), mallopt(_TOP_PAD, _GROWTH)])
