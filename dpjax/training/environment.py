"""Statistics of the environment matrices of a model's descriptors: which matrices there are, and where their numbers go."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpjax.config import ModelConfig
from dpjax.config.descriptors import DPA2Config, DPA3Config, Dpa4Config, LocFrameConfig, SeAMaskConfig
from dpjax.config.descriptors.kinds import RADIAL
from dpjax.data.threads import default_workers, in_threads
from dpjax.data.waiting import shown
from dpjax.descriptors import has_type_networks, is_one_of, kept, members, ordered_pairs
from dpjax.descriptors.loc_frame import frame_rule
from dpjax.geometry.local_frames import FrameRule
from dpjax.neighbors import NeighborCache
from dpjax.neighbors.frames import FrameSource
from dpjax.statistics import EnvironmentView, Moments, frame_moments
from dpjax.training.number_moments import NumberMoments, number_moments

SMALL = 50  # atoms of frames whose search for neighbours is so short that threads would wait for each other

log = logging.getLogger(__name__)

Blocks = dict[str, Moments | NumberMoments]
"""Moments of a descriptor (not a hybrid) by the names of its blocks."""


@dataclass(frozen=True)
class Block:
    """A part of a descriptor with an environment matrix of its own, and what of its statistics no data decides."""

    view: EnvironmentView
    set_davg_zero: bool
    spread: float | None = None  # of every entry; None: measured
    n_column: int = 4  # 1 where only distances are seen

    def zero(self, n_type: int) -> Moments:
        """Of no frame."""
        return Moments.zero(n_type)

    def moments(self, *frame: Any) -> Moments:
        """Of a frame; arguments as for :func:`dpjax.statistics.frame_moments`."""
        return frame_moments(*frame, self.view)

    def statistics(self, moments: Moments) -> dict[str, np.ndarray]:
        """``davg`` and ``dstd``, (n_type, n_column)."""
        spread = moments.dstd()
        return {
            "davg": moments.davg(self.set_davg_zero)[:, : self.n_column],
            "dstd": (spread if self.spread is None else np.full_like(spread, self.spread))[:, : self.n_column],
        }


@dataclass(frozen=True)
class NumberBlock:
    """A descriptor whose every number has a mean and a spread of its own: coordinates in local frames.

    Attributes:
        rules: what atoms of each type see.
        names: of the types.
    """

    rules: tuple[FrameRule, ...]
    names: tuple[str, ...]

    def zero(self, n_type: int) -> NumberMoments:
        """Of no frame."""
        return NumberMoments.zero(n_type, self.rules[0].width)

    def moments(self, *frame: Any) -> NumberMoments:
        """Of a frame; arguments as for :func:`dpjax.training.number_moments.number_moments`."""
        return number_moments(*frame, self.rules)

    def statistics(self, moments: NumberMoments) -> dict[str, np.ndarray]:
        """``davg`` and ``dstd``, (n_type, n_number); says which atoms lack a frame."""
        for name, lost, number in zip(self.names, moments.frameless, moments.number, strict=True):
            if lost:
                log.warning(
                    "loc_frame: %d of %d atoms of type %s have no frame, as a neighbour that axis_rule asks for is missing, or "
                    "both are in one direction: they see distances only. A larger rcut, or a negative type in the rule, finds more",
                    lost, number, name,
                )  # fmt: skip
        return {"davg": moments.davg(), "dstd": moments.dstd()}


def environment_blocks(descriptor: Any, config: ModelConfig) -> dict[str, Block | NumberBlock]:
    """The blocks of a descriptor (not a hybrid) by name; one that is its only block is called ``""``.

    A fixed spread comes from ``fix_stat_std`` of ``dpa3``, whose mean is always zero.  Its exponential switch takes no part: the
    reference normalises with the polynomial one.
    """

    def block(rcut: float, rcut_smth: float, sel: tuple[int, ...], zero: bool, **options: Any) -> Block:
        view = EnvironmentView(
            rcut=rcut,
            rcut_smth=rcut_smth,
            sel=sel,
            n_type=len(config.type_map),
            by_type=has_type_networks(descriptor),
            protection=descriptor.env_protection,
            exclude_types=ordered_pairs(descriptor.exclude_types),
            pair_exclude=ordered_pairs(config.pair_exclude_types),
        )
        return Block(view, zero, **options)

    if isinstance(descriptor, DPA3Config):
        flow = descriptor.repflow
        return {"": block(flow.e_rcut, flow.e_rcut_smth, (flow.e_sel,), True, spread=flow.fix_stat_std or None)}
    if isinstance(descriptor, DPA2Config):
        outer, inner = descriptor.repinit, descriptor.repformer
        blocks = {
            "repinit": block(outer.rcut, outer.rcut_smth, (outer.nsel,), outer.set_davg_zero),
            "repformers": block(inner.rcut, inner.rcut_smth, (inner.nsel,), inner.set_davg_zero),
        }
        if outer.use_three_body:
            reach, smooth = outer.three_body_rcut, outer.three_body_rcut_smth
            blocks["repinit_three_body"] = block(reach, smooth, (outer.three_body_sel,), outer.set_davg_zero)
        return blocks
    if isinstance(descriptor, (Dpa4Config, SeAMaskConfig)):  # norms have trained scales; nothing is normalised
        return {}
    if isinstance(descriptor, LocFrameConfig):
        hidden = ordered_pairs(config.pair_exclude_types)
        rules = (frame_rule(descriptor, t, hidden) for t in range(len(config.type_map)))
        return {"": NumberBlock(tuple(rules), tuple(config.type_map))}
    columns = 1 if is_one_of(descriptor, RADIAL) else 4
    reach = descriptor.rcut, descriptor.rcut_smth
    return {"": block(*reach, kept(descriptor), descriptor.set_davg_zero, n_column=columns)}


def environment_statistics(
    config: ModelConfig,
    systems: Sequence[FrameSource],
    neighbors: NeighborCache,
    drawn: Sequence[tuple[int, np.ndarray]],
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """:func:`environment_of` the drawn frames."""
    return environment_of(config, dict(enumerate(environment_moments(config, systems, neighbors, drawn, progress))))


def environment_moments(
    config: ModelConfig,
    systems: Sequence[FrameSource],
    neighbors: NeighborCache,
    drawn: Sequence[tuple[int, np.ndarray]],
    progress: bool = True,
) -> list[Blocks]:
    """Moments of the environment over the drawn frames, for each descriptor of the model (several in a hybrid)."""
    own = [environment_blocks(member, config) for member in members(config.descriptor)]
    moments = [{name: block.zero(len(config.type_map)) for name, block in blocks.items()} for blocks in own]

    def of_frame(place: tuple[int, int]) -> list[Blocks]:
        system, frame = place
        source = systems[system]
        inputs = source.coord(frame), source.cell(frame), source.frame_types(frame), neighbors.table(system, frame)
        return [{name: block.moments(*inputs) for name, block in blocks.items()} for blocks in own]

    total = sum(len(frames) for _, frames in drawn)
    atoms = sum(len(frames) * systems[system].n_atom for system, frames in drawn)
    each = in_threads(of_frame, _each(drawn), default_workers() if atoms > SMALL * total else 1)
    for more in shown(each, total, "statistics of the environment", progress):
        moments = [{name: old[name] + new[name] for name in old} for old, new in zip(moments, more, strict=True)]
    return moments


def environment_of(config: ModelConfig, moments: Mapping[int, Blocks]) -> dict[str, np.ndarray]:
    """``davg`` and ``dstd`` (n_type, 4) of the descriptor, or (n_type, 1) where it has distances only, from its moments; of local
    frames (n_type, n_number).

    Those of the members of a hybrid are called ``members_0.davg`` and so on, those of a block ``repinit.davg`` and so on.

    Args:
        moments: by the number of the descriptor in the model.
    """
    own = members(config.descriptor)
    stats = {}
    for i, found in moments.items():
        place = () if own[i] is config.descriptor else (f"members_{i}",)
        for name, block in environment_blocks(own[i], config).items():
            prefix = (*place, name) if name else place
            stats |= {".".join((*prefix, key)): value for key, value in block.statistics(found[name]).items()}
    return stats


def _each(drawn: Sequence[tuple[int, np.ndarray]]) -> Iterator[tuple[int, int]]:
    for system, frames in drawn:
        for frame in frames:
            yield system, int(frame)
