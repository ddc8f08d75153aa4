"""Which data a training saw: a content hash of every system, computed beside the run and stored in its checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from dpjax.data import System

log = logging.getLogger(__name__)


class Fingerprint:
    """Hashes of the systems, from a thread of its own.

    Args:
        systems: the training systems.
        expected: hashes by name of the run that is continued; a system whose files changed since is reported.
    """

    def __init__(self, systems: Sequence[System], expected: Mapping[str, str] | None = None) -> None:
        pool = ThreadPoolExecutor(1, thread_name_prefix="dpjax-fingerprint")
        self._future: Future[dict[str, str]] = pool.submit(_hashes, systems, expected)
        pool.shutdown(wait=False)

    def result(self) -> dict[str, str]:
        """Name -> hash of every system; waits for those that are still read.

        Raises:
            DataError: a file became unreadable.
        """
        return self._future.result()


def _hashes(systems: Sequence[System], expected: Mapping[str, str] | None) -> dict[str, str]:
    found = {system.name: system.content_hash() for system in systems}
    if expected is not None:
        for name in changed(found, expected):
            log.warning(
                "%s: the data changed since the checkpoint was written; the run goes on with what is there now", name
            )
    return found


def changed(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Names of systems whose content is another than before, or that only one side has."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
