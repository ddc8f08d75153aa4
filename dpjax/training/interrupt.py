"""Stopping a run between two steps: a first SIGINT or SIGTERM asks for it, a second SIGINT insists."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import jax

ASKED = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While it is entered, signals set :attr:`name` instead of ending the program.

    The loop looks at it after each step and saves a checkpoint before it returns.  A second SIGINT raises
    ``KeyboardInterrupt`` at once.  Only the main thread can receive signals; in another one nothing is changed, nor
    in one of several processes, which would not stop after the same step.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread() and jax.process_count() == 1:
            self._before = {number: signal.signal(number, self._ask) for number in ASKED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
