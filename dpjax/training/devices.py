"""Data parallel training over the devices of a process.

The frames of a batch are dealt out to the devices; a frame is never split.  Each device holds a flat batch of its own, all of
one layout, and the arrays carry a leading device axis that is sharded over the mesh ``("data",)``.  Parameters are replicated.
A device that gets no frame works on padding, which counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dpjax.training.step import LabelledBatch

AXIS = "data"
Part = tuple[int, Sequence[int]]


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh | None:
    """The mesh over the devices of this process (or those given); None for a single one."""
    devices = jax.local_devices() if devices is None else list(devices)
    return Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def place_state(state: Any, mesh: Mesh | None) -> Any:
    """State, parameters or statistics on every device."""
    return jax.device_put(state, None if mesh is None else NamedSharding(mesh, PartitionSpec()))


def place_batch(data: LabelledBatch, mesh: Mesh | None) -> LabelledBatch:
    """A batch on its devices: arrays with a device axis are sharded along it, flags are replicated."""
    if mesh is None:
        return jax.device_put(data)
    sharded, replicated = NamedSharding(mesh, PartitionSpec(AXIS)), NamedSharding(mesh, PartitionSpec())
    return LabelledBatch(
        batch=jax.device_put(data.batch, sharded),
        label=jax.device_put(data.label, sharded),
        find=jax.device_put(data.find, replicated),
    )


def deal(parts: Sequence[Part], n_device: int) -> list[list[Part]]:
    """Frames of a batch dealt out one by one, as parts for each device; empty for a device without a frame."""
    frames = [(system, index) for system, indices in parts for index in indices]
    return [_regrouped(frames[device::n_device]) for device in range(n_device)]


def _regrouped(frames: Sequence[tuple[int, int]]) -> list[Part]:
    parts: dict[int, list[int]] = {}
    for system, index in frames:
        parts.setdefault(system, []).append(index)
    return list(parts.items())


def stack(shards: Sequence[LabelledBatch], n_device: int) -> LabelledBatch:
    """Batches of one layout with a leading device axis; idle devices get padding only."""
    batches = [s.batch for s in shards]
    idle = jax.tree.map(np.zeros_like, batches[0])
    idle = idle.replace(atype=np.full_like(batches[0].atype, -1))
    label_idle = jax.tree.map(np.zeros_like, shards[0].label)
    missing = n_device - len(shards)
    return LabelledBatch(
        batch=_stacked([*batches, *[idle] * missing]),
        label=_stacked([*(s.label for s in shards), *[label_idle] * missing]),
        find=shards[0].find,
    )


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def over_devices(predict: Callable, mesh: Mesh) -> Callable:
    """``predict(variables, batch)`` of one device's batch as a function of the batches of all.

    Results keep their leading device axis joined with the next one: forces are (n_device * n_atom, 3), energies
    (n_device * n_frame, 1).
    """

    def local(variables: Any, batch: Any) -> Any:
        out = predict(variables, jax.tree.map(lambda a: a[0], batch))
        return jax.tree.map(lambda a: a[None], out)

    mapped = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(AXIS),
        check_vma=False,
    )

    def everywhere(variables: Any, batch: Any) -> Any:
        return joined(mapped(variables, batch))

    return everywhere


def joined(tree: Any) -> Any:
    """Leaves (n_device, n, ...) as (n_device * n, ...)."""
    return jax.tree.map(lambda a: a.reshape(a.shape[0] * a.shape[1], *a.shape[2:]), tree)


def busy_devices(batch_sizes: Sequence[int], weights: Sequence[float], n_device: int) -> float:
    """Mean number of devices that have a frame to work on, over the systems by their probability."""
    return float(np.average([min(size, n_device) for size in batch_sizes], weights=weights))
