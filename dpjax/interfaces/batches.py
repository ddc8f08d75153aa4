"""Frames of any number and sizes through the programs of a model.

While one batch runs, the next is packed and the results of the last go back to their frames.  A first small batch tells how much
memory a program needs, as the compiler says it; later ones are as large as that allows, or as is worth it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from dpjax.batching import Frame, round_up
from dpjax.batching.prefetch import Prefetcher
from dpjax.interfaces.programs import Devices, Function, Programs, kind_of, size_on_device
from dpjax.interfaces.results import Results
from dpjax.interfaces.stream import Packed, Plan, Source, batches, expected_size, halved
from dpjax.models import RESOLVED
from dpjax.models.resolution import Resolver
from dpjax.nn.chebyshev import Grid

log = logging.getLogger(__name__)

PROBE = 200_000  # size (``size_of``) of the first batch of many, which tells the memory that others need


@dataclass(frozen=True)
class Job:
    """What is computed of frames.

    Attributes:
        function: ``function(model, variables, batch, grid=grid, **options)`` gives outputs on the batch's axes, as
            :func:`dpjax.models.predict` does.
        options: of the function; for a true ``hessian`` it is given the number of columns.
        atoms_per_batch: atoms of a batch on a device; None: as many as are worth it and find their place in memory.
        tell: called with the number of frames that are done and of all.
        sized: options that depend on the frames of a batch, which are handed to it.
    """

    function: Function
    options: dict[str, Any] = field(default_factory=dict)
    atoms_per_batch: int | None = None
    tell: Callable[[int, int], None] = lambda done, total: None
    sized: Callable[[list[Frame]], dict[str, Any]] | None = None

    @property
    def hessian(self) -> bool:
        """Whether second derivatives are among it."""
        return bool(self.options.get("hessian"))

    def options_for(self, packed: Packed) -> dict[str, Any]:
        """Options of the program of a batch."""
        if self.sized is not None:
            return self.options | self.sized([frame for group in packed.groups for frame in group.frames])
        if not self.hessian:
            return self.options
        most = max(int(np.count_nonzero(frame.atype >= 0)) for group in packed.groups for frame in group.frames)
        return self.options | {"hessian": round_up(max(1, most))}


class TooLarge(Exception):
    """The program of a batch needs more memory than there is."""


class Runner:
    """Runs jobs, and keeps the variables on the devices.

    Args:
        programs: of the model; may be shared.
        resolver: chooses the series that stand for embedding networks.
        device: the only one; None: those of this process.
    """

    def __init__(self, programs: Programs, resolver: Resolver, device: jax.Device | None):
        self.programs, self.resolver, self._device = programs, resolver, device
        self._variables: Any = None
        self._placed: dict[Any, Any] = {}

    def run(self, variables: Any, source: Source, job: Job, results: Results) -> None:
        """Evaluates all frames with these variables of the model; what they give is put into ``results``.

        Raises:
            DataError: what making a frame raises.
        """
        if not len(source.atoms):
            return
        if variables is not self._variables:
            self._variables, self._placed = variables, {}
        devices = Devices.of(self._device)
        plan = self._plan(source, job, devices)
        stream, total, done = batches(source, plan), len(source.atoms), 0
        with jax.enable_x64(True), ExitStack() as stack:
            keep = _in_the_background(results.put, stack) if plan.several else results.put
            for packed in _ahead(stream, stack) if plan.several else stream:
                for part, out in self._evaluated(packed, plan, devices, job):
                    keep(part.numbers, part.places, part.rows, out)
                    done += len(part.numbers)
                    job.tell(done, total)

    def _plan(self, source: Source, job: Job, devices: Devices) -> Plan:
        kind, bound = kind_of(job.function, job.options), job.atoms_per_batch

        def room() -> float:
            per_size = self.programs.per_size.get(kind)
            return min(PROBE, devices.worth) if per_size is None else devices.room(per_size)

        over = expected_size(source, job.hessian) > devices.worth if bound is None else source.atoms.sum() > bound
        several = len(source.atoms) > 1 and bool(over)
        return Plan(
            layouts=self.programs.layouts,
            room=room if bound is None else lambda: np.inf,
            most_atoms=np.inf if bound is None else bound,
            hessian=job.hessian,
            several=several,
            device=devices.all[0],
            mesh=devices.shared() if several else None,
        )

    def _evaluated(self, packed: Packed, plan: Plan, devices: Devices, job: Job) -> Iterator[tuple[Packed, dict]]:
        """A batch with its outputs; several smaller ones in its place if its program needs more memory than there is."""
        try:
            out = self._outputs(packed, plan, devices, job)
        except TooLarge:
            for half in halved(packed, plan):
                yield from self._evaluated(half, plan, devices, job)
        else:
            yield packed, out

    def _outputs(self, packed: Packed, plan: Plan, devices: Devices, job: Job) -> dict[str, Any]:
        """Outputs of a batch as NumPy arrays."""
        batch, options = packed.batch, job.options_for(packed)
        variables = self._variables_on(NamedSharding(plan.mesh, PartitionSpec()) if plan.mesh else plan.device)
        size, kind = size_on_device(batch, options), kind_of(job.function, job.options)

        def at(grid: Grid | None) -> tuple[dict[str, Any], Any]:
            program = self.programs(job.function, variables, batch, plan.mesh, grid, options)
            self.programs.note(kind, program, size)
            if program.need > devices.free and any(len(group.frames) > 1 for group in packed.groups):
                log.info(
                    "a batch of %d frames would take %.1f GB; %.1f GB are free", len(packed.numbers), program.need / 1e9,
                    devices.free / 1e9,
                )  # fmt: skip
                raise TooLarge
            out = jax.device_get(program.run(variables, batch))
            return out, out.pop(RESOLVED, None)

        return self.resolver.run(batch.layout, at)

    def _variables_on(self, where: Any) -> Any:
        """The variables on a device or, as a sharding says, on several."""
        if where not in self._placed:
            self._placed[where] = jax.device_put(self._variables, where)
        return self._placed[where]


def _ahead(stream: Iterator[Packed], stack: ExitStack) -> Iterator[Packed]:
    """The batches; all but the first, which tells how large they may be, are made while the one before them is in use."""
    first = next(stream, None)
    if first is not None:
        yield first
        yield from stack.enter_context(Prefetcher(lambda: next(stream), depth=1))


def _in_the_background(put: Callable[..., None], stack: ExitStack) -> Callable[..., None]:
    """The function in a thread of its own, one call at a time; what it raises is raised by the next call, or at the end."""
    pool = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="dpjax-unpack"))
    pending: list[Future] = []

    def wait(kind: Any = None, *_: Any) -> None:
        if pending and kind is None:
            pending.pop().result()

    def keep(*given: Any) -> None:
        wait()
        pending.append(pool.submit(put, *given))

    stack.push(wait)
    return keep
