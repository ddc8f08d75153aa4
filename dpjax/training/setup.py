"""Everything a training needs, built from its configuration: data, model, statistics, loss, optimizer, schedule."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh

from dpjax import losses, optimizers, schedules
from dpjax.config import Config, DataConfig, ModelConfig
from dpjax.config.dpjax_section import DpjaxConfig
from dpjax.config.optimizers import LkfConfig
from dpjax.config.tasks import Pieces
from dpjax.data import Sampler, System, label_requirements, load_systems
from dpjax.data.waiting import counter
from dpjax.descriptors import capacity, cutoff, has_type_networks, members
from dpjax.descriptors.crowding import cuts
from dpjax.errors import ConfigError, DataError
from dpjax.fittings.layers import layer_owners, trainable_layers
from dpjax.models import build_model, init_variables
from dpjax.neighbors import NeighborCache, neighbor_stat, suggest_sel
from dpjax.nn.precision import dtype_of
from dpjax.train_state import TrainState
from dpjax.training import kalman, preparation
from dpjax.training.adoption import adopted_variables
from dpjax.training.devices import Part, data_mesh
from dpjax.training.ensemble import adopted_members, member_of, stacked_parameters
from dpjax.training.full_validation import LABELS
from dpjax.training.hosts import agreed, scaled
from dpjax.training.mixed_precision import LossScale
from dpjax.training.source import BatchSource, ModelNeeds
from dpjax.training.stat_file import load_statistics, required_statistics, save_statistics, statistics_key
from dpjax.training.step import UpdatePlan
from dpjax.training.tasks import arranged
from dpjax.training.zero import Zero

log = logging.getLogger(__name__)

NEIGHBOR_FRAMES = 20_000  # looked at for `"sel": "auto"`
EMPTY_PASSES = 4  # through the data without a frame that may be trained on


@dataclass(frozen=True)
class DataSide:
    """Systems with their sampler and packer.

    Attributes:
        min_pair_dist: frames with atoms closer than this (angstrom) are left out of their batches; 0 keeps all.
    """

    systems: Sequence[System]
    sampler: Sampler
    source: BatchSource
    min_pair_dist: float = 0.0

    def next_parts(self) -> Sequence[Part]:
        """Frames of the next batch; where none of a batch may stay, of the one after it.

        Raises:
            DataError: no frame met in many passes may stay.
        """
        for _ in range(EMPTY_PASSES * sum(self.sampler.batches_per_system) + EMPTY_PASSES):
            parts = self.sampler.next_batch()
            if self.min_pair_dist:
                parts = self.source.without_close_pairs(parts, self.min_pair_dist)
            if parts:
                return parts
        raise DataError(
            f"training/training_data/min_pair_dist: found {self.min_pair_dist} angstrom, and no frame of the data has all its "
            "atoms that far apart. Lower it, or look at the distances that `dpjax neighbor-stat` prints."
        )

    def state(self) -> dict[str, Any]:
        """Where the batches stand, JSON-able: the frames drawn, and the array sizes, which decide the order of sums."""
        places = {frames: [int(n) for n in atoms] for frames, atoms in self.source.places.items()}
        capacity = [int(n) for n in self.source.capacity]
        return {"sampler": self.sampler.state(), "capacity": capacity, "places": places}

    def restore(self, state: dict[str, Any]) -> bool:
        """Continue from ``state``; False if the data or the rules of drawing changed since."""
        self.source.reserve(state["capacity"])
        self.source.places |= {frames: np.array(atoms) for frames, atoms in state["places"].items()}
        return self.sampler.restore(state["sampler"])


@dataclass(frozen=True)
class TrainingSetup:
    """A training before its first step."""

    config: Config  # with ``sel`` resolved
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
    mesh: Mesh | None = None  # devices that share each batch; None for one
    pieces: Pieces | None = (
        None  # of several tasks: where pieces of the common tree of parameters stand in this model's
    )

    def initial_state(self) -> TrainState:
        """The state before the first step."""
        params = jax.tree.map(jax.numpy.array, self.variables["params"])
        state = TrainState.create(params, self.tx, self.plan.ema_decay is not None, self.members > 1)
        return state.replace(scale=LossScale.first()) if self.compute_dtype == jax.numpy.float16 else state

    @property
    def compute_dtype(self) -> Any:
        """What networks are computed in during training; None: in the precision of their parameters."""
        mixed = self.config.training.mixed_precision
        return None if mixed is None else dtype_of(mixed["compute_prec"])

    @property
    def zero(self) -> Zero:
        """Where the state lies."""
        return Zero(self.config.training.zero_stage, self.mesh, self.members)

    @property
    def members(self) -> int:
        """Models that are trained together; above 1 the leaves of ``params`` have an axis for them."""
        return self.config.dpjax.ensemble

    @property
    def one(self) -> dict[str, Any]:
        """Variables of the model, of the first of an ensemble."""
        return one_of(self.variables, self.members) | {
            "params": self.arrange(one_of(self.variables, self.members)["params"])
        }

    def arrange(self, params: Any) -> Any:
        """The parameters of the model out of those that the run trains."""
        return params if self.pieces is None else arranged(params, self.pieces)


def prepare(
    config: Config,
    initial: tuple[ModelConfig, dict] | None = None,
    seed: int | None = None,
    exact: bool = False,
    keep: bool = True,
) -> TrainingSetup:
    """Read the data and build all parts.

    Args:
        config: the whole input.
        initial: configuration and variables to start from instead of fresh ones (``--init-model``, a checkpoint).
        seed: seed of a run that is continued; else the input's, else a random one.
        exact: refuse an ``initial`` model that differs from the input's in more than its training.
        keep: write new statistics of the data to ``stat_file``.

    Raises:
        DataError, ConfigError: as their packages say.
    """
    seed = agreed(next(s for s in (seed, config.training.seed, secrets.randbelow(2**31)) if s is not None))
    start_lr = config.learning_rate.start_lr
    loss = losses.from_config(config.loss, start_lr, **losses.model_facts(config.model))
    systems = open_systems(config.training.training_data, config.model, loss, options=config.dpjax)
    if isinstance(config.optimizer, LkfConfig):
        kalman.require_labels(systems)
    sampler = Sampler(systems, config.training.training_data, seed, workers=jax.process_count())
    config = resolve_sel(config, systems, initial)
    training = _data_side(config, config.training.training_data, systems, sampler, loss)
    model = build_model(config.model)
    members = config.dpjax.ensemble
    if initial is None:
        variables = fresh_variables(config, model, training, seed, keep)
        if members > 1:
            variables["params"] = stacked_parameters(model, seed, members)
    elif members > 1:
        variables = adopted_members(
            initial[1], members, lambda own: adopted_variables(config.model, model, (initial[0], own), exact)
        )
    else:
        variables = adopted_variables(config.model, model, initial, exact)
    num_steps = config.training.numb_steps
    if num_steps is None:
        num_steps = sampler.steps_of_epochs(config.training.numb_epoch)
    plan = update_plan(config, num_steps)
    flags = trainable_labels(config.model, variables["params"])
    mesh = data_mesh()
    if config.training.zero_stage and mesh is None:
        log.info("training/zero_stage %d changes nothing: there is one device", config.training.zero_stage)
    return TrainingSetup(
        config=config,
        model=model,
        variables=variables,
        training=training,
        validation=_validation_side(config, loss, seed),
        loss=losses.from_config(config.loss, start_lr, **losses.model_facts(config.model, variables["stats"])),
        needs_force=bool({"force", "virial"} & set(loss.predictions)),
        tx=build_optimizer(config, plan.schedule, flags),
        plan=plan,
        num_steps=num_steps,
        seed=seed,
        mesh=mesh,
    )


def one_of(variables: dict[str, Any], members: int) -> dict[str, Any]:
    """Variables of the first of so many models."""
    return variables if members == 1 else variables | {"params": member_of(variables["params"], 0)}


def update_plan(config: Config, num_steps: int) -> UpdatePlan:
    """When the steps of a run become updates; the schedule runs over the updates and reaches its end with the last."""
    training = config.training
    schedule = schedules.from_config(config.learning_rate, num_steps // training.acc_freq)
    return UpdatePlan(schedule, training.acc_freq, training.ema_decay if training.enable_ema else None)


def build_optimizer(config: Config, schedule: Callable, trainable: Any) -> optax.GradientTransformation:
    """Clipping, optimizer, learning rate and accumulation for the trained parameters; frozen ones are left alone."""
    if isinstance(config.optimizer, LkfConfig):
        return optimizers.from_config(config.optimizer, schedule, kalman.trained_order(trainable))
    clip = optimizers.clip_by_global_norm(config.training.gradient_max_norm or 0.0)
    rate = scaled(schedule, config.learning_rate.scale_by_worker)
    tx = optax.chain(clip, optimizers.from_config(config.optimizer, rate))
    tx = optimizers.accumulate(tx, config.training.acc_freq)
    return tx if all(jax.tree.leaves(trainable)) else optimizers.freeze(tx, trainable)


def open_systems(
    data: DataConfig,
    model: ModelConfig,
    loss: losses.Loss,
    extra: Sequence[str] = (),
    *,
    options: DpjaxConfig | None = None,
) -> list[System]:
    """The systems of a data section with the labels of the loss, ``extra`` ones where they are, and the inputs of the model."""
    fitting = model.fitting_net
    specs = label_requirements(
        (*label_names(loss), *extra),
        fitting.output,
        numb_fparam=fitting.numb_fparam,
        numb_aparam=fitting.numb_aparam,
        default_fparam=fitting.default_fparam,
        numb_generalized_coord=getattr(loss, "numb_generalized_coord", 0),
        selected=getattr(fitting, "sel_type", None),
    )
    options = options or DpjaxConfig()
    return load_systems(
        data,
        model.type_map,
        specs,
        required_somewhere=loss.labels,
        skip_bad_frames=options.skip_bad_frames,
        progress=options.progress != "none",
    )


def label_names(loss: losses.Loss) -> tuple[str, ...]:
    """The labels that a loss takes, those that not all data need to have included."""
    return (*loss.labels, *loss.optional_labels)


def model_needs(model: ModelConfig) -> ModelNeeds:
    """What packing must know of the model."""
    fitting, n_type = model.fitting_net, len(model.type_map)
    sel = capacity(model.descriptor, n_type)
    return ModelNeeds(
        n_type=n_type,
        n_section=len(sel),
        rcut=cutoff(model.descriptor),
        sel=sel,
        cuts=cuts(model),
        fparam=fitting.numb_fparam > 0,
        aparam=fitting.numb_aparam > 0,
    )


def _data_side(
    config: Config,
    data: DataConfig,
    systems: Sequence[System],
    sampler: Sampler,
    loss: losses.Loss,
    extra: Sequence[str] = (),
) -> DataSide:
    """One side of the data, with the labels of the loss and ``extra`` ones."""
    needs = model_needs(config.model)
    if data.min_pair_dist > needs.rcut:
        raise ConfigError(
            f"training/training_data/min_pair_dist: found {data.min_pair_dist}, but distances beyond the cut-off of the model "
            f"({needs.rcut:g} angstrom) are not looked at. Give a smaller number."
        )
    cache = NeighborCache(
        systems,
        needs.rcut,
        needs.n_type,
        config.dpjax.neighbor_cache,
        limit=int(config.dpjax.neighbor_cache_size * 2**30),
    )
    if config.dpjax.neighbor_cache is not None:
        cache.build(counter("searching neighbours", config.dpjax.progress != "none"))
    source = BatchSource(systems, cache, needs, tuple(dict.fromkeys((*label_names(loss), *extra))))
    atoms = source.observe(sampler.kept)
    if sampler.mixed:
        _refuse_mixed_labels(systems, loss.labels)
        weights = [p for system, p in zip(sampler.kept, sampler.probabilities, strict=True) if system in atoms]
        source.expect(list(atoms.values()), weights, -(-sampler.mixed // len(jax.devices())))
    return DataSide(systems, sampler, source, data.min_pair_dist)


def _refuse_mixed_labels(systems: Sequence[System], labels: Sequence[str]) -> None:
    """Frames of one batch share the flags that say which labels exist.

    Raises:
        ConfigError: a label is in some systems only.
    """
    for name in labels:
        lacking = [s.name for s in systems if not s.found[name]]
        if lacking and len(lacking) < len(systems):
            raise ConfigError(
                f"batch_size: mixed:N joins frames of all systems, but {lacking[0]} has no {name} label and others have. "
                f"Use auto:N, or leave {name} out of the loss."
            )


def _validation_side(config: Config, loss: losses.Loss, seed: int) -> DataSide | None:
    data = config.training.validation_data
    if data is None:
        return None
    extra = tuple(LABELS.values()) if config.validating.full_validation else ()
    systems = open_systems(data, config.model, loss, extra, options=config.dpjax)
    sampler = Sampler(systems, data, seed, "training.validation_data")
    return _data_side(config, data, systems, sampler, loss, extra)


def resolve_sel(config: Config, systems: Sequence[System], initial: tuple[ModelConfig, dict] | None) -> Config:
    """Replace ``sel: auto`` by numbers: those of the model that is continued, else counted in the training data."""
    descriptor = config.model.descriptor
    own = members(descriptor)
    if not any(isinstance(member.sel, str) for member in own):
        return config
    theirs = () if initial is None else members(initial[0].descriptor)
    alike = [type(member) for member in theirs] == [type(member) for member in own]
    paths = dict(descriptor_parts(descriptor))
    show = config.dpjax.progress != "none"
    sels = [
        _resolved_sel(member, theirs[i] if alike else None, path, systems, config.model.type_map, show)
        for i, (path, member) in enumerate(paths.items())
    ]
    section = config.raw["model"]["descriptor"]
    listed = [sel if isinstance(sel, int) else list(sel) for sel in sels]
    if descriptor is own[0]:
        resolved, written = replace(descriptor, sel=sels[0]), {**section, "sel": listed[0]}
    else:
        resolved = replace(descriptor, list=tuple(replace(m, sel=sel) for m, sel in zip(own, sels, strict=True)))
        written = {**section, "list": [{**m, "sel": sel} for m, sel in zip(section["list"], listed, strict=True)]}
    raw = {**config.raw, "model": {**config.raw["model"], "descriptor": written}}
    return replace(config, model=replace(config.model, descriptor=resolved, raw=raw["model"]), raw=raw)


def descriptor_parts(config: Any) -> list[tuple[str, Any]]:
    """The descriptors of a model, those of a hybrid one by one, each with its path in the input."""
    own = members(config)
    if config is own[0]:
        return [("model/descriptor", config)]
    return [(f"model/descriptor/list/{i}", member) for i, member in enumerate(own)]


def _resolved_sel(
    descriptor: Any, other: Any, path: str, systems: Sequence[System], type_map: Sequence[str], show: bool
) -> tuple[int, ...] | int:
    """``sel`` of one descriptor: as given, as in the one of the model that is continued (``other``), or counted."""
    if not isinstance(descriptor.sel, str):
        return descriptor.sel
    if other is not None:
        return other.sel
    by_type = has_type_networks(descriptor)
    tell = counter("counting neighbours", show)
    stat = neighbor_stat(
        systems, descriptor.rcut, type_map, mixed_type=not by_type, limit=NEIGHBOR_FRAMES, progress=tell
    )
    suggested = suggest_sel(stat, descriptor.sel, path=f"{path}/sel")
    sel = suggested if by_type else suggested[0]
    log.info("%s/sel: %s is %s for this data (rcut %g angstrom)", path, descriptor.sel, sel, descriptor.rcut)
    return sel


def fresh_variables(config: Config, model: nn.Module, data: DataSide, seed: int, keep: bool = True) -> dict[str, Any]:
    """New parameters and the statistics of the training data, from ``stat_file`` where it has them.

    New statistics are written there if ``keep``.

    Raises:
        DataError: they may only be read, and are not there.
    """
    variables = init_variables(model, seed)
    stats = jax.tree.map(np.asarray, variables["stats"])
    key = statistics_key(config.model)
    only_read = config.training.stat_file_mode == "read"
    computed = (required_statistics if only_read else load_statistics)(config.training.stat_file, key)
    if computed is None:
        drawn = preparation.sampled_frames(data.sampler, data.systems, config.model.data_stat_nbatch, seed)
        computed = {
            **preparation.environment_statistics(
                config.model, data.systems, data.source.neighbors, drawn, config.dpjax.progress != "none"
            ),
            **preparation.output_statistics(config.model, data.systems),
            **preparation.parameter_statistics(config.model, data.systems, drawn),
        }
        if keep:
            save_statistics(config.training.stat_file, key, computed)
    placed = {
        "descriptor": _placed(computed, stats["descriptor"]),
        "fitting_net": _placed(computed, stats["fitting_net"]),
        **{name: computed[name] for name in ("out_bias", "out_std")},
    }
    return {"params": variables["params"], "stats": placed}


def _placed(computed: dict[str, np.ndarray], like: dict[str, Any]) -> dict[str, Any]:
    """The tree ``like`` with those leaves replaced that were computed; these are named by their path, joined by dots."""

    def leaf(path: tuple, value: np.ndarray) -> np.ndarray:
        name = ".".join(key.key for key in path)
        needed = path[-1].key in ("davg", "dstd")  # others may have no data to come from
        return computed[name].astype(value.dtype) if needed or name in computed else value

    return jax.tree_util.tree_map_with_path(leaf, like)


def trainable_labels(config: ModelConfig, params: dict) -> dict:
    """True for every parameter that is trained, in the structure of ``params``; follows the ``trainable`` keys."""
    per_layer = trainable_layers(config.fitting_net)
    owners = layer_owners(config.fitting_net)
    flags = {f"layers_{i}": flag for i, flag in enumerate(per_layer) if owners[i] == i}
    fitting = {
        net: {layer: jax.tree.map(lambda _, flag=flags[layer]: flag, leaves) for layer, leaves in layers.items()}
        for net, layers in params["fitting_net"].items()
    }
    return {"descriptor": _descriptor_labels(config.descriptor, params["descriptor"]), "fitting_net": fitting}


def _descriptor_labels(config: Any, params: dict) -> dict:
    own = members(config)
    if config is own[0]:
        fixed = set() if getattr(config, "trainable_ln", True) else {"norm"}  # layers that are left as they are
        return jax.tree_util.tree_map_with_path(
            lambda path, _: config.trainable and fixed.isdisjoint(key.key for key in path), params
        )
    return {name: _descriptor_labels(own[int(name.rpartition("_")[2])], part) for name, part in params.items()}
