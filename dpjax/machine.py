"""Memory of the machine, or of the part of it that this process may use: what there is, and what is free."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

LEAST = 2.0**28  # bytes that are taken to be free, whatever the system says
_GROUPS = tuple(
    tuple(Path("/sys/fs/cgroup", name) for name in names)
    for names in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    )
)  # of a container: what it may use, what it uses, and how much of that is files, which give way


@cache
def whole_memory() -> float:
    """Bytes of memory; infinite where nothing says it."""
    return min(_memory_of_system(), *(_number(limit) for limit, _, _ in _GROUPS))


def free_memory() -> float:
    """Bytes of memory that are free; infinite where nothing says it."""
    return max(LEAST, min(_free_of_system(), *(_free_of_group(*files) for files in _GROUPS)))


def _memory_of_system() -> float:
    both = "SC_PHYS_PAGES", "SC_PAGE_SIZE"
    known = getattr(os, "sysconf_names", {}).keys() >= set(both)
    return float(os.sysconf(both[0]) * os.sysconf(both[1])) if known else float("inf")


def _free_of_system() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _memory_of_system()


def _number(path: Path) -> float:
    """What a file says; infinite where there is none, or no number in it."""
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return float("inf")


def _free_of_group(limit: Path, used: Path, parts: Path) -> float:
    try:
        lines = [line.split() for line in parts.read_text(encoding="ascii").splitlines()]
        files = max(float(value) for name, value in lines if name in ("file", "total_cache"))
        return float(limit.read_text(encoding="ascii")) - float(used.read_text(encoding="ascii")) + files
    except (OSError, ValueError):
        return float("inf")
