"""Noise on the atoms of training batches, for losses that learn from disturbed structures.

Nothing random is stored: whether batch number t is disturbed is a function of (seed, t), and how its frames are disturbed one of
(seed, t, system, frame).  So a restart goes on with the same noise, and all processes of a training know that of every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dpjax.batching import Disturbance, Layout, pack_atoms
from dpjax.config.losses import DensLossConfig, LossConfig

BATCH, FRAME = 4, 5  # kinds of random numbers, beside those of the sampler, of samples and of tasks


class Displaced(NamedTuple):
    """What is done to the atoms of a frame."""

    mask: np.ndarray  # (n_atom,) 1.0 for those that are displaced, else 0.0
    noise: np.ndarray  # (n_atom, 3) angstrom


@dataclass(frozen=True)
class NoiseRule:
    """How often batches are disturbed, and how.

    Attributes:
        seed: of the run.
        probability: that a batch is disturbed.
        ratio: probability that an atom of such a batch is displaced; None: all are.
        std: of each component of the displacements, angstrom.
    """

    seed: int
    probability: float
    ratio: float | None
    std: float

    def drawn(self, batch: int) -> Noise | None:
        """The noise of batch number ``batch``; None: it is left alone."""
        disturbed = np.random.default_rng([self.seed, BATCH, batch]).random() < self.probability
        return self.certain(batch) if disturbed else None

    def certain(self, batch: int) -> Noise:
        """The noise of a batch that is disturbed in any case."""
        return Noise(self, batch)


@dataclass(frozen=True)
class Noise:
    """The noise of one batch."""

    rule: NoiseRule
    batch: int

    def of(self, system: int, frame: int, types: np.ndarray) -> Displaced:
        """What is done to a frame of a system with these types (n_atom,); placeholders stay where they are."""
        rule, n_atom = self.rule, len(types)
        rng = np.random.default_rng([rule.seed, FRAME, self.batch, system, frame])
        chosen = np.ones(n_atom, bool) if rule.ratio is None else rng.random(n_atom) < rule.ratio
        mask = (chosen & (types >= 0)).astype(float)
        return Displaced(mask, rule.std * rng.normal(size=(n_atom, 3)) * mask[:, None])


def noise_rule(loss: LossConfig, seed: int) -> NoiseRule | None:
    """What a loss wants done to training batches; None: nothing."""
    if not isinstance(loss, DensLossConfig):
        return None
    return NoiseRule(seed, loss.dens_prob, loss.dens_corrupt_ratio, loss.dens_std)


def disturbance(
    each: Sequence[Displaced], places: Sequence[np.ndarray], layout: Layout, force: np.ndarray
) -> Disturbance:
    """What was done to a batch, on its padded axis.

    Args:
        each: what was done to its frames; none of a batch that was left alone.
        places: (n_atom,) of each frame on the axis of the batch.
        layout: of the batch.
        force: (n_atom, 3) eV/angstrom, true forces on the axis of the batch.
    """
    n_atom = layout.n_atom
    if not each:
        return Disturbance(np.zeros(n_atom), np.zeros((n_atom, 3)), np.zeros((n_atom, 3)))
    joined = np.concatenate(places)
    mask, noise = (pack_atoms(np.concatenate(own), joined, n_atom) for own in zip(*each, strict=True))
    return Disturbance(mask, noise, force * mask[:, None])
