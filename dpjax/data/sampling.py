"""Which frames of which system come next: seeded, resumable from a step number, the same on every machine.

A batch has frames of one system; with ``mixed:N`` it has N frames, each drawn by itself. The system of a draw is
chosen with replacement; the frames of a system are shuffled anew for each pass, and the last short batch of a pass is
kept. Nothing random is stored: the system of draw t and the order of frames in pass k are functions of (seed, t) and
(seed, system, k).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dpjax.data.batch_size import batch_sizes
from dpjax.data.probability import steps_of_epochs, steps_per_epoch, system_probabilities
from dpjax.data.repeats import copies_of, repeats_of
from dpjax.errors import DataError

_BLOCK = 1024  # steps whose systems are drawn at once: replaying a million steps takes a thousand generators
_DRAW, _SHUFFLE = 0, 1  # kinds of random numbers, so that their streams never meet


class SizedSystem(Protocol):
    """What sampling needs to know about a system; it may also have ``copies`` and ``origins`` (``repeats``)."""

    name: str
    n_frame: int
    n_atom: int


class SamplingRules(Protocol):
    """The part of a data configuration that says how frames are drawn."""

    batch_size: int | str | Sequence[int]
    auto_prob: str
    sys_probs: Sequence[float] | None


class Sampler:
    """An endless sequence of batches.

    Attributes:
        kept: positions, in the list of systems given, of those that take part (``filter:N`` drops some). The three
            attributes below and block indices in ``auto_prob`` follow this shorter list.
        batch_sizes: frames per batch.
        batches_per_system: batches in one pass; with ``numb_copy.npy``, or block weights over the origins of frames, a pass takes
            some frames several times (``repeats``).
        probabilities: of each system, summing to 1.
        mixed: frames of a batch that come from any systems (``mixed:N``), else 0.
        step: number of draws so far: one for each batch, or one for each frame of a mixed batch.
    """

    def __init__(
        self,
        systems: Sequence[SizedSystem],
        data_config: SamplingRules,
        seed: int,
        where: str = "training/training_data",
        workers: int = 1,
    ) -> None:
        """Works out sizes and probabilities.

        Args:
            systems: all systems of the data section.
            data_config: has ``batch_size``, ``auto_prob`` and ``sys_probs``.
            seed: non-negative; runs with the same seed and data draw the same frames.
            where: path of the data section, for messages.
            workers: that share a batch, which has so many times the frames of the rule.

        Raises:
            ConfigError: a rule is malformed or does not fit the systems.
        """
        plan = batch_sizes(data_config.batch_size, [s.n_atom for s in systems], [s.n_frame for s in systems], where)
        self.seed = int(seed)
        self.kept = plan.kept
        self.batch_sizes = plan.sizes if plan.mixed else tuple(size * workers for size in plan.sizes)
        self.mixed = plan.mixed * workers
        self.step = 0
        repeats, auto_prob = None, data_config.auto_prob
        if data_config.sys_probs is None:
            repeats = repeats_of(systems, plan.kept, auto_prob, f"{where}/auto_prob")
        if repeats is None:
            repeats = [copies_of(systems[i]) for i in plan.kept]
        else:
            auto_prob = "prob_sys_size"
        self._repeats = repeats
        self._n_frame = tuple((own or systems[i]).n_frame for i, own in zip(plan.kept, repeats, strict=True))
        self.batches_per_system = tuple(-(-n // size) for n, size in zip(self._n_frame, self.batch_sizes, strict=True))
        self.probabilities = system_probabilities(self.batches_per_system, auto_prob, data_config.sys_probs, where)
        self._place = {system: i for i, system in enumerate(plan.kept)}
        self._rules = {
            "seed": self.seed,
            "frames": list(self._n_frame),
            "batch_sizes": list(self.batch_sizes),
            "probabilities": [float(p) for p in self.probabilities],
        }
        self._given = np.zeros(len(plan.kept), dtype=np.int64)  # batches given so far by each system
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # system -> (pass, order of its frames)
        self._drawn: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))  # (block, systems of its steps)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every system is expected to give all its frames once."""
        return -(-steps_per_epoch(self.batches_per_system, self.probabilities) // self.draws)

    def steps_of_epochs(self, numb_epoch: float) -> int:
        """Steps in ``numb_epoch`` epochs."""
        return -(-steps_of_epochs(numb_epoch, self.batches_per_system, self.probabilities) // self.draws)

    @property
    def draws(self) -> int:
        """Draws that make one batch."""
        return self.mixed or 1

    def next_batch(self) -> tuple[tuple[int, np.ndarray], ...]:
        """The next batch as pairs (position of a system in the list given, its frame numbers); one pair unless mixed."""
        parts: dict[int, list[int]] = {}
        for _ in range(self.draws):
            system, frames = self.next()
            parts.setdefault(system, []).extend(frames)
        return tuple((system, np.array(frames)) for system, frames in parts.items())

    def frames_per_batch(self, system: int) -> int:
        """Frames of a full batch whose (first) system is at this position of the list given."""
        return self.mixed or self.batch_sizes[self._place[system]]

    def next(self) -> tuple[int, np.ndarray]:
        """The next draw: position of its system in the list given, and its frame numbers (at most the batch size)."""
        system = int(self._systems_of_block(self.step // _BLOCK)[self.step % _BLOCK])
        passes, batch = divmod(int(self._given[system]), self.batches_per_system[system])
        size = self.batch_sizes[system]
        frames = self._order(system, passes)[batch * size : (batch + 1) * size]
        self._given[system] += 1
        self.step += 1
        return self.kept[system], frames

    def seek(self, step: int) -> None:
        """Goes to the state after ``step`` draws, forwards or backwards."""
        counts = np.zeros_like(self._given)
        for block in range(-(-step // _BLOCK)):
            drawn = self._systems_of_block(block)[: step - block * _BLOCK]
            counts += np.bincount(drawn, minlength=len(counts))
        self._given = counts
        self.step = step

    def state(self) -> dict:
        """Where the sequence stands, JSON-able; ``restore`` continues from it exactly."""
        return {"step": self.step, **self._rules}  # the lists are shared: there may be very many systems

    def restore(self, state: dict) -> bool:
        """Continues from ``state``.

        Returns:
            True if data, sizes, probabilities and seed are those of the state, so that the sequence is continued
            exactly; False if some were changed since, and a sequence of the new ones goes on at the same step.

        Raises:
            DataError: the state is not one that ``state`` made.
        """
        here = self.state()
        if set(state) != set(here) or not isinstance(state["step"], int) or state["step"] < 0:
            raise DataError(
                f"sampler state has the keys {sorted(state)}; expected {sorted(here)}. Use a checkpoint's own."
            )
        self.seek(state["step"])
        return all(state[key] == here[key] for key in here if key != "step")

    def _systems_of_block(self, block: int) -> np.ndarray:
        """Systems of the steps ``block * _BLOCK ...``, as positions in ``kept``."""
        if self._drawn[0] != block:
            uniform = np.random.default_rng([self.seed, _DRAW, block]).random(_BLOCK)
            edges = np.cumsum(self.probabilities)
            possible = np.flatnonzero(self.probabilities)
            drawn = np.minimum(np.searchsorted(edges, uniform * edges[-1], side="right"), possible[-1])
            self._drawn = (block, drawn)
        return self._drawn[1]

    def _order(self, system: int, passes: int) -> np.ndarray:
        held = self._orders.get(system)
        if held is None or held[0] != passes:
            rng = np.random.default_rng([self.seed, _SHUFFLE, self.kept[system], passes])
            repeats = self._repeats[system]
            order = rng.permutation(self._n_frame[system]) if repeats is None else repeats.order(rng)
            held = self._orders[system] = (passes, order)
        return held[1]
