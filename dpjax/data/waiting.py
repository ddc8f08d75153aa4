"""What a user sees while something takes long: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

DELAY = 3.0  # seconds before a bar is shown
INTERVAL = 20.0  # seconds between lines

T = TypeVar("T")


def shown(items: Iterable[T], total: int, what: str, show: bool = True) -> Iterator[T]:
    """The items, with how many of them are done.

    Args:
        items: what is waited for, one by one.
        total: their number.
        what: begins the line, such as ``opening systems``.
        show: False passes the items on and shows nothing.
    """
    tell = counter(what, show)
    for done, item in enumerate(items, 1):
        yield item
        tell(done, total)


def counter(what: str, show: bool = True) -> Callable[[int, int], None]:
    """What to call with the number of things that are done and of all; it shows them."""
    if not show:
        return lambda done, total: None
    return _Bar(what) if sys.stderr.isatty() else _Lines(what)


class _Bar:
    def __init__(self, what: str) -> None:
        self._what, self._bar = what, None

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(desc=self._what, total=total, delay=DELAY, leave=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()


class _Lines:
    def __init__(self, what: str) -> None:
        self._what, self._next = what, time.monotonic() + INTERVAL

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() > self._next and done < total:
            log.info("%s: %d of %d", self._what, done, total)
            self._next = time.monotonic() + INTERVAL
