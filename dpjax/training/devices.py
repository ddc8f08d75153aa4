"""Data parallel training over the devices of one process, or of several that train together.

The frames of a batch are dealt out to the devices; a frame is never split.  Each device holds a flat batch of its own, all of
one layout, and the arrays carry a leading device axis that is sharded over the mesh ``("data",)``.  Parameters are replicated.
A device that gets no frame works on padding, which counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dpjax.training.step import LabelledBatch

AXIS = "data"
Part = tuple[int, Sequence[int]]


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh | None:
    """The mesh over the devices of all processes (or those given); None for a single one."""
    devices = jax.devices() if devices is None else list(devices)
    return Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def device_count(mesh: Mesh | None) -> int:
    """Devices that share a batch."""
    return 1 if mesh is None else mesh.size


def place_state(state: Any, mesh: Mesh | None) -> Any:
    """State, parameters or statistics on every device."""
    if mesh is None:
        return jax.device_put(state)
    return put(state, jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), state))


def put(tree: Any, shardings: Any) -> Any:
    """Arrays on devices, as a tree of shardings says; of several processes, all of which must call it, those of process 0 count."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def shards(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    common = jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, tree)))
    return jax.tree.map(shards, common, shardings)


def place_batch(data: LabelledBatch, mesh: Mesh | None) -> LabelledBatch:
    """A batch on its devices: arrays with a device axis are sharded along it, flags are replicated.

    Of several processes each gives the part of its own devices.
    """
    if mesh is None:
        return jax.device_put(data)
    sharded, replicated = NamedSharding(mesh, PartitionSpec(AXIS)), NamedSharding(mesh, PartitionSpec())

    def place(tree: Any, sharding: NamedSharding) -> Any:
        if jax.process_count() == 1:
            return jax.device_put(tree, sharding)
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, np.asarray(a)), tree)

    return LabelledBatch(place(data.batch, sharded), place(data.label, sharded), place(data.find, replicated))


def own_places() -> range | None:
    """Places of this process's devices among those of all; None for a process by itself."""
    if jax.process_count() == 1:
        return None
    own = [place for place, device in enumerate(jax.devices()) if device.process_index == jax.process_index()]
    return range(own[0], own[-1] + 1)


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
    whole = [*shards, *[idle(shards[0])] * (n_device - len(shards))]
    return LabelledBatch(
        batch=stacked([s.batch for s in whole]), label=stacked([s.label for s in whole]), find=shards[0].find
    )


def idle(like: LabelledBatch) -> LabelledBatch:
    """A batch of padding in the layout of another one."""
    batch = jax.tree.map(np.zeros_like, like.batch).replace(atype=np.full_like(like.batch.atype, -1))
    return LabelledBatch(batch, jax.tree.map(np.zeros_like, like.label), like.find)


def stacked(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one, whose leaves have an axis for them first."""
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
