"""Degrees, orders and widths that follow from the options of ``dpa4``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dpjax.config.descriptors import Dpa4Config
from dpjax.nn.equivariant.packed import kept

MULTIPLE = 32  # of which hidden widths are made


def rounded_up(width: float) -> int:
    """The next multiple of 32."""
    return MULTIPLE * -int(-width // MULTIPLE)


@dataclass(frozen=True)
class Sizes:
    """What arrays of a descriptor are long.  A stream is a set of channels that messages keep apart (``n_focus``)."""

    config: Dpa4Config

    @property
    def channels(self) -> int:
        """Channels of a state."""
        return self.config.channels

    @cached_property
    def degrees(self) -> tuple[int, ...]:
        """Highest degree of each block."""
        cfg = self.config
        return (cfg.lmax,) * cfg.n_blocks if cfg.l_schedule is None else cfg.l_schedule

    @cached_property
    def orders(self) -> tuple[int, ...]:
        """Highest order that messages of each block keep in the frame of an edge."""
        cfg = self.config
        if cfg.m_schedule is not None:
            return cfg.m_schedule
        return tuple(ell if cfg.mmax is None else min(ell, cfg.mmax) for ell in self.degrees)

    @property
    def first_degree(self) -> int:
        """Highest degree of the first state."""
        return self.config.lmax_first

    @property
    def streams(self) -> int:
        """Streams of a message."""
        return self.config.n_focus

    @property
    def stream(self) -> int:
        """Channels of a stream."""
        return self.config.focus_dim or self.channels

    @property
    def hidden(self) -> int:
        """Channels of a message."""
        return self.streams * self.stream

    @property
    def heads(self) -> int:
        """Attention heads of a stream; 0: distance alone weighs messages."""
        return self.config.n_atten_head

    @property
    def attention(self) -> tuple[int, int]:
        """Streams that attention keeps apart, and channels of each."""
        return (1, self.hidden) if self.config.atten_f_mix else (self.streams, self.stream)

    @property
    def message_on_sphere(self) -> bool:
        """Whether the layers of a message multiply functions on a sphere."""
        return self.config.s2_activation[0]

    @property
    def feed_forward_on_sphere(self) -> bool:
        """Whether feed-forward nets do."""
        return self.config.s2_activation[1]

    @property
    def gated(self) -> bool:
        """Whether one half of a hidden layer gates the other in the feed-forward nets of blocks."""
        return self.feed_forward_on_sphere or self.config.glu_activation

    @property
    def lebedev(self) -> tuple[bool, bool]:
        """Whether Lebedev's rules say the points of the spheres of messages, and of feed-forward nets."""
        given = self.config.lebedev_quadrature
        return (given, given) if isinstance(given, bool) else (given[0], given[1])

    @property
    def point_by_point(self) -> bool:
        """Whether feed-forward nets act on values at points of a sphere."""
        given = self.config.grid_mlp
        return given if isinstance(given, bool) else given[2]

    def feed_forward(self, gated: bool) -> int:
        """Hidden width of a feed-forward net."""
        cfg = self.config
        return cfg.ffn_neurons or rounded_up(self.channels * 8 / 3 if gated else self.channels * 4)

    @property
    def radial(self) -> tuple[int, ...]:
        """Widths of the layers of the radial net, input included."""
        cfg = self.config
        hidden = [width or self.channels for width in cfg.radial_mlp]
        return (cfg.n_radial, *hidden, (self.first_degree + 1) * self.channels)

    @property
    def kept(self) -> int:
        """Numbers of an edge that blocks keep for their backward pass, about: ten for each of a message in each of its layers."""
        rows = sum(len(kept(ell, order)) for ell, order in zip(self.degrees, self.orders, strict=True))
        return 10 * self.config.so2_layers * self.hidden * rows

    @cached_property
    def seed(self) -> SeedSizes:
        """Widths of the net that knows where neighbours are."""
        n = self.channels
        embedded = min(n, 128)
        type_width = min(32, max(8, n // 4))
        radial = max(32, embedded - 2 * type_width)
        return SeedSizes(
            embedded=embedded,
            axis=min(4 if embedded < 64 else 8, max(1, embedded - 1)),
            type_width=type_width,
            radial=radial,
            hidden=min(256, max(2 * embedded, radial + 2 * type_width)),
        )

    def mixers(self, block: int) -> int:
        """Pairs of degrees, of all orders, that a kernel of distances mixes."""
        ell = self.degrees[block]
        return sum((ell - m + 1) ** 2 for m in range(self.orders[block] + 1))

    @property
    def kernels(self) -> int:
        """Such kernels of an edge."""
        cfg = self.config
        if cfg.radial_so2_mode == "degree":
            return 1
        return cfg.radial_so2_rank or self.hidden


@dataclass(frozen=True)
class SeedSizes:
    """Widths of the net that knows where neighbours are."""

    embedded: int  # what is summed over neighbours
    axis: int  # of these columns that the others are multiplied with
    type_width: int  # of its own type vectors
    radial: int  # of what distances become
    hidden: int
