"""What a training will do, worked out without a step of it: its programs and its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from dpjax.batching import Layout
from dpjax.config import Config
from dpjax.models import resolutions
from dpjax.train_state import TrainState
from dpjax.training.compile_cache import persistent_programs
from dpjax.training.devices import Part, device_count, place_batch, place_state
from dpjax.training.ensemble import Members
from dpjax.training.modifier import Modifiers
from dpjax.training.programs import step_functions
from dpjax.training.rows import rows_of
from dpjax.training.setup import TrainingSetup, prepare
from dpjax.training.sides import DataSide
from dpjax.training.source import Extent
from dpjax.training.step import LabelledBatch
from dpjax.training.survey import Survey, survey

DRAWN = 100_000  # frames whose batches are looked at; capacities have long settled by then


@dataclass(frozen=True)
class Shapes:
    """The different sizes of the batches of a run.

    Attributes:
        first: for each layout the frames of the first batch that has it.
        seen: batches that were looked at.
        number: batches of the run.
    """

    first: dict[Layout, Sequence[Part]]
    seen: int
    number: int

    @property
    def largest(self) -> Layout | None:
        """The layout with most places for neighbours; None without a batch."""
        return max(self.first, key=lambda layout: layout.n_atom * layout.n_nbr, default=None)


@dataclass(frozen=True)
class Memory:
    """Estimated bytes of a training; all but ``neighbors`` on each device.

    Attributes:
        parameters: of the model, with its statistics.
        optimizer: its state.
        batches: the one of the step and those that wait, ``n_batch`` in all.
        step: what the program of the largest batch needs while it runs; None: not asked for.
        neighbors: neighbour lists kept on the host.
    """

    parameters: int
    optimizer: int
    batches: int
    n_batch: int
    step: int | None
    neighbors: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.optimizer + self.batches + (self.step or 0) + self.neighbors


@dataclass(frozen=True)
class Forecast:
    """A training that could start now."""

    setup: TrainingSetup
    training: Survey
    validation: Survey | None
    shapes: Shapes
    validation_shapes: Shapes
    series: bool  # whether embedding networks are tried as series first
    memory: Memory

    @property
    def programs(self) -> int:
        """Programs that are compiled for steps and validation, as long as series suffice."""
        return len(self.shapes.first) + len(self.validation_shapes.first)


def forecast(config: Config, compiled: bool = True, modifiers: Modifiers | None = None) -> Forecast:
    """Build all parts of a training, look at all data and work out what will be compiled; nothing is written.

    Args:
        config: the whole input.
        compiled: compile the program of the largest batch, to know what it needs; a training then finds it in the cache.
        modifiers: what models with the section ``modifier`` need.

    Raises:
        DataError, ConfigError: what a training with this input would raise, also late in its run.
    """
    with jax.enable_x64(True), persistent_programs(config.dpjax.compilation_cache):
        setup = prepare(config, keep=False, modifiers=modifiers)
        training = survey(setup.training)
        validation = None if setup.validation is None else survey(setup.validation)
        steps = _shapes(setup, setup.training, training, setup.num_steps)
        checks = Shapes({}, 0, 0)
        if validation is not None:
            number = rows_of(setup.num_steps, config.training.disp_freq) * config.training.validation_data.numb_btch
            checks = _shapes(setup, setup.validation, validation, number)
        layouts = [*steps.first, *checks.first]
        series = any(resolutions(setup.model, setup.one, layout)[0] is not None for layout in layouts)
        return Forecast(setup, training, validation, steps, checks, series, memory(setup, steps, compiled))


def _shapes(setup: TrainingSetup, side: DataSide, found: Survey, number: int) -> Shapes:
    return shapes(side, found.extent, number, device_count(setup.mesh))


def shapes(side: DataSide, extent: Callable[[int, int], Extent], number: int, n_device: int = 1) -> Shapes:
    """The sizes of the next batches of a data section, which moves on as in a run.

    Args:
        side: systems with sampler and packer.
        extent: what a frame of a system needs room for.
        number: batches of the run; no more than ``DRAWN`` frames are looked at.
        n_device: devices that share each batch.
    """
    first: dict[Layout, Sequence[Part]] = {}
    seen = drawn = 0
    while seen < number and drawn < DRAWN:
        parts = side.next_parts()
        size = side.sampler.frames_per_batch(parts[0][0])
        first.setdefault(side.source.layout(parts, extent, size, n_device), parts)
        seen, drawn = seen + 1, drawn + size
    return Shapes(first, seen, number)


def memory(setup: TrainingSetup, steps: Shapes, compiled: bool = True) -> Memory:
    """The memory of a training whose batches have these sizes; its neighbour lists are those found so far."""
    state = setup.placed(setup.initial_state())
    stats = place_state(setup.variables["stats"], setup.mesh)
    n_device = device_count(setup.mesh)
    prefetch = setup.config.dpjax.prefetch
    n_batch = 2 + prefetch if prefetch else 1  # in the step, waiting, and in the making
    layout, data, step = steps.largest, None, None
    if layout is not None:
        data = place_batch(setup.training.source.packed(steps.first[layout], layout, n_device), setup.mesh)
        step = step_bytes(setup, state, stats, data) if compiled else None
    sides = [setup.training, *([setup.validation] if setup.validation else [])]
    return Memory(
        parameters=_bytes(state.params) + _bytes(stats),
        optimizer=_bytes(state.opt_state),
        batches=n_batch * _bytes(data) // n_device,
        n_batch=n_batch,
        step=step,
        neighbors=sum(side.source.neighbors.nbytes for side in sides),
    )


def step_bytes(setup: TrainingSetup, state: TrainState | Members, stats: Any, data: LabelledBatch) -> int | None:
    """What the step on a batch needs on a device beside its arguments, as the compiler says; None where it does not."""
    grid = resolutions(setup.model, setup.one, data.batch.layout)[0]
    one = state.each[0] if isinstance(state, Members) else state
    program = step_functions(setup)[0].lower(one, stats, data, grid).compile()
    found = program.memory_analysis()
    if found is None:
        return None
    return found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
