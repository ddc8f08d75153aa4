"""A background thread that prepares the next items while the current one is in use."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


class Prefetcher(Generic[T]):
    """Calls ``producer`` ahead of the consumer, at most ``depth`` items, in order.

    A snapshot of the producer's state travels with each item, so that what a checkpoint stores belongs to the items
    that were consumed and not to those that wait in the queue::

        with Prefetcher(make_batch, depth=2, snapshot=sampler.state) as batches:
            for step in range(n_step):
                train(batches.next())
                checkpoint(batches.state)   # restoring it makes the sampler repeat from the next item on
    """

    def __init__(self, producer: Callable[[], T], depth: int = 2, snapshot: Callable[[], Any] | None = None):
        """
        Args:
            producer: makes the next item; runs in the thread only.  StopIteration ends the stream.
            depth: most items that wait, at least 1.
            snapshot: returns the producer's state as a value that later calls of ``producer`` do not change; called
                once here and then in the thread after each item.
        """
        if depth < 1:
            raise ValueError(f"depth is {depth}; expected at least 1")
        self._producer = producer
        self._snapshot = snapshot or (lambda: None)
        self._depth = depth
        self._ready: deque[tuple[T, Any]] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._closed = False
        self._state = self._snapshot()
        self._thread = threading.Thread(target=self._run, name="dpjax-prefetch", daemon=True)
        self._thread.start()

    @property
    def state(self) -> Any:
        """The producer's state just after the item that ``next`` returned last (at first: its initial state)."""
        return self._state

    def next(self) -> T:
        """The next item; waits for it.

        Raises:
            StopIteration: the producer has ended.
            RuntimeError: the prefetcher was closed.
            Exception: whatever the producer raised, with its traceback, after the items made before it were consumed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._error is not None or self._closed)
            if self._closed:
                raise RuntimeError("the prefetcher is closed and gives no more items")
            if not self._ready:
                raise self._error
            item, self._state = self._ready.popleft()
            self._changed.notify_all()
            return item

    __next__ = next

    def __iter__(self) -> Prefetcher[T]:
        return self

    def close(self, timeout: float = 30.0) -> None:
        """Stops the thread and drops waiting items; a second call does nothing.

        Args:
            timeout: longest wait for an item that is being made, seconds; after it the thread is left to end by itself.
        """
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("the prefetch thread is still making a batch %g s after it was asked to stop", timeout)

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            while self._wait_for_room():
                entry = (self._producer(), self._snapshot())
                with self._changed:
                    if not self._closed:
                        self._ready.append(entry)
                    self._changed.notify_all()
        except BaseException as error:  # whatever happens here belongs to the consumer
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """Waits until an item may be made; False when the prefetcher was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._ready) < self._depth)
            return not self._closed


class OnDemand(Generic[T]):
    """A :class:`Prefetcher` without a thread: each item is made when it is asked for."""

    def __init__(self, producer: Callable[[], T], snapshot: Callable[[], Any] | None = None):
        self._producer = producer
        self._snapshot = snapshot or (lambda: None)
        self.state = self._snapshot()

    def next(self) -> T:
        """The next item."""
        item = self._producer()
        self.state = self._snapshot()
        return item

    def __enter__(self) -> OnDemand[T]:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to stop."""


def prefetcher(
    producer: Callable[[], T], depth: int, snapshot: Callable[[], Any] | None = None
) -> Prefetcher[T] | OnDemand[T]:
    """A :class:`Prefetcher` of the given depth; depth 0 makes each item when it is needed."""
    return Prefetcher(producer, depth, snapshot) if depth else OnDemand(producer, snapshot)
