"""Statistics of the training data for a new model: which frames, and where each number goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dpjax.config import ModelConfig
from dpjax.data import Sampler, System
from dpjax.descriptors import RADIAL, has_type_networks, kept, members, ordered_pairs
from dpjax.neighbors import NeighborCache
from dpjax.statistics import (
    EnvironmentView,
    Moments,
    energy_bias,
    frame_moments,
    parameter_normalisation,
)

Stats = dict[str, Any]


def sampled_frames(
    sampler: Sampler, systems: Sequence[System], n_batch: int, seed: int
) -> list[tuple[int, np.ndarray]]:
    """For every system the frames of at most ``n_batch`` randomly drawn batches."""
    drawn = []
    for system, size in zip(sampler.kept, sampler.batch_sizes, strict=True):
        rng = np.random.default_rng([seed, 2, system])
        frames = rng.permutation(systems[system].n_frame)[: n_batch * size]
        drawn.append((system, np.sort(frames)))
    return drawn


def environment_view(descriptor: Any, config: ModelConfig) -> EnvironmentView:
    """How a descriptor (not a hybrid) of the model sees its neighbours."""
    return EnvironmentView(
        rcut=descriptor.rcut,
        rcut_smth=descriptor.rcut_smth,
        sel=kept(descriptor),
        n_type=len(config.type_map),
        by_type=has_type_networks(descriptor),
        protection=descriptor.env_protection,
        exclude_types=ordered_pairs(descriptor.exclude_types),
        pair_exclude=ordered_pairs(config.pair_exclude_types),
    )


def environment_statistics(
    config: ModelConfig, systems: Sequence[System], neighbors: NeighborCache, drawn: Sequence[tuple[int, np.ndarray]]
) -> Stats:
    """``davg`` and ``dstd`` (n_type, 4) of the descriptor over the drawn frames, or (n_type, 1) where it has distances only.

    Those of the members of a hybrid are called ``members_0.davg`` and so on.
    """
    own = members(config.descriptor)
    views = [environment_view(member, config) for member in own]
    moments = [Moments.zero(len(config.type_map)) for _ in own]
    for system, frame in _each(drawn):
        source = systems[system]
        inputs = source.coord(frame), source.cell(frame), source.frame_types(frame), neighbors.table(system, frame)
        moments = [m + frame_moments(*inputs, view) for m, view in zip(moments, views, strict=True)]
    stats: Stats = {}
    for i, (member, found) in enumerate(zip(own, moments, strict=True)):
        prefix = "" if member is config.descriptor else f"members_{i}."
        columns = slice(0, 1 if type(member).__name__ in RADIAL else 4)
        stats[f"{prefix}davg"] = found.davg(member.set_davg_zero)[:, columns]
        stats[f"{prefix}dstd"] = found.dstd()[:, columns]
    return stats


def _each(drawn: Sequence[tuple[int, np.ndarray]]) -> Iterator[tuple[int, int]]:
    for system, frames in drawn:
        for frame in frames:
            yield system, int(frame)


def bias_statistics(config: ModelConfig, systems: Sequence[System]) -> Stats:
    """``out_bias`` and ``out_std`` (n_type, 1) from the energies of all frames.

    Systems without energies take no part; with no energy at all the bias is what is preset, else zero.
    """
    n_type = len(config.type_map)
    labelled = [s for s in systems if s.found.get("energy")]
    if not labelled:
        preset = output_preset(config) or [None] * n_type
        return {"out_bias": np.array([[p or 0.0] for p in preset]), "out_std": np.ones((n_type, 1))}
    counts, energies = [], []
    for system in labelled:
        everything = np.arange(system.n_frame)
        energies.append(system.arrays(everything, ["energy"])["energy"])
        counts.append(_type_counts(system, n_type))
    bias, spread = energy_bias(
        np.concatenate(counts),
        np.concatenate(energies),
        preset=output_preset(config),
        exclude=config.atom_exclude_types,
        rcond=config.fitting_net.rcond,
    )
    return {"out_bias": bias, "out_std": spread}


def _type_counts(system: System, n_type: int) -> np.ndarray:
    """(n_frame, n_type) atoms of each type."""
    if not system.mixed:
        row = np.bincount(system.frame_types(0), minlength=n_type)
        return np.repeat(row[None], system.n_frame, axis=0)
    return np.stack([np.bincount(t[t >= 0], minlength=n_type) for t in map(system.frame_types, range(system.n_frame))])


def output_preset(config: ModelConfig) -> list[float | None] | None:
    """Energies per type that are given and not fitted: ``atom_ener`` of the fitting net, else the model's preset."""
    given = config.fitting_net.atom_ener
    if any(e is not None for e in given):
        return list(given)
    preset = (config.preset_out_bias or {}).get("energy")
    return None if preset is None else [None if p is None else float(np.reshape(p, ())) for p in preset]


def parameter_statistics(
    config: ModelConfig, systems: Sequence[System], drawn: Sequence[tuple[int, np.ndarray]]
) -> Stats:
    """Normalisation of frame and atomic parameters over the drawn frames."""
    fitting = config.fitting_net
    stats: Stats = {}
    for name, size in (("fparam", fitting.numb_fparam), ("aparam", fitting.numb_aparam)):
        if size:
            rows = [_parameters(systems[s], frames, name, size) for s, frames in drawn]
            mean, inverse = parameter_normalisation(np.concatenate(rows), config.data_stat_protect)
            stats |= {f"{name}_avg": mean, f"{name}_inv_std": inverse}
    return stats


def _parameters(system: System, frames: np.ndarray, name: str, size: int) -> np.ndarray:
    """(row, size) parameters of frames, or of their atoms without the placeholders of mixed systems."""
    values = system.arrays(frames, [name])[name]
    if name == "aparam" and system.mixed:
        return values[np.stack([system.frame_types(i) for i in frames]) >= 0]
    return values.reshape(-1, size)
