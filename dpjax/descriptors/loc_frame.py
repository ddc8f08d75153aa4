"""Coordinates of the neighbours in a frame that two of them span (``loc_frame``).

What an atom sees is laid out slot by slot (:mod:`dpjax.geometry.local_frames`) and every number has a mean and a spread of its own,
for each type of the atom.  There are no networks but those of the fitting.  Zhang et al., Phys. Rev. Lett. 120, 143001 (2018),
arXiv:1707.09571.  Lengths in angstrom.

Derivatives are those of the function itself, the dependence of the frame on both neighbours on its axes included.
"""

from __future__ import annotations

from collections.abc import Iterable

from dpjax.config.descriptors import LocFrameConfig
from dpjax.descriptors.base import Descriptor
from dpjax.descriptors.neighborhood import Features, Neighborhood
from dpjax.geometry.local_frames import Axis, FrameRule, default_axes, local_coordinates


def frame_rule(config: LocFrameConfig, centre: int, pair_exclude: Iterable[tuple[int, int]] = ()) -> FrameRule:
    """What atoms of type ``centre`` see; ``pair_exclude`` are ordered pairs (centre, neighbour) that are no neighbours."""
    given = config.axis_rule[6 * centre : 6 * centre + 6]
    axes = (Axis(*given[:3]), Axis(*given[3:])) if given else default_axes(config.sel_a)
    unseen = frozenset(t for c, t in pair_exclude if c == centre)
    return FrameRule(config.rcut, config.sel_a, config.sel_r, axes, unseen)


class LocFrame(Descriptor):
    """Descriptor of dimension ``4 sum(sel_a) + sum(sel_r)`` for centres of one type at a time."""

    config: LocFrameConfig

    @property
    def n_column(self) -> int:
        """Numbers that have statistics: all."""
        return 4 * sum(self.config.sel_a) + sum(self.config.sel_r)

    @property
    def dim_out(self) -> int:
        return self.n_column

    def init_parameters(self) -> None:
        """There are none; the statistics come with ``setup``."""

    def __call__(self, view: Neighborhood, expansion: None = None) -> Features:
        """Descriptor of centres that all have one type.

        Args:
            view: the centres, in sections by type.
            expansion: None, as there are no networks.

        Returns:
            Values (n_atom, dim_out); no frame that would turn with the structure.
        """
        rule = frame_rule(self.config, view.centre, self.pair_exclude)
        rows, _ = local_coordinates([(part.astype(self.dtype), listed) for part, listed in view.by_section], rule)
        davg, dstd = self.davg.value[view.centre], self.dstd.value[view.centre]
        return Features((rows - davg[None]) / dstd[None])
