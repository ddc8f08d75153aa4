"""Loss of property models: one of five measures of the error, in units of the spread of the property over the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from dpjax.config.losses import PropertyLossConfig
from dpjax.errors import ModelError
from dpjax.losses.base import Loss
from dpjax.losses.inputs import Inputs, compared, counted_atoms, fact, found_flag, predicted, row_weights
from dpjax.losses.means import real_values, root, weighted_mean, weighted_sum

# of ours, theirs and the weights, all (n_frame, task_dim), and beta
Measure = Callable[[jax.Array, jax.Array, jax.Array, float], jax.Array]
SHIFT = 1e-3  # keeps the relative error finite where a label is 0


@dataclass(frozen=True, eq=False)
class PropertyLoss(Loss):
    """Loss of a property; see :meth:`evaluate`. Its names raise a ModelError unless ``facts`` has var_name."""

    loss_func: str = "smooth_mae"
    metric: tuple[str, ...] = ("mae",)
    beta: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label: it is called like the property."""
        return (fact(self.facts, "var_name", "property"),)

    @property
    def predictions(self) -> tuple[str, ...]:
        """The prediction: it is called like the property."""
        return self.labels

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the printed metrics, sorted."""
        return tuple(sorted(set(self.metric)))

    def evaluate(
        self, inputs: Inputs, learning_rate: float | jax.Array, from_model: Mapping[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss value () and metrics of one batch.

        The value is a sum over frames and components for smooth_mae, mae and mse, and a mean for rmse and mape; a frame in which
        no atom counts does not count. All but mape are in units of out_std. Metrics are means in the units of the property.
        What is not intensive is taken per atom everywhere.

        Args:
            prediction, label: the property (n_frame, task_dim). Of the prediction also mask and counted
                (:func:`dpjax.losses.inputs.counted_atoms`).
            learning_rate, atom_weight: have no influence.
            from_model: var_name, intensive and out_std, before those the loss was made with; out_std is (task_dim,) or one row
                for each type, of which the first is taken. A bias of the output is the same on both sides of the error and
                not needed.

        Raises:
            ModelError: a fact is missing or has another shape, or the model does not predict the property.
        """
        facts = {**self.facts, **from_model}
        name = fact(facts, "var_name", "property")
        ours = predicted(inputs.prediction, name, "type")
        found = found_flag(name, inputs.label, inputs.find)
        ours, theirs = compared(ours, inputs.label, name, ours.shape[-1])
        count = counted_atoms(inputs.prediction, inputs.natoms, len(ours))
        present = jnp.where((found > 0.0) & (count > 0.0), 1.0, 0.0)
        weight = jnp.broadcast_to((row_weights(inputs.frame_weight, len(ours)) * present)[:, None], ours.shape)
        # zeros in the place of padding keep it out of gradients, too
        ours, theirs = real_values(ours, weight), real_values(theirs, weight)
        if not fact(facts, "intensive", "property"):
            divisor = jnp.where(count > 0.0, count, 1.0)[:, None]
            ours, theirs = ours / divisor, theirs / divisor
        value = _value(self.loss_func, ours, theirs, weight, self.beta, _spread(facts, ours.shape[-1]))
        metrics = {x: MEANS[x](ours, theirs, weight, self.beta) for x in self.metrics}
        return found * value, {x: jnp.where(found > 0.0, metric, jnp.nan) for x, metric in metrics.items()}


def smooth_absolute(error: jax.Array, beta: float) -> jax.Array:
    """``error**2 / (2 beta)`` where its size is below ``beta``, else its size minus ``beta / 2``."""
    size = jnp.abs(error)
    return jnp.where(size < beta, 0.5 * error**2 / beta, size - 0.5 * beta)


def _mape(ours: jax.Array, theirs: jax.Array, weight: jax.Array, beta: float) -> jax.Array:
    return weighted_mean(jnp.abs((theirs - ours) / (theirs + SHIFT)), weight)


# error and beta -> what is summed or averaged
SIZES: dict[str, Callable[[jax.Array, float], jax.Array]] = {
    "smooth_mae": smooth_absolute,
    "mae": lambda error, beta: jnp.abs(error),
    "mse": lambda error, beta: error**2,
}
MEANS: dict[str, Measure] = {
    "smooth_mae": lambda ours, theirs, weight, beta: weighted_mean(smooth_absolute(ours - theirs, beta), weight),
    "mae": lambda ours, theirs, weight, beta: weighted_mean(jnp.abs(ours - theirs), weight),
    "mse": lambda ours, theirs, weight, beta: weighted_mean((ours - theirs) ** 2, weight),
    "rmse": lambda ours, theirs, weight, beta: root(weighted_mean((ours - theirs) ** 2, weight)),
    "mape": _mape,
}


def _value(
    loss_func: str, ours: jax.Array, theirs: jax.Array, weight: jax.Array, beta: float, spread: jax.Array
) -> jax.Array:
    if loss_func in SIZES:
        return weighted_sum(SIZES[loss_func]((ours - theirs) / spread, beta), weight)
    unit = 1.0 if loss_func == "mape" else spread
    return MEANS[loss_func](ours / unit, theirs / unit, weight, beta)


def _spread(facts: Mapping[str, Any], task_dim: int) -> jax.Array:
    """Spread of the components of the first type, (1, task_dim)."""
    spread = jnp.asarray(fact(facts, "out_std", "property"), float)
    first = spread[0] if spread.ndim == 2 else spread
    if first.shape != (task_dim,):
        raise ModelError(
            f"loss: out_std has the shape {spread.shape}; the property has {task_dim} components. Give one number for each."
        )
    return first[None, :]


def property_loss(cfg: PropertyLossConfig, start_lr: float, **from_model: Any) -> PropertyLoss:
    """The loss of a configuration and of the facts var_name, intensive and out_std, now or at the call."""
    return PropertyLoss(cfg.loss_func, tuple(cfg.metric), cfg.beta, from_model)
