"""Everything a training needs, built from its configuration: data, model, statistics, loss, optimizer, schedule."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh

from dpjax import losses, optimizers, schedules
from dpjax.config import Config, ModelConfig
from dpjax.config.optimizers import LkfConfig
from dpjax.config.tasks import Pieces
from dpjax.data import Sampler
from dpjax.errors import ConfigError
from dpjax.models import build_model, init_variables
from dpjax.models.adapters import params_with_adapters
from dpjax.nn.blocks import Work
from dpjax.nn.precision import dtype_of
from dpjax.train_state import TrainState
from dpjax.training import kalman
from dpjax.training.adoption import adopted_variables, filled
from dpjax.training.devices import data_mesh
from dpjax.training.ensemble import Members, adopted_members, apart, member_of, stacked_parameters, take_turns
from dpjax.training.fresh import fresh_variables, trainable_labels
from dpjax.training.hosts import agreed, rate_factor
from dpjax.training.mixed_precision import LossScale
from dpjax.training.modifier import Modifiers, corrected, with_bound_model
from dpjax.training.noise import noise_rule
from dpjax.training.sides import DataSide, data_side, open_systems, resolve_sel, validation_side
from dpjax.training.step import UpdatePlan
from dpjax.training.tasks import arranged
from dpjax.training.zero import Zero

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSetup:
    """A training before its first step.

    Attributes:
        config: with ``sel`` resolved.
        mesh: devices that share each batch; None for one.
        pieces: of several tasks, where pieces of the common tree of parameters stand in this model's.
    """

    config: Config
    model: nn.Module
    variables: dict[str, Any]
    training: DataSide
    validation: DataSide | None
    loss: Callable
    needs_force: bool
    tx: optax.GradientTransformation
    plan: UpdatePlan
    num_steps: int
    seed: int
    mesh: Mesh | None = None
    pieces: Pieces | None = None

    @property
    def work(self) -> Work:
        """How that of the model is divided."""
        own = self.config.dpjax
        return Work(own.block_size, own.recompute_layers)

    def initial_state(self) -> TrainState:
        """The state before the first step."""
        params = jax.tree.map(jax.numpy.array, self.variables["params"])
        state = TrainState.create(params, self.tx, self.plan.ema_decay is not None, self.members > 1)
        return state.replace(scale=self._first_scale()) if self.compute_dtype == jax.numpy.float16 else state

    def placed(self, state: TrainState) -> TrainState | Members:
        """The state on its devices, in the form in which steps take it."""
        if not self.turns:
            return self.zero.placed(state)
        return Members(tuple(self.zero.placed(own) for own in apart(state, self.members).each))

    def _first_scale(self) -> LossScale:
        """Of the loss, or of that of each member."""
        first = LossScale.first()
        return first if self.members == 1 else jax.tree.map(lambda x: jax.numpy.full(self.members, x), first)

    @property
    def compute_dtype(self) -> Any:
        """What networks are computed in during training; None: in the precision of their parameters."""
        mixed = self.config.training.mixed_precision
        return None if mixed is None else dtype_of(mixed["compute_prec"])

    @property
    def zero(self) -> Zero:
        """Where the state lies."""
        return Zero(self.config.training.zero_stage, self.mesh, 1 if self.turns else self.members)

    @property
    def members(self) -> int:
        """Models that are trained together; above 1 the leaves of ``params`` have an axis for them."""
        return self.config.dpjax.ensemble

    @property
    def turns(self) -> bool:
        """Whether models that are trained together take turns, each with its own state."""
        return self.members > 1 and take_turns()

    @property
    def one(self) -> dict[str, Any]:
        """Variables of the model, of the first of an ensemble."""
        params = self.variables["params"]
        return self.variables | {"params": self.arrange(params if self.members == 1 else member_of(params, 0))}

    def arrange(self, params: Any) -> Any:
        """The parameters of the model out of those that the run trains."""
        return params if self.pieces is None else arranged(params, self.pieces)


def prepare(
    config: Config,
    initial: tuple[ModelConfig, dict] | None = None,
    seed: int | None = None,
    exact: bool = False,
    keep: bool = True,
    fill: bool = False,
    modifiers: Modifiers | None = None,
) -> TrainingSetup:
    """Read the data and build all parts.

    Args:
        config: the whole input.
        initial: configuration and variables to start from instead of fresh ones (``--init-model``, a checkpoint).
        seed: seed of a run that is continued; else the input's, else a random one.
        exact: refuse an ``initial`` model that differs from the input's in more than its training.
        keep: write new statistics of the data to ``stat_file``.
        fill: what ``initial`` lacks is as in a fresh model; else it must have everything.
        modifiers: what models with the section ``modifier`` need.

    Raises:
        DataError, ConfigError: as their packages say.
    """
    seed = agreed(next(s for s in (seed, config.training.seed, secrets.randbelow(2**31)) if s is not None))
    start_lr = config.learning_rate.start_lr
    loss = losses.from_config(config.loss, start_lr, **losses.model_facts(config.model))
    config = with_bound_model(config, initial if exact else None, modifiers)
    systems = open_systems(config.training.training_data, config.model, loss, options=config.dpjax)
    systems = corrected(config.model, systems, modifiers)
    if isinstance(config.optimizer, LkfConfig):
        kalman.require_labels(systems)
    sampler = Sampler(systems, config.training.training_data, seed, workers=jax.process_count())
    config = resolve_sel(config, systems, initial)
    noise = noise_rule(config.loss, seed)
    training = data_side(config, config.training.training_data, systems, sampler, loss, noise=noise)
    model = build_model(config.model)
    if initial is None or fill:
        variables = _fresh(config, model, training, seed, keep)
    if initial is not None:
        start = initial if exact else _with_adapters(config.model, model, initial, seed)
        start = start[0], filled(start[1], variables) if fill else start[1]
        variables = _adopted(config, model, start, exact)
    num_steps = config.training.numb_steps
    if num_steps is None:
        num_steps = sampler.steps_of_epochs(config.training.numb_epoch)
    plan = update_plan(config, num_steps)
    flags = trainable_labels(config.model, variables["params"])
    if not isinstance(config.model, ModelConfig) and not any(jax.tree.leaves(flags)):
        raise ConfigError(
            f"model/type: found {config.model.type!r} of which nothing is trained: all of its parts are tables, or models that "
            "stay as they are. Add a part to train; to use the model as it is, `dpjax.build(section)` makes it."
        )
    if config.model.lora is not None:
        _report_adapters(config.model, variables["params"], flags)
    mesh = data_mesh()
    if config.training.zero_stage and mesh is None:
        log.info("training/zero_stage %d changes nothing: there is one device", config.training.zero_stage)
    return TrainingSetup(
        config=config,
        model=model,
        variables=variables,
        training=training,
        validation=validation_side(config, loss, seed, modifiers),
        loss=losses.from_config(config.loss, start_lr, **losses.model_facts(config.model, variables["stats"])),
        needs_force=bool({"force", "force_mag", "virial"} & set(loss.predictions)),
        tx=build_optimizer(config, plan.schedule, flags),
        plan=plan,
        num_steps=num_steps,
        seed=seed,
        mesh=mesh,
    )


def _fresh(config: Config, model: nn.Module, training: DataSide, seed: int, keep: bool) -> dict[str, Any]:
    """New variables of the model, or of all members of an ensemble."""
    variables, members = fresh_variables(config, model, training, seed, keep), config.dpjax.ensemble
    return variables if members == 1 else variables | {"params": stacked_parameters(model, seed, members)}


def _with_adapters(
    config: ModelConfig, model: nn.Module, start: tuple[ModelConfig, dict], seed: int
) -> tuple[ModelConfig, dict]:
    """The model to start from, which has no adapters, with fresh ones where the input's has some."""
    theirs, variables = start
    if config.lora is None:
        return start
    fresh = init_variables(model, seed)["params"]
    return theirs, variables | {"params": params_with_adapters(variables["params"], fresh)}


def _report_adapters(config: ModelConfig, params: dict, flags: dict) -> None:
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    trained = sum(size for size, flag in zip(sizes, jax.tree.leaves(flags), strict=True) if flag)
    log.info(
        "model/lora: corrections of rank %d, multiplied by %g; %d of %d parameters are trained",
        config.lora.rank, config.lora.scaling, trained, sum(sizes),
    )  # fmt: skip


def _adopted(config: Config, model: nn.Module, start: tuple[ModelConfig, dict], exact: bool) -> dict[str, Any]:
    """The variables of the model to start from, or of all members of such an ensemble."""
    members = config.dpjax.ensemble
    if members == 1:
        return adopted_variables(config.model, model, start, exact)
    return adopted_members(
        start[1], members, lambda own: adopted_variables(config.model, model, (start[0], own), exact)
    )


def update_plan(config: Config, num_steps: int) -> UpdatePlan:
    """When the steps of a run become updates; the schedule runs over the updates and reaches its end with the last."""
    training = config.training
    schedule = schedules.from_config(config.learning_rate, num_steps // training.acc_freq)
    return UpdatePlan(
        schedule,
        training.acc_freq,
        training.ema_decay if training.enable_ema else None,
        rate_factor(config.learning_rate.scale_by_worker),
    )


def build_optimizer(config: Config, schedule: Callable, trainable: Any) -> optax.GradientTransformation:
    """Clipping, optimizer, learning rate and accumulation for the trained parameters; frozen ones are left alone."""
    if isinstance(config.optimizer, LkfConfig):
        return optimizers.from_config(config.optimizer, schedule, kalman.trained_order(trainable))
    clip = optimizers.clip_by_global_norm(config.training.gradient_max_norm or 0.0)
    tx = optax.chain(clip, optimizers.from_config(config.optimizer, schedule))
    tx = optimizers.accumulate(tx, config.training.acc_freq)
    return tx if all(jax.tree.leaves(trainable)) else optimizers.freeze(tx, trainable)
