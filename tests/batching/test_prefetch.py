"""Order, bounds, errors, state and shutdown of the prefetch thread."""

from __future__ import annotations

import threading
import time
import traceback

import pytest

from dpjax.batching.prefetch import Prefetcher


class Counter:
    """Counts up; its state is the number of items made."""

    def __init__(self, stop: int | None = None, fail: int | None = None):
        self.made, self.stop, self.fail = 0, stop, fail

    def __call__(self) -> int:
        if self.made == self.stop:
            raise StopIteration
        if self.made == self.fail:
            raise ValueError("frame 3 is damaged")
        self.made += 1
        return self.made - 1


def until(condition):
    limit = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_items_come_in_order_and_at_most_depth_wait():
    source = Counter()
    with Prefetcher(source, depth=3) as items:
        until(lambda: source.made == 3)
        time.sleep(0.02)
        assert source.made == 3
        assert [items.next() for _ in range(50)] == list(range(50))


def test_state_is_that_of_the_last_consumed_item():
    source = Counter()
    with Prefetcher(source, depth=4, snapshot=lambda: source.made) as items:
        until(lambda: source.made == 4)
        assert items.state == 0
        items.next()
        items.next()
        until(lambda: source.made == 6)
        assert items.state == 2


def test_error_arrives_after_the_items_before_it_and_again():
    with Prefetcher(Counter(fail=2), depth=5) as items:
        assert [items.next(), items.next()] == [0, 1]
        for _ in range(2):
            with pytest.raises(ValueError, match="frame 3 is damaged") as caught:
                items.next()
        assert "__call__" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_end_of_stream():
    with Prefetcher(Counter(stop=3), depth=2) as items:
        assert list(items) == [0, 1, 2]


def test_close_is_prompt_and_repeatable_with_a_full_queue():
    items = Prefetcher(Counter(), depth=1)
    items.next()
    start = time.monotonic()
    items.close()
    items.close()
    assert time.monotonic() - start < 1.0
    assert not items._thread.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        items.next()


def test_close_wakes_a_waiting_consumer_and_does_not_wait_for_ever():
    gate = threading.Event()
    items = Prefetcher(gate.wait, depth=1)
    raised = []

    def consume():
        try:
            items.next()
        except RuntimeError as error:
            raised.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    items.close(timeout=0.05)
    consumer.join(5)
    assert len(raised) == 1
    gate.set()
    items.close()
    assert not items._thread.is_alive()


def test_depth_must_hold_an_item():
    with pytest.raises(ValueError, match="depth"):
        Prefetcher(Counter(), depth=0)
