"""Training on several hosts: a process on each, joined by JAX's distributed runtime.

Every process reads the same input and data and draws the same frames, so that all know the sizes of a batch without asking; each
packs what its own devices work on.  Nothing but sums over devices is exchanged in a step.  Process 0 writes the results.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dpjax.errors import ConfigError

log = logging.getLogger(__name__)

OWN = ("DPJAX_COORDINATOR", "DPJAX_NUM_PROCESSES", "DPJAX_PROCESS_ID")
TORCHRUN = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")
LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")  # of srun and mpirun, which JAX understands


@dataclass(frozen=True)
class Meeting:
    """Where the processes meet; without a coordinator JAX asks the launcher."""

    coordinator: str | None = None  # host:port of process 0
    number: int | None = None  # of processes
    process: int | None = None  # this one, from 0


def meeting(environ: Mapping[str, str]) -> Meeting | None:
    """What the environment says of other processes; None for a process by itself.

    Raises:
        ConfigError: it says only a part of it, or no numbers.
    """
    if any(name in environ for name in OWN):
        coordinator, number, process = _all_of(OWN, environ)
    elif _whole("WORLD_SIZE", environ.get("WORLD_SIZE", "1")) > 1:
        address, port, number, process = _all_of(TORCHRUN, environ)
        coordinator = f"{address}:{port}"
    else:
        several = any(_whole(name, environ.get(name, "1")) > 1 for name in LAUNCHERS)
        return Meeting() if several else None
    return Meeting(
        coordinator, _whole("the number of processes", number), _whole("the number of this process", process)
    )


def join() -> None:
    """Meet the other processes, where the environment names any; before anything else asks JAX for devices.

    Raises:
        ConfigError: see :func:`meeting`.
    """
    where = meeting(os.environ)
    if where is not None and not jax.distributed.is_initialized():
        jax.distributed.initialize(where.coordinator, where.number, where.process, shutdown_timeout_seconds=30)


def agreed(number: int) -> int:
    """The number that process 0 has."""
    return number if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int64(number)))


def fetched(tree: Any) -> Any:
    """The arrays of a tree in the memory of this process, also those that are split over several; all must call it."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return jax.tree.map(
        lambda a: a if isinstance(a, np.ndarray) else np.asarray(multihost_utils.process_allgather(a, tiled=True)), tree
    )


def rate_factor(how: str) -> float:
    """What learning rates are multiplied by for the number of processes, as ``learning_rate/scale_by_worker`` says."""
    factor = {"linear": float, "sqrt": math.sqrt, "none": lambda _: 1.0}[how](jax.process_count())
    if factor != 1.0:
        log.info(
            "parameters change at %g times the learning rate of one process (learning_rate/scale_by_worker)", factor
        )
    return factor


def _all_of(names: tuple[str, ...], environ: Mapping[str, str]) -> list[str]:
    missing = [name for name in names if name not in environ]
    if missing:
        raise ConfigError(
            f"environment: {', '.join(missing)} missing; several processes meet by {', '.join(names)}. Set all of them, or none."
        )
    return [environ[name] for name in names]


def _whole(name: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"environment: {name} is {text!r}, expected a whole number that is not negative.")
    return int(text)
