"""Stopping a run between two steps: a first SIGINT or SIGTERM asks for it, a second SIGINT insists."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

ASKED = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While it is entered, signals are noted instead of ending the program.

    The loop asks after each step and saves a checkpoint before it returns.  A second SIGINT raises ``KeyboardInterrupt`` at once.
    Only the main thread can receive signals; in another one nothing is changed.  Several processes stop after the same step,
    whichever of them received the signal: JAX's runtime listens for SIGTERM and agrees on the step, and SIGINT is passed on as one.
    """

    def __init__(self) -> None:
        self._name: str | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            asked = ASKED if jax.process_count() == 1 else (signal.SIGINT,)
            self._before = {number: signal.signal(number, self._ask) for number in asked}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def after(self, step: int) -> str | None:
        """Name of the signal for which the run is to stop after this step; every process asks after every step."""
        if jax.process_count() > 1:
            return signal.SIGTERM.name if multihost_utils.reached_preemption_sync_point(step) else None
        return self._name

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._name = signal.Signals(number).name
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)
