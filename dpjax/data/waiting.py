"""What a user sees while something takes long: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

DELAY = 3.0  # seconds before anything is shown
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
    if not show:
        yield from items
    elif sys.stderr.isatty():
        yield from tqdm(items, what, total, delay=DELAY, leave=False)
    else:
        next_line = time.monotonic() + INTERVAL
        for done, item in enumerate(items):
            if time.monotonic() > next_line:
                log.info("%s: %d of %d", what, done, total)
                next_line = time.monotonic() + INTERVAL
            yield item
