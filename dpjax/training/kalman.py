"""The training step of the layer-wise Kalman filter: five updates, one of the energies and four of forces on six atoms each.

What an update follows is the mean error of one kind in the batch, without regard to its sign.  With labels y*, predictions y and
the prefactor p of this step it is ``sum_frames mean |p (y* - y)| / N / sqrt(frames)``, where N is the number of atoms of the frame
and the mean is over what is compared of it.  The filter's slope is the gradient of ``sum_frames mean p s y / N`` with the sign s of
``y* - y``.  Each update has predictions of its own, made with the parameters that the one before left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dpjax.config.optimizers import LkfConfig
from dpjax.errors import ConfigError
from dpjax.models import RESOLVED
from dpjax.models.parameter_order import reference_order
from dpjax.nn.blocks import AS_SUITS, Work
from dpjax.nn.chebyshev import Grid
from dpjax.optimizers import parameter_names
from dpjax.optimizers.lkf import Corrections, block_plan, no_corrections, observed, settled
from dpjax.train_state import TrainState
from dpjax.training.step import (
    LabelledBatch,
    Metrics,
    Rows,
    Spread,
    UpdatePlan,
    averaged,
    kept_if_resolved,
    prediction_of,
    real_rows,
)

GROUPS, GROUP_SIZE = 4, 6  # updates of forces in a step, atoms of a frame in each
LABELS = ("energy", "force")

Carry = tuple[Any, Corrections]  # parameters and what was made of the covariance since the step began


@dataclass(frozen=True, eq=False)
class KalmanStep:
    """One step as a pure function; see :meth:`__call__`.

    Attributes:
        model: predicts energies and forces.
        loss: what is reported; it has no part in the updates.
        cfg: size of the blocks, prefactors.
        order: trained parameters in the order that decides which share a block.
        plan: the learning rate at which the loss is reported, the moving average of the parameters.
        num_steps: length of the run, over which the prefactors move.
        work: how that of the model is divided.
        spread: how predictions run on several devices; None: one device.
    """

    model: Any
    loss: Callable
    cfg: LkfConfig
    order: Sequence[str]
    plan: UpdatePlan
    num_steps: int
    work: Work = AS_SUITS
    spread: Spread | None = None

    def __call__(
        self, state: TrainState, stats: Any, data: LabelledBatch, atoms: jax.Array, grid: Grid | None = None
    ) -> tuple[TrainState, Metrics]:
        """State and metrics after five updates.

        The metrics are those of the predictions before the last update.  Where ``grid`` does not resolve the embedding networks for
        all five, the state comes back as it was.

        Args:
            state: whose ``opt_state`` is that of :func:`dpjax.optimizers.lkf.kalman_filter`.
            stats: the model's statistics.
            data: batch with energies and forces.
            atoms: (4, n_frame, 6) the atoms whose forces the updates take, counted within each frame, placeholders left out.
            grid: resolution of the series for embedding networks; None: the networks themselves.
        """
        rows, label, filter_state = self.rows(data), self._flat(jax.tree.map(jnp.asarray, data.label)), state.opt_state
        blocks = block_plan(state.params, self.cfg.kf_blocksize, self.order)

        def follow(carry: Carry, place: int | jax.Array, name: str, taken: jax.Array | slice) -> tuple[Carry, Metrics]:
            """The update of the energies or forces ``taken``; also gives the predictions before it."""
            params, past = carry
            quantity = self._quantity(name, taken, stats, data, grid)
            prefactor = self._prefactor(name, state.step)
            error, gradient, prediction = measured(quantity, params, label[name][taken], rows, prefactor)
            past, change = observed(filter_state, past, place, blocks.gather(gradient), error)
            return (optax.apply_updates(params, blocks.scatter(change, params)), past), prediction

        def follow_forces(carry: Carry, turn: tuple[jax.Array, jax.Array]) -> tuple[Carry, Metrics]:
            carry, prediction = follow(carry, turn[0], "force", turn[1])
            return carry, self._metrics(prediction, data, label, rows, state.step)

        carry = state.params, no_corrections(filter_state, 1 + GROUPS)
        carry, prediction = follow(carry, 0, "energy", slice(None))
        (params, past), reports = jax.lax.scan(
            follow_forces, carry, (jnp.arange(1, 1 + GROUPS), places_of(atoms, rows))
        )
        metrics = jax.tree.map(lambda values: values[-1], reports)
        if grid is not None:
            metrics[RESOLVED] = jnp.all(prediction[RESOLVED]) & jnp.all(reports[RESOLVED])
        new = state.replace(
            step=state.step + 1,
            params=params,
            opt_state=settled(filter_state, past),
            ema=averaged(state.ema, params, self.plan, state.step),
        )
        return kept_if_resolved(new, state, metrics), metrics

    def rows(self, data: LabelledBatch) -> Rows:
        """Which atoms and frames are real, all devices joined."""
        return real_rows(data.batch, self._flat)

    def _flat(self, tree: Any) -> Any:
        return tree if self.spread is None else self.spread.joined(tree)

    def _quantity(
        self, name: str, taken: jax.Array | slice, stats: Any, data: LabelledBatch, grid: Grid | None
    ) -> Callable:
        """A function of the parameters: the energies or forces ``taken``, and all predictions."""
        prediction = prediction_of(self.model, name == "force", self.work, self.spread)

        def quantity(params: Any) -> tuple[jax.Array, Metrics]:
            predicted = prediction({"params": params, "stats": stats}, data.batch, grid)
            return predicted[name][taken], predicted

        return quantity

    def _prefactor(self, name: str, step: jax.Array) -> jax.Array:
        """Of energies or forces, moving geometrically."""
        start, limit = (getattr(self.cfg, f"kf_{end}_pref_{name[0]}") for end in ("start", "limit"))
        return start * jnp.power(limit / start, step.astype(float) / self.num_steps)

    def _metrics(
        self, prediction: Metrics, data: LabelledBatch, label: Metrics, rows: Rows, step: jax.Array
    ) -> Metrics:
        resolved = {RESOLVED: jnp.all(prediction.pop(RESOLVED))} if RESOLVED in prediction else {}
        rate = self.plan.rate(step)
        value, metrics = self.loss(prediction, label, learning_rate=rate, find=data.find, **rows._asdict())
        return {"loss": value, **metrics, **resolved}


def kalman_step_of(step: KalmanStep, seed: int) -> Callable:
    """A function ``(state, stats, data, grid=None) -> (state, metrics)``; atoms are drawn from the seed and the step's number."""

    def kalman_step(
        state: TrainState, stats: Any, data: LabelledBatch, grid: Grid | None = None
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        return step(state, stats, data, drawn_atoms(key, step.rows(data).natoms), grid)

    return kalman_step


def drawn_atoms(key: jax.Array, natoms: jax.Array) -> jax.Array:
    """(4, n_frame, 6) atoms of each frame, with replacement; frames of one size have the same ones, empty frames 0."""
    share = jax.random.uniform(key, (GROUPS, 1, GROUP_SIZE))
    return jnp.floor(share * natoms[None, :, None]).astype(int)


def places_of(atoms: jax.Array, rows: Rows) -> jax.Array:
    """Places on the atom axis of atoms (m, n_frame, n) that are counted within each frame; any place for empty frames."""
    n_frame = len(rows.natoms)
    order = jnp.argsort(jnp.where(rows.atom_weight > 0.0, rows.frame, n_frame), stable=True)
    first = jnp.cumsum(rows.natoms) - rows.natoms
    return order[jnp.minimum(first[None, :, None] + atoms, len(order) - 1)]


def measured(
    quantity: Callable, params: Any, label: jax.Array, rows: Rows, prefactor: jax.Array
) -> tuple[jax.Array, Any, Any]:
    """What an update follows.

    Args:
        quantity: parameters -> (values (n_frame, ...), anything else).
        params: the parameters.
        label: like the values.
        rows: which frames are real.
        prefactor: of errors of this kind, ().

    Returns:
        The error (), the gradient it has with respect to the parameters, and what else ``quantity`` gives.
    """
    values, pull, others = jax.vjp(quantity, params, has_aux=True)
    counted = jnp.maximum(rows.natoms, 1) * (values.size // len(values))
    weight = prefactor * (rows.frame_weight / counted).reshape(-1, *(1,) * (values.ndim - 1))
    miss = weight * (label - values)
    (gradient,) = pull((weight * jnp.where(miss < 0.0, -1.0, 1.0)).astype(values.dtype))
    error = jnp.sum(jnp.abs(miss)) / jnp.sqrt(jnp.sum(rows.frame_weight))
    return error, gradient, others


def trained_order(trainable: Any) -> tuple[str, ...]:
    """Names of the trained parameters in DeePMD-kit's order; ``trainable`` has a flag for each parameter."""
    return reference_order(name for name, flag in parameter_names(trainable).items() if flag)


def require_labels(systems: Sequence[Any]) -> None:
    """Every update of the filter needs its labels.

    Raises:
        ConfigError: a system of the training data has no energy or no forces.
    """
    for name in LABELS:
        lacking = [system.name for system in systems if not system.found[name]]
        if lacking:
            raise ConfigError(
                f"optimizer/type: LKF fits energies and forces, but {lacking[0]} has no {name} label ({len(lacking)} of "
                f"{len(systems)} systems). Leave such systems out, or take another optimizer."
            )
