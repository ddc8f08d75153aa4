"""Work on many files or frames at once, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def default_workers() -> int:
    """Threads for reading and neighbour search: the cores this process may use, at most 8 (they share memory)."""
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def in_threads(fn: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """``map(fn, items)`` in order on several threads, with few results waiting; an error ends it at once.

    The neighbour search spends most of its time outside the interpreter lock, so threads help (two threads: 1.9 times faster).
    """
    if workers <= 1:
        yield from map(fn, items)
        return
    waiting: deque = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="dpjax-work") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(fn, item))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_portions(fn: Callable[[A], B], items: Sequence[A], workers: int, portion: int = 64) -> Iterator[B]:
    """The same for items that take so little time that each thread had better take some at once."""
    portions = (items[i : i + portion] for i in range(0, len(items), portion))
    for done in in_threads(lambda own: [fn(item) for item in own], portions, workers):
        yield from done
