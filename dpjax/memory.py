"""Memory of the process: how much it took, keeping what is freed, and large pages for what is asked for anew.

XLA's CPU programs take their scratch memory when they start and free it when they end.  The C library hands blocks of that size
back to the kernel at once, which clears every page before the next call may touch it: a third of the time of a training step.
What is larger than a thread's heap (64 MiB) it hands back whatever it is told; that costs least in pages of 2 MiB.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path

SWITCH = "DPJAX_KEEP_MEMORY"  # environment variable; "0" leaves the C library alone

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of mallopt(3)
_TUNABLES, _HUGE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
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


def restart_with_huge_pages() -> None:
    """Begin the program again with glibc told to ask for huge pages, which it reads only from the environment of a new process.

    Returns where that would change nothing: not glibc 2.35 or newer, a kernel that gives such pages unasked or never, a
    variable that already says something of it, or :data:`SWITCH` set to "0"; and where more than this program runs in the process,
    which must not end.
    """
    tunables = os.environ.get(_TUNABLES, "")
    if not _is_all_there_is() or os.environ.get(SWITCH) == "0" or _HUGE in tunables or not _huge_pages_for_the_asking():
        return
    wanted = ":".join(filter(None, [tunables, f"{_HUGE}=1"]))
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _TUNABLES: wanted})
    except OSError:
        return  # the program runs all the same


def _is_all_there_is() -> bool:
    """Whether the process was begun with the arguments that the program sees, and has not come far."""
    own = sys.argv[1:]
    return sys.orig_argv[len(sys.orig_argv) - len(own) :] == own and "jax" not in sys.modules


def _huge_pages_for_the_asking() -> bool:
    library, version = platform.libc_ver()
    if library != "glibc" or [int(part) for part in version.split(".")[:2]] < [2, 35]:
        return False
    try:
        return "[madvise]" in _PAGES.read_text()
    except OSError:
        return False
