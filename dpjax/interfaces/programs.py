"""Compiled programs of a model, the memory they need, and the devices that share their work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import flax.linen as nn
import jax

from dpjax.batching import Batch
from dpjax.batching.groups import Layouts, size_of
from dpjax.batching.inner import InnerSizes
from dpjax.batching.lists import ListSizes
from dpjax.descriptors.facts import inner_cuts, list_plan
from dpjax.machine import free_memory
from dpjax.nn.chebyshev import Grid
from dpjax.training.devices import data_mesh, over_devices

WORTH = {"cpu": 1_000_000}  # size of batches (``size_of``) beyond which nothing is gained
WORTH_ELSEWHERE = 4_000_000
COST = {
    "cpu": 1_000_000
}  # size of the batches that run while a program is compiled, or less where programs shall stay few
COST_ELSEWHERE = 50_000_000
SHARES = {"cpu": 0.5}  # of the memory that is free which batches may take
SHARE_ELSEWHERE = 0.8
HELD = 3  # batches on a device at a time: one runs, others wait

Function = Callable[..., dict[str, Any]]
Kind = tuple[Function, frozenset[str]]


@dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes:
        run: the program itself.
        need: bytes that it needs on each device, as the compiler said; 0 where it says nothing.
    """

    run: jax.stages.Compiled
    need: float

    @staticmethod
    def of(run: jax.stages.Compiled) -> Program:
        """A program with what the compiler says of it; asking takes milliseconds, so it is done once."""
        found = run.memory_analysis()
        if found is None:
            return Program(run, 0.0)
        return Program(run, found.temp_size_in_bytes + found.output_size_in_bytes + HELD * found.argument_size_in_bytes)


@dataclass
class Programs:
    """Programs compiled so far, by what they compute and by the sizes of their batches; potentials of one model share them.

    Attributes:
        model: first argument of the functions.
        layouts: of the batches of long evaluations.
        compiler_options: of XLA.
        per_size: by kind, bytes that a program needs for each unit of a batch's size, the most that the compiler said.
    """

    model: nn.Module
    layouts: Layouts
    compiler_options: dict[str, Any] | None = None
    per_size: dict[Kind, float] = field(default_factory=dict)
    _compiled: dict[Any, Program] = field(default_factory=dict)

    @staticmethod
    def of(model: nn.Module) -> Programs:
        """None yet."""
        cost = COST.get(jax.default_backend(), COST_ELSEWHERE)
        lists, inner = ListSizes(list_plan(model.config.descriptor)), InnerSizes(inner_cuts(model.config.descriptor))
        return Programs(model, Layouts(model.n_section, model.sel, cost, lists, inner))

    def __len__(self) -> int:
        return len(self._compiled)

    def __call__(
        self, function: Function, variables: Any, batch: Batch, mesh: Any, grid: Grid | None, options: dict[str, Any]
    ) -> Program:
        """The program ``function(model, variables, batch, grid=grid, **options)`` for a batch on its devices.

        Args:
            mesh: of devices that each have a part of the batch, on an axis before all others; None for a single one.
        """
        leaves, tree = jax.tree.flatten((variables, batch))
        shapes = tuple((leaf.shape, leaf.dtype, leaf.sharding) for leaf in leaves)
        key = (function, tree, shapes, mesh, grid, *sorted(options.items()), jax.config.jax_default_matmul_precision)
        if key not in self._compiled:
            own = partial(function, self.model, grid=grid, **options)
            program = jax.jit(own if mesh is None else over_devices(own, mesh))
            self._compiled[key] = Program.of(program.lower(variables, batch).compile(self.compiler_options))
        return self._compiled[key]

    def note(self, kind: Kind, program: Program, size: int) -> None:
        """Remembers what a program needs for batches of other sizes."""
        self.per_size[kind] = max(self.per_size.get(kind, 0.0), program.need / size)


@dataclass(frozen=True)
class Devices:
    """Where batches run.

    Attributes:
        all: devices that may share long evaluations; the first has all short ones.
        free: bytes that batches may take on each.
    """

    all: tuple[jax.Device, ...]
    free: float

    @staticmethod
    def of(device: jax.Device | None) -> Devices:
        """The device asked for, by the caller or by ``jax.default_device``, or all of this process."""
        chosen = device or jax.config.jax_default_device
        if isinstance(chosen, str):
            chosen = jax.local_devices(backend=chosen)[0]
        devices = (chosen,) if chosen is not None else tuple(jax.local_devices())
        return Devices(devices, min(free_bytes(device, len(devices)) for device in devices))

    @property
    def backend(self) -> str:
        """Platform of all."""
        return self.all[0].platform

    @property
    def worth(self) -> int:
        """Size of the largest batch that is worth making."""
        return WORTH.get(self.backend, WORTH_ELSEWHERE)

    def room(self, per_size: float | None) -> float:
        """Size of the largest batch that is worth making and finds its place in memory.

        Args:
            per_size: bytes for each unit of its size.
        """
        return min(self.worth, self.free / per_size) if per_size else self.worth

    def shared(self) -> Any:
        """The mesh of all; None for a single one."""
        return data_mesh(self.all)


def free_bytes(device: jax.Device, sharing: int) -> float:
    """Bytes that batches may take on a device: a share of what is free there, or of the memory of the machine on a CPU."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    else:
        free = free_memory() / sharing
    return free * SHARES.get(device.platform, SHARE_ELSEWHERE)


def kind_of(function: Function, options: dict[str, Any]) -> Kind:
    """What programs have in common whose memory is comparable: the function and which options are on."""
    return function, frozenset(name for name, value in options.items() if value)


def size_on_device(batch: Batch, options: dict[str, Any]) -> int:
    """Size of the part of a batch that one device has."""
    return size_of(batch.layout, 9 * (options.get("hessian") or 0))
